//! URLs: playlists that can be waited for, and objects that never change.

use std::iter;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;

use super::Hls;
use super::answer::{Object, Text, Wish, gone, plain};
use super::channel::Channel;
use super::directives::Directives;
use super::multivariant::{self, Variant};
use super::playlist::{self, Name, Report};
use super::snapshot::Snapshot;
use super::store::State;
use super::waiting::{begun_snapshot, first_snapshot, fresh_snapshot, hold, is_down, substream};
use crate::bus::{Registry, Stream};
use crate::fault::{Code, Fault};
use crate::http::{self, Problem, SessionMetrics};
use crate::media::Quality;

/// What the routes need from the house.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// The streams as HLS.
    pub hls: Arc<Hls>,
    /// Where viewers are counted.
    pub sessions: SessionMetrics,
}

/// `/{stream}/index.m3u8` and what it links to, below `/{stream}/hls/`. A
/// substream's playlist is that with `?quality=sub`; it links below
/// `/{stream}/hls/sub/`, so that caches which drop queries cannot mix them up.
/// Without a quality, the playlist offers both.
pub fn routes(deps: Deps) -> Router {
    Router::new()
        .route("/{stream}/index.m3u8", get(index))
        .route("/{stream}/hls/{name}", get(main_object))
        .route("/{stream}/hls/sub/{name}", get(sub_object))
        // One to share: every request takes it.
        .with_state(Arc::new(deps))
}

/// The channel of a stream that may be seen, in the quality that `choose`
/// finds.
fn channel(
    deps: &Deps,
    name: &str,
    choose: impl FnOnce(&Arc<Stream>) -> Result<Arc<Stream>, Fault>,
) -> Result<Arc<Channel>, Problem> {
    let stream = deps.registry.get(name).ok_or(Code::StreamUnknown)?;
    let stream = choose(&stream)?;
    deps.hls.channel(stream.name()).ok_or_else(|| Problem::not_ready(&stream))
}

async fn index(
    Shared(deps): Shared<Arc<Deps>>,
    Path(stream): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let channel = channel(&deps, &stream, |stream| http::of_quality(stream, query.as_deref()))?;
    // Who names a quality gets that one alone.
    let named = !http::adapts(query.as_deref());
    let sub = channel.other().filter(|_| !named);
    if sub.is_some() {
        channel.pair();
    } else {
        channel.touch();
    }
    let sessions = deps.sessions.of("hls");
    let other = async { substream(sub.as_deref()?).await };
    let (snapshot, other) = tokio::join!(fresh_snapshot(&channel), other);
    let snapshot = match snapshot {
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
            let variants = iter::once(Variant::of(&snapshot, quality)).chain(other);
            let text = multivariant::text(&variants.collect::<Vec<_>>());
            Ok(Text::from(text).answer(&headers, max_age))
        }
        Err(problem) => {
            sessions.setup(problem.code().as_str());
            Err(problem)
        }
    }
}

async fn main_object(
    method: Method,
    Shared(deps): Shared<Arc<Deps>>,
    Path((stream, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let channel = channel(&deps, &stream, |stream| Ok(Arc::clone(stream)))?;
    let wish = Wish { method: &method, headers: &headers };
    object(&wish, &deps, &channel, Quality::Main, &name, query).await
}

async fn sub_object(
    method: Method,
    Shared(deps): Shared<Arc<Deps>>,
    Path((stream, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sub = Some(Quality::Sub.as_str());
    let channel = channel(&deps, &stream, |stream| stream.of_quality(sub))?;
    let wish = Wish { method: &method, headers: &headers };
    object(&wish, &deps, &channel, Quality::Sub, &name, query).await
}

async fn object(
    wish: &Wish<'_>,
    deps: &Deps,
    channel: &Channel,
    quality: Quality,
    file: &str,
    query: Option<String>,
) -> Result<Response, Problem> {
    let Some(name) = Name::parse(file) else {
        return Ok(plain(StatusCode::NOT_FOUND, "HLS has nothing of that name.", None));
    };
    if name == Name::Media {
        channel.touch();
        let query = query.unwrap_or_default();
        return media(deps, channel, quality, &query, wish.headers).await;
    }

    let snapshot = match &*channel.watch().borrow() {
        State::Live(snapshot) => Arc::clone(snapshot),
        State::Starting | State::Unplayable(_) => return Ok(gone(None)),
    };
    let snapshot = match name {
        Name::Part(number, part)
            if number == snapshot.next && part == snapshot.open_parts() && !snapshot.ended =>
        {
            // It may end up in the next segment (`Cutter::push_lead`): a hint
            // is no promise (§4.4.5.3).
            let has = move |s: &Snapshot| s.next > number || s.part(number, part).is_some();
            hold(&deps.hls, channel, &snapshot, has).await?.unwrap_or(snapshot)
        }
        _ => snapshot,
    };
    let Some(content) = snapshot.content(name) else { return Ok(gone(Some(&snapshot))) };
    let kind = if snapshot.init.size.is_some() { "video/mp4" } else { "audio/mp4" };
    let max_age = snapshot.targets.segment * 6;
    let answer = Object { name: file, kind, content, max_age }.answer(wish).await;
    // Nobody but the operator can have taken the file.
    let Ok((response, sent)) = answer else { return Ok(gone(None)) };
    channel.count_sent(&deps.sessions, sent);
    Ok(response)
}

/// The media playlist, waited for as the query asks.
async fn media(
    deps: &Deps,
    channel: &Channel,
    quality: Quality,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let directives = Directives::parse(query);
    let begins = directives.is_ok_and(|asked| asked.segment.is_none());
    let snapshot =
        if begins { begun_snapshot(channel).await? } else { first_snapshot(channel).await? };
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
            match hold(&deps.hls, channel, &snapshot, enough).await? {
                Some(snapshot) => snapshot,
                None => return Err(Problem::not_ready(channel.stream())),
            }
        }
    };
    // §B.1: blocking reloads are cached long, since their URL says what they
    // hold; plain ones shortly.
    let max_age = if asked.segment.is_some() { target * 6 } else { target / 2 };
    let other = || {
        let other = channel.alternative()?;
        let uri = match quality {
            Quality::Main => "sub/media.m3u8",
            Quality::Sub => "../media.m3u8",
        };
        match &*other.watch().borrow() {
            State::Live(snapshot) => Report::of(snapshot, uri),
            State::Starting | State::Unplayable(_) => None,
        }
    };
    let full = || playlist::media(&snapshot, 0, other()).into();
    let text = match playlist::skippable_for(&snapshot, asked.segment) {
        skipped if asked.skip && skipped > 0 && !snapshot.ended => {
            snapshot.delta.get_or_init(|| playlist::media(&snapshot, skipped, other()).into())
        }
        _ => snapshot.full.get_or_init(full),
    };
    Ok(text.answer(headers, max_age))
}
