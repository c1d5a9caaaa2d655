//! One task per stream that somebody watches, and media thread: it reads the
//! bus once and drives all of that stream's viewers there, so that nothing of
//! theirs needs a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ahead;
use super::command::Command;
use super::packetizer::Packets;
use super::round::{Round, Seat};
use super::sessions::READER;
use super::shared::Shared;
use super::sub::{Sub, Unfit};
use super::switchboard::SessionId;
use super::tasks::{Duty, Tasks};
use super::viewer::Viewer;
use crate::bus::{Interest, Join, Seen};
use crate::media::reorder::Order;
use crate::media::{Frame, Quality, Tracks};
use crate::memory;

/// Commands taken before frames get their turn again.
const COMMANDS_AT_ONCE: usize = 128;

/// The task's state.
pub(super) struct Fanout {
    duty: Duty,
    /// Keeps a camera that connects on demand connected.
    _interest: Interest,
    tasks: Arc<Tasks>,
    seats: HashMap<SessionId, Seat>,
    round: Round,
    tracks: Option<Arc<Tracks>>,
    order: Order,
}

impl Fanout {
    pub(super) fn new(duty: Duty, shared: Arc<Shared>, tasks: Arc<Tasks>) -> Self {
        let stream = &duty.stream;
        Self {
            _interest: stream.watch(),
            round: Round::new(stream, shared),
            duty,
            tasks,
            seats: HashMap::new(),
            tracks: None,
            order: Order::default(),
        }
    }

