//! How well one source is received: jitter and loss, for the camera (RFC 3550
//! §6.4.1) and for the metrics.

use std::time::{Duration, Instant};

use crate::media::ClockRate;

/// Packets of one track that were not handed out, and why; those lost are
/// counted by [`super::receiver::Packet::lost_before`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Came after a later one: put in order again where there was time.
    pub reordered: u64,
    /// Of these, came after the wait for them was over, and were dropped.
    pub late: u64,
    /// Came again, and were dropped.
    pub duplicates: u64,
    /// Of another payload type or source, or too far off to be believed.
    pub foreign: u64,
    /// No RTP.
    pub malformed: u64,
}

/// Seconds that a packet may be off to count as jitter.
const MAX_OFF: f64 = 10.0;

/// Counters of RFC 3550 §A.3 and §A.8, for one source.
#[derive(Clone, Debug)]
pub(super) struct Reception {
    rate: ClockRate,
    /// Number of its first packet, unwrapped.
    base: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Arrival and RTP time of the newest packet.
    newest: (Instant, u32),
    /// In ticks.
    jitter: f64,
    /// Middle 32 bits of the newest sender report's NTP time, and its arrival.
    report: Option<(u32, Instant)>,
}

/// A report block (RFC 3550 §6.4.1), without its SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// In 1/256, since the block before.
    pub(super) fraction_lost: u8,
    /// Since the beginning; 24 bits, signed, since duplicates count as received.
    pub(super) lost: i32,
    pub(super) highest: u32,
    pub(super) jitter: u32,
    pub(super) last_report: u32,
    /// In 1/65536 s.
    pub(super) since_last_report: u32,
}

impl Reception {
    /// From the first packet on, its number `base` and its RTP time `rtp`.
    pub(super) fn new(rate: ClockRate, base: u64, rtp: u32, now: Instant) -> Self {
        Self {
            rate,
            base,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            newest: (now, rtp),
            jitter: 0.0,
            report: None,
        }
    }

    /// A packet of that number came, perhaps before the one that came first.
    pub(super) fn began(&mut self, number: u64) {
        self.base = self.base.min(number);
    }

    /// A packet came, whether it is of use or not.
    pub(super) fn packet(&mut self, rtp: u32, now: Instant) {
        self.received += 1;
        let (before, rtp_before) = std::mem::replace(&mut self.newest, (now, rtp));
        let apart = now.saturating_duration_since(before).as_secs_f64();
        let apart = apart * f64::from(self.rate.hz());
        let sent_apart = f64::from(rtp.wrapping_sub(rtp_before) as i32);
        let off = (apart - sent_apart).abs();
        // More is no jitter, but a clock that was set.
        if off < f64::from(self.rate.hz()) * MAX_OFF {
            self.jitter += (off - self.jitter) / 16.0;
        }
    }

    /// A sender report came, of that NTP time.
    pub(super) fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.report = Some(((ntp >> 16) as u32, now));
    }

    pub(super) fn jitter(&self) -> Duration {
        let seconds = self.jitter / f64::from(self.rate.hz());
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// When the newest packet came.
    pub(super) fn last_packet(&self) -> Instant {
        self.newest.0
    }

    /// What to tell the camera; `newest` is the highest number received.
    pub(super) fn block(&mut self, newest: u64, now: Instant) -> Block {
        let expected = newest.saturating_sub(self.base) + 1;
        let since = (expected - self.expected_prior, self.received - self.received_prior);
        (self.expected_prior, self.received_prior) = (expected, self.received);
        let lost_since = since.0.saturating_sub(since.1);
        let fraction_lost = (lost_since * 256).checked_div(since.0).unwrap_or(0).min(255) as u8;
        let lost = expected as i64 - self.received as i64;
        let (last_report, since_last_report) = self.report.map_or((0, 0), |(ntp, came)| {
            let since = now.saturating_duration_since(came);
            (ntp, (since.as_secs_f64() * 65_536.0) as u32)
        });
        Block {
            fraction_lost,
            lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: newest as u32,
            jitter: self.jitter as u32,
            last_report,
            since_last_report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reception(now: Instant) -> Reception {
        let mut reception = Reception::new(ClockRate::VIDEO, 10, 0, now);
        reception.packet(0, now);
        reception
    }

    #[test]
    fn jitter_is_that_of_rfc_3550_a8() {
        let start = Instant::now();
        let mut reception = reception(start);
        // 40 ms apart when sent, 41 ms when received: 90 ticks off.
        reception.packet(3_600, start + Duration::from_millis(41));
        assert_eq!(reception.block(11, start).jitter, 90 / 16);
        for n in 2..200u32 {
            reception.packet(3_600 * n, start + Duration::from_millis(41) * n);
        }
        assert_eq!(reception.block(11, start).jitter, 89);
        let millis = reception.jitter().as_secs_f64() * 1e3;
        assert!((0.99..=1.0).contains(&millis), "{millis}");
    }

    #[test]
    fn a_report_tells_what_was_lost_since_the_last_one_and_in_all() {
        let start = Instant::now();
        let mut reception = reception(start);
        for _ in 0..74 {
            reception.packet(0, start);
        }
        // 100 expected, 75 received.
        let block = reception.block(109, start);
        assert_eq!((block.fraction_lost, block.lost, block.highest), (64, 25, 109));
        for _ in 0..110 {
            reception.packet(0, start);
        }
        // Duplicates count as received: no fraction may be negative.
        let block = reception.block(209, start);
        assert_eq!((block.fraction_lost, block.lost), (0, 15));
        assert_eq!(reception.block(209, start).fraction_lost, 0);
    }

    #[test]
    fn a_report_echoes_the_cameras_last_one() {
        let start = Instant::now();
        let mut reception = reception(start);
        assert_eq!(reception.block(10, start).last_report, 0);
        reception.sender_report(0x1122_3344_5566_7788, start);
        let block = reception.block(10, start + SECOND * 3 / 2);
        assert_eq!((block.last_report, block.since_last_report), (0x3344_5566, 98_304));
    }
}
