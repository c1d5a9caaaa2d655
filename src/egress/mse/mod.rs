//! MSE: fragmented MP4 over a WebSocket, for viewers whose network lets no
//! WebRTC through.
//!
//! Here: what a viewer can play (`hello`) and is told of B-frames (`expected`),
//! fragments of one frame, made once per stream (`mux`), one viewer's socket
//! (`session`), URLs (`routes`).
//! Not here: boxes (`cmaf`), HTTP listeners (`http`).
//!
//! Promise: a viewer costs a cursor on the bus and the one message that is
//! being written to it. One that falls behind skips to a key frame; nothing is
//! kept for it.

mod expected;
mod hello;
mod mux;
mod routes;
mod session;

pub use routes::{Deps, routes};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::mux::Mux;
use crate::bus::Stream;
use crate::http::{OutputSessions, SessionMetrics};
use crate::media::StreamName;

/// All streams as MSE.
pub struct Mse {
    sessions: OutputSessions,
    slots: Arc<Semaphore>,
    muxes: Mutex<HashMap<StreamName, Weak<Mux>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Mse {
    /// At most `viewers` at once, each of which costs a connection and at worst
    /// a picture's bytes; they are counted in `sessions` and sent away by
    /// `stop`; `tasks` has ended when all have gone.
    pub fn new(
        sessions: &SessionMetrics,
        viewers: usize,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            sessions: sessions.of("mse"),
            slots: Arc::new(Semaphore::new(viewers)),
            muxes: Mutex::default(),
            stop,
            tasks,
        })
    }

    /// What all viewers of `stream` share while there are any.
    fn mux(&self, stream: &Arc<Stream>) -> Arc<Mux> {
        // Poison does no harm: no line in here can leave half an entry.
        let mut muxes = self.muxes.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = muxes.get(stream.name()).and_then(Weak::upgrade);
        // A stream of the same name may have taken its place, with numbers of
        // its own.
        if let Some(mux) = shared.filter(|mux| mux.is_of(stream)) {
            return mux;
        }
        let mux = Arc::new(Mux::new(stream));
        muxes.retain(|_, mux| mux.strong_count() > 0);
        muxes.insert(stream.name().clone(), Arc::downgrade(&mux));
        mux
    }
}
