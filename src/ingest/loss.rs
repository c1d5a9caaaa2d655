//! Whether a session's packets are lost for long enough to give up on UDP, or
//! to say so. No clock: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Loss is judged over spans of this length…
const SPAN: Duration = Duration::from_secs(10);
/// …and is lasting once this many in a row were bad: a passing truck is not.
const BAD_SPANS: u32 = 3;
/// More of the packets lost than this is bad: at 2 % a picture of 50 packets
/// is damaged two times in three.
const BAD_PERCENT: u64 = 2;
/// Fewer packets than this say nothing.
const ENOUGH: u64 = 100;

/// What a span says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Little or nothing was lost in it.
    Well,
    /// In it, and in those before it, this many per cent were lost.
    Lasting(f64),
}

/// Packets counted, span by span.
#[derive(Debug)]
pub(super) struct LossWatch {
    span_began: Instant,
    received: u64,
    lost: u64,
    bad_spans: u32,
}

impl LossWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self { span_began: now, received: 0, lost: 0, bad_spans: 0 }
    }

    /// Counts a packet and what was lost before it. A verdict at the end of
    /// each span.
    pub(super) fn packet(&mut self, lost_before: u32, now: Instant) -> Option<Verdict> {
        self.received += 1;
        self.lost += u64::from(lost_before);
        if now.saturating_duration_since(self.span_began) < SPAN {
            return None;
        }
        let sent = self.received + self.lost;
        let bad = sent >= ENOUGH && self.lost * 100 > sent * BAD_PERCENT;
        let percent = self.lost as f64 * 100.0 / sent as f64;
        let bad_spans = if bad { self.bad_spans + 1 } else { 0 };
        *self = Self { bad_spans, ..Self::new(now) };
        match bad_spans {
            0 => Some(Verdict::Well),
            BAD_SPANS.. => Some(Verdict::Lasting(percent)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds of 100 packets each it is called lasting, if one
    /// packet in `nth` is lost while `lossy` says so.
    fn called(nth: u64, lossy: impl Fn(u64) -> bool) -> Option<u64> {
        let began = Instant::now();
        let mut watch = LossWatch::new(began);
        (0..30_000_u64).find_map(|n| {
            let second = n / 100;
            let lost = n % nth == 0 && lossy(second);
            let now = began + Duration::from_millis(n * 10);
            let verdict = watch.packet(u32::from(lost), now);
            matches!(verdict, Some(Verdict::Lasting(_))).then_some(second)
        })
    }

    #[test]
    fn lasting_loss_above_two_percent_is_called_and_less_or_shorter_is_not() {
        assert_eq!(called(20, |_| true), Some(30));
        assert_eq!(called(100, |_| true), None);
        assert_eq!(called(10, |second| second % 40 < 20), None);
    }

    #[test]
    fn few_packets_say_nothing() {
        let began = Instant::now();
        let mut watch = LossWatch::new(began);
        for second in 0..300 {
            let verdict = watch.packet(1, began + Duration::from_secs(second));
            assert!(matches!(verdict, None | Some(Verdict::Well)), "{verdict:?}");
        }
    }

    #[test]
    fn it_is_well_again_after_one_span_without() {
        let began = Instant::now();
        let mut watch = LossWatch::new(began);
        let verdicts = (0..6_000_u64).filter_map(|n| {
            let lost = n < 4_000 && n % 20 == 0;
            watch.packet(u32::from(lost), began + Duration::from_millis(n * 10))
        });
        let lasting: Vec<bool> = verdicts.map(|verdict| verdict != Verdict::Well).collect();
        assert_eq!(lasting, [true, true, false]);
    }
}
