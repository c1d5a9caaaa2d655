//! A session's own URL: it takes candidates and ICE restarts (PATCH) and ends
//! (DELETE).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete};

use super::command::Command;
use super::fragment::Fragment;
use super::ice::{self, Restart};
use super::routes::{
    ACCEPT_PATCH, ACCEPT_POST, Body, Caller, Deps, NOTICE, SDP, SDP_FRAGMENT, has_type,
    host_address, principal,
};
use super::switchboard::{Session, SessionId};
use crate::fault::Code;
use crate::http;

const METHODS: &str = "GET, HEAD, OPTIONS, PATCH, DELETE";

/// What a session's URL answers.
pub(super) fn methods() -> MethodRouter<Deps> {
    delete(end).patch(trickle).get(show).options(options).fallback(other_method)
}

async fn end(
    State(deps): State<Deps>,
    Path((stream, session)): Path<(String, String)>,
    caller: Caller,
) -> Response {
    let Some((id, session)) = find(&deps, &stream, &session, caller) else {
        return no_session();
    };
    deps.whep.tasks.tell(session.task, Command::Leave(id, "left")).await;
    // Its task may have much to do before: for requests it is over now.
    deps.whep.shared.unlist(id);
    StatusCode::OK.into_response()
}

/// Candidates that came after the offer (RFC 8840), or an ICE restart. The
/// former are not needed to connect, since the viewer's own checks reach us;
/// they open the way through a NAT.
async fn trickle(
    State(deps): State<Deps>,
    Path((stream, session)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some((id, session)) = find(&deps, &stream, &session, caller) else {
        return no_session();
    };
    if !has_type(&headers, SDP_FRAGMENT) {
        let detail = "PATCH takes application/trickle-ice-sdpfrag";
        return http::request_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    }
    // RFC 9725 §4.3.1, as WHEP has it too.
    let Some(tag) = headers.get(header::IF_MATCH) else {
        let detail = "PATCH needs If-Match, with the session's ETag";
        return http::request_problem(StatusCode::PRECONDITION_REQUIRED, detail);
    };
    let any = tag.as_bytes() == b"*";
    let etag = format!("\"{}\"", session.ufrag);
    // RFC 9110 §13.1.1 allows a list; ours has no comma.
    let mut tags = tag.to_str().unwrap_or_default().split(',').map(str::trim);
    if !any && !tags.any(|tag| tag == etag) {
        let detail = "If-Match is not the session's ETag, which an ICE restart changes";
        return http::request_problem(StatusCode::PRECONDITION_FAILED, detail);
    }
    let text = body.ok().and_then(|body| String::from_utf8(body.to_vec()).ok());
    let Some(text) = text else {
        return http::request_problem(StatusCode::BAD_REQUEST, "the body cannot be read");
    };
    let fragment = match Fragment::read(&text) {
        Ok(fragment) => fragment,
        Err(error) => return http::request_problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    deps.whep.shared.hurry();
    // However long its candidates take, it is there.
    deps.whep.shared.board().heard(id);
    match (fragment.ufrag.clone(), fragment.password.clone()) {
        (Some(ufrag), _) if ufrag != session.remote_ufrag && !any => {
            let detail = "an ICE restart needs `If-Match: *`";
            http::request_problem(StatusCode::PRECONDITION_FAILED, detail)
        }
        (Some(ufrag), None) if ufrag != session.remote_ufrag => {
            let detail = "a new `a=ice-ufrag` needs a new `a=ice-pwd`";
            http::request_problem(StatusCode::BAD_REQUEST, detail)
        }
        (Some(ufrag), Some(password)) if ufrag != session.remote_ufrag => {
            restart(&deps, id, &session, &fragment, (ufrag, password), &headers).await
        }
        _ => {
            let candidates = Command::Candidates(id, fragment.candidates);
            deps.whep.tasks.tell(session.task, candidates).await;
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

/// A viewer that looks for another path keeps its session (RFC 9725 §4.3.3).
async fn restart(
    deps: &Deps,
    id: SessionId,
    session: &Session,
    fragment: &Fragment,
    theirs: (String, String),
    headers: &HeaderMap,
) -> Response {
    let (ufrag, password) = ice::credentials();
    let Ok(addresses) = deps.whep.addresses(host_address(headers)).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let reply = fragment.reply(&ufrag, &password, &addresses);
    let etag = HeaderValue::from_str(&format!("\"{ufrag}\"")).expect("hex and quotes");
    let (remote_ufrag, remote_password) = theirs;
    let restart = Restart { ufrag, password, remote_ufrag, remote_password };
    let (task, tasks) = (session.task, &deps.whep.tasks);
    deps.whep.shared.board().rename(id, &restart.ufrag, &restart.remote_ufrag);
    tasks.tell(task, Command::Restart(id, Box::new(restart))).await;
    tasks.tell(task, Command::Candidates(id, fragment.candidates.clone())).await;
    let kind = HeaderValue::from_static(SDP_FRAGMENT);
    ([(header::CONTENT_TYPE, kind), (header::ETAG, etag)], reply).into_response()
}

fn find(deps: &Deps, stream: &str, id: &str, caller: Caller) -> Option<(SessionId, Session)> {
    deps.whep.session(id, stream, &principal(caller))
}

fn no_session() -> Response {
    http::request_problem(StatusCode::NOT_FOUND, "there is no such session, or it has ended")
}

/// GET and HEAD: no content (WHEP, HTTP Usage), but the entity tag; and whether
/// the viewer's way is too narrow for the stream, so that a page whose picture
/// stands still need not blame the camera.
async fn show(
    State(deps): State<Deps>,
    Path((stream, session)): Path<(String, String)>,
    caller: Caller,
) -> Response {
    let Some((id, session)) = find(&deps, &stream, &session, caller) else {
        return no_session();
    };
    let etag = format!("\"{}\"", session.ufrag);
    let no_store = (header::CACHE_CONTROL, "no-store".to_owned());
    let mut response = (StatusCode::NO_CONTENT, [(header::ETAG, etag), no_store]).into_response();
    let news = deps.whep.shared.metrics.sessions.news(&id.short());
    if news.is_some_and(|news| news.stage == "key_frames") {
        let slow = HeaderValue::from_static(Code::ViewerSlow.as_str());
        response.headers_mut().insert(NOTICE, slow);
    }
    response
}

/// OPTIONS: what may be sent. `Accept-Post` is on every answer to it (WHEP,
/// Playback Session Termination).
async fn options() -> Response {
    let headers = [(header::ALLOW, METHODS), (ACCEPT_PATCH, SDP_FRAGMENT), (ACCEPT_POST, SDP)];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn other_method() -> Response {
    http::no_such_method(METHODS)
}
