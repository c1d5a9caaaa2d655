//! Configuration: layers, validation with all faults at once, secrets.
//!
//! Here: defaults < file < `PORTHOLE__SECTION__KEY` < flags, `${VAR}`, and
//! where each value came from, so that a fault names line and column.
//! Not here: what a value means to a room: each room has its own `Config`
//! type, which this room fills. No room knows this one, but `cli` and `app`.
//!
//! Promise: a configuration with ten faults is reported once, with ten lines.

mod access;
mod change;
mod document;
mod edit;
mod entry;
mod fault;
mod import;
mod layers;
mod listeners;
mod reader;
mod schema;
mod store;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::auth::Rules;
use crate::egress::{hls, rtsp, whep};
use crate::http::{Caps, Policy, TlsFiles};
use crate::ingest::{Source, Still};
use crate::media::StreamName;
use crate::networks::Networks;
use crate::pages;

pub use change::{Change, NotChanged};
pub use entry::Entry;
pub use fault::{ConfigFault, ConfigFaults};
pub use import::{Imported, import};
pub use layers::{Layers, default_file};

/// The keys as JSON Schema (2020-12): what editors know of them. Faults that need
/// more than the text, such as a file that is missing, are [`Layers::load`]'s.
pub const SCHEMA: &str = include_str!("porthole.schema.json");

/// Everything that can be configured, checked.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// Viewer listener: pages, WHEP, HLS.
    pub listen: SocketAddr,
    /// Admin listener: metrics, health.
    pub admin_listen: SocketAddr,
    /// HTTPS on the viewer listener.
    pub tls: Option<TlsFiles>,
    /// Most connections on the viewer listener.
    pub caps: Caps,
    /// How long viewers go on after SIGTERM.
    pub drain: Duration,
    /// The OpenTelemetry collector that traces go to.
    pub traces: Option<Url>,
    /// Streams in the order they were written.
    pub streams: Vec<StreamConfig>,
    /// How each of them is written.
    pub entries: BTreeMap<StreamName, Entry>,
    /// WebRTC.
    pub webrtc: whep::Config,
    /// Low-latency HLS.
    pub hls: hls::Config,
    /// Most viewers at once over each of WebRTC, MSE and MJPEG.
    pub viewers: usize,
    /// Re-publishing over RTSP.
    pub rtsp: rtsp::Config,
    /// Who may see what; without rules, everybody who can reach us.
    pub access: Option<Rules>,
    /// Where streams from the API may lead; `None` for cameras' networks.
    pub source_networks: Option<Networks>,
    /// Names, proxies, and other origins' pages.
    pub policy: Policy,
    /// Files whose content is part of it, such as secrets.
    pub files: Vec<PathBuf>,
    /// Who may show pages in a frame.
    pub embed: pages::Config,
}

/// A stream and the cameras' URLs behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// What viewers call it.
    pub name: StreamName,
    /// Where it comes from.
    pub source: Source,
    /// The same scene in fewer pixels.
    pub substream: Option<Source>,
    /// Its pictures.
    pub snapshot: SnapshotConfig,
}

/// Where a stream's pictures come from.
#[derive(Clone, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// The camera's own still.
    pub still: Option<Still>,
    /// Whether anything may be decoded.
    pub decode: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9998)),
            tls: None,
            caps: Caps::default(),
            viewers: whep::Config::default().max_viewers,
            drain: Duration::from_secs(3),
            traces: None,
            streams: Vec::new(),
            entries: BTreeMap::new(),
            webrtc: whep::Config::default(),
            hls: hls::Config::default(),
            rtsp: rtsp::Config::default(),
            access: None,
            source_networks: None,
            policy: Policy::default(),
            files: Vec::new(),
            embed: pages::Config::default(),
        }
    }
}

#[cfg(test)]
mod tests;
