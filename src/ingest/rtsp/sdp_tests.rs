use super::*;

fn parse(sdp: &str) -> Vec<Section> {
    description(sdp).sections
}

fn description(sdp: &str) -> Description {
    let base = Base::new(&Url::parse("rtsp://cam/live").unwrap(), None, None);
    Description::parse(sdp.as_bytes(), &base).unwrap()
}

/// Kind, payload type, encoding, clock, channels.
type Told<Name> = (Option<MediaKind>, u8, Name, u32, Option<u16>);

fn told(sdp: &str) -> Vec<Told<String>> {
    let told = |s: Section| (s.kind, s.payload_type, s.encoding, s.clock_rate, s.channels);
    parse(sdp).into_iter().map(told).collect()
}

const VIDEO: Option<MediaKind> = Some(MediaKind::Video);
const AUDIO: Option<MediaKind> = Some(MediaKind::Audio);

#[test]
fn cameras_are_understood_whatever_they_write() {
    #[rustfmt::skip]
    let table: &[(&str, &str, &[Told<&str>])] = &[
        ("Reolink", "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\n",
            &[(VIDEO, 96, "h264", 90_000, None), (AUDIO, 97, "mpeg4-generic", 16_000, None)]),
        ("Foscam leaves out rtpmap", "m=audio 0 RTP/AVP 0\n", &[(AUDIO, 0, "pcmu", 8_000, Some(1))]),
        ("H264DVR ends lines in blanks", "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000 \n", &[(VIDEO, 96, "h264", 90_000, None)]),
        ("VStarcam ends formats in a tab", "m=audio 0 RTP/AVP 8\t \na=rtpmap:8 PCMA/8000/1\n", &[(AUDIO, 8, "pcma", 8_000, Some(1))]),
        ("Anjvision sends AAC as type 0", "m=audio 0 RTP/AVP 0\na=rtpmap:0 MPEG4-GENERIC/16000/2\n",
            &[(AUDIO, 0, "mpeg4-generic", 16_000, Some(2))]),
        ("GW Security calls type 8 PCMU", "m=audio 0 RTP/AVP 8\na=rtpmap:8 PCMU/8000/1\n", &[(AUDIO, 8, "pcmu", 8_000, Some(1))]),
        ("TP-Link has five words in o= and analytics", "o=- 1 2 1 IN IP4 a\nm=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\nm=application/TP-LINK 0 RTP/AVP smart/1/90000\na=rtpmap:95 TP-LINK/90000\n",
            &[(VIDEO, 96, "h265", 90_000, None), (None, 0, "", 0, None)]),
        ("Macrovideo has no o=, and c= after t=", "v=0\ns=x\nt=0 0\nc=IN IP4 0.0.0.0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
            &[(VIDEO, 96, "h264", 90_000, None)]),
        ("Geovision: metadata is nobody's", "m=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\na=recvonly\n",
            &[(None, 107, "vnd.onvif.metadata", 90_000, None)]),
        ("old Macs end lines in CR", "m=video 0 RTP/AVP 26\rm=audio 0 RTP/AVP 9\r",
            &[(VIDEO, 26, "jpeg", 90_000, None), (AUDIO, 9, "g722", 8_000, Some(1))]),
        ("static L16 and MPEG audio", "m=audio 0 RTP/AVP 10\nm=audio 0 RTP/AVP 11\nm=audio 0 RTP/AVP 14\n",
            &[(AUDIO, 10, "l16", 44_100, Some(2)), (AUDIO, 11, "l16", 44_100, Some(1)), (AUDIO, 14, "mpa", 90_000, None)]),
        ("first format unknown", "m=audio 0 RTP/AVP 77 8\n", &[(AUDIO, 8, "pcma", 8_000, Some(1))]),
        ("no clock rate", "m=video 0 RTP/AVP 96\na=rtpmap: 96 H264\n", &[(VIDEO, 96, "h264", 90_000, None)]),
        ("blanks in rtpmap", "m=audio 0 RTP/AVP 97\na=rtpmap:97  opus / 48000 / 2\n", &[(AUDIO, 97, "opus", 48_000, Some(2))]),
        ("SRTP only", "m=video 0 RTP/SAVP 96\na=rtpmap:96 H264/90000\n", &[(None, 96, "h264", 90_000, None)]),
        ("a port of its own and TCP in the profile", "m=video 5004/2 TCP/RTP/AVP 96\na=rtpmap:96 H264/90000\n", &[(VIDEO, 96, "h264", 90_000, None)]),
        ("type above 127", "m=video 0 RTP/AVP 200\na=rtpmap:200 H264/90000\n", &[(None, 0, "", 0, None)]),
        ("Latin-1 name", "s=H\u{fffd}usli\nm=video 0 RTP/AVP 26\n", &[(VIDEO, 26, "jpeg", 90_000, None)]),
        ("nothing at all", "", &[]),
        ("garbage", "=\n\nm=\na=\nm\nfoo=bar\n", &[(None, 0, "", 0, None)]),
    ];
    for (camera, sdp, expected) in table {
        let expected: Vec<_> =
            expected.iter().map(|t| (t.0, t.1, t.2.to_owned(), t.3, t.4)).collect();
        assert_eq!(told(sdp), expected, "{camera}");
    }
}

/// Which sections are set up, by position.
fn played(sdp: &str) -> Vec<usize> {
    let sections = parse(sdp);
    (0..sections.len()).filter(|i| sections[*i].kind.is_some()).collect()
}

