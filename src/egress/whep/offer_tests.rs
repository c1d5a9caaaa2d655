use bytes::Bytes;

use super::*;
use crate::media::PixelSize;

/// Chromium 156, shortened.
const CHROMIUM: &str = "v=0\r\n\
    o=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 109 114 115 39\r\nc=IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2113937151 6a5c1d0e.local 50000 typ host\r\n\
    a=candidate:2 1 udp 1677729535 192.0.2.7 50000 typ srflx raddr 0.0.0.0 rport 0\r\n\
    a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
    a=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:103 H264/90000\r\n\
    a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n\
    a=rtpmap:107 H264/90000\r\n\
    a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:108 rtx/90000\r\na=fmtp:108 apt=107\r\n\
    a=rtpmap:109 H264/90000\r\n\
    a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8\r\na=mid:1\r\na=recvonly\r\n\
    a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n";

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
fn only_udp_candidates_with_an_address_reach_the_engine() {
    let sdp = Offer::read(CHROMIUM).unwrap().sdp;
    let kept: Vec<&str> = sdp.lines().filter(|line| line.starts_with("a=candidate")).collect();
    assert_eq!(
        kept,
        ["a=candidate:2 1 udp 1677729535 192.0.2.7 50000 typ srflx raddr 0.0.0.0 rport 0"]
    );

    let many = "a=candidate:9 1 udp 1 192.0.2.9 5 typ host\r\n".repeat(99);
    let sdp = Offer::read(&(CHROMIUM.to_owned() + &many)).unwrap().sdp;
    assert_eq!(sdp.matches("a=candidate").count(), MAX_CANDIDATES);
}

#[test]
fn a_message_names_the_codecs_and_not_their_helpers() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!(offer.codec_names(MediaKind::Video), "VP8, H264");
    let audio_only = Offer::read(&CHROMIUM.replace("m=video", "m=text")).unwrap();
    assert_eq!(audio_only.codec_names(MediaKind::Video), "none");
}

#[test]
fn a_section_that_does_not_receive_is_not_used() {
    let offer = Offer::read(&CHROMIUM.replace("a=recvonly", "a=sendonly")).unwrap();
    assert!(!offer.wants(MediaKind::Video));
    assert_eq!(offer.h264(&avc(0x42)), None);
}

#[test]
fn an_offer_that_cannot_become_a_session_is_refused_with_a_reason() {
    for (from, to, reason) in [
        ("v=0", "{\"sdp\":", "it is not SDP: it does not start with `v=0`"),
        ("a=ice-ufrag", "a=x", "it has no ICE credentials (`a=ice-ufrag`, `a=ice-pwd`)"),
        ("a=fingerprint", "a=x", "it has no DTLS certificate (`a=fingerprint`)"),
        ("m=", "x=", "it has no media section"),
        ("a=mid:0", "a=mid:0\rm=audio", "a line has a character that SDP forbids"),
    ] {
        assert_eq!(Offer::read(&CHROMIUM.replace(from, to)).unwrap_err(), BadOffer(reason));
    }
    assert!(Offer::read(&"m=video\r\n".repeat(9_000)).is_err());
}
