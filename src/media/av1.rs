//! AV1: open bitstream units (AV1 §5.3) and the sequence header.

use bytes::Bytes;

use super::nal::MAX_PARAMETER_SET_BYTES;
use super::{BadParameterSet, BitReader, PixelSize};

/// AV1 parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Av1 {
    /// `seq_profile`: 0 is Main.
    pub profile: u8,
    /// Largest picture of the sequence.
    pub size: PixelSize,
    /// The sequence header, a unit with its size.
    pub sequence_header: Bytes,
}

/// What a unit is for (§6.2.2); those nobody needs are `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObuKind {
    /// Begins a temporal unit; carries nothing.
    TemporalDelimiter,
    /// Parameters of all that follows.
    SequenceHeader,
    /// A frame's header, alone or with its tiles.
    Frame,
    /// Tiles, metadata and what the standard may still bring.
    Other,
    /// A list of tiles, or padding: not for players.
    Unwanted,
}

/// One unit.
#[derive(Clone, Copy, Debug)]
pub struct Obu<'a> {
    /// What it is for.
    pub kind: ObuKind,
    /// Its header as it stands without a size: one byte, or two.
    header: [u8; 2],
    header_length: usize,
    /// Behind header and size.
    pub payload: &'a [u8],
}

/// `obu_extension_flag`, `obu_has_size_field` (§5.3.2).
const EXTENSION: u8 = 4;
const HAS_SIZE: u8 = 2;

impl<'a> Obu<'a> {
    /// The first unit in `data`, and what is behind it. One without a size
    /// goes on to the end.
    pub fn read(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let &first = data.first()?;
        // The first bit is forbidden.
        if first & 0x80 != 0 {
            return None;
        }
        let header_length = if first & EXTENSION == 0 { 1 } else { 2 };
        let mut header = [first & !HAS_SIZE, 0];
        if header_length == 2 {
            header[1] = *data.get(1)?;
        }
        let rest = &data[header_length..];
        let (payload, behind) = if first & HAS_SIZE == 0 {
            (rest, &[][..])
        } else {
            let (size, rest) = leb128(rest)?;
            rest.split_at_checked(size)?
        };
        let kind = match first >> 3 & 15 {
            1 => ObuKind::SequenceHeader,
            2 => ObuKind::TemporalDelimiter,
            3 | 6 => ObuKind::Frame,
            8 | 15 => ObuKind::Unwanted,
            _ => ObuKind::Other,
        };
        Some((Self { kind, header, header_length, payload }, behind))
    }

    /// Its header without a size, as it travels in RTP.
    pub fn bare_header(&self) -> &[u8] {
        &self.header[..self.header_length]
    }

    /// Appends it with its size.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.header[0] | HAS_SIZE);
        out.extend_from_slice(&self.header[1..self.header_length]);
        put_leb128(out, self.payload.len());
        out.extend_from_slice(self.payload);
    }

    /// Of a frame: whether decoding can begin with it (§5.9.2): a key frame
    /// that is shown.
    pub fn is_shown_key(&self) -> bool {
        // show_existing_frame 0, frame_type 0 in two bits, show_frame 1.
        self.kind == ObuKind::Frame && self.payload.first().is_some_and(|bits| bits >> 4 == 1)
    }
}

/// A number of up to 32 bits in groups of seven (§4.10.5), and what is behind.
pub fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, &byte) in data.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, &data[at + 1..]));
        }
    }
    None
}

/// Appends a number as [`leb128`] reads it, as short as it goes.
pub fn put_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Av1 {
    /// From a sequence header unit.
    ///
    /// # Errors
    ///
    /// One that AV1 §5.5 cannot have written, or too long.
    pub fn of_sequence_header(obu: &Obu<'_>) -> Result<Self, BadParameterSet> {
        if obu.payload.len() > MAX_PARAMETER_SET_BYTES {
            return Err(BadParameterSet("the AV1 sequence header is too long"));
        }
        let mut bits = BitReader::new(obu.payload);
        let profile = bits.bits(3)? as u8;
        bits.skip(1); // still_picture
        if bits.flag()? {
            bits.skip(5); // seq_level_idx of a still picture
        } else {
            skip_operating_points(&mut bits)?;
        }
        let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
        let mut sequence_header = Vec::new();
        obu.write(&mut sequence_header);
        let size = PixelSize { width, height };
        Ok(Self { profile, size, sequence_header: sequence_header.into() })
    }
}

/// From `timing_info_present_flag` to the end of the operating points (§5.5.1).
fn skip_operating_points(bits: &mut BitReader<'_>) -> Result<(), BadParameterSet> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64); // num_units_in_display_tick, time_scale
        if bits.flag()? {
            bits.ue()?; // num_ticks_per_picture_minus_1, as uvlc() writes it
        }
        if bits.flag()? {
            delay_bits = Some(bits.bits(5)? as usize + 1);
            bits.skip(32 + 5 + 5);
        }
    }
    let delays_present = bits.flag()?;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12); // operating_point_idc
        if bits.bits(5)? > 7 {
            bits.skip(1); // seq_tier
        }
        if let Some(delay) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay + 1);
        }
        if delays_present && bits.flag()? {
            bits.skip(4);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libaom wrote first for 320x180: delimiter and sequence header.
    const START: [u8; 15] =
        [0x12, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x00, 0x40];

    #[test]
    fn units_are_found_with_and_without_a_size_and_written_with_one() {
        let (delimiter, rest) = Obu::read(&START).unwrap();
        assert_eq!((delimiter.kind, rest.len()), (ObuKind::TemporalDelimiter, 13));
        let (sequence, rest) = Obu::read(rest).unwrap();
        assert_eq!((sequence.kind, rest.len()), (ObuKind::SequenceHeader, 0));
        let bare = [sequence.bare_header(), sequence.payload].concat();
        let mut again = Vec::new();
        Obu::read(&bare).unwrap().0.write(&mut again);
        assert_eq!(again, START[2..]);
        for end in 3..14 {
            assert!(Obu::read(&START[2..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn numbers_in_groups_of_seven_come_back() {
        for value in [0, 127, 128, 300, 16_384, 4_000_000_000] {
            let mut out = Vec::new();
            put_leb128(&mut out, value);
            assert_eq!(leb128(&out), Some((value, &[][..])));
        }
        assert_eq!(leb128(&[0xff; 9]), None);
        assert_eq!(leb128(&[0xff, 0xff, 0xff, 0xff, 0x7f]), None, "beyond 32 bits");
    }

    #[test]
    fn the_sequence_header_tells_profile_and_size() {
        let (sequence, _) = Obu::read(&START[2..]).unwrap();
        let av1 = Av1::of_sequence_header(&sequence).unwrap();
        assert_eq!((av1.profile, av1.size), (0, PixelSize { width: 320, height: 180 }));
        for end in 0..7 {
            let cut = Obu { payload: &sequence.payload[..end], ..sequence };
            assert!(Av1::of_sequence_header(&cut).is_err(), "{end}");
        }
    }
}
