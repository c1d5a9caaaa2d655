//! Figures that are read off the streams when somebody asks.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::{Registry, SourceState};

/// How many streams are in which state, and what their rings hold.
pub struct StreamsCollector {
    registry: Arc<Registry>,
    streams: IntGaugeVec,
    held: IntGauge,
    limit: IntGauge,
}

impl StreamsCollector {
    /// Families about the streams of `registry`; to be registered by whoever
    /// owns it.
    ///
    /// # Errors
    ///
    /// None in practice: the names are constants.
    pub fn new(registry: Arc<Registry>) -> prometheus::Result<Self> {
        // Other rooms hold buffers too: same names, another pool.
        let pool = |name: &str, help: &str| {
            IntGauge::with_opts(Opts::new(name, help).const_label("pool", "bus"))
        };
        Ok(Self {
            registry,
            streams: IntGaugeVec::new(
                Opts::new("porthole_streams", "Streams, by state of their source"),
                &["state"],
            )?,
            held: pool("porthole_buffer_bytes", "Media bytes held")?,
            limit: pool("porthole_buffer_limit_bytes", "Most media bytes that may be held")?,
        })
    }
}

impl Collector for StreamsCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.streams.desc(), self.held.desc(), self.limit.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let streams = self.registry.list();
        for state in SourceState::ALL {
            let count = streams.iter().filter(|stream| stream.status().state == state).count();
            self.streams.with_label_values(&[state.as_str()]).set(count as i64);
        }
        let (held, limit) = streams
            .iter()
            .flat_map(|stream| std::iter::once(stream).chain(stream.substream()))
            .map(|stream| stream.buffer_bytes())
            .fold((0, 0), |(held, limit), (bytes, most)| (held + bytes, limit + most));
        self.held.set(held as i64);
        self.limit.set(limit as i64);
        [self.streams.collect(), self.held.collect(), self.limit.collect()].concat()
    }
}
