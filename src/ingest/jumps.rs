//! Whether a track's time jumps so often that mending it helps nobody: each
//! jump that lasts makes players begin anew. No clock: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Impossible times are counted over spans of this length.
const SPAN: Duration = Duration::from_secs(60);
/// Most of one span, ten a second. Cameras whose clock is wrong stay below: one
/// that runs at ten times its rate is put right every half a second, after
/// five frames; at twice its rate there are a hundred a minute. Random times
/// of 25 pictures a second are too many after half a minute.
const MAX_JUMPS: u32 = 600;

/// Impossible times of one track.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    span_began: Option<Instant>,
    count: u32,
}

impl Jumps {
    /// What is too much, for people.
    pub(super) const TOO_MANY: &str = "its time jumped more than 600 times within a minute";

    /// Counts one; whether it is one too many.
    pub(super) fn exceed(&mut self, now: Instant) -> bool {
        let began = *self.span_began.get_or_insert(now);
        if now.saturating_duration_since(began) >= SPAN {
            *self = Self { span_began: Some(now), count: 0 };
        }
        self.count += 1;
        self.count > MAX_JUMPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many it takes, so far apart.
    fn taken(apart: Duration) -> Option<u32> {
        let (began, mut jumps) = (Instant::now(), Jumps::default());
        (1..10_000).find(|nth| jumps.exceed(began + apart * *nth))
    }

    #[test]
    fn more_than_ten_a_second_are_too_many_and_fewer_are_not() {
        assert!(Jumps::TOO_MANY.contains(&MAX_JUMPS.to_string()));
        assert_eq!(taken(Duration::ZERO), Some(601));
        assert_eq!(taken(Duration::from_millis(40)), Some(601));
        assert_eq!(taken(Duration::from_millis(101)), None);
    }
}
