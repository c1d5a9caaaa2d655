//! What this room counts; what every output counts is `http::SessionMetrics`.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::http::{OutputSessions, SessionMetrics};

/// Metric families of WebRTC.
#[derive(Clone)]
pub struct Metrics {
    pub(super) sessions: OutputSessions,
    feedback: IntCounterVec,
    discarded: IntCounterVec,
    pub(super) panics: IntCounter,
}

impl Metrics {
    /// Registers the families; the ones shared with other outputs come in.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry, sessions: &SessionMetrics) -> prometheus::Result<Self> {
        let feedback = IntCounterVec::new(
            Opts::new("porthole_webrtc_feedback_total", "RTCP feedback from viewers, by kind"),
            &["kind"],
        )?;
        let discarded = IntCounterVec::new(
            Opts::new(
                "porthole_udp_discarded_packets_total",
                "Datagrams on the WebRTC port thrown away: not WebRTC, of no session, too many \
                 at once, not sent because the system refused, or for a viewer that fell behind",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(feedback.clone()))?;
        registry.register(Box::new(discarded.clone()))?;
        let panics = IntCounter::new("porthole_panics_total", "Panics contained")?;
        Ok(Self { sessions: sessions.of("whep"), feedback, discarded, panics })
    }

    /// Counts panics in this family, by `task`, which rooms share.
    pub fn counting_panics(self, family: &IntCounterVec) -> Self {
        Self { panics: family.with_label_values(&["whep"]), ..self }
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new(), &SessionMetrics::unregistered())
            .expect("a new registry holds no family yet")
    }

    pub(super) fn feedback(&self, kind: &'static str) {
        self.feedback.with_label_values(&[kind]).inc();
    }

    #[cfg(test)]
    pub(super) fn discards(&self, reason: &'static str) -> u64 {
        self.discarded.with_label_values(&[reason]).get()
    }

    pub(super) fn discarded(&self, reason: &'static str, datagrams: u64) {
        if datagrams > 0 {
            self.discarded.with_label_values(&[reason]).inc_by(datagrams);
        }
    }
}
