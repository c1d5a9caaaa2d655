//! `/api/v1`: the operator's API, on the admin listener.
//!
//! Here: a file per resource, the document that describes them (`openapi`),
//! and what they want of the configuration ([`Configuration`]). Not here: the
//! configuration itself, which this room does not know; who may ask (`http`'s
//! gate).

mod config;
mod document;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use crate::bus::Registry;
use crate::http;
use crate::media::StreamName;

pub use document::document as openapi;

/// The configuration, as the API sees it.
pub trait Configuration: Send + Sync + 'static {
    /// All of it, by the keys of `porthole.yaml`, secrets masked.
    fn shown(&self) -> Value;

    /// The streams, in the order they are written.
    fn streams(&self) -> Vec<Configured>;
}

/// A stream, as it is configured.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Its name.
    pub name: StreamName,
    /// Its keys, secrets masked.
    pub shown: Value,
    /// `file`, `environment` or `arguments`.
    pub origin: &'static str,
    /// Another one whenever it is written differently.
    pub digest: u64,
}

/// What the routes need.
#[derive(Clone)]
pub(super) struct Deps {
    pub(super) registry: Arc<Registry>,
    pub(super) configuration: Arc<dyn Configuration>,
}

pub(super) fn routes(deps: Deps) -> Router {
    let only_get = async || -> Response { http::no_such_method("GET, HEAD") };
    Router::new()
        .route("/api/v1/streams", streams::all())
        .route("/api/v1/streams/{stream}", streams::one())
        .route("/api/v1/config", get(config::show).fallback(only_get))
        .route("/openapi.json", get(document::show).fallback(only_get))
        .with_state(deps)
}
