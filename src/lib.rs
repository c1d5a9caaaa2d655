//! Porthole: RTSP cameras in any browser, without re-encoding.
#![warn(missing_docs)]

pub mod api;
pub mod app;
pub mod auth;
pub mod bus;
pub mod cli;
pub mod cmaf;
pub mod config;
pub mod egress;
pub mod fault;
pub mod http;
pub mod ingest;
pub mod media;
pub mod metrics;
pub mod timeline;
