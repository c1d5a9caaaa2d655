//! A viewer's place in the tables and gauges.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::ladder::Rung;
use super::shared::Shared;
use super::switchboard::SessionId;
use crate::fault::Code;
use crate::http::{SessionLine, SessionNews};
use crate::media::{Quality, StreamName};
use crate::traces::Trace;

/// Given back when it is dropped, whatever the reason.
pub(super) struct Place {
    shared: Arc<Shared>,
    id: SessionId,
    stream: StreamName,
    state: &'static str,
    /// Addresses of ours that it was told to try.
    told: Vec<SocketAddr>,
    /// When it was connected, counted from its POST.
    setup: Option<Duration>,
    /// Whether its trace is still to be told.
    untold: AtomicBool,
    line: SessionLine,
    _seat: Taken,
}

/// Counts one of a crowd until it is dropped.
pub(super) struct Taken(Arc<AtomicUsize>);

impl Taken {
    pub(super) fn of(crowd: &Arc<AtomicUsize>) -> Self {
        crowd.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(crowd))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// A viewer among those that `crowd` counts, who was told to try `told`.
    pub(super) fn new(
        shared: Arc<Shared>,
        id: SessionId,
        stream: StreamName,
        crowd: &Arc<AtomicUsize>,
        told: Vec<SocketAddr>,
        line: SessionLine,
    ) -> Self {
        shared.metrics.sessions.add("connecting", 1);
        let _seat = Taken::of(crowd);
        let (setup, untold) = (None, AtomicBool::new(true));
        Self { shared, id, stream, state: "connecting", told, setup, untold, line, _seat }
    }

    /// The viewer has proven to be at `address`.
    pub(super) fn bind(&self, address: SocketAddr) {
        self.shared.board().bind(address, self.id);
    }

    pub(super) fn connected(&mut self, after: Duration) {
        let sessions = &self.shared.metrics.sessions;
        sessions.add(self.state, -1);
        self.state = "connected";
        sessions.add(self.state, 1);
        sessions.setup("ok");
        sessions.connected(after.as_secs_f64());
        self.setup = Some(after);
    }

    pub(super) fn first_frame(&self, after: Duration) {
        self.shared.metrics.sessions.first_frame(after.as_secs_f64());
        self.tell(after, None);
    }

    /// Tells its trace, from POST to the first frame or whatever came before.
    fn tell(&self, took: Duration, fault: Option<&'static str>) {
        if !self.untold.swap(false, Ordering::Relaxed) {
            return;
        }
        self.shared.metrics.traces.tell(|| {
            let mut steps = vec![("connect", self.setup.unwrap_or(took))];
            if self.setup.is_some() {
                steps.push(("first frame", took));
            }
            let stream = ("porthole.stream", self.stream.to_string());
            let attributes = vec![stream, ("porthole.session", self.id.short())];
            Trace { name: "whep", took, steps, attributes, fault }
        });
    }

    /// Which quality its fan-out is of.
    pub(super) fn quality(&self) -> Quality {
        self.stream.quality()
    }

    /// What is new, for the table of sessions.
    pub(super) fn tell_table(&mut self, now: Instant, change: impl FnOnce(&mut SessionNews)) {
        self.line.tell(now, change);
    }

    /// What a receiver report said.
    pub(super) fn reception(&self, loss: f64, round_trip: Option<Duration>) {
        self.shared.metrics.reception(loss, round_trip);
    }

    /// The viewer has lost packets, or its picture.
    pub(super) fn feedback(&self, kind: &'static str) {
        self.shared.hurry();
        self.shared.metrics.feedback(kind);
    }

    /// The viewer's way carries so many bits a second, and is sent what
    /// `rung` says from now on.
    pub(super) fn adapted(&self, rung: Rung, carried: u64) {
        let (stream, viewer, to) = (&self.stream, self.id.short(), rung.as_str());
        tracing::info!(%stream, viewer, to, carried, "the way carries this");
        self.shared.metrics.adapted(to);
    }

    /// The viewer's sound is held back, or is not any more.
    pub(super) fn sound_held(&self, held: bool) {
        let (stream, viewer) = (&self.stream, self.id.short());
        tracing::info!(%stream, viewer, held, "sound would take most of the way");
        self.shared.metrics.adapted(if held { "no_sound" } else { "sound" });
    }

    /// Packets were thrown away since the viewer could not be sent them in time.
    pub(super) fn fell_behind(&self, packets: u64) {
        self.shared.metrics.discarded("viewer_behind", packets);
    }

    /// The viewer has never connected; `stage` is how far it came.
    pub(super) fn unreachable(&self, stage: &'static str) {
        self.shared.metrics.ice_failure(stage);
        let stream = self.shared.board().get(self.id).map(|session| session.stream.to_string());
        let tried: Vec<String> = self.told.iter().map(ToString::to_string).collect();
        let (viewer, tried) = (self.id.short(), tried.join(" "));
        tracing::warn!(
            stream, viewer, stage, %tried,
            "no way to this viewer works: open these to it, UDP or TCP, or name others in \
             webrtc.advertise"
        );
    }

    pub(super) fn ended(&self, end: &'static str, after: Duration) {
        let failed = match end {
            "ice_failed" => Some(Code::ViewerIceFailed),
            "crowded_out" => Some(Code::ViewerLimit),
            _ => None,
        };
        if let Some(code) = failed.filter(|_| self.state == "connecting") {
            self.shared.metrics.sessions.setup(code.as_str());
        }
        self.shared.metrics.sessions.ended(end, after.as_secs_f64());
        self.tell(after, Some(end));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.sessions.add(self.state, -1);
        self.shared.board().remove(self.id);
    }
}
