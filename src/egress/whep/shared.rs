//! What requests, the sockets' tasks and the fan-outs share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Metrics;
use super::dtls::Identity;
use super::socket::Socket;
use super::switchboard::{SessionId, Switchboard};

/// How long answers are wanted soon after something that asks for them.
const URGENT: Duration = Duration::from_secs(2);

/// One per process.
pub(super) struct Shared {
    pub(super) socket: Socket,
    pub(super) metrics: Metrics,
    pub(super) identity: Arc<Identity>,
    board: Mutex<Switchboard>,
    began: Instant,
    /// Until when, in milliseconds since `began`.
    urgent: AtomicU64,
    /// A picture has gone out, or things have become urgent.
    nudge: Notify,
}

impl Shared {
    pub(super) fn new(socket: Socket, metrics: Metrics, identity: Identity) -> Self {
        let (board, urgent) = (Mutex::default(), AtomicU64::new(0));
        let (identity, began) = (Arc::new(identity), Instant::now());
        Self { socket, metrics, identity, board, began, urgent, nudge: Notify::new() }
    }

    /// A panic while the table was locked leaves it whole: every change is one
    /// call on a map.
    pub(super) fn board(&self) -> MutexGuard<'_, Switchboard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Somebody connects, or has lost packets: what viewers send is to be
    /// looked at soon for a while.
    pub(super) fn hurry(&self) {
        let now = self.millis();
        let before = self.urgent.fetch_max(now + URGENT.as_millis() as u64, Ordering::Relaxed);
        if before <= now {
            self.nudge.notify_one();
        }
    }

    /// A picture has gone out to a fan-out's viewers, and the thread that reads
    /// the socket is awake.
    pub(super) fn picture_sent(&self) {
        self.nudge.notify_one();
    }

    /// Waits for the end of a picture, or until somebody is in a hurry, but no
    /// longer than so long; whether one of both came.
    pub(super) async fn lull(&self, longest: Duration) -> bool {
        tokio::time::timeout(longest, self.nudge.notified()).await.is_ok()
    }

    /// Whether that is so now.
    pub(super) fn is_urgent(&self) -> bool {
        self.millis() < self.urgent.load(Ordering::Relaxed)
    }

    /// No request or datagram finds the session any more.
    pub(super) fn unlist(&self, id: SessionId) {
        self.board().remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::whep::fanout::tests::whep;

    #[tokio::test]
    async fn a_lull_ends_with_a_picture_or_when_somebody_is_in_a_hurry() {
        let whep = whep().await;
        let shared = &whep.shared;
        let ends = async |within| {
            let lull = shared.lull(Duration::from_secs(3_600));
            tokio::time::timeout(Duration::from_millis(within), lull).await.is_ok()
        };
        assert!(!ends(50).await && !shared.is_urgent());
        shared.picture_sent();
        assert!(ends(5_000).await && !shared.is_urgent());
        shared.hurry();
        assert!(ends(5_000).await && shared.is_urgent());
        // Whoever reads knows by now.
        shared.hurry();
        assert!(!ends(50).await);
    }
}
