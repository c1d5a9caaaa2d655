//! One second of a camera, as RTP payloads: H.264 whose parameter sets and
//! slice headers are right and whose slices hold noise. No gateway decodes a
//! picture, so none can tell.

use std::ops::Range;

use clap::Args;

/// What each camera sends.
#[derive(Args, Clone, Debug)]
pub(crate) struct Rhythm {
    /// Bit rate of the picture, in Mbit/s.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) mbit: f64,
    /// Pictures a second; a key frame comes once a second.
    #[arg(long, default_value_t = 25)]
    pub(crate) fps: u32,
    /// G.711 sound too, 50 packets a second.
    #[arg(long)]
    pub(crate) audio: bool,
}

/// A key frame is this many times as large as the others.
const KEY_WEIGHT: u32 = 6;
/// Most bytes of an RTP payload: what cameras fit into an Ethernet frame.
const PAYLOAD_BYTES: usize = 1_400;
/// Constrained Baseline, level 3.1, 1280 x 720, `frame_num` of 8 bits,
/// pictures shown in the order they are decoded.
pub(crate) const SPS: [u8; 10] = [0x67, 0x42, 0xc0, 0x1f, 0x95, 0xa0, 0x14, 0x01, 0x6e, 0x40];
/// With all that can be left out left out.
pub(crate) const PPS: [u8; 4] = [0x68, 0xce, 0x38, 0x80];

/// The pictures of a second, over and over.
pub(crate) struct Clip {
    bytes: Vec<u8>,
    pictures: Vec<Vec<Range<usize>>>,
}

impl Clip {
    /// The second that every camera of this rhythm repeats.
    pub(crate) fn new(rhythm: &Rhythm) -> Self {
        let mut clip = Self { bytes: Vec::new(), pictures: Vec::new() };
        let second = rhythm.mbit * 1e6 / 8.0;
        let usual = second / f64::from(rhythm.fps - 1 + KEY_WEIGHT);
        for n in 0..rhythm.fps {
            let mut picture = Vec::new();
            if n == 0 {
                clip.put(&mut picture, &[&SPS]);
                clip.put(&mut picture, &[&PPS]);
                clip.fragments(&mut picture, 0x65, n, usual * f64::from(KEY_WEIGHT));
            } else {
                // Busy and calm moments; all in all as much as was asked for.
                let share = 0.7 + 0.6 * f64::from((n - 1) % 5) / 4.0;
                clip.fragments(&mut picture, 0x41, n, usual * share);
            }
            clip.pictures.push(picture);
        }
        clip
    }

    /// The RTP payloads of picture `n`, counted through all seconds.
    pub(crate) fn picture(&self, n: u64) -> impl Iterator<Item = &[u8]> {
        let picture = &self.pictures[(n % self.pictures.len() as u64) as usize];
        picture.iter().map(|range| &self.bytes[range.clone()])
    }

    /// RTP payload bytes of a second.
    pub(crate) fn bytes_a_second(&self) -> usize {
        self.bytes.len()
    }

    /// RTP packets of a second.
    pub(crate) fn packets_a_second(&self) -> usize {
        self.pictures.iter().map(Vec::len).sum()
    }

    fn put(&mut self, picture: &mut Vec<Range<usize>>, parts: &[&[u8]]) {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        picture.push(start..self.bytes.len());
    }

    /// One slice in FU-A packets (RFC 6184 §5.8).
    fn fragments(&mut self, picture: &mut Vec<Range<usize>>, header: u8, n: u32, bytes: f64) {
        let slice = slice(header, n as u8, bytes as usize);
        let count = slice.len().div_ceil(PAYLOAD_BYTES - 2);
        for (at, fragment) in slice.chunks(PAYLOAD_BYTES - 2).enumerate() {
            let start = if at == 0 { 0x80 } else { 0 };
            let end = if at + 1 == count { 0x40 } else { 0 };
            let kind = header & 0x1f | start | end;
            self.put(picture, &[&[header & 0xe0 | 28, kind], fragment]);
        }
    }
}

/// A slice behind its NAL header: the start of its header (H.264 §7.3.3), then
/// noise without a zero, so that nothing in it needs to be escaped, and with an
/// odd byte, the stop bit, at its end.
fn slice(header: u8, frame_num: u8, bytes: usize) -> Vec<u8> {
    // first_mb_in_slice 0, slice_type 7 (I) or 5 (P), pic_parameter_set_id 0
    // as Exp-Golomb codes (1 0001000 1, 1 00110 1); then 8 bits of frame_num,
    // and idr_pic_id 0.
    let head: u32 = if header & 0x1f == 5 {
        0b1000_1000_1000_0000_0100_0000 << 8 | u32::from(frame_num) << 15
    } else {
        0b1001_1010 << 24 | u32::from(frame_num) << 17
    };
    let mut noise: u32 = 0x9e37_79b9 ^ u32::from(frame_num);
    let mut out = head.to_be_bytes().map(|byte| byte | u8::from(byte == 0)).to_vec();
    out.resize_with(bytes.max(64), || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8 | 1
    });
    out
}
