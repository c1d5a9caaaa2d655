//! What the bus promises: order, late join, overrun, bounded memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{
    ClockRate, Codec, Draft, Frame, FrameKind, Jpeg, MediaTime, PixelSize, Track, TrackId, Tracks,
    WallTime,
};

const FRAME_TICKS: i64 = 3_600; // 25 fps

/// A stream of one video track, and what has been published on it.
struct Camera {
    stream: Arc<Stream>,
    publisher: Publisher,
    tracks: Arc<Tracks>,
    published: i64,
}

impl Camera {
    fn new(limits: Limits) -> Self {
        let status = SourceStatus::new(SourceState::Live, SystemTime::UNIX_EPOCH, "rtsp://camera/");
        let name = "yard".parse().unwrap();
        let (stream, publisher) = Stream::new(name, limits, status, BusMetrics::unregistered());
        let size = PixelSize { width: 640, height: 360 };
        let video =
            Track { id: TrackId(0), rate: ClockRate::VIDEO, codec: Codec::Jpeg(Jpeg { size }) };
        Self { stream, publisher, tracks: Arc::new(Tracks::new(vec![video])), published: 0 }
    }

    /// Keeps `bytes` and no time at all beyond the newest key frame.
    fn holding(bytes: usize) -> Self {
        Self::new(Limits { bytes, slack_nanos: 0 })
    }

    fn publish(&mut self, kind: FrameKind, bytes: usize) -> Arc<Frame> {
        let at = MediaTime::new(self.published * FRAME_TICKS, ClockRate::VIDEO);
        self.published += 1;
        self.publisher.publish(Draft {
            track: TrackId(0),
            tracks: Arc::clone(&self.tracks),
            pts: at,
            dts: at,
            wall: WallTime::from_unix_nanos(at.nanos()),
            kind,
            lost_before: 0,
            discontinuity: false,
            arrived: Instant::now(),
            data: Bytes::from(vec![0; bytes]),
        })
    }

    fn publish_gop_of(&mut self, frames: usize) {
        for i in 0..frames {
            self.publish(if i == 0 { FrameKind::Key } else { FrameKind::Delta }, 1);
        }
    }
}

#[derive(Debug, PartialEq)]
enum Saw {
    Key(u64),
    Delta(u64),
    Skipped(u64),
}
use Saw::{Delta, Key, Skipped};

fn saw(seen: Seen) -> Saw {
    match seen {
        Seen::Skipped(n) => Skipped(n),
        Seen::Frame(f) if f.kind == FrameKind::Key => Key(f.sequence),
        Seen::Frame(f) => Delta(f.sequence),
    }
}

fn drain(reader: &mut Subscription) -> Vec<Saw> {
    std::iter::from_fn(|| reader.try_next()).map(saw).collect()
}

#[test]
fn overrun_reader_rejoins_at_a_key_frame() {
    let mut camera = Camera::holding(10);
    let mut reader = camera.stream.subscribe("test", Join::NewestKey);
    camera.publish_gop_of(8);
    assert_eq!(reader.try_next().map(saw), Some(Key(1)));

    camera.publish_gop_of(8);
    camera.publish_gop_of(8);
    assert_eq!(reader.try_next().map(saw), Some(Skipped(15)));
    assert_eq!(reader.try_next().map(saw), Some(Key(17)));
    assert_eq!(drain(&mut reader).len(), 7);
}

#[test]
fn a_late_reader_starts_at_the_newest_key_frame() {
    let mut camera = Camera::holding(100);
    camera.publish_gop_of(5);
    camera.publish_gop_of(3);
    let mut reader = camera.stream.subscribe("test", Join::NewestKey);
    assert_eq!(drain(&mut reader), [Key(6), Delta(7), Delta(8)]);
}

#[test]
fn a_reader_of_all_there_is_starts_at_the_oldest_key_frame_held() {
    let mut camera = Camera::new(Limits { bytes: 10, slack_nanos: i64::MAX });
    let mut empty = camera.stream.subscribe("test", Join::OldestKey);
    for frames in [5, 4, 3] {
        camera.publish_gop_of(frames);
    }
    // Of the first group two frames are left, without their key frame.
    let mut reader = camera.stream.subscribe("test", Join::OldestKey);
    assert_eq!(drain(&mut reader)[..2], [Key(6), Delta(7)]);
    // Overrun, and back at the newest one, as any reader.
    assert_eq!(drain(&mut empty), [Skipped(9), Key(10), Delta(11), Delta(12)]);
}

#[test]
fn a_reader_of_a_group_too_large_to_hold_waits_for_the_next_key_frame() {
    let mut camera = Camera::holding(4);
    camera.publish_gop_of(9);
    let mut reader = camera.stream.subscribe("test", Join::NewestKey);
    assert_eq!(drain(&mut reader), []);
    camera.publish_gop_of(2);
    assert_eq!(drain(&mut reader), [Key(10), Delta(11)]);
}

