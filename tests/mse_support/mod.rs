//! A gateway of MSE alone, and a viewer of it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use porthole::auth::Access;
use porthole::bus::{BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream};
use porthole::egress::mse::{Deps, Mse, routes};
use porthole::http::{self, Front, Gate, HttpMetrics, Listener, Policy, SessionMetrics};
use porthole::media::Draft;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A gateway with one stream, `yard`, behind the listener of the real one.
pub struct House {
    pub base: String,
    pub publisher: Publisher,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    metrics: prometheus::Registry,
}

impl House {
    pub async fn start(limits: Limits) -> Self {
        let metrics = prometheus::Registry::new();
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
        let bus = BusMetrics::register(&metrics).unwrap();
        let (stream, publisher) = Stream::new("yard".parse().unwrap(), limits, status, bus);
        let registry = Arc::new(Registry::new());
        registry.insert(stream);
        let cors = vec!["https://listed.example".parse().unwrap()];
        let policy = Arc::new(ArcSwap::from_pointee(Policy { cors, ..Policy::default() }));
        let http_metrics = HttpMetrics::register(&metrics).unwrap();
        let gate = Gate {
            access: Arc::new(Access::Open),
            registry: Arc::clone(&registry),
            policy,
            metrics: http_metrics.clone(),
            loopback: true,
            draining: Arc::default(),
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let sessions = SessionMetrics::register(&metrics).unwrap();
        let router =
            routes(Deps { registry, mse: Mse::new(&sessions, 100, stop.clone(), tasks.clone()) });
        let router = Front::of_viewers(gate).before(router);
        let listener = Listener::bind("viewer", "listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let base = format!("http://{}", listener.address().unwrap());
        tokio::spawn(http::serve(listener, router, http_metrics, stop.clone()));
        Self { base, publisher, stop, tasks, metrics }
    }

    pub fn publish(&mut self, frames: &[Draft]) {
        for frame in frames {
            self.publisher.publish(frame.clone());
        }
    }

    pub fn metrics_text(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.metrics.gather()).unwrap()
    }

    /// Waits for a line among the metrics.
    pub async fn until(&self, line: &str) {
        for _ in 0..500 {
            if self.metrics_text().contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came: {line}\n{}", self.metrics_text());
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}/{path}", self.base)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn connect(&self, path: &str, headers: &[(&str, &str)]) -> Result<Viewer, Error> {
        let url = format!("{}/{path}", self.base.replace("http", "ws"));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        connect_async(request).await.map(|(socket, _)| Viewer(socket))
    }

    pub async fn viewer(&self, path: &str) -> Viewer {
        self.connect(path, &[]).await.unwrap()
    }

    /// Status and problem of a socket that is not opened.
    pub async fn refusal(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        match self.connect(path, headers).await {
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                (response.status().as_u16(), serde_json::from_slice(body).unwrap_or_default())
            }
            Err(other) => panic!("{path}: {other}"),
            Ok(_) => panic!("{path}: the socket was opened"),
        }
    }
}

/// What a viewer is sent.
#[derive(Debug, PartialEq)]
pub enum Sent {
    Json(Value),
    Binary(Bytes),
    /// Code and reason.
    Closed(u16, String),
}

pub struct Viewer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Viewer {
    pub async fn say(&mut self, text: &str) {
        // One that is being closed is told so by `next`.
        let _ = self.0.send(Message::text(text)).await;
    }

    /// The next message but those about time.
    pub async fn next(&mut self) -> Sent {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(15), self.0.next()).await;
            match next.expect("a message within 15 s") {
                Some(Ok(Message::Text(text))) => {
                    let json: Value = serde_json::from_str(&text).unwrap();
                    if json["type"] != "time" {
                        return Sent::Json(json);
                    }
                }
                Some(Ok(Message::Binary(bytes))) => return Sent::Binary(bytes),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Sent::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Sent::Closed(0, String::new()),
            }
        }
    }

    pub async fn json(&mut self) -> Value {
        match self.next().await {
            Sent::Json(json) => json,
            other => panic!("{other:?} is no JSON"),
        }
    }

    /// The next binary message, whatever is said before.
    pub async fn binary(&mut self) -> Bytes {
        loop {
            match self.next().await {
                Sent::Binary(bytes) => return bytes,
                Sent::Json(said) if said["type"] == "mse" => {}
                other => panic!("{other:?} is no fragment"),
            }
        }
    }

    /// How it was closed, whatever came before.
    pub async fn closed(&mut self) -> Sent {
        loop {
            if let closed @ Sent::Closed(..) = self.next().await {
                return closed;
            }
        }
    }
}

/// The number in a fragment's `mfhd`: that of the frame.
pub fn sequence(fragment: &[u8]) -> u32 {
    assert_eq!((&fragment[4..8], &fragment[12..16]), (&b"moof"[..], &b"mfhd"[..]));
    u32::from_be_bytes(fragment[20..24].try_into().unwrap())
}

/// Whether a decoder can start at a fragment: its `tfhd` says that the sample
/// depends on no other.
pub fn starts(fragment: &[u8]) -> bool {
    let at = fragment.windows(4).position(|four| four == b"tfhd").unwrap();
    fragment[at + 16] == 2
}
