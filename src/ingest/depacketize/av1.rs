//! AV1 in RTP (the Alliance's "RTP Payload Format For AV1", 1.0): units
//! without sizes, the first and the last of a packet perhaps not whole.

use super::picture::{Format, Taken};
use crate::media::{Av1, Codec, Obu, ObuKind, leb128};

#[derive(Debug, Default)]
pub(super) struct RtpAv1 {
    /// The start of a unit whose rest is in the next packet.
    begun: Option<Vec<u8>>,
}

/// The aggregation header (§4.4).
const FIRST_GOES_ON: u8 = 0x80;
const LAST_IS_CUT: u8 = 0x40;

impl Format for RtpAv1 {
    fn take(&mut self, payload: &[u8], picture: &mut Vec<u8>) -> Taken {
        let Some((&header, mut rest)) = payload.split_first() else { return Taken::Malformed };
        let goes_on = header & FIRST_GOES_ON != 0;
        if goes_on != self.begun.is_some() {
            return Taken::Torn;
        }
        // 0: all elements have a length; else how many, the last has none.
        let count = usize::from(header >> 4 & 3);
        let mut at = 0;
        while !rest.is_empty() {
            at += 1;
            let element = if at == count {
                std::mem::take(&mut rest)
            } else {
                let split = leb128(rest).and_then(|(length, rest)| rest.split_at_checked(length));
                let Some((element, behind)) = split else { return Taken::Malformed };
                rest = behind;
                element
            };
            let mut unit = self.begun.take().unwrap_or_default();
            let cut = rest.is_empty() && header & LAST_IS_CUT != 0;
            if cut || !unit.is_empty() {
                unit.extend_from_slice(element);
            }
            if cut {
                self.begun = Some(unit);
            } else if !append(if unit.is_empty() { element } else { &unit }, picture) {
                return Taken::Malformed;
            }
        }
        if at == 0 { Taken::Malformed } else { Taken::Joined }
    }

    fn is_whole(&self) -> bool {
        self.begun.is_none()
    }

    fn held(&self) -> usize {
        self.begun.as_ref().map_or(0, Vec::len)
    }

    /// A sequence header, and a key frame behind it.
    fn key(picture: &[u8]) -> Option<Codec> {
        let (mut rest, mut codec) = (picture, None);
        while let Some((unit, behind)) = Obu::read(rest) {
            rest = behind;
            match unit.kind {
                ObuKind::SequenceHeader => codec = Av1::of_sequence_header(&unit).ok(),
                ObuKind::Frame => return codec.filter(|_| unit.is_shown_key()).map(Codec::Av1),
                _ => {}
            }
        }
        None
    }
}

/// Appends a unit with its size, if players have a use for it; `false` where
/// it is none.
fn append(element: &[u8], picture: &mut Vec<u8>) -> bool {
    // An element may be empty (§4.3).
    if element.is_empty() {
        return true;
    }
    let Some((unit, _)) = Obu::read(element) else { return false };
    if !matches!(unit.kind, ObuKind::TemporalDelimiter | ObuKind::Unwanted) {
        unit.write(picture);
    }
    true
}