#[test]
fn joining_live_or_at_the_next_key_frame_sees_nothing_old() {
    let mut camera = Camera::new(Limits::default());
    camera.publish_gop_of(3);
    let mut live = camera.stream.subscribe("test", Join::Live);
    let mut next = camera.stream.subscribe("test", Join::NextKey);
    camera.publish(FrameKind::Delta, 1);
    camera.publish_gop_of(1);
    assert_eq!(drain(&mut live), [Delta(4), Key(5)]);
    assert_eq!(drain(&mut next), [Key(5)]);
}

#[test]
fn groups_leave_whole_once_the_next_one_is_older_than_the_slack() {
    let second = 25;
    let mut camera = Camera::new(Limits { bytes: 1 << 20, slack_nanos: 2_000_000_000 });
    let mut late = camera.stream.subscribe("test", Join::Live);
    for _ in 0..10 {
        camera.publish_gop_of(second);
    }
    // The newest three groups: the second of them began less than 2 s ago.
    assert_eq!(camera.stream.buffer_bytes().0, 3 * second);
    let mut oldest = camera.stream.subscribe("test", Join::OldestKey);
    assert_eq!(drain(&mut oldest).len(), 3 * second);
    // A frame more, and it began exactly 2 s ago; another, and the first goes.
    camera.publish_gop_of(1);
    assert_eq!(camera.stream.buffer_bytes().0, 3 * second + 1);
    camera.publish(FrameKind::Delta, 1);
    assert_eq!(camera.stream.buffer_bytes().0, 2 * second + 2);
    // Overrun, so back at the newest key frame.
    assert_eq!(drain(&mut late).len(), 3);
}

#[test]
fn a_ring_grows_with_what_it_holds_and_no_reader_notices() {
    let mut camera = Camera::new(Limits { bytes: 1 << 20, slack_nanos: 0 });
    let mut follower = camera.stream.subscribe("test", Join::Live);
    // One long group, past every power of two up to the most there is.
    let most = 4096;
    for number in 1..=most {
        camera.publish(if number == 1 { FrameKind::Key } else { FrameKind::Delta }, 1);
        assert_eq!(drain(&mut follower).len(), 1, "{number}");
    }
    let mut late = camera.stream.subscribe("test", Join::NewestKey);
    let seen = drain(&mut late);
    assert_eq!((seen.len(), &seen[0], &seen[most - 1]), (most, &Key(1), &Delta(most as u64)));
    // One more, and the oldest goes.
    camera.publish(FrameKind::Delta, 1);
    assert_eq!(camera.stream.buffer_bytes().0, most);
    assert!(!camera.stream.can_start());
    assert_eq!(drain(&mut follower), [Delta(most as u64 + 1)]);
}

#[tokio::test]
async fn a_waiting_reader_is_woken_and_sees_the_end() {
    let mut camera = Camera::holding(100);
    let mut reader = camera.stream.subscribe("test", Join::Live);
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(next) = reader.next().await {
            seen.push(saw(next));
        }
        seen
    });
    tokio::task::yield_now().await;
    camera.publish_gop_of(2);
    drop(camera.publisher);
    assert_eq!(reading.await.unwrap(), [Key(1), Delta(2)]);
}

#[test]
fn sound_alone_is_a_place_to_start() {
    let mut camera = Camera::holding(100);
    let codec = Codec::G711 { law: crate::media::G711Law::A, channels: 1 };
    let rate = ClockRate::new(8_000).unwrap();
    camera.tracks = Arc::new(Tracks::new(vec![Track { id: TrackId(0), rate, codec }]));
    camera.publish(FrameKind::Audio, 1);
    let mut reader = camera.stream.subscribe("test", Join::NewestKey);
    assert!(reader.try_next().is_some());
}

#[test]
fn what_readers_missed_is_counted_by_output() {
    let registry = prometheus::Registry::new();
    let mut camera = Camera::holding(2);
    let metrics = BusMetrics::register(&registry).unwrap();
    let status = camera.stream.status();
    (camera.stream, camera.publisher) =
        Stream::new("yard".parse().unwrap(), Limits { bytes: 2, slack_nanos: 0 }, status, metrics);
    let mut reader = camera.stream.subscribe("hls", Join::Live);
    for _ in 0..5 {
        camera.publish(FrameKind::Key, 1);
    }
    drain(&mut reader);
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("porthole_bus_readers{output=\"hls\"} 1"), "{text}");
    assert!(text.contains("porthole_bus_skipped_frames_total{output=\"hls\"} 4"), "{text}");
    drop(reader);
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("porthole_bus_readers{output=\"hls\"} 0"), "{text}");
}

