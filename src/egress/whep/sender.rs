//! One RTP stream to one viewer (RFC 3550): numbers packets, seals them into
//! the outbox, and sends again what was lost.
//!
//! What was sent is remembered picture by picture, as a pointer to the packets
//! that all viewers share: nothing is kept per viewer and packet.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ahead;
use super::answer::{CNAME, Ssrcs};
use super::codec::Offered;
use super::feedback::Reception;
use super::link::Route;
use super::packetizer::Packets;
use super::socket::Outbox;
use super::srtp::Sealer;
use super::transport::{EXTENSION_BYTES, Extension, Transport};
use crate::media::WallTime;
use crate::rtp::{HEADER_BYTES, Header, Payload, SenderReport};

/// RFC 3550 §6.2; players line sound and picture up only once they have two
/// reports of both, so the first ones come sooner, and more than two of them,
/// since some are lost.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const FIRST_REPORTS_EVERY: Duration = Duration::from_secs(1);
const FIRST_REPORTS: usize = 4;

/// Packets that can be sent again: 1 s at 10 Mbit/s. A player that waits longer
/// for one has asked for a key frame.
const REMEMBERED: usize = 1024;

/// How many more are kept before the oldest are forgotten, all at once: what is
/// that old lies in no cache any more.
const FORGOTTEN: usize = 256;

/// What may be sent again, so that nobody makes us send much by asking often:
/// a quarter of 16 Mbit/s, and 256 KiB at once.
const REPAIR_BYTES_PER_SECOND: f64 = 500_000.0;
const REPAIR_BURST: f64 = 262_144.0;

/// What of a narrow way repairs may take.
const REPAIR_SHARE: f64 = 0.15;

/// What a sender report measures, with our name.
const REPORT_BYTES: usize = 48;

/// Most bytes around a payload: header with extension, and SRTP tag.
const OVERHEAD: usize = HEADER_BYTES + EXTENSION_BYTES + 16;

/// Sender reports that a viewer may refer to.
const REPORTS: usize = 8;

/// State of one RTP stream.
pub(super) struct Sender {
    stream: Numbered,
    /// Retransmissions as a stream of their own (RFC 4588).
    rtx: Option<Numbered>,
    /// Of pictures: who numbers both for their common way.
    transport: Option<Transport>,
    /// Random offset of all timestamps (RFC 3550 §5.1).
    timestamp_offset: u32,
    packets: u32,
    octets: u32,
    next_report: Option<Instant>,
    /// Middle bits of the time in a report, and when it was sent.
    reports: VecDeque<(u32, Instant)>,
    sent: VecDeque<Sent>,
    remembered: usize,
    repair: f64,
    repair_rate: f64,
    repair_at: Option<Instant>,
}

/// An SSRC's numbers.
struct Numbered {
    ssrc: u32,
    payload_type: u8,
    /// Of the next packet: its sequence number, counted on over wraps. Only
    /// ever goes up, since it makes the nonce.
    index: u64,
}

/// Where packets go, and when.
pub(super) struct Out<'a> {
    pub(super) now: Instant,
    pub(super) sealer: &'a mut Sealer,
    pub(super) route: &'a Route,
    pub(super) outbox: &'a mut Outbox,
}

/// Packets sent in a row, of one picture.
struct Sent {
    first: u64,
    /// The first one's number on the transport.
    numbered: u16,
    packets: Arc<Packets>,
    range: Range<usize>,
    ticks: i64,
}

impl Numbered {
    fn new(ssrc: u32, codec: &Offered) -> Self {
        // RFC 3711 §3.3.1: a receiver that loses the packets before the first
        // wrap would get the rollover counter wrong, so start well before it.
        let index = u64::from(rand::random::<u16>() >> 1);
        Self { ssrc, payload_type: codec.payload_type, index }
    }

