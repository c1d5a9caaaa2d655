//! One task per stream that somebody watches: it reads the bus once, cuts each
//! frame into packets once, and drives all of that stream's viewers, so that
//! nothing of theirs needs a lock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use super::engine::Restart;
use super::group::Group;
use super::packetizer::Packets;
use super::reorder;
use super::sessions::Shared;
use super::socket::Outbox;
use super::switchboard::SessionId;
use super::viewer::{Health, Viewer};
use crate::bus::{Interest, Join, Seen, Stream};
use crate::media::{Frame, Tracks};

/// Commands waiting for a task; beyond that datagrams are thrown away.
pub(super) const MAX_COMMANDS: usize = 4096;

/// Commands taken before frames get their turn again.
const COMMANDS_AT_ONCE: usize = 128;

/// Bytes collected before they are sent, with many viewers.
const FLUSH_BYTES: usize = 512 << 10;

/// What a stream's task is told.
pub(super) enum Command {
    Join(SessionId, Box<Viewer>),
    Datagram {
        viewer: SessionId,
        from: SocketAddr,
        to: Option<IpAddr>,
        data: BytesMut,
    },
    Candidates(SessionId, Vec<String>),
    Restart(SessionId, Box<Restart>),
    Leave(SessionId, &'static str),
    /// Says goodbye to everybody.
    Close,
}

/// The task's state.
pub(super) struct Fanout {
    stream: Arc<Stream>,
    /// Keeps a camera that connects on demand connected.
    _interest: Interest,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    viewers: HashMap<SessionId, Seat>,
    /// Due times; a viewer has one valid entry, the one its seat names.
    timers: BinaryHeap<Reverse<(Instant, SessionId)>>,
    outbox: Outbox,
    tracks: Option<Arc<Tracks>>,
    group: Group,
    sent_bytes: IntCounter,
}

/// A viewer, and when it wants to be looked after.
struct Seat {
    viewer: Viewer,
    due: Option<Instant>,
}

impl Fanout {
    pub(super) fn new(
        stream: Arc<Stream>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            sent_bytes: shared.metrics.sessions.sent_bytes(stream.name()),
            _interest: stream.watch(),
            group: Group::new(stream.buffer_bytes().1),
            stream,
            shared,
            commands,
            viewers: HashMap::new(),
            timers: BinaryHeap::new(),
            outbox: Outbox::default(),
            tracks: None,
        }
    }

