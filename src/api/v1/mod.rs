//! `/api/v1`: the operator's API, on the admin listener.
//!
//! Here: a file per resource, the document that describes them (`openapi`),
//! and what they want of the configuration ([`Configuration`]). Not here: the
//! configuration itself, which this room does not know; who may ask (`http`'s
//! gate).

mod body;
mod config;
mod document;
mod sessions;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::bus::Registry;
use crate::http::{self, Problem, SessionTable};
use crate::media::StreamName;

pub use document::document as openapi;

/// The configuration, as the API sees it.
pub trait Configuration: Send + Sync + 'static {
    /// All of it, by the keys of `porthole.yaml`, secrets masked.
    fn shown(&self) -> Value;

    /// The streams, in the order they are written.
    fn streams(&self) -> Vec<Configured>;

    /// Changes a stream, in the file and in force; on whom the future is dropped
    /// does not matter.
    ///
    /// # Errors
    ///
    /// Nothing was changed; the problem says why.
    fn change(
        self: Arc<Self>,
        name: StreamName,
        change: Change,
    ) -> BoxFuture<'static, Result<Changed, Problem>>;
}

/// What is to become of a stream.
pub struct Change {
    /// What.
    pub what: What,
    /// Only if this says yes to the present entry's digest.
    pub expected: Expected,
}

/// Says whether the entry of that digest, or none, is what the caller knows.
pub type Expected = Box<dyn Fn(Option<u64>) -> bool + Send + Sync>;

/// What is to become of a stream; keys as in `porthole.yaml`.
#[derive(Clone, Debug)]
pub enum What {
    /// It is new.
    Add(Map<String, Value>),
    /// It is this, whether it was there or not.
    Replace(Map<String, Value>),
    /// It is as it was, but for this (RFC 7396).
    Merge(Map<String, Value>),
    /// It is no more.
    Remove,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now; none if it was removed.
    pub stream: Option<Configured>,
    /// Whether it was there before.
    pub existed: bool,
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
    pub(super) sessions: SessionTable,
}

pub(super) fn routes(deps: Deps) -> Router {
    let only_get = async || -> Response { http::no_such_method("GET, HEAD") };
    Router::new()
        .route("/api/v1/streams", streams::all())
        .route("/api/v1/streams/{stream}", streams::one())
        .route("/api/v1/sessions", sessions::all())
        .route("/api/v1/sessions/{session}", sessions::one())
        .route("/api/v1/config", get(config::show).fallback(only_get))
        .route("/openapi.json", get(document::show).fallback(only_get))
        .with_state(deps)
}
