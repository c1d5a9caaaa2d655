//! Looking after one viewer after another: what they share, and what of each
//! is to be remembered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use prometheus::IntCounter;

use super::group::{Group, Groups};
use super::reminders::{Reminders, Times};
use super::shared::Shared;
use super::socket::Outbox;
use super::switchboard::SessionId;
use super::viewer::{Health, Viewer};
use crate::bus::Stream;
use crate::media::{Frame, StreamName};

/// A viewer, and when it is to be looked after.
pub(super) struct Seat {
    pub(super) viewer: Viewer,
    pub(super) due: Times,
    /// Counted in [`Round::wanting_sub`].
    wants_sub: bool,
}

impl Seat {
    pub(super) fn of(viewer: Viewer) -> Self {
        Self { viewer, due: Times::default(), wants_sub: false }
    }
}

/// What a fan-out's viewers share.
pub(super) struct Round {
    stream: StreamName,
    shared: Arc<Shared>,
    pub(super) groups: Groups,
    /// Viewers that are to be sent the substream.
    pub(super) wanting_sub: usize,
    /// Emptied after every viewer, while the processor still has it at hand.
    outbox: Outbox,
    pub(super) reminders: Reminders,
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
            reminders: Reminders::new(Instant::now()),
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
            Ok(Health::Due(wanted)) => self.reminders.remind(id, &mut seat.due, wanted, now),
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

    /// The frame has been sent to all who are to have it.
    pub(super) fn gone_out(&self, frame: &Frame) {
        self.shared.metrics.latency.gone_out(frame.arrived);
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
