//! So many viewers of one WHEP URL. Prints a line when all have a picture, and
//! the figures when the time is over.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::usage::Usage;
use crate::viewer::{Seen, Viewer};
use crate::{Failure, round};

/// Handshakes at once.
const CONNECTING: usize = 8;

/// Between the last viewer's first picture and the measurement.
const SETTLE: Duration = Duration::from_secs(2);

/// Every so many viewers look at the pictures' age.
const LOOKS: usize = 10;

pub(crate) fn run(url: &str, viewers: usize, seconds: u64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let connecting = std::rc::Rc::new(Semaphore::new(CONNECTING));
        let (begin, begins) = watch::channel(None::<Instant>);
        let (done, mut connected) = tokio::sync::mpsc::unbounded_channel();
        let mut running = Vec::new();
        for number in 0..viewers {
            let (url, connecting) = (url.to_owned(), std::rc::Rc::clone(&connecting));
            let (done, mut begins) = (done.clone(), begins.clone());
            running.push(tokio::task::spawn_local(async move {
                let place = connecting.acquire().await.expect("never closed");
                let asked = Instant::now();
                let viewer = Viewer::connect(&url, number % LOOKS == 0).await;
                drop(place);
                let _ = done.send(match &viewer {
                    Ok(_) => Ok(asked.elapsed()),
                    Err(error) => Err(error.to_string()),
                });
                let mut viewer = viewer.map_err(|error| error.to_string())?;
                let failed = |error: Failure| error.to_string();
                let begin = loop {
                    if let Some(begin) = *begins.borrow_and_update() {
                        break begin;
                    }
                    let soon = Instant::now() + Duration::from_millis(200);
                    viewer.watch(soon).await.map_err(failed)?;
                };
                viewer.watch(begin).await.map_err(failed)?;
                viewer.reset();
                viewer.watch(begin + Duration::from_secs(seconds)).await.map_err(failed)?;
                Ok::<Seen, String>(viewer.seen)
            }));
        }
        drop(done);
        let mut setups = Vec::new();
        while let Some(setup) = connected.recv().await {
            setups.push(setup?);
            if setups.len() == viewers {
                break;
            }
        }
        let at = Instant::now() + SETTLE;
        begin.send(Some(at))?;
        tokio::time::sleep_until(at.into()).await;
        let before = Usage::of(std::process::id())?;
        println!("{}", json!({ "connected": setups.len() }));
        let mut seen = Vec::new();
        for task in running {
            seen.push(task.await??);
        }
        let (cpu, elapsed) = Usage::of(std::process::id())?.since(&before);
        let bytes: u64 = seen.iter().map(|seen| seen.bytes).sum();
        let mut latencies: Vec<Duration> =
            seen.iter().flat_map(|seen| seen.latencies.iter().copied()).collect();
        println!(
            "{}",
            json!({
                "viewers": viewers,
                "seconds": round(elapsed),
                "mbit_per_viewer": round(bytes as f64 * 8e-6 / viewers as f64 / elapsed),
                "packets": seen.iter().map(|seen| seen.packets).sum::<u64>(),
                "lost_packets": seen.iter().map(Seen::lost).sum::<u64>(),
                "latency_ms": percentiles(&mut latencies),
                "setup_ms": percentiles(&mut setups),
                "client_ms": round(cpu.as_secs_f64() * 1e3 / viewers as f64 / elapsed),
            })
        );
        Ok(())
    })
}

fn percentiles(values: &mut [Duration]) -> serde_json::Value {
    values.sort_unstable();
    let at = |share: usize| {
        let place = (values.len() * share / 100).min(values.len().saturating_sub(1));
        values.get(place).map(|value| round(value.as_secs_f64() * 1e3))
    };
    json!({ "p50": at(50), "p99": at(99), "max": at(100) })
}
