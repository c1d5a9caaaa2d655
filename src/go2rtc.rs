//! go2rtc's URLs for our streams, so that dashboards and cards made for it find
//! them: its forms of a request become our own, and answers go back in its form.
//!
//! Here: which of its URLs is which of ours. Not here: what they do.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::form_urlencoded;

use crate::fault::{Code, Fault};
use crate::http::Problem;
use crate::media::StreamName;

const SDP: &str = "application/sdp";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Longest answer that is put into another form: an SDP has a few kilobytes.
const MOST_BYTES: usize = 64 << 10;

/// The aliases of what `ours` serves.
pub fn routes(ours: &Router) -> Router {
    let forwarded = |path: &'static str| {
        let ours = ours.clone();
        get(async move |request: Request| match Asked::of(&request) {
            Ok(asked) => forward(ours, request, &asked.path(path)).await,
            Err(problem) => problem.into_response(),
        })
    };
    // A playlist's links are relative to its own URL.
    let moved = |path: &'static str| {
        get(async move |request: Request| match Asked::of(&request) {
            Ok(asked) => Redirect::temporary(&asked.path(path)).into_response(),
            Err(problem) => problem.into_response(),
        })
    };
    let webrtc = ours.clone();
    Router::new()
        .route("/api/ws", forwarded("/mse"))
        .route("/api/frame.jpeg", forwarded("/snapshot.jpg"))
        .route("/api/stream.mjpeg", forwarded("/stream.mjpeg"))
        .route("/api/stream.m3u8", moved("/index.m3u8"))
        .route("/stream.html", moved("/"))
        .route("/api/webrtc", post(async move |request| webrtc_answer(webrtc, request).await))
}

/// `?src=` and what stands beside it.
struct Asked {
    stream: StreamName,
    rest: String,
    /// How many folders the URL is below ours.
    depth: usize,
}

impl Asked {
    fn of(request: &Request) -> Result<Self, Problem> {
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let mut rest = form_urlencoded::Serializer::new(String::new());
        let mut stream = None;
        for (key, value) in form_urlencoded::parse(query) {
            match &*key {
                "src" => stream = value.parse().ok(),
                // go2rtc's word for a picture's width.
                "w" => drop(rest.append_pair("width", &value)),
                _ => drop(rest.append_pair(&key, &value)),
            }
        }
        let unknown = || Fault::new(Code::StreamUnknown, "`?src=` names the stream");
        let depth = request.uri().path().matches('/').count() - 1;
        Ok(Self { stream: stream.ok_or_else(unknown)?, rest: rest.finish(), depth })
    }

    /// Our URL, relative to the one asked for: right behind any prefix.
    fn path(&self, below: &str) -> String {
        let Self { stream, rest, depth } = self;
        let query = if rest.is_empty() { "" } else { "?" };
        format!("{}{stream}{below}{query}{rest}", "../".repeat(*depth))
    }
}

/// Hands the request on to our own URL at `path`.
async fn forward(ours: Router, mut request: Request, path: &str) -> Response {
    let path = format!("/{}", path.trim_start_matches("../"));
    let Ok(uri) = path.parse::<Uri>() else {
        return Problem::from(Code::StreamUnknown).into_response();
    };
    *request.uri_mut() = uri;
    ours.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// An offer in one of go2rtc's forms: SDP as such, in JSON, or in base64 in a
/// form; the answer comes in the same.
async fn webrtc_answer(ours: Router, request: Request) -> Response {
    let asked = match Asked::of(&request) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let (mut head, body) = request.into_parts();
    let form = media_type(&head.headers);
    let bad = |what: &str| Problem::from(Fault::new(Code::ViewerBadOffer, what)).into_response();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else { return bad("it is too long") };
    let offer = match form.as_str() {
        JSON => {
            let told: Value = serde_json::from_slice(&body).unwrap_or_default();
            told["sdp"].as_str().map(|sdp| sdp.as_bytes().to_vec())
        }
        FORM => form_urlencoded::parse(&body)
            .find(|(key, _)| key == "data")
            .and_then(|(_, data)| BASE64.decode(data.as_bytes()).ok()),
        _ => Some(body.to_vec()),
    };
    let Some(offer) = offer else { return bad("there is no SDP in it") };
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    head.headers.remove(header::CONTENT_LENGTH);
    let request = Request::from_parts(head, Body::from(offer));
    let mut response = forward(ours, request, &asked.path("/whep")).await;
    if response.status() != StatusCode::CREATED {
        return response;
    }
    // A session's URL is relative to that of its endpoint.
    if let Some(session) = response.headers().get(header::LOCATION).and_then(|at| at.to_str().ok())
        && let Ok(location) = format!("../{}/{session}", asked.stream).parse()
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if form == SDP {
        return response;
    }
    *response.status_mut() = StatusCode::OK;
    if form == JSON || form == FORM {
        return in_form(response, &form).await;
    }
    response
}

/// The answer as JSON, or as base64.
async fn in_form(response: Response, form: &str) -> Response {
    let (mut head, body) = response.into_parts();
    // Our own answer, in memory already.
    let sdp = to_bytes(body, MOST_BYTES).await.unwrap_or_default();
    let (kind, text) = if form == JSON {
        (JSON, json!({ "type": "answer", "sdp": String::from_utf8_lossy(&sdp) }).to_string())
    } else {
        ("text/plain", BASE64.encode(&sdp))
    };
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(text))
}

fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = given.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::extract::{Path, RawQuery};

    use super::*;

    /// A house of ours that says what it was asked.
    fn house() -> Router {
        let whep = async |Path(name): Path<String>, headers: HeaderMap, body: String| {
            assert_eq!(headers["content-type"], SDP);
            let location = [(header::LOCATION, "whep/0123"), (header::CONTENT_TYPE, SDP)];
            (StatusCode::CREATED, location, format!("{name} answers {body}"))
        };
        let said = async |Path((name, what)): Path<(String, String)>, RawQuery(query): RawQuery| {
            format!("{name} {what} {}", query.unwrap_or_default())
        };
        Router::new().route("/{stream}/whep", post(whep)).route("/{stream}/{what}", get(said))
    }

    async fn ask(
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> (StatusCode, HeaderMap, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = routes(&house()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, MOST_BYTES).await.unwrap();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_offer_is_answered_in_the_form_it_came_in() {
        let base64 = BASE64.encode("v=0");
        let form = format!("url=x&data={}", base64.replace('+', "%2B").replace('=', "%3D"));
        for (kind, offer, status, answer) in [
            (SDP, "v=0", 201, "yard answers v=0".to_owned()),
            ("", "v=0", 200, "yard answers v=0".to_owned()),
            (
                "application/json; charset=utf-8",
                r#"{"type":"offer","sdp":"v=0"}"#,
                200,
                r#"{"sdp":"yard answers v=0","type":"answer"}"#.to_owned(),
            ),
            (FORM, &form, 200, BASE64.encode("yard answers v=0")),
        ] {
            let (found, headers, body) = ask("POST", "/api/webrtc?src=yard", kind, offer).await;
            assert_eq!((found.as_u16(), &body), (status, &answer), "{kind}");
            assert_eq!(headers["location"], "../yard/whep/0123");
        }
        for (path, kind, offer, status) in [
            ("/api/webrtc?src=%3Cimg%3E", SDP, "v=0", 404),
            ("/api/webrtc", SDP, "v=0", 404),
            ("/api/webrtc?src=yard", JSON, "v=0", 400),
            ("/api/webrtc?src=yard", FORM, "data=%00", 400),
        ] {
            assert_eq!(ask("POST", path, kind, offer).await.0.as_u16(), status, "{path} {kind}");
        }
    }

    #[tokio::test]
    async fn other_urls_are_ours_under_another_name() {
        for (path, said) in [
            ("/api/ws?src=yard&quality=sub", "yard mse quality=sub"),
            ("/api/frame.jpeg?src=yard&w=320", "yard snapshot.jpg width=320"),
            ("/api/stream.mjpeg?src=yard", "yard stream.mjpeg "),
        ] {
            assert_eq!(ask("GET", path, "", "").await.2, said, "{path}");
        }
        for (path, location) in [
            ("/api/stream.m3u8?src=yard&mp4", "../yard/index.m3u8?mp4="),
            ("/stream.html?src=yard&mode=mse", "yard/?mode=mse"),
        ] {
            let (status, headers, _) = ask("GET", path, "", "").await;
            assert_eq!((status.as_u16(), headers["location"].to_str().unwrap()), (307, location));
        }
        for path in ["/api/ws", "/stream.html?src=", "/api/stream.m3u8?src=..%2Fetc"] {
            assert_eq!(ask("GET", path, "", "").await.0.as_u16(), 404, "{path}");
        }
    }
}
