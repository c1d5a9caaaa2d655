//! Packets as the way to a viewer sees them: numbered whatever their stream,
//! where the viewer reports by that number, and judged by its reports.

use std::time::Instant;

use super::estimator::{Estimator, Look};
use super::transport_feedback::Fate;

/// Bytes of the header extension with the number (RFC 8285 §4.2): the profile,
/// a length, one element and its padding.
pub(super) const EXTENSION_BYTES: usize = 8;

/// The extension as it stands behind a header.
pub(super) type Extension = [u8; EXTENSION_BYTES];

/// The way of one viewer's pictures.
pub(super) struct Transport {
    /// The extension's number in the viewer's offer.
    id: Option<u8>,
    next: u16,
    estimator: Estimator,
}

impl Transport {
    /// With the extension's number, where the viewer reports on every packet.
    pub(super) fn new(now: Instant, id: Option<u8>) -> Self {
        Self { id, next: 0, estimator: Estimator::new(now, id.is_some()) }
    }

    /// The number of the packet after the ones that were sent.
    pub(super) fn next(&self) -> u16 {
        self.next
    }

    /// A packet of so many bytes goes out; returns what its header needs.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) -> Option<Extension> {
        self.estimator.sent(now, self.next, bytes);
        let extension = self.extension(self.next);
        self.next = self.next.wrapping_add(1);
        extension
    }

    /// What stood in the header of the packet of that number.
    pub(super) fn extension(&self, number: u16) -> Option<Extension> {
        let [high, low] = number.to_be_bytes();
        self.id.map(|id| [0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0])
    }

    /// The viewer reports on packets.
    pub(super) fn feedback(&mut self, now: Instant, fates: &[Fate]) -> Option<Look> {
        self.estimator.feedback(now, fates)
    }

    /// The viewer says what its way carries, in bits a second.
    pub(super) fn estimate(&mut self, now: Instant, carried: u64) -> Option<Look> {
        self.estimator.remb(now, carried)
    }

    /// The viewer says which share of all packets it missed.
    pub(super) fn reception(&mut self, now: Instant, loss: f64) -> Option<Look> {
        self.estimator.reception(now, loss)
    }
}
