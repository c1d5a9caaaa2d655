//! What a picture costs: from a new 1080p key frame to its JPEG, again from the
//! cache, and under a thousand requests a second.
//!
//! Run with `cargo bench --bench pictures`; needs ffmpeg. Everything is in one
//! process, client and gateway, over HTTP on loopback.
#![allow(clippy::unwrap_used, reason = "a bench")]

#[path = "../../tests/hls_support/mod.rs"]
mod hls_support;
#[path = "../../tests/picture_support/mod.rs"]
mod picture_support;
#[path = "../whep/usage.rs"]
#[allow(dead_code, reason = "memory is the other bench's")]
mod usage;

use std::time::{Duration, Instant};

use picture_support::{Coded, Gateway};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use usage::Usage;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A picture with detail all over, of some 300 kB as a key frame.
fn key_frame(size: &str) -> Coded {
    let source = format!("testsrc2=size={size}:rate=25,noise=alls=12");
    picture_support::key_frame_of(
        &["-f", "lavfi", "-i", &source],
        "-vf format=yuv420p -colorspace bt709 -color_range tv -c:v libx264 -preset fast -crf 24",
        &[],
    )
}

/// Median and worst of some durations, in milliseconds.
fn summary(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let millis = |at: usize| all[at].as_secs_f64() * 1e3;
    let (median, most) = (millis(all.len() / 2), millis(all.len() * 99 / 100));
    format!("median {median:.2} ms, 99 % within {most:.2} ms of {}", all.len())
}

async fn timed(gateway: &Gateway, path: &str) -> (Duration, usize) {
    let begun = Instant::now();
    let file = gateway.picture(path).await;
    (begun.elapsed(), file.len())
}

#[tokio::main]
async fn main() {
    for size in ["640x360", "1920x1080", "3840x2160"] {
        let coded = key_frame(size);
        let mut gateway = Gateway::start().await;
        let (mut new, mut small, mut cached, mut bytes) = (vec![], vec![], vec![], 0);
        let mut spent = vec![];
        for _ in 0..if size.starts_with('3') { 10 } else { 40 } {
            gateway.publish(&coded);
            let before = Usage::of(std::process::id()).unwrap();
            let (took, length) = timed(&gateway, "snapshot.jpg").await;
            spent.push(Usage::of(std::process::id()).unwrap().since(&before).0);
            new.push(took);
            bytes = length;
            small.push(timed(&gateway, "snapshot.jpg?width=640").await.0);
            for _ in 0..20 {
                cached.push(timed(&gateway, "snapshot.jpg").await.0);
            }
        }
        println!(
            "{size}: key frame of {} kB, JPEG of {} kB",
            coded.data.len() / 1_000,
            bytes / 1_000
        );
        println!("  new key frame      {}", summary(new));
        // What it takes on a machine that has nothing else to do.
        println!("  CPU time of that   {}", summary(spent));
        println!("  the same, 640 wide {}", summary(small));
        println!("  from the cache     {}", summary(cached));
    }

    let coded = key_frame("1920x1080");
    let mut gateway = Gateway::start().await;
    let (seconds, mut asked, mut took) = (10, JoinSet::new(), Vec::new());
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    for nth in 0..seconds * 1_000 {
        if nth % 1_000 == 0 {
            gateway.publish(&coded);
        }
        ticks.tick().await;
        let (http, url) = (gateway.http.clone(), gateway.url("snapshot.jpg?width=640"));
        asked.spawn(async move {
            let begun = Instant::now();
            let answer = http.get(url).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            begun.elapsed()
        });
        while let Some(done) = asked.try_join_next() {
            took.push(done.unwrap());
        }
    }
    took.extend(asked.join_all().await);
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    println!("1,000 requests a second, a new 1080p key frame each second, for {seconds} s:");
    println!("  {rate:.0} answers a second, {} decodes", gateway.decoded());
    println!("  {}", summary(took));
    assert_eq!(gateway.decoded(), f64::from(seconds), "one decode a key frame");
}
