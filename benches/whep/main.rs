//! What a WHEP viewer costs, against the least it could cost.
//!
//! ```text
//! cargo bench --bench whep                           gateway and floor, 50, 100 and 200 viewers
//! cargo bench --bench whep -- run 30 50,1000         the same, 30 s each, for those numbers
//! cargo bench --bench whep -- run 30 50,1000 200     and with a camera of 200 kbit/s
//! cargo bench --bench whep -- crowd                  10,000 bogus offers and slow clients beside four viewers
//! cargo bench --bench whep -- load URL 100 10        the load client alone, on any WHEP URL
//! ```
//!
//! Everything is printed as JSON, one object a line. `run` starts the release
//! binary with a camera of 2 Mbit/s and prints, for each number of viewers:
//!
//! - `gateway_ms`: CPU time of the gateway per viewer and second, its camera
//!   included; `floor_ms`: of a program that seals the same bytes with
//!   AES-128-GCM, sends them to as many sockets in batches, and does nothing
//!   else, half of the time before the gateway and half of it after; `ratio`:
//!   the one by the other.
//! - `kb_per_viewer`: resident memory above that of a gateway with one viewer.
//! - `latency_ms`: from the camera's picture to its first packet at a viewer
//!   that has decrypted it. The camera and the viewers are part of it, and on a
//!   machine with few cores so is waiting for one of them.
//!
//! CPU time on loopback contains the receiving side's share of the kernel, in
//! the floor as in the gateway.

mod camera;
mod crowd;
mod floor;
mod gateway;
mod load;
mod usage;
mod viewer;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use usage::Usage;

pub(crate) type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo appends `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["load", url, viewers, seconds] => load::run(url, viewers.parse()?, seconds.parse()?),
        ["floor", seconds, kbit, ref ports @ ..] => {
            floor::run(seconds.parse()?, kbit.parse()?, ports)
        }
        ["camera", seconds] => {
            let camera = camera::start(camera::USUAL)?;
            println!("{}", camera.url);
            std::thread::sleep(std::time::Duration::from_secs(seconds.parse()?));
            Ok(())
        }
        ["run", seconds, viewers, ref kbit @ ..] if kbit.len() < 2 => {
            let viewers: Result<Vec<usize>, _> = viewers.split(',').map(str::parse).collect();
            let kbit = kbit.first().map_or(Ok(camera::USUAL), |kbit| kbit.parse())?;
            run(seconds.parse()?, &viewers?, kbit)
        }
        ["crowd"] => crowd::run(10_000),
        ["crowd", offers] => crowd::run(offers.parse()?),
        [] => run(10, &[50, 100, 200], camera::USUAL),
        _ => {
            Err("usage: [run SECONDS N,N,… [KBIT]] | [crowd [OFFERS]] | [load URL N SECONDS]"
                .into())
        }
    }
}

fn run(seconds: u64, numbers: &[usize], kbit: usize) -> Result<(), Failure> {
    let camera = camera::start(kbit)?;
    let half = seconds.div_ceil(2);
    for &viewers in numbers {
        let floor_before = floor::measure(viewers, half, kbit)?;
        let gateway = gateway::Gateway::start(&camera)?;
        let pid = gateway.pid();
        load(&gateway.url, 1, 1, pid)?;
        let empty = usage::resident_bytes(pid)?;
        let loaded = load(&gateway.url, viewers, seconds, pid)?;
        drop(gateway);
        // Before and after: other work on the machine makes both dearer.
        let floor = f64::midpoint(floor_before, floor::measure(viewers, half, kbit)?);
        let per_viewer_ms = loaded.cpu.as_secs_f64() * 1e3 / viewers as f64 / loaded.seconds;
        println!(
            "{}",
            json!({
                "viewers": viewers,
                "gateway_ms": round(per_viewer_ms),
                "floor_ms": round(floor),
                "ratio": round(per_viewer_ms / floor),
                "kb_per_viewer": loaded.memory.saturating_sub(empty) / 1024 / viewers as u64,
                "latency_ms": loaded.report["latency_ms"],
                "mbit_per_viewer": loaded.report["mbit_per_viewer"],
                "lost_packets": loaded.report["lost_packets"],
                "setup_ms": loaded.report["setup_ms"],
                "load_client_ms": loaded.report["client_ms"],
            })
        );
    }
    Ok(())
}

struct Loaded {
    cpu: std::time::Duration,
    /// Length of the measurement.
    seconds: f64,
    memory: u64,
    report: Value,
}

/// Runs the load client beside the gateway `pid` and measures that one.
fn load(url: &str, viewers: usize, seconds: u64, pid: u32) -> Result<Loaded, Failure> {
    let mut client = Client::start(url, viewers, seconds)?;
    let begin = Usage::of(pid)?;
    let report = client.line()?;
    let (cpu, seconds) = Usage::of(pid)?.since(&begin);
    let memory = usage::resident_bytes(pid)?;
    client.process.wait()?;
    Ok(Loaded { cpu, seconds, memory, report })
}

/// The load client, a process of its own.
pub(crate) struct Client {
    pub(crate) process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Returns once its viewers are connected.
    pub(crate) fn start(url: &str, viewers: usize, seconds: u64) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["load", url, &viewers.to_string(), &seconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let mut client = Self { process, lines };
        client.line()?;
        Ok(client)
    }

    /// What it tells next, which at last is its report.
    pub(crate) fn line(&mut self) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.lines.next().ok_or("the load client has failed")??)?)
    }
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
