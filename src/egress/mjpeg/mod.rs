//! Pictures: the newest one as a JPEG, and a row of them as Motion JPEG.
//!
//! Here: which picture is the newest (`newest`), making a JPEG of it (`decode`,
//! `plane`, `colour`, `jpeg`), making each once however many ask (`once`,
//! `pictures`), cameras' own stills (`stills`), URLs (`routes`) and rows of
//! pictures (`row`).
//! Not here: asking a camera for a still of its own (`ingest`, wired in by
//! `app`), what pages do with a picture.
//!
//! Promise: a key frame is decoded once, however many ask for it and in
//! whatever widths; a viewer that reads slowly is shown the newest picture,
//! and costs no queue; what a camera sent before it failed is never shown as
//! if it were new.
//!
//! # Hostile cameras
//!
//! H.264 is decoded by OpenH264, which is C++, in this process: no process is
//! ever spawned here. What a camera can send it is narrowed first (`decode`):
//! pictures of slices that need no other picture, of sizes, profiles and
//! parameter sets that we have read ourselves; by a decoder that has seen no
//! other picture before. `snapshot: off` in the configuration, for one stream
//! or for all, and a build without the feature `openh264` keep it out wholly.

mod colour;
#[cfg(feature = "openh264")]
mod decode;
#[cfg(not(feature = "openh264"))]
#[path = "no_decoder.rs"]
mod decode;
#[cfg(fuzzing)]
pub mod fuzzing;
mod jpeg;
mod metrics;
mod newest;
mod once;
mod pictures;
mod plane;
mod routes;
mod row;
mod stills;

pub use metrics::Metrics;
pub use pictures::{Pictures, Source};
pub use routes::{Deps, routes};
pub use stills::FetchStill;
