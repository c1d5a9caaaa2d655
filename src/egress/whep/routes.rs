//! The HTTP side: an offer becomes a session (POST), takes candidates (PATCH)
//! and ends (DELETE).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use serde_json::json;

use super::engine::{self, Plan, Restart};
use super::fanout::Command;
use super::fragment::Fragment;
use super::offer::{BadOffer, MAX_OFFER, Offer};
use super::switchboard::{Session, SessionId};
use super::{IceServer, Whep, reorder};
use crate::auth::{Access, Action, Principal};
use crate::bus::{Join, Registry, SourceState, Stream};
use crate::fault::{Code, Fault};
use crate::http::{self, Problem};
use crate::media::{Codec, MediaKind, Tracks};

/// How long a viewer's request waits for the stream's first frame. A camera
/// connects within a second or two; longer waits are the page's to repeat.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// Says what the answer leaves out; a fault code.
const NOTICE: HeaderName = HeaderName::from_static("porthole-notice");

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// What the routes need.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// Who may see them.
    pub access: Arc<Access>,
    /// The sessions.
    pub whep: Arc<Whep>,
}

/// `POST /{stream}/whep`, and `PATCH` and `DELETE` on what it creates.
///
/// A request's [`Principal`] is taken from its extensions; without one it is
/// anonymous.
pub fn routes(deps: Deps) -> Router {
    Router::new()
        .route("/{stream}/whep", post(create).options(options))
        .route(
            "/{stream}/whep/{session}",
            axum::routing::delete(end).patch(trickle).options(options),
        )
        .layer(DefaultBodyLimit::max(MAX_OFFER))
        .with_state(deps)
}

type Caller = Option<Extension<Principal>>;

fn principal(caller: Caller) -> Principal {
    caller.map_or(Principal::Anonymous, |Extension(principal)| principal)
}

async fn create(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let target = Target { name: &name, query: query.as_deref() };
    let sessions = &deps.whep.shared.metrics.sessions;
    let made = create_session(&deps, target, principal(caller), &headers, body).await;
    // A name out of a URL is no label; nor is a session that was never meant.
    made.inspect_err(|problem| sessions.setup(problem.code().as_str()))
}

/// What a viewer asks for.
#[derive(Clone, Copy)]
struct Target<'a> {
    name: &'a str,
    query: Option<&'a str>,
}

async fn create_session(
    deps: &Deps,
    target: Target<'_>,
    principal: Principal,
    headers: &HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let stream = deps.registry.get(target.name).ok_or(Code::StreamUnknown)?;
    deps.access.authorize(&principal, Action::View, stream.name())?;
    let stream = http::of_quality(&stream, target.query)?;
    let offer = read_offer(headers, body)?;
    // Held until the session's own task cares.
    let _interest = stream.watch();
    let tracks = tracks(&stream, &offer).await?;
    let Choice { plan, codecs, notice } = choose(&offer, &tracks, &stream)?;
    let host = host_address(headers);
    let begun = deps.whep.begin(&stream, principal, &offer, &plan, codecs, host).await?;

    // Relative to the request's own path: right behind any prefix.
    let location = format!("whep/{}", begun.id);
    let mut response = (StatusCode::CREATED, begun.answer).into_response();
    let out = response.headers_mut();
    let text = |text: &str| HeaderValue::from_str(text).expect("hex, slash and quotes");
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    out.insert(header::LOCATION, text(&location));
    out.insert(header::ETAG, text(&begun.etag));
    out.insert(HeaderName::from_static("accept-patch"), HeaderValue::from_static(SDP_FRAGMENT));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for link in deps.whep.config.ice_servers.iter().flat_map(links) {
        out.append(header::LINK, link);
    }
    if let Some(code) = notice {
        out.insert(NOTICE, HeaderValue::from_static(code.as_str()));
    }
    Ok(response)
}

fn read_offer(
    headers: &HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Offer, Fault> {
    let bad = |why: &str| Fault::new(Code::ViewerBadOffer, why);
    if !has_type(headers, SDP) {
        return Err(bad("the Content-Type is not application/sdp"));
    }
    let body = body.map_err(|rejection| bad(&rejection.body_text()))?;
    let text = std::str::from_utf8(&body).map_err(|_| bad("it is not UTF-8"))?;
    Offer::read(text).map_err(|BadOffer(why)| bad(why))
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split(';').next()).unwrap_or_default();
    given.trim().eq_ignore_ascii_case(wanted)
}

