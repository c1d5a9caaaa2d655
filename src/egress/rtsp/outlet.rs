//! One track on its way to one client: interleaved RTP and sender reports
//! (RFC 3550).

use std::mem::discriminant;
use std::sync::Arc;

use super::sdp;
use crate::media::{Codec, Frame, MediaTime, Track, TrackId, Tracks};
use crate::rtp::{self, HEADER_BYTES, Header, SenderReport};

/// Stream time between sender reports. RFC 3550 §6.2 asks for about 5 s.
const REPORT_NANOS: i64 = 5_000_000_000;

/// Most payload bytes of a packet. TCP would carry more, but NVRs forward
/// what they get, and some have buffers of one Ethernet frame.
const MAX_PAYLOAD: usize = 1400;

/// The name in our sender reports: viewers need no better one, and a host
/// name would tell them more than they should know.
const CNAME: &str = "porthole";

pub(super) struct Outlet {
    /// As the client's SDP described it, with parameters as of the last frame.
    track: Track,
    /// The tracks `track` was last compared with.
    seen: Option<Arc<Tracks>>,
    /// Interleaved channels of RTP and RTCP.
    pub(super) channels: (u8, u8),
    payload_type: u8,
    pub(super) ssrc: u32,
    /// Sequence number of the next packet.
    pub(super) next: u16,
    /// RTP time of stream time 0 (RFC 3550 §5.1: random).
    origin: u32,
    packets: u32,
    octets: u32,
    /// Stream time of the last sender report.
    reported: Option<i64>,
}

impl Outlet {
    pub(super) fn new(track: Track, channels: (u8, u8)) -> Self {
        Self {
            payload_type: sdp::payload_type(&track),
            track,
            seen: None,
            channels,
            ssrc: rand::random(),
            next: rand::random(),
            origin: rand::random(),
            packets: 0,
            octets: 0,
            reported: None,
        }
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.track.codec
    }

    pub(super) fn track(&self) -> TrackId {
        self.track.id
    }

    /// RTP time of a moment; wraps, as RTP time does.
    pub(super) fn rtp_time(&self, at: MediaTime) -> u32 {
        self.origin.wrapping_add(at.rescaled(self.track.rate) as u32)
    }

    /// Appends the frame's packets, a sender report before them when one is
    /// due. `false` when the track's codec or clock is no longer the one that
    /// the client's SDP describes: it has to ask again.
    pub(super) fn send(&mut self, frame: &Frame, out: &mut Vec<u8>) -> bool {
        if !self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &frame.tracks)) {
            let Some(now) = frame.track() else { return false };
            let same = discriminant(&now.codec) == discriminant(&self.track.codec)
                && now.rate == self.track.rate
                && sdp::payload_type(now) == self.payload_type;
            if !same {
                return false;
            }
            // New parameter sets travel in band, before every key frame.
            self.track = now.clone();
            self.seen = Some(Arc::clone(&frame.tracks));
        }
        let (time, now) = (self.rtp_time(frame.pts), frame.pts.nanos());
        if self.reported.is_none_or(|last| now.saturating_sub(last) >= REPORT_NANOS) {
            self.reported = Some(now);
            self.report(frame, time, out);
        }
        let Self { track, channels, payload_type, ssrc, next, packets, octets, .. } = self;
        for payload in rtp::cut(&track.codec, frame.kind, &frame.data, MAX_PAYLOAD) {
            let length = payload.size();
            out.extend([b'$', channels.0]);
            out.extend(((HEADER_BYTES + length) as u16).to_be_bytes());
            let header = Header {
                payload_type: *payload_type,
                marker: payload.marker,
                sequence_number: *next,
                timestamp: time.wrapping_add(payload.later),
                ssrc: *ssrc,
            };
            out.extend(header.bytes());
            payload.write(out);
            *next = next.wrapping_add(1);
            *packets = packets.wrapping_add(1);
            *octets = octets.wrapping_add(length as u32);
        }
        true
    }

    /// Sender report (§6.4.1) with the source's name (§6.5.1), as one compound
    /// packet. It pairs the frame's capture time with its RTP time: that is
    /// how NVRs get at the camera's clock.
    fn report(&self, frame: &Frame, time: u32, out: &mut Vec<u8>) {
        let report = SenderReport {
            ssrc: self.ssrc,
            wall: frame.wall,
            timestamp: time,
            packets: self.packets,
            octets: self.octets,
        };
        let mut compound = Vec::new();
        report.write(CNAME, &mut compound);
        out.extend([b'$', self.channels.1]);
        out.extend((compound.len() as u16).to_be_bytes());
        out.extend(compound);
    }
}
