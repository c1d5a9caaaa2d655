//! What cameras do beside the RFCs, in H.264 and H.265 alike: each quirk bends
//! packets of a healthy stream, and every picture still comes out.

use super::Standard::{H264, H265};
use super::*;

/// Several slices a picture, delimiters; a key frame every 6 and 12 pictures.
const CLIPS: [(Standard, &str, &[u8]); 2] = [
    (H264, "h264", include_bytes!("../testdata/x264_slices.h264")),
    (H265, "h265", include_bytes!("../testdata/x265_open_gop.h265")),
];

impl Standard {
    /// Bits of the FU header: start and end.
    fn fu_bits(self, packet: &mut Sent) -> Option<&mut u8> {
        let (kind, at) = match self {
            Self::H264 => (28, 1),
            Self::H265 => (49, 2),
        };
        if self.kind(&packet.payload) == kind { packet.payload.get_mut(at) } else { None }
    }

    fn is_set(self, unit: &[u8]) -> bool {
        match self {
            Self::H264 => matches!(self.kind(unit), 7 | 8),
            Self::H265 => matches!(self.kind(unit), 32..=34),
        }
    }

    /// Delimiters, SEI and filler.
    fn noise(self) -> [&'static [u8]; 3] {
        match self {
            Self::H264 => [&[9, 0xf0], &[6, 5, 1, 0, 0x80], &[12, 255, 0x80]],
            Self::H265 => [&[70, 1, 0x50], &[78, 1, 5, 1, 0, 0x80], &[76, 1, 255, 0x80]],
        }
    }
}

/// How a camera differs: from a healthy stream's packets to its own.
type Quirk = fn(Standard, &mut Vec<Sent>);

/// Quirks after which every picture comes out at once, or (`true`) once the
/// next one has begun.
const HARMLESS: [(&str, bool, Quirk); 8] = [
    ("no marker ever", true, |_, sent| sent.iter_mut().for_each(|packet| packet.marker = false)),
    ("markers on sets and SEI too", false, |standard, sent| {
        for packet in sent.iter_mut() {
            packet.marker |= standard.fu_bits(&mut packet.clone()).is_none()
                && !standard.is_slice(&packet.payload);
        }
    }),
    ("markers within fragmented units", false, |standard, sent| {
        for packet in sent.iter_mut() {
            packet.marker |= standard.fu_bits(packet).is_some_and(|bits| *bits & 0x40 == 0);
        }
    }),
    ("delimiters, SEI and filler before every packet of whole units", false, |standard, sent| {
        let noisy = sent.drain(..).flat_map(|mut packet| {
            let whole = standard.fu_bits(&mut packet).is_none();
            let noise = standard.noise().into_iter().filter(move |_| whole);
            let timestamp = packet.timestamp;
            let noise =
                noise.map(move |unit| Sent { timestamp, marker: false, payload: unit.to_vec() });
            noise.chain([packet]).collect::<Vec<_>>()
        });
        *sent = noisy.collect();
    }),
    ("sets under the time of the picture before", false, |standard, sent| {
        for packet in sent.iter_mut().filter(|packet| standard.is_set(&packet.payload)) {
            packet.timestamp -= FRAME;
        }
    }),
    ("units padded with zeros", false, |standard, sent| {
        for packet in sent.iter_mut() {
            if standard.fu_bits(packet).is_none_or(|bits| *bits & 0x40 != 0) {
                packet.payload.extend([0; 3]);
            }
        }
    }),
    ("start codes before whole units", false, |standard, sent| {
        for packet in sent.iter_mut() {
            if standard.fu_bits(packet).is_none() {
                packet.payload.splice(0..0, [0, 0, 0, 1]);
            }
        }
    }),
    ("empty packets and packets of one byte in between", false, |standard, sent| {
        let short = |mut packet: Sent| {
            let whole = standard.fu_bits(&mut packet).is_none();
            let short = |payload: &[u8]| {
                let timestamp = packet.timestamp;
                Sent { timestamp, marker: false, payload: payload.to_vec() }
            };
            let before = if whole { vec![short(&[]), short(&[9])] } else { vec![] };
            before.into_iter().chain([packet])
        };
        *sent = std::mem::take(sent).into_iter().flat_map(short).collect();
    }),
];

