//! Frames as RTP payloads: H.264 (RFC 6184), H.265 (RFC 7798), VP8 (RFC 7741),
//! VP9 (RFC 9628), AV1 (the Alliance's format), AAC-hbr (RFC 3640), G.711,
//! G.722 and L16 (RFC 3551), Opus (RFC 7587).
//!
//! But for AV1, whose units lose their sizes, nothing of a frame is copied: a payload is a few bytes made for it and a
//! part of the frame. Fragments of one unit have the same size but for the
//! last, since a packet longer than its predecessor ends a batch (UDP GSO).

mod av1;
mod nal;

use bytes::Bytes;

use crate::media::{Codec, FrameKind};

/// Most bytes made for one payload.
const MAX_HEAD: usize = 4;

/// Longest Opus packet: it is never cut (RFC 7587 §4.2), and what frames RTP
/// over TCP counts to 65,535.
const MAX_OPUS: usize = 60_000;

/// What stands behind the RTP header of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Made for this packet; the first `head_length` bytes count.
    head: [u8; MAX_HEAD],
    head_length: u8,
    /// Last packet of its frame (pictures and AAC).
    pub marker: bool,
    /// Ticks of the payload's clock after the frame's own time.
    pub later: u32,
    body: Bytes,
}

impl Payload {
    /// `body` behind `head`, of [`MAX_HEAD`] bytes at most.
    fn new(head: &[u8], body: Bytes) -> Self {
        let mut kept = [0; MAX_HEAD];
        kept[..head.len()].copy_from_slice(head);
        Self { head: kept, head_length: head.len() as u8, marker: false, later: 0, body }
    }

    /// Bytes of it.
    pub fn size(&self) -> usize {
        usize::from(self.head_length) + self.body.len()
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head[..usize::from(self.head_length)]);
        out.extend_from_slice(&self.body);
    }
}

/// Whether [`cut`] knows how to carry the codec.
pub fn carries(codec: &Codec) -> bool {
    !matches!(codec, Codec::Jpeg(_))
}

/// Cuts a frame's `data` into payloads of at most `max` bytes each; a key
/// frame goes behind its parameter sets, since whoever joined or lost something
/// has only these. Empty for what RTP does not carry here, or what is broken.
pub fn cut(codec: &Codec, kind: FrameKind, data: &Bytes, max: usize) -> Vec<Payload> {
    let key = kind == FrameKind::Key;
    match codec {
        Codec::H264(avc) => {
            let sets = std::iter::once(&avc.sps).chain(&avc.pps);
            nal::access_unit(&nal::H264, sets.filter(|_| key), data, max)
        }
        Codec::H265(hevc) => {
            let sets = [&hevc.vps, &hevc.sps].into_iter().chain(&hevc.pps);
            nal::access_unit(&nal::H265, sets.filter(|_| key), data, max)
        }
        Codec::Vp8(_) => vpx(&VP8, key, data, max),
        Codec::Vp9(_) => vpx(&VP9, key, data, max),
        Codec::Av1(_) => av1::temporal_unit(key, data, max),
        Codec::Aac(_) => aac(data, max),
        Codec::G711 { channels, .. } => samples(data, usize::from(*channels), max),
        Codec::G722 => samples(data, 1, max),
        Codec::L16 { channels } => samples(data, 2 * usize::from(*channels), max),
        Codec::Opus { .. } if data.is_empty() || data.len() > MAX_OPUS => Vec::new(),
        Codec::Opus { .. } => vec![Payload::new(&[], data.clone())],
        Codec::Jpeg(_) => Vec::new(),
    }
}

/// The one byte that a VP8 or VP9 descriptor has without optional fields. No
/// picture ids: what is sent again to one viewer would take them back, and
/// receivers go by sequence numbers without them.
struct Descriptor {
    /// Of a packet that starts a frame.
    start: u8,
    /// Of one that ends it.
    end: u8,
    /// Of all, where the frame needs others.
    inter: u8,
}

/// RFC 7741 §4.2: S.
const VP8: Descriptor = Descriptor { start: 0x10, end: 0, inter: 0 };

/// RFC 9628 §4.2: B, E and P.
const VP9: Descriptor = Descriptor { start: 0x08, end: 0x04, inter: 0x40 };

fn vpx(descriptor: &Descriptor, key: bool, data: &Bytes, max: usize) -> Vec<Payload> {
    let mut parts = pieces(data, equal(data.len(), max - 1)).peekable();
    let mut out = Vec::with_capacity(parts.len());
    while let Some(part) = parts.next() {
        let mut head = if key { 0 } else { descriptor.inter };
        if out.is_empty() {
            head |= descriptor.start;
        }
        if parts.peek().is_none() {
            head |= descriptor.end;
        }
        out.push(Payload::new(&[head], part));
    }
    ended(out)
}

/// RFC 3551 §4.5: so many bytes a tick, with which a packet may begin; `max`
/// bytes a packet at most.
pub fn samples(data: &Bytes, tick: usize, max: usize) -> Vec<Payload> {
    let ticks = max / tick.max(1);
    let cut = pieces(data, (ticks * tick).max(1)).enumerate();
    cut.map(|(at, body)| Payload { later: (at * ticks) as u32, ..Payload::new(&[], body) })
        .collect()
}

/// RFC 3640 §3.2.1, §3.3.6: one AU header of 13 bits size and 3 bits index;
/// every fragment repeats the size of the whole.
fn aac(data: &Bytes, max: usize) -> Vec<Payload> {
    if data.len() > 0x1fff {
        return Vec::new();
    }
    let [high, low] = ((data.len() as u16) << 3).to_be_bytes();
    let head = [0, 16, high, low];
    let size = equal(data.len(), max - head.len());
    ended(pieces(data, size).map(|body| Payload::new(&head, body)).collect())
}

/// The size of as few pieces as `max` allows, none much smaller than another.
fn equal(length: usize, max: usize) -> usize {
    length.div_ceil(length.div_ceil(max).max(1)).max(1)
}

/// `data` in pieces of that size and a rest, as parts of the same memory.
fn pieces(data: &Bytes, size: usize) -> impl ExactSizeIterator<Item = Bytes> {
    let starts = (0..data.len()).step_by(size);
    starts.map(move |at| data.slice(at..data.len().min(at + size)))
}

/// With the marker on the last.
fn ended(mut payloads: Vec<Payload>) -> Vec<Payload> {
    if let Some(last) = payloads.last_mut() {
        last.marker = true;
    }
    payloads
}

#[cfg(test)]
mod tests;
