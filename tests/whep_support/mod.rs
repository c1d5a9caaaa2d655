//! A gateway with nothing but WHEP, and a camera that is a clip on a bus.
#![allow(dead_code, missing_docs)]

pub(crate) mod line;
pub(crate) mod player;
pub(crate) mod tcp;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use bytes::Bytes;
use porthole::bus::{BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream};
use porthole::egress::whep::{self, Config, Deps, Metrics, Whep};
use porthole::http::{SessionMetrics, SessionTable};
use porthole::media::{
    Avc, AvcSps, ClockRate, Codec, Draft, FrameKind, G711Law, MediaTime, StreamName, Track,
    TrackId, Tracks, WallTime, length_prefixed, unescape,
};
use reqwest::header::HeaderMap;
use url::Url;

/// Pictures a second of every clip.
pub(crate) const FPS: i64 = 25;

/// The session that these headers of an answer to `posted` name.
pub(crate) fn session_of(posted: &str, headers: &HeaderMap) -> Url {
    let location = headers["location"].to_str().unwrap();
    Url::parse(posted).unwrap().join(location).unwrap()
}

pub(crate) struct Gateway {
    pub(crate) registry: Arc<Registry>,
    pub(crate) whep: Arc<Whep>,
    pub(crate) metrics: prometheus::Registry,
    pub(crate) table: SessionTable,
    bus: BusMetrics,
    pub(crate) url: String,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with(Config { listen: ([0, 0, 0, 0], 0).into(), ..Config::default() }).await
    }

    /// On one address, which it tells, so that a viewer has no other way to it.
    pub(crate) async fn on_loopback() -> (Self, SocketAddr) {
        Self::on_loopback_behind(|routes| routes).await
    }

    /// The same, with something before its routes.
    pub(crate) async fn on_loopback_behind(
        gate: impl FnOnce(Router) -> Router,
    ) -> (Self, SocketAddr) {
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
        let gateway = Self::behind(config, gate).await;
        let address = gateway.whep.local_addr().unwrap();
        (gateway, address)
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::behind(config, |routes| routes).await
    }

    async fn behind(config: Config, gate: impl FnOnce(Router) -> Router) -> Self {
        let metrics = prometheus::Registry::new();
        let sessions = SessionMetrics::register(&metrics).unwrap();
        let families = Metrics::register(&metrics, &sessions).unwrap();
        let table = sessions.table();
        let whep = Whep::bind(config, families).await.unwrap();
        let registry = Arc::new(Registry::new());
        let deps = Deps { registry: Arc::clone(&registry), whep: Arc::clone(&whep) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        // Under a prefix, as behind a proxy.
        let app = Router::new().nest("/cams", gate(whep::routes(deps)));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let bus = BusMetrics::register(&metrics).unwrap();
        Self { registry, whep, metrics, table, bus, url: format!("http://{address}/cams") }
    }

    /// A stream that nothing is published to yet.
    pub(crate) fn stream(&self, name: &str) -> (Arc<Stream>, Publisher) {
        self.limited(name, Limits::default())
    }

    /// The same, with a ring that holds no more than this.
    pub(crate) fn limited(&self, name: &str, limits: Limits) -> (Arc<Stream>, Publisher) {
        let status = SourceStatus::new(SourceState::Connecting, SystemTime::now(), "rtsp://camera");
        let (stream, publisher) =
            Stream::new(name.parse().unwrap(), limits, status, self.bus.clone());
        self.registry.insert(Arc::clone(&stream));
        (stream, publisher)
    }

    /// A stream and its substream.
    pub(crate) fn pair(&self, name: &str) -> [Publisher; 2] {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera");
        let name: StreamName = name.parse().unwrap();
        let (limits, bus) = (Limits::default(), self.bus.clone());
        let (sub, second) = Stream::new(name.sub(), limits, status.clone(), bus.clone());
        let (stream, first) = Stream::with_substream(name, limits, status, bus, Some(sub));
        self.registry.insert(stream);
        [first, second]
    }

    /// Readers of the bus there are now.
    pub(crate) fn readers(&self) -> i64 {
        self.metric(r#"porthole_bus_readers{output="whep"}"#).unwrap_or(0.0) as i64
    }

    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.metrics.gather()).unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

/// Waits until `condition` holds; fails after twenty seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One access unit: NAL units without parameter sets, each behind its length.
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) key: bool,
    pub(crate) data: Bytes,
}

pub(crate) struct Clip {
    pub(crate) avc: Avc,
    pub(crate) pictures: Vec<Picture>,
}

impl Clip {
    /// Pictures of very many small slices, each a packet, that nobody could
    /// decode.
    pub(crate) fn of_crumbs(like: &Self) -> Self {
        const SLICES: usize = 400;
        let picture = |key: bool| {
            let slice = [if key { 0x65 } else { 0x41 }, 0x9a, 0x84, 0x10];
            Picture { key, data: length_prefixed(vec![&slice[..]; SLICES]) }
        };
        let pictures = (0..50).map(|at| picture(at == 0)).collect();
        Self { avc: like.avc.clone(), pictures }
    }
}

/// 10 s of 640x360 with one key frame at the start, and a running counter.
pub(crate) fn clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(&["-profile:v", "baseline"]))
}

pub(crate) fn encode(profile: &[&str]) -> Clip {
    encode_as("640x360", "1500k", 1_000, profile)
}

