//! NAL units: the envelope H.264 and H.265 share.

use bytes::{BufMut, Bytes, BytesMut};

/// A parameter set that cannot be read; the word says which and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable parameter set: {0}")]
pub struct BadParameterSet(pub &'static str);

/// Longest parameter set we read. With every scaling list, HRD schedule and
/// reference picture set written out one stays below 2 KiB; cameras' have 20
/// to 100 bytes.
pub const MAX_PARAMETER_SET_BYTES: usize = 4096;

/// Most luma samples along one side. Level 6.2 of H.264 and H.265 ends at
/// 16,888; no browser decodes more than 16,384.
pub const MAX_PICTURE_SIDE: u32 = 16_384;

/// Frames per second as a fraction, as the parameter sets state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRate {
    frames: u32,
    seconds: u32,
}

impl FrameRate {
    /// `frames` in `seconds`; `None` beyond what cameras do (a frame in a
    /// minute to 1,000 a second), since the sets are often wrong.
    pub fn new(frames: u32, seconds: u32) -> Option<Self> {
        let (n, d) = (u64::from(frames), u64::from(seconds));
        (d > 0 && n * 60 >= d && n <= d * 1000).then_some(Self { frames, seconds })
    }

    /// Frames per second.
    pub fn hz(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// Ticks of a clock of `rate` hertz that a frame lasts, rounded down.
    pub fn frame_ticks(self, rate: u32) -> u32 {
        let ticks = u64::from(rate) * u64::from(self.seconds) / u64::from(self.frames);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

/// NAL units of a frame, each behind a 4-byte big-endian length
/// (ISO/IEC 14496-15 §5.2.3). Ends early at a wrong length.
#[derive(Clone, Debug)]
pub struct NalUnits<'a>(&'a [u8]);

impl<'a> NalUnits<'a> {
    /// The units in `data`, without their lengths.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (unit, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(unit)
    }
}

/// Puts each unit behind its length, as [`NalUnits`] reads it.
pub fn length_prefixed<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = BytesMut::new();
    for unit in units {
        out.put_u32(u32::try_from(unit.len()).expect("a NAL unit is capped far below 4 GiB"));
        out.put_slice(unit);
    }
    out.freeze()
}

/// A NAL unit without its emulation prevention bytes (H.264 §7.4.1.1): the
/// RBSP behind the header, still with the header.
pub fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Reads an unescaped RBSP bit by bit (H.264 §7.2, §9.1).
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    bit: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, bit: 0 }
    }

    /// `u(n)`, at most 32 bits.
    pub fn bits(&mut self, n: u32) -> Result<u32, BadParameterSet> {
        debug_assert!(n <= 32);
        let mut value: u64 = 0;
        for _ in 0..n {
            let byte = self.data.get(self.bit / 8).ok_or(BadParameterSet("it ends early"))?;
            value = value << 1 | u64::from(byte >> (7 - self.bit % 8) & 1);
            self.bit += 1;
        }
        Ok(value as u32)
    }

    /// `u(1)` as a flag.
    pub fn flag(&mut self) -> Result<bool, BadParameterSet> {
        Ok(self.bits(1)? == 1)
    }

    /// `ue(v)` (H.264 §9.1).
    pub fn ue(&mut self) -> Result<u32, BadParameterSet> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(BadParameterSet("an Exp-Golomb code is too long"));
            }
        }
        Ok(((1u64 << zeros) - 1) as u32 + self.bits(zeros)?)
    }

    /// `ue(v)` that the standard limits to `max`; `what` says what exceeds it.
    pub fn ue_up_to(&mut self, max: u32, what: &'static str) -> Result<u32, BadParameterSet> {
        let value = self.ue()?;
        if value > max { Err(BadParameterSet(what)) } else { Ok(value) }
    }

    /// `se(v)` (H.264 §9.1.1).
    pub fn se(&mut self) -> Result<i32, BadParameterSet> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        Ok(if code % 2 == 1 { magnitude } else { -magnitude } as i32)
    }

    /// Passes over `bits`, perhaps beyond the end.
    pub fn skip(&mut self, bits: usize) {
        self.bit = self.bit.saturating_add(bits);
    }

    /// Bits read so far.
    pub fn position(&self) -> usize {
        self.bit
    }
}

/// Writes an RBSP bit by bit (H.264 §7.2, §9.1), to go through [`escape`].
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    /// `u(n)`: the lowest `count` bits of `value`.
    pub fn bits(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (value >> at & 1) as u8 * (0x80 >> (self.used % 8));
            }
            self.used += 1;
        }
    }

    /// `ue(v)` of a small number.
    pub fn ue(&mut self, value: u32) {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        self.bits(0, length - 1);
        self.bits(code, length);
    }

    /// The next `count` bits of `from`; `None` when it has not that many.
    pub fn copy(&mut self, from: &mut BitReader<'_>, count: usize) -> Option<()> {
        for _ in 0..count {
            self.bits(from.bits(1).ok()?, 1);
        }
        Some(())
    }

    /// All of it, with the stop bit of §7.3.2.11.
    pub fn finish(mut self) -> Vec<u8> {
        self.bits(1, 1);
        self.bytes
    }
}

/// Puts emulation prevention bytes in (H.264 §7.4.1.1): what [`unescape`]
/// undoes.
pub fn escape(rbsp: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rbsp.len() + 4);
    let mut zeros = 0;
    for &byte in rbsp {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_back_as_they_went_in_and_a_wrong_length_ends_them() {
        let data = length_prefixed([&[1, 2, 3][..], &[], &[4]]);
        let units: Vec<&[u8]> = NalUnits::new(&data).collect();
        assert_eq!(units, [&[1, 2, 3][..], &[], &[4]]);
        assert_eq!(NalUnits::new(&data[..data.len() - 1]).count(), 2);
        assert_eq!(NalUnits::new(&[255, 255, 255, 255, 0]).count(), 0);
    }

    #[test]
    fn emulation_prevention_is_removed() {
        assert_eq!(unescape(&[7, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [7, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn escaping_is_what_unescaping_undoes() {
        for rbsp in [&[7, 0, 0, 0, 0, 0, 1][..], &[7, 0, 0, 3, 0, 0, 2, 9], &[7, 0, 0]] {
            assert_eq!(unescape(&escape(rbsp)), rbsp);
        }
    }

    #[test]
    fn exp_golomb_codes_of_the_standard_table() {
        // H.264 table 9-2: 1, 010, 011, 00100, 00101 are 0 to 4.
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let codes: Vec<u32> = (0..5).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        assert!(BitReader::new(&[0; 8]).ue().is_err());
    }
}
