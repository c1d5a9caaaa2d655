//! The media playlist as text: `m3u8-rs` has no words for low latency, so it is
//! written here.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::segment::{Part, Segment};
use super::snapshot::Snapshot;
use super::targets::Targets;
use crate::media::WallTime;

/// What a URL below a stream's `hls/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The media playlist.
    Media,
    /// Init segment of the segments from this number on.
    Init(u64),
    /// A segment.
    Segment(u64),
    /// A part of a segment.
    Part(u64, usize),
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name == "media.m3u8" {
            return Some(Self::Media);
        }
        if let Some(init) = name.strip_prefix('i').and_then(|name| name.strip_suffix(".mp4")) {
            return Some(Self::Init(number(init)?));
        }
        let segment = name.strip_prefix('s')?.strip_suffix(".m4s")?;
        match segment.split_once('.') {
            None => Some(Self::Segment(number(segment)?)),
            Some((segment, part)) => {
                Some(Self::Part(number(segment)?, usize::try_from(number(part)?).ok()?))
            }
        }
    }
}

/// A decimal-integer as playlists and our names have it: digits alone, so
/// that an object has one name.
pub(super) fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Media => f.write_str("media.m3u8"),
            Self::Init(number) => write!(f, "i{number}.mp4"),
            Self::Segment(number) => write!(f, "s{number}.m4s"),
            Self::Part(number, part) => write!(f, "s{number}.{part}.m4s"),
        }
    }
}

/// How many of the oldest listed segments a delta update leaves out
/// (§6.2.5.1): those that end before the skip boundary, seen from the end.
fn skippable(snapshot: &Snapshot) -> usize {
    let boundary = snapshot.targets.segment * SKIP_BOUNDARY;
    let mut behind = open_length(snapshot);
    let listed = snapshot.listed();
    let recent = listed.iter().rev().take_while(|segment| {
        let keep = behind <= boundary;
        behind += segment.duration;
        keep
    });
    listed.len() - recent.count()
}

/// How many segments a delta update may leave out for a player that asked for
/// segment `asked`, and so knows all before it. An outage lists many at once.
pub(super) fn skippable_for(snapshot: &Snapshot, asked: Option<u64>) -> usize {
    let skippable = skippable(snapshot);
    let newest = skippable.checked_sub(1).map(|last| snapshot.listed()[last].head.number);
    if newest.zip(asked).is_some_and(|(newest, asked)| newest >= asked) { 0 } else { skippable }
}

/// Length of the open segment as its parts are listed.
fn open_length(snapshot: &Snapshot) -> Duration {
    let parts = snapshot.open.iter().flat_map(|segment| &segment.parts);
    parts.map(|part| listed_length(part, snapshot.targets.part)).sum()
}

/// How far back from the end a player should begin (`EXT-X-START`, §4.4.2.2)
/// where its hold-back is in a segment without a key frame up to there. A
/// player begins to load with that segment, whose first pictures it then
/// cannot show: hls.js 1.7 stood there for ever where `autoplay` was to start
/// it, shaka-player 5.2 until the next key frame.
///
/// Also where only what comes behind it has none: shaka-player begins nearer
/// the end, by the hinted part and by what passed since it read the playlist.
fn start(snapshot: &Snapshot) -> Option<Duration> {
    let Targets { part: most, interval, .. } = snapshot.targets;
    let hold_back = snapshot.targets.hold_back();
    let mut behind = Duration::ZERO;
    let mut found_none = false;
    for segment in snapshot.open.iter().chain(snapshot.listed().iter().rev()) {
        for part in segment.parts.iter().rev() {
            let length = listed_length(part, most);
            behind += length;
            if part.independent && behind.saturating_sub(interval) >= hold_back {
                // Into the part by a frame, wherever a player rounds; yet not out of one that
                // is a single frame, which is shorter than most.
                return found_none.then_some(behind - interval.min(length / 2));
            }
        }
        if segment.head.gap || segment.head.discontinuity {
            return None;
        }
        let empty = !segment.parts.iter().any(|part| part.independent);
        found_none |= empty || behind >= hold_back;
    }
    None
}

