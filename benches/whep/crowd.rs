//! A crowd that offers, is answered and never comes, beside slow clients, while
//! four viewers watch: they lose nothing, and its memory goes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::gateway::Gateway;
use crate::{Client, Failure, camera, round, usage};

const RATE: u64 = 200;
const VIEWERS: usize = 4;
const SLOW: usize = 200;
/// How long they have watched before memory is looked at first.
const WARM: Duration = Duration::from_secs(15);
/// So few offers bring what is made once: code that was never run, tables. Then
/// their sessions are given up (8 s), and what is free has gone back.
const HANDFUL: usize = 20;
const FORGOTTEN: Duration = Duration::from_secs(20);
/// When a crowd's memory should be back, and how much of what was there before
/// may be missing.
const BACK: u64 = 60;
const MOST_GROWTH: f64 = 0.05;

pub(crate) fn run(offers: usize) -> Result<(), Failure> {
    let camera = camera::start(camera::USUAL)?;
    let gateway = Gateway::start(&camera)?;
    let crowd = offers as u64 / RATE;
    let seconds = WARM.as_secs() + FORGOTTEN.as_secs() + crowd + crowd / 2 + BACK + 10;
    let mut viewers = Client::start(&gateway.url, VIEWERS, seconds)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = runtime.block_on(measure(&gateway, offers))?;
    if viewers.process.try_wait()?.is_some() {
        return Err("the crowd took longer than the viewers: this machine is too slow".into());
    }
    let seen = viewers.line()?;
    viewers.process.wait()?;
    report["lost_packets"] = seen["lost_packets"].clone();
    report["packets"] = seen["packets"].clone();
    println!("{report}");
    let grown = report["growth"].as_f64().is_none_or(|growth| growth > MOST_GROWTH);
    match (grown, seen["lost_packets"].as_u64()) {
        (false, Some(0)) => Ok(()),
        _ => Err("the promise is broken: nothing lost, memory back within 5 %".into()),
    }
}

async fn measure(gateway: &Gateway, offers: usize) -> Result<Value, Failure> {
    let memory = || Ok::<_, Failure>(usage::resident_bytes(gateway.pid())? / 1024);
    sleep(WARM).await;
    let with_viewers = memory()?;
    ask(&gateway.url, HANDFUL).await;
    sleep(FORGOTTEN).await;
    let before = memory()?;

    let host = gateway.url.split('/').nth(2).ok_or("no host")?.to_owned();
    let mut slow: JoinSet<()> = (0..SLOW).map(|n| be_slow(host.clone(), n % 4)).collect();
    let begun = Instant::now();
    let answers = ask(&gateway.url, offers).await;
    let (took, most) = (begun.elapsed(), memory()?);
    slow.shutdown().await;
    let end = Instant::now();
    let mut after = BTreeMap::new();
    for second in [10, 30, BACK] {
        sleep_until(end + Duration::from_secs(second)).await;
        after.insert(second, memory()?);
    }
    let growth = after[&BACK] as f64 / before as f64 - 1.0;
    Ok(json!({
        "offers": offers,
        "seconds": round(took.as_secs_f64()),
        "answers": answers,
        "kb_with_viewers": with_viewers,
        "kb_before": before,
        "kb_at_the_end": most,
        "kb_after_seconds": after,
        "growth": round(growth),
    }))
}

/// So many offers, [`RATE`] a second: their statuses, counted.
async fn ask(url: &str, offers: usize) -> BTreeMap<String, usize> {
    let statuses = Arc::new(Mutex::new(BTreeMap::new()));
    let mut asked = JoinSet::new();
    let mut ticks = interval(Duration::from_micros(1_000_000 / RATE));
    for _ in 0..offers {
        ticks.tick().await;
        let (url, statuses) = (url.to_owned(), Arc::clone(&statuses));
        asked.spawn(async move {
            let status = offer_once(&url).await.unwrap_or_else(|error| error.to_string());
            let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
            *statuses.entry(status).or_default() += 1;
        });
        while asked.try_join_next().is_some() {}
    }
    while asked.join_next().await.is_some() {}
    let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut statuses)
}

async fn offer_once(url: &str) -> std::io::Result<String> {
    let rest = url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let offer = offer();
    let mut stream = tokio::io::BufReader::new(TcpStream::connect(host).await?);
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n",
        offer.len()
    );
    stream.write_all((head + &offer).as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.split(' ').nth(1).unwrap_or("none").to_owned())
}

/// An offer as Chromium writes them, of a viewer like no other.
fn offer() -> String {
    let mut random = rand::rng();
    let mut word = |length: usize| -> String {
        (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
    };
    let (name, password) = (word(4), word(24));
    let print: Vec<String> = (0..32).map(|_| format!("{:02X}", random.random::<u8>())).collect();
    let [a, b, c]: [u8; 3] = random.random();
    let port: u16 = random.random_range(1024..=u16::MAX);
    let way = format!(
        "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=candidate:1 1 udp 2113937151 10.{a}.{b}.{c} {port} typ host generation 0 network-cost 999\r\n\
         a=ice-ufrag:{name}\r\na=ice-pwd:{password}\r\na=ice-options:trickle\r\n\
         a=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
        print.join(":")
    );
    let mut sdp = format!(
        "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8\r\n{way}a=mid:0\r\n{EXTENSIONS}\
         a=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
         a=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
         a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 106 107 108 109 127 125\r\n{way}\
         a=mid:1\r\n{EXTENSIONS}a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
        random.random::<u32>()
    );
    for (payload, again, mode, profile) in H264 {
        sdp += &format!("a=rtpmap:{payload} H264/90000\r\n");
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            sdp += &format!("a=rtcp-fb:{payload} {feedback}\r\n");
        }
        sdp += &format!(
            "a=fmtp:{payload} level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}\r\n\
             a=rtpmap:{again} rtx/90000\r\na=fmtp:{again} apt={payload}\r\n"
        );
    }
    sdp
}

const EXTENSIONS: &str = "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";

/// Payload types of H.264 and of what is sent again, packetization modes, profiles.
const H264: [(u8, u8, u8, &str); 5] = [
    (102, 103, 1, "42001f"),
    (104, 105, 0, "42001f"),
    (106, 107, 1, "42e01f"),
    (108, 109, 0, "42e01f"),
    (127, 125, 1, "4d001f"),
];

/// Holds one connection after the other for as long as it is let: says nothing,
/// sends headers or a body without end, or takes no answer.
async fn be_slow(host: String, kind: usize) {
    let (first, next): (String, &[u8]) = match kind {
        0 => (String::new(), b""),
        1 => ("GET / HTTP/1.1\r\nHost: x\r\n".into(), b"X-Slow: a\r\n"),
        2 => (
            "POST /camera-1/whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n\
             Content-Length: 60000\r\n\r\n"
                .into(),
            b"v",
        ),
        _ => ("GET /porthole.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50), b"\r\n"),
    };
    loop {
        let _ = be_slow_once(&host, first.as_bytes(), next, kind < 3).await;
        sleep(Duration::from_millis(200)).await;
    }
}

async fn be_slow_once(host: &str, first: &[u8], next: &[u8], reads: bool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(first).await?;
    let (mut sink, pause) = ([0; 4_096], Duration::from_millis(500));
    loop {
        match reads {
            true => match timeout(pause, stream.read(&mut sink)).await {
                Ok(Ok(1..)) | Err(_) => {}
                Ok(Ok(0)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
            },
            false => sleep(pause).await,
        }
        stream.write_all(next).await?;
    }
}
