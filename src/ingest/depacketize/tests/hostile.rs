use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// One of each payload we carry.
fn one_of_each() -> Vec<Depacketizer> {
    let new =
        |kind, name, rate, fmtp| Depacketizer::new(kind, name, rate, None, Some(fmtp)).unwrap();
    vec![
        new(MediaKind::Video, "h264", 90_000, ""),
        new(MediaKind::Video, "h265", 90_000, ""),
        new(MediaKind::Video, "vp8", 90_000, ""),
        new(MediaKind::Video, "vp9", 90_000, ""),
        new(MediaKind::Video, "av1", 90_000, ""),
        new(MediaKind::Video, "jpeg", 90_000, ""),
        new(MediaKind::Audio, "mpeg4-generic", 48_000, "mode=AAC-hbr;config=1190"),
        new(MediaKind::Audio, "mp4a-latm", 48_000, ""),
        new(MediaKind::Audio, "mp4a-latm", 16_000, "cpresent=0;config=400028103fc0"),
        new(MediaKind::Audio, "l16", 44_100, ""),
        new(MediaKind::Audio, "pcma", 8_000, ""),
        new(MediaKind::Audio, "opus", 48_000, ""),
    ]
}

/// Pushes the same packet until something gives.
fn flood(name: &str, payload: &[u8], marker: bool, step: i64) -> (Option<Limit>, usize) {
    let mut depacketizer = video(name, "");
    let mut bytes = 0;
    for n in 0..2_000_000 / payload.len().max(100) * 100 {
        let packet = Packet { timestamp: n as i64 * step, marker, lost_before: 0, payload };
        if let Err(limit) = depacketizer.push(packet) {
            return (Some(limit), bytes);
        }
        while depacketizer.pull().is_some() {}
        bytes += payload.len();
    }
    (None, bytes)
}

#[test]
fn an_endless_fragment_is_a_named_limit_at_4_mib() {
    let middle = |first: &[u8]| [first, &[0x41; 1400]].concat();
    for (name, start, go_on) in [
        ("h264", vec![0x7c, 0x85], middle(&[0x7c, 0x05])),
        ("h265", vec![0x62, 1, 0x93], middle(&[0x62, 1, 0x13])),
    ] {
        let mut depacketizer = video(name, "");
        let packet = |payload| Packet { timestamp: 0, marker: true, lost_before: 0, payload };
        depacketizer.push(packet(&start)).unwrap();
        let pushed = (0..10_000).take_while(|_| depacketizer.push(packet(&go_on)).is_ok()).count();
        assert_eq!(pushed, (4 << 20) / 1400, "{name}");
        assert_eq!(depacketizer.push(packet(&go_on)), Err(Limit::NalBytes));
    }
}

#[test]
fn one_byte_units_without_end_are_a_named_limit() {
    let aggregate = |unit: &[u8]| [&[0x78][..], &unit.repeat(400)].concat();
    let (limit, bytes) = flood("h264", &aggregate(&[0, 1, 0x61]), false, 0);
    assert_eq!(limit, Some(Limit::NalCount));
    assert!(bytes < 20_000);
    // Also when each is something that is not even kept.
    assert_eq!(flood("h264", &aggregate(&[0, 1, 9]), false, 0).0, Some(Limit::NalCount));
    assert_eq!(flood("h264", &[9], true, 0).0, Some(Limit::NalCount));
}

#[test]
fn a_picture_without_end_is_a_named_limit_at_8_mib() {
    let slice = [&[0x61, 0x9a][..], &[0x55; 20_000]].concat();
    let (limit, bytes) = flood("h264", &slice, false, 0);
    assert_eq!(limit, Some(Limit::AccessUnitBytes));
    assert!(bytes <= 8 << 20);
    // A frame that never ends; of AV1 also a unit.
    for (name, start, go_on) in [
        ("vp8", &[0x10, 0x11][..], &[0x00][..]),
        ("vp9", &[0x08, 0x86], &[0x00]),
        ("av1", &[0x50, 0x30], &[0xd0]),
        ("av1", &[0x10, 0x30], &[0x10, 0x30]),
    ] {
        let mut depacketizer = video(name, "");
        let packet = |payload| Packet { timestamp: 0, marker: false, lost_before: 0, payload };
        depacketizer.push(packet(start)).unwrap();
        let more = [go_on, &[0x55; 20_000]].concat();
        let pushed = (0..1_000).take_while(|_| depacketizer.push(packet(&more)).is_ok()).count();
        assert!((400..430).contains(&pushed), "{name}: {pushed}");
        assert_eq!(depacketizer.push(packet(&more)), Err(Limit::AccessUnitBytes), "{name}");
    }
    let mut scan = vec![0, 0, 0, 0, 1, 50, 2, 2];
    scan.extend([0x55; 20_000]);
    let mut depacketizer = Depacketizer::new(MediaKind::Video, "jpeg", 90_000, None, None).unwrap();
    let limit = (0..1000u32).find_map(|n| {
        scan[1..4].copy_from_slice(&(n * 20_000).to_be_bytes()[1..]);
        let packet = Packet { timestamp: 0, marker: false, lost_before: 0, payload: &scan };
        depacketizer.push(packet).err()
    });
    assert_eq!(limit, Some(Limit::AccessUnitBytes));
}

