//! What can be fetched: a window of segments, the parts of the open one, and
//! the promises made about them.
//!
//! One writer applies the segmenter's steps; readers hold immutable
//! [`Snapshot`]s, so no request ever waits for a lock.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::answer::Text;
use super::playlist::Name;
use super::segment::{Head, Init, Part, Segment};
use super::segmenter::Step;
use super::targets::Targets;

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
    peak: u64,
    /// The playlist, written when first asked for.
    pub(super) full: OnceLock<Text>,
    /// The same as a delta update.
    pub(super) delta: OnceLock<Text>,
}

/// What there is of a stream.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nothing yet.
    Starting,
    /// Never anything: name of the codec that HLS cannot carry.
    Unplayable(&'static str),
    /// A playlist.
    Live(Arc<Snapshot>),
}

/// Most bytes of media held for one stream: 72 s of 30 Mbit/s, which is more
/// than a 4K camera sends. Beyond it the window is shorter than was asked for,
/// so that a camera which sends without measure takes no memory from others.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// The writer's side.
pub(super) struct Store {
    window: Duration,
    /// [`MOST_BYTES`], less in tests.
    pub(super) most_bytes: usize,
    state: Option<Building>,
    unplayable: Option<&'static str>,
}

struct Building {
    targets: Targets,
    segments: VecDeque<Arc<Segment>>,
    unlisted: usize,
    open: Option<Segment>,
    next: u64,
    init: Option<Arc<Init>>,
    discontinuities: u64,
    independent: bool,
    ended: bool,
    /// [`Snapshot::peak`].
    peak: u64,
}

impl Store {
    pub(super) fn new(config: &Config) -> Self {
        Self { window: config.window, most_bytes: MOST_BYTES, state: None, unplayable: None }
    }

    /// Applies a step.
    pub(super) fn apply(&mut self, step: Step) {
        match (step, &mut self.state) {
            (Step::Start(targets, first), state) => {
                *state = Some(Building {
                    targets,
                    segments: VecDeque::new(),
                    unlisted: 0,
                    open: None,
                    next: first,
                    init: None,
                    discontinuities: 0,
                    independent: true,
                    ended: false,
                    peak: 0,
                });
            }
            (Step::Unplayable(codec), _) => self.unplayable = Some(codec),
            (Step::Init(init), Some(state)) => {
                self.unplayable = None;
                state.init = Some(init);
            }
            (Step::Open(head), Some(state)) => state.open(head),
            (Step::Part(part), Some(state)) => {
                state.part(part);
                state.shed(self.most_bytes);
            }
            (Step::Close, Some(state)) => state.close(self.window),
            (Step::Gap(head, length), Some(state)) => state.gap(head, length, self.window),
            (Step::Init(_) | Step::Open(_) | Step::Part(_) | Step::Close | Step::Gap(..), None) => {
                debug_assert!(false, "the segmenter starts before all else");
            }
        }
    }

    /// Drops all there is; what follows starts anew.
    pub(super) fn forget(&mut self) {
        (self.state, self.unplayable) = (None, None);
    }

    /// Nothing will follow.
    pub(super) fn end(&mut self) {
        if let Some(state) = &mut self.state {
            state.ended = true;
        }
    }

    /// What readers see from now on.
    pub(super) fn state(&self) -> State {
        if let Some(codec) = self.unplayable {
            return State::Unplayable(codec);
        }
        let Some((state, init)) = self.state.as_ref().and_then(|s| Some((s, s.init.as_ref()?)))
        else {
            return State::Starting;
        };
        State::Live(Arc::new(Snapshot {
            targets: state.targets,
            segments: state.segments.iter().cloned().collect(),
            unlisted: state.unlisted,
            open: state.open.clone().map(Arc::new),
            next: state.next,
            init: Arc::clone(init),
            discontinuities: state.discontinuities,
            independent: state.independent,
            ended: state.ended,
            peak: state.peak,
            full: OnceLock::new(),
            delta: OnceLock::new(),
        }))
    }

    /// Bytes of media held.
    pub(super) fn bytes(&self) -> usize {
        self.state.as_ref().map_or(0, Building::bytes)
    }
}

impl Building {
    fn bytes(&self) -> usize {
        let complete: usize = self.segments.iter().map(|segment| segment.bytes).sum();
        complete + self.open.as_ref().map_or(0, |segment| segment.bytes)
    }

