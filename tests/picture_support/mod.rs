//! A gateway of pictures alone, with one stream that a test publishes on, and
//! pictures of known colours.
#![allow(dead_code, reason = "every test takes what it needs")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use porthole::bus::{BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream};
use porthole::egress::mjpeg::{Deps, Metrics, Pictures, routes};
use porthole::fault::Fault;
use porthole::http::SessionMetrics;
use porthole::media::{
    ClockRate, Codec, Draft, FrameKind, Jpeg, MediaTime, PixelSize, Track, TrackId, Tracks,
    length_prefixed,
};
use reqwest::{Client, Response};

use crate::hls_support::{access_units, is_slice, video_codec};

/// A gateway with one stream, `yard`.
pub(crate) struct Gateway {
    pub(crate) base: String,
    pub(crate) http: Client,
    pub(crate) stream: Arc<Stream>,
    pub(crate) publisher: Publisher,
    pub(crate) pictures: Arc<Pictures>,
    /// Its routes, to ask without a network.
    pub(crate) router: axum::Router,
    published: i64,
    metrics: prometheus::Registry,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
        let (stream, publisher) = Stream::new(
            "yard".parse().unwrap(),
            Limits::default(),
            status,
            BusMetrics::unregistered(),
        );
        let registry = Arc::new(Registry::new());
        registry.insert(Arc::clone(&stream));
        let metrics = prometheus::Registry::new();
        let pictures = Pictures::new(Metrics::register(&metrics).unwrap());
        metrics.register(Box::new(pictures.collector().unwrap())).unwrap();
        let deps = Deps {
            registry,
            pictures: Arc::clone(&pictures),
            rows: Arc::new(tokio::sync::Semaphore::new(100)),
            sessions: SessionMetrics::register(&metrics).unwrap(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = routes(deps);
        let served = router.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        let http = Client::new();
        Self { base, http, stream, publisher, pictures, router, published: 0, metrics }
    }

    /// Publishes a key frame, taken now.
    pub(crate) fn publish(&mut self, coded: &Coded) {
        self.publish_frame(coded, FrameKind::Key);
    }

    pub(crate) fn publish_frame(&mut self, coded: &Coded, kind: FrameKind) {
        let at = MediaTime::new(self.published * 3_600, ClockRate::VIDEO);
        self.published += 1;
        self.publisher.publish(Draft {
            track: TrackId(0),
            tracks: Arc::clone(&coded.tracks),
            pts: at,
            dts: at,
            wall: SystemTime::now().into(),
            kind,
            lost_before: 0,
            discontinuity: false,
            arrived: Instant::now(),
            data: coded.data.clone(),
        });
    }

    /// The source is in this state from now on, perhaps for a fault.
    pub(crate) fn set_state(&self, state: SourceState, fault: Option<Fault>) {
        self.publisher.set_status(|status| {
            (status.state, status.since, status.fault) = (state, SystemTime::now(), fault);
        });
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/yard/{path}", self.base)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    /// A picture that is there.
    pub(crate) async fn picture(&self, path: &str) -> Bytes {
        let response = self.get(path).await;
        let status = response.status();
        let body = response.bytes().await.unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// Status and code of a problem, and its words.
    pub(crate) async fn problem(&self, path: &str) -> (u16, String, String) {
        let response = self.get(path).await;
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].clone();
        let body = response.text().await.unwrap();
        assert_eq!(kind, "application/problem+json", "{path}: {body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        (status, text("code"), text("detail"))
    }

    /// A sample of the metrics, by its line up to the space; 0 if it is not
    /// there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.metrics.gather());
        let text = text.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) fn decoded(&self) -> f64 {
        self.metric("porthole_mjpeg_decode_duration_seconds_count")
    }
}

/// A key frame and its track.
#[derive(Clone)]
pub(crate) struct Coded {
    pub(crate) tracks: Arc<Tracks>,
    pub(crate) data: Bytes,
}

impl Coded {
    pub(crate) fn new(codec: Codec, data: Bytes) -> Self {
        let track = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec };
        Self { tracks: Arc::new(Tracks::new(vec![track])), data }
    }

    /// A JPEG camera's.
    pub(crate) fn jpeg(file: Bytes, width: u32, height: u32) -> Self {
        Self::new(Codec::Jpeg(Jpeg { size: PixelSize { width, height } }), file)
    }
}

/// What the test pictures show, from left to right.
pub(crate) const PATCHES: [[u8; 3]; 8] = [
    [0, 0, 0],
    [255, 255, 255],
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [230, 128, 51],
    [30, 90, 160],
    [128, 128, 128],
];

/// The patches in that size, and ffmpeg's options to read them.
fn patches(width: usize, height: usize) -> (String, Vec<u8>) {
    let row = |_| (0..width).flat_map(|x| PATCHES[x * 8 / width]);
    let rgb: Vec<u8> = (0..height).flat_map(row).collect();
    (format!("-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r 25 -i -"), rgb)
}

/// The patches in that size, as ffmpeg encodes them with `args`.
pub(crate) fn encoded(width: usize, height: usize, args: &str) -> Vec<u8> {
    let (source, rgb) = patches(width, height);
    let args = format!("{source} {args} -");
    ffmpeg(&args.split_whitespace().collect::<Vec<_>>(), &rgb)
}

/// ffmpeg's standard output.
pub(crate) fn ffmpeg(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg runs");
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success(), "{args:?}");
    out.stdout
}

