//! Low-latency HLS: one muxed rendition per stream, cut once, fetched by all.
//!
//! Here: where to cut (`segmenter`, `cutter`, `lane`, `targets`), what can be fetched
//! (`store`, `snapshot`, `disk`), playlists (`playlist`, `multivariant`), one reader per stream (`reader`) and what
//! its players wait on (`channel`, `waiting`), URLs (`routes`, `directives`), what is asked
//! by them (`ask`) and how that is answered (`answer`).
//! Not here: boxes (`cmaf`), HTTP listeners and TLS (`http`).
//!
//! Promise: whatever a player can fetch is a pure function of the stamped
//! frames (no cookie, session, clock or random in a name or a byte) and never
//! changes under its name, so any cache can serve a crowd. What a playlist
//! once promises it keeps for life. (Chromium's own player is told less of it,
//! and later, for it fails otherwise: `playlist::whole`, `waiting::news`.)
//!
//! Clauses are those of draft-pantos-hls-rfc8216bis.

mod answer;
mod ask;
mod channel;
mod cutter;
mod directives;
mod disk;
mod lane;
mod metrics;
mod multivariant;
mod playlist;
mod reader;
mod routes;
mod segment;
mod segmenter;
mod snapshot;
mod store;
mod targets;
mod waiting;

pub use metrics::Metrics;
pub use routes::{Deps, routes, shortcut};

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::core::Collector;
use tokio::sync::Semaphore;

use self::channel::Channel;
use self::disk::Disk;
use crate::bus::Stream;
use crate::media::StreamName;

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Cut every stream all the time. Then a player never waits for a segment,
    /// and gateways that start together cut alike; each camera costs the memory
    /// of what is kept of it, watched or not. Without it a stream is cut from
    /// its first player on.
    pub always: bool,
    /// Most time from what a part shows first to what a player can fetch of
    /// it: it holds as many whole frames as fit in nine tenths of this.
    pub part: Duration,
    /// How long a segment should be at the least; it ends at a key frame, where one comes
    /// within 12 s, or 1.25 times this where that is more.
    pub segment: Duration,
    /// How far back a player can go, in every stream that is cut, if that is
    /// more than three target durations. `None`: as
    /// far as [`Config::window`] says while somebody watches, and from a minute
    /// after the last request on, the three target durations that a player
    /// begins with, unless there is a `dir`. So how far a list goes back may
    /// depend on who has watched; names and bytes never do.
    pub window: Option<Duration>,
    /// Folder for what is not new of the window, which is in memory otherwise.
    pub dir: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            always: false,
            part: Duration::from_millis(500),
            segment: Duration::from_secs(2),
            window: None,
            dir: None,
        }
    }
}

impl Config {
    /// How far back a player can go while somebody watches.
    pub fn window(&self) -> Duration {
        self.window.unwrap_or(Duration::from_secs(60))
    }
}

/// Most requests held at once, all streams together: each costs a connection
/// and some kilobytes.
const HELD_REQUESTS: usize = 8_192;

/// All streams as HLS.
pub struct Hls {
    config: Config,
    metrics: Metrics,
    channels: ArcSwap<BTreeMap<StreamName, Arc<Channel>>>,
    held: Semaphore,
    disk: Mutex<Option<Disk>>,
}

impl Hls {
    /// No streams yet.
    ///
    /// # Errors
    ///
    /// When [`Config::dir`] cannot be used, or another process uses it.
    pub fn new(config: Config, metrics: Metrics) -> io::Result<Arc<Self>> {
        let disk = config.dir.as_deref().map(|dir| Disk::open(dir, &metrics)).transpose()?;
        Ok(Arc::new(Self {
            config,
            metrics,
            channels: ArcSwap::default(),
            held: Semaphore::new(HELD_REQUESTS),
            disk: Mutex::new(disk),
        }))
    }

    /// Removes all files; nothing old can be fetched any more.
    pub fn close(&self) {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(disk);
    }

    /// Offers `stream` from now on, by a task that ends with the stream or when
    /// it is detached. A stream of the same name gives way. A substream is a
    /// stream of its own here, to be attached before its main stream.
    ///
    /// Needs a tokio runtime.
    pub fn attach(&self, stream: &Arc<Stream>) {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = disk.as_ref().map(Disk::shelf);
        drop(disk);
        let sub = stream.substream().and_then(|sub| self.channel(sub.name()));
        let channel = Channel::spawn(stream, sub.as_ref(), &self.config, shelf, &self.metrics);
        self.channels.rcu(|channels| {
            let mut channels = BTreeMap::clone(channels);
            channels.insert(stream.name().clone(), Arc::clone(&channel));
            channels
        });
    }

    /// Forgets the stream and all that was kept of it.
    pub fn detach(&self, name: &StreamName) {
        self.channels.rcu(|channels| {
            let mut channels = BTreeMap::clone(channels);
            channels.remove(name);
            channels
        });
    }

    /// Bytes of media held for players, of all streams.
    pub fn buffer_bytes(&self) -> usize {
        self.channels.load().values().map(|channel| channel.buffer_bytes()).sum()
    }

    /// Families about the bytes held; to be registered by whoever owns the
    /// registry, like those of the bus.
    ///
    /// # Errors
    ///
    /// None in practice: the names are constants.
    pub fn collector(self: &Arc<Self>) -> prometheus::Result<impl Collector + use<>> {
        metrics::BufferCollector::new(Arc::clone(self))
    }

    fn channel(&self, name: &StreamName) -> Option<Arc<Channel>> {
        self.channels.load().get(name).cloned()
    }
}

#[cfg(test)]
mod tests;
