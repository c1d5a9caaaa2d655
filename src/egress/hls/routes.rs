//! URLs: playlists that can be waited for, and objects that never change.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::Hls;
use super::answer::{Text, Wish, mistake};
use super::ask::Ask;
use super::channel::Channel;
use super::multivariant::{self, Variant};
use super::waiting::{fresh_snapshot, is_down, substream};
use crate::bus::{Registry, Stream};
use crate::fault::{Code, Fault};
use crate::http::{self, Problem, Sent, SessionMetrics, Shortcut, Way};
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
pub fn routes(deps: Arc<Deps>) -> Router {
    Router::new()
        .route("/{stream}/index.m3u8", get(index))
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
    let stream = choose(&stream)?;
    deps.hls.channel(stream.name()).ok_or_else(|| Problem::not_ready(&stream))
}

async fn index(
    method: Method,
    Shared(deps): Shared<Arc<Deps>>,
    Path(stream): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let channel = channel(&deps, &stream, |stream| http::of_quality(stream, query.as_deref()))?;
    let wish = Wish::of(&method, &headers);
    // Who names a quality gets that one alone. So does Chromium's own player: 156 takes the
    // numbers of one playlist for those of the other, and stands still when it changes.
    let named = !http::adapts(query.as_deref()) || wish.chromium;
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
            // Chromium 156 cannot read a compressed list that its cache has.
            let max_age = match wish.chromium {
                true => Duration::ZERO,
                false => snapshot.targets.segment / 2,
            };
            let main = channel.stream().name().as_str() == stream;
            let quality = if main { Quality::Main } else { Quality::Sub };
            let own = Variant::of(&snapshot, quality);
            let variants = match other {
                Some(other) if other.goes_with(&own) => vec![own, other],
                Some(_) => {
                    channel.part();
                    vec![own]
                }
                None => vec![own],
            };
            let text = multivariant::text(&variants);
            Ok(Text::from(text).answer(&wish, max_age).map(Body::new))
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
    let wish = Wish::of(&method, &headers);
    object(&deps, &stream, Quality::Main, &name, query.as_deref(), wish).await
}

async fn sub_object(
    method: Method,
    Shared(deps): Shared<Arc<Deps>>,
    Path((stream, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = Wish::of(&method, &headers);
    object(&deps, &stream, Quality::Sub, &name, query.as_deref(), wish).await
}

async fn object(
    deps: &Deps,
    stream: &str,
    quality: Quality,
    file: &str,
    query: Option<&str>,
    wish: Wish,
) -> Result<Response, Problem> {
    let answer = match ask(deps, stream, quality, file, query, wish)? {
        Some(ask) => ask.answer(deps).await?,
        None => mistake(StatusCode::NOT_FOUND, "HLS has nothing of that name.", None),
    };
    Ok(answer.map(Body::new))
}

/// What is asked of a stream; `None` where nothing has that name.
fn ask(
    deps: &Deps,
    stream: &str,
    quality: Quality,
    file: &str,
    query: Option<&str>,
    wish: Wish,
) -> Result<Option<Ask>, Problem> {
    let channel = channel(deps, stream, |stream| stream.of_quality(Some(quality.as_str())))?;
    Ok(Ask::of(channel, quality, file, query, wish))
}

/// The way around the router, for what a crowd asks for: media playlists and
/// what they list.
pub fn shortcut(deps: &Arc<Deps>) -> impl Shortcut + use<> {
    Around(Arc::clone(deps))
}

#[derive(Clone)]
struct Around(Arc<Deps>);

impl Shortcut for Around {
    type Ask = Ask;

    fn way<'r>(&self, parts: &'r Parts) -> Option<Way<'r, Ask>> {
        let path = parts.uri.path();
        let (stream, file) = path.strip_prefix('/')?.split_once("/hls/")?;
        let (pattern, quality, file) = match file.strip_prefix("sub/") {
            Some(file) => ("/{stream}/hls/sub/{name}", Quality::Sub, file),
            None => ("/{stream}/hls/{name}", Quality::Main, file),
        };
        let wish = Wish::of(&parts.method, &parts.headers);
        // What is refused, or not understood, is for the router's routes to say.
        let ask = ask(&self.0, stream, quality, file, parts.uri.query(), wish).ok()??;
        Some(Way { pattern, stream, ask })
    }

    fn answer(&self, ask: Ask) -> impl Future<Output = axum::http::Response<Sent>> + Send + use<> {
        let deps = Arc::clone(&self.0);
        async move {
            let answer = ask.answer(&deps).await;
            answer.unwrap_or_else(|problem| problem.into_response().map(Sent::from))
        }
    }
}
