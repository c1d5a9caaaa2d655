//! Requests that wait for media, and how long.

use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};
use tokio::time::Instant;

/// Metric families of HLS. Viewers and bytes sent are counted in
/// `http::SessionMetrics`.
#[derive(Clone)]
pub struct Metrics {
    blocked: IntGauge,
    blocked_duration: Histogram,
}

impl Metrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
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
        registry.register(Box::new(blocked.clone()))?;
        registry.register(Box::new(blocked_duration.clone()))?;
        Ok(Self { blocked, blocked_duration })
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new()).expect("a new registry holds no family yet")
    }

    /// Counts a request as held until the guard is dropped, which a client
    /// that hangs up causes too.
    pub(super) fn hold(&self) -> Held {
        self.blocked.inc();
        Held { metrics: self.clone(), since: Instant::now() }
    }
}

pub(super) struct Held {
    metrics: Metrics,
    since: Instant,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.blocked.dec();
        self.metrics.blocked_duration.observe(self.since.elapsed().as_secs_f64());
    }
}