/// The stream's tracks, waiting a little for a camera that is only starting, or
/// whose key frame is no longer held, but not for one that is known to be down.
async fn tracks(stream: &Arc<Stream>, offer: &Offer) -> Result<Arc<Tracks>, Problem> {
    let mut frames = stream.subscribe("whep", Join::Live);
    let mut status = stream.watch_status();
    let known = async {
        loop {
            if status.borrow_and_update().state == SourceState::Down {
                return None;
            }
            if let Some(tracks) = stream.tracks()
                && (stream.can_start() || !needs_key_frame(&tracks, offer))
            {
                return Some(tracks);
            }
            tokio::select! {
                seen = frames.next() => seen.map(drop)?,
                changed = status.changed() => changed.ok()?,
            }
        }
    };
    let known = tokio::time::timeout(START_TIMEOUT, known).await.ok().flatten();
    known.ok_or_else(|| {
        let down = stream.status().state == SourceState::Down;
        if down || stream.tracks().is_none() {
            return Problem::not_ready(stream);
        }
        let detail = format!("none for {} s", START_TIMEOUT.as_secs());
        Fault::new(Code::SourceNoKeyframe, detail).into()
    })
}

/// Whether the viewer would see nothing before a key frame. Of a codec that it
/// is not sent anyway it is told at once.
fn needs_key_frame(tracks: &Tracks, offer: &Offer) -> bool {
    let h264 = tracks.video().is_some_and(|track| matches!(track.codec, Codec::H264(_)));
    h264 && !(is_sound_only(offer) && tracks.audio().is_some())
}

/// Somebody who asks for sound alone may have it.
fn is_sound_only(offer: &Offer) -> bool {
    !offer.wants(MediaKind::Video) && offer.wants(MediaKind::Audio)
}

/// What of a stream goes to a viewer, and how.
struct Choice {
    plan: Plan,
    /// Names of the codecs, video first.
    codecs: [Option<&'static str>; 2],
    /// What the viewer has to do without.
    notice: Option<Code>,
}

/// Matches the stream and the offer.
fn choose(offer: &Offer, tracks: &Tracks, stream: &Stream) -> Result<Choice, Fault> {
    let mut plan = Plan::default();
    let mut codecs = [None; 2];
    let (video, audio) = (tracks.video(), tracks.audio());
    let unplayable = |source: &str| {
        let offered = offer.codec_names(MediaKind::Video);
        let detail = format!("the camera sends {source}; the offer has {offered}");
        Fault::new(Code::VideoUnplayable, detail)
    };
    if let Some(track) = video.filter(|_| !(is_sound_only(offer) && audio.is_some())) {
        let Codec::H264(avc) = &track.codec else { return Err(unplayable(track.codec.name())) };
        // Cameras announce more than they do: what they send decides.
        if reorder::is_possible(avc) && reorder::seen_in(stream) {
            return Err(Code::Bframes.into());
        }
        let codec = offer.h264(avc).ok_or_else(|| unplayable("H.264"))?;
        plan.rtx = offer.rtx(codec).cloned();
        plan.video = Some(codec.clone());
        codecs[0] = Some(track.codec.name());
    }
    if let Some(track) = audio
        && let Some(codec) = offer.audio(&track.codec)
    {
        plan.audio = Some(codec.clone());
        codecs[1] = Some(track.codec.name());
    }
    if plan.video.is_none() && plan.audio.is_none() {
        let names: Vec<&str> = tracks.iter().map(|track| track.codec.name()).collect();
        return Err(unplayable(&names.join(" and ")));
    }
    let deaf = audio.is_some() && plan.audio.is_none() && offer.wants(MediaKind::Audio);
    Ok(Choice { plan, codecs, notice: deaf.then_some(Code::AudioDropped) })
}

/// The address in the request's `Host`, which evidently reaches us.
fn host_address(headers: &HeaderMap) -> Option<IpAddr> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let authority: axum::http::uri::Authority = host.parse().ok()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host == "localhost" {
        return Some(std::net::Ipv4Addr::LOCALHOST.into());
    }
    host.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified())
}

