//! The camera side against servers that mean harm: each ends with a named
//! fault, and costs bounded memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use camera_support::{PATIENCE, pull, source};
use ingest_support::{Attack, Hostile, Plot};
use porthole::bus::{Join, Note, SourceState};
use porthole::fault::{Code, Fault};
use porthole::media::FrameKind;
use tokio::sync::Mutex;

/// What a hostile camera may cost, above what the process had before.
const MEMORY_LIMIT: usize = 32 << 20;

/// What may be under way in the system's buffers when a connection is cut.
const IN_FLIGHT: usize = 24 << 20;

/// Memory is the process's: one attack at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A field of `/proc/self/status`, in bytes.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: usize = line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap();
    kib << 10
}

/// Resident memory now, which becomes the peak to compare with.
fn base() -> usize {
    // proc_pid_clear_refs(5): 5 resets the peak to the current value.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS")
}

/// How long after the cap a camera may still be connected.
const LIMIT_LATENCY: Duration = Duration::from_secs(1);

/// What the attack ends in, and the bytes it got rid of; `cap` is how many it
/// should be allowed.
async fn attacked(plot: Plot, cap: usize) -> (Fault, usize) {
    let _alone = ALONE.lock().await;
    let server = Hostile::start(plot, cap).await;
    let base = base();
    let camera = pull(source(&server.url()));
    let down = camera.status(|status| status.state == SourceState::Down).await;
    // And once more, since it is tried again.
    camera.status(|status| status.attempts > 1).await;
    let (sent, after_cap) = (server.most_sent(), server.longest_after_cap());
    camera.end().await;
    assert!(after_cap < LIMIT_LATENCY, "still connected {after_cap:?} after the cap");
    let cost = memory("VmHWM").saturating_sub(base);
    assert!(cost <= MEMORY_LIMIT, "it cost {} KiB", cost >> 10);
    (down.fault.unwrap(), sent)
}

