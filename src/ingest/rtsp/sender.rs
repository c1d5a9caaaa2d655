//! Who sends a track's packets, and those of them that wait for others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::receiver::Packet;
use super::reception::Reception;
use super::reorder::{WAIT, Waiting};
use super::sequence::Sequence;

/// Who sends now.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) ssrc: u32,
    /// It said BYE.
    pub(super) gone: bool,
    pub(super) sequence: Sequence,
    /// The number that is handed out next. None while those of a source that
    /// has just begun are waited for: on UDP the first to come may have
    /// overtaken the first that was sent, and the key frame is damaged that a
    /// session begins with.
    pub(super) next: Option<u64>,
    /// Lost before that one.
    pub(super) lost: u32,
    pub(super) waiting: Waiting,
    /// How long others wait for one that is missing.
    pub(super) patience: Duration,
    pub(super) reception: Reception,
}

impl Source {
    /// At its beginning nobody knows what is missing, and nothing is asked for.
    pub(super) fn wait(&self) -> Duration {
        if self.next.is_none() { WAIT } else { self.patience }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.deadline(self.wait())
    }

    pub(super) fn is_missing_some(&self) -> bool {
        self.next.is_some() && self.waiting.held().0 > 0
    }

    /// What lies before `number` is lost.
    pub(super) fn skip_to(&mut self, number: u64) {
        let gap = self.next.map_or(0, |next| number - next);
        self.lost = self.lost.saturating_add(u32::try_from(gap).unwrap_or(u32::MAX));
        self.next = Some(number);
    }

    /// Hands out those that wait and are next.
    pub(super) fn release(&mut self, ready: &mut VecDeque<Packet>) {
        while let Some(packet) = self.next.and_then(|next| self.waiting.take(next)) {
            self.hand_out(packet, ready);
        }
    }

    /// Hands out the one that is next.
    pub(super) fn hand_out(&mut self, mut packet: Packet, ready: &mut VecDeque<Packet>) {
        self.next = self.next.map(|next| next + 1);
        // Padding alone, to keep a path open or to probe it.
        if packet.payload.is_empty() {
            return;
        }
        packet.lost_before = std::mem::take(&mut self.lost);
        ready.push_back(packet);
    }
}
