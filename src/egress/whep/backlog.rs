//! What a viewer is still to be sent. Bounded: a viewer, or a machine, that
//! cannot keep up loses pictures, and is not shown an ever older past.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::packetizer::Packets;
use crate::media::MediaKind;

/// Longest wait. The largest group of pictures, 32 MiB, is out in 2 s.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The same where key frames alone are sent, as slowly as the way takes them.
const MAX_SPARSE_WAIT: Duration = Duration::from_secs(20);

/// Most bytes waiting, beyond a group of pictures that was put in at once: 2 s
/// at 32 Mbit/s.
const MAX_BYTES: usize = 8 << 20;

/// Frames in the order they go out.
pub(super) struct Backlog {
    frames: VecDeque<Waiting>,
    bytes: usize,
    max_bytes: usize,
}

/// A frame that is not yet out, or not all of it.
pub(super) struct Waiting {
    pub(super) packets: Arc<Packets>,
    /// Its RTP time.
    pub(super) ticks: i64,
    /// Packets that are out.
    pub(super) done: usize,
    since: Instant,
    bytes: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { frames: VecDeque::new(), bytes: 0, max_bytes: MAX_BYTES }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn push(&mut self, now: Instant, packets: Arc<Packets>, ticks: i64) {
        let bytes = packets.bytes();
        self.bytes += bytes;
        self.frames.push_back(Waiting { packets, ticks, done: 0, since: now, bytes });
    }

    /// Puts sound before all pictures, even one that is partly out.
    pub(super) fn push_sound(&mut self, now: Instant, packets: Arc<Packets>, ticks: i64) {
        let bytes = packets.bytes();
        self.bytes += bytes;
        let is_picture = |waiting: &Waiting| waiting.packets.kind == MediaKind::Video;
        let at = self.frames.iter().position(is_picture).unwrap_or(self.frames.len());
        self.frames.insert(at, Waiting { packets, ticks, done: 0, since: now, bytes });
    }

    /// Throws away sound of which nothing is out yet.
    pub(super) fn drop_sound(&mut self) {
        let stays =
            |waiting: &Waiting| waiting.packets.kind == MediaKind::Video || waiting.done > 0;
        self.frames.retain(stays);
        self.bytes = self.frames.iter().map(|waiting| waiting.bytes).sum();
    }

    /// Whether a picture waits, or the rest of one.
    pub(super) fn has_pictures(&self) -> bool {
        self.frames.iter().any(|waiting| waiting.packets.kind == MediaKind::Video)
    }

    /// Says that so many bytes come at once, and are not to count as delay.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.max_bytes = self.bytes.saturating_add(bytes).saturating_add(MAX_BYTES);
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Waiting> {
        self.frames.front_mut()
    }

    /// The first is out.
    pub(super) fn pop(&mut self) {
        if let Some(first) = self.frames.pop_front() {
            self.bytes -= first.bytes;
        }
        if self.frames.is_empty() {
            self.max_bytes = MAX_BYTES;
        }
    }

    /// Empties one that has grown too large or too old; returns the packets
    /// thrown away.
    pub(super) fn drop_overdue(&mut self, now: Instant, sparse: bool) -> u64 {
        let most = if sparse { MAX_SPARSE_WAIT } else { MAX_WAIT };
        let waited = |first: &Waiting| now.saturating_duration_since(first.since) > most;
        if self.bytes <= self.max_bytes && !self.frames.front().is_some_and(waited) {
            return 0;
        }
        let left = |frame: &Waiting| frame.packets.payloads.len().saturating_sub(frame.done) as u64;
        let dropped = self.frames.iter().map(left).sum();
        *self = Self::default();
        dropped
    }

    #[cfg(test)]
    pub(super) fn packets(&self) -> impl Iterator<Item = &Arc<Packets>> {
        self.frames.iter().map(|frame| &frame.packets)
    }
}
