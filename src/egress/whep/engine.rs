//! The WebRTC engine behind a narrow interface: an offer becomes an answer,
//! datagrams go in and come out, media goes in; what the viewer reports comes
//! out as [`Report`]s. Nothing here does I/O or reads a clock.
//!
//! ICE, DTLS and SRTCP are state machines of the `rtc` crates; what is ours is
//! what is done for every packet (`sender`, `srtp`), and the answer.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::answer::{Local, Ssrcs};
use super::codec::Offered;
use super::dtls::{Dtls, Identity, Keys, Outcome, Rtcp};
use super::estimator::Look;
use super::feedback::{self, Feedback, Reception};
use super::ice::{Change, Ice, Restart, credentials};
use super::link::Route;
use super::offer::Offer;
use super::packetizer::Packets;
use super::reminders::Times;
use super::sender::{Out, Sender};
use super::socket::Outbox;
use super::srtp::Sealer;
use super::transport::Transport;
use crate::media::{MediaKind, WallTime};

/// Packets asked for in one report that are sent again.
const MAX_LOST: usize = 256;

/// A datagram that panics, in this crate's own tests.
#[cfg(test)]
pub(super) const PANIC: &[u8] = b"panic";

/// What a viewer will be sent, by payload type of its offer.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) video: Option<Offered>,
    /// Retransmissions of `video` (RFC 4588).
    pub(super) rtx: Option<Offered>,
    pub(super) audio: Option<Offered>,
    /// The header extension by whose number the viewer reports on pictures'
    /// packets.
    pub(super) transport_cc: Option<u8>,
    /// It may be sent the substream's pictures where its way is too narrow.
    pub(super) adapts: bool,
}

/// Something the viewer, or its connection, tells us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Media can flow.
    Connected,
    /// It is over; nothing will come or go any more.
    Closed,
    /// PLI or FIR: the decoder needs a key frame.
    KeyFrameWanted,
    /// Packets were lost on the way, so many asked for, so many sent again.
    Nack { asked: usize, resent: usize },
    /// How reception goes: what was lost since the report before, in 256ths,
    /// and the way there and back, where a report of ours was referred to.
    Reception { fraction_lost: u8, round_trip: Option<Duration> },
    /// How the way is.
    Look(Look),
}

/// One viewer's connection.
pub(super) struct Peer {
    /// Boxed, as are `dtls` and `rtcp`: they are large, and no picture needs
    /// them. What one needs lies close together, since all of it has left the
    /// cache since the picture before.
    ice: Box<Ice>,
    /// The viewer's address that media goes to: what `ice` says, kept at hand.
    path: Option<SocketAddr>,
    /// Something has happened since the last [`Peer::drain`], or the last look
    /// at the deadlines: for a picture alone neither engine is asked.
    touched: bool,
    due: Times,
    due_known: bool,
    dtls: Box<Dtls>,
    /// What seals media, once the handshake is over, as `rtcp` then is.
    sealer: Option<Sealer>,
    rtcp: Option<Box<Rtcp>>,
    connected: bool,
    ufrag: String,
    video: Option<Sender>,
    audio: Option<Sender>,
    /// Packets to be sent again: the track's SSRC, and the number they had.
    lost: Vec<(u32, u16)>,
    reports: Vec<Report>,
    over: bool,
}

impl Peer {
    /// Makes a session of an offer: the peer, and the answer's text, without
    /// candidates.
    pub(super) fn answer(
        now: Instant,
        identity: &Arc<Identity>,
        offer: &Offer,
        plan: &Plan,
    ) -> rtc::shared::error::Result<(Self, String)> {
        let (ufrag, password) = credentials();
        let video = plan.video.as_ref().map(|codec| {
            let transport = Transport::new(now, plan.transport_cc);
            Sender::new(codec, plan.rtx.as_ref()).over(transport)
        });
        let audio = plan.audio.as_ref().map(|codec| Sender::new(codec, None));
        let ssrcs =
            |sender: &Option<Sender>| sender.as_ref().map_or(Ssrcs::default(), Sender::ssrcs);
        let fingerprint = &identity.fingerprint;
        let local = Local { ufrag: &ufrag, password: &password, fingerprint };
        let text = offer.answer(&local, plan, ssrcs(&video), ssrcs(&audio));

        let theirs = [offer.ufrag.as_str(), &offer.password];
        let crypto = Arc::clone(&identity.crypto);
        let ice = Ice::new(now, crypto, [&ufrag, &password], theirs, offer.lite)?;
        let dtls = Dtls::new(Arc::clone(identity), offer.fingerprints.clone(), offer.passive);
        let mut peer = Self {
            ice: Box::new(ice),
            path: None,
            touched: true,
            due: Times::default(),
            due_known: false,
            dtls: Box::new(dtls),
            sealer: None,
            rtcp: None,
            connected: false,
            ufrag,
            video,
            audio,
            lost: Vec::new(),
            reports: Vec::new(),
            over: false,
        };
        offer.candidates.iter().for_each(|candidate| peer.add_candidate(candidate));
        Ok((peer, text))
    }

