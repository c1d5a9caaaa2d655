//! `/api/v1/streams`: the streams there are, how each is doing, and changing
//! them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::{etag, expected, object};
use super::document::{
    NewStream, Origin, Problem, Refusals, Refused, StreamChange, StreamKeys, StreamSettings,
};
use super::{Change, Changed, Configured, Deps, What};
use crate::api::streams::{QualityView, quality_view};
use crate::bus::Registry;
use crate::fault::Code;
use crate::http;
use crate::media::StreamName;

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
    #[schema(nullable = false)]
    substream: Option<QualityView>,
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What `/api/v1/streams` answers.
pub(super) fn all() -> MethodRouter<Deps> {
    get(list).post(add).fallback(async || http::no_such_method("GET, HEAD, POST"))
}

/// What `/api/v1/streams/{stream}` answers.
pub(super) fn one() -> MethodRouter<Deps> {
    let methods = "GET, HEAD, PUT, PATCH, DELETE";
    let others = move || async move { http::no_such_method(methods) };
    get(show).put(replace).patch(merge).delete(remove).fallback(others)
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
        Some(one) => answer(StatusCode::OK, one, &deps.registry),
        None => unknown(),
    }
}

/// Add a stream
///
/// It is written into the configuration file, the rest of which stays as it is,
/// and in force when the answer comes. Text is taken as it stands: `${VAR}` is
/// no variable. Where the camera is is bound to `admin.source_networks`.
#[utoipa::path(
    post, path = "/api/v1/streams", tag = "streams", operation_id = "add_stream",
    request_body(content = NewStream, content_type = "application/json"),
    responses(
        (status = 201, description = "It is there", body = StreamDocument,
         headers(("ETag" = String, description = "For If-Match"),
                 ("Location" = String, description = "Relative"))),
        Refusals, Refused,
    ),
)]
pub(super) async fn add(State(deps): State<Deps>, headers: HeaderMap, body: Bytes) -> Response {
    let mut body = match object(&headers, &body, &[JSON]) {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let name = body.remove("name").unwrap_or_default();
    let name = match name.as_str().unwrap_or_default().parse::<StreamName>() {
        Ok(name) => name,
        Err(error) => return bad_name(&error.to_string()),
    };
    let location = format!("streams/{name}");
    let mut response = change(deps, name, What::Add(body), &headers).await;
    if response.status() == StatusCode::CREATED
        && let Ok(location) = location.parse()
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Replace a stream, or add it
///
/// What the body does not say is as by default from then on. `If-None-Match: *`
/// adds only, `If-Match` replaces only what the caller has seen.
#[utoipa::path(
    put, path = "/api/v1/streams/{stream}", tag = "streams", operation_id = "put_stream",
    params(("stream" = String, Path, description = "Its name")),
    request_body(content = StreamKeys, content_type = "application/json"),
    responses(
        (status = 200, description = "It is as wanted", body = StreamDocument,
         headers(("ETag" = String, description = "For If-Match"))),
        (status = 201, description = "It is there", body = StreamDocument,
         headers(("ETag" = String, description = "For If-Match"))),
        Refusals, Refused,
    ),
)]
pub(super) async fn replace(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = match object(&headers, &body, &[JSON]) {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    match name.parse::<StreamName>() {
        Ok(name) => change(deps, name, What::Replace(body), &headers).await,
        Err(error) => bad_name(&error.to_string()),
    }
}

/// Change a stream
///
/// A JSON merge patch (RFC 7396): what the body does not name stays as it is
/// written, secrets and variables too; null takes a key away.
#[utoipa::path(
    patch, path = "/api/v1/streams/{stream}", tag = "streams", operation_id = "patch_stream",
    params(("stream" = String, Path, description = "Its name")),
    request_body(content(
        (StreamChange = "application/merge-patch+json"), (StreamChange = "application/json"),
    )),
    responses(
        (status = 200, description = "It is as wanted", body = StreamDocument,
         headers(("ETag" = String, description = "For If-Match"))),
        (status = 404, description = "There is no stream of that name", body = Problem,
         content_type = "application/problem+json"),
        Refusals, Refused,
    ),
)]
pub(super) async fn merge(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Map<String, Value> = match object(&headers, &body, &[MERGE_PATCH, JSON]) {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    match name.parse::<StreamName>() {
        Ok(name) => change(deps, name, What::Merge(body), &headers).await,
        Err(_) => unknown(),
    }
}

/// Remove a stream
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}", tag = "streams", operation_id = "remove_stream",
    params(("stream" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It is no more"),
        (status = 404, description = "There is no stream of that name", body = Problem,
         content_type = "application/problem+json"),
        Refusals, Refused,
    ),
)]
pub(super) async fn remove(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match name.parse::<StreamName>() {
        Ok(name) => change(deps, name, What::Remove, &headers).await,
        Err(_) => unknown(),
    }
}

async fn change(deps: Deps, name: StreamName, what: What, headers: &HeaderMap) -> Response {
    let change = Change { what, expected: expected(headers) };
    match deps.configuration.change(name, change).await {
        Ok(Changed { stream: None, .. }) => StatusCode::NO_CONTENT.into_response(),
        Ok(Changed { stream: Some(one), existed }) => {
            let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
            answer(status, one, &deps.registry)
        }
        Err(problem) => problem.into_response(),
    }
}

fn unknown() -> Response {
    http::Problem::from(Code::StreamUnknown).into_response()
}

fn bad_name(why: &str) -> Response {
    let faults = vec![("name".to_owned(), why.to_owned())];
    http::Problem::from(Code::ConfigInvalid).with_faults(faults).into_response()
}

fn answer(status: StatusCode, one: Configured, registry: &Registry) -> Response {
    let headers =
        [(header::CACHE_CONTROL, "no-store".to_owned()), (header::ETAG, etag(one.digest))];
    (status, headers, Json(document(one, registry))).into_response()
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
