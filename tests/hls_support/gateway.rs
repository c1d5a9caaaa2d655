//! A gateway of HLS alone, with one stream that a test publishes on.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use porthole::auth::Access;
use porthole::bus::{
    BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream, StreamsCollector,
};
use porthole::egress::hls::{Config, Deps, Hls, Metrics, routes, shortcut};
use porthole::http::{self, Front, Gate, HttpMetrics, Listener, SessionMetrics};
use porthole::media::{
    Avc, ClockRate, Codec, Draft, FrameKind, G711Law, PixelSize, Track, TrackId, Tracks,
};
use reqwest::{Client, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::{WALL_MS, draft};

/// First number of the stream, from the wall time of its first frame.
pub(crate) const FIRST: u64 = WALL_MS as u64 / 100;

/// A gateway with one stream, `yard`.
pub(crate) struct Gateway {
    pub(crate) base: String,
    pub(crate) http: Client,
    pub(crate) stream: Arc<Stream>,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) hls: Arc<Hls>,
    metrics: prometheus::Registry,
}

impl Gateway {
    /// One that cuts all the time: what is published is cut when
    /// `publish_all` returns.
    pub(crate) async fn start() -> Self {
        Self::start_with(Config { always: true, ..Config::default() }).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        Self::start_as(config, None).await
    }

    /// One whose stream has a substream, and the publisher of that.
    pub(crate) async fn start_pair(config: Config) -> (Self, Publisher) {
        let (sub, publisher) = live("yard-sub", None);
        (Self::start_as(config, Some(sub)).await, publisher)
    }

    async fn start_as(config: Config, substream: Option<Arc<Stream>>) -> Self {
        let (stream, publisher) = live("yard", substream.clone());
        let registry = Arc::new(Registry::new());
        registry.insert(Arc::clone(&stream));
        let metrics = prometheus::Registry::new();
        let sessions = SessionMetrics::register(&metrics).unwrap();
        let hls = Hls::new(config, Metrics::register(&metrics, &sessions).unwrap()).unwrap();
        for stream in substream.iter().chain([&stream]) {
            hls.attach(stream);
        }
        let streams = StreamsCollector::new(Arc::clone(&registry)).unwrap();
        metrics.register(Box::new(streams)).unwrap();
        metrics.register(Box::new(hls.collector().unwrap())).unwrap();
        let http_metrics = HttpMetrics::register(&metrics).unwrap();
        let gate = Gate {
            access: Arc::new(Access::Open),
            registry: Arc::clone(&registry),
            policy: Arc::default(),
            metrics: http_metrics.clone(),
            loopback: true,
            draining: Arc::default(),
        };
        let deps = Arc::new(Deps { registry, hls: Arc::clone(&hls), sessions });
        let site = Front::of_viewers(gate).before_both(routes(Arc::clone(&deps)), shortcut(&deps));
        let listener = Listener::bind("viewer", "listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let base = format!("http://{}", listener.address().unwrap());
        tokio::spawn(http::serve(listener, site, http_metrics, CancellationToken::new()));
        Self { base, http: Client::new(), stream, publisher: Some(publisher), hls, metrics }
    }

    pub(crate) async fn publish_all(&mut self, frames: &[Draft]) {
        for frame in frames {
            self.publisher.as_mut().unwrap().publish(frame.clone());
            // One thread: the reader runs before the next frame.
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn end(&mut self) {
        self.publisher = None;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn set_state(&self, state: SourceState) {
        self.publisher.as_ref().unwrap().set_status(|status| status.state = state);
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/yard/{path}", self.base)
    }

    pub(crate) fn metrics_text(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.metrics.gather()).unwrap()
    }

    pub(crate) async fn bytes(&self, name: &str) -> Bytes {
        let response = self.get(&format!("hls/{name}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        response.bytes().await.unwrap()
    }

    pub(crate) async fn text(&self, query: &str) -> String {
        let response = self.get(&format!("hls/media.m3u8{query}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        response.text().await.unwrap()
    }
}

/// A stream whose source is live.
fn live(name: &str, substream: Option<Arc<Stream>>) -> (Arc<Stream>, Publisher) {
    let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
    let (name, limits) = (name.parse().unwrap(), Limits::default());
    Stream::with_substream(name, limits, status, BusMetrics::unregistered(), substream)
}

/// `count` pictures of a camera with 25 a second, a key frame every
/// `key_interval`, without ffmpeg: nobody decodes them.
pub(crate) fn pictures(count: i64, key_interval: i64) -> Vec<Draft> {
    let tracks = Arc::new(Tracks::new(vec![Track {
        id: TrackId(0),
        rate: ClockRate::VIDEO,
        codec: Codec::H264(Avc {
            sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x0c, 0x8c]),
            pps: vec![Bytes::from_static(&[0x68, 1])],
            size: PixelSize { width: 640, height: 360 },
            max_num_reorder_frames: Some(0),
        }),
    }]));
    let kind = |n: i64| if n % key_interval == 0 { FrameKind::Key } else { FrameKind::Delta };
    let at = |n: i64| n * 3_600;
    let data = Bytes::from_static(&[0; 64]);
    (0..count).map(|n| draft(&tracks, 0, at(n), at(n), kind(n), data.clone())).collect()
}

/// Seven seconds of a camera with a key frame every two.
pub(crate) fn seven_seconds() -> Vec<Draft> {
    pictures(175, 50)
}

/// The same pictures with sound, a packet each.
pub(crate) fn heard(frames: Vec<Draft>) -> Vec<Draft> {
    let sound = Track {
        id: TrackId(1),
        rate: ClockRate::new(8_000).unwrap(),
        codec: Codec::G711 { law: G711Law::A, channels: 1 },
    };
    let picture = frames[0].tracks.video().unwrap().clone();
    let tracks = Arc::new(Tracks::new(vec![picture, sound]));
    let with_sound = |(frame, n): (Draft, i64)| {
        let packet = Bytes::from_static(&[0xd5; 320]);
        let sound = draft(&tracks, 1, n * 320, n * 320, FrameKind::Audio, packet);
        [Draft { tracks: Arc::clone(&tracks), ..frame }, sound]
    };
    frames.into_iter().zip(0..).flat_map(with_sound).collect()
}

/// The same, so many seconds later.
pub(crate) fn later(frames: Vec<Draft>, seconds: i64) -> Vec<Draft> {
    let moved = |frame: Draft| {
        let at = frame.pts.ticks() + seconds * 90_000;
        draft(&frame.tracks, 0, at, at, frame.kind, frame.data)
    };
    frames.into_iter().map(moved).collect()
}
