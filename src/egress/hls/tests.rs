//! What a player may rely on, for cameras of every rhythm: each published
//! state of a playlist is compared with the one before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::Config;
use super::playlist::{self, Name, media, skippable};
use super::segmenter::{SEGMENT_BYTES, Segmenter};
use super::store::{MOST_BYTES, Snapshot, State, Store};
use crate::media::{
    Avc, ClockRate, Codec, Draft, Frame, FrameKind, G711Law, Jpeg, MediaTime, PixelSize, Quality,
    Track, TrackId, Tracks, WallTime,
};

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

fn multivariant(snapshot: &Snapshot) -> String {
    playlist::multivariant(snapshot, Quality::Main)
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
    video_given: usize,
    states: usize,
    old_text: String,
}

impl Show {
    fn new(tracks: Vec<Track>) -> Self {
        let config = Config::default();
        Self {
            tracks: Arc::new(Tracks::new(tracks)),
            segmenter: Segmenter::new(config),
            store: Store::new(&config),
            sequence: 0,
            snapshot: None,
            objects: BTreeMap::new(),
            key_bytes: 400,
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
        self.sequence += 1;
        let frame = Arc::new(Frame {
            sequence: self.sequence,
            draft: Draft {
                track: TrackId(track),
                tracks: Arc::clone(&self.tracks),
                pts: at,
                dts: at,
                wall: WallTime::from_unix_nanos((WALL_MS + ms) * 1_000_000),
                kind,
                lost_before: 0,
                discontinuity,
                arrived: Instant::now(),
                data: [&b"FRAME"[..], &tag].concat().repeat(size / 9).into(),
            },
        });
        let mut steps = Vec::new();
        self.segmenter.push(&frame, &mut steps);
        if !steps.is_empty() {
            self.apply(steps);
        }
    }

    /// Frames from `range` (in pictures) of a camera as [`Show::camera`].
    fn play(&mut self, range: std::ops::Range<i64>) {
        for n in range {
            let kind = if n % 50 == 0 { FrameKind::Key } else { FrameKind::Delta };
            self.frame(0, n * 40, kind, false);
        }
    }

    fn end(&mut self) {
        let mut steps = Vec::new();
        self.segmenter.interrupt(&mut steps);
        self.store.end();
        self.apply(steps);
    }

    fn apply(&mut self, steps: Vec<super::segmenter::Step>) {
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
                let before = self.objects.insert(name.clone(), part.data.clone());
                assert!(before.is_none_or(|before| before == part.data), "{name} changed");
            }
        }

        let target = read.header["#EXT-X-TARGETDURATION"].parse::<f64>().unwrap();
        let part_target = read.attribute("#EXT-X-PART-INF", "PART-TARGET");
        assert!(read.attribute("#EXT-X-SERVER-CONTROL", "PART-HOLD-BACK") >= part_target * 3.0);
        assert!(read.attribute("#EXT-X-SERVER-CONTROL", "CAN-SKIP-UNTIL") >= target * 6.0);
        for segment in &read.segments {
            assert!(segment.duration.unwrap_or(0.0).round() <= target, "{text}");
            assert!(segment.date, "a date for each segment: {text}");
            for (_, duration, _) in &segment.parts {
                assert!(*duration <= part_target, "{duration} > {part_target}: {text}");
            }
        }
        assert_eq!(read.hints.len(), usize::from(!now.ended), "one hint: {text}");

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
                assert_eq!(new.discontinuity, old.discontinuity);
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
        let skipped = skippable(now);
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
                (mine.uri, &mine.parts, mine.date_line),
                (theirs.uri, &theirs.parts, theirs.date_line)
            );
        }
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

/// A media playlist as a player reads it.
struct Read<'t> {
    header: BTreeMap<&'t str, &'t str>,
    segments: Vec<Segment<'t>>,
    hints: Vec<&'t str>,
}

#[derive(Default)]
struct Segment<'t> {
    uri: &'t str,
    duration: Option<f64>,
    /// Name, duration, independent.
    parts: Vec<(&'t str, f64, bool)>,
    discontinuity: bool,
    map: Option<&'t str>,
    date: bool,
    date_line: &'t str,
}

impl Segment<'_> {
    fn length(&self) -> f64 {
        self.duration.unwrap_or_else(|| self.parts.iter().map(|part| part.1).sum())
    }
}

fn attribute<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let pair = line.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(pair.trim_matches('"'))
}

