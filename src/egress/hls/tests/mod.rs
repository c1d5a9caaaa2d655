//! What a player may rely on, for cameras of every rhythm: each published
//! state of a playlist is compared with the one before it.

mod disk;
mod outages;
mod read;
mod rhythms;
mod rules;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::Config;
use super::multivariant::{self, Variant};
use super::playlist::{self, Name, skippable_for};
use super::segment::Pieces;
use super::segmenter::{Segmenter, Step};
use super::snapshot::Snapshot;
use super::store::{State, Store};
use super::targets::Common;
use crate::media::{
    Avc, ClockRate, Codec, Draft, Frame, FrameKind, G711Law, MediaTime, PixelSize, Quality, Track,
    TrackId, Tracks, WallTime,
};
use bytes::Bytes;
use read::{Read, Segment};

/// 2026-09-21, and a quarter of a second.
const WALL_MS: i64 = 1_790_000_000_250;
const FIRST: u64 = 17_900_000_002;

fn video(width: u32) -> Track {
    let codec = Codec::H264(Avc {
        sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x0c, 0x8c]),
        pps: vec![Bytes::from_static(&[0x68, 1])],
        size: PixelSize { width, height: 360 },
        max_num_reorder_frames: Some(0),
    });
    Track { id: TrackId(0), rate: ClockRate::VIDEO, codec }
}

fn sound() -> Track {
    let codec = Codec::G711 { law: G711Law::A, channels: 1 };
    Track { id: TrackId(0), rate: ClockRate::new(8_000).unwrap(), codec }
}

fn media(snapshot: &Snapshot, skipped: usize) -> String {
    playlist::media(snapshot, skipped, None)
}

fn multivariant(snapshot: &Snapshot) -> String {
    multivariant::text(&[Variant::of(snapshot, Quality::Main)])
}

/// Pieces as they are sent.
fn whole(pieces: &Pieces) -> Bytes {
    let all: Vec<u8> = pieces.iter().flatten().copied().collect();
    assert_eq!(all.len(), pieces.len());
    all.into()
}

/// A player and the gateway it watches, without the network between.
struct Show {
    tracks: Arc<Tracks>,
    segmenter: Segmenter,
    store: Store,
    sequence: u64,
    snapshot: Option<Arc<Snapshot>>,
    /// Everything published, by name: nothing may change under its name.
    objects: BTreeMap<String, Bytes>,
    key_bytes: usize,
    newest_key: Bytes,
    /// How far the camera's clock is off, in milliseconds.
    clock: i64,
    video_given: usize,
    states: usize,
    old_text: String,
}

impl Show {
    fn new(tracks: Vec<Track>) -> Self {
        Self::wishing(Config::default(), tracks)
    }

    fn wishing(config: Config, tracks: Vec<Track>) -> Self {
        Self::paired(config, Common::default(), tracks)
    }

    fn paired(config: Config, common: Common, tracks: Vec<Track>) -> Self {
        Self {
            tracks: Arc::new(Tracks::new(tracks)),
            segmenter: Segmenter::new(config.clone(), common),
            store: Store::new(&config, None),
            sequence: 0,
            snapshot: None,
            objects: BTreeMap::new(),
            key_bytes: 400,
            newest_key: Bytes::new(),
            clock: 0,
            video_given: 0,
            states: 0,
            old_text: String::new(),
        }
    }

    /// A camera of H.264, 25 pictures a second, a key frame every 2 s.
    fn camera() -> Self {
        Self::new(vec![video(640)])
    }

    fn frame(&mut self, track: u8, ms: i64, kind: FrameKind, discontinuity: bool) {
        let rate = self.tracks.get(TrackId(track)).unwrap().rate;
        let at = MediaTime::new(ms * i64::from(rate.hz()) / 1_000, rate);
        let tag = u32::try_from(self.sequence).unwrap().to_be_bytes();
        // Recognisable in an mdat; key frames are larger.
        let size = if kind == FrameKind::Key { self.key_bytes } else { 100 };
        let data = Bytes::from([&b"FRAME"[..], &tag].concat().repeat(size / 9));
        if kind == FrameKind::Key {
            self.newest_key = data.clone();
        }
        self.sequence += 1;
        let frame = Arc::new(Frame {
            sequence: self.sequence,
            draft: Draft {
                track: TrackId(track),
                tracks: Arc::clone(&self.tracks),
                pts: at,
                dts: at,
                wall: WallTime::from_unix_nanos((WALL_MS + ms + self.clock) * 1_000_000),
                kind,
                lost_before: 0,
                discontinuity,
                arrived: Instant::now(),
                data,
            },
        });
        let mut steps = Vec::new();
        self.segmenter.push(&frame, &mut steps);
        if !steps.is_empty() {
            self.apply(steps);
        }
    }

    /// Frames from `range` (in pictures) of a camera as [`Show::camera`].
    fn play(&mut self, range: Range<i64>) {
        self.play_groups(50, range);
    }

