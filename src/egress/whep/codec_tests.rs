use bytes::Bytes;

use super::super::offer::tests::CHROMIUM;
use super::*;
use crate::media::{Av1, PixelSize, Vp8, Vp9};

fn avc(profile: u8) -> Codec {
    Codec::H264(Avc {
        sps: Bytes::copy_from_slice(&[0x67, profile, 0, 0x1f]),
        pps: vec![],
        size: PixelSize { width: 16, height: 16 },
        max_num_reorder_frames: None,
    })
}

#[test]
fn h264_is_sent_as_its_own_profile_else_as_constrained_baseline() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!(offer.video(&avc(0x4d)).unwrap().payload_type, 109);
    assert_eq!(offer.video(&avc(0x42)).unwrap().payload_type, 107);
    let high = offer.video(&avc(0x64)).unwrap();
    assert_eq!(high.payload_type, 107);
    assert_eq!(offer.rtx(high).unwrap().payload_type, 108);
}

#[test]
fn audio_is_found_with_and_without_rtpmap() {
    let offer = Offer::read(CHROMIUM).unwrap();
    let pcma = offer.audio(&Codec::G711 { law: G711Law::A, channels: 1 }, 8_000);
    assert_eq!(pcma.unwrap().payload_type, 8);
    assert_eq!(offer.audio(&Codec::Opus { channels: 1 }, 8_000).unwrap().payload_type, 111);
    assert_eq!(offer.audio(&Codec::G711 { law: G711Law::A, channels: 2 }, 8_000), None);
    assert_eq!(offer.audio(&Codec::G722, 8_000).unwrap().payload_type, 9);
}

#[test]
fn a_message_names_the_codecs_and_not_their_helpers() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!(offer.codec_names(MediaKind::Video), "VP8, H264");
    let audio_only = Offer::read(&CHROMIUM.replace("m=video", "m=text")).unwrap();
    assert_eq!(audio_only.codec_names(MediaKind::Video), "none");
}

const SIZE: PixelSize = PixelSize { width: 16, height: 16 };

/// The payload type that a codec gets in an offer of these.
fn sent(codecs: &str, codec: &Codec) -> Option<u8> {
    let video = CHROMIUM.split("a=rtpmap:96").next().unwrap();
    let offer = Offer::read(&format!("{video}{codecs}")).unwrap();
    offer.video(codec).map(|offered| offered.payload_type)
}

#[test]
fn every_codec_is_found_by_its_profile() {
    let vp9 = |profile| Codec::Vp9(Vp9 { profile, size: SIZE });
    let av1 = |profile| Codec::Av1(Av1 { profile, size: SIZE, sequence_header: Bytes::new() });
    assert_eq!(sent("a=rtpmap:96 VP8/90000\r\n", &Codec::Vp8(Vp8 { size: SIZE })), Some(96));
    let both = "a=rtpmap:96 VP9/90000\r\na=rtpmap:97 VP9/90000\r\na=fmtp:97 profile-id=2\r\n";
    assert_eq!([0, 1, 2].map(|profile| sent(both, &vp9(profile))), [Some(96), None, Some(97)]);
    let av1s = "a=rtpmap:96 AV1/90000\r\na=fmtp:96 level-idx=5;profile=0;tier=0\r\n";
    assert_eq!([0, 1].map(|profile| sent(av1s, &av1(profile))), [Some(96), None]);
}

#[test]
fn h265_is_sent_as_its_own_profile_or_one_that_includes_it() {
    let hevc = |profile: u8| {
        Codec::H265(Hevc {
            vps: Bytes::new(),
            sps: Bytes::new(),
            pps: Vec::new(),
            size: SIZE,
            profile_tier_level: [profile, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 93],
            chroma_format: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
            sub_layers: 1,
            temporal_id_nested: true,
            max_num_reorder_pics: 0,
        })
    };
    let main = "a=rtpmap:96 H265/90000\r\na=fmtp:96 level-id=93;profile-id=1;tier-flag=0\r\n";
    let ten = "a=rtpmap:97 H265/90000\r\na=fmtp:97 profile-id=2\r\n";
    let both = main.to_owned() + ten;
    assert_eq!([1, 2].map(|profile| sent(&both, &hevc(profile))), [Some(96), Some(97)]);
    assert_eq!([1, 2].map(|profile| sent(main, &hevc(profile))), [Some(96), None]);
    assert_eq!([1, 4].map(|profile| sent(ten, &hevc(profile))), [Some(97), None]);
    assert_eq!(sent("a=rtpmap:96 H265/90000\r\n", &hevc(1)), Some(96));
}

#[test]
fn h264_goes_by_mode_then_profile_and_a_refusal_says_which() {
    let silent = "a=rtpmap:96 H264/90000\r\n";
    let single = "a=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=0\r\n";
    assert_eq!(sent(silent, &avc(0x64)), Some(96));
    assert_eq!(sent(single, &avc(0x64)), None);
    let video = CHROMIUM.split("a=rtpmap:96").next().unwrap();
    let offer = Offer::read(&format!("{video}{single}")).unwrap();
    assert_eq!(offer.lacking(&avc(0x64)), "H.264 with packetization-mode=1");
    assert_eq!(offer.lacking(&Codec::Vp8(Vp8 { size: SIZE })), "VP8");
}

#[test]
fn linear_sound_is_sent_as_g711() {
    let offer = Offer::read(CHROMIUM).unwrap();
    let l16 = Codec::L16 { channels: 2 };
    assert_eq!(offer.audio(&l16, 44_100).unwrap().payload_type, 0);
    assert_eq!(offer.audio(&l16, 44_099), None, "no filter for that");
}
