//! When viewers are to be looked after: to the millisecond where somebody waits
//! for it, and where nobody does, many at once. Nothing here reads a clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::time::{Duration, Instant};

use super::switchboard::SessionId;

/// Chores wait for the next of these marks: a thousand viewers' wake the thread
/// ten times a second, not a thousand times.
const MARK: Duration = Duration::from_millis(100);

/// How long they wait, beyond their mark, for a picture to wake the thread: one
/// of a camera that shows 25 a second comes before, and also before the 64 ms
/// mark at which the runtime wakes the thread for a timer that is due within the
/// next 64 ms.
const PATIENCE: Duration = Duration::from_millis(120);

/// What is soon for the past: an engine that is late is no busy loop.
const SOONEST: Duration = Duration::from_millis(1);

/// When a viewer is to be looked after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Then.
    pub(super) timer: Option<Instant>,
    /// Then, or up to [`MARK`] and [`PATIENCE`] later.
    pub(super) chore: Option<Instant>,
}

/// A viewer's turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reminder {
    pub(super) viewer: SessionId,
    at: Instant,
    chore: bool,
}

type Entries = BinaryHeap<Reverse<(Instant, SessionId)>>;

/// Reminders of many viewers. A viewer has one valid entry of either kind, the
/// one that its own [`Times`] name.
pub(super) struct Reminders {
    began: Instant,
    timers: Entries,
    /// Apart from timers: a chore does not become one when it draws near, and
    /// no timer waits for a chore.
    chores: Entries,
}

impl Times {
    /// Whether the reminder is still wanted; it is not any more.
    pub(super) fn take(&mut self, reminder: Reminder) -> bool {
        let due = if reminder.chore { &mut self.chore } else { &mut self.timer };
        due.take_if(|due| *due == reminder.at).is_some()
    }
}

impl Reminders {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, timers: Entries::new(), chores: Entries::new() }
    }

    /// Remembers what a viewer wants; `due` is what it is reminded of so far.
    pub(super) fn remind(&mut self, id: SessionId, due: &mut Times, wanted: Times, now: Instant) {
        if let Some(at) = wanted.timer {
            remind(&mut self.timers, id, &mut due.timer, at.max(now + SOONEST));
        }
        if let Some(at) = wanted.chore {
            let mark = self.mark(at.max(now + SOONEST));
            remind(&mut self.chores, id, &mut due.chore, mark);
        }
    }

    /// The first mark that is not before `at`.
    fn mark(&self, at: Instant) -> Instant {
        let marks = (at - self.began).as_nanos().div_ceil(MARK.as_nanos());
        self.began + MARK * u32::try_from(marks).unwrap_or(u32::MAX)
    }

    /// When somebody is to be looked after next, if no picture comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = |entries: &Entries| entries.peek().map(|Reverse((at, _))| *at);
        let chore = next(&self.chores).map(|at| at + PATIENCE);
        next(&self.timers).into_iter().chain(chore).min()
    }

    /// Takes the next reminder, once it is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Reminder> {
        let take = |entries: &mut Entries, chore| {
            let first = entries.peek_mut().filter(|first| first.0.0 <= now)?;
            let Reverse((at, viewer)) = PeekMut::pop(first);
            Some(Reminder { viewer, at, chore })
        };
        take(&mut self.timers, false).or_else(|| take(&mut self.chores, true))
    }
}

/// An entry that comes too early costs one look, a new one for every packet
/// would cost a heap that grows.
fn remind(entries: &mut Entries, id: SessionId, due: &mut Option<Instant>, at: Instant) {
    if due.is_none_or(|due| at < due) {
        *due = Some(at);
        entries.push(Reverse((at, id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One viewer's reminders, and a clock.
    struct One {
        start: Instant,
        reminders: Reminders,
        due: Times,
        id: SessionId,
    }

    impl One {
        fn new() -> Self {
            let start = Instant::now();
            let (reminders, id) = (Reminders::new(start), SessionId::random());
            Self { start, reminders, due: Times::default(), id }
        }

        fn after(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn wants(&mut self, millis: u64, timer: Option<u64>, chore: Option<u64>) {
            let [timer, chore] = [timer, chore].map(|at| at.map(|at| self.after(at)));
            let now = self.after(millis);
            self.reminders.remind(self.id, &mut self.due, Times { timer, chore }, now);
        }

        /// When the thread is to wake, in milliseconds.
        fn wakes(&self) -> Option<u128> {
            self.reminders.due().map(|at| (at - self.start).as_millis())
        }

        /// How often it is looked after then.
        fn looks(&mut self, millis: u64) -> usize {
            let now = self.after(millis);
            let due = std::iter::from_fn(|| self.reminders.next(now));
            due.filter(|reminder| self.due.take(*reminder)).count()
        }
    }

    #[test]
    fn a_chore_keeps_waiting_for_its_mark_when_that_draws_near() {
        let mut one = One::new();
        // A look with each picture.
        for millis in (0..2_040).step_by(40) {
            one.wants(millis, None, Some(2_030));
            assert_eq!(one.wakes(), Some(2_220), "after {millis} ms");
        }
        assert_eq!(one.reminders.chores.len(), 1);
        assert_eq!((one.looks(2_099), one.looks(2_100), one.wakes()), (0, 1, None));
    }

    #[test]
    fn a_timer_is_exact_whatever_chore_is_due() {
        // The rest of a picture, 2 ms later: while a chore waits for its mark,
        // too.
        for millis in [1_900, 2_029, 2_031, 2_099, 2_150] {
            let mut one = One::new();
            one.wants(0, None, Some(2_030));
            one.wants(millis, Some(millis + 2), Some(2_030));
            assert_eq!(one.wakes(), Some(u128::from(millis) + 2));
            assert_eq!(one.looks(millis + 2), 1 + usize::from(millis + 2 >= 2_100));
        }
    }

    #[test]
    fn what_is_wanted_sooner_replaces_what_was_and_what_is_late_is_no_busy_loop() {
        let mut one = One::new();
        one.wants(0, Some(200), Some(950));
        one.wants(0, Some(20), Some(450));
        one.wants(0, Some(100), Some(750));
        assert_eq!((one.wakes(), one.looks(20)), (Some(20), 1));
        assert_eq!((one.looks(499), one.looks(500)), (0, 1));
        assert_eq!(one.looks(10_000), 0, "the entries replaced");
        one.wants(10_000, Some(5_000), None);
        assert_eq!(one.wakes(), Some(10_001));
    }
}
