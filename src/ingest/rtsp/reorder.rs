//! Packets that wait for those they overtook.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::receiver::Packet;

/// Longest wait. Wi-Fi repeats a frame for up to some 50 ms before it gives
/// up, and reordering by less costs nothing this way. Whoever waits waits for
/// a picture that cannot be shown without the missing packet anyway, so a
/// shorter wait would show no picture sooner; packets in order never wait.
pub(super) const WAIT: Duration = Duration::from_millis(80);
/// Most packets that wait: 80 ms at 75 Mbit/s.
pub(super) const MAX_PACKETS: usize = 512;
/// Most bytes that wait.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Waiting packets by unwrapped sequence number.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    packets: BTreeMap<u64, (Instant, Packet)>,
    bytes: usize,
    /// When the one that has waited longest came.
    oldest: Option<Instant>,
}

impl Waiting {
    /// Takes a packet that came at `now`, in an allocation of its own: a slice
    /// would hold on to the buffer of a whole read.
    pub(super) fn insert(&mut self, number: u64, mut packet: Packet, now: Instant) {
        packet.payload = Bytes::copy_from_slice(&packet.payload);
        self.bytes += packet.payload().len();
        self.packets.insert(number, (now, packet));
        self.oldest.get_or_insert(now);
    }

    /// The first packet, if it is that one.
    pub(super) fn take(&mut self, number: u64) -> Option<Packet> {
        let first = self.packets.first_entry().filter(|first| *first.key() == number)?;
        let (came, packet) = first.remove();
        self.bytes -= packet.payload().len();
        if self.oldest == Some(came) {
            self.oldest = self.packets.values().map(|(came, _)| *came).min();
        }
        Some(packet)
    }

    /// The number of the first packet.
    pub(super) fn first(&self) -> Option<u64> {
        self.packets.keys().next().copied()
    }

    /// Whether the first packet must not wait any longer: because one has
    /// waited long enough, or because too much waits.
    pub(super) fn is_due(&self, wait: Duration, now: Instant) -> bool {
        self.deadline(wait).is_some_and(|deadline| deadline <= now)
            || self.packets.len() > MAX_PACKETS
            || self.bytes > MAX_BYTES
    }

    /// When somebody has waited long enough.
    pub(super) fn deadline(&self, wait: Duration) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + wait)
    }

    /// Which are missing, from that number on.
    pub(super) fn missing(&self, from: u64) -> impl Iterator<Item = u64> {
        let last = self.packets.keys().next_back().copied().unwrap_or(from);
        (from..last).filter(|number| !self.packets.contains_key(number))
    }

    /// Packets and bytes that wait.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.packets.len(), self.bytes)
    }
}
