//! URLs: playlists that can be waited for, and objects that never change.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode_str;

use super::Hls;
use super::channel::{Channel, ready, wait_for};
use super::playlist::{self, Name, number};
use super::segment::Pieces;
use super::store::{Snapshot, State};
use crate::auth::{Access, Action, Principal};
use crate::bus::{Registry, SourceState, Stream};
use crate::fault::{Code, Fault};
use crate::http::{self, Problem, SessionMetrics};
use crate::media::Quality;

/// What the routes need from the house.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// Who may see them.
    pub access: Arc<Access>,
    /// The streams as HLS.
    pub hls: Arc<Hls>,
    /// Where viewers are counted.
    pub sessions: SessionMetrics,
}

/// Longest wait for a stream's first segment while the camera sends nothing
/// yet: it may never.
const FIRST_SEGMENT: Duration = Duration::from_secs(3);
/// The same while it sends. A stream that is cut from now on has a segment
/// with its next key frame, or after [`targets`]' longest lesson of 6 s.
///
/// [`targets`]: super::targets
const FIRST_SEGMENT_LIVE: Duration = Duration::from_secs(8);
/// How long a beginner is held for a second segment: GStreamer 1.22 loses its
/// place for good in a playlist that began with one. Longer than a group of
/// pictures of most cameras.
const SECOND_SEGMENT: Duration = Duration::from_secs(3);
/// A held request gives up after this many target durations (§6.2.5.2).
const HOLD: u32 = 3;

/// `/{stream}/index.m3u8` and what it links to, below `/{stream}/hls/`. A
/// substream's playlist is that with `?quality=sub`; it links below
/// `/{stream}/hls/sub/`, so that caches which drop queries cannot mix them up.
pub fn routes(deps: Deps) -> Router {
    Router::new()
        .route("/{stream}/index.m3u8", get(multivariant))
        .route("/{stream}/hls/{name}", get(main_object))
        .route("/{stream}/hls/sub/{name}", get(sub_object))
        .with_state(deps)
}

/// The channel of a stream that may be seen, in the quality that `choose`
/// finds.
fn channel(
    deps: &Deps,
    name: &str,
    choose: impl FnOnce(&Arc<Stream>) -> Result<Arc<Stream>, Fault>,
) -> Result<Arc<Channel>, Problem> {
    let stream = deps.registry.get(name).ok_or(Code::StreamUnknown)?;
    deps.access.authorize(&Principal::Anonymous, Action::View, stream.name())?;
    let stream = choose(&stream)?;
    deps.hls.channel(stream.name()).ok_or_else(|| Problem::not_ready(&stream))
}

/// The playlist of a channel, once there is one.
async fn first_snapshot(channel: &Channel) -> Result<Arc<Snapshot>, Problem> {
    let mut state = channel.watch();
    let starting = matches!(*state.borrow(), State::Starting);
    if starting && is_down(channel) {
        // Nobody waits for a failure that is known.
        return Err(Problem::not_ready(channel.stream()));
    }
    let patience = if is_live(channel) { FIRST_SEGMENT_LIVE } else { FIRST_SEGMENT };
    // A player that knows no parts wants a segment.
    let first = tokio::time::timeout(patience, ready(&mut state, 1)).await;
    match first.ok().flatten() {
        Some(State::Live(snapshot)) => Ok(snapshot),
        Some(State::Unplayable(codec)) => {
            let detail = format!("HLS cannot carry {codec}");
            Err(Fault::new(Code::VideoUnplayable, detail).into())
        }
        Some(State::Starting) | None => Err(Problem::not_ready(channel.stream())),
    }
}

/// The same for a player that begins: with a second segment, if one comes
/// soon.
async fn second_snapshot(channel: &Channel) -> Result<Arc<Snapshot>, Problem> {
    let first = first_snapshot(channel).await?;
    let mut state = channel.watch();
    match tokio::time::timeout(SECOND_SEGMENT, ready(&mut state, 2)).await {
        Ok(Some(State::Live(snapshot))) => Ok(snapshot),
        _ => Ok(first),
    }
}

/// The playlist for a player that comes now. What is left from before the
/// source went away would play for a moment and then stand still, without a
/// word; so there must be media newer than the player. Players that are there
/// stay.
async fn fresh_snapshot(channel: &Channel) -> Result<Arc<Snapshot>, Problem> {
    let mut state = channel.watch();
    let old = match &*state.borrow() {
        State::Live(snapshot) if !snapshot.ended && !is_live(channel) => Some(Arc::clone(snapshot)),
        _ => None,
    };
    let Some(old) = old else { return second_snapshot(channel).await };
    if is_down(channel) {
        return Err(Problem::not_ready(channel.stream()));
    }
    // What was being cut may still end up in the open segment.
    let fresh = |s: &Snapshot| s.newest_media() > Some(old.next);
    match tokio::time::timeout(FIRST_SEGMENT, wait_for(&mut state, fresh)).await {
        Ok(Some(snapshot)) => Ok(snapshot),
        // The old window was dropped meanwhile.
        Ok(None) => second_snapshot(channel).await,
        Err(_) => Err(Problem::not_ready(channel.stream())),
    }
}

