//! A camera: pictures of random slices, served over real RTSP. The first slice of
//! each carries the time it was made.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use porthole::auth::Access;
use porthole::bus::{BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream};
use porthole::egress::rtsp;
use porthole::http::SessionMetrics;
use porthole::media::{
    Avc, ClockRate, Codec, Draft, FrameKind, MediaTime, Track, TrackId, Tracks, WallTime,
    length_prefixed,
};
use rand::RngExt;

use crate::Failure;

pub(crate) const FPS: u64 = 25;

/// The usual bit rate, kbit/s.
pub(crate) const USUAL: usize = 2_000;

/// Size of picture `number` of a camera of `kbit` a second. One in [`FPS`] is a
/// key frame; at 2 Mbit/s it has 30,000 bytes and the others 9,150.
pub(crate) fn picture_bytes(kbit: usize, number: u64) -> usize {
    match number % FPS {
        0 => 15 * kbit,
        _ => 4_575 * kbit / 1_000,
    }
}

/// Slice header (H.264 §7.3.3): `first_mb_in_slice` 0, `slice_type` 7 or 5,
/// `pic_parameter_set_id` 0.
const KEY: [u8; 3] = [0x65, 0x88, 0x84];
const DELTA: [u8; 3] = [0x41, 0x9a, 0x84];

/// Where the time stands in a slice, and how many digits it has.
const STAMP: usize = 3;
const DIGITS: usize = 16;

/// 1280×720, constrained baseline, nothing reordered.
const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40,
    0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

/// A camera that runs until the process ends.
pub(crate) struct Camera {
    pub(crate) url: String,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn start(kbit: usize) -> Result<Camera, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("rtsp://{}/camera", listener.local_addr()?);
    let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "");
    let (stream, publisher) =
        Stream::new("camera".parse()?, Limits::default(), status, BusMetrics::unregistered());
    let registry = Registry::new();
    registry.insert(stream);
    let deps = rtsp::Deps {
        registry: Arc::new(registry),
        access: Arc::new(Access::Open),
        sessions: SessionMetrics::unregistered().of("rtsp"),
        draining: Arc::default(),
    };
    runtime.spawn(rtsp::serve(listener, deps, std::future::pending()));
    let avc = Avc::new(Bytes::from_static(SPS), vec![Bytes::from_static(PPS)])?;
    runtime.spawn(play(publisher, avc, kbit));
    Ok(Camera { url, _runtime: runtime })
}

async fn play(mut publisher: Publisher, avc: Avc, kbit: usize) {
    let track = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec: Codec::H264(avc) };
    let tracks = Arc::new(Tracks::new(vec![track]));
    let began = WallTime::from(SystemTime::now());
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / FPS));
    for number in 0_u64.. {
        ticks.tick().await;
        let key = number % FPS == 0;
        let (header, size) = (if key { KEY } else { DELTA }, picture_bytes(kbit, number));
        let mut slice = Vec::with_capacity(size);
        slice.extend(header);
        // Digits that are never zero need no escaping.
        let now = unix_nanos();
        slice.extend((0..DIGITS).map(|digit| 0x10 | (now >> (4 * digit) & 15) as u8));
        slice.resize_with(size, || rand::rng().random_range(1..=255));
        let at = MediaTime::new(number as i64 * 90_000 / FPS as i64, ClockRate::VIDEO);
        publisher.publish(Draft {
            track: TrackId(0),
            tracks: Arc::clone(&tracks),
            pts: at,
            dts: at,
            wall: began.offset_by(at.nanos()),
            kind: if key { FrameKind::Key } else { FrameKind::Delta },
            lost_before: 0,
            discontinuity: false,
            arrived: Instant::now(),
            data: length_prefixed([&slice[..]]),
        });
    }
}

fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// How old a picture is, by its first RTP payload: `None` for any other.
pub(crate) fn age(payload: &[u8]) -> Option<Duration> {
    const FU_A: u8 = 28;
    const START: u8 = 0x80;
    let (&[indicator, fragment], rest) = payload.split_first_chunk::<2>()?;
    if indicator & 0x1f != FU_A || fragment & START == 0 {
        return None;
    }
    // The fragment header stands for the unit's own.
    let digits = rest.get(STAMP - 1..STAMP - 1 + DIGITS)?;
    let made = digits.iter().rev().fold(0_u64, |sum, digit| sum << 4 | u64::from(digit & 15));
    Some(Duration::from_nanos(unix_nanos().saturating_sub(made)))
}