#[test]
fn harmless_quirks_cost_no_picture() {
    for (standard, name, clip) in CLIPS {
        let pictures = pictures(standard, clip);
        for (quirk, late, bend) in HARMLESS {
            for mtu in [60, 1400] {
                let mut sent = packetized(standard, &pictures, mtu, |n| n as i64);
                bend(standard, &mut sent);
                let units = received(&mut video(name, ""), &sent, &[]);
                // The last one waits for a successor.
                let whole = &slices(standard, &pictures)[..pictures.len() - usize::from(late)];
                assert!(nals(&units) == whole, "{name}, {quirk}, packets of {mtu}");
            }
        }
    }
}

/// Whole pictures, and only from the third on: it takes a few to learn.
fn learns_to_read(bend: impl Fn(&mut u8)) {
    for (standard, name, clip) in CLIPS {
        let pictures = pictures(standard, clip);
        // Twice, so that a key frame comes when all is learnt.
        let twice: Vec<_> = pictures.iter().cycle().take(2 * pictures.len()).cloned().collect();
        let mut sent = packetized(standard, &twice, 60, |n| n as i64);
        sent.iter_mut().filter_map(|packet| standard.fu_bits(packet)).for_each(&bend);
        let units = received(&mut video(name, ""), &sent, &[]);
        let whole = slices(standard, &twice);
        for (unit, nals) in units.iter().zip(nals(&units)) {
            assert!(whole.contains(&nals), "{name}: a damaged picture at {}", unit.pts);
        }
        assert!(units.len() > pictures.len(), "{name}: only {} came", units.len());
        assert_eq!(units[0].kind, FrameKind::Key);
    }
}

#[test]
fn fragments_that_never_say_they_are_the_last_are_joined_when_others_follow() {
    learns_to_read(|bits| *bits &= !0x40);
}

#[test]
fn fragments_that_never_say_they_are_the_first_are_joined_after_the_last() {
    learns_to_read(|bits| *bits &= !0x80);
}

#[test]
fn a_camera_without_start_bits_shows_no_picture_with_a_hole() {
    for (standard, name, clip) in CLIPS {
        let pictures = pictures(standard, clip);
        let mut sent = packetized(standard, &pictures, 60, |n| n as i64);
        sent.iter_mut().filter_map(|packet| standard.fu_bits(packet)).for_each(|b| *b &= !0x80);
        let whole = slices(standard, &pictures);
        for lost in (sent.len() / 2..sent.len()).step_by(7) {
            for nals in nals(&received(&mut video(name, ""), &sent, &[lost])) {
                assert!(whole.contains(&nals), "{name}: a damaged picture without packet {lost}");
            }
        }
    }
}

#[test]
fn fragments_of_another_unit_before_the_end_of_the_first_are_damage() {
    for (standard, name, clip) in CLIPS {
        let pictures = pictures(standard, clip);
        let sent = packetized(standard, &pictures, 60, |n| n as i64);
        let whole = slices(standard, &pictures);
        // A fragment of a parameter set in the middle of a slice, and back.
        let middle = |p: &Sent| standard.fu_bits(&mut p.clone()).is_some_and(|b| *b & 0xc0 == 0);
        let at = (sent.len() / 2..).find(|&i| middle(&sent[i])).unwrap();
        let mut mixed = sent.clone();
        let mut other = sent[at].clone();
        let bits = standard.fu_bits(&mut other).unwrap();
        *bits = if matches!(standard, H264) { 8 } else { 34 };
        mixed.insert(at, other);
        let units = received(&mut video(name, ""), &mixed, &[]);
        assert!(units.len() < whole.len() && !units.is_empty(), "{name}");
        assert!(nals(&units).iter().all(|nals| whole.contains(nals)), "{name}");
    }
}

