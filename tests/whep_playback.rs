//! WHEP as a viewer meets it: what arrives, when, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use porthole::media::{AvcSps, Codec, WallTime};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::{Audio, Video};
use whep_support::player::{Depacketizer, Event, Player};
use whep_support::{Camera, FPS, Gateway, clip, encode, eventually, silent};

/// Pictures already published when the viewer comes: 6 s into a group of 10 s.
const PAST: usize = 6 * FPS as usize;

/// The RTP packets of the video, as they come.
async fn video(player: &mut Player) -> rtc::rtp::Packet {
    let pick = |event| match event {
        Event::Rtp("video", packet) => Some(packet),
        _ => None,
    };
    player.until("a video packet", pick).await
}

#[tokio::test]
async fn the_picture_starts_from_the_newest_key_frame_and_runs_up_to_live() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(PAST);

    let began = Instant::now();
    let (mut player, offer) = Player::offering(&[Video]).await;
    player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    let mut units = Depacketizer::default();
    let (mut next, mut reordered) = (None, 0);
    while units.units.iter().filter(|(_, unit)| unit[0] & 0x1f == 1).count() < PAST + 10 {
        let packet = video(&mut player).await;
        let sequence = packet.header.sequence_number;
        reordered += u32::from(next.is_some_and(|next| next != sequence));
        next = Some(sequence.wrapping_add(1));
        units.push(&packet);
    }

    assert!(began.elapsed() < Duration::from_secs(3), "the next key frame was 4 s away");
    assert_eq!(reordered, 0, "packets were lost or reordered on loopback");
    let kinds: Vec<u8> = units.units.iter().take(4).map(|(_, unit)| unit[0] & 0x1f).collect();
    assert!(kinds.starts_with(&[7, 8]) && kinds.contains(&5), "{kinds:?}");
    // Every unit of the clip, in order and whole.
    let sent: Vec<&[u8]> = clip()
        .pictures
        .iter()
        .flat_map(|p| porthole::media::NalUnits::new(&p.data).collect::<Vec<_>>())
        .collect();
    let slices = units.units.iter().filter(|(_, unit)| matches!(unit[0] & 0x1f, 1 | 5));
    let sent = sent.iter().filter(|unit| matches!(unit[0] & 0x1f, 1 | 5));
    for (at, ((_, got), sent)) in slices.zip(sent).enumerate() {
        assert!(got == sent, "slice {at} differs");
    }
    // The past is squeezed together, live pictures are 40 ms apart.
    let mut times: Vec<u32> = units.units.iter().map(|(time, _)| *time).collect();
    times.dedup();
    let steps: Vec<u32> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps[..PAST - 10].iter().all(|step| *step == 90), "{steps:?}");
    assert!(steps[steps.len() - 3..].iter().all(|step| *step == 3_600), "{steps:?}");
    camera.abort();
}

#[tokio::test]
async fn a_viewer_that_lost_its_picture_gets_the_key_frame_again() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(PAST);
    let (mut player, offer) = Player::offering(&[Video]).await;
    player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    let pick = |event| match event {
        Event::Track("video", track) => Some(track),
        _ => None,
    };
    let track = player.until("the track", pick).await;
    let mut units = Depacketizer::default();
    let keys = |units: &Depacketizer| units.units.iter().filter(|(_, u)| u[0] & 0x1f == 5).count();
    while units.units.iter().filter(|(_, unit)| unit[0] & 0x1f == 1).count() < PAST + 30 {
        units.push(&video(&mut player).await);
    }
    assert_eq!(keys(&units), 1);

    let media_ssrc = track.ssrcs().await[0];
    track
        .write_rtcp(vec![Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc })])
        .await
        .unwrap();
    let asked = Instant::now();
    while keys(&units) < 2 {
        units.push(&video(&mut player).await);
    }
    assert!(asked.elapsed() < Duration::from_millis(1_500), "the next key frame was 2.8 s away");
    let mut times: Vec<u32> = units.units.iter().map(|(time, _)| *time).collect();
    times.dedup();
    let forward = |pair: &[u32]| (1..90_000).contains(&pair[1].wrapping_sub(pair[0]));
    assert!(times.windows(2).all(forward), "time went back, or a picture was stamped twice");
    camera.abort();
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
    let location = headers["location"].to_str().unwrap();
    let session = url::Url::parse(&post).unwrap().join(location).unwrap();
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
    let (mut player, offer) = Player::offering(&[Video]).await;
    player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
    let mut units = Depacketizer::default();
    while units.units.is_empty() {
        units.push(&video(&mut player).await);
    }
    let (_, sps) = &units.units[0];
    let sps = AvcSps::read(sps).unwrap();
    assert_eq!((avc.max_num_reorder_frames, sps.max_num_reorder_frames), (None, Some(0)));
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
    assert!(left.elapsed() < Duration::from_secs(2), "only ICE noticed");
    camera.abort();
}

#[tokio::test]
async fn viewers_of_one_stream_get_the_same_pictures_from_one_reader() {
    let gateway = Gateway::start().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let mut seen = Vec::new();
    let mut players = Vec::new();
    for _ in 0..4 {
        let (mut player, offer) = Player::offering(&[Video]).await;
        player.play(&format!("{}/yard/whep", gateway.url), &offer).await;
        players.push(player);
    }
    for player in &mut players {
        let mut units = Depacketizer::default();
        while units.units.len() < 30 {
            units.push(&video(player).await);
        }
        let units: Vec<Vec<u8>> = units.units.into_iter().take(30).map(|(_, unit)| unit).collect();
        seen.push(units);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(gateway.readers(), 1);
    camera.abort();
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
