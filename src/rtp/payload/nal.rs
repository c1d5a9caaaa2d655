//! NAL units: aggregation and fragmentation have the same shape in H.264 and
//! H.265, behind headers of different length.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MAX_HEAD, Payload, ended, equal, pieces};
use crate::media::NalUnits;

/// How a codec's NAL units travel.
pub(super) struct Format {
    /// Bytes of a unit's own header.
    header: usize,
    /// Header of the aggregation packet (STAP-A, AP).
    aggregate: &'static [u8],
    /// Writes the fragmentation unit's header (FU indicator and FU header, or
    /// payload header and FU header) without S and E; returns its length.
    fragment: fn(unit: &[u8], head: &mut [u8; MAX_HEAD]) -> usize,
}

/// RFC 6184, packetization mode 1: §5.7.1 (STAP-A is type 24, NRI the highest
/// of its units', and parameter sets have 3), §5.8 (FU-A is type 28).
pub(super) const H264: Format = Format {
    header: 1,
    aggregate: &[3 << 5 | 24],
    fragment: |unit, head| {
        head[0] = unit[0] & 0xe0 | 28;
        head[1] = unit[0] & 0x1f;
        2
    },
};

/// RFC 7798 §4.4.2 (AP is type 48), §4.4.3 (FU is type 49). TID is 1, the
/// lowest there is.
pub(super) const H265: Format = Format {
    header: 2,
    aggregate: &[48 << 1, 1],
    fragment: |unit, head| {
        head[0] = unit[0] & 0x81 | 49 << 1;
        head[1] = unit[1];
        head[2] = unit[0] >> 1 & 0x3f;
        3
    },
};

/// A picture behind its parameter sets, if there are any.
pub(super) fn access_unit<'a>(
    format: &Format,
    sets: impl Iterator<Item = &'a Bytes> + Clone,
    data: &Bytes,
    max: usize,
) -> Vec<Payload> {
    let mut out = Vec::with_capacity(data.len() / max + 4);
    parameter_sets(format, sets, max, &mut out);
    for unit in NalUnits::new(data) {
        push(format, &data.slice_ref(unit), max, &mut out);
    }
    ended(out)
}

/// In one packet where they fit.
fn parameter_sets<'a>(
    format: &Format,
    sets: impl Iterator<Item = &'a Bytes> + Clone,
    max: usize,
    out: &mut Vec<Payload>,
) {
    let sets = sets.filter(|set| set.len() > format.header);
    let size: usize = sets.clone().map(|set| 2 + set.len()).sum();
    if size == 0 || size + format.aggregate.len() > max {
        return sets.for_each(|set| push(format, set, max, out));
    }
    let mut body = BytesMut::with_capacity(size);
    for set in sets {
        body.put_u16(set.len() as u16);
        body.put_slice(set);
    }
    out.push(Payload::new(format.aggregate, body.freeze()));
}

/// A single NAL unit packet, or fragments.
fn push(format: &Format, unit: &Bytes, max: usize, out: &mut Vec<Payload>) {
    if unit.len() <= format.header {
        return;
    }
    if unit.len() <= max {
        return out.push(Payload::new(&[], unit.clone()));
    }
    let mut head = [0; MAX_HEAD];
    let length = (format.fragment)(unit, &mut head);
    let (head, flags) = (&mut head[..length], length - 1);
    let body = unit.slice(format.header..);
    let size = equal(body.len(), max - length);
    let mut fragments = pieces(&body, size).peekable();
    head[flags] |= 0x80;
    while let Some(body) = fragments.next() {
        head[flags] |= u8::from(fragments.peek().is_none()) << 6;
        out.push(Payload::new(head, body));
        head[flags] &= 0x7f;
    }
}
