use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};

use super::super::message::{self, Incoming};
use super::*;
use crate::auth::Access;
use crate::bus::{BusMetrics, Limits, Publisher, Registry, SourceStatus};
use crate::media::{
    Avc, ClockRate, Codec, Draft, G711Law, Jpeg, PixelSize, StreamName, Track, Tracks, WallTime,
    length_prefixed,
};

const SIZE: PixelSize = PixelSize { width: 640, height: 360 };

/// A live stream `yard` without frames, and a client.
fn yard() -> (Publisher, Session) {
    let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
    let name: StreamName = "yard".parse().unwrap();
    let (stream, publisher) =
        Stream::new(name, Limits::default(), status, BusMetrics::unregistered());
    let registry = Registry::new();
    registry.insert(stream);
    let deps = Deps {
        registry: Arc::new(registry),
        access: Arc::new(Access::Open),
        sessions: crate::http::SessionMetrics::unregistered().of("rtsp"),
        draining: Arc::default(),
    };
    (publisher, Session::new(deps, None))
}

fn video(codec: Codec) -> Track {
    Track { id: TrackId(0), rate: ClockRate::VIDEO, codec }
}

fn avc() -> Codec {
    Codec::H264(Avc {
        sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f]),
        pps: vec![Bytes::from_static(&[0x68, 1, 2])],
        size: SIZE,
        max_num_reorder_frames: Some(0),
    })
}

fn picture_and_sound() -> Arc<Tracks> {
    let rate = ClockRate::new(8000).unwrap();
    let codec = Codec::G711 { law: G711Law::A, channels: 1 };
    Arc::new(Tracks::new(vec![video(avc()), Track { id: TrackId(1), rate, codec }]))
}

/// A frame `millis` into the stream.
fn frame(tracks: &Arc<Tracks>, kind: FrameKind, millis: i64) -> Draft {
    let track = TrackId(u8::from(kind == FrameKind::Audio));
    let rate = tracks.get(track).unwrap().rate;
    let at = MediaTime::new(millis * i64::from(rate.hz()) / 1000, rate);
    let nal: &[u8] = if kind == FrameKind::Key { &[0x65, 1] } else { &[0x41, 1] };
    Draft {
        track,
        tracks: Arc::clone(tracks),
        pts: at,
        dts: at,
        wall: WallTime::from_unix_nanos(millis * 1_000_000),
        kind,
        lost_before: 0,
        discontinuity: false,
        arrived: Instant::now(),
        data: match kind {
            FrameKind::Audio => Bytes::from_static(&[0xd5; 160]),
            FrameKind::Key | FrameKind::Delta => length_prefixed([nal]),
        },
    }
}

async fn ask(session: &mut Session, request: &str) -> Response {
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let text = format!("{line} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n\r\n");
    let Some(Incoming::Request(request)) = message::take(&mut BytesMut::from(&*text)).unwrap()
    else {
        panic!("{text}")
    };
    session.answer(&request).await
}

/// SETUP of both tracks and PLAY; the PLAY's answer.
async fn play(session: &mut Session) -> Response {
    let url = "rtsp://h:8554/yard";
    let tcp = "Transport: RTP/AVP/TCP;unicast;interleaved";
    let first = ask(session, &format!("SETUP {url}/trackID=0\n{tcp}=0-1")).await;
    assert_eq!(first.status, Status::Ok, "{first:?}");
    let id = format!("Session: {}", first.header("Session").unwrap().split(';').next().unwrap());
    let second = ask(session, &format!("SETUP {url}/trackID=1\n{tcp}=2-3\r\n{id}")).await;
    assert!(second.header("Transport").unwrap().contains("interleaved=2-3"), "{second:?}");
    ask(session, &format!("PLAY {url}/\n{id}")).await
}

