//! Access refused, counted.

use prometheus::{IntCounterVec, Opts, Registry};

/// Metric families of this room.
#[derive(Clone)]
pub struct AuthMetrics {
    failures: IntCounterVec,
}

impl AuthMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let failures = IntCounterVec::new(
            Opts::new(
                "porthole_auth_failures_total",
                "Credentials that were wrong (password, token, jwt, callback), unheard after too \
                 many of those (damped), or right but not for this (forbidden)",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self { failures })
    }

    pub(super) fn failed(&self, kind: &'static str) {
        self.failures.with_label_values(&[kind]).inc();
    }
}
