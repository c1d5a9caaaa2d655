//! Frame bus: one writer per stream, any number of readers.
//!
//! Here: ordering, the key-frame ring, subscriptions, the registry of streams
//! and what each stream's source is doing.
//! Not here: RTSP (`ingest`), containers (`cmaf`), viewers (`egress`).
//!
//! Promise: publishing never waits for a reader. Memory is bounded per
//! stream, not per viewer, so a thousand slow browsers cost one ring. Knows
//! `media` and `fault` only.

mod collector;
mod metrics;
mod registry;
mod ring;
mod status;
mod stream;
mod subscription;

pub use collector::StreamsCollector;
pub use metrics::BusMetrics;
pub use registry::Registry;
pub use ring::Limits;
pub use status::{Note, SourceState, SourceStatus};
pub use stream::{Interest, Publisher, Stream};
pub use subscription::{Join, Seen, Subscription};

#[cfg(test)]
mod tests;
