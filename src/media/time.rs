//! Moments on a stream's own line, and on the wall.

use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ticks per second of a track's clock: 90 000 for video, the sampling rate
/// for audio (RFC 3551 §4, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClockRate(NonZeroU32);

impl ClockRate {
    /// The clock of every RTP video payload (RFC 3551 §5).
    pub const VIDEO: Self = Self(NonZeroU32::new(90_000).expect("90,000 is not zero"));

    /// Nanoseconds, to put plain spans on a line.
    pub const NANOSECONDS: Self =
        Self(NonZeroU32::new(1_000_000_000).expect("a billion is not zero"));

    /// `hz` ticks per second; `None` for zero.
    pub fn new(hz: u32) -> Option<Self> {
        NonZeroU32::new(hz).map(Self)
    }

    /// Ticks per second.
    pub fn hz(self) -> u32 {
        self.0.get()
    }
}

/// A moment (or a span) on a stream's line, in ticks of its own clock.
///
/// Zero is the stream's first frame, and is common to all of its tracks, so
/// moments of two tracks compare by [`MediaTime::nanos`]. It never goes back
/// and survives reconnects: `timeline` sees to both.
#[derive(Clone, Copy, Debug)]
pub struct MediaTime {
    ticks: i64,
    rate: ClockRate,
}

impl MediaTime {
    /// `ticks` of a clock of `rate`.
    pub fn new(ticks: i64, rate: ClockRate) -> Self {
        Self { ticks, rate }
    }

    /// Ticks of [`MediaTime::rate`].
    pub fn ticks(self) -> i64 {
        self.ticks
    }

    /// The clock that the ticks count.
    pub fn rate(self) -> ClockRate {
        self.rate
    }

    /// The same moment in ticks of another clock, rounded to the nearest.
    pub fn rescaled(self, rate: ClockRate) -> i64 {
        scale(self.ticks, self.rate.hz(), rate.hz())
    }

    /// Nanoseconds since the line's origin.
    pub fn nanos(self) -> i64 {
        scale(self.ticks, self.rate.hz(), 1_000_000_000)
    }

    /// Seconds since the line's origin, for display and metrics.
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.rate.hz())
    }
}

/// `ticks` of a clock of `from` hertz as ticks of one of `to` hertz, rounded
/// to the nearest; saturating, since a hostile camera picks both.
fn scale(ticks: i64, from: u32, to: u32) -> i64 {
    if from == to {
        return ticks;
    }
    let (from, scaled) = (i128::from(from), i128::from(ticks) * i128::from(to));
    let rounded = (scaled + from / 2).div_euclid(from);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    /// Exact, also between clocks of different rates.
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = i128::from(self.ticks) * i128::from(other.rate.hz());
        let theirs = i128::from(other.ticks) * i128::from(self.rate.hz());
        ours.cmp(&theirs)
    }
}

/// Seconds between the NTP era (1900) and the Unix epoch.
const NTP_TO_UNIX: i64 = 2_208_988_800;

/// Wall-clock capture time: nanoseconds since 1970-01-01 UTC.
///
/// From the camera's sender reports where those are sane, otherwise from the
/// moment of arrival; for `PROGRAM-DATE-TIME`, RTCP and latency figures only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(i64);

impl WallTime {
    /// Nanoseconds since 1970-01-01 UTC.
    pub fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01 UTC.
    pub fn unix_nanos(self) -> i64 {
        self.0
    }

    /// This moment, `nanos` later (or earlier, when negative).
    pub fn offset_by(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// From a 64-bit NTP timestamp (RFC 3550 §4) of the era until 2036, or of
    /// the next one where its highest bit is clear (RFC 4330 §3).
    pub fn from_ntp(ntp: u64) -> Self {
        let seconds = (ntp >> 32) as i64;
        let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
        let nanos = (((ntp & 0xffff_ffff) * 1_000_000_000) >> 32) as i64;
        Self((seconds + era - NTP_TO_UNIX) * 1_000_000_000 + nanos)
    }

    /// 64-bit NTP timestamp, as RTCP sender reports carry it (RFC 3550 §4).
    pub fn ntp(self) -> u64 {
        let seconds = self.0.div_euclid(1_000_000_000) + NTP_TO_UNIX;
        let nanos = self.0.rem_euclid(1_000_000_000) as u64;
        // The seconds field wraps in 2036, as the RFC intends.
        (u64::from(seconds as u32) << 32) | ((nanos << 32) / 1_000_000_000)
    }
}

impl From<SystemTime> for WallTime {
    fn from(at: SystemTime) -> Self {
        let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match at.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(nanos(since)),
            Err(before) => Self(-nanos(before.duration())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> ClockRate {
        ClockRate::new(hz).unwrap()
    }

    #[test]
    fn moments_of_two_clocks_compare_exactly() {
        let video = MediaTime::new(90_000, ClockRate::VIDEO);
        assert_eq!(video, MediaTime::new(8_000, rate(8_000)));
        assert!(video < MediaTime::new(8_001, rate(8_000)));
        assert!(MediaTime::new(-1, rate(3)) < MediaTime::new(0, rate(7)));
    }

    #[test]
    fn rescaling_rounds_to_the_nearest_tick_and_saturates() {
        assert_eq!(MediaTime::new(1, rate(3)).rescaled(rate(90_000)), 30_000);
        assert_eq!(MediaTime::new(2, rate(3)).rescaled(rate(10)), 7);
        assert_eq!(MediaTime::new(-2, rate(3)).rescaled(rate(10)), -7);
        assert_eq!(MediaTime::new(i64::MAX, rate(1)).nanos(), i64::MAX);
    }

    #[test]
    fn ntp_of_the_unix_epoch_is_2208988800_seconds() {
        assert_eq!(WallTime::from_unix_nanos(0).ntp() >> 32, 2_208_988_800);
        let half = WallTime::from_unix_nanos(500_000_000).ntp();
        assert_eq!(half & 0xffff_ffff, 0x8000_0000);
    }

    #[test]
    fn ntp_times_come_back_also_after_2036() {
        for seconds in [1_795_000_000, 2_300_000_000] {
            let at = WallTime::from_unix_nanos(seconds * 1_000_000_000 + 250_000_000);
            assert_eq!(WallTime::from_ntp(at.ntp()), at);
        }
    }
}
