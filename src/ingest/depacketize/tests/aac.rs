use super::*;

/// AAC-LC at 16 kHz, mono, by ffmpeg's encoder; in ADTS.
const CLIP: &[u8] = include_bytes!("../testdata/aac_lc_16k.adts");

/// `AudioSpecificConfig` of the above: LC, 16 kHz, one channel.
const FMTP: &str =
    "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408";

/// Raw frames of an ADTS clip (ISO/IEC 14496-3 §1.A.2.2.1).
fn frames(mut clip: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let [0xff, b1, _, b3, b4, b5, ..] = *clip {
        let length = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5) >> 5;
        frames.push(&clip[if b1 & 1 == 0 { 9 } else { 7 }..length]);
        clip = &clip[length..];
    }
    frames
}

/// A packet's payload: headers of 13 bits of size and 3 of index, and data.
fn payload(sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let headers = sizes.iter().flat_map(|size| ((size << 3) as u16).to_be_bytes());
    let bits = (sizes.len() as u16 * 16).to_be_bytes();
    bits.into_iter().chain(headers).chain(data.iter().copied()).collect()
}

fn aac(fmtp: &str) -> Result<Depacketizer, Unsupported> {
    Depacketizer::new(MediaKind::Audio, "mpeg4-generic", 16_000, Some(1), Some(fmtp))
}

fn sent(timestamp: i64, payload: Vec<u8>) -> Sent {
    Sent { timestamp, marker: true, payload }
}

#[test]
fn the_config_of_sdp_is_read() {
    let depacketizer = aac(FMTP).unwrap();
    let Some(Codec::Aac(aac)) = depacketizer.codec() else { panic!("no AAC") };
    assert_eq!((aac.object_type, aac.sample_rate, aac.channels), (2, 16_000, 1));
    assert_eq!(&aac.config[..], [0x14, 0x08]);
}

