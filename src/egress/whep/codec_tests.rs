use bytes::Bytes;

use super::super::offer::tests::CHROMIUM;
use super::*;
use crate::media::PixelSize;

fn avc(profile: u8) -> Avc {
    Avc {
        sps: Bytes::copy_from_slice(&[0x67, profile, 0, 0x1f]),
        pps: vec![],
        size: PixelSize { width: 16, height: 16 },
        max_num_reorder_frames: None,
    }
}

#[test]
fn h264_is_sent_as_its_own_profile_else_as_constrained_baseline() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!(offer.h264(&avc(0x4d)).unwrap().payload_type, 109);
    assert_eq!(offer.h264(&avc(0x42)).unwrap().payload_type, 107);
    let high = offer.h264(&avc(0x64)).unwrap();
    assert_eq!(high.payload_type, 107);
    assert_eq!(offer.rtx(high).unwrap().payload_type, 108);
}

#[test]
fn audio_is_found_with_and_without_rtpmap() {
    let offer = Offer::read(CHROMIUM).unwrap();
    let pcma = offer.audio(&Codec::G711 { law: G711Law::A, channels: 1 });
    assert_eq!(pcma.unwrap().payload_type, 8);
    assert_eq!(offer.audio(&Codec::Opus { channels: 1 }).unwrap().payload_type, 111);
    assert_eq!(offer.audio(&Codec::G711 { law: G711Law::A, channels: 2 }), None);
    assert_eq!(offer.audio(&Codec::G722).unwrap().payload_type, 9);
}

#[test]
fn a_message_names_the_codecs_and_not_their_helpers() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!(offer.codec_names(MediaKind::Video), "VP8, H264");
    let audio_only = Offer::read(&CHROMIUM.replace("m=video", "m=text")).unwrap();
    assert_eq!(audio_only.codec_names(MediaKind::Video), "none");
}
