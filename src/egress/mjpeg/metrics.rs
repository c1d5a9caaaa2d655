//! Decoding, and bytes held for viewers.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::Pictures;

/// Metric families of pictures. Viewers of rows of pictures and bytes sent are
/// counted in `http::SessionMetrics`.
#[derive(Clone)]
pub struct Metrics {
    pub(super) decoding: Histogram,
    pub(super) panics: IntCounter,
}

impl Metrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let decoding = Histogram::with_opts(
            HistogramOpts::new(
                "porthole_mjpeg_decode_duration_seconds",
                "How long it took to decode a camera's picture for viewers of JPEG",
            )
            // 360p takes a few milliseconds, 4K some ten.
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
        )?;
        registry.register(Box::new(decoding.clone()))?;
        let panics = IntCounter::new("porthole_panics_total", "Panics contained")?;
        Ok(Self { decoding, panics })
    }

    /// Counts panics in this family, by `task`, which rooms share.
    pub fn counting_panics(self, family: &IntCounterVec) -> Self {
        Self { panics: family.with_label_values(&["mjpeg"]), ..self }
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new()).expect("a new registry holds no family yet")
    }
}

/// What is held of all streams, read off when somebody asks.
pub(super) struct BufferCollector {
    pictures: Arc<Pictures>,
    held: IntGauge,
    limit: IntGauge,
}

impl BufferCollector {
    pub(super) fn new(pictures: Arc<Pictures>) -> prometheus::Result<Self> {
        // Other rooms have the same families with another pool; they merge as
        // long as their help texts are equal.
        let pool = |name: &str, help: &str| {
            IntGauge::with_opts(Opts::new(name, help).const_label("pool", "pictures"))
        };
        Ok(Self {
            pictures,
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
        let (held, limit) = self.pictures.buffer_bytes();
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        [self.held.collect(), self.limit.collect()].concat()
    }
}