/// The patches as a key frame of H.264 or H.265.
pub(crate) fn key_frame(width: usize, height: usize, args: &str) -> Coded {
    let (source, rgb) = patches(width, height);
    key_frame_of(&source.split_whitespace().collect::<Vec<_>>(), args, &rgb)
}

/// The first frame of a source (options of ffmpeg, which reads `input`) as a
/// key frame of H.264 or H.265.
pub(crate) fn key_frame_of(source: &[&str], args: &str, input: &[u8]) -> Coded {
    let hevc = args.contains("265");
    let format = if hevc {
        "-frames:v 1 -bsf:v hevc_metadata=aud=insert -f hevc -"
    } else {
        "-frames:v 1 -bsf:v h264_metadata=aud=insert -f h264 -"
    };
    let args = args.split_whitespace().chain(format.split_whitespace());
    let raw = ffmpeg(&source.iter().copied().chain(args).collect::<Vec<_>>(), input);
    let units = access_units(&raw, hevc).remove(0);
    let codec = video_codec(&units, hevc);
    let slices = units.iter().filter(|unit| is_slice(unit, hevc));
    Coded::new(codec, length_prefixed(slices.map(|unit| &unit[..])))
}

/// x264 with this colour matrix (`bt601`, `bt709`) and range (`tv`, `pc`), both
/// told in the VUI.
pub(crate) fn x264(matrix: &str, range: &str) -> String {
    let told = if matrix == "bt601" { "smpte170m" } else { matrix };
    format!(
        "-vf scale=out_color_matrix={matrix}:out_range={range}:flags=accurate_rnd+full_chroma_int,format=yuv420p \
         -colorspace {told} -color_range {range} -c:v libx264 -qp 4"
    )
}

/// A row of pictures being read.
pub(crate) struct Parts {
    response: Response,
    read: Vec<u8>,
    /// When the camera took the picture read last.
    pub(crate) taken: SystemTime,
}

impl Parts {
    pub(crate) fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self { response, read: Vec::new(), taken: UNIX_EPOCH }
    }

    /// The next picture's file; `None` at the end. Asserts all that is around
    /// it.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let kind = self.response.headers()["content-type"].to_str().unwrap().to_owned();
        let boundary = kind.strip_prefix("multipart/x-mixed-replace; boundary=").unwrap();
        let opening = format!("--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Length: ");
        loop {
            let end = self.read.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                let head = std::str::from_utf8(&self.read[..end]).unwrap();
                let rest = head.strip_prefix(&opening).unwrap();
                let (length, taken) = rest.split_once("\r\nX-Timestamp: ").unwrap();
                let length: usize = length.parse().unwrap();
                self.taken = UNIX_EPOCH + Duration::from_secs_f64(taken.parse().unwrap());
                let file = end + 4..end + 4 + length;
                // The next boundary comes with the picture, not with the next one.
                if self.read.len() >= file.end + 4 + boundary.len() {
                    assert!(
                        self.read[file.end..].starts_with(format!("\r\n--{boundary}").as_bytes())
                    );
                    let picture = Bytes::copy_from_slice(&self.read[file.clone()]);
                    self.read.drain(..file.end + 2);
                    return Some(picture);
                }
            }
            match self.response.chunk().await.unwrap() {
                Some(chunk) => self.read.extend_from_slice(&chunk),
                None => return None,
            }
        }
    }
}

/// Size and colours of a picture, as ffmpeg reads it.
pub(crate) fn rgb(file: &[u8]) -> (usize, usize, Vec<u8>) {
    assert_eq!((&file[..2], &file[file.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
    // SOF0: length, bits, height, width.
    let frame = file.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let side =
        |at: usize| usize::from(u16::from_be_bytes([file[frame + at], file[frame + at + 1]]));
    let (height, width) = (side(5), side(7));
    let args = ["-f", "mjpeg", "-i", "-", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"];
    let samples = ffmpeg(&args, file);
    assert_eq!(samples.len(), width * height * 3);
    (width, height, samples)
}

/// How far the middles of the patches are from what they should be, at most.
pub(crate) fn farthest(file: &[u8]) -> u8 {
    let (width, height, samples) = rgb(file);
    let patch = |(nth, colour): (usize, &[u8; 3])| {
        let at = (height / 2 * width + (2 * nth + 1) * width / 16) * 3;
        let found = &samples[at..at + 3];
        found.iter().zip(colour).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    };
    PATCHES.iter().enumerate().map(patch).max().unwrap()
}
