//! Crowds that mean no good, against the real program: who watches loses
//! nothing, and nothing is left of them.
//!
//! `PORTHOLE_TEST_OFFERS=10000` makes the crowd of offers as large as that.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod whep_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use whep_support::player::{Event, Player};

/// How long viewers have watched before anybody attacks.
const WARM: Duration = Duration::from_secs(10);
/// So soon what a crowd had is given back.
const AFTER: Duration = Duration::from_secs(12);
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
    fn memory(&self) -> u64 {
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
            // A machine that is busy may be too slow even to ask.
            let again = post.try_clone().unwrap();
            asked.spawn(async move {
                let answer = match post.send().await {
                    Ok(answer) => answer,
                    Err(_) => again.send().await.unwrap(),
                };
                answer.status().as_u16()
            });
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

/// Watches over WebRTC until `over`: packets that never came, of all.
async fn missed(pages: String, over: CancellationToken) -> (i64, i64) {
    let (mut player, offer) = Player::offering(&[RtpCodecKind::Video]).await;
    player.play(&format!("{pages}/demo/whep"), &offer).await;
    let (mut first, mut last, mut seen) = (None, 0_i64, BTreeSet::new());
    while let Some(Some(event)) = over.run_until_cancelled(player.events.recv()).await {
        let Event::Rtp("video", packet) = event else { continue };
        let sequence = packet.header.sequence_number;
        first.get_or_insert_with(|| {
            last = sequence.into();
            last
        });
        // RFC 3550 appendix A.1: the nearest to the one before.
        last += i64::from(sequence.wrapping_sub(last as u16) as i16);
        seen.insert(last);
    }
    let all = seen.last().unwrap() - first.unwrap() + 1;
    (all - seen.range(first.unwrap()..).count() as i64, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn bogus_offers_cost_no_viewer_a_frame_and_nothing_is_left_of_them() {
    let asked = std::env::var("PORTHOLE_TEST_OFFERS").ok();
    let crowd: usize = asked.map_or(1_000, |asked| asked.parse().unwrap());
    let demo = Demo::start().await;
    let began = Instant::now();
    let (over, pages) = (CancellationToken::new(), demo.pages.clone());
    let mse = tokio::spawn(app_support::watch(pages.clone(), "demo/mse"));
    let whep = tokio::spawn(missed(pages, over.clone()));
    sleep(WARM).await;
    let cold = demo.memory();
    // What the first crowds leave behind is room for the next one: code that was
    // never run before, and pages that hold a little of what stays.
    for _ in 0..2 {
        demo.offers(crowd).await;
        demo.calm().await;
        sleep(AFTER).await;
    }
    let before = demo.memory();

    let statuses = demo.offers(crowd).await;
    let (most, known) = (demo.memory(), [201, 400, 404, 503]);
    assert!(statuses.keys().all(|status| known.contains(status)), "{statuses:?}");
    assert_eq!(statuses[&404], crowd / 4, "{statuses:?}");
    demo.calm().await;
    let calm = Instant::now();
    let room = before + before / 20;
    while demo.memory() > room && calm.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_secs(1)).await;
    }
    let after = demo.memory();
    println!(
        "{statuses:?}; {cold} kB with two viewers, {before} kB after two crowds, {most} kB with \
         another, {after} kB {:?} later",
        calm.elapsed()
    );
    assert!(after <= room, "{after} kB after it, {before} kB before");
    assert!(!mse.is_finished() && !whep.is_finished());
    over.cancel();
    let (missed, all) = whep.await.unwrap();
    assert!(missed == 0 && all > 500, "{missed} packets of {all} never came");
    drop(demo);
    assert_unharmed(&mse.await.unwrap(), began);
}

/// A client that holds its connection as long as it can.
struct Slow {
    name: &'static str,
    first: &'static str,
    /// What comes after it, again and again.
    next: &'static str,
    /// Whether it takes what it is sent.
    reads: bool,
    /// It should be gone so soon; a loaded machine takes longer.
    limit: Duration,
}

const fn slow(name: &'static str, first: &'static str, next: &'static str) -> Slow {
    Slow { name, first, next, reads: true, limit: Duration::from_secs(5) }
}

const SLOW: [Slow; 6] = [
    slow("says nothing", "", ""),
    slow("headers without end", "GET /demo/ HTTP/1.1\r\nHost: localhost\r\n", "X-Slow: a\r\n"),
    slow(
        "a body without end",
        "POST /demo/whep HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 60000\r\n\r\n",
        "v",
    ),
    slow(
        "a body in chunks without end",
        "POST /demo/whep HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\nv\r\n",
    ),
    slow("nothing after an answer", "GET /api/streams HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
    Slow {
        reads: false,
        limit: Duration::from_secs(10),
        ..slow("takes no answer", "GET /porthole.js HTTP/1.1\r\nHost: localhost\r\n\r\n", "\r\n")
    },
];

impl Slow {
    /// How long it was let stay.
    async fn holds(&self, address: std::net::SocketAddr) -> Duration {
        let socket = TcpSocket::new_v4().unwrap();
        if !self.reads {
            socket.set_recv_buffer_size(4_096).unwrap();
        }
        let mut socket = socket.connect(address).await.unwrap();
        let began = Instant::now();
        let times = if self.reads { 1 } else { 100 };
        let mut open = socket.write_all(self.first.repeat(times).as_bytes()).await.is_ok();
        let mut sink = vec![0; 4_096];
        let (mut reader, mut writer) = socket.split();
        while open {
            tokio::select! {
                // A reset is an end as well.
                read = reader.read(&mut sink), if self.reads => open = matches!(read, Ok(1..)),
                () = sleep(Duration::from_millis(500)) => {
                    let wrote = writer.write_all(self.next.as_bytes()).await;
                    open = self.reads || wrote.is_ok();
                }
            }
        }
        began.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_sent_away_and_cost_no_viewer_a_frame() {
    let demo = Demo::start().await;
    let watched = Instant::now();
    let viewer = tokio::spawn(app_support::watch(demo.pages.clone(), "demo/mse"));
    let address = demo.pages.trim_start_matches("http://").parse().unwrap();
    let mut clients = JoinSet::new();
    for n in 0..600 {
        let kind = n % SLOW.len();
        clients.spawn(async move {
            (kind, timeout(Duration::from_secs(60), SLOW[kind].holds(address)).await.ok())
        });
    }
    let quick = Instant::now();
    assert_eq!(app_support::get(&format!("{}/api/streams", demo.pages)).await.0, 200);
    assert!(quick.elapsed() < Duration::from_secs(5), "{:?}", quick.elapsed());
    let mut longest = [Some(Duration::ZERO); SLOW.len()];
    for (kind, held) in clients.join_all().await {
        longest[kind] = longest[kind].zip(held).map(|(one, other)| one.max(other));
    }
    let is_due = |slow: &Slow, held: Option<Duration>| {
        held.is_some_and(|held| (slow.limit / 2..slow.limit * 3).contains(&held))
    };
    let held = SLOW.iter().zip(longest).map(|(slow, held)| (slow.name, is_due(slow, held), held));
    let held: Vec<_> = held.collect();
    assert!(held.iter().all(|(_, due, _)| *due), "{held:#?}");
    println!("{held:#?}");
    assert!(!viewer.is_finished());
    let open = demo.metric("porthole_http_connections{listener=\"viewer\"}").await;
    assert!(open < 20.0, "{open} connections are open");
    drop(demo);
    assert_unharmed(&viewer.await.unwrap(), watched);
}

/// On one thread, which does not run while it connects: nobody is accepted.
#[tokio::test]
async fn a_crowd_that_comes_at_once_finds_room_before_every_door() {
    let rtsp = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let app = app_support::configured(&format!("rtsp: {{ listen: \"{rtsp}\" }}\n")).await;
    for door in [app.viewer_address(), app.admin_address(), rtsp] {
        let connect = |_| std::net::TcpStream::connect_timeout(&door, Duration::from_secs(1));
        let crowd: Vec<_> = (0..300).map_while(|n| connect(n).ok()).collect();
        assert_eq!(crowd.len(), 300, "at {door}");
    }
    app.stop().await;
}
