//! Porthole: RTSP cameras in any browser, without re-encoding.
//!
//! Porthole pulls IP cameras over RTSP, puts their frames on a bus, and lets
//! independent outputs repackage them for browsers. No picture is
//! decoded or encoded on the way, but for snapshots.
//!
//! # Glossary
//!
//! - **stream**: what a viewer names, such as `front-door`.
//! - **source**: the RTSP URL behind a stream.
//! - **substream**: a second source of the same scene, in fewer pixels; a viewer
//!   chooses between the two by **quality**, `main` or `sub`.
//! - **track**: one elementary stream of it, with its codec's parameters.
//! - **frame**: one coded picture, or one packet's worth of sound.
//! - **output**: a way to watch: `whep`, `mse`, `hls`, `mjpeg`, `rtsp`.
//! - **viewer**: a browser or program that watches; **session**: one viewer's
//!   connection to one output.
//!
//! # The rooms
//!
//! ```text
//! main → cli → app → every room, wiring only
//! ingest → timeline → bus ← egress::{whep, mse, hls, mjpeg, rtsp}, api, pages
//! ingest, timeline, bus, egress, cmaf → media      egress::{mse, hls} → cmaf
//! egress, api, pages, go2rtc → auth, http          config → each room's Config type
//! ```
//!
//! `fault` (the one catalogue of faults), `memory` (what a crowd has left is given
//! back), `metrics`, `networks`, `secret` and `threads` are leaves that every room
//! may know; `rtp` (headers, reports, and frames cut into payloads,
//! for every output that speaks RTP) knows `media` alone. The catalogue stands
//! apart from `http`, which maps it to statuses, because the camera side raises
//! faults and knows no HTTP.
//! `tests/architecture.rs` reads every `use` and fails on a wrong arrow.
//!
//! # Invariants
//!
//! - Data flows one way. Only viewer interest and shutdown travel up.
//! - Publishing never waits for a reader; memory is bounded per stream.
//! - No output sees a camera's clock: time on the bus never goes back.
//! - A frame is never altered after it was published.
//! - No process is ever spawned by a source or a request.
//! - No password has a `Debug`, `Display` or `Serialize`.

pub mod api;
pub mod app;
pub mod auth;
pub mod bus;
pub mod cli;
pub mod cmaf;
pub mod config;
pub mod egress;
pub mod fault;
pub mod fetch;
pub mod go2rtc;
pub mod http;
pub mod ingest;
pub mod media;
mod memory;
pub mod metrics;
pub mod networks;
pub mod pages;
pub mod rtp;
pub mod secret;
mod threads;
pub mod timeline;
pub mod traces;