    /// Runs until nobody watches, or the stream has ended.
    pub(super) async fn run(mut self) {
        let join = if self.stream.can_start() { Join::NewestKey } else { Join::Live };
        let mut frames = self.stream.subscribe("whep", join);
        // What viewers start with is complete before the first of them asks.
        while let Some(seen) = frames.try_next() {
            self.seen(seen).await;
        }
        loop {
            let due = self.timers.peek().map(|Reverse((at, _))| *at);
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                seen = frames.next() => match seen {
                    Some(seen) => self.seen(seen).await,
                    None => {
                        self.close_all("stream_ended").await;
                        self.shared.forget(&self.stream);
                        return;
                    }
                },
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    self.command(command).await;
                    for _ in 0..COMMANDS_AT_ONCE {
                        let Ok(command) = self.commands.try_recv() else { break };
                        self.command(command).await;
                    }
                }
                () = tokio::time::sleep_until(due.into()) => self.ticks().await,
            }
            self.flush().await;
            if self.viewers.is_empty() && self.shared.retire(&self.stream, &self.commands) {
                return;
            }
        }
    }

    async fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Frame(frame) => self.frame(&frame).await,
            // The next one is a key frame, and all viewers can go on.
            Seen::Skipped(_) => self.group.clear(),
        }
    }

    async fn frame(&mut self, frame: &Frame) {
        if !self.tracks.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.tracks)) {
            self.tracks = Some(Arc::clone(&frame.tracks));
            self.tracks_changed(&frame.tracks);
        }
        let shown = [frame.tracks.video(), frame.tracks.audio()];
        if !shown.into_iter().flatten().any(|track| track.id == frame.track) {
            return;
        }
        if reorder::is_surprise(frame) {
            // They ask anew, and are told.
            self.ids().into_iter().for_each(|id| self.remove(id, "bframes"));
            return;
        }
        let Some(packets) = Packets::of(frame).map(Arc::new) else { return };
        self.group.push(&packets);
        let (now, ids) = (Instant::now(), self.ids());
        for id in ids {
            self.with(id, now, |viewer, _| viewer.offer(now, &packets));
            if self.outbox.len() > FLUSH_BYTES {
                self.flush().await;
            }
        }
    }

    /// A viewer that negotiated another codec has to ask anew.
    fn tracks_changed(&mut self, tracks: &Tracks) {
        let video = tracks.video().map(|track| track.codec.name());
        for id in self.ids() {
            if self.viewers.get(&id).is_some_and(|seat| !seat.viewer.takes_video(video)) {
                self.remove(id, "codec_changed");
            }
        }
    }

    async fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Join(id, viewer) => {
                self.viewers.insert(id, Seat { viewer: *viewer, due: None });
                self.with(id, now, |_, _| ());
            }
            Command::Datagram { viewer: id, from, to, data } => {
                self.with(id, now, |viewer, outbox| viewer.receive(now, from, to, data, outbox));
            }
            Command::Candidates(id, candidates) => {
                self.with(id, now, |viewer, _| {
                    candidates.iter().for_each(|candidate| viewer.add_candidate(candidate));
                });
            }
            Command::Restart(id, restart) => {
                self.with(id, now, |viewer, _| viewer.restart(now, *restart));
            }
            Command::Leave(id, end) => self.remove(id, end),
            Command::Close => self.close_all("shutdown").await,
        }
    }

    async fn ticks(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            match self.viewers.get_mut(&id) {
                Some(seat) if seat.due == Some(at) => seat.due = None,
                _ => continue,
            }
            self.with(id, now, |viewer, _| viewer.tick(now));
            if self.outbox.len() > FLUSH_BYTES {
                self.flush().await;
            }
        }
    }

    /// Lets something happen to a viewer, and follows it up. The engine reads
    /// what strangers send: should it panic, that viewer ends and nobody else.
    fn with(&mut self, id: SessionId, now: Instant, act: impl FnOnce(&mut Viewer, &mut Outbox)) {
        let Some(Seat { viewer, due }) = self.viewers.get_mut(&id) else { return };
        let step = || {
            act(viewer, &mut self.outbox);
            viewer.settle(now, &self.group, &mut self.outbox)
        };
        let Ok(health) = catch_unwind(AssertUnwindSafe(step)) else { return self.abandon(id) };
        self.sent_bytes.inc_by(viewer.take_sent());
        match health {
            Health::Over(end) => self.remove(id, end),
            Health::Due(at) => {
                // An engine that is late asks for the past: not a busy loop.
                let at = at.max(now + Duration::from_millis(1));
                // An entry that comes too early costs one look, a new one for
                // every packet would cost a heap that grows.
                if due.is_none_or(|due| at < due) {
                    *due = Some(at);
                    self.timers.push(Reverse((at, id)));
                }
            }
        }
    }

    fn remove(&mut self, id: SessionId, end: &'static str) {
        if let Some(Seat { viewer, .. }) = self.viewers.remove(&id) {
            tracing::info!(stream = %self.stream.name(), viewer = id.short(), end, "viewer left");
            let close = || viewer.close(Instant::now(), end, &mut self.outbox);
            match catch_unwind(AssertUnwindSafe(close)) {
                Ok(sent) => self.sent_bytes.inc_by(sent),
                Err(_) => self.shared.metrics.panics.inc(),
            }
        }
    }

    /// Drops a viewer whose engine has panicked, without another call of it.
    fn abandon(&mut self, id: SessionId) {
        self.shared.metrics.panics.inc();
        if let Some(Seat { viewer, .. }) = self.viewers.remove(&id) {
            tracing::error!(stream = %self.stream.name(), viewer = id.short(), "engine panicked");
            // What it left half done may fall over once more.
            let _ = catch_unwind(AssertUnwindSafe(|| viewer.abandon()));
        }
    }

    async fn close_all(&mut self, end: &'static str) {
        for id in self.ids() {
            self.remove(id, end);
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        if !self.outbox.is_empty() {
            let lost = self.shared.socket.send(&mut self.outbox).await;
            self.shared.metrics.discarded("not_sent", lost);
        }
    }

    fn ids(&self) -> Vec<SessionId> {
        self.viewers.keys().copied().collect()
    }
}

#[cfg(test)]
#[path = "fanout_tests.rs"]
pub(super) mod tests;
