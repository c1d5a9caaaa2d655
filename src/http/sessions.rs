//! Viewers of every output, counted and listed alike: families and a table
//! that outputs share.

use std::net::SocketAddr;
use std::time::Instant;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::attended::Attended;
use super::session_table::{SessionLine, SessionNews, SessionStart, SessionTable};
use crate::auth::Pass;
use crate::media::StreamName;
use crate::metrics::forget;

/// Seconds from a viewer's request to its first picture, and to an answer:
/// fine below the 300 ms we promise, coarse above.
const SETUP_BUCKETS: &[f64] = &[0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0, 10.0];

/// Seconds a viewer stays: a glance, a minute, an hour, a day.
const DURATION_BUCKETS: &[f64] = &[1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0];

/// Seconds from a frame's last packet to its way out: fine around the 5 ms that
/// we promise of WebRTC, coarse above.
const LATENCY_BUCKETS: &[f64] = &[0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2.0];

/// Session families of all outputs. Registered once, by whoever wires them.
#[derive(Clone)]
pub struct SessionMetrics {
    sessions: IntGaugeVec,
    setups: IntCounterVec,
    setup_duration: HistogramVec,
    first_frame: HistogramVec,
    duration: HistogramVec,
    latency: HistogramVec,
    sent_bytes: IntCounterVec,
    table: SessionTable,
}

impl SessionMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            HistogramVec::new(opts, labels)
        };
        let families = Self {
            sessions: IntGaugeVec::new(
                Opts::new("porthole_sessions", "Viewers there are now"),
                &["output", "state"],
            )?,
            setups: IntCounterVec::new(
                Opts::new(
                    "porthole_session_setups_total",
                    "Viewers that asked to watch, by what became of it",
                ),
                &["output", "result"],
            )?,
            setup_duration: histogram(
                "porthole_session_setup_duration_seconds",
                "From a viewer's request to its connection",
                &["output"],
                SETUP_BUCKETS,
            )?,
            first_frame: histogram(
                "porthole_first_frame_duration_seconds",
                "From a viewer's request to the first frame sent to it",
                &["output"],
                SETUP_BUCKETS,
            )?,
            duration: histogram(
                "porthole_session_duration_seconds",
                "How long viewers stayed, by why they left",
                &["output", "end"],
                DURATION_BUCKETS,
            )?,
            latency: histogram(
                "porthole_pipeline_latency_seconds",
                "From a frame's last packet in to its last byte out: to all viewers of the stream \
                 (whep), to each (mse, mjpeg, rtsp), or until they can fetch the part that it ends (hls)",
                &["output"],
                LATENCY_BUCKETS,
            )?,
            sent_bytes: IntCounterVec::new(
                Opts::new("porthole_sent_bytes_total", "Media bytes sent to viewers"),
                &["stream", "output"],
            )?,
            table: SessionTable::default(),
        };
        registry.register(Box::new(families.sessions.clone()))?;
        registry.register(Box::new(families.setups.clone()))?;
        registry.register(Box::new(families.setup_duration.clone()))?;
        registry.register(Box::new(families.first_frame.clone()))?;
        registry.register(Box::new(families.duration.clone()))?;
        registry.register(Box::new(families.latency.clone()))?;
        registry.register(Box::new(families.sent_bytes.clone()))?;
        Ok(families)
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new()).expect("a new registry holds no family yet")
    }

    /// The sessions there are.
    pub fn table(&self) -> SessionTable {
        self.table.clone()
    }

    /// Drops what was counted of a stream that is no more.
    pub fn forget(&self, stream: &StreamName) {
        forget(&self.sent_bytes, stream.as_str());
    }

    /// The families as `output` (the metric label: `whep`, `hls`, …) sees them.
    pub fn of(&self, output: &'static str) -> OutputSessions {
        OutputSessions { families: self.clone(), output }
    }
}

/// How long frames take through an output.
#[derive(Clone)]
pub struct Latency(Histogram);

impl Latency {
    /// The frame whose last packet arrived then has gone out just now.
    pub fn gone_out(&self, arrived: Instant) {
        self.0.observe(arrived.elapsed().as_secs_f64());
    }
}

/// [`SessionMetrics`] of one output.
#[derive(Clone)]
pub struct OutputSessions {
    families: SessionMetrics,
    output: &'static str,
}

impl OutputSessions {
    /// One more (or, negative, fewer) viewer in `state`.
    pub fn add(&self, state: &'static str, change: i64) {
        self.families.sessions.with_label_values(&[self.output, state]).add(change);
    }

    /// A viewer asked to watch; `result` is `ok` or a fault code.
    pub fn setup(&self, result: &'static str) {
        self.families.setups.with_label_values(&[self.output, result]).inc();
    }

    /// A viewer connected, `seconds` after it asked.
    pub fn connected(&self, seconds: f64) {
        self.families.setup_duration.with_label_values(&[self.output]).observe(seconds);
    }

    /// A viewer was sent its first frame, `seconds` after it asked.
    pub fn first_frame(&self, seconds: f64) {
        self.families.first_frame.with_label_values(&[self.output]).observe(seconds);
    }

    /// A viewer left after `seconds`; `end` is one of few words.
    pub fn ended(&self, end: &'static str, seconds: f64) {
        self.families.duration.with_label_values(&[self.output, end]).observe(seconds);
    }

    /// How long frames take through this output; kept by the caller, as
    /// [`sent_bytes`](Self::sent_bytes).
    pub fn latency(&self) -> Latency {
        Latency(self.families.latency.with_label_values(&[self.output]))
    }

    /// Lists a session until the line is dropped. `end` asks it to leave, and
    /// must not wait; it says whether it could ask.
    pub fn list(
        &self,
        start: SessionStart,
        end: impl Fn() -> bool + Send + Sync + 'static,
    ) -> SessionLine {
        self.families.table.add(self.output, start, end)
    }

    /// What became of the session of that id, as it last told.
    pub fn news(&self, id: &str) -> Option<SessionNews> {
        self.families.table.news(id)
    }

    /// Counts and lists a viewer of `stream` that a task of its own serves over
    /// TCP, as long as it lasts. `pass` says who it is, `remote` where its
    /// connection comes from: behind a proxy, that one.
    pub fn attend(
        &self,
        stream: &StreamName,
        pass: Option<&Pass>,
        remote: Option<SocketAddr>,
    ) -> Attended {
        Attended::new(self.clone(), stream, pass, remote)
    }

    /// The counter of media bytes sent to viewers of a stream; kept by the
    /// caller, since a look-up per packet would cost more than the count. Only
    /// for streams that exist: an unknown name creates no series.
    pub fn sent_bytes(&self, stream: &StreamName) -> IntCounter {
        self.families.sent_bytes.with_label_values(&[stream.as_str(), self.output])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_outputs_share_the_families() {
        let registry = Registry::new();
        let sessions = SessionMetrics::register(&registry).unwrap();
        sessions.of("whep").add("connected", 2);
        sessions.of("hls").add("active", 1);
        sessions.of("whep").add("connected", -1);

        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains(r#"porthole_sessions{output="whep",state="connected"} 1"#), "{text}");
        assert!(text.contains(r#"porthole_sessions{output="hls",state="active"} 1"#), "{text}");
    }
}
