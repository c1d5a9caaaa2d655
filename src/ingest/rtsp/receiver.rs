//! RTP of one track, as it arrives, to packets in order (RFC 3550).
//!
//! Here: headers, order, loss, change of source, unwrapped time; sans I/O,
//! time is an argument. Not here: sockets and channels (`udp`, the session),
//! what payloads hold (`depacketize`), what time they are shown (`timeline`).
//!
//! Promise: packets come out in order and once, whatever comes in; a packet in
//! order is handed out at once and not copied, but on UDP for those of a
//! source's first 80 ms; those that wait are copies; at most 512 packets and
//! 1 MiB wait for others, for 80 ms at most (`reorder`), or 200 where they are
//! asked for again (`repair`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use retina::rtp::PacketHeader;

use super::reception::{Arrivals, Block, Reception};
use super::reorder::{WAIT, Waiting};
use super::repair::{self, Offer, REPAIR_WAIT, Repair};
use super::sender::Source;
use super::sequence::{Place, Sequence};
use crate::media::ClockRate;

/// After this much silence, another source is the new one. Reolink mixes
/// packets of old sessions into new ones, and those must stay out; an encoder
/// that was restarted needs longer than this to begin again.
const SOURCE_SILENCE: Duration = Duration::from_millis(300);

/// An RTP packet, in order of sequence number.
#[derive(Clone, Debug)]
pub struct Packet {
    section: usize,
    timestamp: i64,
    marker: bool,
    pub(super) lost_before: u32,
    pub(super) payload: Bytes,
}

impl Packet {
    /// Which section of the SDP it belongs to.
    pub fn section(&self) -> usize {
        self.section
    }

    /// Unwrapped RTP time since the moment RTP-Info names, else since the
    /// first packet. A new source goes on where the old one would be.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.marker
    }

    /// Packets missing before this one; one where a source begins anew, since
    /// nobody knows how many.
    pub fn lost_before(&self) -> u32 {
        self.lost_before
    }

    /// What it carries; never empty.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP: nothing overtakes, so nothing is waited for.
    Ordered,
    /// UDP.
    Unordered,
}

/// The receiving end of one track.
#[derive(Debug)]
pub struct Receiver {
    section: usize,
    payload_type: u8,
    rate: ClockRate,
    carrier: Carrier,
    /// The SSRC that SETUP announced.
    announced: Option<u32>,
    source: Option<Source>,
    /// A packet of what may be a new start, which the next one of its source
    /// would prove (RFC 3550 §A.1).
    probation: Option<(PacketHeader, Bytes)>,
    /// RTP time and what it is unwrapped, of the newest packet or of RTP-Info.
    clock: Option<(u32, i64)>,
    ready: VecDeque<Packet>,
    arrivals: Arrivals,
    /// Where the camera sends again what is lost.
    repair: Option<Repair>,
}

impl Receiver {
    /// For a section of the SDP, whose media comes as `payload_type` with a
    /// clock of `rate`.
    pub fn new(section: usize, payload_type: u8, rate: ClockRate, carrier: Carrier) -> Self {
        Self {
            section,
            payload_type,
            rate,
            carrier,
            announced: None,
            source: None,
            probation: None,
            clock: None,
            ready: VecDeque::new(),
            arrivals: Arrivals::default(),
            repair: None,
        }
    }

    /// The camera sends again what is lost, as it offered.
    pub fn repair(&mut self, offer: Offer) {
        self.repair = Repair::new(offer, self.payload_type);
    }

    /// The SSRC that the answer to SETUP announced.
    pub fn announce(&mut self, ssrc: u32) {
        self.announced = Some(ssrc);
    }

    /// The RTP time that RTP-Info calls the beginning. After the first packet
    /// it is too late: the beginning is then that packet's.
    pub fn start_at(&mut self, rtp: u32) {
        self.clock.get_or_insert((rtp, 0));
    }

    /// Takes what came as RTP: a datagram, or a frame of the connection.
    /// [`Receiver::pull`] until there is nothing before the next one.
    pub fn push(&mut self, data: Bytes, now: Instant) {
        self.place(data, now);
        self.expire(now);
        if let Some(repair) = &mut self.repair {
            let is_missing = self.source.as_ref().is_some_and(Source::is_missing_some);
            repair.note(is_missing, now);
        }
    }