impl<'t> Read<'t> {
    fn new(text: &'t str) -> Self {
        let mut read = Self { header: BTreeMap::new(), segments: Vec::new(), hints: Vec::new() };
        let mut open = Segment::default();
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXTINF" => open.duration = value.trim_end_matches(',').parse().ok(),
                "#EXT-X-DISCONTINUITY" => open.discontinuity = true,
                "#EXT-X-MAP" => {
                    assert!(open.parts.is_empty(), "MAP before the first part");
                    open.map = attribute(value, "URI");
                }
                "#EXT-X-PROGRAM-DATE-TIME" => {
                    assert!(open.parts.is_empty(), "date before the first part");
                    (open.date, open.date_line) = (true, value);
                }
                "#EXT-X-PART" => open.parts.push((
                    attribute(value, "URI").unwrap(),
                    attribute(value, "DURATION").unwrap().parse().unwrap(),
                    value.ends_with("INDEPENDENT=YES"),
                )),
                "#EXT-X-PRELOAD-HINT" if value.starts_with("TYPE=PART") => {
                    read.hints.push(attribute(value, "URI").unwrap());
                }
                _ if !line.starts_with('#') => {
                    open.uri = line;
                    read.segments.push(std::mem::take(&mut open));
                }
                _ => {
                    read.header.insert(tag, value);
                }
            }
        }
        if open.date {
            read.segments.push(open);
        }
        read
    }

    fn attribute(&self, tag: &str, name: &str) -> f64 {
        attribute(self.header[tag], name).unwrap().parse().unwrap()
    }

    fn first(&self) -> u64 {
        self.header["#EXT-X-MEDIA-SEQUENCE"].parse().unwrap()
    }

    fn discontinuities(&self) -> u64 {
        self.header["#EXT-X-DISCONTINUITY-SEQUENCE"].parse().unwrap()
    }

    fn parts(&self) -> impl Iterator<Item = &'t str> {
        self.segments.iter().flat_map(|segment| segment.parts.iter().map(|part| part.0))
    }
}

#[test]
fn nothing_is_published_before_the_rhythm_is_known() {
    let mut show = Show::camera();
    show.play(0..50);
    assert!(show.snapshot.is_none());
    show.play(50..52);
    assert_eq!(show.now().segments.len(), 1);
}

#[test]
fn segments_begin_with_key_frames_and_have_four_parts() {
    let mut show = Show::camera();
    show.play(0..500);
    let text = show.text();
    let read = Read::new(&text);
    assert_eq!(read.first(), FIRST);
    assert_eq!(read.header["#EXT-X-INDEPENDENT-SEGMENTS"], "");
    assert_eq!(read.segments[0].map, Some(format!("i{FIRST}.mp4").as_str()));
    assert_eq!(read.segments[1].date_line, "2026-09-21T14:13:22.250Z");
    for segment in read.segments.iter().filter(|s| s.parts.len() == 4 && !s.uri.is_empty()) {
        assert_eq!(segment.duration, Some(2.0));
        let durations: Vec<f64> = segment.parts.iter().map(|part| part.1).collect();
        assert_eq!(durations, [0.52, 0.52, 0.52, 0.44]);
        let independent: Vec<bool> = segment.parts.iter().map(|part| part.2).collect();
        assert_eq!(independent, [true, false, false, false]);
    }
    assert_eq!(read.segments.iter().filter(|s| s.parts.is_empty()).count(), 6, "{text}");
}

#[test]
fn the_window_slides_and_what_left_it_stays_for_three_targets() {
    let mut show = Show::camera();
    show.play(0..25 * 200);
    let now = show.now();
    let listed: Duration = now.listed().iter().map(|segment| segment.duration).sum();
    assert!((60..=62).contains(&listed.as_secs()), "{listed:?}");
    let unlisted: Duration = now.segments[..now.unlisted].iter().map(|s| s.duration).sum();
    assert!((9..=11).contains(&unlisted.as_secs()), "{unlisted:?}");
    let oldest = now.segments[0].head.number;
    assert!(now.segment(oldest).is_some() && now.segment(oldest - 1).is_none());
    assert!(show.store.bytes() < 250 * 25 * 80, "{}", show.store.bytes());
}

#[test]
fn a_stream_of_many_bytes_has_a_shorter_window_and_the_newest_segments() {
    let mut show = Show::camera();
    // A segment of 50 pictures takes about 5.5 kB.
    show.store.most_bytes = 30_000;
    for n in 0..2_000 {
        show.play(n..n + 1);
        assert!(show.store.bytes() <= 30_000, "{} after {n}", show.store.bytes());
    }
    let now = show.now();
    assert!(now.listed().len() >= 3 && now.open.is_some(), "{}", show.text());
    assert_eq!(now.next, FIRST + 39);

    show.store.most_bytes = 0;
    show.play(2_000..2_500);
    assert!(!show.now().listed().is_empty(), "the live edge stays whatever it costs");
}

