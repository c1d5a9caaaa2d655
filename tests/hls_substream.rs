//! A camera's two qualities in one playlist: how a phone on a weak line changes
//! without any encoder.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::time::Duration;

use hls_support::gateway::{FIRST, Gateway, heard, seven_seconds};
use porthole::bus::{Publisher, SourceState};
use porthole::egress::hls::Config;
use porthole::fault::Code;
use porthole::media::Draft;
use tokio::time::Instant;

async fn publish(publisher: &mut Publisher, frames: Vec<Draft>) {
    for frame in frames {
        publisher.publish(frame);
        tokio::task::yield_now().await;
    }
}

/// What was published is cut, whoever watches.
fn always() -> Config {
    Config { always: true, ..Config::default() }
}

async fn both() -> (Gateway, Publisher) {
    let (mut gateway, mut sub) = Gateway::start_pair(always()).await;
    gateway.publish_all(&seven_seconds()).await;
    publish(&mut sub, seven_seconds()).await;
    (gateway, sub)
}

fn uris(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[tokio::test]
async fn one_playlist_offers_both_qualities_and_each_says_how_far_the_other_is() {
    let (gateway, sub) = both().await;
    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/media.m3u8", "hls/sub/media.m3u8"], "{index}");
    assert_eq!(index.matches("BANDWIDTH=").count(), 4, "each has a peak and a mean: {index}");

    // The segment from 6 s on has two parts.
    let report = |uri: &str| {
        let open = FIRST + 3;
        format!("#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={open},LAST-PART=1\n")
    };
    let main = gateway.text("").await;
    let other = gateway.get("hls/sub/media.m3u8").await.text().await.unwrap();
    assert!(main.contains(&report("sub/media.m3u8")), "{main}");
    assert!(other.contains(&report("../media.m3u8")), "{other}");
    // One timeline: what one quality calls a moment, the other calls it too.
    let dates = |text: &str| -> Vec<String> {
        let dates = text.lines().filter(|line| line.starts_with("#EXT-X-PROGRAM-DATE-TIME"));
        dates.map(str::to_owned).collect()
    };
    assert_eq!(dates(&main), dates(&other));
    for name in [format!("s{FIRST}.m4s"), format!("i{FIRST}.mp4")] {
        let sub = gateway.get(&format!("hls/sub/{name}")).await.bytes().await.unwrap();
        assert_eq!(gateway.bytes(&name).await, sub, "the same frames, the same bytes");
    }
    drop(sub);
}

#[tokio::test]
async fn chromiums_own_player_which_cannot_change_is_offered_one_quality() {
    let (gateway, _sub) = both().await;
    for (accepts, uri) in [
        ("identity", ["hls/media.m3u8", "hls/sub/media.m3u8"].as_slice()),
        ("identity;q=1, *;q=0", &["hls/media.m3u8"]),
    ] {
        let request =
            gateway.http.get(gateway.url("index.m3u8")).header("accept-encoding", accepts);
        let answer = request.send().await.unwrap();
        assert!(answer.headers()["vary"].to_str().unwrap().contains("Accept-Encoding"));
        let kept = answer.headers()["cache-control"] != "max-age=0";
        assert_eq!(kept, uri.len() > 1, "it cannot read a list that its cache has");
        assert_eq!(uris(&answer.text().await.unwrap()), uri, "{accepts}");
    }
}

#[tokio::test]
async fn who_names_a_quality_gets_that_alone_and_the_other_is_not_pulled() {
    let (gateway, _sub) = both().await;
    let stream = gateway.stream.substream().unwrap();
    let index = gateway.get("index.m3u8?quality=main").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/media.m3u8"], "{index}");
    let text = gateway.text("").await;
    assert!(!text.contains("RENDITION-REPORT"), "{text}");
    assert_eq!(*stream.watch_interest().borrow(), 0);
    let index = gateway.get("index.m3u8?quality=sub").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/sub/media.m3u8"], "{index}");
    assert_eq!(*stream.watch_interest().borrow(), 1);
}

#[tokio::test]
async fn qualities_of_which_one_has_no_sound_are_not_offered_together() {
    let (mut gateway, mut sub) = Gateway::start_pair(always()).await;
    gateway.publish_all(&heard(seven_seconds())).await;
    publish(&mut sub, seven_seconds()).await;
    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/media.m3u8"], "hls.js would end: {index}");
    assert!(!gateway.text("").await.contains("RENDITION-REPORT"));
    let index = gateway.get("index.m3u8?quality=sub").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/sub/media.m3u8"], "{index}");

    let (mut gateway, mut sub) = Gateway::start_pair(always()).await;
    gateway.publish_all(&heard(seven_seconds())).await;
    publish(&mut sub, heard(seven_seconds())).await;
    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/media.m3u8", "hls/sub/media.m3u8"], "{index}");
}

#[tokio::test(start_paused = true)]
async fn both_are_kept_while_either_is_watched_and_left_with_the_last_player() {
    let (gateway, _sub) = both().await;
    let (main, sub) = (&gateway.stream, gateway.stream.substream().unwrap());
    gateway.get("index.m3u8").await;
    for path in ["hls/media.m3u8", "hls/sub/media.m3u8", "hls/media.m3u8"] {
        tokio::time::sleep(Duration::from_secs(8)).await;
        gateway.get(path).await;
        let watched = [main, sub].map(|stream| *stream.watch_interest().borrow());
        assert_eq!(watched, [1, 1], "{path}");
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    let watched = [main, sub].map(|stream| *stream.watch_interest().borrow());
    assert_eq!(watched, [0, 0]);
    // Whoever watches one of them then does not pull the other.
    gateway.get("hls/media.m3u8").await;
    assert_eq!(*sub.watch_interest().borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_substream_that_does_not_come_keeps_nobody_waiting_for_long() {
    let (mut gateway, sub) = Gateway::start_pair(always()).await;
    gateway.publish_all(&seven_seconds()).await;
    let began = Instant::now();
    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/media.m3u8"], "{index}");
    assert_eq!(began.elapsed().as_secs(), 4);

    sub.set_status(|status| {
        status.state = SourceState::Down;
        status.fault = Some(Code::SourceAuth.into());
    });
    let began = Instant::now();
    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    assert_eq!(uris(&index), ["hls/media.m3u8"], "{index}");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}
