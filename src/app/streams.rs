//! The streams that run: begun, ended and exchanged, each by itself.
//!
//! One whose configuration is as before is not touched: it loses no frame.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::{self, BusMetrics, Registry, SourceState, SourceStatus, Stream};
use crate::config::{SnapshotConfig, StreamConfig};
use crate::egress::hls::Hls;
use crate::egress::mjpeg::{self, Pictures};
use crate::http::SessionMetrics;
use crate::ingest::{IngestMetrics, Pullers, Source, Still};
use crate::media::StreamName;

/// All streams, and what they are made with.
pub(super) struct Streams {
    pub(super) registry: Arc<Registry>,
    pub(super) hls: Arc<Hls>,
    pub(super) pictures: Arc<Pictures>,
    pub(super) bus: BusMetrics,
    pub(super) pullers: Arc<Pullers>,
    pub(super) ingest: IngestMetrics,
    pub(super) sessions: SessionMetrics,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) table: Mutex<Table>,
}

#[derive(Default)]
pub(super) struct Table {
    running: BTreeMap<StreamName, Running>,
    /// Those whose cameras are still being told goodbye.
    leaving: Vec<Running>,
}

/// A stream, and its substream with it.
struct Running {
    config: StreamConfig,
    /// Ends its supervisors.
    stop: CancellationToken,
    /// Empty once they have ended, and their cameras know.
    supervisors: TaskTracker,
}

/// What another configuration came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Streams that are new.
    pub added: Vec<StreamName>,
    /// Streams that were ended and begun anew.
    pub changed: Vec<StreamName>,
    /// Streams that are no more.
    pub removed: Vec<StreamName>,
}

impl Streams {
    /// These streams from now on, and no others.
    pub(super) fn apply(&self, wanted: Vec<StreamConfig>) -> Changes {
        // Poison does no harm: each line leaves a table of whole entries.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { running, leaving } = &mut *table;
        let (gone, still): (Vec<_>, _) =
            leaving.drain(..).partition(|old| old.supervisors.is_empty());
        *leaving = still;
        let mut changes = Changes::default();
        let as_before = |old: &Running| wanted.contains(&old.config);
        for (name, old) in running.extract_if(.., |_, old| !as_before(old)) {
            old.stop.cancel();
            if wanted.iter().all(|new| new.name != name) {
                self.registry.remove(&name);
                for name in [&name, &name.sub()] {
                    self.hls.detach(name);
                    self.pictures.detach(name);
                }
                changes.removed.push(name);
            } else {
                changes.changed.push(name);
            }
            leaving.push(old);
        }
        for config in wanted {
            let name = config.name.clone();
            if running.contains_key(&name) {
                continue;
            }
            if !changes.changed.contains(&name) {
                changes.added.push(name.clone());
            }
            let before = leaving.iter().filter(|old| share_camera(&old.config, &config));
            let before = before.map(|old| old.supervisors.clone()).collect();
            running.insert(name, self.begin(config, before));
        }
        // Not before nobody counts any more: it would all be there again.
        let named = |name: &StreamName| {
            running.contains_key(name) || leaving.iter().any(|old| old.config.name == *name)
        };
        for Running { config: StreamConfig { name, .. }, .. } in gone {
            if !named(&name) {
                self.forget(&name);
            }
        }
        changes
    }

    /// Drops what was counted of a stream that is no more.
    fn forget(&self, name: &StreamName) {
        for name in [name, &name.sub()] {
            self.ingest.forget(name);
            self.sessions.forget(name);
        }
    }

    /// Begins a stream, whose cameras are asked once all of `before` have left
    /// them: a camera has few places.
    fn begin(&self, config: StreamConfig, before: Vec<TaskTracker>) -> Running {
        let (stop, supervisors) = (self.stop.child_token(), TaskTracker::new());
        let start = |name, source: Source, substream| {
            let state = if source.on_demand { SourceState::Idle } else { SourceState::Connecting };
            let status = SourceStatus::new(state, SystemTime::now(), source.to_string());
            let (limits, metrics) = (bus::Limits::default(), self.bus.clone());
            let (stream, publisher) =
                Stream::with_substream(name, limits, status, metrics, substream);
            self.hls.attach(&stream);
            let (metrics, stop, before) = (self.ingest.clone(), stop.clone(), before.clone());
            let pullers = Arc::clone(&self.pullers);
            let supervisor = async move {
                for other in before {
                    other.wait().await;
                }
                pullers.supervise(source, publisher, &metrics, stop).await
            };
            self.tasks.spawn(supervisors.track_future(supervisor));
            stream
        };
        let StreamConfig { name, source, substream, snapshot } = config.clone();
        let SnapshotConfig { still, decode } = snapshot;
        self.pictures.attach(&name, mjpeg::Source { still: still.map(fetcher), decode });
        self.pictures.attach(&name.sub(), mjpeg::Source { still: None, decode });
        if substream.is_none() {
            self.hls.detach(&name.sub());
        }
        let substream = substream.map(|source| start(name.sub(), source, None));
        self.registry.insert(start(name, source, substream));
        supervisors.close();
        Running { config, stop, supervisors }
    }
}

/// Whether both ask the same camera for the same.
fn share_camera(one: &StreamConfig, other: &StreamConfig) -> bool {
    let places = |config: &StreamConfig| {
        [Some(config.source.place()), config.substream.as_ref().map(Source::place)]
    };
    let others = places(other);
    places(one).iter().flatten().any(|place| others.iter().flatten().any(|other| other == place))
}

/// Asks a camera for its own still: what outputs may not do themselves.
fn fetcher(still: Still) -> mjpeg::FetchStill {
    let still = Arc::new(still);
    Arc::new(move || {
        let still = Arc::clone(&still);
        Box::pin(async move { still.fetch().await })
    })
}
