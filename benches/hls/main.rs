//! What a crowd on HLS costs, against nginx that has the same bytes as files.
//!
//! ```text
//! cargo bench --bench hls                  1,000 players, 10 s each
//! cargo bench --bench hls -- 200 30        200 players, 30 s each
//! ```
//!
//! Each player has one connection (HTTP/1.1, kept alive), on which it asks for
//! the next playlist, which the gateway holds until there is one, and then for
//! the part that is new in it. nginx is asked for the same playlists and parts,
//! by as many players, as often, all at once as the gateway's answers come.
//! Printed is a line of JSON; what counts is `ratio`: requests per second of
//! CPU time, the gateway's (with its camera) by nginx's.

#[path = "../whep/camera.rs"]
#[allow(dead_code, reason = "`whep` looks at the pictures' age, too")]
mod camera;
#[path = "../whep/gateway.rs"]
mod gateway;
mod nginx;
mod player;
#[path = "../whep/usage.rs"]
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use gateway::Gateway;
use nginx::Nginx;
use player::{Connection, Counts, Heard};
use usage::{Usage, resident_bytes};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Requests per CPU second may be so much fewer than nginx's.
const PROMISED: f64 = 0.7;

/// From the first player to the measurement.
const SETTLE: Duration = Duration::from_secs(4);

fn main() -> Result<ExitCode, Failure> {
    // Cargo appends `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |at: usize, usual| words.get(at).map_or(Ok(usual), |word| word.parse());
    let (players, seconds) = (number(0, 1_000)?, number(1, 10)?);
    // Outside: it has a runtime of its own.
    let camera = camera::start(camera::USUAL).map_err(|error| error.to_string())?;
    let gateway = Gateway::start(&camera).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ratio = runtime.block_on(run(gateway, players as usize, Duration::from_secs(seconds)))?;
    Ok(if ratio >= PROMISED { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(gateway: Gateway, players: usize, length: Duration) -> Result<f64, Failure> {
    let url = gateway.url.strip_prefix("http://").ok_or("not HTTP")?;
    let (address, _) = url.split_once('/').ok_or("no path")?;

    // One looks before the crowd comes, so that all come to a whole window.
    let mut first = Connection::open(address).await?;
    first.get("/camera-1/index.m3u8").await?;
    let counts = Counts::default();
    let mut crowd = JoinSet::new();
    let heard = Heard::default();
    for number in 0..players {
        let connection = Connection::open(address).await?;
        let heard = (number == 0).then(|| heard.clone());
        crowd.spawn(player::follow(connection, counts.clone(), heard));
    }
    let ours = measure(gateway.pid(), &counts, length, &mut crowd).await?;
    let memory = resident_bytes(gateway.pid()).map_err(|error| error.to_string())?;
    drop((crowd, gateway));

    let heard = heard.take();
    let nginx = Nginx::start(&heard)?;
    let (counts, mut crowd) = (Counts::default(), JoinSet::new());
    let (tick, ticks) = tokio::sync::watch::channel(0_usize);
    for _ in 0..players {
        let connection = Connection::open(&nginx.address).await?;
        crowd.spawn(player::repeat(connection, counts.clone(), ticks.clone(), heard.len()));
    }
    drop(ticks);
    let ticker = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(heard.interval());
        loop {
            ticks.tick().await;
            tick.send_modify(|number| *number += 1);
        }
    });
    let theirs = measure(nginx.pid(), &counts, length, &mut crowd).await?;
    ticker.abort();

    let ratio = ours.requests_a_cpu_second() / theirs.requests_a_cpu_second();
    let line = json!({
        "players": players,
        "gateway": ours.json(),
        "gateway_mb": memory >> 20,
        "nginx": theirs.json(),
        "ratio": (ratio * 100.0).round() / 100.0,
    });
    println!("{line}");
    Ok(ratio)
}

/// What a server did in a while.
struct Measured {
    requests: u64,
    bytes: u64,
    cpu: Duration,
    seconds: f64,
}

impl Measured {
    fn requests_a_cpu_second(&self) -> f64 {
        self.requests as f64 / self.cpu.as_secs_f64()
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "requests_a_second": (self.requests as f64 / self.seconds).round(),
            "bytes_a_request": self.bytes / self.requests.max(1),
            "cpu_percent": (self.cpu.as_secs_f64() / self.seconds * 1_000.0).round() / 10.0,
            "requests_a_cpu_second": self.requests_a_cpu_second().round(),
        })
    }
}

async fn measure(
    pid: u32,
    counts: &Counts,
    length: Duration,
    crowd: &mut JoinSet<Result<(), Failure>>,
) -> Result<Measured, Failure> {
    let usage = || Usage::of(pid).map_err(|error| error.to_string());
    sleep(SETTLE).await;
    let (begin, before) = (usage()?, counts.now());
    sleep(length).await;
    let (end, after) = (usage()?, counts.now());
    // None of them ends by itself.
    if let Some(ended) = crowd.try_join_next() {
        return Err(ended?.err().unwrap_or_else(|| "a player has ended".into()));
    }
    let (cpu, seconds) = end.since(&begin);
    Ok(Measured { requests: after.0 - before.0, bytes: after.1 - before.1, cpu, seconds })
}
