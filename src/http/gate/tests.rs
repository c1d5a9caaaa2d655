//! What gets through the gate, and how it comes back.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tower::ServiceExt;

use super::*;
use crate::auth::{AuthMetrics, EmbedKey, Rules};

fn metrics() -> HttpMetrics {
    HttpMetrics::register(&prometheus::Registry::new()).unwrap()
}

fn key() -> EmbedKey {
    EmbedKey::new(&[b'k'; 32]).unwrap()
}

fn token(origin: Option<&str>) -> String {
    let hour = std::time::Duration::from_secs(3_600);
    key().mint(&["yard".parse().unwrap()], hour, origin, std::time::SystemTime::now())
}

fn gate(rules: Option<Rules>) -> Gate {
    let auth = AuthMetrics::register(&prometheus::Registry::new()).unwrap();
    Gate {
        access: Access::new(rules, auth),
        registry: Arc::new(Registry::new()),
        policy: Arc::default(),
        metrics: metrics(),
        loopback: true,
        draining: Arc::default(),
    }
}

fn ruled() -> Gate {
    gate(Some(Rules { embed_key: Some(key()), ..Rules::default() }))
}

/// Asks a router of routes like ours; the status and what came with it.
async fn ask(
    gate: &Gate,
    request: axum::http::request::Builder,
) -> (StatusCode, HeaderMap, String) {
    let playlist = |headers: HeaderMap| async move {
        let mut shown = HeaderMap::new();
        let kind = HeaderValue::from_static("application/vnd.apple.mpegurl");
        shown.insert(header::CONTENT_TYPE, kind);
        let coding = headers.get(header::ACCEPT_ENCODING).cloned();
        shown.extend(coding.map(|coding| (header::HeaderName::from_static("asked-with"), coding)));
        (shown, "#EXTM3U\nhls/index.m3u8\n")
    };
    let made = || async { (StatusCode::CREATED, [(header::LOCATION, "whep/1")]) };
    let csp = "default-src 'none'; frame-ancestors 'self' https://b.example";
    let page = move || async move { [(header::CONTENT_SECURITY_POLICY, csp)] };
    let who = |Extension(principal): Extension<Principal>| async move { format!("{principal:?}") };
    let router = Router::new()
        .route("/{stream}/index.m3u8", get(playlist))
        .route("/{stream}/whep", post(made).get(who))
        .route("/{stream}/embed", get(page))
        .route("/api/frame.jpeg", get(who))
        .route("/api/v1/streams", post(who).get(who))
        .route("/porthole.js", get(who))
        .route("/new-route-of-somebody", get(who))
        .layer(from_fn_with_state(
            gate.clone(),
            async |State(gate): State<Gate>, request, next: Next| {
                guard(&gate, request, |request| next.run(request)).await
            },
        ));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 9))));
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
}

fn on(method: &str, uri: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(uri)
}

#[tokio::test]
async fn a_token_opens_its_stream_and_goes_into_what_is_asked_for_next() {
    let gate = ruled();
    let token = token(None);
    let (status, headers, body) =
        ask(&gate, on("GET", &format!("/yard/index.m3u8?token={token}"))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(&format!("\nhls/index.m3u8?token={token}\n")), "{body}");
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(length, body.len());
    // `<video>` of Chromium, which is told by this and takes nothing compressed.
    let plain = "identity;q=1, *;q=0";
    let video = on("GET", &format!("/yard/index.m3u8?token={token}"));
    let (_, headers, body) = ask(&gate, video.header("accept-encoding", plain)).await;
    assert!(body.contains("hls/index.m3u8?token="), "{body}");
    assert_eq!(headers["asked-with"], plain);
    let (status, headers, _) = ask(&gate, on("POST", &format!("/yard/whep?token={token}"))).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(headers["location"], format!("whep/1?token={token}"));
    let bearer = on("GET", "/yard/index.m3u8").header("authorization", format!("Bearer {token}"));
    let (status, _, body) = ask(&gate, bearer).await;
    assert!(status == StatusCode::OK && !body.contains("token="), "{body}");

    for (uri, wanted) in [
        (format!("/gate/index.m3u8?token={token}"), StatusCode::FORBIDDEN),
        (format!("/api/frame.jpeg?src=yard&token={token}"), StatusCode::OK),
        (format!("/api/frame.jpeg?src=gate&token={token}"), StatusCode::FORBIDDEN),
        (format!("/api/v1/streams?token={token}"), StatusCode::FORBIDDEN),
        (format!("/new-route-of-somebody?token={token}"), StatusCode::FORBIDDEN),
        ("/yard/index.m3u8".into(), StatusCode::UNAUTHORIZED),
        ("/nowhere/at/all".into(), StatusCode::UNAUTHORIZED),
        ("/porthole.js".into(), StatusCode::OK),
    ] {
        let (status, headers, _) = ask(&gate, on("GET", &uri)).await;
        assert_eq!(status, wanted, "{uri}");
        assert_eq!(headers.contains_key("www-authenticate"), status == 401, "{uri}");
    }
}