/// `Link` headers as WHEP §4.6 has them.
fn links(server: &IceServer) -> impl Iterator<Item = HeaderValue> {
    let quoted = |name: &str, value: &Option<String>| match value {
        Some(value) => {
            format!("; {name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        }
        None => String::new(),
    };
    let mut rest = quoted("username", &server.username) + &quoted("credential", &server.credential);
    if server.credential.is_some() {
        rest += "; credential-type=\"password\"";
    }
    let link = move |url: &String| format!("<{url}>; rel=\"ice-server\"{rest}").parse().ok();
    server.urls.iter().filter_map(link).collect::<Vec<_>>().into_iter()
}

async fn end(
    State(deps): State<Deps>,
    Path((stream, session)): Path<(String, String)>,
    caller: Caller,
) -> Response {
    let Some((id, session)) = find(&deps, &stream, &session, caller) else {
        return no_session();
    };
    // An error means that the session has just ended by itself.
    let _ = session.task.send(Command::Leave(id, "left")).await;
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
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let Some((id, session)) = find(&deps, &stream, &session, caller) else {
        return no_session();
    };
    if !has_type(&headers, SDP_FRAGMENT) {
        let detail = "PATCH takes application/trickle-ice-sdpfrag";
        return other_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    }
    // RFC 9725 §4.3.1, as WHEP has it too.
    let Some(tag) = headers.get(header::IF_MATCH) else {
        let detail = "PATCH needs If-Match, with the session's ETag";
        return other_problem(StatusCode::PRECONDITION_REQUIRED, detail);
    };
    let any = tag.as_bytes() == b"*";
    let etag = format!("\"{}\"", session.ufrag);
    // RFC 9110 §13.1.1 allows a list; ours has no comma.
    let mut tags = tag.to_str().unwrap_or_default().split(',').map(str::trim);
    if !any && !tags.any(|tag| tag == etag) {
        let detail = "If-Match is not the session's ETag, which an ICE restart changes";
        return other_problem(StatusCode::PRECONDITION_FAILED, detail);
    }
    let text = body.ok().and_then(|body| String::from_utf8(body.to_vec()).ok());
    let Some(text) = text else {
        return other_problem(StatusCode::BAD_REQUEST, "the body cannot be read");
    };
    let fragment = match Fragment::read(&text) {
        Ok(fragment) => fragment,
        Err(error) => return other_problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match (fragment.ufrag.clone(), fragment.password.clone()) {
        (Some(ufrag), _) if ufrag != session.remote_ufrag && !any => {
            let detail = "an ICE restart needs `If-Match: *`";
            other_problem(StatusCode::PRECONDITION_FAILED, detail)
        }
        (Some(ufrag), None) if ufrag != session.remote_ufrag => {
            let detail = "a new `a=ice-ufrag` needs a new `a=ice-pwd`";
            other_problem(StatusCode::BAD_REQUEST, detail)
        }
        (Some(ufrag), Some(password)) if ufrag != session.remote_ufrag => {
            restart(&deps, id, &session, &fragment, (ufrag, password), &headers).await
        }
        _ => {
            let _ = session.task.send(Command::Candidates(id, fragment.candidates)).await;
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
    let (ufrag, password) = engine::credentials();
    let Ok(addresses) = deps.whep.addresses(host_address(headers)).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let reply = fragment.reply(&ufrag, &password, &addresses);
    let etag = HeaderValue::from_str(&format!("\"{ufrag}\"")).expect("hex and quotes");
    let (remote_ufrag, remote_password) = theirs;
    let restart = Restart { ufrag, password, remote_ufrag, remote_password };
    deps.whep.shared.rename(id, &restart);
    let _ = session.task.send(Command::Restart(id, Box::new(restart))).await;
    let candidates = Command::Candidates(id, fragment.candidates.clone());
    let _ = session.task.send(candidates).await;
    let kind = HeaderValue::from_static(SDP_FRAGMENT);
    ([(header::CONTENT_TYPE, kind), (header::ETAG, etag)], reply).into_response()
}

fn find(deps: &Deps, stream: &str, id: &str, caller: Caller) -> Option<(SessionId, Session)> {
    deps.whep.session(id, stream, &principal(caller))
}

fn no_session() -> Response {
    other_problem(StatusCode::NOT_FOUND, "there is no such session, or it has ended")
}

/// A problem that is about the request alone, so not in the catalogue of
/// faults (RFC 9457 §4.2.1).
fn other_problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason();
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

/// OPTIONS: what may be posted.
async fn options() -> Response {
    let headers = [(header::ALLOW, "OPTIONS, POST, PATCH, DELETE")];
    (StatusCode::NO_CONTENT, headers, [(HeaderName::from_static("accept-post"), SDP)])
        .into_response()
}