#[test]
fn aggregates_and_first_fragments_with_a_decoding_order_number_are_read() {
    // STAP-B and FU-B (RFC 6184 §5.7.1, §5.8), in order.
    let pictures = pictures(H264, CLIPS[0].2);
    let mut sent = Vec::new();
    for (n, picture) in pictures.iter().enumerate() {
        let timestamp = n as i64 * FRAME;
        let (last, others) = picture.split_last().unwrap();
        let mut aggregate = H264.aggregate(others);
        aggregate[0] = 0x79;
        aggregate.splice(1..1, [0, n as u8]);
        sent.push(Sent { timestamp, marker: false, payload: aggregate });
        for mut payload in H264.packets(last, 60) {
            if payload[0] & 0x1f == 28 && payload[1] & 0x80 != 0 {
                payload[0] |= 1;
                payload.splice(2..2, [0, n as u8]);
            }
            sent.push(Sent { timestamp, marker: false, payload });
        }
        sent.last_mut().unwrap().marker = true;
    }
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H264, &pictures));
    let refused = Depacketizer::new(
        MediaKind::Video,
        "H264",
        90_000,
        None,
        Some("sprop-interleaving-depth=4"),
    );
    assert!(refused.unwrap_err().0.contains("interleaved"));
}

/// As after a change in the camera's menu.
fn of_another_level(sps: &[u8]) -> Vec<u8> {
    use crate::media::HevcSps;
    let old = HevcSps::read(sps).unwrap();
    let mut flipped = (3..20).map(|at| {
        let mut sps = sps.to_vec();
        sps[at] ^= 2;
        sps
    });
    let is_level = |sps: &Vec<u8>| {
        HevcSps::read(sps).is_ok_and(|new| new.profile_tier_level[11] != old.profile_tier_level[11])
    };
    flipped.find(is_level).unwrap()
}

#[test]
fn h265_sets_that_are_wrong_in_sdp_give_way_to_those_in_band() {
    use base64::Engine;
    let encode = |set: &[u8]| base64::engine::general_purpose::STANDARD.encode(set);
    let pictures = pictures(H265, CLIPS[1].2);
    let set = |kind| *pictures[0].iter().find(|unit| H265.kind(unit) == kind).unwrap();
    let sps = of_another_level(set(33));
    for sps in [encode(&sps), encode(&sps[..9]), "AAAA".into()] {
        let fmtp =
            format!("sprop-vps={};sprop-sps={sps};sprop-pps={}", encode(set(32)), encode(set(34)));
        let sent = packetized(H265, &pictures, 1400, |n| n as i64);
        let units = received(&mut video("h265", &fmtp), &sent, &[]);
        assert_eq!(units.len(), pictures.len());
        let Some(Codec::H265(hevc)) = &units[0].codec else { panic!("the codec is new") };
        assert_eq!(&hevc.sps[..], set(33));
    }
}

#[test]
fn h265_sets_that_change_come_with_the_key_frame_they_start() {
    let first = pictures(H265, CLIPS[1].2);
    let sps = of_another_level(first[0].iter().find(|unit| H265.kind(unit) == 33).unwrap());
    let changed: Vec<Vec<&[u8]>> = first
        .iter()
        .map(|p| p.iter().map(|u| if H265.kind(u) == 33 { &sps[..] } else { *u }).collect())
        .collect();
    let both = [first.clone(), changed].concat();
    let units = received(&mut video("h265", ""), &packetized(H265, &both, 1400, |n| n as i64), &[]);
    let new: Vec<usize> = (0..units.len()).filter(|&n| units[n].codec.is_some()).collect();
    assert_eq!(new, [0, first.len()]);
    assert!(new.iter().all(|&n| units[n].kind == FrameKind::Key));
}
