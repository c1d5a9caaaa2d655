//! HLS in players we did not write: GStreamer and ffmpeg watch a camera that
//! goes on while they watch.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hls_support::{Audio, Clip, Spec};
use porthole::bus::{BusMetrics, Limits, Registry, SourceState, SourceStatus, Stream};
use porthole::egress::hls::{Config, Deps, Hls, Metrics, routes};
use porthole::http::SessionMetrics;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep_until, timeout};

/// Longest a player may take; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pictures that a player has to show. More than the window holds when it
/// comes, so that it has to follow the playlist.
const PICTURES: usize = 375;
/// How much of the clip there is when the player comes.
const BEFORE: i64 = 10_000_000_000;

/// Serves a camera that has run for ten seconds and goes on for thirty; the
/// URL of its playlist.
async fn camera(video: &str, audio: Audio) -> String {
    let clip = Clip::make(&Spec { video, audio, seconds: 40, fps: 25, size: "320x180" });
    let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
    let name = "yard".parse().unwrap();
    let metrics = BusMetrics::unregistered();
    let (stream, mut publisher) = Stream::new(name, Limits::default(), status, metrics);
    let registry = Arc::new(Registry::new());
    registry.insert(Arc::clone(&stream));
    let hls = Hls::new(Config::default(), Metrics::unregistered()).unwrap();
    hls.attach(&stream);
    let sessions = SessionMetrics::unregistered();
    let deps = Deps { registry, hls, sessions };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/yard/index.m3u8", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes(Arc::new(deps))).await });

    let began = Instant::now();
    tokio::spawn(async move {
        for frame in clip.frames {
            let after = u64::try_from(frame.dts.nanos() - BEFORE).unwrap_or(0);
            sleep_until(began + Duration::from_nanos(after)).await;
            publisher.publish(frame);
            tokio::task::yield_now().await;
        }
        // The stream stays: a player that has seen too little must not be
        // told that this was all.
        std::future::pending::<()>().await;
    });
    url
}

/// Runs a player until `enough` says so of its output, which must come
/// before it complains, ends or runs out of time.
async fn watch(program: &str, args: &[&str], mut enough: impl FnMut(&str) -> bool) {
    let mut player = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect(program);
    let mut shown = BufReader::new(player.stdout.take().unwrap()).lines();
    let mut errors = BufReader::new(player.stderr.take().unwrap()).lines();
    let watched = timeout(PATIENCE, async {
        let mut said = String::new();
        let mut quiet = false;
        loop {
            tokio::select! {
                line = shown.next_line() => match line.unwrap() {
                    Some(line) if enough(&line) => break,
                    Some(_) => {}
                    None => panic!("{program} ended too early: {said}"),
                },
                line = errors.next_line(), if !quiet => match line.unwrap() {
                    // Why it ends, it says in more than one line.
                    // GStreamer 1.22 trips over the name of FLAC in MP4, and
                    // plays it.
                    Some(line) if line.contains("gst_caps_append") => {}
                    Some(line) => said += &line,
                    None => quiet = true,
                },
            }
        }
        assert_eq!(said, "", "{program} complains");
    });
    watched.await.unwrap_or_else(|_| panic!("{program} has not seen enough in {PATIENCE:?}"));
}

async fn gstreamer_shows(video: &str, audio: Audio) {
    let uri = format!("uri={}", camera(video, audio).await);
    let sinks = ["video", "audio"]
        .map(|kind| format!("{kind}-sink=fakesink name={kind} silent=false sync=true"));
    let args = ["-v", "playbin3", &uri, &sinks[0], &sinks[1]];
    let (mut pictures, mut sounds) = (0, 0);
    watch("gst-launch-1.0", &args, |line| {
        assert!(!line.contains("ERROR") && !line.contains("WARNING"), "{line}");
        let buffer = line.contains("last-message = chain");
        pictures += usize::from(buffer && line.contains("video"));
        sounds += usize::from(buffer && line.contains("audio"));
        pictures >= PICTURES && (audio == Audio::None || sounds >= PICTURES)
    })
    .await;
}

const H264: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 50 -sc_threshold 0";
const H265: &str = "-c:v libx265 -preset ultrafast -g 50 -tag:v hvc1 -x265-params \
                    log-level=error:scenecut=0:keyint=50";

#[tokio::test]
async fn gstreamer_follows_h264_with_aac() {
    gstreamer_shows(H264, Audio::Aac).await;
}

#[tokio::test]
async fn gstreamer_follows_h264_with_g711() {
    gstreamer_shows(H264, Audio::Alaw).await;
}

#[tokio::test]
async fn gstreamer_follows_h265() {
    gstreamer_shows(H265, Audio::None).await;
}

#[tokio::test]
async fn ffmpeg_follows_h264_with_aac() {
    let url = camera(H264, Audio::Aac).await;
    let args = ["-v", "error", "-i", &url, "-f", "framecrc", "-"];
    let (mut pictures, mut sounds) = (0, 0);
    watch("ffmpeg", &args, |line| {
        pictures += usize::from(line.starts_with("0,"));
        sounds += usize::from(line.starts_with("1,"));
        pictures >= PICTURES && sounds >= PICTURES
    })
    .await;
}
