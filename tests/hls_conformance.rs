//! A player that watches a stream for a while, through an outage and a change
//! of its parameters, and holds every answer against the rules of low-latency
//! HLS. Each rule must have seen something, nothing wrong, and each fault that
//! is planted in what was recorded.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "hls_conformance/answers.rs"]
mod answers;
#[path = "hls_conformance/broken.rs"]
mod broken;
mod hls_support;
#[path = "hls_conformance/lists.rs"]
mod lists;
#[path = "hls_conformance/recording.rs"]
mod recording;
#[path = "hls_conformance/rules.rs"]
mod rules;
#[path = "hls_conformance/watcher.rs"]
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hls_support::gateway::{Gateway, pictures, seven_seconds};
use porthole::bus::{Publisher, SourceState};
use porthole::egress::hls::Config;
use porthole::media::{Avc, ClockRate, Codec, Draft, PixelSize, Track, TrackId, Tracks};
use recording::Answer;
use tokio::time::{Instant, sleep_until};
use watcher::Watcher;

/// How long is watched, in seconds: until the outage's end has left the window.
const SECONDS: i64 = 34;
const OUTAGE: std::ops::Range<i64> = 8..12;
/// When the camera's picture becomes smaller.
const CHANGE: i64 = 20;

/// Parts of half a second, segments of one, a target duration of two: deltas
/// skip what is older than twelve seconds.
fn config() -> Config {
    let (segment, window) = (Duration::from_secs(1), Duration::from_secs(14));
    Config { always: true, segment, window: Some(window), ..Config::default() }
}

fn smaller() -> Arc<Tracks> {
    let codec = Codec::H264(Avc {
        sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x0c, 0x8d]),
        pps: vec![Bytes::from_static(&[0x68, 1])],
        size: PixelSize { width: 320, height: 180 },
        max_num_reorder_frames: Some(0),
    });
    Arc::new(Tracks::new(vec![Track { id: TrackId(0), rate: ClockRate::VIDEO, codec }]))
}

/// What the camera sends, with the second it sends it at.
fn frames() -> impl Iterator<Item = (f64, Draft)> {
    let smaller = smaller();
    pictures(SECONDS * 25 + 100, 25).into_iter().enumerate().filter_map(move |(n, mut frame)| {
        let second = n as i64 / 25;
        frame.discontinuity = n as i64 == OUTAGE.end * 25;
        if second >= CHANGE {
            frame.tracks = Arc::clone(&smaller);
        }
        (!OUTAGE.contains(&second)).then_some((n as f64 / 25.0, frame))
    })
}

async fn camera(mut publishers: [Publisher; 2]) {
    let began = Instant::now();
    let mut down = false;
    for (second, frame) in frames() {
        if second >= OUTAGE.end as f64 && !down {
            down = true;
            sleep_until(began + Duration::from_secs(OUTAGE.start as u64)).await;
            publishers.iter().for_each(|to| to.set_status(|s| s.state = SourceState::Down));
        }
        sleep_until(began + Duration::from_secs_f64(second)).await;
        for publisher in &mut publishers {
            publisher.set_status(|status| status.state = SourceState::Live);
            publisher.publish(frame.clone());
        }
    }
}

/// A stream with two qualities that lives.
async fn living() -> Vec<Answer> {
    let (mut gateway, sub) = Gateway::start_pair(config()).await;
    let camera = tokio::spawn(camera([gateway.publisher.take().unwrap(), sub]));
    let watcher = Watcher::new(gateway.url(""));
    while watcher.get("index.m3u8", "").await.status != 200 {}
    let watcher = Watcher::new(gateway.url(""));
    watcher.get("index.m3u8", "").await;
    let until = SECONDS as f64 - 4.0;
    tokio::join!(
        watcher.clone().follow("hls/media.m3u8", until),
        watcher.clone().follow("hls/sub/media.m3u8", until),
    );
    camera.abort();
    watcher.recording()
}

/// A stream whose camera stands still, and ends.
async fn ending() -> Vec<Answer> {
    let mut gateway = Gateway::start().await;
    gateway.publish_all(&seven_seconds()).await;
    let watcher = Watcher::new(gateway.url(""));
    let first = watcher.get("hls/media.m3u8", "").await;
    let next = recording::Playlist::new(&first).next();
    watcher.get("hls/media.m3u8", &format!("_HLS_msn={next}")).await;
    gateway.end().await;
    watcher.get("hls/media.m3u8", "").await;
    watcher.get("hls/media.m3u8", &format!("_HLS_msn={}&_HLS_part=x", next + 99)).await;
    watcher.recording()
}

#[tokio::test]
async fn our_server_keeps_every_rule_and_each_rule_sees_its_faults() {
    let (living, ending) = tokio::join!(living(), ending());
    let recordings = vec![living, ending];
    let mut wrong = Vec::new();
    for (number, name, _) in rules::RULES {
        let found = rules::check(number, &recordings);
        println!("{number:2} {name}: {} times", found.seen);
        if found.seen == 0 {
            wrong.push(format!("{number} {name}: never seen"));
        }
        let faults = found.faults.iter().take(5);
        wrong.extend(faults.map(|fault| format!("{number} {name}: {fault}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let unseen = broken::BROKEN.iter().enumerate().filter(|(_, (number, plant))| {
        let mut planted = recordings.clone();
        plant(&mut planted);
        rules::check(*number, &planted).faults.is_empty()
    });
    let unseen: Vec<_> =
        unseen.map(|(at, (number, _))| format!("fault {at} of rule {number}")).collect();
    assert!(unseen.is_empty(), "no rule sees {unseen:?}");
    let planted: std::collections::BTreeSet<u32> = broken::BROKEN.iter().map(|b| b.0).collect();
    assert_eq!(planted.len(), rules::RULES.len(), "a fault for each rule");
}
