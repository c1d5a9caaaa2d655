//! The WHEP endpoint: an offer becomes a session (POST), which has its own URL
//! (`resource`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;

use super::engine::Plan;
use super::offer::{BadOffer, MAX_OFFER, Offer};
use super::{IceServer, Whep, resource};
use crate::auth::Principal;
use crate::bus::{Join, Registry, SourceState, Stream};
use crate::fault::{Code, Fault};
use crate::http::{self, Problem};
use crate::media::{MediaKind, Tracks, reorder};

/// How long a viewer's request waits for the stream's first frame. A camera
/// connects within a second or two; longer waits are the page's to repeat.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// Says what the answer leaves out, or how a session goes; a fault code.
pub(super) const NOTICE: HeaderName = HeaderName::from_static("porthole-notice");

pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
pub(super) const SDP: &str = "application/sdp";
pub(super) const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The endpoint's methods.
const METHODS: &str = "GET, HEAD, OPTIONS, POST";

/// What the routes need.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// The sessions.
    pub whep: Arc<Whep>,
}

/// `POST /{stream}/whep`, and `PATCH` and `DELETE` on what it creates. GET is
/// answered without content (WHEP, HTTP Usage).
///
/// A request's [`Principal`] is taken from its extensions; without one it is
/// anonymous.
pub fn routes(deps: Deps) -> Router {
    Router::new()
        .route("/{stream}/whep", post(create).get(show).options(options).fallback(other_method))
        .route("/{stream}/whep/{session}", resource::methods())
        .layer(DefaultBodyLimit::max(MAX_OFFER))
        .with_state(deps)
}

pub(super) type Caller = Option<Extension<Principal>>;
pub(super) type Body = Result<Bytes, axum::extract::rejection::BytesRejection>;

pub(super) fn principal(caller: Caller) -> Principal {
    caller.map_or(Principal::Anonymous, |Extension(principal)| principal)
}

async fn create(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
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
    body: Body,
) -> Result<Response, Problem> {
    let stream = deps.registry.get(target.name).ok_or(Code::StreamUnknown)?;
    let stream = http::of_quality(&stream, target.query)?;
    let offer = read_offer(headers, body)?;
    // Held until the session's own task cares.
    let _interest = stream.watch();
    let tracks = tracks(&stream, &offer).await?;
    let Choice { mut plan, codecs, notice } = choose(&offer, &tracks, &stream)?;
    plan.adapts = http::adapts(target.query) && stream.substream().is_some();
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
    out.insert(ACCEPT_PATCH, HeaderValue::from_static(SDP_FRAGMENT));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_links(out, deps);
    if let Some(code) = notice {
        out.insert(NOTICE, HeaderValue::from_static(code.as_str()));
    }
    Ok(response)
}

fn read_offer(headers: &HeaderMap, body: Body) -> Result<Offer, Problem> {
    let bad = |why: &str| Problem::from(Fault::new(Code::ViewerBadOffer, why));
    if !has_type(headers, SDP) {
        let problem = bad("the Content-Type is not application/sdp");
        return Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    // Too large, or cut short.
    let body = body.map_err(|no| bad(&no.body_text()).with_status(no.status()))?;
    let text = std::str::from_utf8(&body).map_err(|_| bad("it is not UTF-8"))?;
    Offer::read(text).map_err(|BadOffer(why)| bad(why))
}

pub(super) fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
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
    let video = tracks.video().is_some_and(|track| offer.video(&track.codec).is_some());
    video && !(is_sound_only(offer) && tracks.audio().is_some())
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
        // Cameras announce more than they do: what they send decides.
        if reorder::is_possible(&track.codec) && stream.has_b_frames() == Some(true) {
            return Err(Code::Bframes.into());
        }
        let codec =
            offer.video(&track.codec).ok_or_else(|| unplayable(&offer.lacking(&track.codec)))?;
        plan.rtx = offer.rtx(codec).cloned();
        plan.transport_cc = offer.transport_cc(codec);
        plan.video = Some(codec.clone());
        codecs[0] = Some(track.codec.name());
    }
    if let Some(track) = audio
        && let Some(codec) = offer.audio(&track.codec, track.rate.hz())
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
pub(super) fn host_address(headers: &HeaderMap) -> Option<IpAddr> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let authority: axum::http::uri::Authority = host.parse().ok()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host == "localhost" {
        return Some(std::net::Ipv4Addr::LOCALHOST.into());
    }
    host.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified())
}

fn add_links(headers: &mut HeaderMap, deps: &Deps) {
    for link in deps.whep.config.ice_servers.iter().flat_map(links) {
        headers.append(header::LINK, link);
    }
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

/// GET and HEAD: whether there is an endpoint here (WHEP, WHEP Endpoint URL
/// Discoverability).
async fn show(State(deps): State<Deps>, Path(name): Path<String>) -> Result<Response, Problem> {
    deps.registry.get(&name).ok_or(Code::StreamUnknown)?;
    let headers =
        [(header::CONTENT_TYPE, SDP), (ACCEPT_POST, SDP), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers).into_response())
}

/// OPTIONS: what may be posted; and the ICE servers, for players that cannot use
/// any that they hear of after their offer (RFC 9725 §4.6).
async fn options(State(deps): State<Deps>) -> Response {
    let headers = [(header::ALLOW, METHODS), (ACCEPT_POST, SDP)];
    let mut response = (StatusCode::NO_CONTENT, headers).into_response();
    add_links(response.headers_mut(), &deps);
    response
}

async fn other_method() -> Response {
    http::no_such_method(METHODS)
}
