//! MSE over a WebSocket: what viewers are sent, and which they are refused.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod hls_support;
mod mse_support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hls_support::gateway::{later, pictures};
use mse_support::{House, Sent, sequence, starts};
use porthole::bus::{Limits, SourceState};
use porthole::fault::Code;
use porthole::media::{
    AvcSps, BitReader, BitWriter, Codec, Draft, FrameKind, Tracks, escape, unescape,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PLAYS: &str = r#"{"type":"mse","value":"avc1.640029,mp4a.40.2,flac"}"#;

#[tokio::test]
async fn viewers_begin_at_the_newest_key_frame_and_get_the_same_bytes() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(120, 50));
    let mut one = house.viewer("yard/mse").await;
    one.say(PLAYS).await;
    let hello = one.json().await;
    assert_eq!(hello["value"], "video/mp4; codecs=\"avc1.42C00C\"", "{hello}");
    assert!(hello.get("notice").is_none(), "{hello}");
    assert_eq!(&one.binary().await[4..8], b"ftyp");
    let mut seen = Vec::new();
    for wanted in 101..=120 {
        let fragment = one.binary().await;
        assert_eq!((sequence(&fragment), starts(&fragment)), (wanted, wanted == 101));
        seen.push(fragment);
    }
    let mut two = house.viewer("yard/mse").await;
    two.say(PLAYS).await;
    two.binary().await;
    for fragment in &seen {
        assert_eq!(&two.binary().await, fragment);
    }
    // Live from here on.
    house.publish(&later(pictures(1, 50), 10));
    assert_eq!(sequence(&one.binary().await), 121);
    assert_eq!(sequence(&two.binary().await), 121);

    let text = house.metrics_text();
    let bytes = seen.iter().map(Bytes::len).sum::<usize>() * 2;
    for line in [
        r#"porthole_sessions{output="mse",state="connected"} 2"#,
        r#"porthole_session_setups_total{output="mse",result="ok"} 2"#,
        r#"porthole_first_frame_duration_seconds_count{output="mse"} 2"#,
        r#"porthole_bus_readers{output="mse"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let counted = text
        .lines()
        .find_map(|line| {
            line.strip_prefix(r#"porthole_sent_bytes_total{output="mse",stream="yard"} "#)
        })
        .unwrap();
    assert!(counted.parse::<usize>().unwrap() > bytes, "{counted} of {bytes} and two more");

    drop((one, two));
    house.until(r#"porthole_sessions{output="mse",state="connected"} 0"#).await;
    house.until(r#"porthole_bus_readers{output="mse"} 0"#).await;
}

#[tokio::test]
async fn a_viewer_that_reads_slowly_skips_to_a_key_frame_and_holds_nothing_up() {
    let mut house = House::start(Limits { bytes: 8 << 20, ..Limits::default() }).await;
    let big = |frame: Draft| Draft { data: Bytes::from(vec![0; 1 << 20]), ..frame };
    let frames: Vec<Draft> = pictures(100, 5).into_iter().map(big).collect();
    house.publish(&frames[..1]);
    let mut slow = house.viewer("yard/mse").await;
    slow.say(PLAYS).await;
    slow.binary().await;
    assert_eq!(sequence(&slow.binary().await), 1);
    for frame in &frames[1..] {
        house.publish(std::slice::from_ref(frame));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (mut last, mut skipped) = (1, 0);
    while last < 100 {
        let fragment = slow.binary().await;
        let now = sequence(&fragment);
        if now != last + 1 {
            assert!(starts(&fragment), "{now} after {last} is no key frame");
            skipped += now - last - 1;
        }
        last = now;
    }
    // 99 MiB, of which loopback and the bus hold some ten.
    assert!(skipped > 50, "{skipped}");
}

#[tokio::test]
async fn a_viewer_two_seconds_behind_goes_on_at_the_newest_key_frame() {
    let mut house = House::start(Limits::default()).await;
    let old = |frame: Draft| Draft { arrived: frame.arrived - Duration::from_secs(3), ..frame };
    let frames: Vec<Draft> = pictures(30, 10).into_iter().map(old).collect();
    house.publish(&frames[..3]);
    let mut viewer = house.viewer("yard/mse").await;
    viewer.say(PLAYS).await;
    viewer.binary().await;
    // It begins at the newest there is, however old.
    assert_eq!(sequence(&viewer.binary().await), 1);
    assert_eq!(sequence(&viewer.binary().await), 2);
    assert_eq!(sequence(&viewer.binary().await), 3);
    house.publish(&frames[3..]);
    assert_eq!(sequence(&viewer.binary().await), 4);
    assert_eq!(sequence(&viewer.binary().await), 21);
}

#[tokio::test]
async fn new_parameters_bring_a_new_init_segment() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(2, 50));
    let mut viewer = house.viewer("yard/mse").await;
    viewer.say(PLAYS).await;
    assert_eq!(viewer.json().await["type"], "mse");
    let init = viewer.binary().await;
    assert_eq!(sequence(&viewer.binary().await), 1);
    assert_eq!(sequence(&viewer.binary().await), 2);

    let change = |frame: Draft, sps: &'static [u8]| {
        let mut video = frame.tracks.video().unwrap().clone();
        let Codec::H264(avc) = &mut video.codec else { unreachable!() };
        avc.sps = Bytes::from_static(sps);
        Draft { tracks: Arc::new(Tracks::new(vec![video])), ..frame }
    };
    // The same codec string: an init segment, and no word.
    let key = later(pictures(1, 50), 1).remove(0);
    house.publish(&[change(key.clone(), &[0x67, 0x42, 0xc0, 0x0c, 0x8d])]);
    let new = viewer.binary().await;
    assert_eq!(&new[4..8], b"ftyp");
    assert_ne!(new, init);
    assert!(starts(&viewer.binary().await));
    // Another one: the page has to change its buffer's type.
    let key = later(vec![key], 1).remove(0);
    house.publish(&[change(key, &[0x67, 0x42, 0xc0, 0x1f, 0x8d])]);
    assert_eq!(viewer.json().await["value"], "video/mp4; codecs=\"avc1.42C01F\"");
    assert_eq!(&viewer.binary().await[4..8], b"ftyp");
}

#[tokio::test]
async fn what_a_viewer_cannot_play_is_said_before_the_socket_closes() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(2, 50));
    for (said, code) in [
        (r#"{"type":"mse","value":"hvc1.1.6.L153.B0,opus"}"#, Code::VideoUnplayable),
        (r#"{"type":"mse"}"#, Code::VideoUnplayable),
        ("avc1", Code::ViewerBadOffer),
    ] {
        let mut viewer = house.viewer("yard/mse").await;
        viewer.say(said).await;
        let refused = viewer.json().await;
        assert_eq!((&refused["type"], &refused["code"]), (&"error".into(), &code.as_str().into()));
        assert!(refused["hint"].is_string() && refused["title"].is_string(), "{refused}");
        assert_eq!(viewer.next().await, Sent::Closed(1008, code.as_str().into()));
    }
    let text = house.metrics_text();
    let line = r#"setups_total{output="mse",result="codec.video_unplayable"} 2"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_camera_without_a_key_frame_is_named_and_one_that_fails_meanwhile_too() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(3, 50)[1..]);
    let mut viewer = house.viewer("yard/mse").await;
    viewer.say(PLAYS).await;
    assert_eq!(viewer.json().await["code"], "source.no_keyframe");

    let mut viewer = house.viewer("yard/mse").await;
    viewer.say(PLAYS).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    house.publisher.set_status(|status| {
        status.state = SourceState::Down;
        status.fault = Some(Code::SourceAuth.into());
    });
    let refused = viewer.json().await;
    assert_eq!(refused["code"], "source.auth");
    assert_eq!(refused["source"], "rtsp://camera/");
    // Whoever comes now gets it at once, as does a program that only asks.
    let refused = house.refusal("yard/mse", &[]).await;
    assert_eq!((refused.0, &refused.1["code"]), (502, &"source.auth".into()));
    assert_eq!(house.get("yard/mse").await.0, 502);
}

#[tokio::test]
async fn requests_that_are_no_viewer_of_ours_are_refused_with_a_status() {
    let house = House::start(Limits::default()).await;
    let own = house.base.trim_start_matches("http://").to_owned();
    for (path, origin, status) in [
        ("nowhere/mse", None, 404),
        ("yard/mse?quality=sub", None, 404),
        ("yard/mse", Some("https://evil.example".to_owned()), 403),
        ("yard/mse", Some(format!("http://{own}.evil.example")), 403),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", origin.as_str())).collect();
        assert_eq!(house.refusal(path, &headers).await.0, status, "{path} {origin:?}");
    }
    for origin in [format!("http://{own}"), "https://listed.example".to_owned()] {
        house.connect("yard/mse", &[("origin", &origin)]).await.unwrap();
    }
    let (status, body) = house.get("yard/mse").await;
    assert!(status == 426 && body.contains("WebSocket"), "{status} {body}");
}

#[tokio::test]
async fn a_viewer_that_talks_too_much_or_not_at_all_is_sent_away() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(2, 50));
    let mut long = house.viewer("yard/mse").await;
    long.say(&format!("{{\"type\":\"mse\",\"value\":\"{}\"}}", "x".repeat(5_000))).await;
    assert!(matches!(long.next().await, Sent::Closed(..)));

    // go2rtc's clients try other things first.
    let mut chatty = house.viewer("yard/mse").await;
    chatty.say(r#"{"type":"webrtc/offer","value":"v=0"}"#).await;
    let other = chatty.json().await;
    assert_eq!(other["value"], "webrtc/offer: this socket has `mse` alone");
    for _ in 0..64 {
        chatty.say(r#"{"type":"x"}"#).await;
    }
    assert!(matches!(chatty.closed().await, Sent::Closed(1008, _)));

    let mut silent = house.viewer("yard/mse").await;
    let refused = silent.json().await;
    assert_eq!(refused["code"], "viewer.bad_offer", "{refused}");
}

#[tokio::test]
async fn a_viewer_that_vanished_is_noticed() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(2, 50));
    // Opens a socket by hand, and never answers a ping.
    let address = house.base.trim_start_matches("http://").to_owned();
    let mut gone = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = "GET /yard/mse HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    gone.write_all(request.as_bytes()).await.unwrap();
    // One frame of text, masked with zeros.
    let mut hello = vec![0x81, 0x80 | PLAYS.len() as u8, 0, 0, 0, 0];
    hello.extend_from_slice(PLAYS.as_bytes());
    gone.write_all(&hello).await.unwrap();
    house.until(r#"porthole_session_setups_total{output="mse",result="ok"} 1"#).await;

    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(25), gone.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the socket is still open");
    house.until(r#"porthole_session_duration_seconds_count{end="slow",output="mse"} 1"#).await;
}

#[tokio::test]
async fn stopping_says_goodbye() {
    let mut house = House::start(Limits::default()).await;
    house.publish(&pictures(2, 50));
    let mut viewer = house.viewer("yard/mse").await;
    viewer.say(PLAYS).await;
    viewer.json().await;
    house.stop.cancel();
    assert_eq!(viewer.closed().await, Sent::Closed(1001, "stopping".into()));
    drop(viewer);
    house.tasks.close();
    tokio::time::timeout(Duration::from_secs(3), house.tasks.wait()).await.unwrap();
}

/// The SPS without its VUI: it does not say whether pictures are reordered.
fn silent(sps: &[u8]) -> Bytes {
    let rbsp = unescape(sps);
    let mut out = BitWriter::default();
    let vui = AvcSps::read(sps).unwrap().vui.present;
    out.copy(&mut BitReader::new(&rbsp), vui).unwrap();
    out.bits(0, 1);
    escape(&out.finish()).into()
}

#[tokio::test]
async fn a_decoder_is_told_that_there_are_no_b_frames_as_long_as_there_are_none() {
    use hls_support::{Audio, Clip, Spec, run};
    // B-frames might come, so pictures have an order of their own, but none does.
    let video = "-c:v libx264 -profile:v high -bf 2 -g 50 -x264-params b-adapt=1:b-bias=-100";
    let spec = Spec { video, audio: Audio::Aac, seconds: 1, fps: 25, size: "320x180" };
    let clip = Clip::make(&spec);
    let mut track = clip.frames[0].tracks.video().unwrap().clone();
    let Codec::H264(avc) = &mut track.codec else { unreachable!() };
    (avc.sps, avc.max_num_reorder_frames) = (silent(&avc.sps), None);
    let camera = avc.sps.clone();
    let tracks = Arc::new(Tracks::new(vec![track]));
    let pictures = clip.frames.iter().filter(|frame| frame.kind != FrameKind::Audio);
    let pictures: Vec<Draft> =
        pictures.map(|frame| Draft { tracks: Arc::clone(&tracks), ..frame.clone() }).collect();

    // What the camera says is in the init segment, or is not.
    let says = |init: &[u8]| init.windows(camera.len()).any(|part| part == camera);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent.mp4").to_str().unwrap().to_owned();
    // Pictures that a decoder holds back, one that takes the parameters' word.
    let held = |file: &[u8]| {
        std::fs::write(&path, file).unwrap();
        let entries = ["-strict", "strict", "-show_entries", "stream=has_b_frames"];
        run("ffprobe", &[&["-v", "error"], &entries[..], &["-of", "csv=p=0", &path]].concat())
    };
    for (enough, known) in [(1, false), (20, true)] {
        let mut house = House::start(Limits::default()).await;
        house.publish(&pictures[..enough]);
        let mut viewer = house.viewer("yard/mse").await;
        viewer.say(PLAYS).await;
        assert_eq!(viewer.json().await["type"], "mse");
        let mut file = viewer.binary().await.to_vec();
        assert_eq!(says(&file), !known);
        for _ in 0..enough {
            file.extend_from_slice(&viewer.binary().await);
        }
        assert_eq!(held(&file).trim() == "0", known, "{}", held(&file));
        if !known {
            continue;
        }
        // A slice of type B (H.264 §7.4.3).
        let b_slice = Bytes::from_static(&[0, 0, 0, 2, 0x01, 0x9c]);
        house.publish(&[Draft { data: b_slice, ..pictures[enough].clone() }]);
        let init = viewer.binary().await;
        assert!(&init[4..8] == b"ftyp" && says(&init), "told again");
        assert_eq!(&viewer.binary().await[4..8], b"moof");
        house.publish(&pictures[enough + 1..]);
        assert_eq!(&viewer.binary().await[4..8], b"moof", "told once");
    }
}

#[tokio::test]
async fn what_is_sent_decodes_to_the_last_frame() {
    use hls_support::{Audio, Clip, Spec, run};
    for (video, audio, plays) in [
        ("-c:v libx264 -preset veryfast -bf 2 -g 25", Audio::Aac, "avc1,mp4a"),
        ("-c:v libx264 -preset veryfast -bf 0 -g 25", Audio::Alaw, "avc1,flac"),
        ("-c:v libx265 -preset ultrafast -x265-params log-level=error", Audio::Aac, "hev1,mp4a"),
    ] {
        let size = "320x180";
        let clip = Clip::make(&Spec { video, audio, seconds: 2, fps: 25, size });
        let mut house = House::start(Limits::default()).await;
        house.publish(&clip.frames[..1]);
        let mut viewer = house.viewer("yard/mse").await;
        viewer.say(&format!("{{\"type\":\"mse\",\"value\":\"{plays}\"}}")).await;
        let mut file = viewer.binary().await.to_vec();
        let first = viewer.binary().await;
        file.extend_from_slice(&first);
        house.publish(&clip.frames[1..]);
        // All but what the camera sent before its first key frame.
        for _ in 1..clip.frames.len() {
            file.extend_from_slice(&viewer.binary().await);
        }
        assert_eq!(clip.frames[0].kind, FrameKind::Key);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent.mp4").to_str().unwrap().to_owned();
        std::fs::write(&path, &file).unwrap();
        let count = |stream: &str| {
            let entries = ["-count_frames", "-select_streams", stream, "-show_entries"];
            let rest = ["stream=nb_read_frames", "-of", "csv=p=0", &path];
            let out = run("ffprobe", &[&["-v", "error"], &entries[..], &rest].concat());
            out.trim().trim_end_matches(',').parse::<usize>().unwrap_or_else(|_| panic!("{out}"))
        };
        assert_eq!(count("v:0"), clip.video_frames(), "{video}");
        assert_eq!(count("a:0"), clip.audio_frames(), "{video}");
        let said = run("ffmpeg", &["-v", "warning", "-i", &path, "-f", "null", "-"]);
        assert!(!said.contains("rror") && !said.contains("orrupt"), "{video}: {said}");
    }
}
