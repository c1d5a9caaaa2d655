//! What this room counts; what every output counts is `http::SessionMetrics`.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

use crate::http::{Latency, OutputSessions, SessionMetrics};
use crate::traces::Traces;

/// Why a datagram is thrown away, how far a way to a viewer went that failed,
/// and what RTCP from viewers is about.
const REASONS: [&str; 6] =
    ["no_session", "not_sent", "not_webrtc", "overload", "tcp_limit", "viewer_behind"];
const STAGES: [&str; 4] = ["dtls", "no_path", "tcp_unproven", "unheard"];
const KINDS: [&str; 3] = ["key_frame_wanted", "nack", "receiver_report"];
/// What a viewer is sent from then on.
const RUNGS: [&str; 5] = ["key_frames", "main", "no_sound", "sound", "sub"];

/// Metric families of WebRTC.
#[derive(Clone)]
pub struct Metrics {
    pub(super) sessions: OutputSessions,
    pub(super) latency: Latency,
    feedback: IntCounterVec,
    adapted: IntCounterVec,
    discarded: IntCounterVec,
    ice_failures: IntCounterVec,
    remote_loss: Histogram,
    round_trip: Histogram,
    pub(super) panics: IntCounter,
    pub(super) traces: Traces,
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
        let adapted = IntCounterVec::new(
            Opts::new(
                "porthole_webrtc_quality_changes_total",
                "Viewers whose way was found to carry less or more, by what they are sent since",
            ),
            &["to"],
        )?;
        let discarded = IntCounterVec::new(
            Opts::new(
                "porthole_udp_discarded_packets_total",
                "Datagrams on the WebRTC port thrown away: not WebRTC, of no session, too many \
                 at once, not sent because the system refused, or for a viewer that fell behind; and \
                 TCP connections to it that were not taken",
            ),
            &["reason"],
        )?;
        let remote_loss = Histogram::with_opts(
            HistogramOpts::new(
                "porthole_webrtc_remote_loss_ratio",
                "Packets that did not reach a viewer, of those sent, between two receiver reports",
            )
            .buckets(vec![0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
        )?;
        let round_trip = Histogram::with_opts(
            HistogramOpts::new(
                "porthole_webrtc_rtt_seconds",
                "Time to a viewer and back, by its receiver reports",
            )
            .buckets(vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 2.0]),
        )?;
        let ice_failures = IntCounterVec::new(
            Opts::new(
                "porthole_webrtc_ice_failures_total",
                "Ways to a viewer that failed, by how far they went: it was never heard from, no \
                 path was agreed on, DTLS did not end; or a TCP connection brought no check in time",
            ),
            &["stage"],
        )?;
        // There from the start: a rate sees no first event of a series that
        // begins with it.
        for kind in KINDS {
            feedback.with_label_values(&[kind]);
        }
        for rung in RUNGS {
            adapted.with_label_values(&[rung]);
        }
        for reason in REASONS {
            discarded.with_label_values(&[reason]);
        }
        for stage in STAGES {
            ice_failures.with_label_values(&[stage]);
        }
        registry.register(Box::new(ice_failures.clone()))?;
        registry.register(Box::new(remote_loss.clone()))?;
        registry.register(Box::new(round_trip.clone()))?;
        registry.register(Box::new(feedback.clone()))?;
        registry.register(Box::new(adapted.clone()))?;
        registry.register(Box::new(discarded.clone()))?;
        let panics = IntCounter::new("porthole_panics_total", "Panics contained")?;
        let sessions = sessions.of("whep");
        Ok(Self {
            latency: sessions.latency(),
            sessions,
            feedback,
            adapted,
            discarded,
            ice_failures,
            remote_loss,
            round_trip,
            panics,
            traces: Traces::default(),
        })
    }

    /// Counts panics in this family, by `task`, which rooms share.
    pub fn counting_panics(self, family: &IntCounterVec) -> Self {
        Self { panics: family.with_label_values(&["whep"]), ..self }
    }

    /// Tells of each session up to its first frame.
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new(), &SessionMetrics::unregistered())
            .expect("a new registry holds no family yet")
    }

    pub(super) fn feedback(&self, kind: &'static str) {
        self.feedback.with_label_values(&[kind]).inc();
    }

    /// A viewer is sent something else from now on.
    pub(super) fn adapted(&self, to: &'static str) {
        self.adapted.with_label_values(&[to]).inc();
    }

    /// A receiver report has come.
    pub(super) fn reception(&self, loss: f64, round_trip: Option<Duration>) {
        self.feedback("receiver_report");
        self.remote_loss.observe(loss);
        if let Some(round_trip) = round_trip {
            self.round_trip.observe(round_trip.as_secs_f64());
        }
    }

    /// A viewer could not be reached.
    pub(super) fn ice_failure(&self, stage: &'static str) {
        self.ice_failures.with_label_values(&[stage]).inc();
    }

    #[cfg(test)]
    pub(super) fn ice_failures(&self, stage: &'static str) -> u64 {
        self.ice_failures.with_label_values(&[stage]).get()
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