    /// Writes header and payload and seals them. `index` is one that was never
    /// used, or that had the very same content.
    fn write(&self, out: &mut Out<'_>, index: u64, packet: Content<'_>) -> bool {
        let Out { sealer, route, outbox, .. } = out;
        outbox.write(route, |out| {
            let start = out.len();
            let Content { timestamp, marker, original, extension, payload } = packet;
            let header = Header {
                payload_type: self.payload_type,
                marker,
                sequence_number: index as u16,
                timestamp,
                ssrc: self.ssrc,
            };
            out.extend_from_slice(&header.bytes());
            let mut length = HEADER_BYTES;
            if let Some(extension) = extension {
                out[start] |= HAS_EXTENSION;
                out.extend_from_slice(&extension);
                length += EXTENSION_BYTES;
            }
            if let Some(original) = original {
                out.extend_from_slice(&original.to_be_bytes());
            }
            payload.write(out);
            let sealed = sealer.seal(self.ssrc, index, out, start, length);
            sealed.inspect_err(|error| tracing::debug!(%error, "packet not sealed")).is_ok()
        })
    }
}

/// What a packet says, beyond whose it is.
#[derive(Clone, Copy)]
struct Content<'a> {
    timestamp: u32,
    marker: bool,
    /// Of a retransmission: the sequence number it had (RFC 4588 §4).
    original: Option<u16>,
    extension: Option<Extension>,
    payload: &'a Payload,
}

/// The X bit (RFC 3550 §5.1).
const HAS_EXTENSION: u8 = 1 << 4;

impl Sender {
    pub(super) fn new(codec: &Offered, rtx: Option<&Offered>) -> Self {
        let stream = Numbered::new(rand::random(), codec);
        let ssrc = || stream.ssrc ^ rand::random_range(1..=u32::MAX);
        let rtx = rtx.map(|codec| Numbered::new(ssrc(), codec));
        Self {
            stream,
            rtx,
            transport: None,
            timestamp_offset: rand::random(),
            packets: 0,
            octets: 0,
            next_report: None,
            reports: VecDeque::new(),
            sent: VecDeque::new(),
            remembered: 0,
            repair: REPAIR_BURST,
            repair_rate: REPAIR_BYTES_PER_SECOND,
            repair_at: None,
        }
    }

    /// Numbers and judges what it sends by `transport`.
    pub(super) fn over(self, transport: Transport) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// Repairs take a share of what the way carries, in bits a second, where
    /// that is known to be little: what is lost there is lost for its width,
    /// and more of it only delays what follows.
    pub(super) fn limit_repairs(&mut self, carried: Option<u64>) {
        let share = carried.map(|bits| bits as f64 / 8.0 * REPAIR_SHARE);
        self.repair_rate =
            share.map_or(REPAIR_BYTES_PER_SECOND, |s| s.min(REPAIR_BYTES_PER_SECOND));
    }