#[test]
fn parameter_sets_without_end_are_a_named_limit() {
    let long = [&[0x67, 0x42, 0, 30][..], &[0x55; 5000]].concat();
    assert_eq!(flood("h264", &long, true, 0).0, Some(Limit::ParameterSets));
    // PPS of ids 0 to 255, each a valid one.
    let mut depacketizer = video("h264", "");
    let limit = (0..256u32).find_map(|id| {
        let code = format!("{:b}", id + 1);
        let bits = format!("{:0>1$}", code, code.len() * 2 - 1) + "11";
        let bits = format!("{bits:0<24}");
        let mut pps = vec![0x68];
        pps.extend(
            bits.as_bytes()
                .chunks(8)
                .map(|b| b.iter().fold(0u8, |n, digit| n << 1 | (digit - b'0'))),
        );
        let packet = Packet { timestamp: 0, marker: false, lost_before: 0, payload: &pps };
        depacketizer.push(packet).err().map(|limit| (id, limit))
    });
    assert_eq!(limit, Some((64, Limit::ParameterSets)));
}

#[test]
fn a_sound_frame_above_64_kib_is_a_named_limit() {
    let fmtp = Some("sizelength=32;indexlength=0;indexdeltalength=0;config=1190");
    let mut depacketizer =
        Depacketizer::new(MediaKind::Audio, "mpeg4-generic", 48_000, None, fmtp).unwrap();
    let payload = [0, 32, 0, 2, 0, 0, 9, 9];
    let packet = Packet { timestamp: 0, marker: true, lost_before: 0, payload: &payload };
    assert_eq!(depacketizer.push(packet), Err(Limit::AudioBytes));
}

#[test]
fn sei_and_sets_for_days_without_a_picture_are_no_fault() {
    assert_eq!(flood("h264", &[0x68, 0xce, 0x38, 0x80], true, 3600).0, None);
    assert_eq!(flood("h264", &[0x06, 0x05, 0x01, 0x00, 0x80], false, 3600).0, None);
}

proptest! {
    #[test]
    fn no_packets_make_it_panic_or_hold_more_than_the_limits(
        packets in vec((any::<i8>(), any::<bool>(), 0u32..3, vec(any::<u8>(), 0..60)), 0..60),
        far in any::<i64>(),
    ) {
        for mut depacketizer in one_of_each() {
            let mut timestamp = far;
            for (step, marker, loss, payload) in &packets {
                timestamp = timestamp.wrapping_add(i64::from(*step / 40) * 3000);
                let lost_before = loss.saturating_sub(1);
                let packet = Packet { timestamp, marker: *marker, lost_before, payload };
                if depacketizer.push(packet).is_err() {
                    break;
                }
                while let Some(unit) = depacketizer.pull() {
                    prop_assert!(unit.data.len() <= 8 << 20);
                    prop_assert!(unit.dts <= unit.pts);
                }
            }
        }
    }

    /// Packets that look right to the depacketizer at hand, cut, bent and in
    /// any order: these come further than random bytes.
    #[test]
    fn no_mangled_stream_makes_it_panic_or_invent_a_picture(
        order in vec((0usize..400, any::<bool>(), 0u8..20, any::<u8>(), any::<u8>()), 1..200),
    ) {
        const H264: &[u8] = include_bytes!("../testdata/x264_bframes.h264");
        const H265: &[u8] = include_bytes!("../testdata/x265_open_gop.h265");
        for (standard, name, clip) in
            [(Standard::H264, "h264", H264), (Standard::H265, "h265", H265)]
        {
            let sent = packetized(standard, &pictures(standard, clip), 200, |n| n as i64);
            let mut depacketizer = video(name, "");
            for (pick, marker, bend, at, bits) in &order {
                let mut packet = sent[pick % sent.len()].clone();
                if *bend == 0 && !packet.payload.is_empty() {
                    let at = usize::from(*at) % packet.payload.len();
                    packet.payload[at] ^= bits;
                }
                if *bend == 1 {
                    packet.payload.truncate(usize::from(*at));
                }
                let packet = Packet {
                    timestamp: packet.timestamp,
                    marker: packet.marker ^ (*bend == 2 && *marker),
                    lost_before: u32::from(*bend == 3),
                    payload: &packet.payload,
                };
                prop_assert!(depacketizer.push(packet).is_ok());
                while let Some(unit) = depacketizer.pull() {
                    let whole: usize = NalUnits::new(&unit.data).map(|n| n.len() + 4).sum();
                    prop_assert_eq!(whole, unit.data.len(), "lengths add up");
                    prop_assert!(depacketizer.codec().is_some());
                }
            }
        }
    }
}