/// One late frame can last longer than a part may. The media says so, the
/// playlist keeps its promise.
fn listed_length(part: &Part, most: Duration) -> Duration {
    part.duration.min(most)
}

/// `CAN-SKIP-UNTIL` in target durations: the least allowed (§4.4.3.8).
const SKIP_BOUNDARY: u32 = 6;
/// Parts are listed this many target durations from the end (§6.2.2).
const PARTS_LISTED: u32 = 3;

/// The media playlist (§4.4.3, §4.4.4); as a delta update, `skipped` of the
/// oldest segments are left out.
/// With `other`, it says how far that rendition is.
pub(super) fn media(snapshot: &Snapshot, skipped: usize, other: Option<Report>) -> String {
    let mut out = String::with_capacity(8 * 1024);
    write_media(&mut out, snapshot, skipped, other).expect("a String takes every write");
    out
}

/// The media playlist for Chromium's own player (156), which begins with the three newest
/// segments, whatever `EXT-X-START` says, and ends with an error where the first of them does
/// not begin with a key frame: up to where it does, and without parts, of which it knows none.
pub(super) fn whole(snapshot: &Snapshot) -> String {
    let mut out = String::with_capacity(4 * 1024);
    write_whole(&mut out, snapshot).expect("a String takes every write");
    out
}

/// How far another rendition is (§4.4.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// From this playlist to the other.
    pub(super) uri: &'static str,
    /// Its newest segment, complete or open.
    pub(super) segment: u64,
    /// The newest part of that.
    pub(super) part: Option<usize>,
}

impl Report {
    /// Of a playlist that goes on.
    pub(super) fn of(snapshot: &Snapshot, uri: &'static str) -> Option<Self> {
        let newest = snapshot.open.as_ref().or_else(|| snapshot.listed().last())?;
        let part = listed_parts(newest, snapshot.targets.part).checked_sub(1);
        (!snapshot.ended).then_some(Self { uri, segment: newest.head.number, part })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uri, segment, part } = self;
        write!(f, "#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={segment}")?;
        part.map_or(Ok(()), |part| write!(f, ",LAST-PART={part}"))
    }
}

fn write_whole(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    writeln!(out, "#EXTM3U\n#EXT-X-VERSION:9")?;
    writeln!(out, "#EXT-X-TARGETDURATION:{}", snapshot.targets.segment.as_secs())?;
    put_numbers(out, snapshot)?;
    let mut init = None;
    for segment in snapshot.begun_with_key() {
        put_head(out, segment, init)?;
        init = Some(segment.init.number);
        put_whole(out, segment)?;
    }
    Ok(())
}

/// What a list without its oldest segments goes on from (§4.4.3).
fn put_numbers(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let first = snapshot.listed().first().map_or(snapshot.next, |segment| segment.head.number);
    writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}")?;
    writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", snapshot.discontinuities)?;
    if snapshot.independent {
        writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    }
    Ok(())
}

/// The segment itself.
fn put_whole(out: &mut String, segment: &Segment) -> fmt::Result {
    if segment.head.gap {
        writeln!(out, "#EXT-X-GAP")?;
    }
    writeln!(out, "#EXTINF:{},\n{}", Seconds(segment.duration), segment.name())
}

