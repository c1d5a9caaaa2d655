//! VP8 and VP9: what the start of a frame tells.

use super::{BadParameterSet, BitReader, PixelSize};

/// VP8 parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vp8 {
    /// Picture size.
    pub size: PixelSize,
}

/// VP9 parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vp9 {
    /// 0 to 3: 8 bits 4:2:0, 8 bits otherwise, more bits 4:2:0, more bits.
    pub profile: u8,
    /// Picture size.
    pub size: PixelSize,
}

impl Vp8 {
    /// Reads a key frame (RFC 6386 §9.1); `None` for any other.
    pub fn of_key_frame(frame: &[u8]) -> Option<Self> {
        let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else { return None };
        // The upper two bits tell how to scale it when shown.
        let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
        let size = PixelSize { width: side([w0, w1]), height: side([h0, h1]) };
        (tag & 1 == 0 && size.width > 0 && size.height > 0).then_some(Self { size })
    }
}

/// `sync_code` before what only key frames have.
const VP9_SYNC: u32 = 0x49_83_42;

/// sRGB in `color_space`, which leaves out what it implies.
const VP9_RGB: u32 = 7;

impl Vp9 {
    /// Reads a key frame's uncompressed header (VP9 bitstream §6.2); `None` for
    /// any other frame.
    pub fn of_key_frame(frame: &[u8]) -> Option<Self> {
        Self::read(frame).ok().flatten()
    }

    fn read(frame: &[u8]) -> Result<Option<Self>, BadParameterSet> {
        let mut bits = BitReader::new(frame);
        if bits.bits(2)? != 2 {
            return Ok(None);
        }
        let profile = bits.bits(1)? | bits.bits(1)? << 1;
        if profile == 3 {
            bits.skip(1);
        }
        let shows_existing = bits.flag()?;
        let is_inter = bits.flag()?;
        bits.skip(2); // show_frame, error_resilient_mode
        if shows_existing || is_inter || bits.bits(24)? != VP9_SYNC {
            return Ok(None);
        }
        if profile >= 2 {
            bits.skip(1); // ten_or_twelve_bit
        }
        let odd = profile & 1 == 1;
        if bits.bits(3)? == VP9_RGB {
            bits.skip(usize::from(odd)); // reserved
        } else {
            bits.skip(if odd { 4 } else { 1 }); // color_range, subsampling
        }
        let (width, height) = (bits.bits(16)? + 1, bits.bits(16)? + 1);
        Ok(Some(Self { profile: profile as u8, size: PixelSize { width, height } }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libvpx wrote first for 320x180.
    const VP8: [u8; 10] = [0x10, 0x62, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00];
    const VP9: [u8; 10] = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x06];

    #[test]
    fn a_key_frame_tells_its_size_and_no_other_does() {
        let size = PixelSize { width: 320, height: 180 };
        assert_eq!(Vp8::of_key_frame(&VP8), Some(Vp8 { size }));
        assert_eq!(Vp9::of_key_frame(&VP9), Some(Vp9 { profile: 0, size }));
        for end in 0..9 {
            assert_eq!(Vp8::of_key_frame(&VP8[..end]), None);
            assert_eq!(Vp9::of_key_frame(&VP9[..end]), None);
        }
        let inter = [&[0x11], &VP8[1..]].concat();
        assert_eq!(Vp8::of_key_frame(&inter), None);
        assert_eq!(Vp9::of_key_frame(&[0x86, 0, 0x40, 0x92, 0x88, 0, 0, 0, 0, 0]), None);
    }
}