    /// Lets the oldest segments go before their time while there are too many
    /// bytes. The newest two stay: `segmenter` keeps each far below the limit.
    fn shed(&mut self, most: usize) {
        let mut held = self.bytes();
        while held > most && self.segments.len() > 1 {
            if self.unlisted == 0 {
                self.unlist_oldest();
            }
            self.unlisted -= 1;
            held -= self.segments.pop_front().map_or(0, |oldest| oldest.bytes);
        }
    }

    /// Takes the oldest listed segment off the playlist.
    fn unlist_oldest(&mut self) {
        let Some(oldest) = self.segments.get(self.unlisted) else { return };
        self.unlisted += 1;
        self.discontinuities += u64::from(oldest.head.discontinuity);
    }

    fn open(&mut self, head: Head) {
        let Some(init) = &self.init else { return };
        self.independent &= head.independent;
        self.open = Some(Segment::new(head, Arc::clone(init)));
    }

    fn gap(&mut self, head: Head, length: Duration, window: Duration) {
        self.open(head);
        if let Some(open) = &mut self.open {
            open.duration = length;
        }
        self.close(window);
    }

    fn part(&mut self, part: Part) {
        let Some(open) = &mut self.open else { return };
        open.duration += part.duration;
        open.bytes += part.data.len();
        open.parts.push(part);
    }

    fn close(&mut self, window: Duration) {
        let Some(open) = self.open.take() else { return };
        self.next = open.head.number + 1;
        self.segments.push_back(Arc::new(open));
        self.peak = self.peak.max(self.newest_rate());

        // Three target durations stay listed at the least
        // (draft-pantos-hls-rfc8216bis §6.2.2), without the segment that goes.
        let window = window.max(self.targets.segment * 3);
        let length = |segments: &mut dyn Iterator<Item = &Arc<Segment>>| -> Duration {
            segments.map(|segment| segment.duration).sum()
        };
        let mut listed = length(&mut self.segments.iter().skip(self.unlisted));
        while let Some(oldest) = self.segments.get(self.unlisted) {
            if listed.saturating_sub(oldest.duration) < window {
                break;
            }
            listed -= oldest.duration;
            self.unlist_oldest();
        }
        // Unlisted ones can still be fetched by whoever read an older
        // playlist. The draft asks for as long as the whole playlist; that
        // would double the memory of every camera for players that are a
        // minute behind on purpose, so it is three target durations.
        let grace = self.targets.segment * 3;
        let mut unlisted = length(&mut self.segments.iter().take(self.unlisted));
        while let Some(oldest) = self.segments.front().filter(|_| self.unlisted > 0) {
            if unlisted.saturating_sub(oldest.duration) < grace {
                break;
            }
            unlisted -= oldest.duration;
            self.unlisted -= 1;
            self.segments.pop_front();
        }
    }
}

impl Building {
    /// Highest bit rate of the segments that end with the newest one, as far
    /// as they make up half a target duration to one and a half of it: what
    /// §4.4.6.2 calls the peak segment bit rate.
    fn newest_rate(&self) -> u64 {
        let target = self.targets.segment;
        let (mut bytes, mut length, mut peak) = (0, Duration::ZERO, 0);
        for segment in self.segments.iter().rev() {
            bytes += segment.bytes;
            length += segment.duration;
            if length > target * 3 / 2 {
                break;
            }
            if length >= target / 2 {
                peak = peak.max(rate(bytes, length));
            }
        }
        peak
    }
}

impl Snapshot {
    /// Complete segments in the playlist.
    pub(super) fn listed(&self) -> &[Arc<Segment>] {
        &self.segments[self.unlisted..]
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

    /// The bytes under that name, in pieces that follow each other; none where
    /// there is no such thing, or it can only be written when asked for.
    pub(super) fn pieces(&self, name: Name) -> Vec<Bytes> {
        let pieces = |part: &Part| part.data.iter().cloned().collect::<Vec<_>>();
        match name {
            Name::Media => Vec::new(),
            Name::Init(number) => self.init(number).map(|i| i.data.clone()).into_iter().collect(),
            // Exactly its parts, one after the other; never copied together.
            Name::Segment(number) => {
                let segment = self.segment(number);
                segment.into_iter().flat_map(|segment| &segment.parts).flat_map(pieces).collect()
            }
            Name::Part(number, part) => self.part(number, part).map(pieces).unwrap_or_default(),
        }
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
            // next segment.
            Some(part) => match self.segment(number) {
                Some(segment) if part >= segment.parts.len() => self.reaches(number + 1, Some(0)),
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

/// Bits per second.
fn rate(bytes: usize, duration: Duration) -> u64 {
    let bits = bytes as u128 * 8 * 1_000_000_000;
    u64::try_from(bits / duration.as_nanos().max(1)).unwrap_or(u64::MAX)
}