#[tokio::test]
async fn a_login_is_asked_for_but_not_where_a_link_has_run_out() {
    let scheme = async |uri: &str| {
        let (status, headers, _) = ask(&ruled(), on("GET", uri)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        headers["www-authenticate"].to_str().unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(scheme("/yard/index.m3u8").await, "Basic");
    assert_eq!(scheme("/yard/index.m3u8?token=pt1.old.x").await, "Bearer");
}

#[tokio::test]
async fn a_page_may_be_framed_by_the_origin_that_its_token_is_for() {
    let gate = ruled();
    let ancestors = async |gate: &Gate, token: String| {
        let (_, headers, _) = ask(gate, on("GET", &format!("/yard/embed?token={token}"))).await;
        headers["content-security-policy"].to_str().unwrap().to_owned()
    };
    assert!(ancestors(&gate, token(None)).await.ends_with("'self' https://b.example"));
    let only = token(Some("https://a.example"));
    assert!(ancestors(&gate, only.clone()).await.ends_with("'self' https://a.example"));
    let foreign =
        on("GET", &format!("/yard/embed?token={only}")).header("origin", "https://c.example");
    assert_eq!(ask(&gate, foreign).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn another_page_cannot_ask_in_a_viewers_name() {
    let gate = gate(None);
    let with = |request: axum::http::request::Builder, site: &str| {
        request.header("host", "127.0.0.1").header("sec-fetch-site", site)
    };
    for (request, wanted) in [
        (with(on("POST", "/yard/whep"), "cross-site"), StatusCode::FORBIDDEN),
        (with(on("POST", "/yard/whep"), "same-origin"), StatusCode::CREATED),
        (
            with(on("GET", "/yard/whep"), "cross-site").header("upgrade", "websocket"),
            StatusCode::FORBIDDEN,
        ),
        (with(on("GET", "/yard/whep"), "cross-site"), StatusCode::OK),
        (
            on("POST", "/yard/whep").header("host", "127.0.0.1").header("origin", "null"),
            StatusCode::FORBIDDEN,
        ),
        (on("POST", "/yard/whep").header("host", "127.0.0.1"), StatusCode::CREATED),
    ] {
        let told = format!("{request:?}");
        assert_eq!(ask(&gate, request).await.0, wanted, "{told}");
    }
}

#[tokio::test]
async fn a_name_pointed_here_by_somebody_is_refused_where_nobody_has_to_log_in() {
    let rebound = || on("GET", "/yard/whep").header("host", "evil.example");
    assert_eq!(ask(&gate(None), rebound()).await.0, StatusCode::MISDIRECTED_REQUEST);
    let open = Gate { loopback: false, ..gate(None) };
    assert_eq!(ask(&open, rebound()).await.0, StatusCode::OK);
    assert_eq!(ask(&ruled(), rebound()).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn while_stopping_nobody_new_begins_and_who_is_there_goes_on() {
    let gate = gate(None);
    gate.draining.store(true, Ordering::Release);
    let (status, headers, _) = ask(&gate, on("POST", "/yard/whep")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after"));
    assert_eq!(ask(&gate, on("GET", "/yard/index.m3u8")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&gate, on("GET", "/yard/whep")).await.0, StatusCode::OK);
}
