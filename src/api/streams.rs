//! `GET /api/streams`: what this viewer may see, state and last error of each.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::Deps;
use crate::auth::{Action, Principal};
use crate::bus::{SourceStatus, Stream};
use crate::fault::Fault;
use crate::http::rfc3339;

#[derive(Serialize)]
struct StreamList {
    /// RFC 3339: a page tells from it how far its own clock is off, and so how
    /// far behind the camera its picture is.
    now: String,
    streams: Vec<StreamView>,
}

/// A stream as viewers see it.
#[derive(Serialize)]
struct StreamView {
    name: String,
    #[serde(flatten)]
    main: QualityView,
    /// The same scene in fewer pixels, watched with `?quality=sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    substream: Option<QualityView>,
}

/// One quality of a stream, and the camera behind it.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct QualityView {
    #[schema(value_type = StateWord)]
    state: &'static str,
    /// RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    /// The camera's URL, password masked.
    source: String,
    error: Option<ErrorView>,
    tracks: Vec<TrackView>,
    notes: Vec<FaultView>,
}

#[derive(ToSchema)]
#[schema(as = State, rename_all = "lowercase")]
#[expect(dead_code, reason = "says what words there are")]
enum StateWord {
    /// On demand, and nobody watches.
    Idle,
    /// Connecting, or connected without a first frame yet.
    Connecting,
    /// Frames arrive.
    Live,
    /// Failed; waiting for the next attempt.
    Down,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Track)]
struct TrackView {
    kind: &'static str,
    codec: &'static str,
    /// For `MediaSource.isTypeSupported`.
    rfc6381: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    /// Hertz.
    clock_rate: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
struct FaultView {
    code: &'static str,
    title: &'static str,
    hint: &'static str,
    detail: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SourceError)]
struct ErrorView {
    #[serde(flatten)]
    fault: FaultView,
    attempts: u32,
    /// RFC 3339.
    next_retry: Option<String>,
}

pub(super) fn routes(deps: Deps) -> Router {
    Router::new().route("/api/streams", get(list)).with_state(deps)
}

async fn list(State(deps): State<Deps>, Extension(principal): Extension<Principal>) -> Response {
    let streams = deps.registry.list();
    let may_view =
        |stream: &Stream| deps.access.authorize(&principal, Action::View, stream.name()).is_ok();
    let streams = streams.iter().filter(|stream| may_view(stream)).map(|s| view(s)).collect();
    (
        [(header::CACHE_CONTROL, "no-store")],
        Json(StreamList { now: rfc3339(SystemTime::now()), streams }),
    )
        .into_response()
}

fn view(stream: &Stream) -> StreamView {
    StreamView {
        name: stream.name().to_string(),
        main: quality_view(stream),
        substream: stream.substream().map(|substream| quality_view(substream)),
    }
}

pub(super) fn quality_view(stream: &Stream) -> QualityView {
    let SourceStatus { state, since, fault, attempts, next_retry, notes, source } = stream.status();
    let tracks = stream.tracks();
    let track = |track: &crate::media::Track| {
        let size = track.codec.pixel_size();
        TrackView {
            kind: track.kind().as_str(),
            codec: track.codec.name(),
            rfc6381: track.codec.rfc6381(),
            width: size.map(|size| size.width),
            height: size.map(|size| size.height),
            clock_rate: track.rate.hz(),
        }
    };
    QualityView {
        state: state.as_str(),
        since: rfc3339(since),
        source,
        error: fault.map(|fault| ErrorView {
            fault: fault_view(fault),
            attempts,
            next_retry: next_retry.map(rfc3339),
        }),
        tracks: tracks.iter().flat_map(|tracks| tracks.iter()).map(track).collect(),
        notes: notes.into_iter().map(|note| fault_view(note.0)).collect(),
    }
}

fn fault_view(Fault { code, detail }: Fault) -> FaultView {
    FaultView { code: code.as_str(), title: code.sentence(), hint: code.hint(), detail }
}
