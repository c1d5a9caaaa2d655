//! A camera of `tests/cameras/cameras.py` and its supervisor, for the tests of
//! the camera side.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use porthole::bus::{
    BusMetrics, Join, Limits, Seen, SourceState, SourceStatus, Stream, Subscription,
};
use porthole::ingest::{IngestMetrics, Source, supervise};
use porthole::media::Frame;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything; reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running camera server.
pub struct Cameras {
    child: Child,
    pub port: u16,
}

impl Cameras {
    /// With arguments of `cameras.py`.
    pub fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cameras/cameras.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the system's Python runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("the cameras start");
        // Kept open: a full pipe would stop the cameras.
        std::thread::spawn(move || stdout.lines().for_each(drop));
        Self { child, port: told["port"].as_u64().unwrap() as u16 }
    }

    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{mount}", self.port)
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A supervised camera and a reader of its stream.
pub struct Pulled {
    pub stream: Arc<Stream>,
    pub reader: Subscription,
    pub registry: prometheus::Registry,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

pub fn pull(source: Source) -> Pulled {
    let registry = prometheus::Registry::new();
    let metrics = IngestMetrics::register(&registry).unwrap();
    let status = SourceStatus::new(SourceState::Connecting, SystemTime::now(), source.to_string());
    let name = "camera".parse().unwrap();
    let (stream, publisher) =
        Stream::new(name, Limits::default(), status, BusMetrics::unregistered());
    let stop = CancellationToken::new();
    let reader = stream.subscribe("test", Join::NewestKey);
    let task = supervise(source, publisher, &metrics, stop.clone());
    Pulled { stream, reader, registry, stop, task }
}

pub fn source(url: &str) -> Source {
    url.parse().unwrap()
}

impl Pulled {
    pub async fn frame(&mut self) -> Arc<Frame> {
        match timeout(PATIENCE, self.reader.next()).await {
            Ok(Some(Seen::Frame(frame))) => frame,
            Ok(other) => panic!("no frame but {other:?}"),
            Err(_) => panic!("no frame: {:?}", self.stream.status()),
        }
    }

    pub async fn frames(&mut self, count: usize) -> Vec<Arc<Frame>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.frame().await);
        }
        frames
    }

    pub async fn status(&self, wanted: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
        let mut status = self.stream.watch_status();
        let found = timeout(PATIENCE, status.wait_for(|status| wanted(status))).await;
        match found {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("still {:?}", self.stream.status()),
        }
    }

    /// Stops it, and waits until its camera is torn down.
    pub async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather());
        let text = text.unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map(|value| value.trim().parse().unwrap())
    }
}