#[test]
fn back_channels_are_left_alone_and_the_cameras_own_sound_never() {
    let v = |direction: &str| format!("m=video 0 RTP/AVP 26\n{direction}\n");
    let a = |direction: &str| format!("m=audio 0 RTP/AVP 0\n{direction}\n");
    for (camera, sdp, expected) in [
        // ONVIF Streaming §5.3, as Dahua, Tapo and Avigilon do it.
        ("ONVIF", v("a=recvonly") + &a("a=recvonly") + &a("a=sendonly"), vec![0, 1]),
        (
            "Avigilon, sound first",
            a("a=recvonly") + &a("a=sendonly") + &v("a=recvonly"),
            vec![0, 2],
        ),
        ("loudspeaker only", v("a=recvonly") + &a("a=sendonly"), vec![0]),
        // RFC 8866 §6.7.
        ("by the RFC", v("a=sendonly") + &a("a=sendonly") + &a("a=recvonly"), vec![0, 1]),
        ("Hikvision, no directions on sound", v("a=recvonly") + &a(""), vec![0, 1]),
        ("no direction on the picture", v("") + &a("") + &a("a=sendonly"), vec![0, 1]),
        ("sound by the RFC, picture silent", v("") + &a("a=sendonly"), vec![0, 1]),
        ("sound by ONVIF, picture silent", v("") + &a("a=recvonly"), vec![0, 1]),
        ("inactive", v("a=recvonly") + &a("a=inactive"), vec![0]),
        // Ubiquiti says it for the whole session, and for each.
        ("Ubiquiti", "a=recvonly\n".to_owned() + &a("a=recvonly") + &v("a=recvonly"), vec![0, 1]),
    ] {
        assert_eq!(played(&sdp), expected, "{camera}");
    }
}

#[test]
fn parameters_are_those_of_the_payload_type_that_is_sent() {
    let fmtp = |lines: &str| parse(&format!("m=video 0 RTP/AVP 96 97\n{lines}"))[0].fmtp.clone();
    let map = "a=rtpmap:96 H264/90000\n";
    assert_eq!(fmtp(&format!("{map}a=fmtp:96 a=1; b=2\n")).as_deref(), Some("a=1; b=2"));
    // Ubiquiti: a payload type and nothing else.
    assert_eq!(fmtp(&format!("{map}a=fmtp:96\n")), None);
    assert_eq!(fmtp(&format!("{map}a=fmtp:97 c=3\n")), None);
    assert_eq!(fmtp(&format!("a=fmtp:96 a=1\n{map}a=fmtp:96 b=2\n")).as_deref(), Some("a=1;b=2"));
}

#[test]
fn controls_of_the_session_and_of_sections_are_kept_apart() {
    let described = description(
        "a=control:rtsp://10.0.0.9/live?x=1\nm=video 0 RTP/AVP 26\na=control:trackID=1\nm=audio 0 RTP/AVP 0\n",
    );
    assert_eq!(described.control.as_str(), "rtsp://cam/live?x=1");
    assert_eq!(described.sections[0].control.as_str(), "rtsp://cam/live/trackID=1");
    // Without one of its own, a section answers to the base (RFC 2326 §C.1.1).
    assert_eq!(described.sections[1].control.as_str(), "rtsp://cam/live");
    assert_eq!(description("m=video 0 RTP/AVP 26").control.as_str(), "rtsp://cam/live");
}

#[test]
fn an_sdp_beyond_the_caps_is_refused_in_words() {
    let base = Base::new(&Url::parse("rtsp://cam/live").unwrap(), None, None);
    let sections = |n: usize| "m=video 0 RTP/AVP 26\n".repeat(n);
    assert!(Description::parse(sections(64).as_bytes(), &base).is_ok());
    let refused = Description::parse(sections(65).as_bytes(), &base).unwrap_err();
    assert_eq!(refused, Excess::Sections);
    assert_eq!(Fault::from(refused).code, Code::SourceLimit);
    let whole = vec![b'\n'; 64 << 10];
    assert!(Description::parse(&whole, &base).is_ok());
    assert_eq!(Description::parse(&vec![b'\n'; (64 << 10) + 1], &base).unwrap_err(), Excess::Bytes);
}

#[test]
fn what_is_sent_again_is_what_the_profile_with_feedback_offers() {
    let offer = |rest: &str| parse(&format!("m=video 0 RTP/{rest}"))[0].offer;
    let map = "a=rtpmap:96 H264/90000\r\n";
    // GStreamer.
    let rtx = "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96;rtx-time=500\r\n";
    let repaired = Offer { avpf: true, nack: true, rtx: Some(97) };
    assert_eq!(offer(&format!("AVPF 96 97\r\n{map}{rtx}")), repaired);
    for (feedback, nack) in
        [("* nack", true), ("96 nack", true), ("97 nack", false), ("96 nack pli", false)]
    {
        let told = offer(&format!("AVPF 96\r\n{map}a=rtcp-fb:{feedback}\r\n"));
        assert_eq!(told, Offer { avpf: true, nack, rtx: None }, "{feedback}");
    }
    let other = rtx.replace("apt=96", "apt=98");
    assert!(!offer(&format!("AVPF 96 97\r\n{map}{other}")).nack);
    // Without the profile there is nothing to answer by.
    assert_eq!(offer(&format!("AVP 96 97\r\n{map}{rtx}a=rtcp-fb:* nack\r\n")), Offer::default());
}
