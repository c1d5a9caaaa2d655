//! The metric registry, and what belongs to no room: the build, the process,
//! the configuration in force.
//!
//! Each room registers its own families beside what they count.

use std::collections::HashMap;
use std::time::SystemTime;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounterVec, IntGaugeVec, Opts, Registry};

/// The commit that was built, where the builder said it (`deploy/Dockerfile`).
const REVISION: &str = match option_env!("PORTHOLE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// A registry with `porthole_build_info` and the `process_*` families.
///
/// # Errors
///
/// None in practice: the registry is new.
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let build = IntGaugeVec::new(
        Opts::new("porthole_build_info", "Always 1; the labels tell which build runs"),
        &["version", "revision", "target"],
    )?;
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    build.with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION, &target]).set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Drops every series of `family` that is about `stream`, whatever its other
/// labels are: names come and go for as long as the program runs.
pub fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, stream: &str) {
    for metric in family.collect().iter().flat_map(MetricFamily::get_metric) {
        let labels = metric.get_label().iter();
        let labels: HashMap<&str, &str> = labels.map(|one| (one.name(), one.value())).collect();
        if labels.get("stream") == Some(&stream) {
            // Somebody else was faster, at the worst.
            let _ = family.remove(&labels);
        }
    }
}

/// Whether the configuration in force is the one that was written.
#[derive(Clone)]
pub struct ConfigMetrics {
    reloads: IntCounterVec,
    last_success: Gauge,
}

impl ConfigMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let reloads = IntCounterVec::new(
            Opts::new(
                "porthole_config_reloads_total",
                "Configurations read while running, by result: ok, or invalid and not applied",
            ),
            &["result"],
        )?;
        // There from the start: a rate sees no first event of a series that
        // begins with it.
        for result in ["ok", "invalid"] {
            reloads.with_label_values(&[result]);
        }
        let last_success = Gauge::new(
            "porthole_config_last_success_timestamp_seconds",
            "Unix time at which the configuration in force was applied",
        )?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(last_success.clone()))?;
        Ok(Self { reloads, last_success })
    }

    /// The configuration that the program starts with is in force at `now`.
    pub fn started(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_success.set(since.as_secs_f64());
    }

    /// A later one is in force at `now`.
    pub fn applied(&self, now: SystemTime) {
        self.reloads.with_label_values(&["ok"]).inc();
        self.started(now);
    }

    /// A later one has faults; the one before it stays in force.
    pub fn refused(&self) {
        self.reloads.with_label_values(&["invalid"]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_a_stream_that_is_forgotten_no_series_is_left_and_of_others_all_are() {
        let family = IntCounterVec::new(Opts::new("x", "y"), &["stream", "output"]).unwrap();
        for (stream, output) in [("yard", "whep"), ("yard", "hls"), ("yard/sub", "hls")] {
            family.with_label_values(&[stream, output]).inc();
        }
        forget(&family, "yard");
        let left = family.collect();
        let [metric] = left[0].get_metric() else { panic!("{left:?}") };
        assert!(metric.get_label().iter().any(|label| label.value() == "yard/sub"));
    }

    #[test]
    fn a_refused_configuration_leaves_the_time_of_the_last_one() {
        let registry = registry().unwrap();
        let config = ConfigMetrics::register(&registry).unwrap();
        let text = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let shows = |lines: &[&str]| {
            lines.iter().for_each(|line| assert!(text().contains(line), "{line}\n{}", text()));
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        config.started(at(10));
        shows(&["reloads_total{result=\"ok\"} 0\n", "timestamp_seconds 10\n"]);
        config.applied(at(20));
        config.refused();
        shows(&["{result=\"ok\"} 1\n", "{result=\"invalid\"} 1\n", "timestamp_seconds 20\n"]);
    }
}
