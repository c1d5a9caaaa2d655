//! Whose pages may read what we answer (the Fetch standard's CORS protocol).

use std::str::FromStr;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Policy;

/// An origin that may read our answers, or `*` for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// The text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is `https://host`, `http://host:port` or `*`, without a path")]
pub struct BadOrigin;

impl Origin {
    /// As browsers write it, or `*`.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Whether the `Origin` of a request is meant.
    pub(super) fn is(&self, origin: &HeaderValue) -> bool {
        self.0 == "*" || self.0 == *origin
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let ok = host.is_some_and(|host| {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
            !host.is_empty() && host.bytes().all(known)
        });
        if !ok && text != "*" {
            return Err(BadOrigin);
        }
        // Browsers send origins in lower case.
        HeaderValue::from_str(&text.to_ascii_lowercase()).map(Self).map_err(|_| BadOrigin)
    }
}

/// What a page may send, and read of an answer: WHEP's headers and HLS's.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, PATCH, DELETE";
const SENT: &str = "Authorization, Content-Type, If-Match, Range";
const READ: &str = "Accept-Patch, Age, Content-Length, Content-Range, Date, ETag, Link, Location, \
     Porthole-Notice";

/// Lets pages of the given origins read answers, and no others.
///
/// A gateway on this machine can be asked by any page that its user opens, and
/// a camera is not for every page; so the list is empty unless configured.
/// Credentials are never allowed.
pub(super) async fn cross_origin<F: Future<Output = Response>>(
    policy: &ArcSwap<Policy>,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let reader = Reader::of(policy, request.headers());
    let asks_first = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &reader.origin {
        Some(_) if asks_first => preflight(),
        _ => next(request).await,
    };
    reader.tell(response.headers_mut());
    response
}

/// Whose page reads an answer.
pub(super) struct Reader {
    /// If it is one that may.
    origin: Option<HeaderValue>,
    /// Whether answers differ from page to page.
    differs: bool,
}

impl Reader {
    pub(super) fn of(policy: &ArcSwap<Policy>, headers: &HeaderMap) -> Self {
        let allowed = &policy.load().cors;
        let may = |origin: &&HeaderValue| allowed.iter().any(|one| one.is(origin));
        let origin = headers.get(header::ORIGIN).filter(may).cloned();
        Self { origin, differs: !allowed.is_empty() }
    }

    /// Says in an answer's headers that it may be read.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        if let Some(origin) = self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
        }
        if self.differs {
            // A cache must not hand one origin's answer to another.
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
}

fn preflight() -> Response {
    let mut headers = HeaderMap::new();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    set(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
    set(header::ACCESS_CONTROL_MAX_AGE, "86400");
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::State;
    use axum::middleware::{Next, from_fn_with_state};
    use axum::routing::post;
    use tower::ServiceExt;

    use super::*;

    async fn ask(allowed: &[&str], method: &str, origin: &str) -> (StatusCode, HeaderMap) {
        let cors = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let policy = Arc::new(ArcSwap::from_pointee(Policy { cors, ..Policy::default() }));
        let router =
            Router::new().route("/", post(|| async { "picture" })).layer(from_fn_with_state(
                policy,
                async |State(policy): State<Arc<ArcSwap<_>>>, request, next: Next| {
                    cross_origin(&policy, request, |request| next.run(request)).await
                },
            ));
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        (response.status(), response.headers().clone())
    }

    #[tokio::test]
    async fn by_default_no_page_of_another_origin_may_ask_or_read() {
        for method in ["OPTIONS", "POST"] {
            let (_, headers) = ask(&[], method, "https://evil.example").await;
            assert!(!headers.contains_key("access-control-allow-origin"), "{method}");
            let allowed = ["https://good.example"];
            let (_, headers) = ask(&allowed, method, "https://good.example.evil.example").await;
            assert!(!headers.contains_key("access-control-allow-origin"), "{method}");
            assert_eq!(headers["vary"], "Origin");
        }
    }

    #[tokio::test]
    async fn a_page_of_a_listed_origin_may_ask_and_read() {
        for allowed in ["https://good.example", "*"] {
            let (status, headers) = ask(&[allowed], "OPTIONS", "https://good.example").await;
            assert_eq!(status, StatusCode::NO_CONTENT);
            assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
            let (status, headers) = ask(&[allowed], "POST", "https://good.example").await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(headers["access-control-allow-origin"], "https://good.example");
            assert!(
                headers["access-control-expose-headers"].to_str().unwrap().contains("Location")
            );
            assert!(!headers.contains_key("access-control-allow-credentials"));
        }
    }

    #[test]
    fn only_origins_are_origins() {
        for bad in ["", "example.org", "https://", "https://a/b", "null", "https://a\r\nx: y"] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        for good in ["*", "https://Example.org", "http://127.0.0.1:8080", "http://[::1]:80"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
    }
}