    /// Our `ice-ufrag`, by which STUN requests find this peer.
    pub(super) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    fn touch(&mut self) {
        self.touched = true;
        self.due_known = false;
    }

    /// A candidate of the viewer's, without `a=candidate:`.
    pub(super) fn add_candidate(&mut self, candidate: &str) {
        self.touch();
        self.ice.add_candidate(candidate);
    }

    /// Looks for a new path to the viewer, which keeps its media and keys
    /// meanwhile.
    pub(super) fn restart(&mut self, now: Instant, restart: Restart) {
        self.touch();
        self.ufrag.clone_from(&restart.ufrag);
        self.ice.restart(now, restart);
    }

    /// A datagram from `from`. Broken and forged ones have no effect: the
    /// engine checks STUN integrity, DTLS and SRTP authentication.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        #[cfg(test)]
        assert_ne!(&data[..], PANIC, "as a fault in the engine would");
        if self.over {
            return;
        }
        self.touch();
        // RFC 7983 §7.
        let done = match data.first() {
            Some(0..=3) => self.ice.check(now, from, data),
            Some(20..=63) => {
                if self.ice.heard(now, from) {
                    self.ice.handshake_from(from);
                }
                self.dtls_received(now, data)
            }
            Some(128..=191) => {
                self.ice.heard(now, from);
                self.rtcp_received(now, &data);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::trace!(%error, "datagram not used");
        }
    }

    fn dtls_received(&mut self, now: Instant, data: BytesMut) -> rtc::shared::error::Result<()> {
        match self.dtls.receive(now, data)? {
            Outcome::Nothing => {}
            Outcome::Keys(keys) => {
                let Keys { sealer, rtcp } = *keys;
                (self.sealer, self.rtcp) = (Some(sealer), Some(rtcp));
                self.check_connected();
            }
            Outcome::Closed => self.end(),
        }
        Ok(())
    }

    fn rtcp_received(&mut self, now: Instant, datagram: &[u8]) {
        // RFC 5761 §4; we receive no RTP.
        let rtcp = matches!(datagram.get(1), Some(192..=223));
        let Some(keys) = self.rtcp.as_mut().filter(|_| rtcp) else { return };
        let Ok(plain) = keys.theirs.decrypt_rtcp(datagram) else { return };
        for feedback in feedback::read(&plain) {
            match feedback {
                Feedback::KeyFrameWanted => self.reports.push(Report::KeyFrameWanted),
                Feedback::Nack { ssrc, lost } => self.note_lost(ssrc, &lost),
                Feedback::Reception(block) => self.note_reception(now, &block),
                Feedback::Transport(fates) => {
                    self.note_look(|transport| transport.feedback(now, &fates));
                }
                Feedback::Estimate(carried) => {
                    self.note_look(|transport| transport.estimate(now, carried));
                }
            }
        }
    }

    fn note_lost(&mut self, ssrc: u32, lost: &[(u16, u16)]) {
        for &(first, rest) in lost {
            let rest = (0..16).filter(|bit| rest >> bit & 1 == 1);
            let numbers = rest.map(|bit| first.wrapping_add(bit + 1));
            let room = MAX_LOST.saturating_sub(self.lost.len());
            let numbers = std::iter::once(first).chain(numbers);
            self.lost.extend(numbers.map(|number| (ssrc, number)).take(room));
        }
    }

    fn note_reception(&mut self, now: Instant, block: &Reception) {
        let theirs = |sender: &&Sender| sender.ssrcs().media == block.ssrc;
        let video = self.video.as_ref().filter(theirs);
        let of_pictures = video.is_some();
        let Some(sender) = video.or(self.audio.as_ref().filter(theirs)) else { return };
        let round_trip = sender.round_trip(now, block);
        let fraction_lost = block.fraction_lost;
        self.reports.push(Report::Reception { fraction_lost, round_trip });
        if of_pictures {
            let loss = f64::from(fraction_lost) / 256.0;
            self.note_look(|transport| transport.reception(now, loss));
        }
    }

    /// What the viewer tells of its way may show how that is.
    fn note_look(&mut self, look: impl FnOnce(&mut Transport) -> Option<Look>) {
        let transport = self.video.as_mut().and_then(Sender::transport);
        self.reports.extend(transport.and_then(look).map(Report::Look));
    }

    /// When [`Peer::tick`] is due. It is a chore for a viewer that has connected
    /// and looks for no other path: consent is asked for, and its silence
    /// noticed, within seconds.
    pub(super) fn deadline(&mut self) -> Times {
        if self.over {
            return Times::default();
        }
        if std::mem::replace(&mut self.due_known, true) {
            return self.due;
        }
        let ice = self.ice.deadline(self.connected);
        let due = ice.into_iter().chain(self.dtls.deadline()).min();
        self.due = match self.connected && self.ice.is_selected() {
            true => Times { timer: None, chore: due },
            false => Times { timer: due, chore: None },
        };
        self.due
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        self.touch();
        let done = self.ice.tick(now).and_then(|()| self.dtls.tick(now));
        if let Err(error) = done {
            tracing::trace!(%error, "timer");
        }
    }

