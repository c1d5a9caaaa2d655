//! A viewer that changes its mind about the path (RFC 8445 §8.1 lets it name
//! one; browsers name another when a better one turns up).

use std::time::{Duration, Instant};

/// Browsers name the path they are on again at least so often; one that is not
/// named any more, while another is, was left.
const LEFT_AFTER: Duration = Duration::from_secs(3);

/// Changes followed in one session: each begins the checks anew.
const MAX_CHANGES: u8 = 32;

/// Which path was named when.
#[derive(Debug, Default)]
pub(super) struct Nomination {
    /// When the path in use was last named.
    at: Option<Instant>,
    changes: u8,
}

impl Nomination {
    /// The viewer has named a path while none is in use. One that names all its
    /// paths at once (aioice) means none more than the one that comes first.
    pub(super) fn first(&mut self, now: Instant) {
        self.at.get_or_insert(now);
    }

    /// The viewer has named a path, the one in use or another; returns whether
    /// it is to be followed there.
    pub(super) fn named(&mut self, now: Instant, in_use: bool) -> bool {
        if in_use {
            self.at = Some(now);
            return false;
        }
        let held = self.at.is_some_and(|at| now.saturating_duration_since(at) < LEFT_AFTER);
        if held || self.changes >= MAX_CHANGES {
            return false;
        }
        self.at = Some(now);
        self.changes += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_named_no_more_is_left_and_one_that_is_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut nomination = Nomination::default();
        assert!(!nomination.named(at(0), true));
        // Somebody names all its paths, all the time.
        for second in 1..10 {
            assert!(!nomination.named(at(second), false) && !nomination.named(at(second), true));
        }
        assert!(!nomination.named(at(10), false));
        assert!(nomination.named(at(13), false), "only the other one is named");
        assert!(!nomination.named(at(14), false), "once is enough");
    }

    #[test]
    fn paths_that_are_all_named_at_once_are_not_left_for_each_other() {
        let (start, mut nomination) = (Instant::now(), Nomination::default());
        nomination.first(start);
        assert!(!nomination.named(start + Duration::from_millis(5), false));
        assert!(nomination.named(start + LEFT_AFTER, false));
    }

    #[test]
    fn nobody_is_followed_for_ever() {
        let (start, mut nomination) = (Instant::now(), Nomination::default());
        let times = (0..200).map(|minute| start + Duration::from_secs(60 * minute));
        assert_eq!(
            times.filter(|at| nomination.named(*at, false)).count(),
            usize::from(MAX_CHANGES)
        );
    }
}
