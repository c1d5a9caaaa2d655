//! Stills that cameras make themselves: each asked for once, however many want
//! it, and not too often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant as Moment, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Duration, Instant, sleep_until};

use super::once::Once;
use super::pictures::{Coded, Key, Original, no_picture};
use crate::fault::Fault;
use crate::media::{StreamName, WallTime};

/// How long a still, or the fault that came instead, is the newest: cameras
/// make them slowly, and some one at a time.
const LIFE: Duration = Duration::from_secs(1);

/// Asks a camera for a still of its own, in limited time.
pub type FetchStill = Arc<dyn Fn() -> BoxFuture<'static, Result<Bytes, Fault>> + Send + Sync>;

/// The stills of all streams that have some.
pub(super) struct Stills {
    kept: Arc<Once<StreamName, Result<Original, Fault>>>,
    turns: Mutex<HashMap<StreamName, Turn>>,
}

/// Asking once.
#[derive(Clone)]
struct Turn {
    number: u64,
    ended: Arc<OnceLock<Instant>>,
}

/// Ends a turn, also where it panicked.
struct Ending(Arc<OnceLock<Instant>>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _first = self.0.set(Instant::now());
    }
}

impl Stills {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { kept: Once::new(most_bytes), turns: Mutex::default() }
    }

    /// The newest still after `version`.
    ///
    /// # Errors
    ///
    /// The camera's fault.
    pub(super) async fn newer(
        &self,
        stream: &StreamName,
        version: u64,
        fetch: FetchStill,
    ) -> Result<Original, Fault> {
        loop {
            let turn = self.turn(stream);
            let ending = Ending(Arc::clone(&turn.ended));
            let key = Key { stream: stream.clone(), instance: 0, still: true };
            let (number, fetch) = (turn.number, Arc::clone(&fetch));
            let work = || async move {
                let _ending = ending;
                let file = fetch().await?;
                Ok(Original {
                    key,
                    version: number,
                    coded: Coded::Jpeg(file),
                    wall: WallTime::from(SystemTime::now()),
                    arrived: Moment::now(),
                })
            };
            let still = self.kept.get(stream.clone(), number, weigh, work).await;
            let still = still.ok_or_else(|| no_picture("asking the camera for it failed"))?;
            if number > version {
                return still;
            }
            if let Some(ended) = turn.ended.get() {
                sleep_until(*ended + LIFE).await;
            }
        }
    }

    pub(super) fn bytes(&self) -> (usize, usize) {
        self.kept.bytes()
    }

    /// The turn that is under way or not long over, else the next one.
    fn turn(&self, stream: &StreamName) -> Turn {
        // Poison does no harm: a turn is replaced whole.
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let last = turns.get(stream);
        let over = |turn: &&Turn| turn.ended.get().is_none_or(|ended| ended.elapsed() < LIFE);
        if let Some(turn) = last.filter(over) {
            return turn.clone();
        }
        let next = Turn { number: last.map_or(1, |last| last.number + 1), ended: Arc::default() };
        turns.insert(stream.clone(), next.clone());
        next
    }
}

fn weigh(still: &Result<Original, Fault>) -> usize {
    match still {
        Ok(Original { coded: Coded::Jpeg(file), .. }) => file.len().max(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::fault::Code;

    /// A camera that takes 300 ms for a still; its third one fails.
    fn camera() -> (FetchStill, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let fetch: FetchStill = Arc::new(move || {
            let nth = counted.fetch_add(1, Ordering::Relaxed) + 1;
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                if nth == 3 { Err(Code::SourceTimeout.into()) } else { Ok(Bytes::from("x")) }
            })
        });
        (fetch, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_camera_is_asked_once_a_second_whoever_wants_a_still() {
        let (stills, (fetch, asked)) = (Stills::new(1_000), camera());
        let yard: StreamName = "yard".parse().unwrap();
        let newer = |version| stills.newer(&yard, version, Arc::clone(&fetch));
        let all = futures_util::future::join_all((0..100).map(|_| newer(0))).await;
        assert!(all.iter().all(|still| still.as_ref().is_ok_and(|still| still.version == 1)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        // Who has it waits for the next one; its life begins when it is there.
        let begun = Instant::now();
        assert_eq!(newer(1).await.unwrap().version, 2);
        assert_eq!(begun.elapsed().as_millis() / 10, 130);
        // A fault is told to all, and no more often asked for.
        let begun = Instant::now();
        let fault = newer(2).await.err().unwrap();
        assert_eq!(fault.code, Code::SourceTimeout);
        assert_eq!(newer(2).await.err().unwrap(), fault);
        assert_eq!((asked.load(Ordering::Relaxed), begun.elapsed().as_millis() / 10), (3, 130));
    }
}