/// Whether frames come, as far as is known.
fn is_live(channel: &Channel) -> bool {
    let stream = channel.stream();
    stream.tracks().is_some() && stream.status().state == SourceState::Live
}

fn is_down(channel: &Channel) -> bool {
    channel.stream().status().state == SourceState::Down
}

async fn multivariant(
    Shared(deps): Shared<Deps>,
    Path(stream): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let channel = channel(&deps, &stream, |stream| http::of_quality(stream, query.as_deref()))?;
    channel.touch();
    let sessions = deps.sessions.of("hls");
    let snapshot = match fresh_snapshot(&channel).await {
        // It may have failed while the player waited.
        Ok(snapshot) if !snapshot.ended && is_down(&channel) => {
            drop(snapshot);
            Err(Problem::not_ready(channel.stream()))
        }
        other => other,
    };
    match snapshot {
        Ok(snapshot) => {
            sessions.setup("ok");
            let max_age = snapshot.targets.segment / 2;
            let main = channel.stream().name().as_str() == stream;
            let quality = if main { Quality::Main } else { Quality::Sub };
            Ok(playlist_response(playlist::multivariant(&snapshot, quality).into(), max_age))
        }
        Err(problem) => {
            sessions.setup(problem.code().as_str());
            Err(problem)
        }
    }
}