#[test]
fn what_was_forgotten_is_shown_to_nobody_and_numbering_goes_on() {
    let mut camera = Camera::new(Limits::default());
    let mut old = camera.stream.subscribe("test", Join::NewestKey);
    camera.publish_gop_of(3);
    camera.publisher.forget();
    let mut new = camera.stream.subscribe("test", Join::NewestKey);
    assert_eq!((drain(&mut old), drain(&mut new)), (vec![], vec![]));
    assert_eq!(camera.stream.buffer_bytes().0, 0);
    assert!(camera.stream.tracks().is_none());
    camera.publish_gop_of(1);
    assert_eq!(drain(&mut old), [Skipped(3), Key(4)]);
    assert_eq!(drain(&mut new), [Key(4)]);
    assert!(camera.stream.tracks().is_some());
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Publish { key: bool, bytes: usize },
    Read(usize),
    Join,
    SkipToNewest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::bool::weighted(0.15), 1..40_usize)
            .prop_map(|(key, bytes)| Step::Publish { key, bytes }),
        4 => (1..6_usize).prop_map(Step::Read),
        1 => Just(Step::Join),
        1 => Just(Step::SkipToNewest),
    ]
}

proptest! {
    /// A reader sees strictly rising numbers; every hole is announced, exactly
    /// as large as it is, and followed by a key frame; the ring never holds
    /// more than its limit, unless one frame alone is larger.
    #[test]
    fn any_run_keeps_order_announces_holes_and_stays_in_bounds(
        steps in prop::collection::vec(step(), 1..400),
        limit in 50..400_usize,
    ) {
        let mut camera = Camera::holding(limit);
        let mut readers = vec![(camera.stream.subscribe("test", Join::NewestKey), 0_u64, 0_u64)];
        for step in steps {
            match step {
                Step::Publish { key, bytes } => {
                    camera.publish(if key { FrameKind::Key } else { FrameKind::Delta }, bytes);
                    prop_assert!(camera.stream.buffer_bytes().0 <= limit.max(bytes));
                }
                Step::Join => {
                    readers.push((camera.stream.subscribe("test", Join::NewestKey), 0, 0));
                }
                Step::SkipToNewest => {
                    for (reader, ..) in &mut readers {
                        reader.skip_to_newest_key();
                    }
                }
                Step::Read(frames) => {
                    for (reader, last, skipped) in &mut readers {
                        for _ in 0..frames {
                            match reader.try_next() {
                                None => break,
                                Some(Seen::Skipped(n)) => {
                                    prop_assert!(n > 0);
                                    // Overrun again before it read on: holes add up.
                                    *skipped += n;
                                }
                                Some(Seen::Frame(frame)) => {
                                    if *last == 0 || *skipped > 0 {
                                        prop_assert_eq!(frame.kind, FrameKind::Key);
                                    }
                                    if *last > 0 {
                                        prop_assert_eq!(frame.sequence, *last + 1 + *skipped);
                                    }
                                    (*last, *skipped) = (frame.sequence, 0);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Whatever was published, a new reader starts at the newest key frame if
    /// it is still held, and what it then reads is all that followed.
    #[test]
    fn a_late_reader_misses_nothing_after_the_newest_key_frame(
        keys in prop::collection::vec(prop::bool::weighted(0.2), 1..200),
    ) {
        let mut camera = Camera::holding(1 << 20);
        let mut expected = VecDeque::new();
        for key in keys {
            if key { expected.clear(); }
            let frame = camera.publish(if key { FrameKind::Key } else { FrameKind::Delta }, 1);
            if key || !expected.is_empty() { expected.push_back(frame.sequence); }
        }
        let mut reader = camera.stream.subscribe("test", Join::NewestKey);
        for sequence in expected {
            let Some(Seen::Frame(frame)) = reader.try_next() else { panic!("missing {sequence}") };
            prop_assert_eq!(frame.sequence, sequence);
        }
        prop_assert!(reader.try_next().is_none());
    }
}

/// Readers on threads race the writer: no frame is seen twice, out of order,
/// or behind an unannounced hole.
#[test]
fn readers_on_other_threads_see_a_consistent_line() {
    let mut camera = Camera::holding(64);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut reader = camera.stream.subscribe("test", Join::Live);
            std::thread::spawn(move || {
                let (mut last, mut skipped, mut frames) = (0, 0, 0);
                while last < 200_000 {
                    match reader.try_next() {
                        None => std::thread::yield_now(),
                        Some(Seen::Skipped(n)) => skipped += n,
                        Some(Seen::Frame(frame)) => {
                            assert_eq!(frame.sequence, last + skipped + 1);
                            (last, skipped, frames) = (frame.sequence, 0, frames + 1);
                        }
                    }
                }
                frames
            })
        })
        .collect();
    for _ in 0..200_000 {
        camera.publish(FrameKind::Key, 1);
    }
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}
