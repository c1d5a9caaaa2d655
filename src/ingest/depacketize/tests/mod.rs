//! Claims about whole streams: encoders' output, packetized here in the ways
//! cameras do, and hostile packets.
//!
//! The clips in `testdata/` are `testsrc2` at 128x96 and 25/s, encoded by
//! x264 and x265 through ffmpeg 5.1 with the options each test names.

mod aac;
mod h264;
mod h265;
mod hostile;
mod pictures;
mod quirks;

use super::access_unit::split_at_start_codes;
use super::*;
use crate::media::NalUnits;

/// Ticks between pictures at 25/s.
const FRAME: i64 = 3600;

/// A packet before it is sent.
#[derive(Clone, Debug)]
struct Sent {
    timestamp: i64,
    marker: bool,
    payload: Vec<u8>,
}

/// How one NAL unit is told from the others.
#[derive(Clone, Copy)]
enum Standard {
    H264,
    H265,
}

impl Standard {
    fn kind(self, unit: &[u8]) -> u8 {
        match self {
            Self::H264 => unit[0] & 0x1f,
            Self::H265 => unit[0] >> 1 & 0x3f,
        }
    }

    /// Whether `unit` starts a picture.
    fn is_first_slice(self, unit: &[u8]) -> bool {
        match self {
            Self::H264 => matches!(self.kind(unit), 1 | 5) && unit[1] & 0x80 != 0,
            Self::H265 => self.kind(unit) < 32 && unit[2] & 0x80 != 0,
        }
    }

    fn is_slice(self, unit: &[u8]) -> bool {
        match self {
            Self::H264 => matches!(self.kind(unit), 1 | 5),
            Self::H265 => self.kind(unit) < 32,
        }
    }

    /// One unit in packets of at most `mtu` bytes.
    fn packets(self, unit: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        if unit.len() <= mtu {
            return vec![unit.to_vec()];
        }
        let (head, header, body) = match self {
            Self::H264 => (vec![unit[0] & 0xe0 | 28], unit[0] & 0x1f, &unit[1..]),
            Self::H265 => (vec![unit[0] & 0x81 | 49 << 1, unit[1]], self.kind(unit), &unit[2..]),
        };
        let room = mtu - head.len() - 1;
        let last = body.len().div_ceil(room) - 1;
        let fragment = |(i, part): (usize, &[u8])| {
            let flags = u8::from(i == 0) << 7 | u8::from(i == last) << 6;
            [&head, &[flags | header][..], part].concat()
        };
        body.chunks(room).enumerate().map(fragment).collect()
    }

    /// Units of one access unit in one packet.
    fn aggregate(self, units: &[&[u8]]) -> Vec<u8> {
        let head: &[u8] = match self {
            Self::H264 => &[0x78],
            Self::H265 => &[48 << 1, 1],
        };
        let behind_length = |unit: &&[u8]| [&(unit.len() as u16).to_be_bytes()[..], *unit].concat();
        let units: Vec<u8> = units.iter().flat_map(behind_length).collect();
        [head, &units].concat()
    }
}

/// The units of each picture of an Annex B clip, in the order of decoding.
fn pictures(standard: Standard, clip: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut pictures: Vec<Vec<&[u8]>> = vec![vec![]];
    let mut complete = false;
    for unit in split_at_start_codes(clip).filter(|unit| !unit.is_empty()) {
        let starts = standard.is_first_slice(unit) || !standard.is_slice(unit);
        if complete && starts {
            pictures.push(vec![]);
            complete = false;
        }
        complete |= standard.is_slice(unit);
        pictures.last_mut().unwrap().push(unit);
    }
    pictures
}

/// Each unit in its own packets, the marker on the last of a picture; the
/// n-th picture shown at `shown(n)`.
fn packetized(
    standard: Standard,
    pictures: &[Vec<&[u8]>],
    mtu: usize,
    shown: impl Fn(usize) -> i64,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (n, picture) in pictures.iter().enumerate() {
        for unit in picture {
            for payload in standard.packets(unit, mtu) {
                sent.push(Sent { timestamp: shown(n) * FRAME, marker: false, payload });
            }
        }
        sent.last_mut().unwrap().marker = true;
    }
    sent
}

/// Pushes `sent` and pulls what comes, with the packets at `lost` left out.
fn received(depacketizer: &mut Depacketizer, sent: &[Sent], lost: &[usize]) -> Vec<Unit> {
    let (mut units, mut lost_before) = (Vec::new(), 0);
    for (i, packet) in sent.iter().enumerate() {
        if lost.contains(&i) {
            lost_before += 1;
            continue;
        }
        let packet = Packet {
            timestamp: packet.timestamp,
            marker: packet.marker,
            lost_before: std::mem::take(&mut lost_before),
            payload: &packet.payload,
        };
        depacketizer.push(packet).unwrap();
        units.extend(std::iter::from_fn(|| depacketizer.pull()));
    }
    units
}

fn video(name: &str, fmtp: &str) -> Depacketizer {
    Depacketizer::new(MediaKind::Video, name, 90_000, None, Some(fmtp)).unwrap()
}

/// The slices of each unit.
fn nals(units: &[Unit]) -> Vec<Vec<&[u8]>> {
    units.iter().map(|unit| NalUnits::new(&unit.data).collect()).collect()
}

/// The units of each picture that a viewer should get: the slices.
fn slices<'a>(standard: Standard, pictures: &[Vec<&'a [u8]>]) -> Vec<Vec<&'a [u8]>> {
    let of = |picture: &Vec<&'a [u8]>| {
        picture.iter().copied().filter(|unit| standard.is_slice(unit)).collect()
    };
    pictures.iter().map(of).collect()
}
