//! `/api/v1/config`: the configuration in force.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Deps;
use super::document::Refusals;

/// The configuration in force
///
/// By the keys of `porthole.yaml`, defaults filled in, secrets masked as
/// `***`.
#[utoipa::path(
    get, path = "/api/v1/config", tag = "config", operation_id = "get_config",
    responses((status = 200, description = "The configuration", body = Object), Refusals),
)]
pub(super) async fn show(State(deps): State<Deps>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(deps.configuration.shown())).into_response()
}
