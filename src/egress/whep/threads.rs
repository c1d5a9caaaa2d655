//! Threads that do nothing but media: one for each core. The runtime that
//! serves requests and cameras may be busy; these are not.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long tasks may go on when their thread is told to stop: a goodbye takes
/// no longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The threads; dropping it ends them.
pub(super) struct Threads {
    threads: Vec<Thread>,
}

struct Thread {
    runtime: Handle,
    /// Dropped, it stops the thread.
    _stop: oneshot::Sender<()>,
}

impl Threads {
    /// One for each core this process may use.
    pub(super) fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: io::Result<_> = (0..cores).map(Thread::start).collect();
        Ok(Self { threads: threads? })
    }

    pub(super) fn len(&self) -> usize {
        self.threads.len()
    }

    /// A thread's runtime; any number will do.
    pub(super) fn get(&self, number: usize) -> &Handle {
        &self.threads[number % self.threads.len()].runtime
    }

    /// Tasks of all threads.
    pub(super) fn tasks(&self) -> usize {
        self.threads.iter().map(|thread| thread.runtime.metrics().num_alive_tasks()).sum()
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::channel();
        std::thread::Builder::new().name(format!("media-{number}")).spawn(move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(runtime.handle().clone()));
            runtime.block_on(async {
                let _ = stopped.await;
                let alone = async {
                    while Handle::current().metrics().num_alive_tasks() > 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                let _ = tokio::time::timeout(LAST_WORDS, alone).await;
            });
        })?;
        let runtime = started.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, _stop: stop })
    }
}
