//! One viewer: its connection, and how much of the stream it has been sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::addresses::Addresses;
use super::backlog::Waiting;
use super::engine::{Peer, Report};
use super::estimator::{Look, State};
use super::group::Groups;
use super::ice::Restart;
use super::ladder::{Ladder, Rung};
use super::ledger::Ledger;
use super::link::{Route, Via};
use super::offer::MAX_CANDIDATES;
use super::pace::{Allowance, PACE, count_within};
use super::packetizer::Packets;
use super::place::Place;
use super::programme::Programme;
use super::reminders::Times;
use super::socket::Outbox;
use super::stun::Kind;
use crate::media::{MediaKind, Quality};

/// A viewer that has not connected by then will not.
const SETUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Between the handshake's last message and the first picture. An engine that
/// reads datagrams in batches has its keys only after the batch the message
/// came in, and could not decrypt the key frame if that came right behind.
const START_DELAY: Duration = Duration::from_millis(10);

/// How often one looks whether a viewer on TCP has read something.
const FULL_PACE: Duration = Duration::from_millis(10);

/// A viewer whose pictures had to be thrown away so many times in so long is
/// not served: its line does not carry the stream.
const MAX_DROPS: u32 = 4;
const DROPS_WITHIN: Duration = Duration::from_secs(60);

/// A viewer, from its answer to its end.
pub(super) struct Viewer {
    peer: Peer,
    place: Place,
    /// Candidates it has sent, in its offer and since.
    candidates: usize,
    asked: Instant,
    stage: Stage,
    started: bool,
    /// Its proven addresses, and how they are reached.
    addresses: Addresses,
    programme: Programme,
    ladder: Ladder,
    /// The table was told that its sound is held back.
    quiet: bool,
    /// Bits a second that its way carried when it was strained.
    carried: u64,
    allowance: Allowance,
    /// A connection takes no more for now.
    full: bool,
    /// How often pictures were thrown away, since when.
    drops: (u32, Instant),
    ledger: Ledger,
}

/// How far a viewer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// Connected; media starts then.
    Connected(Instant),
    /// Takes what the stream has.
    Live,
}

/// How a viewer is after something happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Wants [`Viewer::tick`] at these times.
    Due(Times),
    /// Is over; why, in a word for the metrics.
    Over(&'static str),
}

impl Viewer {
    pub(super) fn new(
        asked: Instant,
        peer: Peer,
        place: Place,
        candidates: usize,
        codecs: [Option<&'static str>; 2],
        adapts: bool,
    ) -> Self {
        Self {
            peer,
            place,
            candidates,
            asked,
            stage: Stage::Connecting,
            started: false,
            addresses: Addresses::default(),
            full: false,
            drops: (0, asked),
            programme: Programme::new(codecs, adapts),
            ladder: Ladder::new(asked),
            quiet: false,
            carried: 0,
            allowance: Allowance::full(asked),
            ledger: Ledger::default(),
        }
    }

    /// A datagram for this viewer, and the way back to where it came from.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        data: BytesMut,
        outbox: &mut Outbox,
    ) {
        let check = Kind::of(&data) == Kind::Stun;
        self.peer.receive(now, from, data);
        let mut answered = false;
        let back = Route { to: from, via };
        let addresses = &self.addresses;
        self.peer.drain(now, |peer, datagram| {
            answered |= peer == from;
            match peer == from {
                true => outbox.push(&back, datagram),
                false => outbox.push(&addresses.route(peer), datagram),
            }
        });
        // The engine answers only what is proven to be the viewer's.
        if check && answered && self.addresses.learn(&back) && matches!(back.via, Via::Udp(_)) {
            self.place.bind(from);
        }
    }

    /// A candidate of the viewer's, trickled. Those beyond the limit are
    /// ignored: a viewer connects without them.
    pub(super) fn add_candidate(&mut self, candidate: &str) {
        if self.candidates >= MAX_CANDIDATES {
            return;
        }
        self.candidates += 1;
        self.peer.add_candidate(candidate);
    }

    /// The viewer looks for another path. The limit of candidates is that of
    /// its whole session.
    pub(super) fn restart(&mut self, now: Instant, restart: Restart) {
        self.peer.restart(now, restart);
    }

    /// A deadline has come.
    pub(super) fn tick(&mut self, now: Instant) {
        let Times { timer, chore } = self.peer.deadline();
        if timer.or(chore).is_some_and(|due| due <= now) {
            self.peer.tick(now);
        }
    }

