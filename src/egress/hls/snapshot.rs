//! A playlist and its objects at one moment, and what can be asked of them.

use std::ops::Range;
use std::ptr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::answer::Text;
use super::disk::Stored;
use super::playlist::{Name, listed_parts};
use super::segment::{Init, Part, Segment};
use super::store::rate;
use super::targets::Targets;

/// How many segments from the end a player begins that knows no parts.
pub(super) const BEGUN_WITH: usize = 3;

/// A playlist and its objects at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) targets: Targets,
    /// Complete segments that can be fetched, oldest first.
    pub(super) segments: Vec<Arc<Segment>>,
    /// How many of the oldest are not listed any more.
    pub(super) unlisted: usize,
    /// The segment that grows, once it has a part.
    pub(super) open: Option<Arc<Segment>>,
    /// It has its last part.
    pub(super) last: bool,
    /// Number of the open segment, or of the next one.
    pub(super) next: u64,
    /// What the next part needs.
    pub(super) init: Arc<Init>,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub(super) discontinuities: u64,
    /// Every segment so far began with a key frame.
    pub(super) independent: bool,
    /// Nothing will follow.
    pub(super) ended: bool,
    /// Highest bit rate so far, in bits per second.
    pub(super) peak: u64,
    /// The playlist, written when first asked for.
    pub(super) full: OnceLock<Text>,
    /// The same as a delta update.
    pub(super) delta: OnceLock<Text>,
    /// The same for Chromium's own player.
    pub(super) whole: OnceLock<Text>,
    /// The newest part in one piece, made when first asked for: of what a
    /// thousand players take at once, a dozen pieces for each cost more than
    /// one copy, which goes with the snapshot.
    pub(super) newest: OnceLock<Bytes>,
}

/// The bytes of an object.
pub(super) enum Content {
    /// In memory, in pieces that follow each other.
    Pieces(Vec<Bytes>),
    /// In a segment's file.
    File(Arc<Stored>, Range<u64>),
}

impl Snapshot {
    /// Complete segments in the playlist.
    pub(super) fn listed(&self) -> &[Arc<Segment>] {
        &self.segments[self.unlisted..]
    }

    /// The same, up to where the third from the end begins with a key frame, if there is one
    /// that does.
    pub(super) fn begun_with_key(&self) -> &[Arc<Segment>] {
        let listed = self.listed();
        let begins = |three: &[Arc<Segment>]| three[0].head.independent && !three[0].head.gap;
        let place = listed.windows(BEGUN_WITH).rposition(begins);
        &listed[..place.map_or(listed.len(), |place| place + BEGUN_WITH)]
    }

    /// The complete segment of that number, listed or not.
    pub(super) fn segment(&self, number: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.first()?.head.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.segments.get(index)
    }

    /// A part of any segment, the open one too.
    pub(super) fn part(&self, number: u64, part: usize) -> Option<&Part> {
        let open = self.open.as_ref().filter(|open| open.head.number == number);
        open.or_else(|| self.segment(number))?.parts.get(part)
    }

    /// The init segment that segments from `number` on need.
    pub(super) fn init(&self, number: u64) -> Option<&Arc<Init>> {
        let held = self.segments.iter().chain(&self.open).map(|segment| &segment.init);
        held.chain([&self.init]).find(|init| init.number == number)
    }

    /// What is there under that name; nothing, or what can only be written
    /// when asked for, is no content.
    pub(super) fn content(&self, name: Name) -> Option<Content> {
        let pieces = |part: &Part| part.data.iter().cloned().collect::<Vec<_>>();
        let file = |segment: &Segment, range| {
            Some(Content::File(Arc::clone(segment.stored.as_ref()?), range))
        };
        match name {
            Name::Media => None,
            Name::Init(number) => Some(Content::Pieces(vec![self.init(number)?.data.clone()])),
            // Exactly its parts, one after the other; never copied together.
            Name::Segment(number) => match self.segment(number)? {
                segment if segment.head.gap => None,
                segment if segment.filed => file(segment, 0..segment.bytes as u64),
                segment => Some(Content::Pieces(segment.parts.iter().flat_map(pieces).collect())),
            },
            Name::Part(number, part) => match self.segment(number) {
                Some(segment) if segment.filed => file(segment, segment.place(part)?),
                _ => {
                    let found = self.part(number, part)?;
                    let newest = self.newest_part().is_some_and(|newest| ptr::eq(newest, found));
                    let whole = || self.newest.get_or_init(|| found.data.joined()).clone();
                    Some(Content::Pieces(if newest { vec![whole()] } else { pieces(found) }))
                }
            },
        }
    }

    fn newest_part(&self) -> Option<&Part> {
        self.open.as_ref().or(self.segments.last())?.parts.last()
    }

    /// Segment and index of the part that comes next.
    pub(super) fn hinted(&self) -> (u64, usize) {
        if self.last { (self.next + 1, 0) } else { (self.next, self.open_parts()) }
    }

    /// Parts of the open segment.
    pub(super) fn open_parts(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.parts.len())
    }

    /// Whether the playlist holds segment `number`, or that part of it, or
    /// more (draft-pantos-hls-rfc8216bis §6.2.5.2).
    pub(super) fn reaches(&self, number: u64, part: Option<usize>) -> bool {
        match part {
            _ if number > self.next => false,
            None => number < self.next,
            Some(part) if number == self.next => part < self.open_parts(),
            // A part beyond the end of its segment means the first one of the
            // next segment; of a gap, beyond those that are listed as missing.
            Some(part) => match self.segment(number) {
                Some(segment) if part >= listed_parts(segment, self.targets.part) => {
                    self.reaches(number + 1, Some(0))
                }
                _ => true,
            },
        }
    }

    /// Whether the request asks for what is too far ahead to be waited for
    /// (§6.2.5.2).
    pub(super) fn too_far(&self, number: u64, part: Option<usize>) -> bool {
        // The last complete segment plus two.
        if number > self.next.saturating_add(1) {
            return true;
        }
        let Some(part) = part.filter(|_| number >= self.next) else { return false };
        let part_millis = self.targets.part.as_millis().max(1);
        let limit = if part_millis < 1_000 { 3_000_u128.div_ceil(part_millis) } else { 3 };
        let there = if number == self.next { self.open_parts() } else { 0 };
        // The last part there is has index `there` - 1.
        part as u128 >= there as u128 + limit
    }

    /// `BANDWIDTH` in bits per second: the peak so far and a tenth, since the
    /// next segment may be larger.
    pub(super) fn peak_rate(&self) -> u64 {
        // Before there is half a target duration, what there is.
        let peak = self.peak.max(self.mean_rate());
        peak.saturating_add(peak / 10).max(1)
    }

    /// Number of the newest segment that holds media, complete or open.
    pub(super) fn newest_media(&self) -> Option<u64> {
        let all = self.open.iter().chain(self.listed().iter().rev());
        all.map(|segment| &segment.head).find(|head| !head.gap).map(|head| head.number)
    }

    /// Bit rate of all listed segments.
    pub(super) fn mean_rate(&self) -> u64 {
        let media = || self.listed().iter().filter(|segment| !segment.head.gap);
        let bytes = media().map(|segment| segment.bytes).sum();
        rate(bytes, media().map(|segment| segment.duration).sum())
    }
}
