//! What a viewer was sent and how that went, for the table of sessions.

use std::time::{Duration, Instant};

use crate::http::SessionNews;

/// How often the table is told.
const EVERY: Duration = Duration::from_secs(1);

/// Totals of one viewer, and its newest report.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bytes: u64,
    packets: u64,
    /// RTP bytes since [`Ledger::take_sent`].
    untaken: u64,
    loss: Option<f64>,
    round_trip: Option<Duration>,
    told: Option<Instant>,
}

impl Ledger {
    /// Packets went out, of so many RTP bytes in all.
    pub(super) fn sent(&mut self, packets: usize, bytes: usize) {
        self.bytes += bytes as u64;
        self.packets += packets as u64;
        self.untaken += bytes as u64;
    }

    /// RTP bytes sent since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.untaken)
    }

    /// What a receiver report of the viewer said.
    pub(super) fn reception(&mut self, loss: f64, round_trip: Option<Duration>) {
        self.loss = Some(loss);
        self.round_trip = round_trip.or(self.round_trip);
    }

    /// Whether it is time to tell the table; says so once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= EVERY);
        if due {
            self.told = Some(now);
        }
        due
    }

    /// Something has changed that the table is to know at once.
    pub(super) fn hurry(&mut self) {
        self.told = None;
    }

    /// Writes it into the table's line.
    pub(super) fn write(&self, news: &mut SessionNews) {
        (news.bytes, news.packets) = (self.bytes, self.packets);
        (news.loss, news.round_trip) = (self.loss, self.round_trip);
    }
}
