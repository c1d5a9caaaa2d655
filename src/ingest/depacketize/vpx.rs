//! VP8 (RFC 7741) and VP9 (RFC 9628) in RTP: a descriptor, then a part of a
//! frame.

use super::picture::{Format, Taken};
use crate::media::{Codec, Vp8, Vp9};

/// Reads a descriptor's optional fields.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// One byte, or two where its highest bit says so.
    fn picture_id(&mut self) -> Option<()> {
        if self.byte()? & 0x80 != 0 {
            self.byte()?;
        }
        Some(())
    }
}

/// RFC 7741.
#[derive(Debug, Default)]
pub(super) struct RtpVp8;

impl RtpVp8 {
    /// Whether the frame starts here, and its part (§4.2).
    fn read(payload: &[u8]) -> Option<(bool, &[u8])> {
        let mut fields = Fields(payload);
        let first = fields.byte()?;
        if first & 0x80 != 0 {
            let extended = fields.byte()?;
            if extended & 0x80 != 0 {
                fields.picture_id()?;
            }
            if extended & 0x40 != 0 {
                fields.byte()?; // TL0PICIDX
            }
            if extended & 0x30 != 0 {
                fields.byte()?; // TID, Y, KEYIDX
            }
        }
        // S, and the first of the frame's partitions.
        Some((first & 0x1f == 0x10, fields.0))
    }
}

impl Format for RtpVp8 {
    fn take(&mut self, payload: &[u8], picture: &mut Vec<u8>) -> Taken {
        let Some((start, part)) = Self::read(payload).filter(|(_, part)| !part.is_empty()) else {
            return Taken::Malformed;
        };
        if start != picture.is_empty() {
            return Taken::Torn;
        }
        picture.extend_from_slice(part);
        Taken::Joined
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn key(picture: &[u8]) -> Option<Codec> {
        Vp8::of_key_frame(picture).map(Codec::Vp8)
    }
}

/// RFC 9628. Of several spatial layers only the lowest is taken.
#[derive(Debug, Default)]
pub(super) struct RtpVp9 {
    /// Between a frame's first and last packet.
    within: bool,
}

/// What a descriptor says (§4.2).
struct Vp9Part<'a> {
    begins: bool,
    ends: bool,
    layer: u8,
    part: &'a [u8],
}

impl RtpVp9 {
    fn read(payload: &[u8]) -> Option<Vp9Part<'_>> {
        let mut fields = Fields(payload);
        let first = fields.byte()?;
        let has = |bit: u8| first & bit != 0;
        let (has_id, predicted, flexible) = (has(0x80), has(0x40), has(0x10));
        if has_id {
            fields.picture_id()?;
        }
        let mut layer = 0;
        if has(0x20) {
            layer = fields.byte()? >> 1 & 7;
            if !flexible {
                fields.byte()?; // TL0PICIDX
            }
        }
        if predicted && flexible {
            // Up to three references; the lowest bit says that one follows.
            let mut references = 0;
            while fields.byte()? & 1 != 0 {
                references += 1;
                if references == 3 {
                    return None;
                }
            }
        }
        if has(0x02) {
            Self::skip_structure(&mut fields)?;
        }
        Some(Vp9Part { begins: has(0x08), ends: has(0x04), layer, part: fields.0 })
    }

    /// The scalability structure (§4.2.1).
    fn skip_structure(fields: &mut Fields<'_>) -> Option<()> {
        let first = fields.byte()?;
        if first & 0x10 != 0 {
            for _ in 0..4 * (usize::from(first >> 5) + 1) {
                fields.byte()?;
            }
        }
        if first & 0x08 != 0 {
            for _ in 0..fields.byte()? {
                for _ in 0..fields.byte()? >> 2 & 3 {
                    fields.byte()?;
                }
            }
        }
        Some(())
    }
}

impl Format for RtpVp9 {
    fn take(&mut self, payload: &[u8], picture: &mut Vec<u8>) -> Taken {
        let Some(part) = Self::read(payload).filter(|part| !part.part.is_empty()) else {
            return Taken::Malformed;
        };
        if part.layer > 0 {
            return Taken::Joined;
        }
        if part.begins == self.within {
            return Taken::Torn;
        }
        self.within = !part.ends;
        picture.extend_from_slice(part.part);
        Taken::Joined
    }

    fn is_whole(&self) -> bool {
        !self.within
    }

    fn key(picture: &[u8]) -> Option<Codec> {
        Vp9::of_key_frame(picture).map(Codec::Vp9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_optional_field_of_a_vp8_descriptor_is_passed_over() {
        for (descriptor, start) in [
            (&[0x10][..], true),
            (&[0x00], false),
            (&[0x11], false),
            (&[0x90, 0x80, 0x05], true),
            (&[0x90, 0x80, 0x85, 0x06], true),
            (&[0x90, 0xf0, 0x85, 0x06, 7, 8], true),
            (&[0xb0, 0x20, 9], true),
        ] {
            let payload = [descriptor, &[1, 2, 3]].concat();
            assert_eq!(RtpVp8::read(&payload), Some((start, &[1, 2, 3][..])), "{descriptor:?}");
        }
        assert_eq!(RtpVp8::read(&[0x90, 0xf0, 0x85]), None);
    }

    #[test]
    fn every_optional_field_of_a_vp9_descriptor_is_passed_over() {
        for (descriptor, layer) in [
            (&[0x0c][..], 0),
            (&[0x8c, 5], 0),
            (&[0x8c, 0x85, 6], 0),
            (&[0xac, 5, 0x02, 9], 1),
            // Flexible mode: no TL0PICIDX, two references.
            (&[0xfc, 5, 0x00, 3, 2], 0),
            // Structures: a size; a group of two pictures with 1 and 2 references.
            (&[0x0e, 0x10, 1, 64, 0, 180], 0),
            (&[0x0e, 0x08, 2, 0x04, 1, 0x08, 1, 2], 0),
        ] {
            let payload = [descriptor, &[1, 2, 3]].concat();
            let part = RtpVp9::read(&payload).unwrap();
            assert_eq!((part.layer, part.part), (layer, &[1, 2, 3][..]), "{descriptor:?}");
            assert!(part.begins && part.ends);
        }
        assert!(RtpVp9::read(&[0x5c, 1, 1, 1, 1, 9]).is_none(), "four references");
        assert!(RtpVp9::read(&[0x0e, 0xf8, 1]).is_none());
    }
}
