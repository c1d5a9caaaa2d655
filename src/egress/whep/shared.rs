//! What requests, the sockets' tasks and the fan-outs share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Metrics;
use super::dtls::Identity;
use super::socket::Socket;
use super::switchboard::{SessionId, Switchboard};

/// One per process.
pub(super) struct Shared {
    pub(super) socket: Socket,
    pub(super) metrics: Metrics,
    pub(super) identity: Arc<Identity>,
    board: Mutex<Switchboard>,
}

impl Shared {
    pub(super) fn new(socket: Socket, metrics: Metrics, identity: Identity) -> Self {
        Self { socket, metrics, identity: Arc::new(identity), board: Mutex::default() }
    }

    /// A panic while the table was locked leaves it whole: every change is one
    /// call on a map.
    pub(super) fn board(&self) -> MutexGuard<'_, Switchboard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No request or datagram finds the session any more.
    pub(super) fn unlist(&self, id: SessionId) {
        self.board().remove(id);
    }
}
