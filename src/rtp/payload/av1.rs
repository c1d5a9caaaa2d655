//! AV1 ("RTP Payload Format For AV1", 1.0): units travel without their sizes.

use super::{Payload, ended};
use crate::media::{Obu, ObuKind, put_leb128};

/// The aggregation header (§4.4): the first element goes on from the packet
/// before, the last one goes on in the next, a new sequence begins.
const GOES_ON: u8 = 0x80;
const CUT: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;

/// Most bytes of the length of an element below 16 KiB.
const LENGTH: usize = 2;

/// A temporal unit. Packets are filled up, and the last unit in each is cut:
/// browsers take a packet that neither goes on nor is gone on with for a
/// picture of its own.
pub(super) fn temporal_unit(key: bool, data: &[u8], max: usize) -> Vec<Payload> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut rest = data;
    while let Some((unit, behind)) = Obu::read(rest) {
        rest = behind;
        if !matches!(unit.kind, ObuKind::TemporalDelimiter | ObuKind::Unwanted) {
            units.push([unit.bare_header(), unit.payload].concat());
        }
    }
    let mut out = Vec::with_capacity(data.len() / max + 1);
    let mut packet = vec![if key { NEW_SEQUENCE } else { 0 }];
    let last = units.len().saturating_sub(1);
    for (at, unit) in units.iter().enumerate() {
        let mut unit = &unit[..];
        loop {
            let room = max - packet.len() - LENGTH;
            // What would end with the packet leaves a byte for the next one.
            let kept = usize::from(at < last && unit.len() + LENGTH >= room && unit.len() > 1);
            let (element, left) = unit.split_at(room.min(unit.len() - kept));
            put_leb128(&mut packet, element.len());
            packet.extend_from_slice(element);
            unit = left;
            let full = packet.len() + LENGTH >= max;
            if unit.is_empty() && !full {
                break;
            }
            let mut next = 0;
            if !unit.is_empty() {
                packet[0] |= CUT;
                next = GOES_ON;
            }
            out.push(Payload::new(&[], std::mem::replace(&mut packet, vec![next]).into()));
            if unit.is_empty() {
                break;
            }
        }
    }
    if packet.len() > 1 {
        out.push(Payload::new(&[], packet.into()));
    }
    ended(out)
}
