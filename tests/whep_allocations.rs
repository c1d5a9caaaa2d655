//! What a viewer costs the allocator: nothing for a packet.
#![allow(clippy::unwrap_used, reason = "a test")]

mod heap_support;
mod whep_support;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use heap_support::Counting;
use porthole::media::length_prefixed;
use whep_support::line::{Line, Weather};
use whep_support::player::{Event, Player};
use whep_support::{Camera, Clip, Gateway, Picture, clip};

thread_local! {
    /// Set on the threads of cameras, lines and viewers; the rest is the
    /// gateway's own, that is, its media threads.
    static THEIRS: Cell<bool> = const { Cell::new(false) };
}

/// How often media threads took memory.
static TAKEN: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static COUNTING: Counting = Counting(note);

fn note(taken: usize, _given_back: usize) {
    if taken > 0 && !THEIRS.get() {
        TAKEN.fetch_add(1, Ordering::Relaxed);
    }
}

/// Between pictures while viewers connect.
const PICTURE: Duration = Duration::from_millis(40);

/// A slice of 26 packets a picture, that nobody could decode.
fn large_pictures() -> &'static Clip {
    let mut pictures = Vec::new();
    for at in 0..25 {
        let mut slice = vec![0x55; 30_000];
        slice[0] = if at == 0 { 0x65 } else { 0x41 };
        pictures.push(Picture { key: at == 0, data: length_prefixed([&slice[..]]) });
    }
    Box::leak(Box::new(Clip { avc: clip().avc.clone(), pictures }))
}

/// Allocations of the media threads, and packets sent, while a camera shows 300
/// pictures to so many viewers.
async fn cost_of(viewers: usize) -> (u64, u64) {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, large_pictures(), None);
    camera.publish();
    let url = format!("{}/yard/whep", gateway.url);
    let mut watching = Vec::new();
    for number in 0..viewers {
        let line = Line::to(address, number as u64).await;
        let mut player = Player::behind(&line, &url, address).await;
        {
            let picked = |event| matches!(event, Event::Rtp(..)).then_some(());
            let mut connected = std::pin::pin!(player.until("a packet", picked));
            while tokio::time::timeout(PICTURE, &mut connected).await.is_err() {
                camera.publish();
            }
        }
        // From now on nothing comes, so nothing is reported or asked for.
        line.set(Weather { dead: true, ..Weather::default() });
        watching.push((line, player));
    }
    let mut show = async |pictures: usize| {
        for _ in 0..pictures {
            camera.publish();
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        // The last ones are out.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // What is taken once and kept.
    show(100).await;
    let bytes = || gateway.metric(r#"porthole_sent_bytes_total{output="whep",stream="yard"}"#);
    let before = (TAKEN.load(Ordering::Relaxed), bytes().unwrap());
    show(300).await;
    let taken = TAKEN.load(Ordering::Relaxed) - before.0;
    let packets = (bytes().unwrap() - before.1) as u64 / 1_170;
    assert_eq!(gateway.whep.sessions(), viewers, "somebody has left");
    (taken, packets)
}

#[test]
fn no_packet_to_any_viewer_takes_memory() {
    THEIRS.set(true);
    let ours = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| THEIRS.set(true))
        .enable_all()
        .build()
        .unwrap();
    let (one, many) = ours.block_on(async { (cost_of(1).await, cost_of(9).await) });
    println!("allocations, packets: one viewer {one:?}, nine {many:?}");
    let packets = many.1 - one.1;
    assert!(packets > 8 * 300 * 20, "only {packets} packets");
    // What is left is done by the second: checks, reports, the table's lines.
    let more = many.0.saturating_sub(one.0);
    assert!(more * 10 < packets, "{more} allocations more for {packets} packets more");
}
