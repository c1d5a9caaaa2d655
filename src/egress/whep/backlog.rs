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
    /// Most viewers are sent each frame before the next one comes: it lies with
    /// what else a picture needs, and not in memory of its own.
    first: Option<Waiting>,
    /// Those behind it; empty where there is none.
    rest: VecDeque<Waiting>,
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
        Self { first: None, rest: VecDeque::new(), bytes: 0, max_bytes: MAX_BYTES }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn frames(&self) -> impl Iterator<Item = &Waiting> {
        self.first.iter().chain(&self.rest)
    }

    pub(super) fn push(&mut self, now: Instant, packets: Arc<Packets>, ticks: i64) {
        let bytes = packets.bytes();
        self.bytes += bytes;
        let waiting = Waiting { packets, ticks, done: 0, since: now, bytes };
        match self.first {
            None => self.first = Some(waiting),
            Some(_) => self.rest.push_back(waiting),
        }
    }

    /// Puts sound before all pictures, even one that is partly out.
    pub(super) fn push_sound(&mut self, now: Instant, packets: Arc<Packets>, ticks: i64) {
        let bytes = packets.bytes();
        self.bytes += bytes;
        let is_picture = |waiting: &Waiting| waiting.packets.kind == MediaKind::Video;
        let sound = Waiting { packets, ticks, done: 0, since: now, bytes };
        let Some(first) = &mut self.first else {
            self.first = Some(sound);
            return;
        };
        if is_picture(first) {
            self.rest.push_front(std::mem::replace(first, sound));
            return;
        }
        let at = self.rest.iter().position(is_picture).unwrap_or(self.rest.len());
        self.rest.insert(at, sound);
    }

    /// Throws away sound of which nothing is out yet.
    pub(super) fn drop_sound(&mut self) {
        let stays =
            |waiting: &Waiting| waiting.packets.kind == MediaKind::Video || waiting.done > 0;
        self.rest.retain(stays);
        if !self.first.as_ref().is_some_and(stays) {
            self.first = self.rest.pop_front();
        }
        self.bytes = self.frames().map(|waiting| waiting.bytes).sum();
    }

    /// Whether a picture waits, or the rest of one.
    pub(super) fn has_pictures(&self) -> bool {
        self.frames().any(|waiting| waiting.packets.kind == MediaKind::Video)
    }

    /// Says that so many bytes come at once, and are not to count as delay.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.max_bytes = self.bytes.saturating_add(bytes).saturating_add(MAX_BYTES);
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Waiting> {
        self.first.as_mut()
    }

    /// The first is out.
    pub(super) fn pop(&mut self) {
        let next = self.rest.pop_front();
        if let Some(first) = std::mem::replace(&mut self.first, next) {
            self.bytes -= first.bytes;
        }
        if self.first.is_none() {
            self.max_bytes = MAX_BYTES;
        }
    }

    /// Empties one that has grown too large or too old; returns the packets
    /// thrown away.
    pub(super) fn drop_overdue(&mut self, now: Instant, sparse: bool) -> u64 {
        let most = if sparse { MAX_SPARSE_WAIT } else { MAX_WAIT };
        let waited = |first: &Waiting| now.saturating_duration_since(first.since) > most;
        if self.bytes <= self.max_bytes && !self.first.as_ref().is_some_and(waited) {
            return 0;
        }
        let left = |frame: &Waiting| frame.packets.payloads.len().saturating_sub(frame.done) as u64;
        let dropped = self.frames().map(left).sum();
        *self = Self::default();
        dropped
    }

    #[cfg(test)]
    pub(super) fn packets(&self) -> impl Iterator<Item = &Arc<Packets>> {
        self.frames().map(|frame| &frame.packets)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packetizer::{picture, sound};
    use super::*;

    /// Sizes of what waits, in order; all waiting bytes are known.
    fn sizes(backlog: &Backlog) -> Vec<usize> {
        let sizes: Vec<usize> = backlog.packets().map(|packets| packets.bytes()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), backlog.bytes);
        assert_eq!(sizes.is_empty(), backlog.is_empty());
        sizes
    }

    #[test]
    fn frames_go_out_as_they_came_and_sound_before_pictures() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push_sound(now, sound(11), 0);
        assert_eq!(sizes(&backlog), [11]);
        backlog.pop();
        for number in [101, 102, 103] {
            backlog.push(now, picture(number, false, number as usize), 0);
        }
        backlog.push_sound(now, sound(12), 0);
        assert_eq!(sizes(&backlog), [12, 101, 102, 103]);
        backlog.push_sound(now, sound(13), 0);
        assert_eq!(sizes(&backlog), [12, 13, 101, 102, 103]);
        backlog.pop();
        assert_eq!(sizes(&backlog), [13, 101, 102, 103]);
        assert_eq!(backlog.front_mut().map(|first| first.bytes), Some(13));
        assert!(backlog.has_pictures());
        assert_eq!(backlog.drop_overdue(now, false), 0);
        assert_eq!(backlog.drop_overdue(now + 2 * MAX_WAIT, false), 4);
        assert!(sizes(&backlog).is_empty());
    }

    #[test]
    fn sound_is_dropped_unless_some_of_it_is_out() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push(now, picture(101, false, 101), 0);
        backlog.push_sound(now, sound(11), 0);
        backlog.push_sound(now, sound(12), 0);
        backlog.front_mut().unwrap().done = 1;
        backlog.drop_sound();
        assert_eq!(sizes(&backlog), [11, 101]);
        backlog.front_mut().unwrap().done = 0;
        backlog.drop_sound();
        assert_eq!(sizes(&backlog), [101]);
        backlog.pop();
        backlog.push(now, sound(13), 0);
        assert!(!backlog.has_pictures());
        backlog.drop_sound();
        assert!(sizes(&backlog).is_empty());
    }
}
