//! Frames as RTP payloads: H.264 (RFC 6184), H.265 (RFC 7798), AAC-hbr
//! (RFC 3640), G.711, G.722 and L16 (RFC 3551), Opus (RFC 7587).

use crate::media::{Aac, Codec, Frame, FrameKind, NalUnits};

/// Most payload bytes of a packet. TCP would carry more, but NVRs forward
/// what they get, and some have buffers of one Ethernet frame.
pub(super) const MAX_PAYLOAD: usize = 1400;

/// One packet's payload: `head` made here, `body` lent from the frame.
pub(super) struct Payload<'a> {
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
    /// Last of its frame (video and AAC).
    pub(super) marker: bool,
    /// Ticks after the frame's own timestamp.
    pub(super) later: u32,
}

/// Whether [`payloads`] knows how to carry the codec.
pub(super) fn carries(codec: &Codec) -> bool {
    !matches!(codec, Codec::Jpeg(_))
}

/// Cuts `frame` of a track of `codec` into payloads, in order.
pub(super) fn payloads(codec: &Codec, frame: &Frame, mut emit: impl FnMut(Payload<'_>)) {
    let key = frame.kind == FrameKind::Key;
    match codec {
        Codec::H264(avc) => {
            if key {
                let sets = std::iter::once(&avc.sps).chain(&avc.pps);
                parameter_sets(&H264, sets.map(AsRef::as_ref), &mut emit);
            }
            access_unit(&H264, &frame.data, &mut emit);
        }
        Codec::H265(hevc) => {
            if key {
                let sets = [&hevc.vps, &hevc.sps].into_iter().chain(&hevc.pps);
                parameter_sets(&H265, sets.map(AsRef::as_ref), &mut emit);
            }
            access_unit(&H265, &frame.data, &mut emit);
        }
        Codec::Aac(Aac { .. }) => aac(&frame.data, &mut emit),
        Codec::G711 { channels, .. } => samples(usize::from(*channels), &frame.data, &mut emit),
        Codec::G722 => samples(1, &frame.data, &mut emit),
        Codec::L16 { channels } => samples(2 * usize::from(*channels), &frame.data, &mut emit),
        Codec::Opus { .. } => {
            // One packet, never cut (RFC 7587 §4.2); 64 KiB is the framing's.
            if !frame.data.is_empty() && frame.data.len() <= 60_000 {
                emit(Payload { head: &[], body: &frame.data, marker: false, later: 0 });
            }
        }
        Codec::Jpeg(_) => {}
    }
}

/// How a codec's NAL units travel: aggregation and fragmentation units have
/// the same shape in both, behind headers of different length.
struct NalFormat {
    header: usize,
    /// Header of the aggregation packet (STAP-A, AP).
    aggregate: &'static [u8],
    /// Writes the fragmentation unit's header (FU indicator and FU header, or
    /// payload header and FU header) without S and E; returns its length.
    fragment: fn(unit: &[u8], head: &mut [u8; 3]) -> usize,
}

/// RFC 6184 §5.7.1 (STAP-A is type 24), §5.8 (FU-A is type 28).
const H264: NalFormat = NalFormat {
    header: 1,
    aggregate: &[0x60 | 24],
    fragment: |unit, head| {
        head[0] = unit[0] & 0xe0 | 28;
        head[1] = unit[0] & 0x1f;
        2
    },
};

/// RFC 7798 §4.4.2 (AP is type 48), §4.4.3 (FU is type 49). TID is 1, the
/// lowest there is.
const H265: NalFormat = NalFormat {
    header: 2,
    aggregate: &[48 << 1, 1],
    fragment: |unit, head| {
        head[0] = unit[0] & 0x81 | 49 << 1;
        head[1] = unit[1];
        head[2] = unit[0] >> 1 & 0x3f;
        3
    },
};

/// The parameter sets before a key frame, in one packet where they fit: a
/// client that joined a minute ago may have missed a change.
fn parameter_sets<'a>(
    format: &NalFormat,
    sets: impl Iterator<Item = &'a [u8]> + Clone,
    emit: &mut impl FnMut(Payload<'_>),
) {
    let sets = sets.filter(|set| set.len() > format.header);
    let total: usize = sets.clone().map(|set| set.len() + 2).sum();
    if total + format.aggregate.len() > MAX_PAYLOAD {
        return sets.for_each(|set| nal_unit(format, set, false, emit));
    }
    let mut packet = format.aggregate.to_vec();
    for set in sets {
        packet.extend((set.len() as u16).to_be_bytes());
        packet.extend(set);
    }
    emit(Payload { head: &[], body: &packet, marker: false, later: 0 });
}

fn access_unit(format: &NalFormat, data: &[u8], emit: &mut impl FnMut(Payload<'_>)) {
    let mut units = NalUnits::new(data).filter(|unit| unit.len() > format.header).peekable();
    while let Some(unit) = units.next() {
        nal_unit(format, unit, units.peek().is_none(), emit);
    }
}

fn nal_unit(format: &NalFormat, unit: &[u8], last: bool, emit: &mut impl FnMut(Payload<'_>)) {
    if unit.len() <= MAX_PAYLOAD {
        return emit(Payload { head: &[], body: unit, marker: last, later: 0 });
    }
    let mut head = [0; 3];
    let length = (format.fragment)(unit, &mut head);
    let (head, flags) = (&mut head[..length], length - 1);
    head[flags] |= 0x80;
    let mut fragments = unit[format.header..].chunks(MAX_PAYLOAD - length).peekable();
    while let Some(body) = fragments.next() {
        let end = fragments.peek().is_none();
        head[flags] |= u8::from(end) << 6;
        emit(Payload { head, body, marker: last && end, later: 0 });
        head[flags] &= 0x7f;
    }
}

/// RFC 3640 §3.2.1, §3.3.6: one AU header of 13 bits size and 3 bits index;
/// every fragment repeats the size of the whole.
fn aac(data: &[u8], emit: &mut impl FnMut(Payload<'_>)) {
    if data.len() > 0x1fff {
        return;
    }
    let [high, low] = ((data.len() as u16) << 3).to_be_bytes();
    let head = [0, 16, high, low];
    let mut fragments = data.chunks(MAX_PAYLOAD - head.len()).peekable();
    while let Some(body) = fragments.next() {
        emit(Payload { head: &head, body, marker: fragments.peek().is_none(), later: 0 });
    }
}

/// RFC 3551 §4.5: so many bytes a tick, with which a packet may begin.
fn samples(bytes: usize, data: &[u8], emit: &mut impl FnMut(Payload<'_>)) {
    let bytes = bytes.max(1);
    let samples = MAX_PAYLOAD / bytes;
    for (i, body) in data.chunks(samples * bytes).enumerate() {
        emit(Payload { head: &[], body, marker: false, later: (i * samples) as u32 });
    }
}

#[cfg(test)]
#[path = "packetize_tests.rs"]
mod tests;
