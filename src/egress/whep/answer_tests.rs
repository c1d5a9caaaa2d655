use super::*;
use crate::media::{Avc, Codec, G711Law, PixelSize};

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 8\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\na=setup:actpass\r\n\
    a=fingerprint:SHA-256 aa:bb\r\na=fingerprint:sha-512 cc:dd\r\n\
    a=candidate:1 1 udp 1 192.0.2.7 9 typ host\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:2\r\na=recvonly\r\n\
    a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtcp-fb:96 nack\r\na=rtcp-fb:* nack pli\r\na=rtcp-fb:96 transport-cc\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";

fn plan(offer: &Offer) -> Plan {
    let avc = Codec::H264(Avc {
        sps: bytes::Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f]),
        pps: Vec::new(),
        size: PixelSize { width: 16, height: 16 },
        max_num_reorder_frames: Some(0),
    });
    let video = offer.video(&avc).cloned();
    let rtx = video.as_ref().and_then(|codec| offer.rtx(codec)).cloned();
    let audio = offer.audio(&Codec::G711 { law: G711Law::A, channels: 1 }, 8_000).cloned();
    let transport_cc = video.as_ref().and_then(|codec| offer.transport_cc(codec));
    Plan { video, rtx, audio, transport_cc, adapts: false }
}

const LOCAL: Local<'_> = Local { ufrag: "ours", password: "secret", fingerprint: "EE:FF" };

fn answer(offer: &str) -> String {
    let offer = Offer::read(offer).unwrap();
    let video = Ssrcs { media: 7, rtx: Some(8) };
    offer.answer(&LOCAL, &plan(&offer), video, Ssrcs { media: 9, rtx: None })
}

#[test]
fn every_section_is_answered_in_its_place() {
    let answer = answer(OFFER);
    let of = |prefix: &str| -> Vec<String> {
        answer.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    };
    assert_eq!(
        of("m="),
        [
            "m=audio 9 UDP/TLS/RTP/SAVPF 8",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97"
        ]
    );
    assert_eq!(of("a=mid:"), ["a=mid:0", "a=mid:1", "a=mid:2"]);
    assert_eq!(of("a=group:"), ["a=group:BUNDLE 0 2"]);
    assert_eq!(of("a=setup:"), ["a=setup:passive"; 2]);
    assert_eq!(of("a=rtcp-mux"), ["a=rtcp-mux", "a=rtcp-mux-only"].repeat(2));
    assert_eq!(of("a=ssrc-group:"), ["a=ssrc-group:FID 7 8"]);
    // What was not offered is not answered; what we do not heed, neither.
    assert_eq!(of("a=rtcp-fb:"), ["a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"]);
    assert_eq!(of("a=fmtp:97"), ["a=fmtp:97 apt=96"]);
    assert!(answer.lines().all(|line| !line.ends_with(' ')), "{answer}");
    assert!(answer.ends_with("\r\n"));
}

#[test]
fn a_passive_viewer_is_called() {
    let answer = answer(&OFFER.replace("actpass", "passive"));
    assert_eq!(answer.matches("a=setup:active").count(), 2);
}

#[test]
fn without_bundle_only_the_picture_has_a_connection() {
    let answer = answer(&OFFER.replace("a=group:BUNDLE 0 1 2\r\n", ""));
    assert!(answer.contains("m=audio 0 ") && answer.contains("m=video 9 "), "{answer}");
    assert!(!answer.contains("BUNDLE"));
}

#[test]
fn the_viewer_is_asked_to_report_on_every_packet_or_else_what_its_way_carries() {
    let lines = |offer: &str| -> Vec<String> {
        let answer = answer(offer);
        let wanted =
            |line: &&str| line.contains("extmap") || line.contains("-cc") || line.contains("remb");
        answer.lines().filter(wanted).map(str::to_owned).collect()
    };
    let map =
        "a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    let with = |extra: &str| OFFER.to_owned() + extra + "\r\na=rtcp-fb:96 goog-remb\r\n";
    assert_eq!(lines(&with(map)), [map, "a=rtcp-fb:96 transport-cc"]);
    // Not of the short form, only sent, another one, or none: its own estimate.
    for extra in [
        map.replace(":4 ", ":15 "),
        map.replace(":4 ", ":4/sendonly "),
        map.replace("wide-cc", "wide-dd"),
        "a=x:y".to_owned(),
    ] {
        assert_eq!(lines(&with(&extra)), ["a=rtcp-fb:96 goog-remb"], "{extra}");
    }
    let unheeded = with(map).replace("a=rtcp-fb:96 transport-cc\r\n", "");
    assert_eq!(lines(&unheeded), ["a=rtcp-fb:96 goog-remb"]);
    let directed = map.replace(":4 ", ":4/recvonly ");
    assert_eq!(lines(&with(&directed)), [map, "a=rtcp-fb:96 transport-cc"]);
}
