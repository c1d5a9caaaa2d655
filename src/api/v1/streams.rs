//! `/api/v1/streams`: the streams there are, and how each is doing.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::document::{Origin, Problem, Refusals, StreamSettings};
use super::{Configured, Deps};
use crate::api::streams::{QualityView, quality_view};
use crate::bus::Registry;
use crate::fault::Code;
use crate::http;

/// Every stream.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamList {
    streams: Vec<StreamDocument>,
}

/// A stream: how it is configured and how it is doing.
#[derive(Serialize, ToSchema)]
#[schema(as = Stream)]
pub(super) struct StreamDocument {
    /// What viewers call it.
    name: String,
    /// Who has the last word on it.
    #[schema(value_type = Origin)]
    origin: &'static str,
    /// In force, defaults filled in, secrets masked.
    #[schema(value_type = StreamSettings)]
    config: Value,
    /// How its camera is doing; null while it is being exchanged.
    status: Option<QualityView>,
    /// How its substream is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    substream: Option<QualityView>,
}

/// What `/api/v1/streams` answers.
pub(super) fn all() -> MethodRouter<Deps> {
    get(list).fallback(async || http::no_such_method("GET, HEAD"))
}

/// What `/api/v1/streams/{stream}` answers.
pub(super) fn one() -> MethodRouter<Deps> {
    get(show).fallback(async || http::no_such_method("GET, HEAD"))
}

/// Every stream
///
/// In the order they are configured.
#[utoipa::path(
    get, path = "/api/v1/streams", tag = "streams", operation_id = "list_streams",
    responses((status = 200, description = "The streams", body = StreamList), Refusals),
)]
pub(super) async fn list(State(deps): State<Deps>) -> Response {
    let streams = deps.configuration.streams();
    let streams = streams.into_iter().map(|one| document(one, &deps.registry)).collect();
    ([(header::CACHE_CONTROL, "no-store")], Json(StreamList { streams })).into_response()
}

/// One stream
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}", tag = "streams", operation_id = "get_stream",
    params(("stream" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The stream", body = StreamDocument,
         headers(("ETag" = String, description = "For If-Match"))),
        (status = 404, description = "There is no stream of that name", body = Problem,
         content_type = "application/problem+json"),
        Refusals,
    ),
)]
pub(super) async fn show(State(deps): State<Deps>, Path(name): Path<String>) -> Response {
    let streams = deps.configuration.streams();
    match streams.into_iter().find(|one| one.name.as_str() == name) {
        Some(one) => answer(one, &deps.registry),
        None => http::Problem::from(Code::StreamUnknown).into_response(),
    }
}

fn answer(one: Configured, registry: &Registry) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store".to_owned()), (header::ETAG, etag(&one))];
    (headers, Json(document(one, registry))).into_response()
}

fn etag(one: &Configured) -> String {
    format!("\"{:016x}\"", one.digest)
}

fn document(one: Configured, registry: &Registry) -> StreamDocument {
    let stream = registry.get(one.name.as_str());
    let substream = stream.as_ref().and_then(|stream| stream.substream());
    StreamDocument {
        name: one.name.to_string(),
        origin: one.origin,
        config: one.shown,
        substream: substream.map(|substream| quality_view(substream)),
        status: stream.map(|stream| quality_view(&stream)),
    }
}
