//! A viewer's place in the tables and gauges.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::shared::Shared;
use super::switchboard::SessionId;
use crate::fault::Code;

/// Given back when it is dropped, whatever the reason.
pub(super) struct Place {
    shared: Arc<Shared>,
    id: SessionId,
    state: &'static str,
    /// Addresses of ours that it was told to try.
    told: Vec<SocketAddr>,
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
        crowd: &Arc<AtomicUsize>,
        told: Vec<SocketAddr>,
    ) -> Self {
        shared.metrics.sessions.add("connecting", 1);
        Self { shared, id, state: "connecting", told, _seat: Taken::of(crowd) }
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
    }

    pub(super) fn first_frame(&self, after: Duration) {
        self.shared.metrics.sessions.first_frame(after.as_secs_f64());
    }

    /// What a receiver report said.
    pub(super) fn reception(&self, loss: f64, round_trip: Option<Duration>) {
        self.shared.metrics.reception(loss, round_trip);
    }

    pub(super) fn feedback(&self, kind: &'static str) {
        self.shared.metrics.feedback(kind);
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
        if self.state == "connecting" && end == "ice_failed" {
            self.shared.metrics.sessions.setup(Code::ViewerIceFailed.as_str());
        }
        self.shared.metrics.sessions.ended(end, after.as_secs_f64());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.sessions.add(self.state, -1);
        self.shared.board().remove(self.id);
    }
}
