//! URLs: one picture, and a row of them.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, RawQuery, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::Semaphore;
use url::form_urlencoded;

use super::Pictures;
use super::newest::{interest, newest};
use super::pictures::{Original, Width};
use super::row::{BOUNDARY, Row, Shown};
use crate::auth::Pass;
use crate::bus::{Registry, Stream};
use crate::fault::Code;
use crate::http::{self, Problem, SessionMetrics};
use crate::media::WallTime;

/// What the routes need from the house.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// Their pictures.
    pub pictures: Arc<Pictures>,
    /// Places for rows of pictures; each costs a connection.
    pub rows: Arc<Semaphore>,
    /// Where viewers are counted.
    pub sessions: SessionMetrics,
}

/// Pictures a second that may be asked for.
const FPS: std::ops::RangeInclusive<f64> = 0.1..=60.0;

/// `/{stream}/snapshot.jpg` and `/{stream}/stream.mjpeg`; the latter ends with the
/// [`Pass`] among its request's extensions.
pub fn routes(deps: Deps) -> Router {
    Router::new()
        .route("/{stream}/snapshot.jpg", get(snapshot))
        .route("/{stream}/stream.mjpeg", get(row))
        .with_state(deps)
}

/// Why there is no answer.
enum Refused {
    /// What was asked makes no sense.
    Request(&'static str),
    Problem(Problem),
}

impl<T: Into<Problem>> From<T> for Refused {
    fn from(problem: T) -> Self {
        Self::Problem(problem.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Request(why) => http::request_problem(StatusCode::BAD_REQUEST, why),
            Self::Problem(problem) => problem.into_response(),
        }
    }
}

/// What the query of a URL asks for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    width: Option<Width>,
    /// Least time between two pictures.
    pace: Duration,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Self, &'static str> {
        let mut asked = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "width" => {
                    let width = parsed(&value).and_then(|width| Width::at_least(width).ok());
                    asked.width = width.ok_or("`width` is a number of pixels from 1 to 8192")?;
                }
                // go2rtc has these.
                "height" | "h" | "rotate" => {
                    return Err("a picture is scaled by its `width` alone, and not turned");
                }
                "fps" => {
                    let fps = parsed(&value).filter(|fps| FPS.contains(fps));
                    let fps = fps.ok_or("`fps` is a number of pictures a second, 0.1 to 60")?;
                    asked.pace = Duration::from_secs_f64(1.0 / fps);
                }
                _ => {}
            }
        }
        Ok(asked)
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A stream that may be seen, in the quality asked for.
fn stream(deps: &Deps, name: &str, query: Option<&str>) -> Result<Arc<Stream>, Problem> {
    let stream = deps.registry.get(name).ok_or(Code::StreamUnknown)?;
    Ok(http::of_quality(&stream, query)?)
}

async fn snapshot(
    Shared(deps): Shared<Deps>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let stream = stream(&deps, &name, query.as_deref())?;
    let asked = Asked::read(query.as_deref()).map_err(Refused::Request)?;
    // A camera on demand stays for a while after this.
    let _interest = interest(&deps.pictures, &stream);
    let original = newest(&deps.pictures, &stream).await?;
    let file = deps.pictures.file(&original, asked.width).await?;
    let etag = etag(&original, asked.width);
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let length = file.len();
        if method != Method::HEAD {
            let sent = deps.sessions.of("mjpeg").sent_bytes(stream.name());
            sent.inc_by(length as u64);
        }
        let mut response = Body::from(file).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(original.arrived.elapsed().as_secs()));
    headers.insert(header::ETAG, etag);
    if let Some(at) = http_date(original.wall) {
        headers.insert(header::LAST_MODIFIED, at);
    }
    // May be kept, but is asked for again: it is soon another one.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// The moment and the width, which no two different pictures share, also after
/// a restart.
fn etag(original: &Original, width: Option<Width>) -> HeaderValue {
    let width = width.map_or(0, Width::samples);
    let tag = format!("\"{:x}-{width}\"", original.wall.unix_nanos());
    HeaderValue::try_from(tag).expect("hexadecimal digits are header text")
}

/// When the camera took it (RFC 9110 §5.6.7); never in the future (§8.8.2.1),
/// whatever the camera's clock says.
fn http_date(wall: WallTime) -> Option<HeaderValue> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(wall.unix_nanos().into()).ok()?;
    let at = at.min(OffsetDateTime::now_utc());
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    HeaderValue::try_from(at.format(&format).ok()?).ok()
}

async fn row(
    Shared(deps): Shared<Deps>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    pass: Option<Extension<Pass>>,
    remote: Option<Extension<ConnectInfo<SocketAddr>>>,
    method: Method,
) -> Result<Response, Refused> {
    let asked_at = Instant::now();
    let stream = stream(&deps, &name, query.as_deref())?;
    let asked = Asked::read(query.as_deref()).map_err(Refused::Request)?;
    let sessions = deps.sessions.of("mjpeg");
    let place = Arc::clone(&deps.rows).try_acquire_owned();
    let place = place.map_err(|_| Problem::from(Code::ViewerLimit));
    let interest = interest(&deps.pictures, &stream);
    let first = async {
        let place = place?;
        let original = newest(&deps.pictures, &stream).await?;
        let file = deps.pictures.file(&original, asked.width).await?;
        Ok((place, Shown::new(&original, file)))
    };
    let (place, first) = first.await.inspect_err(|problem: &Problem| {
        sessions.setup(problem.code().as_str());
    })?;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        sessions.setup("ok");
        sessions.connected(asked_at.elapsed().as_secs_f64());
        sessions.first_frame(asked_at.elapsed().as_secs_f64());
        let pass = pass.map(|Extension(pass)| pass);
        let remote = remote.map(|Extension(ConnectInfo(remote))| remote);
        let mut attended = sessions.attend(stream.name(), pass.as_ref(), remote);
        attended.shows_pictures();
        let row = Row::new(Arc::clone(&deps.pictures), stream, asked.width, asked.pace, pass);
        row.watched(attended).body(first, (place, interest))
    };
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store".into())];
    Ok((headers, body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (query, words) in [
            ("width=0", "1 to 8192"),
            ("width=8193", "1 to 8192"),
            ("width=-1", "1 to 8192"),
            ("width=", "1 to 8192"),
            ("width=99999999999", "1 to 8192"),
            ("height=5", "`width` alone"),
            ("rotate=90", "not turned"),
            ("fps=0", "0.1 to 60"),
            ("fps=NaN", "0.1 to 60"),
            ("fps=61", "0.1 to 60"),
        ] {
            let refused = Asked::read(Some(query)).unwrap_err();
            assert!(refused.contains(words), "{query}: {refused}");
        }
        let asked = Asked::read(Some("quality=sub&width=300&fps=2.5")).unwrap();
        assert_eq!(asked.width.map(Width::samples), Some(320));
        assert_eq!(asked.pace, Duration::from_millis(400));
        assert_eq!(Asked::read(None), Ok(Asked::default()));
    }

    #[test]
    fn times_are_those_of_http_and_never_in_the_future() {
        let at = |nanos| http_date(WallTime::from_unix_nanos(nanos)).unwrap();
        assert_eq!(at(784_111_777_900_000_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(!at(i64::MAX).to_str().unwrap().contains("2262"));
    }
}
