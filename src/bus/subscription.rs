//! A reader: a cursor on a ring.

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge};
use tokio::sync::watch;

use super::ring::{Ring, Slot};
use crate::media::Frame;

/// Where a new reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// At the newest key frame held; else at the next one.
    NewestKey,
    /// At the oldest key frame held, so with all that can still be decoded;
    /// else at the next one.
    OldestKey,
    /// At the next key frame to come.
    NextKey,
    /// At the next frame, whatever it is.
    Live,
}

/// What a reader is handed.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The next frame.
    Frame(Arc<Frame>),
    /// The reader was overrun and lost this many frames; the next one it sees
    /// is one a decoder can start at.
    Skipped(u64),
}

/// A reader's place on a stream. Holds no frames, so it costs the same
/// however slow it is.
pub struct Subscription {
    ring: Arc<Ring>,
    /// Ticks with every frame; its sender is the publisher.
    published: watch::Receiver<u64>,
    /// Sequence wanted next.
    cursor: u64,
    /// Passing over frames until one a decoder can start at.
    seeking: bool,
    /// Where an overrun reader stopped: what lies between is reported once it
    /// has found its feet.
    lost_from: Option<u64>,
    meters: Meters,
}

/// What a reader of one output counts.
pub(super) struct Meters {
    pub(super) readers: IntGauge,
    pub(super) skipped: IntCounter,
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.readers.dec();
    }
}

impl Subscription {
    pub(super) fn new(
        ring: Arc<Ring>,
        published: watch::Receiver<u64>,
        join: Join,
        meters: Meters,
    ) -> Self {
        meters.readers.inc();
        let entry = match join {
            Join::NewestKey => ring.newest_entry(),
            Join::OldestKey => ring.oldest_entry(),
            Join::NextKey | Join::Live => None,
        };
        Self {
            cursor: entry.unwrap_or_else(|| ring.head()),
            seeking: entry.is_none() && join != Join::Live,
            ring,
            published,
            lost_from: None,
            meters,
        }
    }

    /// The next frame, if it is there; never waits. `None`: all caught up.
    pub fn try_next(&mut self) -> Option<Seen> {
        loop {
            match self.ring.get(self.cursor) {
                Slot::Future => return None,
                Slot::Gone => self.rejoin(),
                Slot::Frame(frame) if self.seeking && !frame.is_entry_point() => self.cursor += 1,
                Slot::Frame(frame) => {
                    self.seeking = false;
                    if let Some(from) = self.lost_from.take() {
                        let skipped = frame.sequence - from;
                        self.meters.skipped.inc_by(skipped);
                        // The frame itself comes with the next call.
                        return Some(Seen::Skipped(skipped));
                    }
                    self.cursor += 1;
                    return Some(Seen::Frame(frame));
                }
            }
        }
    }

    /// The next frame, waiting for it. `None` once the stream has ended.
    ///
    /// Cancel safe: dropping the future loses no frame.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            self.published.mark_unchanged();
            if let Some(seen) = self.try_next() {
                return Some(seen);
            }
            if self.published.changed().await.is_err() {
                // The publisher went; what it left behind is still to be read.
                return self.try_next();
            }
        }
    }

    /// Goes to the newest key frame if that is ahead, else to the next one.
    /// For readers that find themselves too far behind live.
    pub fn skip_to_newest_key(&mut self) {
        if self.ring.newest_entry().is_some_and(|newest| newest > self.cursor) {
            self.rejoin();
        }
    }

    fn rejoin(&mut self) {
        self.lost_from.get_or_insert(self.cursor);
        let newest = self.ring.newest_entry().filter(|&newest| newest > self.cursor);
        self.cursor = newest.unwrap_or_else(|| self.ring.head());
        self.seeking = newest.is_none();
    }
}
