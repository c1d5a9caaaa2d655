//! The camera side: one supervisor per camera pulls it over RTSP and puts its
//! frames on the bus.
//!
//! Here: connecting, watching, backing off; depacketizing; byte caps.
//! Not here: who watches (`egress`), what the frames become (`cmaf`, `egress`).
//!
//! Promise: a camera is retried from the first attempt and never given up;
//! its faults are shown by every output; whatever it sends, it costs bounded
//! memory and nobody but itself its stream. No process is ever spawned.

mod backoff;
pub mod depacketize;
mod end;
mod jumps;
mod loss;
mod mask;
mod metrics;
mod probe;
mod pullers;
mod reach;
mod route;
pub mod rtsp;
mod select;
mod session;
mod source;
mod spare;
mod supervisor;
mod watchdog;

pub use depacketize::AfterLoss;
pub use metrics::IngestMetrics;
pub use probe::{Probe, Seen, probe};
pub use pullers::Pullers;
pub use reach::Reach;
pub use rtsp::{Authorities, BadTrust, Fingerprint, Still, Trust};
pub use source::{BadSource, Login, Source, Transport};
pub use supervisor::supervise;
