//! How much of a stream is kept for players: the window that was asked for; of
//! a stream that nobody watches, what a player begins with.
#![allow(clippy::unwrap_used, reason = "a test")]

mod heap_support;
mod hls_support;

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use heap_support::Counting;
use hls_support::gateway::{FIRST, Gateway, later, pictures};
use porthole::egress::hls::Config;

thread_local! {
    /// Bytes that this thread has taken and not given back. A test and its
    /// gateway are one thread.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

fn count(taken: usize, given_back: usize) {
    TAKEN.set(TAKEN.get().wrapping_add(taken).wrapping_sub(given_back));
}

#[global_allocator]
static COUNTING: Counting = Counting(count);

/// 2 Mbit/s, 25 pictures a second.
const PICTURE_BYTES: usize = 10_000;
const SECOND_BYTES: usize = 25 * PICTURE_BYTES;

/// Media in memory, in seconds of it.
fn held(gateway: &Gateway) -> usize {
    gateway.hls.buffer_bytes() / SECOND_BYTES
}

/// Publishes so many segments of two seconds.
async fn play(gateway: &mut Gateway, segments: Range<i64>) {
    for n in segments {
        let mut frames = later(pictures(50, 50), n * 2);
        // Each with bytes of its own, as they come from a camera.
        frames.iter_mut().for_each(|frame| frame.data = Bytes::from(vec![0; PICTURE_BYTES]));
        gateway.publish_all(&frames).await;
    }
}

/// The same, and somebody reads the playlist with each; the last one.
async fn play_to_a_viewer(gateway: &mut Gateway, segments: Range<i64>) -> String {
    let mut text = String::new();
    for n in segments {
        play(gateway, n..n + 1).await;
        text = gateway.text("").await;
    }
    text
}

fn sequence(text: &str) -> u64 {
    let number = text.split("#EXT-X-MEDIA-SEQUENCE:").nth(1).unwrap();
    number.lines().next().unwrap().parse().unwrap()
}

fn listed(text: &str) -> usize {
    text.matches("#EXTINF").count()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_watches_keeps_what_a_player_begins_with() {
    let mut gateway = Gateway::start().await;
    play(&mut gateway, 0..50).await;
    assert!((9..=13).contains(&held(&gateway)), "{} s", held(&gateway));

    // Three target durations of 3 s, and no segment that is listed is away.
    let text = gateway.text("").await;
    assert!((5..=6).contains(&listed(&text)), "{text}");
    assert_eq!(gateway.bytes(&format!("s{}.m4s", sequence(&text))).await.len() / PICTURE_BYTES, 50);

    // What it began with goes last: the window fills.
    let first = sequence(&text);
    let text = play_to_a_viewer(&mut gateway, 50..60).await;
    assert_eq!((sequence(&text), listed(&text)), (first, 10 + 5), "{text}");
    let text = play_to_a_viewer(&mut gateway, 60..100).await;
    assert!((30..=31).contains(&listed(&text)), "{text}");
    let last = sequence(&text);

    // Who was away for less than a minute finds its place…
    tokio::time::sleep(Duration::from_secs(45)).await;
    play(&mut gateway, 100..101).await;
    assert!(held(&gateway) >= 60, "{} s", held(&gateway));
    // …and after that, there is nobody.
    tokio::time::sleep(Duration::from_secs(30)).await;
    play(&mut gateway, 101..102).await;
    assert!(held(&gateway) <= 13, "{} s", held(&gateway));
    let text = gateway.text("").await;
    assert!(sequence(&text) > last && listed(&text) >= 5, "{text}");
    assert!(text.contains(&format!("\ns{}.m4s\n", FIRST + 100)), "numbers go on: {text}");
}

#[tokio::test]
async fn a_window_that_was_asked_for_is_kept_though_nobody_watches() {
    let window = Some(Duration::from_secs(60));
    let config = Config { always: true, window, ..Config::default() };
    let mut gateway = Gateway::start_with(config).await;
    play(&mut gateway, 0..100).await;
    assert!(held(&gateway) >= 60, "{} s", held(&gateway));
    let text = gateway.text("").await;
    assert!((30..=31).contains(&listed(&text)), "{text}");
}

#[tokio::test]
async fn a_window_takes_the_memory_of_its_media() {
    let before = TAKEN.get();
    let mut gateway = Gateway::start().await;
    play(&mut gateway, 0..5).await;
    let text = play_to_a_viewer(&mut gateway, 5..100).await;
    assert!(listed(&text) >= 30, "{text}");
    // With all there is beside it: what left the list a moment ago, the open
    // segment, the ring, the names.
    let taken = TAKEN.get().wrapping_sub(before);
    let most = 60 * SECOND_BYTES * 13 / 10;
    assert!(taken <= most, "{taken} bytes, at most {most}");
    assert!(taken >= 60 * SECOND_BYTES, "{taken} bytes: they are not counted");
}
