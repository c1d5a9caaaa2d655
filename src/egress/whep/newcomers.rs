//! Sessions of whose viewers nothing has been heard since their offers.
//!
//! Whoever may watch can offer as fast as requests are taken, and never come: a
//! session waits a quarter of a minute for its viewer, and thousands of them
//! would scatter over the memory what stays. So no more of them wait than a
//! crowd of viewers needs, and the one that has waited longest goes first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::switchboard::SessionId;

/// So many may wait as long as they like: a wall's worth of every viewer after
/// a restart of ours, each at a few kilobytes.
const MOST: usize = 128;
/// However many wait, each may so long. The first check of a viewer comes a
/// journey there and back after its offer, which is a third of a second round
/// the world, and a moment of its browser's.
const GRACE: Duration = Duration::from_secs(1);

/// In the order in which they came.
#[derive(Default)]
pub(super) struct Newcomers(VecDeque<(SessionId, Instant)>);

impl Newcomers {
    pub(super) fn add(&mut self, now: Instant, id: SessionId) {
        self.0.push_back((id, now));
    }

    /// Its viewer was heard of, or it has ended.
    pub(super) fn remove(&mut self, id: SessionId) {
        if let Some(place) = self.0.iter().position(|(waiting, _)| *waiting == id) {
            self.0.remove(place);
        }
    }

    /// Takes one that has to go.
    pub(super) fn crowded_out(&mut self, now: Instant) -> Option<SessionId> {
        let (id, since) = *self.0.front().filter(|_| self.0.len() > MOST)?;
        (since + GRACE <= now).then(|| {
            self.0.pop_front();
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_longest_goes_first_and_nobody_within_the_grace() {
        let (mut newcomers, began) = (Newcomers::default(), Instant::now());
        let ids: Vec<_> = (0..MOST + 3).map(|_| SessionId::random()).collect();
        let mut at = began;
        for id in &ids {
            newcomers.add(at, *id);
            assert_eq!(newcomers.crowded_out(at), None, "each has just come");
            at += Duration::from_millis(1);
        }
        // The first of them was heard of.
        newcomers.remove(ids[0]);
        assert_eq!(newcomers.crowded_out(began + GRACE), None);
        let late = began + GRACE * 2;
        assert_eq!(newcomers.crowded_out(late), Some(ids[1]));
        assert_eq!(newcomers.crowded_out(late), Some(ids[2]));
        assert_eq!(newcomers.crowded_out(late + GRACE * 100), None, "there is room for the rest");
    }
}
