//! Outputs: each repackages frames from the bus for one kind of viewer.
//!
//! An output plugs in by convention, not by a trait with one caller: its own
//! `Config`, `Metrics::register`, `routes(Deps) -> Router`. No output knows
//! another, none knows `ingest`.

pub mod hls;
pub mod mjpeg;
pub mod mse;
pub mod rtsp;
pub mod whep;
