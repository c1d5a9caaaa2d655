//! When to try a camera again. No clock, no random: both are arguments.

use std::time::Duration;

use crate::fault::Code;

/// A camera that reboots is back within minutes: until then it is tried often
/// enough to show a picture within 3 s of being reachable.
const PATIENCE: u32 = 60;
const OFTEN: Duration = Duration::from_secs(2);
const RARELY: Duration = Duration::from_secs(30);
/// Repeated bad passwords lock the account for its owner too.
const AUTH: Duration = Duration::from_secs(300);

/// Failed attempts in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// It worked: the next failure is the first again.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    pub(super) fn attempts(self) -> u32 {
        self.attempts
    }

    /// Counts a failure and says how long to wait. `jitter` is 0 to 1, so
    /// that cameras behind one rebooted switch are not all asked at once.
    pub(super) fn failed(&mut self, code: Code, jitter: f64) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let full = match code {
            Code::SourceAuth => AUTH,
            _ if self.attempts > PATIENCE => {
                let doublings = (self.attempts - PATIENCE).min(4);
                (OFTEN * 2_u32.pow(doublings)).min(RARELY)
            }
            _ => OFTEN.min(Duration::from_millis(250) * 2_u32.pow(self.attempts.min(4) - 1)),
        };
        full.mul_f64(0.6 + 0.4 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_but_stay_short_while_a_camera_may_be_rebooting() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> =
            (0..120).map(|_| backoff.failed(Code::SourceRefused, 1.0).as_millis()).collect();
        assert_eq!(waits[..5], [250, 500, 1_000, 2_000, 2_000]);
        assert_eq!(waits[59], 2_000);
        assert_eq!(waits[60..64], [4_000, 8_000, 16_000, 30_000]);
        assert_eq!(waits[119], 30_000);
        backoff.reset();
        assert_eq!(backoff.failed(Code::SourceRefused, 1.0).as_millis(), 250);
    }

    #[test]
    fn a_refused_password_waits_minutes_at_once() {
        let wait = Backoff::default().failed(Code::SourceAuth, 0.0);
        assert_eq!(wait, Duration::from_secs(180));
    }

    #[test]
    fn jitter_spreads_the_wait() {
        let wait = |jitter| Backoff::default().failed(Code::SourceRefused, jitter).as_millis();
        assert_eq!((wait(0.0), wait(1.0)), (150, 250));
    }
}