    /// Finds what it is, and where it belongs.
    fn place(&mut self, data: Bytes, now: Instant) {
        let Ok((header, payload)) = PacketHeader::validate(&data[..]) else {
            self.arrivals.malformed += 1;
            return;
        };
        if header.payload_type() != self.payload_type {
            let payload = &data[usize::from(payload.start)..usize::from(payload.end)];
            match self.restored(&header, payload) {
                Some(original) => self.place(original, now),
                None => self.arrivals.foreign += 1,
            }
            return;
        }
        let payload = data.slice(usize::from(payload.start)..usize::from(payload.end));
        let source = self.source.as_ref();
        match source.filter(|source| source.ssrc == header.ssrc()) {
            Some(source) => match source.sequence.place(header.sequence_number()) {
                Place::Duplicate => {
                    self.arrivals.duplicates += 1;
                    self.count(&header, now);
                }
                Place::Ahead(number) | Place::Behind(number) => {
                    self.accept(number, &header, payload, now);
                }
                // Nothing overtakes on TCP: it is as it says.
                Place::FarAhead(number) if self.carrier == Carrier::Ordered => {
                    self.accept(number, &header, payload, now);
                }
                Place::FarBehind if self.carrier == Carrier::Ordered => {
                    self.start(&header, payload, now);
                }
                Place::FarAhead(number) => {
                    if let Some((first, earlier)) = self.prove(&header, &payload) {
                        self.accept(number - 1, &first, earlier, now);
                        self.accept(number, &header, payload, now);
                    }
                }
                Place::FarBehind => self.start_proven(&header, payload, now),
            },
            None if self.may_change(header.ssrc(), now) => match self.carrier {
                _ if source.is_none() => self.start(&header, payload, now),
                Carrier::Ordered => self.start(&header, payload, now),
                Carrier::Unordered => self.start_proven(&header, payload, now),
            },
            None => self.arrivals.foreign += 1,
        }
    }

    /// The packet that one of RTX is about, if that is missing.
    fn restored(&self, rtx: &PacketHeader, payload: &[u8]) -> Option<Bytes> {
        self.repair.as_ref().filter(|repair| repair.is_rtx(rtx.payload_type()))?;
        let (source, original) = (self.source.as_ref()?, repair::original(payload)?);
        let is_missing = matches!(source.sequence.place(original.0), Place::Behind(_));
        let packet = || repair::restored(rtx, self.payload_type, source.ssrc, original);
        is_missing.then(|| packet().into())
    }

    /// What to ask the camera for again, and of which source, if it is time.
    pub(super) fn missing(&mut self, now: Instant) -> Option<(u32, Vec<(u16, u16)>)> {
        let (source, repair) = (self.source.as_ref()?, self.repair.as_mut()?);
        let missing = source.next.map(|next| source.waiting.missing(next));
        Some((source.ssrc, repair.ask(missing.into_iter().flatten(), now)?))
    }

    /// The next packet in order.
    pub fn pull(&mut self) -> Option<Packet> {
        self.ready.pop_front()
    }

