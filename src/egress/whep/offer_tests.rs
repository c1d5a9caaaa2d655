use super::*;

/// Chromium 156, shortened.
pub(in super::super) const CHROMIUM: &str = "v=0\r\n\
    o=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 109 114 115 39\r\nc=IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2113937151 6a5c1d0e.local 50000 typ host\r\n\
    a=candidate:2 1 udp 1677729535 192.0.2.7 50000 typ srflx raddr 0.0.0.0 rport 0\r\n\
    a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
    a=fingerprint:sha-256 00:11\r\na=fingerprint:sha-512 cc:dd\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\n\
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

#[test]
fn only_udp_candidates_with_an_address_reach_the_engine() {
    let kept = Offer::read(CHROMIUM).unwrap().candidates;
    assert_eq!(kept, ["2 1 udp 1677729535 192.0.2.7 50000 typ srflx raddr 0.0.0.0 rport 0"]);
    let nameless = CHROMIUM.to_owned() + &"a=candidate\r\n".repeat(99);
    assert_eq!(Offer::read(&nameless).unwrap().candidates.len(), 1);

    let many = "a=candidate:9 1 udp 1 192.0.2.9 5 typ host\r\n".repeat(99);
    let kept = Offer::read(&(CHROMIUM.to_owned() + &many)).unwrap().candidates;
    assert_eq!(kept.len(), MAX_CANDIDATES);
}

#[test]
fn a_section_that_does_not_receive_is_not_used() {
    let offer = Offer::read(&CHROMIUM.replace("a=recvonly", "a=sendonly")).unwrap();
    assert!(!offer.wants(MediaKind::Video));
    assert_eq!(offer.receiving(MediaKind::Video), None);
}

#[test]
fn the_connection_is_read_from_wherever_it_stands() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!((&*offer.ufrag, &*offer.password), ("abcd", "0123456789abcdef01234567"));
    assert_eq!(offer.fingerprints, ["00:11"], "no other hash is checked");
    assert!(!offer.passive && !offer.lite && offer.bundled);
}

#[test]
fn an_offer_that_cannot_become_a_session_is_refused_with_a_reason() {
    for (from, to, reason) in [
        ("v=0", "{\"sdp\":", "it is not SDP: it does not start with `v=0`"),
        ("a=ice-ufrag", "a=x", "it has no ICE credentials (`a=ice-ufrag`, `a=ice-pwd`)"),
        ("a=fingerprint", "a=x", "it has no DTLS certificate (`a=fingerprint`)"),
        ("sha-256", "sha-1", "it has no SHA-256 fingerprint (`a=fingerprint:sha-256`)"),
        ("m=", "x=", "it has no media section"),
        ("a=mid:1\r\n", "", "a media section has no name (`a=mid`)"),
        ("a=mid:0", "a=mid:0\rm=audio", "a line has a character that SDP forbids"),
    ] {
        assert_eq!(Offer::read(&CHROMIUM.replace(from, to)).unwrap_err(), BadOffer(reason));
    }
    assert!(Offer::read(&"m=video\r\n".repeat(9_000)).is_err());
}
