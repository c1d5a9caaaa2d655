//! A crowd behind a caching proxy (nginx): whatever it asks for, the gateway is
//! asked for once or twice.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use hls_support::gateway::{Gateway, pictures};
use porthole::bus::Publisher;
use porthole::egress::hls::Config;
use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const PLAYERS: usize = 200;
/// How long each watches.
const WATCHED: Duration = Duration::from_secs(14);

/// nginx on a socket of its own, ended when dropped.
struct Proxy(Child);

impl Proxy {
    fn start(dir: &Path, origin: &str) -> Self {
        let at = dir.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {at}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nuser root root;\nworker_processes 1;\npid {at}/pid;\n\
             error_log {at}/error.log;\nevents {{ worker_connections 2048; }}\nhttp {{\n{temporary}\
             \x20 log_format origin '$upstream_cache_status $status $request_uri';\n\
             \x20 access_log {at}/access.log origin;\n\
             \x20 proxy_cache_path {at}/cache keys_zone=hls:8m;\n\
             \x20 upstream porthole {{ server {origin}; keepalive 32; }}\n\
             \x20 server {{\n    listen unix:{at}/socket;\n    location / {{\n\
             \x20     proxy_pass http://porthole;\n      proxy_http_version 1.1;\n\
             \x20     proxy_set_header Connection \"\";\n\
             \x20     proxy_set_header Host {origin};\n      proxy_cache hls;\n\
             \x20     proxy_cache_lock on;\n      proxy_cache_lock_timeout 30s;\n\
             \x20     proxy_cache_lock_age 30s;\n    }}\n  }}\n}}\n"
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        let config = dir.join("nginx.conf");
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.arg("-e").arg(dir.join("start.log")).arg("-c").arg(config);
        Self(nginx.spawn().expect("nginx is installed"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The master ends its workers when it is asked to, not when killed.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A camera that has run for seven seconds and goes on.
async fn camera(mut publisher: Publisher) {
    let began = Instant::now();
    for (frame, n) in pictures(25 * 60, 50).into_iter().zip(0_u32..) {
        sleep_until(began + Duration::from_millis(40) * n.saturating_sub(7 * 25)).await;
        publisher.publish(frame);
        tokio::task::yield_now().await;
    }
}

async fn text(http: &Client, path: &str) -> String {
    let response = http.get(format!("http://proxy/yard/{path}")).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

/// Number and part that come after what the playlist lists.
fn next(list: &str) -> (u64, usize) {
    let first = list.split("MEDIA-SEQUENCE:").nth(1).unwrap().lines().next().unwrap();
    let whole = list.lines().filter(|line| !line.starts_with('#')).count();
    let open = list.rsplit("\ns").next().unwrap_or_default();
    (first.parse::<u64>().unwrap() + whole as u64, open.matches("#EXT-X-PART:").count())
}

/// Plays by blocking reloads; its parts, and the longest time between two.
async fn player(http: Client) -> (usize, Duration) {
    let mut list = text(&http, "hls/media.m3u8").await;
    let (mut known, mut longest) = (BTreeSet::new(), Duration::ZERO);
    let (began, mut newest) = (Instant::now(), Instant::now());
    while began.elapsed() < WATCHED {
        let parts = list.split("URI=\"s").skip(1).filter_map(|uri| uri.split_once('"'));
        let hint = list.lines().last().unwrap_or_default();
        let parts = parts.map(|part| format!("s{}", part.0)).filter(|part| !hint.contains(part));
        for part in parts.collect::<Vec<_>>() {
            if known.insert(part.clone()) {
                assert!(!text(&http, &format!("hls/{part}")).await.is_empty());
                longest = longest.max(newest.elapsed());
                newest = Instant::now();
            }
        }
        let (number, part) = next(&list);
        list = text(&http, &format!("hls/media.m3u8?_HLS_msn={number}&_HLS_part={part}")).await;
    }
    (known.len(), longest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_behind_a_cache_costs_what_one_player_does() {
    let mut gateway = Gateway::start_with(Config { always: true, ..Config::default() }).await;
    let camera = tokio::spawn(camera(gateway.publisher.take().unwrap()));
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path(), gateway.base.strip_prefix("http://").unwrap());
    let socket = dir.path().join("socket");
    while !socket.exists() {
        sleep(Duration::from_millis(20)).await;
    }
    gateway.text("").await;

    let (began, mut crowd) = (Instant::now(), JoinSet::new());
    for _ in 0..PLAYERS {
        let http = Client::builder().unix_socket(socket.clone()).build().unwrap();
        crowd.spawn(player(http));
        // They come over two seconds.
        sleep(Duration::from_millis(10)).await;
    }
    // Longer on a busy machine.
    let coming = began.elapsed().as_secs_f64().ceil() as usize;
    let played = crowd.join_all().await;
    camera.abort();
    drop(proxy);
    for (parts, longest) in &played {
        // Two a second. nginx looks twice a second whether a request that it
        // holds behind another one can be answered.
        assert!(*parts >= 20, "{parts} parts in {WATCHED:?}");
        assert!(*longest < Duration::from_secs(4), "nothing for {longest:?}");
    }

    let log = std::fs::read_to_string(dir.path().join("access.log")).unwrap();
    let mut asked = BTreeMap::<&str, usize>::new();
    for line in log.lines() {
        let (how, rest) = line.split_once(' ').unwrap();
        let uri = rest.split_once(' ').unwrap().1;
        *asked.entry(uri).or_default() += usize::from(how != "HIT");
    }
    let named: Vec<_> = asked.iter().filter(|(uri, _)| !uri.ends_with("media.m3u8")).collect();
    let origin: usize = named.iter().map(|named| named.1).sum();
    println!("{} requests, {} names, {origin} at the gateway", log.lines().count(), named.len());
    assert!(named.len() > 40 && log.lines().count() > named.len() * PLAYERS / 2, "{asked:?}");
    let often: Vec<_> = named.iter().filter(|named| *named.1 > 2).collect();
    assert!(often.is_empty(), "more than twice: {often:?}");
    // Which changes under its name: once a second or so, while players come.
    assert!(asked["/yard/hls/media.m3u8"] < 8 + coming, "{asked:?}");
}
