//! `/api/v1/sessions`: who watches, and sending them away.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get};
use serde::Serialize;
use utoipa::ToSchema;

use super::Deps;
use super::document::{Problem, Refusals};
use crate::auth::Principal;
use crate::fault::Code;
use crate::http::{self, SessionNews, SessionStart, SessionView, rfc3339};

/// Every session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<SessionDocument>,
}

/// One viewer's connection to one output.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionDocument {
    /// As in the log; ends it here.
    id: String,
    stream: String,
    /// `main` or `sub`.
    quality: &'static str,
    /// Whether that may change by itself.
    adapts: bool,
    /// `whep`, `mse`, …
    output: &'static str,
    /// Who, and how they proved it, such as `user:ann`; null for nobody in
    /// particular.
    principal: Option<String>,
    /// RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    /// How far it has come: `connecting`, `connected`, `live`; `key_frames`
    /// where its way carries no more.
    stage: &'static str,
    /// The viewer's address and port.
    remote: Option<String>,
    /// `udp` or `tcp`.
    transport: Option<&'static str>,
    video: Option<&'static str>,
    audio: Option<&'static str>,
    /// What of them it is not sent, since its way carries too little: `sound`.
    held_back: Option<&'static str>,
    /// Seconds to the viewer and back.
    round_trip: Option<f64>,
    /// Share of the packets that were lost, 0 to 1.
    loss: Option<f64>,
    /// Bits a second, over the last second.
    bit_rate: u64,
    /// What its way is believed to carry, bits a second.
    estimate: Option<u64>,
    /// Sent so far.
    packets: u64,
    /// Sent so far.
    bytes: u64,
}

/// What `/api/v1/sessions` answers.
pub(super) fn all() -> MethodRouter<Deps> {
    get(list).fallback(async || http::no_such_method("GET, HEAD"))
}

/// What `/api/v1/sessions/{session}` answers.
pub(super) fn one() -> MethodRouter<Deps> {
    delete(end).fallback(async || http::no_such_method("DELETE"))
}

/// Who watches
///
/// The oldest session first.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "sessions", operation_id = "list_sessions",
    responses((status = 200, description = "The sessions", body = SessionList), Refusals),
)]
pub(super) async fn list(State(deps): State<Deps>) -> Response {
    let sessions = deps.sessions.list().into_iter().map(document).collect();
    ([(header::CACHE_CONTROL, "no-store")], Json(SessionList { sessions })).into_response()
}

/// Send a viewer away
///
/// They may come back; a right that they should not have is taken in `auth`.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{session}", tag = "sessions", operation_id = "end_session",
    params(("session" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It was told to end"),
        (status = 404, description = "There is no session of that id", body = Problem,
         content_type = "application/problem+json"),
        Refusals,
    ),
)]
pub(super) async fn end(State(deps): State<Deps>, Path(id): Path<String>) -> Response {
    if deps.sessions.end(&id) {
        return StatusCode::NO_CONTENT.into_response();
    }
    http::Problem::from(Code::SessionUnknown).into_response()
}

fn document(SessionView { start, output, since, news }: SessionView) -> SessionDocument {
    let SessionStart { id, stream, principal } = start;
    let SessionNews { stage, quality, adapts, remote, transport, video, audio, .. } = news;
    let SessionNews { held_back, round_trip, loss, bit_rate, estimate, packets, bytes, .. } = news;
    SessionDocument {
        id,
        stream: stream.viewed().to_owned(),
        quality: quality.as_str(),
        adapts,
        output,
        principal: match principal {
            Principal::Anonymous => None,
            Principal::Known(identity) => Some(identity.name.clone()),
        },
        since: rfc3339(since),
        stage,
        remote: remote.map(|address| address.to_string()),
        transport,
        video,
        audio,
        held_back,
        round_trip: round_trip.map(|time| time.as_secs_f64()),
        loss,
        bit_rate,
        estimate,
        packets,
        bytes,
    }
}
