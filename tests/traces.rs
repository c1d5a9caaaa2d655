//! What an OpenTelemetry collector is told, and what it is not.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod whep_support;

use std::net::TcpListener;
use std::time::Duration;

use app_support::{configured, listed};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use porthole::cli::demo_camera;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use whep_support::player::{Event, Player};
use whep_support::session_of;

/// Longest wait for anything; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that believes everything, and repeats it.
struct Collector {
    endpoint: String,
    requests: mpsc::UnboundedReceiver<String>,
    spans: Vec<Value>,
}

impl Collector {
    async fn start() -> Self {
        async fn take(
            State(told): State<mpsc::UnboundedSender<String>>,
            headers: HeaderMap,
            body: String,
        ) -> StatusCode {
            assert_eq!(headers["content-type"], "application/json");
            told.send(body).unwrap();
            StatusCode::OK
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (told, requests) = mpsc::unbounded_channel();
        let router = Router::new().route("/v1/traces", post(take)).with_state(told);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, requests, spans: Vec::new() }
    }

    /// The first root that is `wanted`, and its steps' names.
    async fn root(&mut self, wanted: impl Fn(&Value) -> bool) -> (Value, Vec<String>) {
        loop {
            let is_root = |span: &&Value| span["parentSpanId"].is_null() && wanted(span);
            if let Some(root) = self.spans.iter().find(is_root) {
                let is_step = |span: &&Value| span["parentSpanId"] == root["spanId"];
                let name = |span: &Value| span["name"].as_str().unwrap().to_owned();
                return (root.clone(), self.spans.iter().filter(is_step).map(name).collect());
            }
            let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
            let request = request.unwrap_or_else(|_| panic!("not among {:#?}", self.spans));
            self.take(&request.unwrap());
        }
    }

    fn take(&mut self, request: &str) {
        assert!(!request.contains("canary") && !request.contains("rtsp:"), "{request}");
        let request: Value = serde_json::from_str(request).unwrap();
        let resource = &request["resourceSpans"][0];
        let service = json!({ "key": "service.name", "value": { "stringValue": "porthole" } });
        assert_eq!(resource["resource"]["attributes"][0], service);
        self.spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
}

fn is(span: &Value, name: &str, stream: &str) -> bool {
    span["name"] == name && span["attributes"][0]["value"]["stringValue"] == stream
}

fn millis(span: &Value) -> u64 {
    let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    (nanos("endTimeUnixNano") - nanos("startTimeUnixNano")) / 1_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_and_each_connect_is_one_trace() {
    let mut collector = Collector::start().await;
    let camera = demo_camera::start().await.unwrap();
    // Bound, so that nobody else takes the port, and then gone.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = configured(&format!(
        "traces: {{ endpoint: '{}' }}\nstreams:\n  demo: '{}'\n  away: rtsp://u:canary@{nobody}/\n",
        collector.endpoint, camera.url
    ))
    .await;
    let base = format!("http://{}", app.viewer_address());
    listed(&base, "demo", |stream| stream["state"] == "live").await;

    let (connect, _) = collector.root(|span| is(span, "source connect", "demo")).await;
    assert_eq!(connect["status"], json!({ "code": 1 }));
    let (refused, _) = collector.root(|span| is(span, "source connect", "away")).await;
    assert_eq!(refused["status"], json!({ "code": 2, "message": "source.refused" }));

    let (mut player, offer) = Player::offering(&[Video]).await;
    let url = format!("{base}/demo/whep");
    player.play(&url, &offer).await;
    let picture = |event| matches!(event, Event::Rtp("video", _)).then_some(());
    player.until("a packet of the picture", picture).await;
    let seen = |span: &Value| is(span, "whep", "demo") && span["status"]["code"] == 1;
    let (whep, steps) = collector.root(seen).await;
    assert_eq!(steps, ["connect", "first frame"]);
    let session = whep["attributes"][1]["value"]["stringValue"].clone();
    assert_eq!(session.as_str().unwrap().len(), 8);
    assert!(millis(&whep) < 60_000, "{whep}");
    player.connection.close().await.unwrap();

    // One that leaves before it is connected.
    let (_player, offer) = Player::offering(&[Video]).await;
    let client = reqwest::Client::new();
    let request = client.post(&url).header("content-type", "application/sdp").body(offer);
    let created = request.send().await.unwrap();
    assert_eq!(created.status(), 201);
    client.delete(session_of(&url, created.headers())).send().await.unwrap();
    let left = |span: &Value| is(span, "whep", "demo") && span["status"]["code"] == 2;
    let (_, steps) = collector.root(left).await;
    assert_eq!(steps, ["connect"]);

    app.stop().await;
    while let Ok(request) = collector.requests.try_recv() {
        collector.take(&request);
    }
    let told = |span: &&Value| span["attributes"][1]["value"]["stringValue"] == session;
    assert_eq!(collector.spans.iter().filter(told).count(), 1, "its end is no second trace");
}
