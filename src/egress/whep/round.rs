//! Looking after one viewer after another: what they share, and what of each
//! is to be remembered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::group::{Group, Groups};
use super::shared::Shared;
use super::socket::Outbox;
use super::switchboard::SessionId;
use super::viewer::{Health, Viewer};
use crate::bus::Stream;
use crate::media::{Frame, StreamName};

/// What is due later than [`SOON`] waits for the next of these marks: a
/// thousand viewers' housekeeping wakes the thread ten times a second, not a
/// thousand times.
const MARK: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_millis(150);

/// How long housekeeping waits, beyond its mark, for a picture to wake the
/// thread: one of a camera that shows 25 a second comes before, and also before
/// the 64 ms mark at which the runtime wakes the thread for a timer that is due
/// within the next 64 ms.
const PATIENCE: Duration = Duration::from_millis(120);

/// A viewer, and when it wants to be looked after.
pub(super) struct Seat {
    pub(super) viewer: Viewer,
    pub(super) due: Option<Instant>,
    /// Counted in [`Round::wanting_sub`].
    wants_sub: bool,
}

impl Seat {
    pub(super) fn of(viewer: Viewer) -> Self {
        Self { viewer, due: None, wants_sub: false }
    }
}

type Reminders = BinaryHeap<Reverse<(Instant, SessionId)>>;

/// What a fan-out's viewers share.
pub(super) struct Round {
    stream: StreamName,
    shared: Arc<Shared>,
    pub(super) groups: Groups,
    /// Viewers that are to be sent the substream.
    pub(super) wanting_sub: usize,
    /// Emptied after every viewer, while the processor still has it at hand.
    outbox: Outbox,
    /// Due times; a viewer has one valid entry, the one its seat names.
    timers: Reminders,
    /// The same of what waits for a mark.
    chores: Reminders,
    began: Instant,
    /// Viewers to be seen off, and why; without a reason, the engine panicked.
    pub(super) over: Vec<(SessionId, Option<&'static str>)>,
    sent_bytes: IntCounter,
}

impl Round {
    pub(super) fn new(stream: &Stream, shared: Arc<Shared>) -> Self {
        Self {
            stream: stream.name().clone(),
            groups: Groups { main: Group::new(stream.buffer_bytes().1), sub: None },
            wanting_sub: 0,
            sent_bytes: shared.metrics.sessions.sent_bytes(stream.name()),
            shared,
            outbox: Outbox::default(),
            timers: Reminders::new(),
            chores: Reminders::new(),
            began: Instant::now(),
            over: Vec::new(),
        }
    }

    /// Lets something happen to a viewer, and follows it up. The engine reads
    /// what strangers send: should it panic, that viewer ends and nobody else.
    pub(super) async fn look_after(
        &mut self,
        id: SessionId,
        seat: &mut Seat,
        now: Instant,
        act: impl FnOnce(&mut Viewer, &mut Outbox),
    ) {
        let step = || {
            act(&mut seat.viewer, &mut self.outbox);
            seat.viewer.settle(now, &self.groups, &mut self.outbox)
        };
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Health::Due(at)) => self.remind(id, &mut seat.due, at, now),
            Ok(Health::Over(end)) => self.over.push((id, Some(end))),
            Err(_) => {
                self.outbox.clear();
                self.over.push((id, None));
            }
        }
        self.sent_bytes.inc_by(seat.viewer.take_sent());
        let wants_sub = seat.viewer.wants_sub();
        match (std::mem::replace(&mut seat.wants_sub, wants_sub), wants_sub) {
            (false, true) => self.wanting_sub += 1,
            (true, false) => self.wanting_sub -= 1,
            _ => {}
        }
        self.flush().await;
    }

    fn remind(&mut self, id: SessionId, due: &mut Option<Instant>, at: Instant, now: Instant) {
        // An engine that is late asks for the past: not a busy loop.
        let mut at = at.max(now + Duration::from_millis(1));
        let can_wait = at > now + SOON;
        if can_wait {
            let marks = (at - self.began).as_nanos().div_ceil(MARK.as_nanos());
            at = self.began + MARK * u32::try_from(marks).unwrap_or(u32::MAX);
        }
        // An entry that comes too early costs one look, a new one for every
        // packet would cost a heap that grows.
        if due.is_none_or(|due| at < due) {
            *due = Some(at);
            let reminders = if can_wait { &mut self.chores } else { &mut self.timers };
            reminders.push(Reverse((at, id)));
        }
    }

    /// The frame has been sent to all who are to have it.
    pub(super) fn gone_out(&self, frame: &Frame) {
        self.shared.metrics.latency.gone_out(frame.arrived);
    }

    /// When somebody is to be looked after next, if no picture comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = |reminders: &Reminders| reminders.peek().map(|Reverse((at, _))| *at);
        let chore = next(&self.chores).map(|at| at + PATIENCE);
        next(&self.timers).into_iter().chain(chore).min()
    }

    /// Takes the next reminder, once it is due.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(Instant, SessionId)> {
        let due = |reminders: &&mut Reminders| {
            reminders.peek().is_some_and(|Reverse((at, _))| *at <= now)
        };
        let reminders = [&mut self.timers, &mut self.chores].into_iter().find(due)?;
        reminders.pop().map(|Reverse(reminder)| reminder)
    }

    /// Says goodbye to a viewer; one whose engine has panicked is dropped
    /// without another call of it.
    pub(super) async fn see_off(&mut self, id: SessionId, seat: Seat, end: Option<&'static str>) {
        self.wanting_sub -= usize::from(seat.wants_sub);
        let (stream, viewer) = (&self.stream, id.short());
        let done = match end {
            Some(end) => {
                tracing::info!(%stream, viewer, end, "viewer left");
                let close = || seat.viewer.close(Instant::now(), end, &mut self.outbox);
                catch_unwind(AssertUnwindSafe(close))
            }
            None => {
                tracing::error!(%stream, viewer, "engine panicked");
                self.shared.metrics.panics.inc();
                // What it left half done may fall over once more.
                catch_unwind(AssertUnwindSafe(|| seat.viewer.abandon())).map(|()| 0).or(Ok(0))
            }
        };
        match done {
            Ok(sent) => self.sent_bytes.inc_by(sent),
            Err(_) => {
                self.outbox.clear();
                self.shared.metrics.panics.inc();
            }
        }
        self.flush().await;
    }

    /// A picture has gone out to all.
    pub(super) fn picture_sent(&self) {
        self.shared.picture_sent();
    }

    async fn flush(&mut self) {
        if !self.outbox.is_empty() {
            let lost = self.shared.socket.send(&mut self.outbox).await;
            self.shared.metrics.discarded("not_sent", lost);
        }
    }
}