fn write_media(
    out: &mut String,
    snapshot: &Snapshot,
    skipped: usize,
    other: Option<Report>,
) -> fmt::Result {
    let targets = &snapshot.targets;
    let listed = snapshot.listed();
    writeln!(out, "#EXTM3U\n#EXT-X-VERSION:9")?;
    writeln!(out, "#EXT-X-TARGETDURATION:{}", targets.segment.as_secs())?;
    writeln!(
        out,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={},PART-HOLD-BACK={}",
        Seconds(targets.segment * SKIP_BOUNDARY),
        Seconds(targets.hold_back()),
    )?;
    writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", Seconds(targets.part))?;
    put_numbers(out, snapshot)?;
    if let Some(back) = start(snapshot) {
        writeln!(out, "#EXT-X-START:TIME-OFFSET=-{}", Seconds(back))?;
    }
    if skipped > 0 {
        writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
    }

    let open = snapshot.open.as_deref();
    let end =
        listed.iter().map(|segment| segment.duration).sum::<Duration>() + open_length(snapshot);
    let mut began = listed.iter().take(skipped).map(|segment| segment.duration).sum::<Duration>();
    // Even where it was left out with its segment, so that the delta can be
    // read by itself.
    let mut init = None;
    for segment in listed.iter().skip(skipped) {
        put_head(out, segment, init)?;
        init = Some(segment.init.number);
        if end - began < targets.segment * PARTS_LISTED {
            put_parts(out, segment, targets.part)?;
        }
        put_whole(out, segment)?;
        began += segment.duration;
    }
    if let Some(open) = open {
        put_head(out, open, init)?;
        init = Some(open.init.number);
        put_parts(out, open, targets.part)?;
    }
    if snapshot.ended {
        return writeln!(out, "#EXT-X-ENDLIST");
    }
    if init != Some(snapshot.init.number) {
        let name = Name::Init(snapshot.init.number);
        writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{name}\"")?;
    }
    // Also after a gap, though another gap may come in its place: without, hls.js
    // 1.7 stood eleven seconds longer than the camera was away.
    let (segment, part) = snapshot.hinted();
    let name = Name::Part(segment, part);
    writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\"")?;
    other.map_or(Ok(()), |other| writeln!(out, "{other}"))
}

/// The tags that stand before a segment's first part (§4.4.4): those of a
/// segment that follows one with the init segment `before`.
fn put_head(out: &mut String, segment: &Segment, before: Option<u64>) -> fmt::Result {
    if segment.head.discontinuity {
        writeln!(out, "#EXT-X-DISCONTINUITY")?;
    }
    if before != Some(segment.init.number) {
        writeln!(out, "#EXT-X-MAP:URI=\"{}\"", Name::Init(segment.init.number))?;
    }
    writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", Date(segment.head.wall))
}

fn put_parts(out: &mut String, segment: &Segment, most: Duration) -> fmt::Result {
    if segment.head.gap {
        return put_missing_parts(out, segment, most);
    }
    for (part, index) in segment.parts.iter().zip(0..) {
        let name = Name::Part(segment.head.number, index);
        let duration = Seconds(listed_length(part, most));
        write!(out, "#EXT-X-PART:DURATION={duration},URI=\"{name}\"")?;
        writeln!(out, "{}", if part.independent { ",INDEPENDENT=YES" } else { "" })?;
    }
    Ok(())
}

/// The parts of a gap cannot be fetched either. They are listed so that players count on
/// from them: without, hls.js 1.7 asked for the part behind the last one there was, learned
/// each half target duration that there was no news, and came three seconds late.
fn put_missing_parts(out: &mut String, segment: &Segment, most: Duration) -> fmt::Result {
    let number = segment.head.number;
    for index in 0..listed_parts(segment, most) {
        let before = most * u32::try_from(index).unwrap_or(u32::MAX);
        let duration = Seconds(segment.duration.saturating_sub(before).min(most));
        let name = Name::Part(number, index);
        writeln!(out, "#EXT-X-PART:DURATION={duration},URI=\"{name}\",GAP=YES")?;
    }
    Ok(())
}

/// How many parts a segment is listed with while it is new; a gap, with missing ones.
pub(super) fn listed_parts(segment: &Segment, most: Duration) -> usize {
    if !segment.head.gap {
        return segment.parts.len();
    }
    let count = segment.duration.as_nanos().div_ceil(most.as_nanos().max(1));
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Segment {
    fn name(&self) -> Name {
        Name::Segment(self.head.number)
    }
}

/// A decimal-floating-point of seconds, to the microsecond, never by way of a
/// float.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = self.0 + Duration::from_nanos(500);
        write!(f, "{}.{:06}", rounded.as_secs(), rounded.subsec_micros())
    }
}

/// A date with milliseconds, as §4.4.4.6 recommends.
struct Date(WallTime);

const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

impl Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0.unix_nanos()))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        f.write_str(&date.format(DATE).map_err(|_| fmt::Error)?)
    }
}