    /// A new frame of the stream, or of its substream.
    pub(super) fn offer(&mut self, now: Instant, of: Quality, packets: &Arc<Packets>) {
        if self.stage != Stage::Live {
            return;
        }
        let dropped = self.programme.offer(now, of, packets);
        if dropped > 0 {
            self.place.fell_behind(dropped);
            if self.full {
                if now.saturating_duration_since(self.drops.1) > DROPS_WITHIN {
                    self.drops = (0, now);
                }
                self.drops.0 += 1;
            }
        }
    }

    /// Whether it can take what the stream now is.
    pub(super) fn takes_video(&self, codec: Option<&'static str>) -> bool {
        self.programme.takes_video(codec)
    }

    /// Whether it is to be sent the substream's pictures, or may be soon: its
    /// camera needs a while to send the first.
    pub(super) fn wants_sub(&self) -> bool {
        let soon = self.programme.has_sub() && self.ladder.is_strained();
        soon || self.programme.wanted() == Quality::Sub
    }

    /// The substream cannot be had, for now or for `ever`.
    pub(super) fn lose_sub(&mut self, now: Instant, ever: bool) {
        self.programme.lose_sub(ever);
        self.ladder.without_sub(now);
    }

    /// Heeds how the way was in the last half a second.
    fn adapt(&mut self, now: Instant, look: &Look, groups: &Groups) {
        if self.stage != Stage::Live {
            return;
        }
        if matches!(look.state, State::Strained | State::Choked) {
            self.carried = look.carried;
        }
        let (sub, needs) = (self.programme.has_sub(), groups.main.rate());
        if let Some(rung) = self.ladder.look(now, look, sub, needs) {
            self.programme.want(rung, self.carried);
            self.place.adapted(rung, self.carried);
            self.ledger.hurry();
        }
        self.peer.limit_repairs(self.ladder.is_narrow().then_some(self.carried));
    }

    /// Sends what is queued, as fast as the viewer can take it.
    fn pump(&mut self, now: Instant, outbox: &mut Outbox) {
        self.allowance.grow(now, self.programme.limit());
        if let Some(to) = self.peer.path() {
            let route = self.addresses.route(to);
            let (packets, bytes) = self.peer.repair(now, &route, outbox);
            self.ledger.sent(packets, bytes);
            self.send_queued(now, &route, outbox);
        }
        let addresses = &self.addresses;
        let push = |peer, datagram: &[u8]| outbox.push(&addresses.route(peer), datagram);
        self.peer.drain(now, push);
    }

    fn send_queued(&mut self, now: Instant, route: &Route, outbox: &mut Outbox) {
        let mut room = match &route.via {
            Via::Udp(_) => usize::MAX,
            Via::Tcp(link) => link.room(),
        };
        self.full = false;
        let shift = [MediaKind::Video, MediaKind::Audio].map(|kind| self.programme.shift(kind));
        while let Some(Waiting { packets, ticks, done, .. }) = self.programme.front_mut() {
            let fits = count_within(&packets.payloads[*done..], self.allowance.bytes().min(room));
            if fits == 0 {
                self.full = room < self.allowance.bytes();
                break;
            }
            if packets.entry && *done == 0 && self.ladder.rung() != Rung::Main {
                self.peer.forget_pictures();
            }
            let bytes = self.peer.send(now, packets, *done..*done + fits, *ticks, route, outbox);
            self.ledger.sent(fits, bytes);
            self.allowance.spend(bytes);
            room = room.saturating_sub(bytes);
            *done += fits;
            if *done < packets.payloads.len() {
                continue;
            }
            // A restamped frame says nothing true about the wall clock.
            if *ticks == packets.ticks + shift[packets.kind as usize] {
                let (kind, wall) = (packets.kind, packets.wall);
                self.peer.report(now, kind, wall, *ticks, route, outbox);
            }
            self.programme.pop();
            if !self.started {
                self.started = true;
                self.place.first_frame(self.asked.elapsed());
            }
        }
    }

