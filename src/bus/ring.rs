//! The numbered ring that is key-frame cache and fan-out at once.
//!
//! Slots hold frames by sequence number; the writer swaps slots and never
//! takes a lock, a reader follows with a cursor and learns from the number it
//! finds whether it was overrun. There are as many slots as the stream has
//! needed so far, to the next power of two.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::media::{Draft, Frame};

/// How much a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most payload bytes held; the oldest frames go first, even those of the
    /// group of pictures being received.
    pub bytes: usize,
    /// A group of pictures leaves as a whole, once the key frame behind it is
    /// older than this (nanoseconds of stream time). So much a reader may be
    /// late; and one that joins at the oldest key frame finds so much, or more.
    pub slack_nanos: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The cap on a group of pictures that `ingest` enforces.
            bytes: 32 << 20,
            slack_nanos: 3_000_000_000,
        }
    }
}

/// Most frames held: 30 s at 60 pictures and 50 sound packets a second, and
/// a power of two, so that a slot is found with a mask.
const MAX_SLOTS: usize = 4096;
/// Slots of a new ring: the usual camera's slack and group without sound.
const FIRST_SLOTS: usize = 128;

/// As many as a power of two; a frame's is found by its sequence number.
struct Slots(Box<[ArcSwapOption<Frame>]>);

/// What writer and readers share. Sequence numbers start at 1.
pub(super) struct Ring {
    slots: ArcSwap<Slots>,
    /// Sequence the next frame will get.
    head: AtomicU64,
    /// Sequence of the newest frame a reader can start at; 0 before the first.
    newest_entry: AtomicU64,
    bytes: AtomicUsize,
}

/// What a reader finds under a sequence number.
pub(super) enum Slot {
    /// The frame.
    Frame(Arc<Frame>),
    /// Not published yet.
    Future,
    /// Evicted; the reader was too slow.
    Gone,
}

impl Slots {
    fn empty(count: usize) -> Self {
        Self((0..count).map(|_| ArcSwapOption::empty()).collect())
    }

    fn of(&self, sequence: u64) -> &ArcSwapOption<Frame> {
        &self.0[sequence as usize & (self.0.len() - 1)]
    }
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            slots: ArcSwap::from_pointee(Slots::empty(FIRST_SLOTS)),
            head: AtomicU64::new(1),
            newest_entry: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    fn put(&self, sequence: u64, frame: Option<Arc<Frame>>) {
        self.slots.load().of(sequence).store(frame);
    }

    pub(super) fn get(&self, sequence: u64) -> Slot {
        // The head first: the slots of a grown ring are there before it moves.
        if sequence >= self.head() {
            return Slot::Future;
        }
        match self.slots.load().of(sequence).load_full() {
            Some(frame) if frame.sequence == sequence => Slot::Frame(frame),
            _ => Slot::Gone,
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// The newest frame a reader can start at, if it is still held.
    pub(super) fn newest_entry(&self) -> Option<u64> {
        let sequence = self.newest_entry.load(Ordering::Acquire);
        matches!(self.get(sequence), Slot::Frame(_)).then_some(sequence)
    }

    /// The oldest frame a reader can start at and read on to live.
    pub(super) fn oldest_entry(&self) -> Option<u64> {
        let newest = self.newest_entry()?;
        let held = (1..=newest).rev().map_while(|sequence| match self.get(sequence) {
            Slot::Frame(frame) => Some(frame),
            Slot::Future | Slot::Gone => None,
        });
        held.filter(|frame| frame.is_entry_point()).last().map(|frame| frame.sequence)
    }

    /// Payload bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The writer's side of a ring: there is one, so its book-keeping needs no
/// lock.
pub(super) struct Writer {
    limits: Limits,
    next: u64,
    newest_entry: u64,
    /// Sequence and bytes of every frame held, oldest first.
    held: VecDeque<(u64, usize)>,
    /// Sequence and dts of those a reader can start at, but for the oldest frame.
    entries: VecDeque<(u64, i64)>,
    bytes: usize,
}

impl Writer {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 1,
            newest_entry: 0,
            held: VecDeque::new(),
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn publish(&mut self, ring: &Ring, draft: Draft) -> Arc<Frame> {
        let sequence = self.next;
        self.next += 1;
        let (size, dts) = (draft.data.len(), draft.dts.nanos());
        let frame = Arc::new(Frame { sequence, draft });

        self.held.push_back((sequence, size));
        self.bytes += size;
        if frame.is_entry_point() {
            self.newest_entry = sequence;
            self.entries.push_back((sequence, dts));
        }
        // Room first: a slot is free before it is written again, and the cap
        // holds at every moment a reader could look.
        self.evict(ring, dts);
        self.grow(ring);

        ring.put(sequence, Some(Arc::clone(&frame)));
        ring.newest_entry.store(self.newest_entry, Ordering::Release);
        ring.bytes.store(self.bytes, Ordering::Relaxed);
        ring.head.store(self.next, Ordering::Release);
        frame
    }

    /// Lets go of every frame; numbering goes on.
    pub(super) fn forget(&mut self, ring: &Ring) {
        self.newest_entry = 0;
        ring.newest_entry.store(0, Ordering::Release);
        for (sequence, ..) in std::mem::take(&mut self.held) {
            ring.put(sequence, None);
        }
        self.entries = VecDeque::new();
        self.bytes = 0;
        ring.bytes.store(0, Ordering::Relaxed);
    }

    /// Makes more slots where the frames held, the newest among them, have too
    /// few. Readers find each frame in the old ones or the new.
    fn grow(&self, ring: &Ring) {
        let slots = ring.slots.load();
        if self.held.len() <= slots.0.len() {
            return;
        }
        let more = Slots::empty(self.held.len().next_power_of_two());
        for &(sequence, ..) in self.held.iter().take(slots.0.len()) {
            more.of(sequence).store(slots.of(sequence).load_full());
        }
        ring.slots.store(Arc::new(more));
    }

    fn evict(&mut self, ring: &Ring, now: i64) {
        while let Some(&(sequence, size)) = self.held.front() {
            while self.entries.front().is_some_and(|(entry, _)| *entry <= sequence) {
                self.entries.pop_front();
            }
            let over = self.bytes > self.limits.bytes || self.held.len() > MAX_SLOTS;
            let stale = self
                .entries
                .front()
                .is_some_and(|(_, behind)| now.saturating_sub(*behind) > self.limits.slack_nanos);
            // The newest frame stays whatever its size: `ingest` caps it.
            if !(over || stale) || self.held.len() == 1 {
                break;
            }
            ring.put(sequence, None);
            self.held.pop_front();
            self.bytes -= size;
        }
    }
}