    /// When to call [`Receiver::expire`], at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.source.as_ref().and_then(Source::deadline);
        let asks = self.repair.as_ref().and_then(Repair::due);
        waits.into_iter().chain(asks).min()
    }

    /// Gives up on what has been waited for long enough.
    pub fn expire(&mut self, now: Instant) {
        let Some(source) = &mut self.source else { return };
        while source.waiting.is_due(source.wait(), now) {
            let Some(first) = source.waiting.first() else { break };
            source.skip_to(first);
            source.release(&mut self.ready);
        }
    }

    /// What of it was not plain.
    pub fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// Interarrival jitter (RFC 3550 §A.8) of the source.
    pub fn jitter(&self) -> Duration {
        self.source.as_ref().map_or(Duration::ZERO, |source| source.reception.jitter())
    }

    /// Packets and bytes that wait for others.
    pub fn held(&self) -> (usize, usize) {
        self.source.as_ref().map_or((0, 0), |source| source.waiting.held())
    }

    /// A sender report of `ssrc`, of that NTP and RTP time: the latter
    /// unwrapped, if it is the source's.
    pub(super) fn sender_report(
        &mut self,
        ssrc: u32,
        ntp: u64,
        rtp: u32,
        now: Instant,
    ) -> Option<i64> {
        let source = self.source.as_mut().filter(|source| source.ssrc == ssrc)?;
        source.reception.sender_report(ntp, now);
        self.clock.map(|clock| unwrap(clock, rtp))
    }

    /// `ssrc` has said BYE: whoever comes next is the new source.
    pub(super) fn bye(&mut self, ssrc: u32) {
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            source.gone = true;
        }
    }

    /// What to tell the camera, and of which source.
    pub(super) fn block(&mut self, now: Instant) -> Option<(u32, Block)> {
        let source = self.source.as_mut()?;
        Some((source.ssrc, source.reception.block(source.sequence.newest(), now)))
    }

    /// Whether another source may take over from the present one.
    fn may_change(&self, ssrc: u32, now: Instant) -> bool {
        let Some(source) = &self.source else { return true };
        let silent = now.saturating_duration_since(source.reception.last_packet());
        source.gone || silent >= SOURCE_SILENCE || self.announced == Some(ssrc)
    }

    /// Whether this is the second packet in a row of what may be a new start:
    /// then the first. Else it is the first.
    fn prove(&mut self, header: &PacketHeader, payload: &Bytes) -> Option<(PacketHeader, Bytes)> {
        let proven = |first: &PacketHeader| {
            let next = first.sequence_number().wrapping_add(1);
            (first.ssrc(), next) == (header.ssrc(), header.sequence_number())
        };
        match self.probation.take() {
            Some((first, earlier)) if proven(&first) => Some((first, earlier)),
            before => {
                // Who is not proven is nobody's.
                self.arrivals.foreign += u64::from(before.is_some());
                self.probation = Some((*header, Bytes::copy_from_slice(payload)));
                None
            }
        }
    }

    fn start_proven(&mut self, header: &PacketHeader, payload: Bytes, now: Instant) {
        let Some((first, earlier)) = self.prove(header, &payload) else { return };
        self.start(&first, earlier, now);
        if let Some(source) = &self.source {
            self.accept(source.sequence.newest() + 1, header, payload, now);
        }
    }

    /// Begins with a first packet, or begins anew.
    fn start(&mut self, header: &PacketHeader, payload: Bytes, now: Instant) {
        let number = header.sequence_number();
        let (mut lost, mut sequence) = (0, Sequence::new(number));
        if let Some(mut old) = self.source.take() {
            // What waits will not be joined by what it waits for.
            while let Some(first) = old.waiting.first() {
                old.skip_to(first);
                old.release(&mut self.ready);
            }
            sequence = old.sequence.restarted(number);
            lost = old.lost.saturating_add(1);
            if old.ssrc != header.ssrc() {
                // Its clock has its own beginning (RFC 3550 §5.1).
                let silent = now.saturating_duration_since(old.reception.last_packet());
                let ticks = silent.as_nanos() * u128::from(self.rate.hz()) / 1_000_000_000;
                let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
                let clock = self.clock.map(|(_, time)| time.saturating_add(ticks));
                self.clock = clock.map(|time| (header.timestamp(), time));
            }
        }
        let first = sequence.newest();
        let ordered = self.carrier == Carrier::Ordered;
        self.source = Some(Source {
            ssrc: header.ssrc(),
            gone: false,
            reception: Reception::new(self.rate, first, header.timestamp(), now),
            sequence,
            next: ordered.then_some(first),
            lost,
            waiting: Waiting::default(),
            patience: if self.repair.is_some() { REPAIR_WAIT } else { WAIT },
        });
        self.accept(first, header, payload, now);
    }

    /// Takes a packet of the source that has not come before.
    fn accept(&mut self, number: u64, header: &PacketHeader, payload: Bytes, now: Instant) {
        self.arrivals.foreign += u64::from(self.probation.take().is_some());
        self.count(header, now);
        let clock = self.clock.unwrap_or((header.timestamp(), 0));
        let timestamp = unwrap(clock, header.timestamp());
        self.clock = Some((header.timestamp(), timestamp));
        let Some(source) = &mut self.source else { return };
        source.gone = false;
        self.arrivals.reordered += u64::from(number < source.sequence.newest());
        source.sequence.take(number);
        source.reception.began(number);
        if source.next.is_some_and(|next| number < next) {
            self.arrivals.late += 1;
            return;
        }
        let packet = Packet {
            section: self.section,
            timestamp,
            marker: header.mark(),
            lost_before: 0,
            payload,
        };
        if source.next != Some(number) && self.carrier == Carrier::Unordered {
            source.waiting.insert(number, packet, now);
            return;
        }
        source.skip_to(number);
        source.hand_out(packet, &mut self.ready);
        source.release(&mut self.ready);
    }

    fn count(&mut self, header: &PacketHeader, now: Instant) {
        if let Some(source) = &mut self.source {
            source.reception.packet(header.timestamp(), now);
        }
    }
}

/// The nearest time to the clock's that ends in these 32 bits.
fn unwrap((rtp, time): (u32, i64), other: u32) -> i64 {
    time.saturating_add(i64::from(other.wrapping_sub(rtp) as i32))
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