#[test]
fn a_segment_beyond_measure_is_cut_before_its_key_frame() {
    let mut show = Show::camera();
    show.key_bytes = SEGMENT_BYTES / 3;
    for n in 0..150 {
        // A key frame each fifth of a second is too often to cut at.
        let kind = if n % 5 == 0 { FrameKind::Key } else { FrameKind::Delta };
        show.frame(0, n * 40, kind, false);
    }
    let largest = show.now().segments.iter().map(|segment| segment.bytes).max().unwrap();
    assert!(largest < SEGMENT_BYTES * 5 / 2, "{largest}");
    assert!(show.store.bytes() <= MOST_BYTES, "{}", show.store.bytes());
}

#[test]
fn a_long_group_of_pictures_is_cut_by_force_and_not_called_independent() {
    let mut show = Show::camera();
    for n in 0..1_000 {
        let kind = if n % 300 == 0 { FrameKind::Key } else { FrameKind::Delta };
        show.frame(0, n * 40, kind, false);
    }
    let text = show.text();
    let read = Read::new(&text);
    assert!(!read.header.contains_key("#EXT-X-INDEPENDENT-SEGMENTS"));
    assert!(read.segments.iter().all(|s| s.length() <= 6.0), "{text}");
}

#[test]
fn a_restart_begins_above_all_numbers_used_however_short_the_segments() {
    // Segments of a second, and a reconnect twice a second after a while.
    let config = Config { segment: Duration::from_secs(1), ..Config::default() };
    let mut show = Show::camera();
    (show.segmenter, show.store) = (Segmenter::new(config), Store::new(&config));
    for n in 0..1_500 {
        let back = n > 500 && n % 13 == 0;
        let kind = if n % 25 == 0 || back { FrameKind::Key } else { FrameKind::Delta };
        show.frame(0, n * 40, kind, back);
    }
    let used = show.now().next;
    assert!(used > FIRST + 80, "{used}");

    let mut again = Show::camera();
    for n in 1_501..1_700 {
        let kind = if n % 25 == 0 { FrameKind::Key } else { FrameKind::Delta };
        again.frame(0, n * 40, kind, false);
    }
    let first = again.now().segments[0].head.number;
    assert!(first > used, "{first} after {used}");
}

#[test]
fn what_is_forgotten_is_gone_and_its_numbers_stay_used() {
    let mut show = Show::camera();
    show.play(0..500);
    let used = show.now().next;
    show.segmenter.forget();
    show.store.forget();
    assert!(matches!(show.store.state(), State::Starting) && show.store.bytes() == 0);
    // The camera's clock was set back meanwhile.
    show.snapshot = None;
    show.objects.clear();
    show.play(0..200);
    let first = show.now().segments[0].head.number;
    assert!(first > used, "{first} after {used}");
    assert_eq!(show.now().listed()[0].head.number, first);
}

#[test]
fn new_parameters_bring_a_discontinuity_and_an_init_segment() {
    let mut show = Show::camera();
    show.play(0..300);
    show.tracks = Arc::new(Tracks::new(vec![video(1_280)]));
    show.play(300..500);
    let text = show.text();
    let read = Read::new(&text);
    let cuts: Vec<&Segment<'_>> = read.segments.iter().filter(|s| s.discontinuity).collect();
    assert_eq!(cuts.len(), 1, "{text}");
    assert!(cuts[0].map.is_some() && cuts[0].parts.first().is_none_or(|part| part.2));
    assert!(multivariant(show.now()).contains("RESOLUTION=1280x360"));
}

#[test]
fn an_equal_set_of_tracks_is_no_change() {
    let mut show = Show::camera();
    show.play(0..300);
    show.tracks = Arc::new(Tracks::new(vec![video(640)]));
    show.play(300..500);
    assert!(!show.text().contains("#EXT-X-DISCONTINUITY\n"));
}

