//! The configuration in force, and how another takes its place.
//!
//! The file, and each file that it names a secret in, is watched; SIGHUP has
//! them read as well. What is valid is applied at once, stream by stream; what
//! is not leaves everything as it was.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::streams::{Changes, Streams};
use super::watch::Watch;
use crate::auth::Access;
use crate::config::{Config, Layers};
use crate::http::Policy;
use crate::metrics::ConfigMetrics;

/// What a configuration reaches while we run.
pub(super) struct Live {
    pub(super) streams: Streams,
    pub(super) access: Arc<Access>,
    pub(super) policy: Arc<ArcSwap<Policy>>,
    pub(super) metrics: ConfigMetrics,
    /// What is in force; but for the streams, which know it themselves.
    pub(super) config: Mutex<Config>,
    /// Where it comes from, once it may change.
    pub(super) layers: OnceLock<Layers>,
    /// Held by whoever reads a configuration and puts it in force: an older one
    /// must not come after a newer.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The API has written the file, and what it wrote is in force: that the
    /// file has changed is no news then.
    pub(super) by_api: AtomicBool,
}

impl Live {
    /// Puts `config` in force.
    pub(super) fn apply(&self, config: Config) -> Changes {
        let mut old = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        for key in fixed(&old, &config) {
            warn!(key, "changed, and will be in force after a restart");
        }
        // As they were, they keep what they remember, and nobody is asked twice.
        if old.access != config.access {
            self.access.change(config.access.clone());
        }
        self.policy.store(Arc::new(config.policy.clone()));
        let changes = self.streams.apply(config.streams.clone());
        *old = config;
        self.metrics.applied(SystemTime::now());
        let Changes { added, changed, removed } = &changes;
        info!(?added, ?changed, ?removed, "the configuration is in force");
        changes
    }

    fn is_in_force(&self, config: &Config) -> bool {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) == *config
    }

    /// The files that `layers` and the configuration in force come from.
    pub(super) async fn watch(&self, layers: &Layers) -> Watch {
        let files = files(layers, &self.config.lock().unwrap_or_else(PoisonError::into_inner));
        Watch::new(files).await
    }

    /// Reads `layers` whenever what is watched changes, until `stop`.
    pub(super) async fn follow(
        self: Arc<Self>,
        layers: Layers,
        mut watch: Watch,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = watch.changed() => {}
                () = stop.cancelled() => return,
            }
            let _turn = self.turn.lock().await;
            let by_api = self.by_api.swap(false, Ordering::AcqRel);
            let next = layers.clone();
            // Files may be far away.
            let loaded = tokio::task::spawn_blocking(move || next.load()).await;
            match loaded {
                Ok(Ok(config)) => {
                    watch.follow(files(&layers, &config)).await;
                    if !(by_api && self.is_in_force(&config)) {
                        self.apply(config);
                    }
                }
                Ok(Err(faults)) => {
                    self.metrics.refused();
                    for fault in faults.iter() {
                        error!(%fault, "the configuration has a fault; the old one stays in force");
                    }
                }
                // Its words are in the log, as far as they are for it.
                Err(_) => error!("reading the configuration failed inside the gateway"),
            }
        }
    }
}

fn files(layers: &Layers, config: &Config) -> Vec<PathBuf> {
    layers.file.iter().chain(&config.files).cloned().collect()
}

/// The keys that differ and are read at the start alone.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let differ = [
        ("listen", old.listen != new.listen),
        ("admin.listen", old.admin_listen != new.admin_listen),
        ("tls", old.tls != new.tls),
        ("limits", (&old.caps, old.viewers) != (&new.caps, new.viewers)),
        ("webrtc", old.webrtc != new.webrtc),
        ("hls", old.hls != new.hls),
        ("rtsp", old.rtsp != new.rtsp),
        ("embed", old.embed != new.embed),
        ("traces", old.traces != new.traces),
    ];
    differ.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key).collect()
}
