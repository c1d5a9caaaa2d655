//! What the kernel has booked on a process.

use std::fs;
use std::time::{Duration, Instant};

use crate::Failure;

pub(crate) struct Usage {
    cpu: Duration,
    at: Instant,
}

impl Usage {
    /// CPU time of a process's threads so far, from the scheduler, which counts
    /// nanoseconds where `utime` and `stime` count hundredths of a second.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Self { cpu: Duration::from_nanos(nanos), at: Instant::now() })
    }

    /// CPU time, and seconds, since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> (Duration, f64) {
        (self.cpu.saturating_sub(begin.cpu), (self.at - begin.at).as_secs_f64())
    }
}

/// Memory a process has in RAM.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = kilobytes.and_then(|text| text.split_whitespace().next());
    Ok(kilobytes.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}