    /// The same, with groups of that many pictures.
    fn play_groups(&mut self, pictures: i64, range: Range<i64>) {
        for n in range {
            let kind = if n % pictures == 0 { FrameKind::Key } else { FrameKind::Delta };
            self.frame(0, n * 40, kind, false);
        }
    }

    /// The source is away, and the stream's line has come to `ms`.
    fn away(&mut self, ms: i64) {
        let mut steps = Vec::new();
        self.segmenter.away(ms * 1_000_000, &mut steps);
        self.apply(steps);
    }

    fn end(&mut self) {
        let mut steps = Vec::new();
        self.segmenter.interrupt(&mut steps);
        self.store.end();
        self.apply(steps);
    }

    fn apply(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.store.apply(step);
        }
        if let State::Live(now) = self.store.state() {
            self.check(now);
        }
    }

    fn now(&self) -> &Snapshot {
        self.snapshot.as_ref().expect("something was published")
    }

    fn text(&self) -> String {
        media(self.now(), 0)
    }

    /// Each rule that one state, or two in a row, can break.
    fn check(&mut self, now: Arc<Snapshot>) {
        self.states += 1;
        let text = media(&now, 0);
        let read = Read::new(&text);
        // Steps come one frame at a time, and none completes three segments.
        for segment in now.segments.iter().rev().take(3).chain(&now.open) {
            for (part, index) in segment.parts.iter().zip(0..) {
                let name = Name::Part(segment.head.number, index).to_string();
                let data = whole(&part.data);
                let before = self.objects.insert(name.clone(), data.clone());
                assert!(before.is_none_or(|before| before == data), "{name} changed");
            }
        }

        let target = read.header["#EXT-X-TARGETDURATION"].parse::<f64>().unwrap();
        let part_target = read.attribute("#EXT-X-PART-INF", "PART-TARGET");
        assert!(read.attribute("#EXT-X-SERVER-CONTROL", "PART-HOLD-BACK") >= part_target * 3.0);
        assert!(read.attribute("#EXT-X-SERVER-CONTROL", "CAN-SKIP-UNTIL") >= target * 6.0);
        for segment in &read.segments {
            assert!(segment.duration.unwrap_or(0.0).round() <= target, "{text}");
            assert!(segment.date, "a date for each segment: {text}");
            let missing = if segment.gap { segment.parts.len() } else { 0 };
            assert_eq!(segment.missing, missing, "nothing of a gap: {text}");
            let length: f64 = segment.parts.iter().map(|part| part.1).sum();
            let whole = (length - segment.length()).abs() < 0.001 * target;
            assert!(!segment.gap || missing == 0 || whole, "all of a gap: {text}");
            for (_, duration, _) in &segment.parts {
                assert!(*duration <= part_target, "{duration} > {part_target}: {text}");
            }
        }
        assert_eq!(read.hints.len(), usize::from(!now.ended), "one hint: {text}");
        check_start(&now, &read, &text);

        if self.snapshot.is_some() {
            let old_text = std::mem::take(&mut self.old_text);
            let old = Read::new(&old_text);
            for key in ["#EXT-X-TARGETDURATION", "#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL"] {
                assert_eq!(read.header[key], old.header[key], "{key} is for life");
            }
            assert!(read.first() >= old.first(), "media sequence only grows");
            let removed = (read.first() - old.first()) as usize;
            let gone = old.segments.iter().take(removed).filter(|s| s.discontinuity).count();
            assert_eq!(read.discontinuities(), old.discontinuities() + gone as u64);
            for (new, old) in read.segments.iter().zip(old.segments.iter().skip(removed)) {
                // Parts come at the end and go all at once; all else stays.
                assert_eq!(new.date_line, old.date_line);
                assert_eq!((new.discontinuity, new.gap), (old.discontinuity, old.gap));
                assert!(new.uri == old.uri || old.uri.is_empty(), "{old_text}\n{text}");
                assert!(new.duration == old.duration || old.uri.is_empty());
                assert!(
                    new.parts.starts_with(&old.parts) || new.parts.is_empty(),
                    "{old_text}\n{text}"
                );
            }
            // The hinted part is the next one to come.
            let old_parts: Vec<&str> = old.parts().collect();
            let parts = read.segments.iter().flat_map(|segment| &segment.parts);
            let added = parts.clone().find(|part| !old_parts.contains(&part.0));
            if let (Some((added, duration, _)), Some(hint)) = (added, old.hints.first()) {
                // Unless a frame longer than any part had to move to the next
                // segment, which a hint may miss.
                let moved = added.ends_with(".0.m4s") && *duration >= part_target;
                assert!(added == hint || moved, "{old_text}\n{text}");
            }
            self.check_delta(&old, &now, &text);
        }
        self.old_text = text;
        self.snapshot = Some(now);
    }

    /// A player that merges the delta into what it had has the full playlist.
    fn check_delta(&self, old: &Read<'_>, now: &Snapshot, text: &str) {
        let known = self.snapshot.as_ref().map(|old| old.next);
        let skipped = skippable_for(now, known);
        if skipped == 0 || now.ended {
            return;
        }
        let delta_text = media(now, skipped);
        let delta = Read::new(&delta_text);
        let full = Read::new(text);
        assert_eq!(delta.header["#EXT-X-SKIP"], format!("SKIPPED-SEGMENTS={skipped}"));
        let kept = delta.segments.len();
        assert_eq!(kept + skipped, full.segments.len());
        for (mine, theirs) in delta.segments.iter().zip(&full.segments[skipped..]) {
            assert_eq!(
                (mine.uri, &mine.parts, mine.date_line, mine.duration),
                (theirs.uri, &theirs.parts, theirs.date_line, theirs.duration)
            );
            assert_eq!((mine.discontinuity, mine.gap), (theirs.discontinuity, theirs.gap));
        }
        // It can be read by itself, whatever was skipped.
        let maps = |read: &Read<'_>| -> Vec<String> {
            let mut map = "";
            let each = read.segments.iter().map(|segment| {
                map = segment.map.unwrap_or(map);
                map.to_owned()
            });
            each.collect()
        };
        assert_eq!(maps(&delta), maps(&full)[skipped..], "{delta_text}");
        let removed = (full.first() - old.first()) as usize;
        assert!(old.segments.len() >= removed + skipped, "all skipped ones are known already");
        let recent: f64 = delta.segments.iter().map(Segment::length).sum();
        let boundary = delta.attribute("#EXT-X-SERVER-CONTROL", "CAN-SKIP-UNTIL");
        assert!(recent + 0.001 >= boundary, "nothing within the boundary is skipped: {delta_text}");
    }

    /// Frames found in all that was published, by their tags.
    fn video_published(&self) -> usize {
        let tags = |data: &Bytes| {
            let mut tags: Vec<[u8; 4]> = data
                .windows(9)
                .filter(|w| w.starts_with(b"FRAME"))
                .map(|w| w[5..].try_into().unwrap())
                .collect();
            tags.dedup();
            tags.len()
        };
        self.objects.values().map(tags).sum()
    }
}

