//! When to try a camera again. No clock, no random: both are arguments.

use std::time::Duration;

use crate::fault::Code;

/// With the fifth of a second that a camera takes from connecting to PLAY, a
/// picture can be shown within 3 s of its being reachable.
const OFTEN: Duration = Duration::from_millis(1_500);
/// Attempts until that pace is reached, each after twice the wait.
const STEPS: u32 = 4;
/// A camera that answers, but does not play, may be booting, and is well within
/// minutes. What is wrong after so many attempts is for people to mend.
const PATIENCE: u32 = 120;
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

    /// It worked for a moment: it is there, and patience begins anew, but not
    /// the quick attempts of the beginning.
    pub(super) fn showed(&mut self) {
        self.attempts = self.attempts.min(STEPS);
    }

    pub(super) fn attempts(self) -> u32 {
        self.attempts
    }

    /// Counts a failure and says how long to wait. `jitter` is 0 to 1, so
    /// that cameras behind one rebooted switch are not all asked at once.
    pub(super) fn failed(&mut self, code: Code, jitter: f64) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let soon = OFTEN.min(Duration::from_millis(250) * 2_u32.pow(self.attempts.min(STEPS) - 1));
        let full = match code {
            Code::SourceAuth => AUTH,
            // Nobody is there who could mind, and it may be switched on any moment.
            Code::SourceRefused | Code::SourceTimeout => soon,
            _ if self.attempts > PATIENCE => {
                let doublings = (self.attempts - PATIENCE).min(5);
                (OFTEN * 2_u32.pow(doublings)).min(RARELY)
            }
            _ => soon,
        };
        full.mul_f64(0.6 + 0.4 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of the next waits, at the longest.
    fn waits(backoff: &mut Backoff, code: Code, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.failed(code, 1.0).as_millis()).collect()
    }

    #[test]
    fn waits_grow_but_stay_short_while_a_camera_may_be_rebooting() {
        let mut backoff = Backoff::default();
        let all = waits(&mut backoff, Code::SourceBusy, 200);
        assert_eq!(all[..5], [250, 500, 1_000, 1_500, 1_500]);
        assert_eq!(all[119], 1_500);
        assert_eq!(all[120..125], [3_000, 6_000, 12_000, 24_000, 30_000]);
        assert_eq!(all[199], 30_000);
        backoff.reset();
        assert_eq!(waits(&mut backoff, Code::SourceBusy, 1), [250]);
    }

    #[test]
    fn one_that_is_not_there_is_tried_often_for_ever() {
        for code in [Code::SourceRefused, Code::SourceTimeout] {
            let longest = waits(&mut Backoff::default(), code, 10_000).into_iter().max();
            assert_eq!(longest, Some(1_500));
        }
    }

    #[test]
    fn one_that_comes_and_goes_all_day_is_tried_often_all_day() {
        let mut backoff = Backoff::default();
        for _ in 0..1_000 {
            let away = waits(&mut backoff, Code::SourceProtocol, 3);
            assert!(away.iter().all(|wait| *wait <= 1_500), "{away:?}");
            backoff.showed();
        }
        // But not in a tight circle.
        assert_eq!(waits(&mut backoff, Code::SourceProtocol, 1), [1_500]);
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
