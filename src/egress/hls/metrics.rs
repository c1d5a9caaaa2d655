//! Requests that wait for media, and how long; bytes held for players.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};
use tokio::time::Instant;

use super::Hls;
use super::store::MOST_BYTES;
use crate::http::{Latency, SessionMetrics};

/// Metric families of HLS. Requests for the multivariant playlist and bytes
/// sent are counted in `http::SessionMetrics`; how many watch, since when and
/// how soon they saw a picture is not: an HLS viewer is a row of requests that
/// a cache may answer, not a session.
#[derive(Clone)]
pub struct Metrics {
    blocked: IntGauge,
    blocked_duration: Histogram,
    pub(super) latency: Latency,
    /// Segments for `hls.dir`, by whether they could be written.
    pub(super) filed: IntCounterVec,
}

impl Metrics {
    /// Registers the families; the ones shared with other outputs come in.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry, sessions: &SessionMetrics) -> prometheus::Result<Self> {
        let blocked = IntGauge::new(
            "porthole_hls_blocked_requests",
            "HLS requests held until the media they ask for is there",
        )?;
        let blocked_duration = Histogram::with_opts(
            HistogramOpts::new(
                "porthole_hls_blocked_duration_seconds",
                "How long HLS requests were held",
            )
            // Around a part of 0.2 to 1 s, and up to three target durations.
            .buckets(vec![0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 36.0]),
        )?;
        let filed = IntCounterVec::new(
            Opts::new(
                "porthole_hls_segments_filed_total",
                "HLS segments for `hls.dir`: written, or failed, which costs the window",
            ),
            &["result"],
        )?;
        for result in ["written", "failed"] {
            filed.with_label_values(&[result]);
        }
        registry.register(Box::new(filed.clone()))?;
        registry.register(Box::new(blocked.clone()))?;
        registry.register(Box::new(blocked_duration.clone()))?;
        Ok(Self { blocked, blocked_duration, latency: sessions.of("hls").latency(), filed })
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new(), &SessionMetrics::unregistered())
            .expect("a new registry holds no family yet")
    }

    /// Counts a request as held until the guard is dropped, which a client
    /// that hangs up causes too.
    pub(super) fn hold(&self) -> Held<'_> {
        self.blocked.inc();
        Held { metrics: self, since: Instant::now() }
    }
}

pub(super) struct Held<'m> {
    metrics: &'m Metrics,
    since: Instant,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.metrics.blocked.dec();
        self.metrics.blocked_duration.observe(self.since.elapsed().as_secs_f64());
    }
}

/// What is held of all streams, read off when somebody asks.
pub(super) struct BufferCollector {
    hls: Arc<Hls>,
    held: IntGauge,
    limit: IntGauge,
}

impl BufferCollector {
    pub(super) fn new(hls: Arc<Hls>) -> prometheus::Result<Self> {
        // The bus has the same families with another pool; they merge as long
        // as their help texts are equal.
        let pool = |name: &str, help: &str| {
            IntGauge::with_opts(Opts::new(name, help).const_label("pool", "hls"))
        };
        Ok(Self {
            hls,
            held: pool("porthole_buffer_bytes", "Media bytes held")?,
            limit: pool("porthole_buffer_limit_bytes", "Most media bytes that may be held")?,
        })
    }
}

impl Collector for BufferCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.held.desc(), self.limit.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let streams = self.hls.channels.load().len();
        self.held.set(i64::try_from(self.hls.buffer_bytes()).unwrap_or(i64::MAX));
        self.limit.set(i64::try_from(streams.saturating_mul(MOST_BYTES)).unwrap_or(i64::MAX));
        [self.held.collect(), self.limit.collect()].concat()
    }
}
