//! Which of a stream's qualities a viewer's way can carry: down at once when
//! it is strained, up again after it has been clear for a while, and the later
//! the more often that was too early. No I/O, no clock.

use std::time::{Duration, Instant};

use super::estimator::{Look, State};
use crate::media::Quality;

/// A strained way is stepped down from after so long: shorter, and every key
/// frame would count.
const STRAINED_FOR: Duration = Duration::from_millis(1_400);

/// One that carries less than half of what it is sent is stepped down from
/// sooner, at the second look: players give a picture up that stands for 2 s.
const CHOKED_FOR: Duration = Duration::from_millis(200);

/// What was queued on the way before a step down is gone after so long, and
/// strain till then says nothing of the step reached; nor does it while what
/// a viewer begins with, which may be 30 s of pictures, is on its way; unless
/// that way carries less than the stream goes on with.
const SETTLE: Duration = Duration::from_secs(3);
const BEGIN: Duration = Duration::from_secs(4);

/// How long a way has to be clear for a step up, and how long at most, if it
/// has proven too narrow again and again.
const FIRST_HOLD: Duration = Duration::from_secs(8);
const LAST_HOLD: Duration = Duration::from_secs(256);

/// A step up was too early if it lasts less, and is forgotten if it lasts so
/// long.
const PROVEN: Duration = Duration::from_secs(60);

/// Share of looks a clear way may be less than clear in: one in so many.
const GRACE: u32 = 8;

/// What a viewer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rung {
    /// Key frames alone, of the smallest picture there is.
    KeyFrames,
    /// The substream.
    Sub,
    /// What the camera does best.
    Main,
}

impl Rung {
    /// The word for it, in logs and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::KeyFrames => "key_frames",
            Self::Sub => Quality::Sub.as_str(),
            Self::Main => Quality::Main.as_str(),
        }
    }
}

/// One viewer's steps.
#[derive(Debug)]
pub(super) struct Ladder {
    rung: Rung,
    stepped: Instant,
    begun: Instant,
    /// The last step was one up.
    climbed: bool,
    strained_since: Option<Instant>,
    clear_since: Option<Instant>,
    unclear: u32,
    hold: Duration,
}

