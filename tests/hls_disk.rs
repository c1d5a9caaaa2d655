//! Windows on disk: memory stays flat, a disk that takes nothing costs the
//! window and never the live edge.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hls_support::gateway::{FIRST, Gateway, later, pictures};
use porthole::egress::hls::{Config, Hls, Metrics};
use reqwest::StatusCode;

/// Two minutes, of which the newest nine seconds need memory.
const WINDOW: Duration = Duration::from_secs(120);

fn config(dir: &Path) -> Config {
    Config { always: true, window: Some(WINDOW), dir: Some(dir.to_owned()), ..Config::default() }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("porthole-hls")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Publishes so many segments of two seconds, the `nth` first; each is written
/// before the next one comes, as in life.
async fn play(gateway: &mut Gateway, nth: std::ops::Range<i64>) {
    for n in nth {
        let frames = later(pictures(50, 50), n * 2);
        gateway.publish_all(&frames).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_hour_takes_no_more_memory_than_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    // What a run that was killed left behind.
    std::fs::create_dir(dir.path().join("porthole-hls")).unwrap();
    std::fs::write(dir.path().join("porthole-hls/0-1.m4s"), "old").unwrap();
    let mut gateway = Gateway::start_with(config(dir.path())).await;
    assert!(files(dir.path()).is_empty());

    play(&mut gateway, 0..12).await;
    let (name, part) = (format!("s{}.m4s", FIRST + 9), format!("s{}.1.m4s", FIRST + 9));
    let (new, new_part) = (gateway.bytes(&name).await, gateway.bytes(&part).await);
    let held = gateway.hls.buffer_bytes();
    play(&mut gateway, 12..16).await;
    assert_eq!(gateway.bytes(&part).await, new_part, "off the list, not off the disk");
    play(&mut gateway, 16..60).await;
    assert!(gateway.hls.buffer_bytes() <= held * 5 / 4, "{held}");

    // The same from the file, whole and in ranges.
    assert_eq!(gateway.bytes(&name).await, new);
    let request = gateway.http.get(gateway.url(&format!("hls/{name}")));
    let range = request.header("range", "bytes=100-299").send().await.unwrap();
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.bytes().await.unwrap(), new[100..300]);
    let text = gateway.text("").await;
    assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{FIRST}\n")), "{text}");

    // What has left the window leaves the disk.
    let count = files(dir.path()).len();
    play(&mut gateway, 60..90).await;
    assert!(files(dir.path()).len() <= count + 8, "{count} {}", files(dir.path()).len());
    for file in files(dir.path()) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    gateway.hls.close();
    assert!(!dir.path().join("porthole-hls").exists());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_the_window_and_never_the_live_edge() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("porthole-hls");
    let mut gateway = Gateway::start_with(config(dir.path())).await;
    play(&mut gateway, 0..30).await;
    let held = gateway.hls.buffer_bytes();
    std::fs::remove_dir_all(&folder).unwrap();
    for n in 30..60 {
        play(&mut gateway, n..n + 1).await;
        let newest = format!("s{}.m4s", FIRST + n as u64 - 1);
        assert_eq!(gateway.bytes(&newest).await, gateway.bytes(&newest).await, "{n}");
        assert!(gateway.hls.buffer_bytes() <= held * 5 / 4, "{held}");
    }
    let text = gateway.text("").await;
    let listed = text.matches("#EXTINF").count();
    assert!((4..10).contains(&listed), "three target durations stay: {text}");

    std::fs::create_dir(&folder).unwrap();
    play(&mut gateway, 60..90).await;
    let text = gateway.text("").await;
    assert!(text.matches("#EXTINF").count() > 25, "the window grows again: {text}");
}

#[tokio::test]
async fn a_folder_serves_one_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let first = Hls::new(config(dir.path()), Metrics::unregistered()).unwrap();
    let second = Hls::new(config(dir.path()), Metrics::unregistered()).err().unwrap();
    assert!(second.to_string().contains("another porthole"), "{second}");
    drop(first);
    Hls::new(config(dir.path()), Metrics::unregistered()).unwrap();
    let none = Hls::new(config(&dir.path().join("none")), Metrics::unregistered()).err().unwrap();
    assert!(none.to_string().contains("hls.dir"), "{none}");
}