    /// Runs until nobody watches, or the stream has ended.
    pub(super) async fn run(mut self) {
        let stream = Arc::clone(&self.duty.stream);
        let join = if stream.can_start() { Join::NewestKey } else { Join::Live };
        let mut frames = stream.subscribe("whep", join);
        // What viewers start with is complete before the first of them asks.
        while let Some(seen) = frames.try_next() {
            self.seen(seen).await;
        }
        let mut sub = None;
        loop {
            self.tend_sub(&mut sub).await;
            let due = self.round.reminders.due();
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                seen = frames.next() => match seen {
                    Some(seen) => self.seen(seen).await,
                    None => {
                        self.close_all("stream_ended").await;
                        self.tasks.forget(self.duty.id);
                        return;
                    }
                },
                seen = next_of(&mut sub) => self.sub_seen(&mut sub, seen).await,
                command = self.duty.commands.recv() => {
                    let Some(command) = command else { return };
                    self.command(command).await;
                    for _ in 0..COMMANDS_AT_ONCE {
                        let Ok(command) = self.duty.commands.try_recv() else { break };
                        self.command(command).await;
                    }
                }
                () = tokio::time::sleep_until(due.into()) => self.ticks().await,
            }
            if let Some(Err(unfit)) = sub.as_ref().map(|sub| sub.check(Instant::now())) {
                self.lose_sub(&mut sub, unfit).await;
            }
            if self.seats.is_empty() && self.tasks.retire(self.duty.id, &self.duty.commands) {
                return;
            }
        }
    }

    async fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Frame(frame) => self.frame(&frame).await,
            // The next one is a key frame, and all viewers can go on.
            Seen::Skipped(_) => self.round.groups.main.clear(),
        }
    }

    async fn frame(&mut self, frame: &Frame) {
        if !self.tracks.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.tracks)) {
            self.tracks = Some(Arc::clone(&frame.tracks));
            self.tracks_changed(&frame.tracks).await;
        }
        let shown = [frame.tracks.video(), frame.tracks.audio()];
        if !shown.into_iter().flatten().any(|track| track.id == frame.track) {
            return;
        }
        if self.order.is_surprise(frame) {
            // They ask anew, and are told.
            self.close_all("bframes").await;
            return;
        }
        let Some(packets) = self.duty.cuts.of(frame) else { return };
        self.round.groups.main.push(&packets);
        self.offer(Quality::Main, &packets).await;
        if !self.seats.is_empty() {
            self.round.gone_out(frame);
        }
        self.ticks().await;
        if self.duty.thread == READER {
            self.round.picture_sent();
        }
    }

    async fn offer(&mut self, of: Quality, packets: &Arc<Packets>) {
        let now = Instant::now();
        let mut seats = self.seats.iter_mut().peekable();
        while let Some((id, seat)) = seats.next() {
            // It comes while this one's picture is sealed and sent.
            if let Some((_, next)) = seats.peek() {
                ahead::fetch::<Seat>(next);
            }
            self.round.look_after(*id, seat, now, |viewer, _| viewer.offer(now, of, packets)).await;
        }
        self.see_off().await;
    }

    /// Reads the substream as long as somebody is to be sent it.
    async fn tend_sub(&mut self, sub: &mut Option<Sub>) {
        let wanted = self.round.wanting_sub > 0;
        if wanted == sub.is_some() {
            return;
        }
        let stream = self.duty.stream.substream().filter(|_| wanted);
        *sub = stream.map(|stream| Sub::new(Instant::now(), stream));
        self.round.groups.sub = None;
        match sub.as_mut().map(Sub::past) {
            Some(Ok(group)) => self.round.groups.sub = Some(group),
            Some(Err(unfit)) => self.lose_sub(sub, unfit).await,
            None if wanted => self.lose_sub(sub, Unfit::Away).await,
            None => {}
        }
    }

    async fn sub_seen(&mut self, sub: &mut Option<Sub>, seen: Option<Seen>) {
        let (Some(reader), Some(group)) = (sub.as_mut(), self.round.groups.sub.as_mut()) else {
            return;
        };
        let cut = match seen {
            Some(Seen::Frame(frame)) => reader.cut(&frame),
            Some(Seen::Skipped(_)) => {
                group.clear();
                Ok(None)
            }
            None => Err(Unfit::Away),
        };
        match cut {
            Ok(Some(packets)) => {
                group.push(&packets);
                self.offer(Quality::Sub, &packets).await;
            }
            Ok(None) => {}
            Err(unfit) => self.lose_sub(sub, unfit).await,
        }
    }

    /// There is no substream for anybody.
    async fn lose_sub(&mut self, sub: &mut Option<Sub>, why: Unfit) {
        tracing::info!(stream = %self.duty.stream.name(), ?why, "no substream for narrow ways");
        let (now, ever) = (Instant::now(), why == Unfit::BFrames);
        for (id, seat) in &mut self.seats {
            self.round.look_after(*id, seat, now, |viewer, _| viewer.lose_sub(now, ever)).await;
        }
        *sub = None;
        self.round.groups.sub = None;
        self.see_off().await;
    }

    /// A viewer that negotiated another codec has to ask anew.
    async fn tracks_changed(&mut self, tracks: &Tracks) {
        let video = tracks.video().map(|track| track.codec.name());
        let cannot = |(id, seat): (&SessionId, &Seat)| {
            (!seat.viewer.takes_video(video)).then_some((*id, Some("codec_changed")))
        };
        self.round.over.extend(self.seats.iter().filter_map(cannot));
        self.see_off().await;
    }

    async fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Join(id, viewer) => {
                self.seats.insert(id, Seat::of(*viewer));
                self.with(id, now, |_| ()).await;
            }
            Command::Datagram { viewer: id, from, via, at, data } => {
                let Some(seat) = self.seats.get_mut(&id) else { return };
                let act = |viewer: &mut Viewer, outbox: &mut _| {
                    viewer.receive(at, from, via, data, outbox);
                };
                self.round.look_after(id, seat, now, act).await;
            }
            Command::Candidates(id, candidates) => {
                let add = |viewer: &mut Viewer| {
                    candidates.iter().for_each(|candidate| viewer.add_candidate(candidate));
                };
                self.with(id, now, add).await;
            }
            Command::Restart(id, restart) => {
                self.with(id, now, |viewer| viewer.restart(now, *restart)).await;
            }
            Command::Leave(id, end) => self.round.over.push((id, Some(end))),
            Command::Close => self.close_all("shutdown").await,
        }
        self.see_off().await;
    }

    async fn with(&mut self, id: SessionId, now: Instant, act: impl FnOnce(&mut Viewer)) {
        if let Some(seat) = self.seats.get_mut(&id) {
            self.round.look_after(id, seat, now, |viewer, _| act(viewer)).await;
        }
    }

    async fn ticks(&mut self) {
        let now = Instant::now();
        while let Some(reminder) = self.round.reminders.next(now) {
            let id = reminder.viewer;
            if let Some(seat) = self.seats.get_mut(&id)
                && seat.due.take(reminder)
            {
                self.round.look_after(id, seat, now, |viewer, _| viewer.tick(now)).await;
            }
        }
        self.see_off().await;
    }

    /// Removes those that are over.
    async fn see_off(&mut self) {
        while let Some((id, end)) = self.round.over.pop() {
            if let Some(seat) = self.seats.remove(&id) {
                self.round.see_off(id, seat, end).await;
                memory::fit(&mut self.seats);
            }
        }
    }

    async fn close_all(&mut self, end: &'static str) {
        self.round.over.extend(self.seats.keys().map(|id| (*id, Some(end))));
        self.see_off().await;
    }
}

/// The substream's next frame; never, where it is not read.
async fn next_of(sub: &mut Option<Sub>) -> Option<Seen> {
    match sub {
        Some(sub) => sub.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "fanout_tests.rs"]
pub(super) mod tests;