    /// Follows up whatever just happened: sends what can be sent, heeds what
    /// the viewer reported.
    pub(super) fn settle(&mut self, now: Instant, groups: &Groups, outbox: &mut Outbox) -> Health {
        if matches!(self.stage, Stage::Connected(start) if start <= now) {
            self.stage = Stage::Live;
            self.ledger.hurry();
            self.ladder.begin(now);
            self.programme.catch_up(&groups.main, now);
        }
        loop {
            if self.stage == Stage::Live {
                self.programme.change_over_at_once(groups, now);
                if self.programme.take_key_frame(now)
                    && let Some(group) = groups.of(self.programme.feed())
                {
                    self.programme.catch_up(group, now);
                }
            }
            self.pump(now, outbox);
            let reports: Vec<Report> = self.peer.reports().collect();
            if reports.is_empty() {
                break;
            }
            for report in reports {
                match report {
                    Report::Closed if self.stage == Stage::Connecting => {
                        return Health::Over("ice_failed");
                    }
                    Report::Closed => return Health::Over("closed"),
                    Report::Nack { .. } => self.place.feedback("nack"),
                    Report::Reception { fraction_lost, round_trip } => {
                        let loss = f64::from(fraction_lost) / 256.0;
                        self.ledger.reception(loss, round_trip);
                        self.place.reception(loss, round_trip);
                    }
                    Report::Look(look) => self.adapt(now, &look, groups),
                    Report::Connected => self.connect(now),
                    Report::KeyFrameWanted => self.key_frame_wanted(now),
                }
            }
        }
        if self.ledger.is_due(now) {
            self.tell_table(now);
        }
        let own = match self.stage {
            Stage::Connecting if now >= self.asked + SETUP_TIMEOUT => {
                return Health::Over("ice_failed");
            }
            Stage::Connecting => Some(self.asked + SETUP_TIMEOUT),
            Stage::Connected(start) => Some(start),
            Stage::Live if self.drops.0 >= MAX_DROPS => return Health::Over("slow"),
            Stage::Live if self.full => Some(now + FULL_PACE),
            Stage::Live if !self.programme.is_empty() => Some(now + PACE),
            Stage::Live => self.programme.key_frame_due(),
        };
        let Times { timer, chore } = self.peer.deadline();
        Health::Due(Times { timer: own.into_iter().chain(timer).min(), chore })
    }

    fn tell_table(&mut self, now: Instant) {
        let stage = match self.stage {
            Stage::Connecting => "connecting",
            Stage::Connected(_) => "connected",
            Stage::Live if self.ladder.rung() == Rung::KeyFrames => "key_frames",
            Stage::Live => "live",
        };
        let quiet = self.programme.holds_sound();
        if std::mem::replace(&mut self.quiet, quiet) != quiet {
            self.place.sound_held(quiet);
        }
        let estimate = (self.ladder.rung() != Rung::Main).then_some(self.carried);
        let route = self.peer.path().map(|path| self.addresses.route(path));
        let (ledger, [video, audio]) = (&self.ledger, self.programme.codecs());
        let quality = match self.programme.feed() {
            Quality::Main => self.place.quality(),
            Quality::Sub => Quality::Sub,
        };
        let adapts = self.programme.may_sub();
        self.place.tell_table(now, |news| {
            (news.quality, news.adapts, news.estimate) = (quality, adapts, estimate);
            (news.stage, news.video, news.audio) = (stage, video, audio);
            news.held_back = quiet.then_some("sound");
            news.remote = route.as_ref().map(|route| route.to);
            news.transport = route.as_ref().map(|route| route.via.as_str());
            ledger.write(news);
        });
    }

    fn connect(&mut self, now: Instant) {
        if self.stage == Stage::Connecting {
            self.stage = Stage::Connected(now + START_DELAY);
            self.ledger.hurry();
            self.place.connected(self.asked.elapsed());
        }
    }

    fn key_frame_wanted(&mut self, now: Instant) {
        self.place.feedback("key_frame_wanted");
        self.programme.key_frame_wanted(now);
    }

    /// Says goodbye.
    pub(super) fn close(mut self, now: Instant, end: &'static str, outbox: &mut Outbox) -> u64 {
        self.peer.close(now);
        let addresses = &self.addresses;
        let push = |peer, datagram: &[u8]| outbox.push(&addresses.route(peer), datagram);
        self.peer.drain(now, push);
        if end == "ice_failed" {
            self.place.unreachable(match self.peer.path() {
                Some(_) => "dtls",
                None if self.addresses.is_empty() => "unheard",
                None => "no_path",
            });
        }
        self.place.ended(end, self.asked.elapsed());
        self.ledger.take_sent()
    }

    /// Ends without a goodbye, after a panic.
    pub(super) fn abandon(self) {
        self.place.ended("panic", self.asked.elapsed());
    }

    /// RTP bytes sent since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        self.ledger.take_sent()
    }
}

#[cfg(test)]
#[path = "viewer_tests.rs"]
mod tests;
