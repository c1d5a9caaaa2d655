//! Frames as fragments of one frame each, made by the first viewer that needs
//! one and shared with all others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::bus::Stream;
use crate::cmaf::{self, Run, Sample};
use crate::media::{Frame, FrameKind, MediaKind, Track, Tracks};

/// Most bytes of fragments kept for viewers to come: a group of pictures of
/// most cameras. What is longer is made again for each viewer that begins.
const KEPT_BYTES: usize = 8 << 20;

/// Fragments from before a key frame that are kept for viewers a little late.
const KEPT_BEFORE_KEY: usize = 64;

/// A stream's fragments.
pub(super) struct Mux {
    stream: Weak<Stream>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// By the frame's sequence number, which grows.
    fragments: VecDeque<(u64, Bytes)>,
    bytes: usize,
    video: Pace,
    audio: Pace,
}

/// How long a track's frames last: nobody waits for the next one to know.
#[derive(Default)]
struct Pace {
    last: Option<i64>,
    usual: Option<u32>,
}

impl Mux {
    pub(super) fn new(stream: &Arc<Stream>) -> Self {
        Self { stream: Arc::downgrade(stream), made: Mutex::default() }
    }

    pub(super) fn is_of(&self, stream: &Arc<Stream>) -> bool {
        std::ptr::eq(self.stream.as_ptr(), Arc::as_ptr(stream))
    }

    /// The frame as `moof` and `mdat`; `None` for one of a track that is not
    /// sent.
    pub(super) fn fragment(&self, frame: &Frame) -> Option<Bytes> {
        let track = frame.track()?;
        let number = number(&frame.tracks, track)?;
        // Poison does no harm: what is there is whole.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) =
            made.fragments.binary_search_by_key(&frame.sequence, |(sequence, _)| *sequence)
        {
            return Some(made.fragments[at].1.clone());
        }
        let newest = made.fragments.back().is_none_or(|(newest, _)| *newest < frame.sequence);
        let pace = if frame.kind == FrameKind::Audio { &mut made.audio } else { &mut made.video };
        let duration = pace.duration(frame, track, newest);
        let fragment = write(frame, track, number, duration);
        if newest {
            made.keep(frame, fragment.clone());
        }
        Some(fragment)
    }
}

impl Made {
    fn keep(&mut self, frame: &Frame, fragment: Bytes) {
        if frame.kind == FrameKind::Key {
            let old = self.fragments.len().saturating_sub(KEPT_BEFORE_KEY);
            self.bytes -= self.fragments.drain(..old).map(|(_, old)| old.len()).sum::<usize>();
        }
        self.bytes += fragment.len();
        self.fragments.push_back((frame.sequence, fragment));
        while self.bytes > KEPT_BYTES
            && let Some((_, old)) = self.fragments.pop_front()
        {
            self.bytes -= old.len();
        }
    }
}

impl Pace {
    /// The frame's length in ticks: the last one's distance to the one before.
    /// Too long does no harm to a picture, which the next one cuts short; too
    /// short leaves a hole that a player waits at. `learn` from frames in order.
    fn duration(&mut self, frame: &Frame, track: &Track, learn: bool) -> u32 {
        let dts = frame.dts.rescaled(track.rate);
        if learn {
            let since = self.last.replace(dts).map(|last| dts.saturating_sub(last));
            let steady = !frame.discontinuity && frame.lost_before == 0;
            // Five seconds between two pictures is a slide show, not a pace.
            let most = i64::from(track.rate.hz()) * 5;
            if let Some(since) = since.filter(|since| steady && (1..most).contains(since)) {
                self.usual = u32::try_from(since).ok();
            }
        }
        self.usual.unwrap_or(match track.kind() {
            MediaKind::Video => track.rate.hz() / 10,
            MediaKind::Audio => track.rate.hz() / 50,
        })
    }
}

/// The number of a track in init segments and fragments: a picture's is 1
/// whether or not a viewer gets the sound, so that all share the fragments.
/// `None` for a track that is not sent.
fn number(tracks: &Tracks, track: &Track) -> Option<u32> {
    let video = tracks.video();
    let is = |other: Option<&Track>| other.is_some_and(|other| other.id == track.id);
    if !cmaf::carries(&track.codec) {
        None
    } else if is(video) {
        Some(1)
    } else if is(tracks.audio()) {
        Some(if video.is_some() { 2 } else { 1 })
    } else {
        None
    }
}

