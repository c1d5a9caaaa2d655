//! WHEP as a viewer meets it: what arrives, when, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use porthole::media::{AvcSps, Codec, NalUnits, WallTime};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::{Audio, Video};
use webrtc::peer_connection::RTCSessionDescription;
use whep_support::player::{Depacketizer, Event, Player, fragment_of, without_rtx};
use whep_support::{
    Camera, Clip, FPS, Gateway, clip, encode, encode_as, eventually, session_of, silent,
};

/// Pictures already published when the viewer comes: 6 s into a group of 10 s.
const PAST: usize = 6 * FPS as usize;

/// A clip whose past is 250 packets. The `webrtc` crate asks for none again that
/// is 512 behind the newest, and its socket holds 90 of full size: on a busy
/// machine a past of 1,000 loses some for good.
fn light() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode_as("320x180", "200k", 1_000, &["-profile:v", "baseline"]))
}

/// The RTP packets of the video, as they come.
async fn video(player: &mut Player) -> rtc::rtp::Packet {
    let pick = |event| match event {
        Event::Rtp("video", packet) => Some(packet),
        _ => None,
    };
    player.until("a video packet", pick).await
}

/// A player that has everything from its very first packet on, which is the
/// last thing returned.
///
/// The `webrtc` crate reads datagrams in batches and has its keys only after
/// the batch the handshake ended in; on a busy machine it loses our first
/// packets so. That player is sent home and another one tried.
async fn playing(gateway: &Gateway) -> (Player, Depacketizer) {
    for _ in 0..10 {
        let (mut player, offer) = Player::offering(&[Video]).await;
        player.play(&format!("{}/yard/whep", gateway.url), &without_rtx(&offer)).await;
        let first = tokio::time::timeout(Duration::from_secs(3), video(&mut player)).await;
        if let Ok(first) = first
            && first.payload[0] & 0x1f == 24
        {
            let mut units = Depacketizer::default();
            units.push(&first);
            return (player, units);
        }
        player.connection.close().await.unwrap();
    }
    panic!("no player got parameter sets first");
}

/// Slices received, not counting those of key frames.
fn deltas(units: &Depacketizer) -> usize {
    units.units.iter().filter(|(_, unit)| unit[0] & 0x1f == 1).count()
}

fn keys(units: &Depacketizer) -> usize {
    units.units.iter().filter(|(_, unit)| unit[0] & 0x1f == 5).count()
}

/// Receives until there are that many pictures that need another one. Were the
/// last packet lost on this machine, only another one would tell: where none
/// comes for a while, the camera goes on.
async fn receive(
    player: &mut Player,
    units: &mut Depacketizer,
    camera: &mut Camera,
    wanted: usize,
) {
    let begun = Instant::now();
    while deltas(units) < wanted {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(30), "{} of {wanted} pictures", deltas(units));
        match tokio::time::timeout(Duration::from_secs(1), video(player)).await {
            Ok(packet) => units.push(&packet),
            Err(_) => camera.publish(),
        }
    }
}

/// Distinct RTP times, in order of arrival.
fn times(units: &Depacketizer) -> Vec<u32> {
    let mut times: Vec<u32> = units.units.iter().map(|(time, _)| *time).collect();
    times.dedup();
    times
}

#[tokio::test]
async fn the_picture_starts_from_the_newest_key_frame_and_runs_up_to_live() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    // No other key frame ever comes.
    let mut camera = Camera::new(publisher, light(), None);
    (0..PAST).for_each(|_| camera.publish());

    let (mut player, mut units) = playing(&gateway).await;
    receive(&mut player, &mut units, &mut camera, PAST - 1).await;
    (0..3).for_each(|_| camera.publish());
    receive(&mut player, &mut units, &mut camera, PAST + 2).await;

    let kinds: Vec<u8> = units.units.iter().take(4).map(|(_, unit)| unit[0] & 0x1f).collect();
    assert!(kinds.starts_with(&[7, 8]) && kinds.contains(&5), "{kinds:?}");
    // Every slice of the clip, in order and whole.
    let is_slice = |unit: &&[u8]| matches!(unit[0] & 0x1f, 1 | 5);
    let sent = light().pictures.iter().flat_map(|picture| NalUnits::new(&picture.data));
    let got = units.units.iter().map(|(_, unit)| &unit[..]);
    for (at, (got, sent)) in got.filter(is_slice).zip(sent.filter(is_slice)).enumerate() {
        assert!(got == sent, "slice {at} differs");
    }
    // The past is squeezed together, live pictures are 40 ms apart.
    let times = times(&units);
    let steps: Vec<u32> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let (past, live) = steps.split_at(PAST - 1);
    assert!(past.iter().all(|step| *step == 90), "{past:?}");
    assert!(live.len() >= 3 && live.iter().all(|step| *step == 3_600), "{live:?}");
}

