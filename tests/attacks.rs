//! Crowds that mean no good, against the real program: who watches loses
//! nothing, and nothing is left of them.
//!
//! `PORTHOLE_TEST_OFFERS=10000` makes the crowd of offers as large as that.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Offers a second.
const RATE: f64 = 200.0;

struct Demo {
    child: Child,
    pages: String,
    admin: String,
}

impl Demo {
    async fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_porthole"))
            .arg("demo")
            .env_clear()
            .env("PORTHOLE__LISTEN", "127.0.0.1:0")
            .env("PORTHOLE__ADMIN__LISTEN", "127.0.0.1:0")
            .env("PORTHOLE__WEBRTC__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let started = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let value: Value = serde_json::from_str(&line).ok()?;
            value["pages"].is_string().then_some(value)
        });
        std::thread::spawn(move || lines.for_each(drop));
        let started = started.expect("it starts");
        let pages = started["pages"].as_str().unwrap().trim_end_matches('/').to_owned();
        let admin = format!("http://{}", started["admin"].as_str().unwrap());
        let demo = Self { child, pages, admin };
        app_support::listed(&demo.pages, "demo", |stream| stream["state"] == "live").await;
        demo
    }

    async fn metric(&self, series: &str) -> f64 {
        let text = app_support::get(&format!("{}/metrics", self.admin)).await.1;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or("0").trim().parse().unwrap()
    }

    /// Waits until nobody is left who has offered and never came.
    async fn calm(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.metric("porthole_sessions{output=\"whep\",state=\"connecting\"}").await > 0.0 {
            assert!(Instant::now() < until, "sessions that never were are still there");
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Kilobytes in RAM.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// So many offers, half of them nonsense: statuses, counted.
    async fn offers(&self, offers: usize) -> BTreeMap<u16, usize> {
        // One each: a connection that is kept may be closed under the next offer.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut asked = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
        let good = app_support::OFFER;
        for n in 0..offers {
            tick.tick().await;
            let (body, stream) = match n % 4 {
                0 => (good.to_owned(), "demo".to_owned()),
                1 => (good.replace("abcd", &format!("u{n}")), "demo".to_owned()),
                2 => ("v=0\r\n".repeat(n % 2_000), "demo".to_owned()),
                _ => (good.replace("m=video", "m=vide\u{0}"), format!("nobody-{n}")),
            };
            let post = client.post(format!("{}/{stream}/whep", self.pages));
            let post = post.header("content-type", "application/sdp").body(body);
            asked.spawn(async move { post.send().await.unwrap().status().as_u16() });
        }
        let mut statuses = BTreeMap::new();
        for status in asked.join_all().await {
            *statuses.entry(status).or_default() += 1;
        }
        statuses
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No picture was left out between two that came, and they came all the time.
fn assert_unharmed(times: &[u64], since: Instant) {
    let wanted = since.elapsed().as_secs_f64() * 25.0;
    assert!(times.len() as f64 > wanted * 0.8, "{} pictures of {wanted:.0}", times.len());
    app_support::assert_whole(times);
}

#[tokio::test(flavor = "multi_thread")]
async fn bogus_offers_cost_no_viewer_a_frame_and_nothing_is_left_of_them() {
    let asked = std::env::var("PORTHOLE_TEST_OFFERS").ok();
    let crowd: usize = asked.map_or(1_000, |asked| asked.parse().unwrap());
    let demo = Demo::start().await;
    let began = Instant::now();
    let viewer = tokio::spawn(app_support::watch(demo.pages.clone(), "demo/mse"));
    // What the first crowds leave behind is room for the next one: pages that
    // the allocator keeps for each thread, and code that was never run before.
    for _ in 0..2 {
        demo.offers(crowd).await;
        demo.calm().await;
    }
    let before = demo.resident();

    let statuses = demo.offers(crowd).await;
    let (most, known) = (demo.resident(), [201, 400, 404, 503]);
    assert!(statuses.keys().all(|status| known.contains(status)), "{statuses:?}");
    assert_eq!(statuses[&404], crowd / 4, "{statuses:?}");
    demo.calm().await;
    let calm = Instant::now();
    let room = before + before / 20;
    while demo.resident() > room && calm.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_secs(1)).await;
    }
    let after = demo.resident();
    println!(
        "{statuses:?}; {before} kB before, {most} kB with it, {after} kB {:?} later",
        calm.elapsed()
    );
    assert!(after <= room, "{after} kB after it, {before} kB before");
    assert!(!viewer.is_finished());
    drop(demo);
    assert_unharmed(&viewer.await.unwrap(), began);
}
