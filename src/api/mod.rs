//! The API: what viewers' pages read, and the operator's endpoints.
//!
//! Here: a file per resource, JSON and plain text. Not here: media
//! (`egress`), pages (`pages`), the error catalogue (`fault`) and its mapping
//! to HTTP (`http`).

mod health;
mod streams;
mod v1;

pub use health::Readiness;
pub use v1::{Change, Changed, Configuration, Configured, Expected, What, openapi};

use std::sync::Arc;

use axum::Router;

use crate::auth::Access;
use crate::bus::Registry;
use crate::http::SessionTable;

/// What the viewer's part needs.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// Who may see them.
    pub access: Arc<Access>,
}

/// Routes of the viewer listener.
pub fn viewer_routes(deps: Deps) -> Router {
    streams::routes(deps)
}

/// Routes of the admin listener.
pub fn admin_routes(
    readiness: Arc<Readiness>,
    metrics: prometheus::Registry,
    streams: Arc<Registry>,
    configuration: Arc<dyn Configuration>,
    sessions: SessionTable,
) -> Router {
    let deps = v1::Deps { registry: Arc::clone(&streams), configuration, sessions };
    health::routes(readiness, metrics, streams).merge(v1::routes(deps))
}