#[tokio::test]
async fn a_viewer_that_lost_its_picture_gets_the_key_frame_again() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, light(), None);
    (0..PAST).for_each(|_| camera.publish());
    let (mut player, mut units) = playing(&gateway).await;
    receive(&mut player, &mut units, &mut camera, PAST - 1).await;
    assert_eq!(keys(&units), 1);

    player.want_key_frame().await;
    receive(&mut player, &mut units, &mut camera, 2 * (PAST - 1)).await;
    assert_eq!(keys(&units), 2);
    camera.publish();
    receive(&mut player, &mut units, &mut camera, 2 * (PAST - 1) + 1).await;
    let forward = |pair: &[u32]| (1..90_000).contains(&pair[1].wrapping_sub(pair[0]));
    assert!(times(&units).windows(2).all(forward), "a picture was stamped at or before another");
}

#[tokio::test]
async fn a_camera_that_forgot_its_pictures_goes_on_for_those_who_watch() {
    let gateway = Gateway::start().await;
    let (stream, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, light(), None);
    (0..PAST).for_each(|_| camera.publish());
    let (mut player, mut units) = playing(&gateway).await;
    receive(&mut player, &mut units, &mut camera, PAST - 1).await;
    camera.publisher.forget();
    while !stream.can_start() {
        camera.publish();
    }
    let mut wanted = deltas(&units);
    while keys(&units) < 2 {
        wanted += 1;
        receive(&mut player, &mut units, &mut camera, wanted).await;
    }
    // And for those who come.
    playing(&gateway).await;
}