fn write(frame: &Frame, track: &Track, number: u32, duration: u32) -> Bytes {
    let (dts, pts) = (frame.dts.rescaled(track.rate), frame.pts.rescaled(track.rate));
    let sample = Sample {
        duration,
        composition: i32::try_from(pts.saturating_sub(dts)).unwrap_or(0),
        sync: frame.kind != FrameKind::Delta,
        data: cmaf::sample_data(track, u64::try_from(pts).unwrap_or(0), &frame.data),
    };
    // The stream's line starts at zero.
    let base = u64::try_from(dts).unwrap_or(0);
    // The sequence number is 32 bits and need only grow; players ignore it.
    cmaf::fragment(
        frame.sequence as u32,
        &[Run { track: number, base, samples: &[sample], sets: &[] }],
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::bus::{BusMetrics, Limits, Publisher, SourceState, SourceStatus};
    use crate::media::{
        Avc, ClockRate, Codec, Draft, G711Law, MediaTime, PixelSize, TrackId, WallTime,
    };

    fn stream() -> (Arc<Stream>, Publisher) {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
        let (limits, metrics) = (Limits::default(), BusMetrics::unregistered());
        Stream::new("yard".parse().unwrap(), limits, status, metrics)
    }

    fn tracks() -> Arc<Tracks> {
        let avc = Codec::H264(Avc {
            sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x0c, 0x8c]),
            pps: vec![Bytes::from_static(&[0x68, 1])],
            size: PixelSize { width: 640, height: 360 },
            max_num_reorder_frames: Some(0),
        });
        let track = |rate, codec| Track { id: TrackId(0), rate, codec };
        let alaw = Codec::G711 { law: G711Law::A, channels: 1 };
        Arc::new(Tracks::new(vec![
            track(ClockRate::new(8_000).unwrap(), alaw.clone()),
            track(ClockRate::VIDEO, avc),
            track(ClockRate::new(8_000).unwrap(), alaw),
        ]))
    }

    fn frame(tracks: &Arc<Tracks>, track: u8, ticks: i64, kind: FrameKind) -> Draft {
        let pts = MediaTime::new(ticks, tracks.get(TrackId(track)).unwrap().rate);
        Draft {
            track: TrackId(track),
            tracks: Arc::clone(tracks),
            pts,
            dts: pts,
            wall: WallTime::from_unix_nanos(0),
            kind,
            lost_before: 0,
            discontinuity: false,
            arrived: Instant::now(),
            data: Bytes::from(vec![7; 100]),
        }
    }

    /// The number in a fragment's `tfhd`, and its only sample's duration.
    fn read(fragment: &[u8]) -> (u32, u32) {
        let at = fragment.windows(4).position(|w| w == b"tfhd").unwrap() + 8;
        let number = |at: usize| u32::from_be_bytes(fragment[at..at + 4].try_into().unwrap());
        (number(at), number(at + 4))
    }

    #[test]
    fn a_fragment_is_made_once_and_lasts_as_long_as_the_one_before() {
        let (stream, mut publisher) = stream();
        let (mux, tracks) = (Mux::new(&stream), tracks());
        let mut publish =
            |track, ticks, kind| publisher.publish(frame(&tracks, track, ticks, kind));
        let first = publish(1, 0, FrameKind::Key);
        let second = publish(1, 3_600, FrameKind::Delta);
        let sound = publish(0, 160, FrameKind::Audio);
        let other = publish(2, 160, FrameKind::Audio);

        let one = mux.fragment(&first).unwrap();
        assert_eq!(read(&one), (1, 9_000), "nothing is known yet: too long does no harm");
        let two = mux.fragment(&second).unwrap();
        assert_eq!(read(&two), (1, 3_600));
        assert_eq!(read(&mux.fragment(&sound).unwrap()).0, 2);
        assert!(mux.fragment(&other).is_none(), "only the first sound is sent");
        // The same bytes, not equal ones.
        assert_eq!(mux.fragment(&first).unwrap().as_ptr(), one.as_ptr());
        assert_eq!(mux.fragment(&second).unwrap().as_ptr(), two.as_ptr());
    }

    #[test]
    fn a_gap_is_no_pace() {
        let (stream, mut publisher) = stream();
        let (mux, tracks) = (Mux::new(&stream), tracks());
        let mut at = |ticks, lost_before| {
            let draft = Draft { lost_before, ..frame(&tracks, 1, ticks, FrameKind::Delta) };
            read(&mux.fragment(&publisher.publish(draft)).unwrap()).1
        };
        assert_eq!([at(0, 0), at(3_600, 0), at(36_000, 4), at(39_600, 0)][1..], [3_600; 3]);
        assert_eq!(at(39_600 + 900_000, 0), 3_600);
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let (stream, mut publisher) = stream();
        let (mux, tracks) = (Mux::new(&stream), tracks());
        let mut publish = |ticks, kind, bytes| {
            let data = Bytes::from(vec![0; bytes]);
            let draft = Draft { data, ..frame(&tracks, 1, ticks, kind) };
            mux.fragment(&publisher.publish(draft)).unwrap();
            let made = mux.made.lock().unwrap();
            let bytes = made.fragments.iter().map(|(_, fragment)| fragment.len()).sum::<usize>();
            assert_eq!(made.bytes, bytes);
            (made.fragments.len(), bytes)
        };
        publish(0, FrameKind::Key, 10);
        for ticks in 1..100 {
            publish(ticks, FrameKind::Delta, 10);
        }
        assert_eq!(publish(100, FrameKind::Key, 10).0, KEPT_BEFORE_KEY + 1);
        for ticks in 101..120 {
            assert!(publish(ticks, FrameKind::Delta, 1 << 20).1 <= KEPT_BYTES);
        }
    }
}
