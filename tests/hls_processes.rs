//! The same frames give the same bytes in two processes: a second gateway may
//! take over a crowd behind one cache.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use hls_support::gateway::{Gateway, heard, pictures};
use porthole::egress::hls::Config;
use porthole::media::{Draft, WallTime};

/// Where a process puts what it serves.
const DIR: &str = "PORTHOLE_TEST_HLS_DIR";
/// In the process that has it, a clock of its own gets into the frames.
const FAULT: &str = "PORTHOLE_TEST_HLS_FAULT";

/// Half a minute with sound: the camera is away for four seconds, and loses its
/// sound for the last eight.
fn frames() -> Vec<Draft> {
    let silent = pictures(750, 50).split_off(550);
    let mut frames = heard(pictures(550, 50));
    let away = |frame: &Draft| (8_000_000_000..12_000_000_000).contains(&frame.pts.nanos());
    frames.retain(|frame| !away(frame));
    let back = frames.iter_mut().filter(|frame| frame.pts.nanos() == 12_000_000_000);
    back.for_each(|frame| frame.discontinuity = true);
    frames.extend(silent);
    if std::env::var_os(FAULT).is_some() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let off = i64::try_from(now.as_nanos() % 1_000_000_000).unwrap() + 50_000_000;
        frames.iter_mut().for_each(|frame| {
            let wall = frame.wall.unix_nanos();
            frame.wall = WallTime::from_unix_nanos(wall + off);
        });
    }
    frames
}

/// What a playlist lists.
fn uris(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.contains("PRELOAD-HINT")).filter_map(|line| {
        let tagged = line.split_once("URI=\"").and_then(|(_, rest)| rest.split('"').next());
        tagged.or(Some(line).filter(|line| !line.starts_with('#')))
    })
}

#[tokio::test]
#[ignore = "a process of the other test"]
async fn serve() {
    let dir = std::env::var(DIR).unwrap();
    // All of it stays listed, watched or not.
    let window = Some(Duration::from_secs(60));
    let mut gateway =
        Gateway::start_with(Config { always: true, window, ..Config::default() }).await;
    gateway.publish_all(&frames()).await;
    let text = gateway.text("").await;
    let mut paths = vec!["index.m3u8".to_owned(), "hls/media.m3u8?_HLS_skip=YES".to_owned()];
    paths.extend(uris(&text).map(|uri| format!("hls/{uri}")));
    std::fs::write(Path::new(&dir).join("media.m3u8"), &text).unwrap();
    for path in paths {
        let response = gateway.get(&path).await;
        let head = format!("{} {:?}", response.status(), response.headers().get("etag"));
        let body = [head.as_bytes(), &response.bytes().await.unwrap()].concat();
        std::fs::write(Path::new(&dir).join(path.replace('/', "_")), body).unwrap();
    }
}

/// All that a process serves, by name.
fn served(fault: bool) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--ignored", "--exact", "serve"]).env(DIR, dir.path());
    if fault {
        process.env(FAULT, "1");
    }
    let out = process.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn two_processes_serve_the_same_bytes_under_the_same_names() {
    let first = served(false);
    let kinds = [".mp4", ".m4s", ".0.m4s", "media.m3u8", "index.m3u8", "_HLS_skip=YES"];
    for kind in kinds {
        assert!(first.keys().any(|name| name.ends_with(kind)), "{kind}: {:?}", first.keys());
    }
    let text = String::from_utf8(first["media.m3u8"].clone()).unwrap();
    for tag in ["#EXT-X-DISCONTINUITY\n", "#EXT-X-GAP", "#EXT-X-PROGRAM-DATE-TIME"] {
        assert!(text.contains(tag), "no {tag}: {text}");
    }
    // Another second, so that a clock in a name or a byte would show.
    std::thread::sleep(Duration::from_millis(1_100));
    let second = served(false);
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    let differ: Vec<_> = first.keys().filter(|name| first[*name] != second[*name]).collect();
    assert!(differ.is_empty(), "{differ:?}");

    assert_ne!(served(true), first, "a clock of the process's own is seen");
}