#[tokio::test]
async fn delete_ends_the_session_on_both_sides() {
    let gateway = Gateway::start().await;
    let (stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (mut player, offer) = Player::offering(&[Video]).await;
    let post = format!("{}/yard/whep", gateway.url);
    let headers = player.play(&post, &offer).await;
    video(&mut player).await;
    assert_eq!(*stream.watch_interest().borrow(), 1);

    // As a browser resolves it, against the address it posted to.
    let session = session_of(&post, &headers);
    assert!(session.path().starts_with("/cams/yard/whep/"), "{session}");
    let deleted = player.http.delete(session.clone()).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    player.hears_goodbye().await;
    eventually("the session is gone", || gateway.whep.sessions() == 0).await;
    eventually("nobody watches", || *stream.watch_interest().borrow() == 0).await;
    assert_eq!(player.http.delete(session).send().await.unwrap().status(), 404);
    let left = r#"porthole_sessions{output="whep",state="connected"}"#;
    assert_eq!(gateway.metric(left), Some(0.0));
    camera.abort();
}

#[tokio::test]
async fn sender_reports_tie_picture_and_sound_to_the_cameras_clock() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), Some(Camera::pcma()));
    // A camera that believes it is 2001.
    camera.set_clock(WallTime::from_unix_nanos(1_000_000_000_000_000_000));
    let camera = camera.run(10);
    let (mut player, offer) = Player::offering(&[Video, Audio]).await;
    let headers = player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    assert!(headers.get("porthole-notice").is_none());

    // When a packet of RTP time `t` was captured, by the report of its track.
    let (mut reports, mut packets) = (HashMap::new(), HashMap::new());
    while reports.len() < 2 || packets.len() < 2 {
        let event = player.until("reports and packets of both", Some).await;
        match event {
            Event::Rtp(kind, packet) => drop(packets.insert(kind, packet)),
            Event::Rtcp(_, all) => {
                for packet in all {
                    if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                        reports.insert(report.ssrc, report.clone());
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!((packets["audio"].header.payload_type, packets["audio"].payload.len()), (8, 320));
    let seconds = |kind: &str, hz: f64| {
        let header = &packets[kind].header;
        let report: &SenderReport = &reports[&header.ssrc];
        let later = header.timestamp.wrapping_sub(report.rtp_time) as i32;
        let ntp = report.ntp_time as f64 / f64::from(u32::MAX);
        ntp - 2_208_988_800.0 - 1_000_000_000.0 + f64::from(later) / hz
    };
    for (kind, hz) in [("video", 90_000.0), ("audio", 8_000.0)] {
        let seconds = seconds(kind, hz);
        assert!((0.0..10.0).contains(&seconds), "{kind} was captured {seconds} s after the start");
    }
    camera.abort();
}

#[tokio::test]
async fn a_silent_camera_is_made_to_say_that_nothing_is_reordered() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    // Order by count, as only encoders that could use B-frames write it.
    let clip = Box::leak(Box::new(encode(&["-profile:v", "main", "-bf", "2"])));
    let avc = silent(&clip.avc);
    let mut camera = Camera::showing(publisher, clip, Codec::H264(avc.clone()), None);
    camera.publish();
    let (_player, units) = playing(&gateway).await;
    let (_, sps) = &units.units[0];
    let sps = AvcSps::read(sps).unwrap();
    assert_eq!((avc.max_num_reorder_frames, sps.max_num_reorder_frames), (None, Some(0)));
}

/// A receiver counts the wraps of the sequence number by itself (RFC 3711
/// §3.3.1); were our count another, it could open nothing any more.
#[tokio::test]
async fn packets_are_understood_after_the_sequence_number_has_wrapped() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let crumbs: &'static Clip = Box::leak(Box::new(Clip::of_crumbs(clip())));
    let mut camera = Camera::new(publisher, crumbs, None);
    camera.publish();
    let (mut player, _) = playing(&gateway).await;
    let first = video(&mut player).await.header.sequence_number;
    let (mut newest, mut ahead) = (first, 0);
    while ahead < 70_000 {
        camera.publish();
        let soon = Duration::from_millis(20);
        while let Ok(packet) = tokio::time::timeout(soon, video(&mut player)).await {
            let step = packet.header.sequence_number.wrapping_sub(newest);
            if step < 0x8000 {
                (newest, ahead) = (packet.header.sequence_number, ahead + u32::from(step));
            }
            if packet.header.marker {
                break;
            }
        }
    }
    assert!(newest.wrapping_sub(first) < 10_000, "it has wrapped");
}

#[tokio::test]
async fn candidates_that_come_one_by_one_are_called() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (mut player, offer) = Player::offering(&[Video]).await;
    assert!(!offer.contains("a=candidate:"), "{offer}");
    let post = format!("{}/yard/whep", gateway.url);
    let created = player.post(&post, &offer).await;
    let session = session_of(&post, created.headers());
    let etag = created.headers()["etag"].clone();
    // The player knows nobody to call.
    let answer = created.text().await.unwrap();
    let known = answer.lines().filter(|line| !line.starts_with("a=candidate:"));
    let answer: String = known.map(|line| format!("{line}\r\n")).collect();
    let answer = RTCSessionDescription::answer(answer).unwrap();
    player.connection.set_remote_description(answer).await.unwrap();

    let candidate = |event| if let Event::Candidate(line) = event { Some(line) } else { None };
    let candidate = player.until("a candidate", candidate).await;
    let fragment = format!("{}a={candidate}\r\n", fragment_of(&offer));
    let request = player.http.patch(session).header("if-match", etag).body(fragment);
    let request = request.header("content-type", "application/trickle-ice-sdpfrag");
    assert_eq!(request.send().await.unwrap().status(), 204);
    video(&mut player).await;
    camera.abort();
}

#[tokio::test]
async fn a_restart_of_ice_finds_a_path_while_the_picture_goes_on() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (mut player, offer) = Player::offering(&[Video]).await;
    let post = format!("{}/yard/whep", gateway.url);
    let headers = player.play(&post, &offer).await;
    video(&mut player).await;

    let session = session_of(&post, &headers);
    let again = player.restart().await;
    let request = player.http.patch(session).header("if-match", "*").body(again);
    let request = request.header("content-type", "application/trickle-ice-sdpfrag");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    player.restarted(&response.text().await.unwrap()).await;
    // Were it not for a new path, either side would give up after 8 s.
    let restarted = Instant::now();
    while restarted.elapsed() < Duration::from_secs(10) {
        video(&mut player).await;
    }
    assert_eq!(gateway.whep.sessions(), 1);
    camera.abort();
}