/// What was sent: channel and packet.
fn packets(mut out: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let [b'$', channel, high, low, rest @ ..] = out {
        let (packet, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        packets.push((*channel, packet.to_vec()));
        out = rest;
    }
    assert!(out.is_empty());
    packets
}

fn u32_at(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

#[tokio::test]
async fn playing_starts_at_the_newest_key_frame_at_the_time_rtp_info_says() {
    let (mut publisher, mut session) = yard();
    let tracks = picture_and_sound();
    for (kind, millis) in [
        (FrameKind::Key, 0),
        (FrameKind::Delta, 40),
        (FrameKind::Key, 1000),
        (FrameKind::Audio, 980),
        (FrameKind::Audio, 1000),
        (FrameKind::Delta, 1040),
    ] {
        publisher.publish(frame(&tracks, kind, millis));
    }
    let described = ask(&mut session, "DESCRIBE rtsp://h:8554/yard?x=1").await;
    assert_eq!(described.header("Content-Base"), Some("rtsp://h:8554/yard/"));
    assert!(described.body().contains("m=audio 0 RTP/AVP 8\r\n"), "{described:?}");

    let playing = play(&mut session).await;
    assert_eq!(playing.status, Status::Ok);
    let info = playing.header("RTP-Info").unwrap();
    let announced: Vec<u32> = info
        .split("rtptime=")
        .skip(1)
        .map(|s| s.split(',').next().unwrap().parse().unwrap())
        .collect();

    let mut out = Vec::new();
    assert!(session.next_packets(&mut out, 1 << 20).await);
    let sent = packets(&out);
    let channels: Vec<u8> = sent.iter().map(|(channel, _)| *channel).collect();
    // Report, parameter sets, key frame; report, sound; delta. Not the sound
    // from before the picture.
    assert_eq!(channels, [1, 0, 0, 3, 2, 0]);
    let [video_report, sets, key, _, sound, delta] = &sent[..] else { unreachable!() };
    for packet in [sets, key] {
        assert_eq!(u32_at(&packet.1, 4), announced[0]);
    }
    assert_eq!(u32_at(&sound.1, 4), announced[1]);
    assert_eq!(u32_at(&delta.1, 4), announced[0].wrapping_add(3600));
    // The report pairs RTP time with the camera's clock: one second past 1970.
    assert_eq!(u32_at(&video_report.1, 16), announced[0]);
    assert_eq!(u32_at(&video_report.1, 8), 2_208_988_801);
}

#[tokio::test]
async fn an_overrun_client_resumes_at_a_key_frame() {
    let (mut publisher, mut session) = yard();
    let tracks = picture_and_sound();
    publisher.publish(frame(&tracks, FrameKind::Key, 0));
    play(&mut session).await;
    let mut out = Vec::new();
    session.next_packets(&mut out, 1 << 20).await;
    // More than the ring's slack passes while this client is not read.
    for second in 1..30 {
        publisher.publish(frame(&tracks, FrameKind::Key, second * 1000));
        publisher.publish(frame(&tracks, FrameKind::Delta, second * 1000 + 500));
    }
    out.clear();
    session.next_packets(&mut out, 1 << 20).await;
    let first = packets(&out).into_iter().find(|(channel, _)| *channel == 0).unwrap();
    assert_eq!(first.1[12], 0x78, "the first packet is the STAP-A before a key frame");
}

#[tokio::test]
async fn udp_is_refused_and_tcp_is_found_among_several_transports() {
    let (mut publisher, mut session) = yard();
    publisher.publish(frame(&picture_and_sound(), FrameKind::Key, 0));
    let udp = "SETUP rtsp://h/yard/trackID=0\nTransport: RTP/AVP;unicast;client_port=5000-5001";
    assert_eq!(ask(&mut session, udp).await.status, Status::UnsupportedTransport);
    let both = format!("{udp}, RTP/AVP/TCP;unicast;interleaved=4-5");
    let answer = ask(&mut session, &both).await;
    assert!(answer.header("Transport").unwrap().contains("interleaved=4-5"), "{answer:?}");
    let clash = "SETUP rtsp://h/yard/trackID=1\nTransport: RTP/AVP/TCP;interleaved=5-6";
    let answer = ask(&mut session, clash).await;
    assert!(answer.header("Transport").unwrap().contains("interleaved=0-1"), "{answer:?}");
}

#[tokio::test]
async fn faults_are_told_by_status_and_in_words() {
    let (mut publisher, mut session) = yard();
    let none = ask(&mut session, "DESCRIBE rtsp://h/nowhere").await;
    assert_eq!(none.status, Status::NotFound);
    assert!(none.body().contains("There is no stream of that name."), "{none:?}");

    publisher.set_status(|status| {
        status.state = SourceState::Down;
        status.fault = Some(Code::SourceAuth.into());
    });
    let down = ask(&mut session, "DESCRIBE rtsp://h/yard").await;
    assert_eq!(down.status, Status::Unavailable);
    assert!(down.body().contains("refuses the user name or password"), "{down:?}");

    publisher.set_status(|status| status.state = SourceState::Live);
    let tracks = Arc::new(Tracks::new(vec![video(Codec::Jpeg(Jpeg { size: SIZE }))]));
    publisher.publish(frame(&tracks, FrameKind::Key, 0));
    let jpeg = ask(&mut session, "DESCRIBE rtsp://h/yard").await;
    assert_eq!(jpeg.status, Status::UnsupportedMedia);
    assert!(jpeg.body().contains("MJPEG"), "{jpeg:?}");
}

#[tokio::test]
async fn methods_out_of_place_are_refused() {
    let (mut publisher, mut session) = yard();
    publisher.publish(frame(&picture_and_sound(), FrameKind::Key, 0));
    let mut status = async |request: &str| ask(&mut session, request).await.status;
    assert_eq!(status("OPTIONS *").await, Status::Ok);
    assert_eq!(status("GET_PARAMETER rtsp://h/yard").await, Status::Ok);
    assert_eq!(status("PLAY rtsp://h/yard").await, Status::SessionNotFound);
    assert_eq!(status("PLAY rtsp://h/yard\nSession: 1").await, Status::SessionNotFound);
    assert_eq!(status("RECORD rtsp://h/yard").await, Status::NotAllowed);
    assert_eq!(status("BREW rtsp://h/yard").await, Status::NotImplemented);
    let tcp = "Transport: RTP/AVP/TCP";
    assert_eq!(status(&format!("SETUP rtsp://h/yard\n{tcp}")).await, Status::AggregateNotAllowed);
    assert_eq!(status(&format!("SETUP rtsp://h/yard/trackID=9\n{tcp}")).await, Status::NotFound);
    assert_eq!(status(&format!("SETUP rtsp://h/yard/../x\n{tcp}")).await, Status::NotFound);
}

#[tokio::test]
async fn a_change_of_codec_ends_the_session_and_a_change_of_parameters_does_not() {
    let (mut publisher, mut session) = yard();
    let mut out = Vec::new();
    publisher.publish(frame(&picture_and_sound(), FrameKind::Key, 0));
    play(&mut session).await;
    assert!(session.next_packets(&mut out, 1 << 20).await);

    let Codec::H264(mut bigger) = avc() else { unreachable!() };
    bigger.sps = Bytes::from_static(&[0x67, 0x64, 0, 0x28]);
    let tracks = Arc::new(Tracks::new(vec![video(Codec::H264(bigger))]));
    publisher.publish(frame(&tracks, FrameKind::Key, 1000));
    out.clear();
    assert!(session.next_packets(&mut out, 1 << 20).await);
    assert_eq!(packets(&out)[0].1[12..19], [0x78, 0, 4, 0x67, 0x64, 0, 0x28]);

    let tracks = Arc::new(Tracks::new(vec![video(Codec::Jpeg(Jpeg { size: SIZE }))]));
    publisher.publish(frame(&tracks, FrameKind::Key, 2000));
    assert!(!session.next_packets(&mut out, 1 << 20).await);
}

#[tokio::test(start_paused = true)]
async fn describe_waits_for_a_starting_camera_but_not_for_ever() {
    let (mut publisher, mut session) = yard();
    publisher.set_status(|status| status.state = SourceState::Connecting);
    let late = ask(&mut session, "DESCRIBE rtsp://h/yard").await;
    assert_eq!(late.status, Status::Unavailable);

    let (answer, ()) = tokio::join!(ask(&mut session, "DESCRIBE rtsp://h/yard"), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        publisher.publish(frame(&picture_and_sound(), FrameKind::Key, 0));
    });
    assert_eq!(answer.status, Status::Ok);
    assert_eq!(*publisher.stream().watch_interest().borrow(), 1);
    drop(session);
    assert_eq!(*publisher.stream().watch_interest().borrow(), 0);
}

#[test]
fn urls_name_a_stream_and_perhaps_a_quality_and_a_track() {
    let one = TrackId(1);
    for (url, quality, track) in [
        ("", None, None),
        ("/?a=/b", None, None),
        ("/trackID=1", None, Some(one)),
        ("?a=b/trackID=1", None, Some(one)),
        ("/sub", Some("sub"), None),
        ("/sub/", Some("sub"), None),
        ("/sub/trackID=1", Some("sub"), Some(one)),
        ("?quality=sub", Some("sub"), None),
        ("?token=x&quality=sub/trackID=1", Some("sub"), Some(one)),
        ("/?quality=hd", Some("hd"), None),
    ] {
        let base = "rtsp://u:p@[::1]:8554/yard";
        let sub = if quality == Some("sub") { "/sub" } else { "" };
        let wanted = Target { base: format!("{base}{sub}"), stream: "yard", quality, track };
        assert_eq!(target(&format!("{base}{url}")), Some(wanted), "{url}");
    }
    for bad in [
        "*",
        "rtsp://h",
        "/yard",
        "rtsp://h/yard/trackID=256",
        "rtsp://h/yard/x/trackID=1",
        "rtsp://h/yard/subway",
    ] {
        assert_eq!(target(bad), None, "{bad}");
    }
}
