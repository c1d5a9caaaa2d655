//! Metrics registry.