async fn main_object(
    method: Method,
    Shared(deps): Shared<Deps>,
    Path((stream, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let channel = channel(&deps, &stream, |stream| Ok(Arc::clone(stream)))?;
    object(&method, &deps, &channel, &name, query).await
}

async fn sub_object(
    method: Method,
    Shared(deps): Shared<Deps>,
    Path((stream, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let sub = Some(Quality::Sub.as_str());
    let channel = channel(&deps, &stream, |stream| stream.of_quality(sub))?;
    object(&method, &deps, &channel, &name, query).await
}

async fn object(
    method: &Method,
    deps: &Deps,
    channel: &Channel,
    name: &str,
    query: Option<String>,
) -> Result<Response, Problem> {
    let Some(name) = Name::parse(name) else {
        return Ok(plain(StatusCode::NOT_FOUND, "HLS has nothing of that name.", None));
    };
    if name == Name::Media {
        channel.touch();
        return media(deps, channel, query.as_deref().unwrap_or_default()).await;
    }

    let snapshot = match &*channel.watch().borrow() {
        State::Live(snapshot) => Arc::clone(snapshot),
        State::Starting | State::Unplayable(_) => return Ok(gone(None)),
    };
    let chunks = match name {
        Name::Media => Vec::new(),
        Name::Init(number) => snapshot.init(number).map(|i| i.data.clone()).into_iter().collect(),
        Name::Segment(number) => match snapshot.segment(number) {
            // Exactly its parts, one after the other; never copied together.
            Some(segment) => {
                segment.parts.iter().flat_map(|part| part.data.iter().cloned()).collect()
            }
            None => Vec::new(),
        },
        Name::Part(number, part) => {
            let hinted = number == snapshot.next && part == snapshot.open_parts();
            // It may end up in the next segment (`Cutter::push_lead`): a hint
            // is no promise (§4.4.5.3).
            let has = move |s: &Snapshot| s.next > number || s.part(number, part).is_some();
            let later = if hinted && !snapshot.ended {
                hold(deps, channel, &snapshot, has).await?
            } else {
                None
            };
            let snapshot = later.as_ref().unwrap_or(&snapshot);
            let part = snapshot.part(number, part).map(|part| &part.data);
            part.into_iter().flat_map(Pieces::iter).cloned().collect()
        }
    };
    if chunks.is_empty() {
        return Ok(gone(Some(&snapshot)));
    }
    let length: usize = chunks.iter().map(Bytes::len).sum();
    if *method != Method::HEAD {
        deps.sessions.of("hls").sent_bytes(channel.stream().name()).inc_by(length as u64);
    }
    let kind = if snapshot.init.size.is_some() { "video/mp4" } else { "audio/mp4" };
    Ok(with_headers(body(chunks), kind, length, snapshot.targets.segment * 6))
}

/// The media playlist, waited for as the query asks.
async fn media(deps: &Deps, channel: &Channel, query: &str) -> Result<Response, Problem> {
    let directives = Directives::parse(query);
    let begins = directives.is_ok_and(|asked| asked.segment.is_none());
    let snapshot =
        if begins { second_snapshot(channel).await? } else { first_snapshot(channel).await? };
    let target = snapshot.targets.segment;
    let bad = |why| Ok(plain(StatusCode::BAD_REQUEST, why, Some(target * 4)));
    let asked = match directives {
        // A playlist that has ended is what it is (§6.2.5.2).
        _ if snapshot.ended => Directives::default(),
        Ok(asked) => asked,
        Err(why) => return bad(why),
    };
    let snapshot = match asked.segment {
        None => snapshot,
        Some(number) if snapshot.too_far(number, asked.part) => {
            return bad("_HLS_msn or _HLS_part is too far ahead of the playlist.");
        }
        Some(number) if snapshot.reaches(number, asked.part) => snapshot,
        Some(number) => {
            let enough = move |s: &Snapshot| s.reaches(number, asked.part);
            match hold(deps, channel, &snapshot, enough).await? {
                Some(snapshot) => snapshot,
                None => return Err(Problem::not_ready(channel.stream())),
            }
        }
    };
    // §B.1: blocking reloads are cached long, since their URL says what they
    // hold; plain ones shortly.
    let max_age = if asked.segment.is_some() { target * 6 } else { target / 2 };
    let full = || Bytes::from(playlist::media(&snapshot, 0));
    let text = match playlist::skippable_for(&snapshot, asked.segment) {
        skipped if asked.skip && skipped > 0 && !snapshot.ended => {
            snapshot.delta.get_or_init(|| playlist::media(&snapshot, skipped).into())
        }
        _ => snapshot.full.get_or_init(full),
    };
    Ok(playlist_response(text.clone(), max_age))
}

/// Holds a request until `enough` holds, for as long as the client stays.
/// `None` when the stream was detached meanwhile.
async fn hold(
    deps: &Deps,
    channel: &Channel,
    snapshot: &Snapshot,
    enough: impl Fn(&Snapshot) -> bool,
) -> Result<Option<Arc<Snapshot>>, Problem> {
    let _permit = deps.hls.held.try_acquire().map_err(|_| Code::ViewerLimit)?;
    let _held = deps.hls.metrics.hold();
    let mut state = channel.watch();
    let longest = snapshot.targets.segment * HOLD;
    match tokio::time::timeout(longest, wait_for(&mut state, enough)).await {
        Ok(snapshot) => {
            channel.touch();
            Ok(snapshot)
        }
        // 503, whatever ails the camera: §6.2.5.2 knows no other status.
        Err(_) => {
            let fault = channel.stream().status().fault;
            let why = fault.map_or("no new media for three target durations".into(), |fault| {
                format!("no new media for three target durations: {fault}")
            });
            Err(Fault::new(Code::StreamStarting, why).into())
        }
    }
}

/// What a player asks of a media playlist (§6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Directives {
    segment: Option<u64>,
    part: Option<usize>,
    skip: bool,
}

impl Directives {
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut asked = Self::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match key {
                "_HLS_msn" => {
                    asked.segment = Some(number(&value).ok_or("_HLS_msn is not a number.")?);
                }
                "_HLS_part" => {
                    let part = number(&value).and_then(|part| usize::try_from(part).ok());
                    asked.part = Some(part.ok_or("_HLS_part is not a number.")?);
                }
                // `v2` asks for skipped date ranges too; we have none.
                "_HLS_skip" => asked.skip = matches!(&*value, "YES" | "v2"),
                _ => {}
            }
        }
        match asked {
            Self { segment: None, part: Some(_), .. } => Err("_HLS_part needs _HLS_msn."),
            _ => Ok(asked),
        }
    }
}

fn body(mut chunks: Vec<Bytes>) -> Body {
    match (chunks.pop(), chunks.is_empty()) {
        (Some(only), true) => Body::from(only),
        (last, _) => {
            let chunks = chunks.into_iter().chain(last);
            Body::from_stream(stream::iter(chunks.map(Ok::<_, std::convert::Infallible>)))
        }
    }
}

fn playlist_response(text: Bytes, max_age: Duration) -> Response {
    let length = text.len();
    with_headers(Body::from(text), "application/vnd.apple.mpegurl", length, max_age)
}

fn with_headers(body: Body, kind: &'static str, length: usize, max_age: Duration) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, max_age_of(max_age));
    response
}

fn max_age_of(age: Duration) -> HeaderValue {
    let value = format!("max-age={}", age.as_secs());
    HeaderValue::try_from(value).expect("a number is a header value")
}

/// 404: it never was, or is no more. Cached for one target duration (§B.1).
fn gone(snapshot: Option<&Snapshot>) -> Response {
    let max_age = snapshot.map(|snapshot| snapshot.targets.segment);
    plain(StatusCode::NOT_FOUND, "This piece of the stream is not here, or no more.", max_age)
}

/// A player's mistake, in words. The fault catalogue is about cameras and
/// viewers; this is neither's.
fn plain(status: StatusCode, why: &'static str, max_age: Option<Duration>) -> Response {
    let mut response = (status, why).into_response();
    let cache = max_age.map_or(HeaderValue::from_static("no-store"), max_age_of);
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}
