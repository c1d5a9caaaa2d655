//! What can be fetched: a window of segments, the parts of the open one, and
//! the promises made about them.
//!
//! One writer applies the segmenter's steps; readers hold immutable
//! [`Snapshot`]s, so no request ever waits for a lock.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Config;
use super::disk::{Filing, Shelf};
use super::segment::{Head, Init, Part, Segment};
use super::segmenter::Step;
use super::snapshot::Snapshot;
use super::targets::Targets;

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

/// Target durations that stay listed at the least (draft-pantos-hls-rfc8216bis §6.2.2),
/// whatever window was asked for.
pub(super) const LEAST_LISTED: u32 = 3;

/// Segments that a slow disk has not taken yet, beyond those that are kept in
/// memory anyway; behind that many, the oldest are given up.
const MOST_WAITING: usize = 8;

/// How many of the oldest segments give way to one that finds no room on disk.
const ROOM: usize = 4;

/// The writer's side.
pub(super) struct Store {
    window: Duration,
    /// Whether the window is kept of a stream that nobody watches, too.
    kept: bool,
    /// Whether somebody may have read the list lately; told from outside.
    pub(super) watched: bool,
    /// [`MOST_BYTES`], less in tests.
    pub(super) most_bytes: usize,
    shelf: Option<Shelf>,
    state: Option<Building>,
    unplayable: Option<&'static str>,
}

struct Building {
    targets: Targets,
    segments: VecDeque<Arc<Segment>>,
    unlisted: usize,
    open: Option<Segment>,
    /// [`Snapshot::last`].
    last: bool,
    next: u64,
    init: Option<Arc<Init>>,
    discontinuities: u64,
    independent: bool,
    ended: bool,
    /// [`Snapshot::peak`].
    peak: u64,
}

impl Store {
    /// With a `shelf`, segments that are not new are kept there.
    pub(super) fn new(config: &Config, shelf: Option<Shelf>) -> Self {
        // Written down, it is a promise; on disk, it costs next to nothing.
        let kept = config.window.is_some() || shelf.is_some();
        let (window, most_bytes) = (config.window(), MOST_BYTES);
        Self { window, kept, watched: true, most_bytes, shelf, state: None, unplayable: None }
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
                    last: false,
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
            (Step::Last, Some(state)) => state.last = true,
            (Step::Close, Some(state)) => {
                state.close(self.shelf.as_ref());
                state.slide(self.window, self.kept || self.watched);
            }
            (Step::Gap(head, length), Some(state)) => {
                state.gap(head, length, self.shelf.as_ref());
                state.slide(self.window, self.kept || self.watched);
            }
            (
                Step::Init(_)
                | Step::Open(_)
                | Step::Part(_)
                | Step::Last
                | Step::Close
                | Step::Gap(..),
                None,
            ) => {
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
            last: state.last,
            next: state.next,
            init: Arc::clone(init),
            discontinuities: state.discontinuities,
            independent: state.independent,
            ended: state.ended,
            peak: state.peak,
            full: OnceLock::new(),
            delta: OnceLock::new(),
            whole: OnceLock::new(),
            newest: OnceLock::new(),
        }))
    }

    /// Bytes of media held.
    pub(super) fn bytes(&self) -> usize {
        self.state.as_ref().map_or(0, Building::bytes)
    }
}

impl Building {
    fn bytes(&self) -> usize {
        let complete: usize = self.segments.iter().map(|segment| segment.held()).sum();
        complete + self.open.as_ref().map_or(0, |segment| segment.bytes)
    }

