//! HLS that is cut for its players alone: what the first one finds, and what
//! is left when the last one has gone.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::time::Duration;

use hls_support::gateway::{FIRST, Gateway, later, pictures, seven_seconds};
use porthole::bus::SourceState;
use porthole::egress::hls::Config;
use porthole::media::Draft;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// A gateway that has published `frames`, and been asked for nothing.
async fn gateway_after(frames: &[Draft]) -> Gateway {
    let mut gateway = Gateway::start_with(Config::default()).await;
    gateway.publish_all(frames).await;
    gateway
}

#[tokio::test]
async fn a_stream_that_nobody_watches_is_not_cut() {
    let gateway = gateway_after(&seven_seconds()).await;
    assert_eq!(gateway.hls.buffer_bytes(), 0);
    assert!(gateway.metrics_text().contains("porthole_buffer_bytes{pool=\"hls\"} 0\n"));
    // An old name from before is not what a stream starts for.
    let gone = gateway.get(&format!("hls/s{FIRST}.m4s")).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert_eq!(gateway.hls.buffer_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_player_finds_all_that_the_ring_holds_at_once() {
    // A key frame each second.
    let gateway = gateway_after(&pictures(201, 25)).await;
    let began = Instant::now();
    let text = gateway.text("").await;
    assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
    // Eight seconds have passed; the ring holds the groups whose next key frame is at
    // most three seconds old, the first of them that from four to five.
    let first = FIRST + 40;
    assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{first}\n")), "{text}");
    assert!(text.contains(&format!("\ns{first}.m4s\n")), "{text}");
    // Up to the newest one, which the key frame at eight has just ended.
    let newest = format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s{}.0.m4s\"", first + 2);
    assert!(text.contains(&newest), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_beginner_is_held_for_more_segments_but_not_for_long() {
    let frames = pictures(250, 50);
    // Of the groups that have ended, the ring still holds the one from four to six.
    let (before, after) = frames.split_at(190);
    let mut gateway = gateway_after(before).await;
    let mut interest = gateway.stream.watch_interest();
    let began = Instant::now();
    let request = tokio::spawn(gateway.http.get(gateway.url("hls/media.m3u8")).send());
    interest.wait_for(|viewers| *viewers > 0).await.unwrap();
    gateway.publish_all(after).await;
    let text = request.await.unwrap().unwrap().text().await.unwrap();
    assert!(text.matches("#EXTINF").count() >= 2, "{text}");
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());

    let stalled = gateway_after(before).await;
    let began = Instant::now();
    assert_eq!(stalled.get("hls/media.m3u8").await.status(), StatusCode::OK);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(stalled.get("index.m3u8").await.status(), StatusCode::OK);
    assert_eq!(began.elapsed().as_secs(), 3 + 8);
}

#[tokio::test(start_paused = true)]
async fn a_player_that_comes_back_within_a_minute_finds_its_place() {
    let gateway = gateway_after(&seven_seconds()).await;
    let segment = format!("s{}.m4s", FIRST + 20);
    for _ in 0..3 {
        assert!(gateway.text("").await.contains(&segment));
        sleep(SECOND * 55).await;
    }
    assert!(!gateway.bytes(&segment).await.is_empty());
    sleep(SECOND * 6).await;
    assert_eq!(gateway.hls.buffer_bytes(), 0, "nobody has asked for a playlist for a minute");
    assert_eq!(gateway.get(&format!("hls/{segment}")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_after_that_starts_anew_above_all_old_names() {
    let mut gateway = gateway_after(&seven_seconds()).await;
    gateway.text("").await;
    sleep(SECOND * 61).await;
    gateway.publish_all(&later(seven_seconds(), 61)).await;
    assert_eq!(gateway.hls.buffer_bytes(), 0);
    let text = gateway.text("").await;
    assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", FIRST + 630)), "{text}");
    assert!(!text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn key_frames_every_ten_seconds_do_not_turn_the_first_player_away() {
    let frames = pictures(400, 250);
    let (before, after) = frames.split_at(10);
    let mut gateway = gateway_after(before).await;
    let mut interest = gateway.stream.watch_interest();
    let began = Instant::now();
    let request = tokio::spawn(gateway.http.get(gateway.url("index.m3u8")).send());
    interest.wait_for(|viewers| *viewers > 0).await.unwrap();
    for frame in after {
        sleep(SECOND / 25).await;
        gateway.publish_all(std::slice::from_ref(frame)).await;
        if request.is_finished() {
            break;
        }
    }
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(began.elapsed() < SECOND * 9, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_is_connected_for_its_first_player_is_waited_for() {
    let mut gateway = gateway_after(&[]).await;
    gateway.set_state(SourceState::Idle);
    let mut interest = gateway.stream.watch_interest();
    let request = tokio::spawn(gateway.http.get(gateway.url("index.m3u8")).send());
    interest.wait_for(|viewers| *viewers > 0).await.unwrap();
    gateway.set_state(SourceState::Connecting);
    sleep(SECOND).await;
    gateway.set_state(SourceState::Live);
    for frame in pictures(400, 250) {
        gateway.publish_all(&[frame]).await;
        sleep(SECOND / 25).await;
        if request.is_finished() {
            break;
        }
    }
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn chromiums_own_player_watches_while_it_waits_for_a_long_group() {
    let mut gateway = gateway_after(&[]).await;
    let mut interest = gateway.stream.watch_interest();
    let request = gateway.http.get(gateway.url("hls/media.m3u8"));
    let request = request.header("accept-encoding", "identity;q=1, *;q=0");
    let began = Instant::now();
    let request = tokio::spawn(request.send());
    interest.wait_for(|viewers| *viewers > 0).await.unwrap();
    for frame in pictures(1_000, 750) {
        gateway.publish_all(&[frame]).await;
        sleep(SECOND / 25).await;
        if request.is_finished() {
            break;
        }
        assert_eq!(*interest.borrow(), 1, "after {:?}", began.elapsed());
    }
    let text = request.await.unwrap().unwrap().text().await.unwrap();
    assert_eq!(text.matches("#EXTINF").count(), 3, "{text}");
    assert!(began.elapsed() > SECOND * 25, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_camera_left_behind_is_not_shown_as_live() {
    let mut gateway = gateway_after(&seven_seconds()).await;
    gateway.set_state(SourceState::Connecting);
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(gateway.hls.buffer_bytes(), 0);

    // It comes back: from there on, and from there alone.
    let mut frames = later(seven_seconds(), 20);
    frames[0].discontinuity = true;
    gateway.publish_all(&frames).await;
    gateway.set_state(SourceState::Live);
    let text = gateway.text("").await;
    assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", FIRST + 200)), "{text}");
}
