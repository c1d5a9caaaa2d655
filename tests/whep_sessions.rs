//! Two thousand sessions come and go, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "a test")]

mod heap_support;
mod whep_support;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heap_support::Counting;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use tokio::runtime::{Handle, Runtime};
use whep_support::player::{Event, Player};
use whep_support::{Camera, Gateway, clip, session_of};

/// Bytes that have not been freed. What of them is resident would be the
/// allocator's affair: the heaps of this process, which half of the time is its
/// own viewers, keep tens of megabytes of freed memory, and the more the busier
/// the machine is.
static HELD: AtomicUsize = AtomicUsize::new(0);

fn count(taken: usize, given_back: usize) {
    HELD.fetch_add(taken, Ordering::Relaxed);
    HELD.fetch_sub(given_back, Ordering::Relaxed);
}

#[global_allocator]
static COUNTING: Counting = Counting(count);

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    kib: usize,
    descriptors: usize,
    tasks: usize,
}

/// `ours` is the runtime whose tasks count, with the media threads': viewers
/// have one of their own.
fn holdings(ours: &Handle, gateway: &Gateway) -> Holdings {
    Holdings {
        kib: HELD.load(Ordering::Relaxed) >> 10,
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        tasks: ours.metrics().num_alive_tasks() + gateway.whep.tasks(),
    }
}

/// Opens and closes that many sessions without ever connecting, as many at once
/// as make sense.
async fn come_and_go(url: &str, offer: &str, sessions: usize) {
    let http = reqwest::Client::new();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (http, url, offer) = (http.clone(), url.to_owned(), offer.to_owned());
        all.spawn(async move {
            for _ in 0..sessions / 4 {
                let request = http.post(&url).header("content-type", "application/sdp");
                let created = request.body(offer.clone()).send().await.unwrap();
                assert_eq!(created.status(), 201);
                let session = session_of(&url, created.headers());
                created.bytes().await.unwrap();
                assert_eq!(http.delete(session).send().await.unwrap().status(), 200);
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

/// Viewers that connect and see a packet; every other one says goodbye.
async fn watch_and_leave(url: &str, viewers: usize) {
    for at in 0..viewers {
        let (mut player, offer) = Player::offering(&[Video]).await;
        player.play(url, &offer).await;
        let packet = |event| matches!(event, Event::Rtp("video", _)).then_some(());
        player.until("a packet", packet).await;
        if at % 2 == 0 {
            player.connection.close().await.unwrap();
        }
    }
}

#[test]
fn two_thousand_sessions_leave_nothing_behind() {
    let ours = Runtime::new().unwrap();
    let (gateway, stream, camera) = ours.block_on(async {
        let gateway = Gateway::start().await;
        let (stream, publisher) = gateway.stream("yard");
        let camera = Camera::new(publisher, clip(), None).run(10);
        (gateway, stream, camera)
    });
    let url = format!("{}/yard/whep", gateway.url);
    let round = |sessions: usize, viewers: usize| {
        let theirs = Runtime::new().unwrap();
        theirs.block_on(async {
            watch_and_leave(&url, viewers).await;
            let (_player, offer) = Player::offering(&[Video]).await;
            come_and_go(&url, &offer, sessions).await;
        });
        theirs.shutdown_timeout(Duration::from_secs(2));
        // Those who left without a word take some seconds.
        let end = Instant::now() + Duration::from_secs(20);
        while gateway.whep.sessions() > 0 || *stream.watch_interest().borrow() > 0 {
            assert!(Instant::now() < end, "{} sessions are left", gateway.whep.sessions());
            std::thread::sleep(Duration::from_millis(20));
        }
        holdings(ours.handle(), &gateway)
    };
    // What is made once.
    let start = round(200, 8);
    let end = round(2_000, 16);
    println!("before {start:?}, after {end:?}");
    assert!(end.tasks <= start.tasks + 2, "tasks: {start:?}, {end:?}");
    assert!(end.descriptors <= start.descriptors + 4, "descriptors: {start:?}, {end:?}");
    // 256 bytes of each that stay are too many.
    let grown = end.kib.saturating_sub(start.kib);
    assert!(grown < 512, "{grown} KiB more than before");
    camera.abort();
}