    /// The viewer's address that media goes to.
    pub(super) fn path(&self) -> Option<SocketAddr> {
        self.path
    }

    /// Sends the payloads `range` of a frame, stamped `ticks` of their clock.
    /// Returns the bytes of RTP it made. Nothing is sent of a kind the viewer
    /// has no track for.
    pub(super) fn send(
        &mut self,
        now: Instant,
        packets: &Arc<Packets>,
        range: Range<usize>,
        ticks: i64,
        route: &Route,
        outbox: &mut Outbox,
    ) -> usize {
        let sender = match packets.kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let (Some(sender), Some(sealer)) = (sender, &mut self.sealer) else { return 0 };
        let out = &mut Out { now, sealer, route, outbox };
        sender.send(out, packets, range, ticks)
    }

    /// See [`Sender::limit_repairs`].
    pub(super) fn limit_repairs(&mut self, carried: Option<u64>) {
        if let Some(video) = &mut self.video {
            video.limit_repairs(carried);
        }
    }

    /// No picture sent so far is sent again.
    pub(super) fn forget_pictures(&mut self) {
        if let Some(video) = &mut self.video {
            video.forget();
        }
    }

    /// Sends again what was asked for; returns the packets and bytes of RTP.
    pub(super) fn repair(
        &mut self,
        now: Instant,
        route: &Route,
        outbox: &mut Outbox,
    ) -> (usize, usize) {
        let Some(sealer) = self.sealer.as_mut().filter(|_| !self.lost.is_empty()) else {
            return (0, 0);
        };
        let (mut bytes, mut resent) = (0, 0);
        for &(ssrc, number) in &self.lost {
            let senders = [&mut self.video, &mut self.audio];
            let mut senders = senders.into_iter().flatten();
            let sender = senders.find(|sender| sender.ssrcs().media == ssrc);
            let out = &mut Out { now, sealer, route, outbox };
            let again = sender.and_then(|sender| sender.resend(out, number));
            resent += usize::from(again.is_some());
            bytes += again.unwrap_or(0);
        }
        self.reports.push(Report::Nack { asked: self.lost.len(), resent });
        self.lost.clear();
        (resent, bytes)
    }

    /// Sends a report that ties the wall clock to media time, if one is due.
    /// `wall` is when the moment `ticks` was captured.
    pub(super) fn report(
        &mut self,
        now: Instant,
        kind: MediaKind,
        wall: WallTime,
        ticks: i64,
        route: &Route,
        outbox: &mut Outbox,
    ) {
        let sender = match kind {
            MediaKind::Video => self.video.as_mut(),
            MediaKind::Audio => self.audio.as_mut(),
        };
        let Some(report) = sender.and_then(|sender| sender.report(now, wall, ticks)) else {
            return;
        };
        let Some(keys) = &mut self.rtcp else { return };
        match keys.ours.encrypt_rtcp(&report) {
            Ok(sealed) => outbox.push(route, &sealed),
            Err(error) => tracing::debug!(%error, "sender report not sent"),
        }
    }

    /// Takes all checks and handshakes that are to go out, and notes what came
    /// of what came in.
    pub(super) fn drain(&mut self, now: Instant, mut out: impl FnMut(SocketAddr, &[u8])) {
        if !std::mem::take(&mut self.touched) {
            return;
        }
        while let Some(change) = self.ice.poll_change() {
            self.due_known = false;
            match change {
                Change::Path => {
                    if let Err(error) = self.dtls.connect(now) {
                        tracing::debug!(%error, "DTLS cannot begin");
                    }
                    self.check_connected();
                }
                Change::Failed => self.end(),
                Change::Other => {}
            }
        }
        self.path = self.ice.path();
        while let Some((to, datagram)) = self.ice.poll_transmit() {
            out(to, &datagram);
        }
        while let Some(record) = self.dtls.poll_transmit() {
            if let Some(path) = self.path {
                out(path, &record);
            }
        }
    }

    fn check_connected(&mut self) {
        if self.ice.is_selected() && self.rtcp.is_some() && !self.connected {
            self.connected = true;
            self.reports.push(Report::Connected);
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.reports.push(Report::Closed);
        }
    }

    /// What was reported since the last call.
    pub(super) fn reports(&mut self) -> std::vec::Drain<'_, Report> {
        self.reports.drain(..)
    }

    /// Says goodbye (DTLS `close_notify`); [`Peer::drain`] sends it.
    pub(super) fn close(&mut self, now: Instant) {
        self.touch();
        if let Err(error) = self.dtls.close(now) {
            tracing::debug!(%error, "close");
        }
        self.over = true;
    }
}