#[test]
fn an_outage_leaves_a_discontinuity_and_a_date_but_no_long_frame() {
    let mut show = Show::new(vec![video(640), sound()]);
    for n in 0..500 {
        // Half a minute is missing in the middle; both tracks say so.
        let (at, back) = if n < 310 { (n * 40, false) } else { (n * 40 + 30_000, n == 310) };
        let kind = if n % 50 == 0 || back { FrameKind::Key } else { FrameKind::Delta };
        show.frame(1, at, FrameKind::Audio, back);
        show.frame(0, at, kind, back);
    }
    let text = show.text();
    let read = Read::new(&text);
    let cut = read.segments.iter().position(|s| s.discontinuity).expect("a discontinuity");
    assert_eq!(read.segments.iter().filter(|s| s.discontinuity).count(), 1, "{text}");
    assert_eq!(read.segments[cut - 1].duration, Some(0.4));
    assert_eq!(read.segments[cut].date_line, "2026-09-21T14:14:02.650Z");
}

#[test]
fn a_track_that_is_announced_but_silent_is_left_out_until_it_is_heard() {
    let mut show = Show::new(vec![video(640), sound()]);
    show.play(0..300);
    assert!(multivariant(show.now()).contains("CODECS=\"avc1.42C00C\""));
    for n in 300..400 {
        show.frame(1, n * 40, FrameKind::Audio, false);
        show.play(n..n + 1);
    }
    assert!(multivariant(show.now()).contains("CODECS=\"avc1.42C00C,fLaC\""));
    assert_eq!(show.text().matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn sound_that_stops_is_left_out_before_players_wait_for_it() {
    let mut show = Show::new(vec![video(640), sound()]);
    for n in 0..300 {
        show.frame(1, n * 40, FrameKind::Audio, false);
        show.play(n..n + 1);
    }
    assert!(multivariant(show.now()).contains("fLaC"));
    // A pause of 3 s is none.
    show.play(300..375);
    show.frame(1, 375 * 40, FrameKind::Audio, false);
    show.play(375..450);
    assert!(multivariant(show.now()).contains("fLaC"));
    // The next key frame after 4 s: at 18 s.
    show.play(450..600);
    assert!(!multivariant(show.now()).contains("fLaC"));
    assert_eq!(show.text().matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn sound_alone_is_a_stream_too() {
    let mut show = Show::new(vec![sound()]);
    for n in 0..1_000 {
        show.frame(0, n * 20, FrameKind::Audio, false);
    }
    let text = show.text();
    let index = multivariant(show.now());
    assert!(index.contains("CODECS=\"fLaC\"") && !index.contains("FRAME-RATE"), "{index}");
    assert!(Read::new(&text).segments.iter().all(|s| s.parts.iter().all(|part| part.2)));
}

#[test]
fn mjpeg_is_named_as_what_hls_cannot_carry() {
    let size = PixelSize { width: 640, height: 360 };
    let jpeg = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec: Codec::Jpeg(Jpeg { size }) };
    let mut show = Show::new(vec![jpeg, sound()]);
    show.frame(0, 0, FrameKind::Key, false);
    assert!(matches!(show.store.state(), State::Unplayable("MJPEG")));
    show.tracks = Arc::new(Tracks::new(vec![video(640)]));
    show.play(0..120);
    assert!(matches!(show.store.state(), State::Live(_)), "a new encoder setting heals it");
}

#[test]
fn waiting_follows_the_draft() {
    let mut show = Show::camera();
    show.play(0..230);
    let now = show.now();
    // Open: the segment from 8 s on, with two parts and 0.16 s more.
    let open = FIRST + 4;
    assert_eq!((now.next, now.open_parts()), (open, 2));
    let reaches = |number, part| now.reaches(number, part);
    assert!(reaches(open - 1, None) && !reaches(open, None), "a whole segment");
    assert!(reaches(open, Some(1)) && !reaches(open, Some(2)), "a part");
    assert!(reaches(open - 1, Some(4)), "part 0 of the next is there");
    assert!(reaches(FIRST - 9, None) && reaches(FIRST - 9, Some(7)), "old ones");
    let too_far = |number, part| now.too_far(number, part);
    assert!(!too_far(open + 1, None) && too_far(open + 2, None));
    // Six parts of 0.546 s are three seconds.
    assert!(!too_far(open, Some(7)) && too_far(open, Some(8)));
    assert!(!too_far(open + 1, Some(5)) && too_far(open + 1, Some(6)));
    assert!(!too_far(open - 1, Some(99)));
}

#[test]
fn a_part_past_the_end_of_the_newest_segment_waits_for_the_next() {
    let mut show = Show::camera();
    show.play(0..201);
    let now = show.now();
    assert_eq!((now.next, now.open_parts()), (FIRST + 4, 0));
    assert!(now.reaches(FIRST + 3, Some(3)) && !now.reaches(FIRST + 3, Some(4)));
}

#[test]
fn names_are_numbers_in_one_spelling() {
    for name in ["media.m3u8", "i7.mp4", "s7.m4s", "s7.0.m4s", "s18446744073709551615.3.m4s"] {
        assert_eq!(Name::parse(name).expect(name).to_string(), name);
    }
    for name in ["s07.m4s", "s+7.m4s", "s7.00.m4s", "s.m4s", "s7", "i.mp4", "s7.0.0.m4s", "", "x"] {
        assert_eq!(Name::parse(name), None, "{name}");
    }
}

/// Frames that a camera of the property tests sends at the least; in these,
/// things happen.
const FRAMES: usize = 200;

/// A camera of some rhythm: the time between frames is `interval` give or
/// take `jitter`, and now and then something happens.
#[derive(Clone, Debug)]
struct Rhythm {
    interval: i64,
    jitter: i64,
    gop: i64,
    sound: bool,
    /// Sound comes this much later (or earlier) than the picture, in ms.
    sound_late: i64,
    /// Index of a frame, what happens there.
    events: Vec<(usize, Event)>,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Nothing for so many milliseconds.
    Hole(i64),
    /// The same, and the source came back.
    Outage(i64),
    NewParameters,
    ExtraKey,
}

fn rhythm() -> impl Strategy<Value = Rhythm> {
    let event = prop_oneof![
        (1..9_000_i64).prop_map(Event::Hole),
        (1..90_000_i64).prop_map(Event::Outage),
        Just(Event::NewParameters),
        Just(Event::ExtraKey),
    ];
    let interval =
        prop_oneof![Just(16_i64), Just(33), Just(40), Just(100), Just(1_000), 17..1_500_i64];
    let events = prop::collection::vec((0..FRAMES, event), 0..5);
    (interval, 0..30_i64, 1..300_i64, any::<bool>(), -400..400_i64, events, any::<u64>()).prop_map(
        |(interval, jitter, gop, sound, sound_late, events, seed)| {
            let jitter = jitter.min(interval - 1);
            Rhythm { interval, jitter, gop, sound, sound_late, events, seed }
        },
    )
}

fn perform(rhythm: &Rhythm) -> Show {
    let mut tracks = vec![video(640)];
    tracks.extend(rhythm.sound.then(sound));
    let mut show = Show::new(tracks);
    let (mut at, mut heard, mut width, mut seed) = (1_000_i64, 0_i64, 640, rhythm.seed);
    // Long enough for the longest lesson, whatever happened before.
    for n in 0..FRAMES.max(20_000 / rhythm.interval as usize) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let jitter = (seed >> 33) as i64 % (rhythm.jitter + 1);
        at += rhythm.interval + if n % 2 == 0 { jitter } else { -jitter };
        let mut kind = if n as i64 % rhythm.gop == 0 { FrameKind::Key } else { FrameKind::Delta };
        let mut back = false;
        for (_, event) in rhythm.events.iter().filter(|(when, _)| *when == n) {
            match event {
                Event::Hole(length) => at += length,
                Event::Outage(length) => (at, kind, back) = (at + length, FrameKind::Key, true),
                Event::NewParameters => {
                    width += 2;
                    kind = FrameKind::Key;
                    let sound = rhythm.sound.then(sound);
                    let tracks = std::iter::once(video(width)).chain(sound).collect();
                    show.tracks = Arc::new(Tracks::new(tracks));
                }
                Event::ExtraKey => kind = FrameKind::Key,
            }
        }
        let mut back_too = back;
        while rhythm.sound && heard + 20 + rhythm.sound_late <= at {
            heard = if back_too { at - rhythm.sound_late } else { heard + 20 };
            show.frame(1, heard, FrameKind::Audio, std::mem::take(&mut back_too));
        }
        show.frame(0, at, kind, back);
        show.video_given += 1;
    }
    show.end();
    show
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_rhythm_keeps_the_rules(rhythm in rhythm()) {
        // `Show::check` holds each published state against the rules.
        let show = perform(&rhythm);
        prop_assert!(show.states > 2);
        if !rhythm.sound {
            let outage = rhythm.events.iter().any(|(_, e)| !matches!(e, Event::ExtraKey));
            // A hole longer than a segment makes the next key frame awaited;
            // otherwise no picture is lost.
            prop_assert!(outage || show.video_published() == show.video_given,
                "{} of {}", show.video_published(), show.video_given);
        }
    }

    #[test]
    fn the_same_frames_give_the_same_bytes(rhythm in rhythm()) {
        let (a, b) = (perform(&rhythm), perform(&rhythm));
        prop_assert!(a.objects == b.objects && a.text() == b.text());
    }
}