impl Ladder {
    /// At the top.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rung: Rung::Main,
            stepped: now,
            begun: now,
            climbed: false,
            strained_since: None,
            clear_since: None,
            unclear: 0,
            hold: FIRST_HOLD,
        }
    }

    pub(super) fn rung(&self) -> Rung {
        self.rung
    }

    /// Whether the way is narrower than it should be for what is sent.
    pub(super) fn is_narrow(&self) -> bool {
        self.rung != Rung::Main || self.strained_since.is_some()
    }

    /// The viewer is sent its first pictures.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
    }

    /// Whether a step down may be near.
    pub(super) fn is_strained(&self) -> bool {
        self.strained_since.is_some()
    }

    /// Heeds a look; `sub` says whether there is a substream for this viewer,
    /// `needs` how many bits a second the main stream takes, if that is known.
    /// Returns the new rung if this was the look that changed it.
    pub(super) fn look(
        &mut self,
        now: Instant,
        look: &Look,
        sub: bool,
        needs: Option<u64>,
    ) -> Option<Rung> {
        let stood = now.saturating_duration_since(self.stepped);
        if self.climbed && stood >= PROVEN {
            (self.climbed, self.hold) = (false, FIRST_HOLD);
        }
        match look.state {
            State::Strained | State::Choked => self.strained(now, look, sub, needs),
            State::Fair | State::Clear => {
                self.strained_since = None;
                self.calm(now, look.state == State::Clear, sub)
            }
        }
    }

    fn strained(
        &mut self,
        now: Instant,
        look: &Look,
        sub: bool,
        needs: Option<u64>,
    ) -> Option<Rung> {
        self.clear_since = None;
        let stood = now.saturating_duration_since(self.stepped);
        let settling = !self.climbed && self.rung != Rung::Main && stood < SETTLE;
        let choked = look.state == State::Choked;
        let hopeless = choked && needs.is_some_and(|needs| look.carried < needs);
        let begins = now.saturating_duration_since(self.begun) < BEGIN;
        if settling || (begins && !hopeless) {
            return None;
        }
        let since = *self.strained_since.get_or_insert(now);
        let patience = if choked { CHOKED_FOR } else { STRAINED_FOR };
        if now.saturating_duration_since(since) < patience {
            return None;
        }
        let below = match self.rung {
            Rung::Main if sub => Rung::Sub,
            Rung::Main | Rung::Sub => Rung::KeyFrames,
            Rung::KeyFrames => return None,
        };
        if self.climbed {
            self.hold = (self.hold * 2).min(LAST_HOLD);
        }
        Some(self.step(now, below, false))
    }

    fn calm(&mut self, now: Instant, clear: bool, sub: bool) -> Option<Rung> {
        let since = *self.clear_since.get_or_insert_with(|| {
            self.unclear = 0;
            now
        });
        self.unclear += u32::from(!clear);
        let waited = now.saturating_duration_since(since);
        let seen = u32::try_from(waited.as_millis() / 500).unwrap_or(u32::MAX);
        if self.unclear > seen / GRACE + 1 {
            self.clear_since = None;
            return None;
        }
        let above = match self.rung {
            Rung::KeyFrames if sub => Rung::Sub,
            Rung::KeyFrames | Rung::Sub => Rung::Main,
            Rung::Main => return None,
        };
        (waited >= self.hold).then(|| self.step(now, above, true))
    }

    /// There is no substream any more, for this viewer at least.
    pub(super) fn without_sub(&mut self, now: Instant) {
        if self.rung == Rung::Sub {
            self.step(now, Rung::KeyFrames, false);
        }
    }

    fn step(&mut self, now: Instant, to: Rung, climbed: bool) -> Rung {
        (self.rung, self.stepped, self.climbed) = (to, now, climbed);
        (self.strained_since, self.clear_since) = (None, None);
        to
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: Duration = Duration::from_millis(500);
    const STATES: [State; 4] = [State::Clear, State::Fair, State::Strained, State::Choked];

    /// Looks, twice a second: the rungs stepped to, and the seconds it took.
    fn looks(
        ladder: &mut Ladder,
        now: &mut Instant,
        seconds: u32,
        sub: bool,
        state: impl Fn(Rung) -> State,
    ) -> Vec<(Rung, u64)> {
        let (began, mut steps) = (*now, Vec::new());
        for _ in 0..seconds * 2 {
            *now += LOOK;
            let look = Look { state: state(ladder.rung()), carried: 0 };
            let step = ladder.look(*now, &look, sub, None);
            steps.extend(step.map(|rung| (rung, (*now - began).as_secs())));
        }
        steps
    }

    /// One whose viewer has its first pictures.
    fn begun(now: Instant) -> Ladder {
        Ladder::new(now.checked_sub(BEGIN).unwrap())
    }

    #[test]
    fn what_a_viewer_begins_with_is_no_strain() {
        let mut now = Instant::now();
        let mut ladder = Ladder::new(now);
        ladder.begin(now + LOOK * 4);
        assert_eq!(looks(&mut ladder, &mut now, 6, true, |_| State::Strained), []);
        assert!(!ladder.is_narrow() || now - ladder.begun >= BEGIN);
        assert_eq!(looks(&mut ladder, &mut now, 3, true, |_| State::Strained).len(), 1);
    }

    #[test]
    fn a_choked_way_is_stepped_down_from_at_its_second_look() {
        let mut now = Instant::now();
        let mut ladder = begun(now);
        let choked = |rung| if rung == Rung::Main { State::Choked } else { State::Clear };
        assert_eq!(looks(&mut ladder, &mut now, 2, true, choked), [(Rung::Sub, 1)]);
        // Not from the substream while what was queued before is on its way.
        assert_eq!(looks(&mut ladder, &mut now, 1, true, |_| State::Choked), []);
    }

    #[test]
    fn a_way_that_begins_with_less_than_the_stream_goes_on_with_is_hopeless() {
        for (needs, wanted) in [(None, None), (Some(900), None), (Some(2_000), Some(Rung::Sub))] {
            let now = Instant::now();
            let mut ladder = Ladder::new(now);
            let look = Look { state: State::Choked, carried: 1_000 };
            assert_eq!(ladder.look(now + LOOK, &look, true, needs), None);
            assert_eq!(ladder.is_strained(), wanted.is_some());
            assert_eq!(ladder.look(now + LOOK * 2, &look, true, needs), wanted, "{needs:?}");
        }
    }

    #[test]
    fn a_way_for_the_substream_gets_it_and_the_main_stream_once_it_is_wider() {
        let mut now = Instant::now();
        let mut ladder = begun(now);
        let narrow = |rung| if rung == Rung::Main { State::Strained } else { State::Clear };
        assert_eq!(looks(&mut ladder, &mut now, 5, true, narrow), [(Rung::Sub, 2)]);
        let wide = looks(&mut ladder, &mut now, 30, true, |_| State::Clear);
        assert_eq!(wide, [(Rung::Main, 5)]);
    }

    #[test]
    fn a_way_for_neither_gets_key_frames() {
        for (sub, wanted) in
            [(true, &[(Rung::Sub, 2), (Rung::KeyFrames, 6)][..]), (false, &[(Rung::KeyFrames, 2)])]
        {
            let mut now = Instant::now();
            let mut ladder = begun(now);
            let dire = |_| State::Strained;
            assert_eq!(looks(&mut ladder, &mut now, 30, sub, dire), wanted);
            let wide = looks(&mut ladder, &mut now, 30, sub, |_| State::Clear);
            assert_eq!(wide.last().map(|(rung, _)| *rung), Some(Rung::Main));
        }
    }

    #[test]
    fn a_way_that_stays_narrow_is_tried_ever_less_often() {
        let mut now = Instant::now();
        let mut ladder = begun(now);
        let narrow = |rung| if rung == Rung::Main { State::Strained } else { State::Clear };
        let tries = |steps: &[(Rung, u64)]| steps.iter().filter(|s| s.0 == Rung::Main).count();
        let first = looks(&mut ladder, &mut now, 120, true, narrow);
        assert!((3..=4).contains(&tries(&first)), "{first:?}");
        let later = looks(&mut ladder, &mut now, 600, true, narrow);
        assert!((2..=3).contains(&tries(&later)), "{later:?}");
        // Once it has proven wide, a strain starts the count anew.
        looks(&mut ladder, &mut now, 400, true, |_| State::Clear);
        let again = looks(&mut ladder, &mut now, 20, true, narrow);
        assert_eq!(tries(&again), 1, "{again:?}");
    }

    #[test]
    fn a_second_of_strain_and_half_an_hour_of_fair_weather_change_nothing() {
        let mut now = Instant::now();
        let mut ladder = Ladder::new(now);
        for _ in 0..100 {
            assert_eq!(looks(&mut ladder, &mut now, 1, true, |_| State::Strained), []);
            assert_eq!(looks(&mut ladder, &mut now, 1, true, |_| State::Fair), []);
        }
    }

    proptest! {
        /// One rung at a time, never on a look that says the contrary, and
        /// never up sooner than the first hold.
        #[test]
        fn every_step_has_its_reason(states in prop::collection::vec((0..4_u8, any::<bool>()), 0..400)) {
            let mut now = Instant::now();
            let mut ladder = Ladder::new(now);
            let mut stepped = now;
            for (state, sub) in states {
                now += LOOK;
                let state = STATES[usize::from(state)];
                let before = ladder.rung();
                let step = ladder.look(now, &Look { state, carried: 0 }, sub, Some(1));
                let Some(rung) = step else {
                    prop_assert_eq!(ladder.rung(), before);
                    continue;
                };
                prop_assert_eq!(rung < before, matches!(state, State::Strained | State::Choked));
                prop_assert!(rung != before && (sub || rung != Rung::Sub));
                prop_assert!(rung < before || now - stepped >= FIRST_HOLD);
                stepped = now;
            }
        }
    }
}
