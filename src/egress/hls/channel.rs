//! One stream's reader, and what its players wait on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Config;
use super::segmenter::Segmenter;
use super::store::{Snapshot, State, Store};
use crate::bus::{Join, Seen, SourceState, SourceStatus, Stream, Subscription};

/// A player asks at least once in a part or a segment; one that did not for
/// this long has left.
const LINGER: Duration = Duration::from_secs(10);

/// A stream as HLS. Dropping it ends the reader, and every held request.
pub(super) struct Channel {
    stream: Arc<Stream>,
    state: watch::Receiver<State>,
    bytes: Arc<AtomicUsize>,
    reader: AbortHandle,
    /// Until when players count as watching, while they do.
    watched_until: Arc<Mutex<Option<Instant>>>,
}

impl Channel {
    pub(super) fn spawn(stream: &Arc<Stream>, config: Config) -> Arc<Self> {
        let (sender, state) = watch::channel(State::Starting);
        let bytes = Arc::new(AtomicUsize::new(0));
        let subscription = stream.subscribe("hls", Join::NewestKey);
        let status = stream.watch_status();
        let reader = tokio::spawn(read(subscription, status, config, sender, Arc::clone(&bytes)));
        Arc::new(Self {
            stream: Arc::clone(stream),
            state,
            bytes,
            reader: reader.abort_handle(),
            watched_until: Arc::default(),
        })
    }

    /// What there is, to wait for more.
    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes a player's request: the stream counts as watched for a while.
    pub(super) fn touch(&self) {
        let later = Instant::now() + LINGER;
        let mut until = lock(&self.watched_until);
        if until.replace(later).is_none() {
            let interest = self.stream.watch();
            let until = Arc::clone(&self.watched_until);
            tokio::spawn(async move {
                let mut wake = later;
                loop {
                    tokio::time::sleep_until(wake).await;
                    let mut until = lock(&until);
                    match *until {
                        Some(later) if later > Instant::now() => wake = later,
                        _ => {
                            *until = None;
                            // While locked, so that a player coming now
                            // counts anew.
                            drop(interest);
                            return;
                        }
                    }
                }
            });
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Poison does no harm: the value is a single word.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts the stream until it ends.
async fn read(
    mut frames: Subscription,
    mut status: watch::Receiver<SourceStatus>,
    config: Config,
    state: watch::Sender<State>,
    bytes: Arc<AtomicUsize>,
) {
    let mut segmenter = Segmenter::new(config);
    let mut store = Store::new(&config);
    let mut steps = Vec::new();
    let publish = |store: &mut Store, steps: &mut Vec<_>| {
        for step in steps.drain(..) {
            store.apply(step);
        }
        bytes.store(store.bytes(), Ordering::Relaxed);
        state.send_replace(store.state());
    };
    loop {
        tokio::select! {
            // What came before the source went idle goes with the rest.
            biased;
            seen = frames.next() => {
                match seen {
                    Some(Seen::Frame(frame)) => segmenter.push(&frame, &mut steps),
                    Some(Seen::Skipped(_)) => segmenter.interrupt(&mut steps),
                    None => break,
                }
                if !steps.is_empty() {
                    publish(&mut store, &mut steps);
                }
            }
            // Nobody watches, and who comes in an hour must not be shown
            // this hour's pictures as live.
            () = goes_idle(&mut status) => {
                segmenter.forget();
                store.forget();
                publish(&mut store, &mut steps);
            }
        }
    }
    segmenter.interrupt(&mut steps);
    store.end();
    publish(&mut store, &mut steps);
    // Stays until the channel goes: what was listed can still be fetched.
    state.closed().await;
}

/// Waits until the source has gone idle. Cancel safe.
async fn goes_idle(status: &mut watch::Receiver<SourceStatus>) {
    while status.changed().await.is_ok() {
        if status.borrow_and_update().state == SourceState::Idle {
            return;
        }
    }
    std::future::pending().await
}

/// Waits until there is a playlist that any player accepts, or never will be.
pub(super) async fn ready(state: &mut watch::Receiver<State>) -> Option<State> {
    let ready = |state: &State| match state {
        State::Starting => false,
        State::Unplayable(_) => true,
        // A player that knows no parts wants a segment.
        State::Live(snapshot) => !snapshot.segments.is_empty() || snapshot.ended,
    };
    state.wait_for(ready).await.ok().map(|state| state.clone())
}

/// Waits until `enough` holds of the playlist, or it has ended. `None` when
/// there is none, or no more.
pub(super) async fn wait_for(
    state: &mut watch::Receiver<State>,
    enough: impl Fn(&Snapshot) -> bool,
) -> Option<Arc<Snapshot>> {
    let state = state.wait_for(|state| match state {
        State::Live(snapshot) => snapshot.ended || enough(snapshot),
        State::Starting | State::Unplayable(_) => true,
    });
    match &*state.await.ok()? {
        State::Live(snapshot) => Some(Arc::clone(snapshot)),
        State::Starting | State::Unplayable(_) => None,
    }
}