#[tokio::test]
async fn the_table_says_how_each_session_goes_and_ends_it() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (mut player, offer) = Player::offering(&[Video]).await;
    let headers = player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    let secret = headers["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut packets = 0;
    let seen = Instant::now();
    while seen.elapsed() < Duration::from_secs(4) {
        video(&mut player).await;
        packets += 1;
    }
    let all = gateway.table.list();
    assert_eq!(all.len(), 1);
    let (start, news) = (&all[0].start, &all[0].news);
    assert_eq!((start.stream.as_str(), all[0].output, news.stage), ("yard", "whep", "live"));
    assert_eq!((news.video, news.audio, news.transport), (Some("H.264"), None, Some("udp")));
    assert!(news.remote.is_some_and(|remote| remote.port() != 0), "{news:?}");
    // What was told a second ago, beside what has come by now.
    assert!(news.packets > packets / 2 && news.packets <= packets + 20, "{packets}: {news:?}");
    assert!((500_000..3_000_000).contains(&news.bit_rate), "{news:?}");
    assert!(news.loss.is_some_and(|loss| loss < 0.2), "{news:?}");
    assert!(news.round_trip.is_some_and(|time| time < Duration::from_secs(1)), "{news:?}");

    // Its name tells who it is, and is not the key to it.
    assert!(secret.len() == 32 && secret.starts_with(&start.id) && start.id.len() == 8);
    assert!(!gateway.table.end("00000000"));
    assert_eq!(gateway.whep.sessions(), 1);
    assert!(gateway.table.end(&start.id));
    player.hears_goodbye().await;
    eventually("its line is gone", || gateway.table.list().is_empty()).await;
    assert_eq!(gateway.whep.sessions(), 0);
    camera.abort();
}

#[tokio::test]
async fn close_says_goodbye_to_everybody() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (mut player, offer) = Player::offering(&[Video]).await;
    player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    video(&mut player).await;
    gateway.whep.close().await;
    assert_eq!(gateway.whep.sessions(), 0);
    player.hears_goodbye().await;
    camera.abort();
}

#[tokio::test]
async fn a_viewer_that_leaves_is_gone_at_once() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (mut player, offer) = Player::offering(&[Video]).await;
    player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    video(&mut player).await;
    let left = Instant::now();
    player.connection.close().await.unwrap();
    eventually("the session is gone", || gateway.whep.sessions() == 0).await;
    assert!(left.elapsed() < Duration::from_secs(5), "only ICE noticed");
    camera.abort();
}

#[tokio::test]
async fn viewers_of_one_stream_get_the_same_pictures_from_one_reader() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, light(), None);
    camera.publish();
    let mut players = Vec::new();
    for _ in 0..4 {
        players.push(playing(&gateway).await);
    }
    (0..20).for_each(|_| camera.publish());
    let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
    for (player, units) in &mut players {
        receive(player, units, &mut camera, 20).await;
        seen.push(units.units.drain(..).map(|(_, unit)| unit).collect());
    }
    // Whoever waited for a lost packet has more.
    let least = seen.iter().map(Vec::len).min().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0][..least] == pair[1][..least]));
    assert_eq!(gateway.readers(), 1);
}

#[test]
fn a_viewer_that_vanishes_is_given_up_within_seconds() {
    let theirs = tokio::runtime::Runtime::new().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let gateway = Gateway::start().await;
        let (_stream, publisher) = gateway.stream("yard");
        let camera = Camera::new(publisher, clip(), None).run(10);
        let url = format!("{}/yard/whep", gateway.url);
        let playing = theirs.spawn(async move {
            let (mut player, offer) = Player::offering(&[Video]).await;
            player.play(&url, &offer).await;
            video(&mut player).await;
            player
        });
        let player = playing.await.unwrap();
        // No goodbye: as when a laptop is shut.
        std::mem::forget(player);
        theirs.shutdown_background();
        assert_eq!(gateway.whep.sessions(), 1);
        eventually("the session is gone", || gateway.whep.sessions() == 0).await;
        camera.abort();
    });
}
