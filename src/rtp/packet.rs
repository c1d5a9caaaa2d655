//! Fixed headers, sender reports, source descriptions.

use crate::media::WallTime;

/// Bytes of a header without extensions (RFC 3550 §5.1).
pub const HEADER_BYTES: usize = 12;
/// RTCP packet types (RFC 3550 §12.1).
const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
/// The SDES item that names a source (RFC 3550 §6.5.1).
const CNAME: u8 = 1;

/// A packet's fixed header (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of 7 bits.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// Counts packets, and wraps.
    pub sequence_number: u16,
    /// In ticks of the payload's clock; wraps.
    pub timestamp: u32,
    /// Whose packet it is.
    pub ssrc: u32,
}

impl Header {
    /// As it stands in the packet.
    pub fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 2 << 6;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

/// What a source says about its clock, and what it has sent (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Whose report it is.
    pub ssrc: u32,
    /// The moment...
    pub wall: WallTime,
    /// ...by the clock of its packets.
    pub timestamp: u32,
    /// Packets sent so far; wraps.
    pub packets: u32,
    /// Bytes of payload in them; wraps.
    pub octets: u32,
}

impl SenderReport {
    /// Appends it, with its source's name behind it: a compound packet holds
    /// both (RFC 3550 §6.1). The name has 255 bytes at most.
    pub fn write(self, cname: &str, out: &mut Vec<u8>) {
        out.extend([2 << 6, SENDER_REPORT, 0, 6]);
        out.extend(self.ssrc.to_be_bytes());
        out.extend(self.wall.ntp().to_be_bytes());
        for field in [self.timestamp, self.packets, self.octets] {
            out.extend(field.to_be_bytes());
        }
        write_name(self.ssrc, cname, out);
    }
}

/// Appends a source's name (RFC 3550 §6.5), of 255 bytes at most.
pub fn write_name(ssrc: u32, cname: &str, out: &mut Vec<u8>) {
    // SSRC, item, name and at least one zero that ends the list, in words.
    let words = (4 + 2 + cname.len() + 1).div_ceil(4);
    out.extend([2 << 6 | 1, SOURCE_DESCRIPTION, 0, words as u8]);
    let end = out.len() + words * 4;
    out.extend(ssrc.to_be_bytes());
    out.extend([CNAME, cname.len() as u8]);
    out.extend_from_slice(cname.as_bytes());
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_the_rfc_draws_it() {
        let header = Header {
            payload_type: 96,
            marker: true,
            sequence_number: 0x0102,
            timestamp: 0x0304_0506,
            ssrc: 0x0708_090a,
        };
        assert_eq!(header.bytes(), [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_name_ends_in_at_least_one_zero_and_in_whole_words() {
        for length in 0..12 {
            let mut out = Vec::new();
            write_name(7, &"x".repeat(length), &mut out);
            let words = usize::from(out[3]) + 1;
            assert_eq!((out.len(), out.last()), (words * 4, Some(&0)), "{length}");
        }
    }
}