/// Ends in `source.limit` with those words, soon after the cap.
async fn is_limited(attack: Attack, cap: usize, words: &str) {
    let (fault, sent) = attacked(Plot::Packets(attack), cap).await;
    assert_eq!(fault.code, Code::SourceLimit, "{fault}");
    assert!(fault.detail.contains(words), "{fault}");
    // Measured in bytes, not seconds: it is cut off, not read on and ignored.
    assert!((cap..cap + IN_FLIGHT).contains(&sent), "{sent} bytes were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_without_end_is_cut_off() {
    let endless: Attack = |nth| {
        let mut fragment = vec![0x41; 60_000];
        // FU-A of an IDR slice; only the first has the start bit.
        fragment[..2].copy_from_slice(&[0x7c, if nth == 0 { 0x85 } else { 0x05 }]);
        (fragment, 0, false)
    };
    is_limited(endless, 4 << 20, "NAL unit is longer than 4 MiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_one_byte_are_counted() {
    let tiny: Attack = |_| {
        let mut aggregate = vec![0x78];
        (0..100).for_each(|_| aggregate.extend([0, 1, 0x09]));
        (aggregate, 0, false)
    };
    is_limited(tiny, 4096, "more than 4096 NAL units").await;
}

/// An IDR slice that starts a picture, as far as its header goes.
fn slice(length: usize) -> Vec<u8> {
    let mut slice = vec![0x55; length];
    slice[..3].copy_from_slice(&[0x65, 0x88, 0x84]);
    slice
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_never_ends_is_cut_off() {
    is_limited(|_| (slice(60_000), 0, false), 8 << 20, "frame is larger than 8 MiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_of_huge_fragmented_units_is_cut_off() {
    // Each of 3 MiB, and whole.
    let huge: Attack = |nth| {
        let nth = nth % 50;
        let flags = if nth == 0 {
            0x85
        } else if nth == 49 {
            0x45
        } else {
            0x05
        };
        let mut fragment = vec![0x7c, flags];
        fragment.extend(&slice(60_000)[1..]);
        (fragment, 0, false)
    };
    is_limited(huge, 8 << 20, "frame is larger than 8 MiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_wait_for_their_sound_are_few() {
    let _alone = ALONE.lock().await;
    // Key frames, so that no group of them is too large.
    let pictures: Attack = |nth| (slice(60_000), nth as u32 * 3_600, true);
    let server = Hostile::start(Plot::Soundless(pictures), usize::MAX).await;
    let base = base();
    let camera = pull(source(&server.url()));
    // Nothing is on the bus, and in its ring, before the wait is over; then
    // more at once than a reader finds there.
    camera.status(|status| status.state == SourceState::Live).await;
    let cost = memory("VmHWM").saturating_sub(base);
    camera.end().await;
    assert!(cost <= MEMORY_LIMIT, "it cost {} KiB", cost >> 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_parameter_set_is_refused() {
    is_limited(|_| (vec![0x67; 5_000], 0, true), 5_000, "parameter set").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_end_or_measure_is_cut_off() {
    let head = "RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n";
    let huge = "RTSP/1.0 200 OK\r\nContent-Length: 4294967296\r\n\r\nv=0\r\n";
    // 100,000 tracks.
    let many = "RTSP/1.0 200 OK\r\nContent-Length: 2200000\r\n\r\nv=0\r\n";
    let one_line = "RTSP/1.0 200 OK\r\nX: ";
    // As many as fit.
    let within = "RTSP/1.0 200 OK\r\nContent-Length: 60000\r\n\r\nv=0\r\n";
    for (what, first, more, words) in [
        ("headers without end", head, "X: y\r\n", "64 KiB"),
        ("a header line without end", one_line, "x", "64 KiB"),
        ("a first line without end", "RTSP/1.0 200 ", "x", "64 KiB"),
        ("a body of 4 GiB", huge, "a=x\r\n", "64 KiB"),
        ("an SDP of 100,000 tracks", many, "m=video 0 RTP/AVP 96\r\n", "64 KiB"),
        ("an SDP of 2,700 tracks", within, "m=video 0 RTP/AVP 96\r\n", "64 sections"),
    ] {
        let started = Instant::now();
        let (fault, sent) = attacked(Plot::Endless(first, more), 64 << 10).await;
        assert_eq!(fault.code, Code::SourceLimit, "{what}: {fault}");
        assert!(fault.detail.contains(words), "{what}: {fault}");
        assert!(sent < IN_FLIGHT, "{what}: {sent} bytes were taken");
        // Two attempts and the wait between them.
        assert!(started.elapsed() < PATIENCE, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirection_is_refused_and_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    for method in ["DESCRIBE", "SETUP", "PLAY"] {
        let target = format!("rtsp://127.0.0.1:{port}/");
        let (fault, _) = attacked(Plot::Redirect(method, target), usize::MAX).await;
        assert_eq!(fault.code, Code::SourceProtocol, "{method}: {fault}");
    }
    let called = elsewhere.accept().map_err(|error| error.kind());
    assert_eq!(called.unwrap_err(), ErrorKind::WouldBlock, "it went where it was sent");
}

/// Any 32 bits: forward, back, near, far.
fn random(nth: u64) -> u32 {
    let mixed = (nth ^ nth >> 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 31) as u32
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_jump_without_end_are_cut_off() {
    // A whole picture each time.
    let jumping: Attack = |nth| (slice(1_000), random(nth), true);
    is_limited(jumping, 600 * 1_000, "jumped more than 600 times within a minute").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_then_they_give_a_rising_line_close_to_real_time() {
    let _alone = ALONE.lock().await;
    let jumping: Attack = |nth| (slice(1_000), random(nth), true);
    let server = Hostile::start(Plot::Packets(jumping), usize::MAX).await;
    let mut camera = pull(source(&server.url()));
    let started = Instant::now();
    let mut last = None;
    // Some sessions of it, each cut off.
    for _ in 0..2_000 {
        let frame = match tokio::time::timeout(PATIENCE, camera.reader.next()).await {
            Ok(Some(porthole::bus::Seen::Frame(frame))) => frame,
            // The flood outran us: the line goes on behind it.
            Ok(Some(porthole::bus::Seen::Skipped(_))) => continue,
            other => panic!("{other:?}: {:?}", camera.stream.status()),
        };
        assert!(last.is_none_or(|last| last < frame.dts), "time goes back");
        last = Some(frame.dts);
    }
    let apart = last.unwrap().nanos() - started.elapsed().as_nanos() as i64;
    assert!(apart.abs() < 60_000_000_000, "{apart} ns off real time");
    camera.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_whose_times_jump_without_end_is_left_out_and_its_picture_goes_on() {
    let _alone = ALONE.lock().await;
    let sound: Attack = |nth| (vec![0x55; 160], random(nth), false);
    let server = Hostile::start(Plot::Sounding(sound), usize::MAX).await;
    let mut camera = pull(source(&server.url()));
    let dropped = |note: &Note| note.0.code == Code::AudioDropped;
    let status = camera.status(|status| status.notes.iter().any(dropped)).await;
    assert_eq!((status.state, &status.fault), (SourceState::Live, &None));
    // Those on the bus before it was left out; then pictures alone.
    camera.reader = camera.stream.subscribe("test", Join::Live);
    let frames = camera.frames(100).await;
    assert!(frames.iter().all(|frame| frame.kind == FrameKind::Key), "sound goes on");
    camera.end().await;
}
