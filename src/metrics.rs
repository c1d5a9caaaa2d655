//! The metric registry, and what belongs to no room: the build, the process.
//!
//! Each room registers its own families beside what they count.

use prometheus::{IntGaugeVec, Opts, Registry};

/// A registry with `porthole_build_info` and the `process_*` families.
///
/// # Errors
///
/// None in practice: the registry is new.
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let build = IntGaugeVec::new(
        Opts::new("porthole_build_info", "Always 1; the labels tell which build runs"),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}
