//! Threads that do one thing alone, so that what else the gateway does cannot
//! hold it up: media to viewers, pictures from cameras. A leaf.
//!
//! A task stays on its thread: nothing is stolen, nobody is woken to look.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long tasks may go on when their thread is told to stop: a goodbye takes
/// no longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The threads; dropping it ends them.
pub(crate) struct Threads {
    threads: Vec<Thread>,
}

struct Thread {
    runtime: Handle,
    /// Dropped, it stops the thread.
    _stop: oneshot::Sender<()>,
}

impl Threads {
    /// So many, called `name`-0 and so on.
    pub(crate) fn start(name: &str, count: usize) -> io::Result<Self> {
        let start = |number| Thread::start(format!("{name}-{number}"));
        let threads: io::Result<_> = (0..count).map(start).collect();
        Ok(Self { threads: threads? })
    }

    /// How many cores this process may use.
    pub(crate) fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    pub(crate) fn len(&self) -> usize {
        self.threads.len()
    }

    /// A thread's runtime; any number will do.
    pub(crate) fn get(&self, number: usize) -> &Handle {
        &self.threads[number % self.threads.len()].runtime
    }

    /// Those of all threads.
    pub(crate) fn all(&self) -> impl Iterator<Item = Handle> {
        self.threads.iter().map(|thread| thread.runtime.clone())
    }

    /// Tasks of all threads.
    pub(crate) fn tasks(&self) -> usize {
        self.threads.iter().map(|thread| thread.runtime.metrics().num_alive_tasks()).sum()
    }
}

impl Thread {
    fn start(name: String) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::channel();
        std::thread::Builder::new().name(name).spawn(move || {
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
