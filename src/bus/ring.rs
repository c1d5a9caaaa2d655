//! The numbered ring that is key-frame cache and fan-out at once.
//!
//! Slots hold frames by sequence number; the writer swaps slots and never
//! takes a lock, a reader follows with a cursor and learns from the number it
//! finds whether it was overrun.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use crate::media::{Draft, Frame};

/// How much a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most payload bytes held; the oldest frames go first, even those of the
    /// group of pictures being received.
    pub bytes: usize,
    /// Frames older than this (nanoseconds of stream time) leave once a newer
    /// key frame can start a reader. Room for readers that are a little late.
    pub slack_nanos: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The cap on a group of pictures that `ingest` enforces.
            bytes: 32 << 20,
            slack_nanos: 4_000_000_000,
        }
    }
}

/// Most frames held: 30 s at 60 pictures and 50 sound packets a second, and
/// a power of two, so that a slot is found with a mask.
const SLOTS: usize = 4096;

/// What writer and readers share. Sequence numbers start at 1.
pub(super) struct Ring {
    slots: Box<[ArcSwapOption<Frame>]>,
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

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| ArcSwapOption::empty()).collect(),
            head: AtomicU64::new(1),
            newest_entry: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    fn slot(&self, sequence: u64) -> &ArcSwapOption<Frame> {
        &self.slots[sequence as usize % SLOTS]
    }

    pub(super) fn get(&self, sequence: u64) -> Slot {
        if sequence >= self.head() {
            return Slot::Future;
        }
        match self.slot(sequence).load_full() {
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
    /// Sequence, bytes and dts of every frame held, oldest first.
    held: VecDeque<(u64, usize, i64)>,
    bytes: usize,
}

impl Writer {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, next: 1, newest_entry: 0, held: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn publish(&mut self, ring: &Ring, draft: Draft) -> Arc<Frame> {
        let sequence = self.next;
        self.next += 1;
        let (size, dts) = (draft.data.len(), draft.dts.nanos());
        let frame = Arc::new(Frame { sequence, draft });

        self.held.push_back((sequence, size, dts));
        self.bytes += size;
        if frame.is_entry_point() {
            self.newest_entry = sequence;
        }
        // Room first: a slot is free before it is written again, and the cap
        // holds at every moment a reader could look.
        self.evict(ring, dts);

        ring.slot(sequence).store(Some(Arc::clone(&frame)));
        ring.newest_entry.store(self.newest_entry, Ordering::Release);
        ring.bytes.store(self.bytes, Ordering::Relaxed);
        ring.head.store(self.next, Ordering::Release);
        frame
    }

    /// Lets go of every frame; numbering goes on.
    pub(super) fn forget(&mut self, ring: &Ring) {
        self.newest_entry = 0;
        ring.newest_entry.store(0, Ordering::Release);
        for (sequence, ..) in self.held.drain(..) {
            ring.slot(sequence).store(None);
        }
        self.bytes = 0;
        ring.bytes.store(0, Ordering::Relaxed);
    }

    fn evict(&mut self, ring: &Ring, now: i64) {
        while let Some(&(sequence, size, dts)) = self.held.front() {
            let over = self.bytes > self.limits.bytes || self.held.len() > SLOTS;
            let stale =
                sequence < self.newest_entry && now.saturating_sub(dts) > self.limits.slack_nanos;
            // The newest frame stays whatever its size: `ingest` caps it.
            if !(over || stale) || self.held.len() == 1 {
                break;
            }
            ring.slot(sequence).store(None);
            self.held.pop_front();
            self.bytes -= size;
        }
    }
}
