//! G.711 and L16 as FLAC (RFC 9639) in verbatim subframes: lossless, and so simple
//! that no codec library is needed. Browsers take FLAC in MP4, but neither of them.

use bytes::Bytes;

use super::boxes::{put_u16, put_u32};
use crate::media::G711Law;

/// Most samples a block can state (RFC 9639 §9.1.1).
const MOST_SAMPLES: usize = 65_535;

/// Writes the STREAMINFO metadata block (RFC 9639 §8.2), as `dfLa` holds it.
pub(super) fn put_stream_info(out: &mut Vec<u8>, channels: u8, rate: u32) {
    put_u32(out, 0x8000_0022); // last block, type 0, 34 bytes
    put_u16(out, 16); // smallest block the format allows
    put_u16(out, MOST_SAMPLES as u16);
    out.extend_from_slice(&[0; 6]); // frame sizes: unknown
    // 20 bits of rate, 3 of channels less 1, 5 of bits per sample less 1, 36
    // of total samples (unknown).
    let channels = u64::from(channels.clamp(1, 8) - 1);
    let packed = u64::from(rate & 0xf_ffff) << 44 | channels << 41 | 15 << 36;
    out.extend_from_slice(&packed.to_be_bytes());
    out.extend_from_slice(&[0; 16]); // MD5: unknown
}

/// Interleaved samples.
pub(super) enum Pcm<'a> {
    G711(G711Law, &'a [u8]),
    /// 16 bits, big-endian.
    L16(&'a [u8]),
}

impl Pcm<'_> {
    fn len(&self) -> usize {
        match self {
            Self::G711(_, codes) => codes.len(),
            Self::L16(bytes) => bytes.len() / 2,
        }
    }

    /// Silence behind the last one.
    fn get(&self, at: usize) -> i16 {
        match self {
            Self::G711(law, codes) => {
                let table = match law {
                    G711Law::A => &A_LAW,
                    G711Law::Mu => &MU_LAW,
                };
                codes.get(at).map_or(0, |&code| table[usize::from(code)])
            }
            Self::L16(bytes) => {
                let pair = bytes.get(2 * at..).and_then(|rest| rest.first_chunk::<2>());
                pair.map_or(0, |pair| i16::from_be_bytes(*pair))
            }
        }
    }
}

/// One FLAC frame (RFC 9639 §9) of `samples`, the first of which has number
/// `position`.
pub(super) fn frame(samples: &Pcm<'_>, channels: u8, rate: u32, position: u64) -> Bytes {
    let channels = usize::from(channels.clamp(1, 8));
    let blocks = (samples.len() / channels).clamp(1, MOST_SAMPLES);
    let mut out = Vec::with_capacity(20 + channels * (1 + 2 * blocks));

    out.extend_from_slice(&[0xff, 0xf9]); // sync, blocks of varying size
    let rate_code = match rate {
        8_000 => 4,
        16_000 => 5,
        48_000 => 10,
        _ => 0, // see STREAMINFO
    };
    out.push(0x70 | rate_code); // block size follows as 16 bits
    out.push((channels as u8 - 1) << 4 | 0x08); // independent channels of 16 bits
    // The format has 36 bits, but FFmpeg reads no more than 31. Nobody counts
    // on the number: MP4 has its own times.
    put_number(&mut out, position as u32 & 0x7fff_ffff);
    put_u16(&mut out, (blocks - 1) as u16);
    let crc = crc8(&out);
    out.push(crc);

    for channel in 0..channels {
        out.push(0x02); // verbatim, no wasted bits
        // An empty payload still makes one (silent) sample: the format knows
        // no empty block.
        for block in 0..blocks {
            put_u16(&mut out, samples.get(block * channels + channel) as u16);
        }
    }
    let crc = crc16(&out);
    put_u16(&mut out, crc);
    out.into()
}

/// The coded number of RFC 9639 §9.1.5: UTF-8, stretched to 31 bits.
fn put_number(out: &mut Vec<u8>, number: u32) {
    if number < 0x80 {
        out.push(number as u8);
        return;
    }
    // With n bytes behind the first, it has 6n bits there and 6 - n in front.
    let behind = (1..6).find(|n| number >> (5 * n + 6) == 0).unwrap_or(5);
    let prefix = (0xff00_u16 >> (behind + 1)) as u8;
    out.push(prefix | (number >> (6 * behind)) as u8);
    for n in (0..behind).rev() {
        out.push(0x80 | (number >> (6 * n)) as u8 & 0x3f);
    }
}

/// CRC of the frame header: x^8 + x^2 + x + 1 (RFC 9639 §9.1.8).
fn crc8(data: &[u8]) -> u8 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 })
    })
}

/// CRC of the frame: x^16 + x^15 + x^2 + 1 (RFC 9639 §9.3).
fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc: u16, byte| crc << 8 ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// ITU-T G.711 table 1a, scaled to 16 bits.
const A_LAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let code = i as u8 ^ 0x55;
        let mantissa = ((code & 0x0f) as i16) << 4;
        let magnitude = match (code & 0x70) >> 4 {
            0 => mantissa + 8,
            segment => (mantissa + 0x108) << (segment - 1),
        };
        table[i] = if code & 0x80 == 0 { -magnitude } else { magnitude };
        i += 1;
    }
    table
};

/// ITU-T G.711 table 2a, scaled to 16 bits.
const MU_LAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let code = !(i as u8);
        let magnitude = (((((code & 0x0f) as i16) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84;
        table[i] = if code & 0x80 == 0 { magnitude } else { -magnitude };
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crcs_match_their_published_check_values() {
        // CRC-8/SMBUS and CRC-16/UMTS of the catalogue of parametrised CRCs.
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc16(b"123456789"), 0xfee8);
    }

    #[test]
    fn both_laws_decode_their_extremes_and_silence() {
        assert_eq!((A_LAW[0xd5], A_LAW[0x55]), (8, -8));
        assert_eq!((A_LAW[0xaa], A_LAW[0x2a]), (32_256, -32_256));
        assert_eq!((MU_LAW[0xff], MU_LAW[0x7f]), (0, 0));
        assert_eq!((MU_LAW[0x80], MU_LAW[0x00]), (32_124, -32_124));
    }

    #[test]
    fn coded_numbers_are_stretched_utf8() {
        let coded = |number| {
            let mut out = Vec::new();
            put_number(&mut out, number);
            out
        };
        for c in ['a', 'é', '€', '🎥'] {
            assert_eq!(coded(u32::from(c)), c.to_string().as_bytes());
        }
        assert_eq!(coded(0x7fff_ffff), [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
    }

    #[test]
    fn stereo_samples_go_to_their_channels() {
        let codes = [0x80, 0x00, 0xff, 0x80];
        let coded = frame(&Pcm::G711(G711Law::Mu, &codes), 2, 8_000, 0);
        let max = 32_124_i16.to_be_bytes();
        let min = (-32_124_i16).to_be_bytes();
        let body = [&[0x02][..], &max, &[0, 0], &[0x02], &min, &max].concat();
        assert_eq!(coded[8..coded.len() - 2], body);
        assert_eq!(coded[3], 0x18);
        // The same as linear samples, at a rate that only STREAMINFO tells.
        let linear = [max, min, [0, 0], max].concat();
        let same = frame(&Pcm::L16(&linear), 2, 44_100, 0);
        assert_eq!(same[8..same.len() - 2], body);
        assert_eq!(same[2] & 0x0f, 0);
    }
}