    /// Lets go of bytes that are in files by now, but for those of the newest
    /// three target durations, whose parts are listed. What cannot be written
    /// costs the oldest segments, since a disk that is full has room again
    /// without them.
    fn file(&mut self) {
        let mut behind = Duration::ZERO;
        let mut waiting = 0;
        let mut last_lost = None;
        let mut failed = false;
        for (index, segment) in self.segments.iter_mut().enumerate().rev() {
            let is_old = behind >= self.targets.segment * LEAST_LISTED;
            behind += segment.duration;
            let Some(stored) = segment.stored.clone().filter(|_| !segment.filed) else { continue };
            match stored.filing() {
                Filing::Kept if is_old => *segment = Arc::new(segment.in_file()),
                Filing::Kept => {}
                Filing::Failed if is_old => last_lost = last_lost.max(Some(index)),
                Filing::Failed => {
                    failed = true;
                    stored.retry(segment);
                }
                Filing::Pending if is_old => {
                    waiting += 1;
                    if waiting > MOST_WAITING {
                        last_lost = last_lost.max(Some(index));
                    }
                }
                Filing::Pending => {}
            }
        }
        let lost = last_lost.map_or(0, |last| last + 1);
        let room = if failed { ROOM.saturating_sub(lost) } else { 0 };
        for _ in 0..lost {
            self.drop_oldest();
        }
        // Only those that give room: none of the newest three targets.
        for _ in 0..room {
            if self.segments.front().is_some_and(|oldest| oldest.filed) {
                self.drop_oldest();
            }
        }
    }

    fn drop_oldest(&mut self) {
        if self.unlisted == 0 {
            self.unlist_oldest();
        }
        self.unlisted = self.unlisted.saturating_sub(1);
        self.segments.pop_front();
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
            held -= self.segments.pop_front().map_or(0, |oldest| oldest.held());
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

    fn gap(&mut self, head: Head, length: Duration, shelf: Option<&Shelf>) {
        self.open(head);
        if let Some(open) = &mut self.open {
            open.duration = length;
        }
        self.close(shelf);
    }

    fn part(&mut self, part: Part) {
        let Some(open) = &mut self.open else { return };
        open.duration += part.duration;
        open.bytes += part.data.len();
        open.parts.push(part);
    }

    fn close(&mut self, shelf: Option<&Shelf>) {
        self.last = false;
        let Some(mut open) = self.open.take() else { return };
        self.next = open.head.number + 1;
        if let Some(shelf) = shelf.filter(|_| open.bytes > 0) {
            open.stored = Some(shelf.put(&open));
        }
        self.segments.push_back(Arc::new(open));
        if shelf.is_some() {
            self.file();
        }
        self.peak = self.peak.max(self.newest_rate());
    }

    /// Lets go of the oldest segments: those beyond the window and, unless the
    /// `whole` of it is kept, those that a player does not begin with.
    fn slide(&mut self, window: Duration, whole: bool) {
        // Without the segment that goes.
        let least = self.targets.segment * LEAST_LISTED;
        let window = window.max(least);
        let mut listed = length(self.segments.iter().skip(self.unlisted));
        // A player does not begin with gaps, and they take no memory.
        let media = self.segments.iter().skip(self.unlisted).filter(|segment| !segment.head.gap);
        let mut media = length(media);
        while let Some(oldest) = self.segments.get(self.unlisted) {
            let left = listed.saturating_sub(oldest.duration);
            let goes = if oldest.head.gap { Duration::ZERO } else { oldest.duration };
            if left < window && (whole || media - goes < least) {
                break;
            }
            (listed, media) = (left, media - goes);
            self.unlist_oldest();
        }
        // Unlisted ones can still be fetched by whoever read an older
        // playlist. The draft asks for as long as the whole playlist; that
        // would double the memory of every camera for players that are a
        // minute behind on purpose, so it is three target durations. Where
        // nobody watches, nobody did.
        let grace = if whole { least } else { Duration::ZERO };
        let mut unlisted = length(self.segments.iter().take(self.unlisted));
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

/// How long they are one after the other.
fn length<'s>(segments: impl Iterator<Item = &'s Arc<Segment>>) -> Duration {
    segments.map(|segment| segment.duration).sum()
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

/// Bits per second.
pub(super) fn rate(bytes: usize, duration: Duration) -> u64 {
    let bits = bytes as u128 * 8 * 1_000_000_000;
    u64::try_from(bits / duration.as_nanos().max(1)).unwrap_or(u64::MAX)
}
