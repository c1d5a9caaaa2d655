//! How fast a viewer is sent what waits for it.

use std::time::{Duration, Instant};

use crate::rtp::Payload;

/// Bytes sent at once, and how fast more may follow. Browsers give the socket
/// 64 KB; a group of pictures sent in one go would mostly be lost there.
const BURST: usize = 40 << 10;
const BYTES_PER_MILLISECOND: usize = 16 << 10;

/// Bytes sent at once where the way carries no more than it is sent, and which
/// share of what it carries: the rest is for sound's neighbours and repairs.
const LIMITED_BURST: usize = 2_600;
const SHARE: f64 = 0.85;

/// Between two parts of what does not go out at once.
pub(super) const PACE: Duration = Duration::from_millis(2);

/// What may be sent now.
pub(super) struct Allowance {
    bytes: usize,
    at: Instant,
}

impl Allowance {
    pub(super) fn full(now: Instant) -> Self {
        Self { bytes: BURST, at: now }
    }

    /// Time has passed; `limit` is what the way carries, in bits a second.
    pub(super) fn grow(&mut self, now: Instant, limit: Option<u64>) {
        let waited = now.saturating_duration_since(self.at);
        if let Some(limit) = limit {
            let gained = waited.as_secs_f64() * limit as f64 * SHARE / 8.0;
            self.bytes = self.bytes.min(LIMITED_BURST);
            // Parts of a byte are not lost.
            if gained >= 100.0 {
                self.bytes = (self.bytes + gained as usize).min(LIMITED_BURST);
                self.at = now;
            }
            return;
        }
        let waited = waited.as_millis();
        if waited > 0 {
            let gained = usize::try_from(waited).unwrap_or(usize::MAX);
            let gained = gained.saturating_mul(BYTES_PER_MILLISECOND);
            self.bytes = self.bytes.saturating_add(gained).min(BURST);
            self.at = now;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many were sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// How many payloads fit into so many bytes; one always fits a full allowance.
pub(super) fn count_within(payloads: &[Payload], allowance: usize) -> usize {
    let mut left = allowance;
    let fits = |payload: &&Payload| match left.checked_sub(payload.size()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    payloads.iter().take_while(fits).count()
}
