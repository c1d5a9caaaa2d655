//! Readers and what they missed. Readers name their output, so the bus need
//! not know them.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::subscription::Meters;

/// Metric families of the bus.
#[derive(Clone)]
pub struct BusMetrics {
    readers: IntGaugeVec,
    skipped_frames: IntCounterVec,
}

impl BusMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let readers = IntGaugeVec::new(
            Opts::new("porthole_bus_readers", "Readers of the frame bus"),
            &["output"],
        )?;
        let skipped_frames = IntCounterVec::new(
            Opts::new(
                "porthole_bus_skipped_frames_total",
                "Frames a reader missed before rejoining at a key frame",
            ),
            &["output"],
        )?;
        registry.register(Box::new(readers.clone()))?;
        registry.register(Box::new(skipped_frames.clone()))?;
        Ok(Self { readers, skipped_frames })
    }

    /// Families that no registry shows, for tests and benches.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new()).expect("a new registry holds no family yet")
    }

    pub(super) fn meters(&self, output: &'static str) -> Meters {
        Meters {
            readers: self.readers.with_label_values(&[output]),
            skipped: self.skipped_frames.with_label_values(&[output]),
        }
    }
}
