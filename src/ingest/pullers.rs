//! The threads on which cameras are pulled.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::metrics::IngestMetrics;
use super::source::Source;
use super::supervisor::supervise;
use crate::bus::Publisher;
use crate::threads::Threads;

/// One thread for so many cores. It carries a thousand cameras of 2 Mbit/s.
/// Spread over all threads of the runtime, a hundred of them by UDP took 1.7
/// times the processor time, most of it to wake one another; and with frames
/// in the heap of whichever thread was free, twice the memory beside the rings.
const CORES_A_THREAD: usize = 4;

/// The threads; cameras end with it.
pub struct Pullers {
    threads: Threads,
    /// Cameras so far.
    cameras: AtomicUsize,
}

impl Pullers {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// When the system has no threads left.
    pub fn start() -> io::Result<Self> {
        let count = Threads::cores().div_ceil(CORES_A_THREAD);
        let threads = Threads::start("cameras", count)?;
        Ok(Self { threads, cameras: AtomicUsize::new(0) })
    }

    /// Their runtimes.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = tokio::runtime::Handle> {
        self.threads.all()
    }

    /// As [`supervise`], on one of them.
    pub fn supervise(
        &self,
        source: Source,
        publisher: Publisher,
        metrics: &IngestMetrics,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let _there = self.threads.get(self.cameras.fetch_add(1, Ordering::Relaxed)).enter();
        supervise(source, publisher, metrics, stop)
    }
}