    /// What was sent so far is not sent again: a key frame follows, and the
    /// viewer can do without.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.remembered = 0;
    }

    /// The way it sends over.
    pub(super) fn transport(&mut self) -> Option<&mut Transport> {
        self.transport.as_mut()
    }

    pub(super) fn ssrcs(&self) -> Ssrcs {
        Ssrcs { media: self.stream.ssrc, rtx: self.rtx.as_ref().map(|rtx| rtx.ssrc) }
    }

    /// RTP timestamp of a moment; wraps, as RFC 3550 §5.1 intends.
    fn timestamp(&self, ticks: i64, payload: &Payload) -> u32 {
        (ticks as u32).wrapping_add(self.timestamp_offset).wrapping_add(payload.later)
    }

    /// Sends part of a frame, stamped `ticks`; returns the bytes of RTP.
    pub(super) fn send(
        &mut self,
        out: &mut Out<'_>,
        packets: &Arc<Packets>,
        range: Range<usize>,
        ticks: i64,
    ) -> usize {
        let (first, mut bytes) = (self.stream.index, 0);
        if let Some(newest) = self.sent.back() {
            ahead::fetch_behind(newest);
        }
        let size: usize = packets.payloads[range.clone()].iter().map(Payload::size).sum();
        out.outbox.reserve(size + range.len() * OVERHEAD);
        let numbered = self.transport.as_ref().map_or(0, Transport::next);
        for payload in &packets.payloads[range.clone()] {
            let extension =
                self.transport.as_mut().and_then(|way| way.sent(out.now, payload.size()));
            let content = Content {
                timestamp: self.timestamp(ticks, payload),
                marker: payload.marker,
                original: None,
                extension,
                payload,
            };
            let index = self.stream.index;
            self.stream.index += 1;
            if self.stream.write(out, index, content) {
                bytes += HEADER_BYTES + payload.size();
                self.octets = self.octets.wrapping_add(payload.size() as u32);
                self.packets = self.packets.wrapping_add(1);
            }
        }
        self.remembered += range.len();
        self.sent.push_back(Sent { first, numbered, packets: Arc::clone(packets), range, ticks });
        if self.remembered > REMEMBERED + FORGOTTEN {
            while self.remembered > REMEMBERED && self.sent.len() > 1 {
                let forgotten = self.sent.pop_front();
                self.remembered -= forgotten.map_or(0, |sent| sent.range.len());
            }
        }
        bytes
    }

    /// Sends a packet again that the viewer misses, if it is remembered;
    /// returns the bytes of RTP.
    pub(super) fn resend(&mut self, out: &mut Out<'_>, sequence_number: u16) -> Option<usize> {
        let now = out.now;
        let newest = self.stream.index.checked_sub(1)?;
        let behind = (newest as u16).wrapping_sub(sequence_number);
        let index = newest.checked_sub(u64::from(behind))?;
        let place = self.sent.partition_point(|sent| sent.first <= index).checked_sub(1)?;
        let sent = self.sent.get(place)?;
        let at = usize::try_from(index - sent.first).ok().filter(|at| *at < sent.range.len())?;
        let payload = sent.packets.payloads.get(sent.range.start + at)?;

        let waited = self.repair_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let gained = waited.as_secs_f64() * self.repair_rate;
        self.repair_at = Some(now);
        self.repair = (self.repair + gained).min(REPAIR_BURST.min(self.repair_rate));
        if self.repair < payload.size() as f64 {
            return None;
        }
        self.repair -= payload.size() as f64;
        let mut content = Content {
            timestamp: self.timestamp(sent.ticks, payload),
            marker: payload.marker,
            original: None,
            extension: None,
            payload,
        };
        let written = match &mut self.rtx {
            Some(rtx) => {
                content.original = Some(sequence_number);
                let way = self.transport.as_mut();
                content.extension = way.and_then(|way| way.sent(now, payload.size()));
                let index = rtx.index;
                rtx.index += 1;
                rtx.write(out, index, content)
            }
            // The same packet under its own number is the same to the byte, or
            // its nonce would be used for two.
            None => {
                let number = sent.numbered.wrapping_add(at as u16);
                content.extension = self.transport.as_ref().and_then(|way| way.extension(number));
                self.stream.write(out, index, content)
            }
        };
        written.then_some(HEADER_BYTES + payload.size())
    }

    /// A report that ties the wall clock to media time (RFC 3550 §6.4.1), with
    /// our name (§6.5), if one is due. `wall` is when the moment `ticks` was
    /// captured.
    pub(super) fn report(&mut self, now: Instant, wall: WallTime, ticks: i64) -> Option<Vec<u8>> {
        if self.next_report.is_some_and(|due| now < due) {
            return None;
        }
        let ntp = wall.ntp();
        let soon = self.reports.len() + 1 < FIRST_REPORTS;
        self.next_report = Some(now + if soon { FIRST_REPORTS_EVERY } else { REPORT_EVERY });
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(((ntp >> 16) as u32, now));

        let report = SenderReport {
            ssrc: self.stream.ssrc,
            wall,
            timestamp: (ticks as u32).wrapping_add(self.timestamp_offset),
            packets: self.packets,
            octets: self.octets,
        };
        let mut compound = Vec::with_capacity(REPORT_BYTES);
        report.write(CNAME, &mut compound);
        Some(compound)
    }

    /// Time to the viewer and back (RFC 3550 §6.4.1), by our own clock: the one
    /// in the report is the camera's.
    pub(super) fn round_trip(&self, now: Instant, block: &Reception) -> Option<Duration> {
        let (_, sent) = self.reports.iter().rev().find(|(ntp, _)| *ntp == block.last_report)?;
        let delay = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
        now.saturating_duration_since(*sent).checked_sub(delay)
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