/// A player that begins where it should has a key frame up to there in the
/// segment that it loads, as far as there is one behind all that is missing.
fn check_start(now: &Snapshot, read: &Read<'_>, text: &str) {
    let hold_back = now.targets.hold_back().as_secs_f64();
    let start = read.header.contains_key("#EXT-X-START");
    let back = if start { -read.attribute("#EXT-X-START", "TIME-OFFSET") } else { hold_back };
    assert!(back >= hold_back, "too near the end: {text}");

    let mut behind = 0.0;
    let mut keys = Vec::new();
    let mut loaded = None;
    let newest_first = now.open.iter().chain(now.listed().iter().rev());
    for segment in newest_first {
        let from = keys.len();
        for part in segment.parts.iter().rev() {
            behind += part.duration.min(now.targets.part).as_secs_f64();
            keys.extend((part.independent && behind >= hold_back).then_some(behind));
        }
        if behind >= back && loaded.is_none() {
            loaded = Some(keys[from..].iter().any(|key| *key >= back - 0.000_001));
        }
        if segment.head.gap || segment.head.discontinuity {
            break;
        }
    }
    let one_frame = now.targets.interval.as_secs_f64();
    let any = keys.iter().any(|key| *key - one_frame >= hold_back);
    assert!(!any || loaded == Some(true), "nothing to begin with {back} s back: {text}");
    assert!(any || !start, "{text}");
}

/// shaka-player 5.2 sets a source buffer to where a part is listed less where its media
/// is, plus 1 ms, and empties the decoder where a later part is 1 ms or more off that: in
/// floats, as it does. Then only what begins with a key frame is shown. Returns how many
/// parts were judged.
fn check_places(now: &Snapshot) -> usize {
    let (mut began, mut set, mut judged) = (0.0, None, 0);
    let rate = 90_000.0;
    for segment in now.listed().iter().chain(&now.open) {
        let mut at: f64 = began;
        let mut odd = segment.head.gap;
        for (index, part) in segment.parts.iter().enumerate() {
            let data = whole(&part.data);
            let tfdt = data.windows(4).position(|bytes| bytes == b"tfdt").expect("a time");
            let media = u64::from_be_bytes(data[tfdt + 8..tfdt + 16].try_into().unwrap());
            let place = at - media as f64 / rate;
            let key = index == 0 && segment.head.independent;
            let off = set.map(|set: f64| (set - place).abs());
            match off {
                _ if odd => {}
                _ if key => set = Some(place + 0.001),
                // Its key frame may be its first or any.
                Some(off) if part.independent && off >= 0.000_999_5 => set = Some(place + 0.001),
                Some(off) => {
                    assert!(off < 0.001, "{off} at {at}: {}", media as f64 / rate);
                    judged += 1;
                }
                None => {}
            }
            // What is listed shorter than it is moves the rest of its segment.
            odd |= part.duration > now.targets.part;
            at += part.duration.min(now.targets.part).as_secs_f64();
        }
        began += segment.duration.as_secs_f64();
        // Behind a hole that is not listed all begins anew.
        set = set.filter(|_| !segment.head.gap);
    }
    judged
}
