//! The camera side against real RTSP servers that we did not write
//! (GStreamer's, started by `tests/cameras/cameras.py`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use camera_support::{Cameras, PATIENCE, pull, source};
use porthole::bus::SourceState;
use porthole::fault::Code;
use porthole::ingest::Transport;
use porthole::media::{Frame, FrameKind, MediaKind};
use serde_json::Value;
use tokio::time::timeout;

/// What every healthy camera gives: a key frame first, rising times, 25
/// pictures a second, nothing discarded.
fn assert_healthy(mount: &str, frames: &[Arc<Frame>]) {
    assert!(frames[0].is_entry_point(), "{mount}");
    let mut last = HashMap::new();
    let mut gaps = Vec::new();
    for frame in frames {
        let dts = frame.dts.nanos();
        assert!(frame.pts >= frame.dts, "{mount}: {frame:?}");
        assert!(!frame.data.is_empty() && !frame.discontinuity, "{mount}");
        if let Some(before) = last.insert(frame.track, dts) {
            assert!(dts > before, "{mount}: time goes back");
            if frame.kind != FrameKind::Audio {
                gaps.push(dts - before);
            }
        }
    }
    gaps.sort_unstable();
    let median = gaps[gaps.len() / 2];
    assert!((39_000_000..=41_000_000).contains(&median), "{mount}: {median} ns between pictures");
    let pictures: Vec<i64> = frames
        .iter()
        .filter(|frame| frame.kind != FrameKind::Audio)
        .map(|frame| frame.pts.nanos())
        .collect();
    let span = pictures.iter().max().unwrap() - pictures.iter().min().unwrap();
    let expected = 40_000_000 * (pictures.len() as i64 - 1);
    assert!((span - expected).abs() < 90_000_000, "{mount}: pictures are missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_arrives_whole_over_tcp_and_udp() {
    let mounts = [
        ("h264-pcma", ["H.264", "PCMA"]),
        ("h264-aac", ["H.264", "AAC"]),
        ("bframes", ["H.264", "AAC"]),
        ("h265-aac", ["H.265", "AAC"]),
        ("mjpeg", ["MJPEG", ""]),
        ("vp8-opus", ["VP8", "Opus"]),
        ("vp9-g722", ["VP9", "G722"]),
        ("av1-l16", ["AV1", "L16"]),
    ];
    let cameras = Cameras::start(&mounts.map(|(mount, _)| mount));
    for (mount, codecs) in mounts {
        for transport in [Transport::Tcp, Transport::Udp] {
            let mut asked = source(&cameras.url(mount));
            asked.transport = transport;
            let mut camera = pull(asked);
            let frames = camera.frames(120).await;
            assert_healthy(&format!("{mount} over {transport:?}"), &frames);
            let tracks = camera.stream.tracks().unwrap();
            let names: Vec<_> = tracks.iter().map(|track| track.codec.name()).collect();
            assert_eq!(
                names,
                codecs.iter().filter(|name| !name.is_empty()).copied().collect::<Vec<_>>()
            );
            let size = tracks.video().unwrap().codec.pixel_size().unwrap();
            assert!([(640, 360), (1280, 720)].contains(&(size.width, size.height)), "{size:?}");
            if mount == "bframes" {
                assert!(frames.iter().any(|frame| frame.pts != frame.dts), "no reordering");
            }
            // A camera joined in mid-group sends pictures nobody can decode
            // yet; beyond those, nothing is lost or damaged.
            for reason in ["damaged", "malformed", "overlap"] {
                let name = "porthole_source_frames_discarded_total";
                let line = format!("{name}{{reason=\"{reason}\",stream=\"camera\"}}");
                assert_eq!(camera.metric(&line).unwrap_or(0.0), 0.0, "{mount}: {reason}");
            }
            camera.stop.cancel();
            timeout(PATIENCE, camera.task).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_is_a_stream_also_in_latm() {
    let cameras = Cameras::start(&["latm"]);
    let mut camera = pull(source(&cameras.url("latm")));
    let frames = camera.frames(40).await;
    let rising = frames.windows(2).all(|pair| pair[0].dts < pair[1].dts);
    assert!(rising && frames.iter().all(|frame| frame.kind == FrameKind::Audio));
    let span = frames[39].dts.nanos() - frames[0].dts.nanos();
    let taken = frames[39].arrived - frames[0].arrived;
    let apart = (span as f64 / 1e9 - taken.as_secs_f64()).abs();
    assert!(apart < 0.5, "{span} ns in {taken:?}");
    let tracks = camera.stream.tracks().unwrap();
    let names: Vec<_> = tracks.iter().map(|track| track.codec.name()).collect();
    assert_eq!(names, ["AAC"]);
    assert_eq!(camera.stream.status().state, SourceState::Live);
    camera.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_and_digest_logins_work_and_a_wrong_one_waits_minutes() {
    for method in ["basic", "digest"] {
        let cameras = Cameras::start(&["h264-pcma", "--auth", method]);
        let url = cameras.url("h264-pcma");
        let with = |login: &str| source(&url.replace("//", &format!("//{login}@")));
        let mut right = pull(with("viewer:window"));
        assert!(right.frame().await.is_entry_point(), "{method}");

        for login in ["viewer:door", "nobody:window"] {
            let wrong = pull(with(login));
            let status = wrong.status(|status| status.state == SourceState::Down).await;
            assert_eq!(status.fault.unwrap().code, Code::SourceAuth, "{method}");
            let wait = status.next_retry.unwrap().duration_since(SystemTime::now()).unwrap();
            assert!(wait > Duration::from_secs(120), "{method}: tries again in {wait:?}");
            wrong.stop.cancel();
        }
        right.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_insists_on_udp_gets_it() {
    let cameras = Cameras::start(&["h264-pcma", "--transport", "udp"]);
    let mut camera = pull(source(&cameras.url("h264-pcma")));
    assert!(camera.frame().await.is_entry_point());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_the_camera_does_not_know_is_named() {
    let cameras = Cameras::start(&["mjpeg"]);
    let camera = pull(source(&cameras.url("nothing")));
    let status = camera.status(|status| status.fault.is_some()).await;
    assert_eq!(status.fault.unwrap().code, Code::SourceNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_dies_comes_back_on_the_same_line() {
    let cameras = Cameras::start(&["h264-pcma"]);
    let port = cameras.port.to_string();
    let mut camera = pull(source(&cameras.url("h264-pcma")));
    let before = camera.frames(50).await.pop().unwrap();

    drop(cameras);
    let down = camera.status(|status| status.state == SourceState::Down).await;
    assert!(down.fault.is_some());
    let down = camera.status(|status| status.attempts > 2).await;
    assert_eq!(down.fault.unwrap().code, Code::SourceRefused);

    let _cameras = Cameras::start(&["h264-pcma", "--port", &port]);
    let reachable = Instant::now();
    camera.status(|status| status.state == SourceState::Live).await;
    // Back-off of at most 2 s, and a key frame every 2 s.
    assert!(reachable.elapsed() < Duration::from_secs(6), "{:?}", reachable.elapsed());
    let mut last = before;
    let mut discontinuities = 0;
    for frame in camera.frames(100).await {
        assert_eq!(frame.sequence, last.sequence + 1);
        if frame.discontinuity {
            discontinuities += 1;
        }
        last = frame;
    }
    assert_eq!(discontinuities, 2, "one for each track");
    assert!(camera.stream.status().fault.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_on_demand_is_pulled_only_while_somebody_watches() {
    let cameras = Cameras::start(&["h264-pcma"]);
    let mut asked = source(&cameras.url("h264-pcma"));
    asked.on_demand = true;
    let mut camera = pull(asked);
    camera.status(|status| status.state == SourceState::Idle).await;
    let watching = camera.stream.watch();
    assert!(camera.frame().await.is_entry_point());
    drop(watching);
    let left = Instant::now();
    camera.status(|status| status.state == SourceState::Idle).await;
    assert!(left.elapsed() > Duration::from_secs(9), "no hold-off");
    let video = "porthole_source_frames_total{media=\"video\",stream=\"camera\"}";
    let frames = camera.metric(video);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(camera.metric(video), frames, "pictures after leaving");
    let _watching = camera.stream.watch();
    camera.status(|status| status.state == SourceState::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_stay_together() {
    let cameras = Cameras::start(&["h264-aac"]);
    let mut camera = pull(source(&cameras.url("h264-aac")));
    let mut newest: HashMap<MediaKind, i64> = HashMap::new();
    for frame in camera.frames(300).await {
        newest.insert(frame.track().unwrap().kind(), frame.dts.nanos());
        if let (Some(video), Some(audio)) =
            (newest.get(&MediaKind::Video), newest.get(&MediaKind::Audio))
        {
            assert!((video - audio).abs() < 200_000_000, "apart by {} ns", video - audio);
        }
    }
}

#[test]
fn the_doctor_says_what_a_camera_sends_and_where_it_plays() {
    let cameras = Cameras::start(&["bframes"]);
    let doctor = |url: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_porthole"));
        let output = command.args(["doctor", "--json", url]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        (output.status.code(), report)
    };
    let (code, report) = doctor(&cameras.url("bframes"));
    assert_eq!((code, &report["fault"]), (Some(0), &Value::Null), "{report}");
    let video = &report["tracks"][0];
    assert_eq!((&video["codec"], &video["width"]), (&"H.264".into(), &640.into()));
    assert_eq!((&video["b_frames"], &video["packets_lost"]), (&true.into(), &0.into()));
    let near = |value: &Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 0.1;
    assert!(near(&video["fps"], 25.0) && near(&video["keyframe_interval_seconds"], 2.0), "{video}");
    assert!(report["clock_offset_seconds"].as_f64().unwrap().abs() < 2.0, "{report}");
    assert_eq!(report["plays"]["WebRTC"]["Chrome"]["plays"], false);
    assert_eq!(report["plays"]["HLS"]["iOS"]["plays"], true);

    let (code, report) = doctor(&cameras.url("nothing"));
    assert_eq!((code, &report["fault"]["code"]), (Some(69), &"source.not_found".into()));
    let (code, report) = doctor("rtsp://127.0.0.1:1/");
    assert_eq!((code, &report["reachable"]), (Some(69), &false.into()), "{report}");
}
