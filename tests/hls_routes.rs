//! HLS as players meet it: over HTTP, judged by ffmpeg and `m3u8-rs`.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hls_support::{Audio, Clip, Spec, WALL_MS, run};
use m3u8_rs::{MediaPlaylist, Playlist};
use porthole::auth::Access;
use porthole::bus::{BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream};
use porthole::egress::hls::{Config, Deps, Hls, Metrics, routes};
use porthole::http::SessionMetrics;
use reqwest::{Client, Response, StatusCode};

/// A gateway with one stream, `yard`.
struct Gateway {
    base: String,
    http: Client,
    publisher: Option<Publisher>,
    hls: Arc<Hls>,
}

impl Gateway {
    async fn start() -> Self {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
        let (stream, publisher) = Stream::new(
            "yard".parse().unwrap(),
            Limits::default(),
            status,
            BusMetrics::unregistered(),
        );
        let registry = Arc::new(Registry::new());
        registry.insert(Arc::clone(&stream));
        let hls = Hls::new(Config::default(), Metrics::unregistered());
        hls.attach(&stream);
        let deps = Deps {
            registry,
            access: Arc::new(Access::Open),
            hls: Arc::clone(&hls),
            sessions: SessionMetrics::unregistered(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes(deps)).await });
        Self { base, http: Client::new(), publisher: Some(publisher), hls }
    }

    async fn publish(&mut self, clip: &Clip) {
        for frame in &clip.frames {
            self.publisher.as_mut().unwrap().publish(frame.clone());
            // One thread: the reader runs before the next frame.
            tokio::task::yield_now().await;
        }
    }

    async fn end(&mut self) {
        self.publisher = None;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}/yard/{path}", self.base)).send().await.unwrap()
    }

    async fn bytes(&self, name: &str) -> Bytes {
        let response = self.get(&format!("hls/{name}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        response.bytes().await.unwrap()
    }

    async fn text(&self, query: &str) -> String {
        let response = self.get(&format!("hls/media.m3u8{query}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        response.text().await.unwrap()
    }
}

fn media(text: &str) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

/// Values of an attribute in all tags that begin with `tag`.
fn attributes<'t>(text: &'t str, tag: &str, attribute: &str) -> Vec<&'t str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(tag));
    lines
        .filter_map(|line| {
            line.split(',').find_map(|pair| pair.strip_prefix(attribute)?.strip_prefix('='))
        })
        .map(|value| value.trim_matches('"'))
        .collect()
}

const H264: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 50 -sc_threshold 0";
const B_FRAMES: &str =
    "-c:v libx264 -preset veryfast -profile:v high -bf 3 -b_strategy 0 -g 50 -sc_threshold 0";
const H265: &str = "-c:v libx265 -preset ultrafast -g 50 -tag:v hvc1 -x265-params \
                    log-level=error:scenecut=0:keyint=50";

/// Plays a whole clip, fetches all of it and lets ffmpeg decode it.
async fn carries_every_frame(video: &str, audio: Audio, codecs: &str) {
    let clip = Clip::make(&Spec { video, audio, seconds: 9, fps: 25, size: "320x180" });
    let mut gateway = Gateway::start().await;
    gateway.publish(&clip).await;
    gateway.end().await;

    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    let (_, Playlist::MasterPlaylist(index)) = m3u8_rs::parse_playlist(index.as_bytes()).unwrap()
    else {
        panic!("{index}");
    };
    let variant = &index.variants[0];
    assert_eq!(variant.uri, "hls/media.m3u8");
    assert_eq!(variant.codecs.as_deref(), Some(codecs));
    assert_eq!(variant.resolution.map(|r| (r.width, r.height)), Some((320, 180)));
    assert_eq!(variant.frame_rate, Some(25.0));

    let text = gateway.text("").await;
    let playlist = media(&text);
    assert!(gateway.hls.buffer_bytes() > 0);
    assert!(playlist.end_list && playlist.segments.len() >= 4, "{text}");
    let map = playlist.segments[0].map.as_ref().unwrap();
    let mut file = gateway.bytes(&map.uri).await.to_vec();
    let mut peak = 0;
    for segment in &playlist.segments {
        let whole = gateway.bytes(&segment.uri).await;
        let stem = segment.uri.strip_suffix(".m4s").unwrap();
        let parts = attributes(&text, "#EXT-X-PART:", "URI");
        let mut joined = Vec::new();
        for part in parts.iter().filter(|part| part.starts_with(&format!("{stem}."))) {
            joined.extend_from_slice(&gateway.bytes(part).await);
        }
        // Old segments list no parts any more.
        assert!(joined.is_empty() || joined == whole, "{stem} is exactly its parts");
        peak = peak.max((whole.len() as f64 * 8.0 / f64::from(segment.duration)) as u64);
        file.extend_from_slice(&whole);
    }
    assert!(variant.bandwidth >= peak, "BANDWIDTH is a peak");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.mp4").to_str().unwrap().to_owned();
    std::fs::write(&path, file).unwrap();
    assert_eq!(run("ffmpeg", &["-v", "error", "-i", &path, "-f", "null", "-"]), "");
    let count = |stream: &str| {
        let mut args = vec!["-v", "error", "-count_frames", "-select_streams", stream];
        args.extend(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", &path]);
        run("ffprobe", &args).trim().parse::<usize>().unwrap_or(0)
    };
    assert_eq!(count("v"), clip.video_frames());
    let heard = count("a");
    // Sound that begins after the last picture stays out.
    assert!(heard <= clip.audio_frames() && heard + 8 >= clip.audio_frames(), "{heard}");
    let length = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
            &path,
        ],
    );
    let times: Vec<f64> =
        length.lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect();
    let (first, last) = (times[0], times.iter().copied().fold(0.0, f64::max));
    assert!((last - first - 8.96).abs() < 0.002, "{first} {last}");
    assert!((first - WALL_MS as f64 / 1_000.0).abs() < 0.2, "media time is wall time: {first}");
}

#[tokio::test]
async fn h264_and_aac_come_out_as_they_went_in() {
    carries_every_frame(H264, Audio::Aac, "avc1.42C00C,mp4a.40.2").await;
}

#[tokio::test]
async fn b_frames_and_g711_as_flac_come_out_as_they_went_in() {
    carries_every_frame(B_FRAMES, Audio::Alaw, "avc1.64000C,fLaC").await;
    carries_every_frame(H264, Audio::Mulaw, "avc1.42C00C,fLaC").await;
}

#[tokio::test]
async fn h265_is_hvc1() {
    carries_every_frame(H265, Audio::None, "hvc1.1.6.L60.90").await;
}