/// The same in another size and bit rate, with a key frame every `interval`
/// pictures.
pub(crate) fn encode_as(size: &str, rate: &str, interval: u32, profile: &[&str]) -> Clip {
    let source = format!("testsrc2=size={size}:rate=25");
    let parameters = format!("aud=1:keyint={interval}:scenecut=0:slices=1");
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-t", "10"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-b:v", rate, "-maxrate", rate])
        .args(["-bufsize", rate, "-pix_fmt", "yuv420p"])
        .args(profile)
        .args(["-x264-params", &parameters, "-f", "h264", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    parse(&out.stdout)
}

/// The NAL units of an Annex B stream.
pub(crate) fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<usize> = (0..stream.len().saturating_sub(3))
        .filter(|&at| stream[at..at + 3] == [0, 0, 1])
        .map(|at| at + 3)
        .collect();
    starts.push(stream.len() + 3);
    let ends: Vec<usize> = starts.iter().skip(1).map(|start| start - 3).collect();
    starts.into_iter().zip(ends).map(|(start, end)| {
        let unit = &stream[start..end];
        &unit[..unit.iter().rposition(|b| *b != 0).unwrap() + 1]
    })
}

/// Annex B, with an access unit delimiter before each picture.
fn parse(stream: &[u8]) -> Clip {
    let (mut sps, mut pps, mut pictures) = (None, Vec::new(), Vec::<Vec<&[u8]>>::new());
    for unit in units(stream) {
        match unit[0] & 0x1f {
            7 => sps = Some(Bytes::copy_from_slice(unit)),
            8 => pps.push(Bytes::copy_from_slice(unit)),
            9 => pictures.push(Vec::new()),
            _ => pictures.last_mut().unwrap().push(unit),
        }
    }
    let pictures = pictures.into_iter().map(|units| Picture {
        key: units.iter().any(|unit| unit[0] & 0x1f == 5),
        data: length_prefixed(units),
    });
    pps.truncate(1);
    Clip { avc: Avc::new(sps.unwrap(), pps).unwrap(), pictures: pictures.collect() }
}

/// The parameter sets of a clip, without a VUI: silent about B-frames.
pub(crate) fn silent(avc: &Avc) -> Avc {
    let end = AvcSps::read(&avc.sps).unwrap().vui.present;
    let mut rbsp = unescape(&avc.sps);
    rbsp.truncate(end / 8 + 2);
    let bit = |at: usize| 0x80u8 >> (at % 8);
    // `vui_parameters_present_flag` 0, the stop bit, zeros.
    rbsp[end / 8] &= !bit(end);
    rbsp[(end + 1) / 8] |= bit(end + 1);
    for at in end + 2..rbsp.len() * 8 {
        rbsp[at / 8] &= !bit(at);
    }
    if rbsp.last() == Some(&0) {
        rbsp.pop();
    }
    assert!(!rbsp.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 4), "needs escaping");
    Avc::new(rbsp.into(), avc.pps.clone()).unwrap()
}

/// Publishes a clip, and a tone as PCMA.
pub(crate) struct Camera {
    pub(crate) publisher: Publisher,
    tracks: Arc<Tracks>,
    clip: &'static Clip,
    began: WallTime,
    next: i64,
    sound: bool,
}

impl Camera {
    pub(crate) fn new(publisher: Publisher, clip: &'static Clip, audio: Option<Codec>) -> Self {
        Self::showing(publisher, clip, Codec::H264(clip.avc.clone()), audio)
    }

    /// One that says it shows `video`.
    pub(crate) fn showing(
        publisher: Publisher,
        clip: &'static Clip,
        video: Codec,
        audio: Option<Codec>,
    ) -> Self {
        let video = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec: video };
        let sound = audio.is_some();
        let audio = audio.map(|codec| Track {
            id: TrackId(1),
            rate: ClockRate::new(8_000).unwrap(),
            codec,
        });
        let tracks = Arc::new(Tracks::new([video].into_iter().chain(audio).collect()));
        let began = WallTime::from(SystemTime::now());
        Self { publisher, tracks, clip, began, next: 0, sound }
    }

    pub(crate) fn pcma() -> Codec {
        Codec::G711 { law: G711Law::A, channels: 1 }
    }

    /// The next picture, and the sound that goes with it.
    pub(crate) fn publish(&mut self) {
        let at = self.next;
        self.next += 1;
        let picture = &self.clip.pictures[at as usize % self.clip.pictures.len()];
        let time = MediaTime::new(at * 90_000 / FPS, ClockRate::VIDEO);
        let kind = if picture.key { FrameKind::Key } else { FrameKind::Delta };
        self.draft(TrackId(0), time, kind, picture.data.clone());
        if self.sound {
            let time = MediaTime::new(at * 8_000 / FPS, ClockRate::new(8_000).unwrap());
            // A square wave of 200 Hz in A-law.
            let data: Vec<u8> = (0..8_000 / FPS)
                .map(|i| if i / 20 % 2 == 0 { 0xd5 ^ 0x30 } else { 0x55 ^ 0x30 })
                .collect();
            self.draft(TrackId(1), time, FrameKind::Audio, data.into());
        }
    }

    fn draft(&mut self, track: TrackId, time: MediaTime, kind: FrameKind, data: Bytes) {
        self.publisher.publish(Draft {
            track,
            tracks: Arc::clone(&self.tracks),
            pts: time,
            dts: time,
            wall: self.began.offset_by(time.nanos()),
            kind,
            lost_before: 0,
            discontinuity: false,
            arrived: Instant::now(),
            data,
        });
    }

    /// What its clock showed at the first picture.
    pub(crate) fn set_clock(&mut self, began: WallTime) {
        self.began = began;
    }

    /// Publishes `pictures` at once, as the past, then goes on in real time.
    pub(crate) fn run(mut self, pictures: usize) -> tokio::task::JoinHandle<()> {
        (0..pictures).for_each(|_| self.publish());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(1_000 / FPS as u64));
            loop {
                tick.tick().await;
                self.publish();
            }
        })
    }
}