#[test]
fn he_aac_said_outright_tells_both_rates() {
    // Object type 5, core 24 kHz stereo, output 48 kHz, then LC.
    let config = AacConfig::read(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
    assert_eq!((config.object_type, config.core_rate, config.sample_rate), (5, 24_000, 48_000));
    assert_eq!(config.channels, 2);
    // The 48 kHz mono of Dahua cameras, and an explicit rate of 44,100 Hz.
    assert_eq!(AacConfig::read(&[0x11, 0x88]).unwrap().sample_rate, 48_000);
    assert_eq!(AacConfig::read(&[0x17, 0x80, 0x56, 0x22, 0x08]).unwrap().sample_rate, 44_100);
    for bad in [&[][..], &[0x11], &[0x16, 0x88], &[0x07, 0x88], &[0xff; 8]] {
        assert!(AacConfig::read(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn several_frames_of_a_packet_come_out_a_frame_apart() {
    let frames = frames(CLIP);
    assert!(frames.len() >= 9);
    let packets: Vec<Sent> = frames
        .chunks(3)
        .enumerate()
        .map(|(n, group)| {
            let sizes: Vec<usize> = group.iter().map(|f| f.len()).collect();
            sent(n as i64 * 3 * 1024, payload(&sizes, &group.concat()))
        })
        .collect();
    let units = received(&mut aac(FMTP).unwrap(), &packets, &[]);
    let data: Vec<&[u8]> = units.iter().map(|u| &u.data[..]).collect();
    assert_eq!(data, frames);
    let times: Vec<i64> = units.iter().map(|u| u.pts).collect();
    assert_eq!(times, (0..frames.len() as i64).map(|n| n * 1024).collect::<Vec<_>>());
    assert!(units.iter().all(|u| u.samples == Some(1024) && u.kind == FrameKind::Audio));
}

#[test]
fn a_frame_in_fragments_is_joined_and_one_with_a_hole_is_dropped() {
    let frames = frames(CLIP);
    let (first, second) = (frames[3], frames[4]);
    let fragments = |timestamp, frame: &[u8]| -> Vec<Sent> {
        let cut = |part: &[u8]| sent(timestamp, payload(&[frame.len()], part));
        frame.chunks(frame.len().div_ceil(3)).map(cut).collect()
    };
    let packets = [fragments(0, first), fragments(1024, second)].concat();
    let mut depacketizer = aac(FMTP).unwrap();
    let units = received(&mut depacketizer, &packets, &[]);
    assert_eq!(units.iter().map(|u| &u.data[..]).collect::<Vec<_>>(), [first, second]);
    for lost in 0..3 {
        let mut depacketizer = aac(FMTP).unwrap();
        let units = received(&mut depacketizer, &packets, &[lost]);
        assert_eq!(units.iter().map(|u| &u.data[..]).collect::<Vec<_>>(), [second], "{lost}");
        assert_eq!(units[0].lost_before, 1);
        // Unreported, and the next frame has the same size.
        let mut packets = [fragments(0, first), fragments(1024, first)].concat();
        packets.remove(lost);
        let units = received(&mut aac(FMTP).unwrap(), &packets, &[]);
        assert_eq!(units.iter().map(|u| (u.pts, &u.data[..])).collect::<Vec<_>>(), [(1024, first)]);
    }
}

#[test]
fn the_low_bit_rate_mode_has_short_headers() {
    // 6 bits of size, 2 of index.
    let mut depacketizer = aac("mode=AAC-lbr;config=1408").unwrap();
    let packets = [sent(0, vec![0, 16, 3 << 2, 2 << 2, 1, 2, 3, 4, 5])];
    let units = received(&mut depacketizer, &packets, &[]);
    assert_eq!(units.iter().map(|u| &u.data[..]).collect::<Vec<_>>(), [&[1, 2, 3][..], &[4, 5]]);
}

#[test]
fn aac_that_cannot_be_described_is_refused() {
    for bad in ["config=zz", "config=16", "config=1408;sizelength=40"] {
        assert!(aac(bad).is_err(), "{bad}");
    }
}

#[test]
fn aac_without_config_is_taken_for_aac_lc_as_sdp_speaks_of_it() {
    for fmtp in ["mode=AAC-hbr", "config=;mode=AAC-hbr"] {
        let depacketizer = aac(fmtp).unwrap();
        let Some(Codec::Aac(aac)) = depacketizer.codec() else { panic!("no AAC") };
        assert_eq!((&aac.config[..], aac.channels), (&[0x14, 0x08][..], 1));
    }
    let odd = Depacketizer::new(MediaKind::Audio, "mpeg4-generic", 90_000, None, None);
    assert!(odd.unwrap_err().0.contains("90000 Hz"));
}

#[test]
fn adts_headers_inside_are_taken_off() {
    let mut clip = CLIP;
    let mut packets = Vec::new();
    for (n, frame) in frames(CLIP).iter().enumerate() {
        let (whole, rest) = clip.split_at(frame.len() + 7);
        packets.push(sent(n as i64 * 1024, payload(&[whole.len()], whole)));
        clip = rest;
    }
    let units = received(&mut aac(FMTP).unwrap(), &packets, &[]);
    assert_eq!(units.iter().map(|u| &u.data[..]).collect::<Vec<_>>(), frames(CLIP));
}

/// `AudioMuxElement`s of one frame each, with the config in-band or without.
fn latm(frame: &[u8], config: Option<&str>, cpresent: bool) -> Vec<u8> {
    let mut bits = String::new();
    if cpresent {
        bits += if config.is_some() { "0" } else { "1" };
    }
    bits += config.unwrap_or_default();
    let byte = |b: u8| format!("{b:08b}");
    bits += &"11111111".repeat(frame.len() / 255);
    bits += &byte((frame.len() % 255) as u8);
    bits.extend(frame.iter().map(|&b| byte(b)));
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    bits.as_bytes().chunks(8).map(|b| b.iter().fold(0, |n, d| n << 1 | (d - b'0'))).collect()
}

/// Version 0, same framing, one frame, program and layer; the config of the
/// clip; frames of any length, fullness 255, no other data, no CRC.
const MUX_CONFIG: &str = "010000000000000\
    0001010000001000\
    0001111111100";

#[test]
fn latm_of_gstreamer_keeps_an_extension_and_cuts_off_what_follows() {
    let fmtp = Some("cpresent=0;config=40002410adca00");
    let made = Depacketizer::new(MediaKind::Audio, "MP4A-LATM", 44_100, None, fmtp).unwrap();
    let Some(Codec::Aac(aac)) = made.codec() else { panic!("{:?}", made.codec()) };
    assert_eq!((aac.object_type, aac.sample_rate, aac.channels), (2, 44_100, 1));
}

#[test]
fn latm_comes_out_as_the_frames_that_went_in_with_the_config_in_sdp_or_in_band() {
    let frames = frames(CLIP);
    for in_band in [false, true] {
        let fmtp = if in_band { "profile-level-id=15" } else { "cpresent=0;config=400028103fc0" };
        let new = || Depacketizer::new(MediaKind::Audio, "MP4A-LATM", 16_000, Some(1), Some(fmtp));
        assert_eq!(new().unwrap().codec().is_some(), !in_band);
        let mut packets = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            // The config is repeated every three frames.
            let config = (in_band && n % 3 == 0).then_some(MUX_CONFIG);
            let element = latm(frame, config, in_band);
            let parts: Vec<&[u8]> = element.chunks(100).collect();
            for (at, part) in parts.iter().enumerate() {
                let (marker, timestamp) = (at + 1 == parts.len(), n as i64 * 1024);
                packets.push(Sent { timestamp, marker, payload: part.to_vec() });
            }
        }
        let units = received(&mut new().unwrap(), &packets, &[]);
        assert_eq!(units.iter().map(|u| &u.data[..]).collect::<Vec<_>>(), frames, "{in_band}");
        let mut depacketizer = new().unwrap();
        received(&mut depacketizer, &packets, &[]);
        let Some(Codec::Aac(aac)) = depacketizer.codec() else { panic!("no AAC") };
        assert_eq!((&aac.config[..], aac.channels, aac.sample_rate), (&[0x14, 8][..], 1, 16_000));
        // A lost packet costs its frame, or those up to the next config.
        for lost in 0..packets.len() {
            let units = received(&mut new().unwrap(), &packets, &[lost]);
            assert!(units.iter().all(|u| frames.contains(&&u.data[..])), "{lost}");
            assert!(units.len() + if in_band { 4 } else { 2 } >= frames.len(), "{lost}");
        }
    }
    let refused = |fmtp| Depacketizer::new(MediaKind::Audio, "MP4A-LATM", 16_000, None, Some(fmtp));
    assert!(refused("cpresent=0").is_err() && refused("cpresent=0;config=ff").is_err());
}

#[test]
fn broken_headers_are_counted_and_forgotten() {
    let mut depacketizer = aac(FMTP).unwrap();
    let broken = [
        vec![],
        vec![0],
        vec![0, 16],
        vec![255, 255, 1, 2],
        payload(&[2, 9], &[1, 2, 3]),
        vec![0, 16, 0, 0x11, 1, 2],
    ];
    let packets: Vec<Sent> = broken.into_iter().map(|p| sent(0, p)).collect();
    let units = received(&mut depacketizer, &packets, &[]);
    assert_eq!(units.len(), 1, "of the one whose second frame is cut");
    assert_eq!(depacketizer.discarded().malformed, 6);
}
