//! One stream as its players meet it: what they wait on, and that they are
//! there.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Config;
use super::disk::Shelf;
use super::metrics::Metrics;
use super::multivariant::Variant;
use super::reader::Reader;
use super::segmenter::Segmenter;
use super::snapshot::Snapshot;
use super::store::{State, Store};
use super::targets::Common;
use crate::bus::Stream;
use crate::http::SessionMetrics;
use crate::media::Quality;

/// A player asks at least once in a part or a segment; one that did not for
/// this long, or for one and a half target durations, has left.
const LINGER: Duration = Duration::from_secs(10);

/// Requests this close together count as one. A fraction of what a viewer's
/// leaving takes to be noticed.
const SAME_MOMENT: Duration = Duration::from_millis(20);

/// A stream as HLS. Dropping it ends the reader, and every held request.
pub(super) struct Channel {
    stream: Arc<Stream>,
    state: watch::Receiver<State>,
    bytes: Arc<AtomicUsize>,
    reader: AbortHandle,
    /// What both qualities promise.
    common: Common,
    /// When a player asked last.
    asked: watch::Sender<Option<Instant>>,
    /// Bytes sent to its players, once there are some.
    sent: OnceLock<IntCounter>,
    /// The stream's other quality.
    other: OnceLock<Weak<Channel>>,
    /// Whether players were told of both, and may change from one to the
    /// other; while there are some. Both channels have the same.
    paired: OnceLock<Arc<AtomicBool>>,
    /// What its multivariant playlist said of it last.
    variant: ArcSwapOption<Variant>,
    /// Until when players count as watching, while they do.
    watched_until: Arc<Mutex<Option<Instant>>>,
}

impl Channel {
    /// With `sub`, the substream of `stream`.
    pub(super) fn spawn(
        stream: &Arc<Stream>,
        sub: Option<&Arc<Self>>,
        config: &Config,
        shelf: Option<Shelf>,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let (sender, state) = watch::channel(State::Starting);
        let bytes = Arc::new(AtomicUsize::new(0));
        let (asked, asks) = watch::channel(None);
        let latency = metrics.latency.clone();
        let common = sub.map_or_else(Common::default, |sub| sub.common.clone());
        let segmenter = Segmenter::new(config.clone(), common.clone());
        let cut = (segmenter, Store::new(config, shelf));
        let held = Arc::clone(&bytes);
        let reader = Reader::new(stream, config.always, cut, asks, sender, held, latency);
        let channel = Arc::new(Self {
            stream: Arc::clone(stream),
            state,
            bytes,
            reader: tokio::spawn(reader.run()).abort_handle(),
            common,
            asked,
            sent: OnceLock::new(),
            other: OnceLock::new(),
            paired: OnceLock::new(),
            variant: ArcSwapOption::empty(),
            watched_until: Arc::default(),
        });
        if let Some(sub) = sub {
            Self::join(&channel, sub);
        }
        channel
    }

    /// What there is.
    pub(super) fn state(&self) -> watch::Ref<'_, State> {
        self.state.borrow()
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

    /// Makes the two the qualities of one stream.
    fn join(main: &Arc<Self>, sub: &Arc<Self>) {
        let paired = Arc::new(AtomicBool::new(false));
        for (one, other) in [(main, sub), (sub, main)] {
            // Once in a channel's life: a stream has the same substream for
            // all of its own.
            let _ = one.other.set(Arc::downgrade(other));
            let _ = one.paired.set(Arc::clone(&paired));
        }
    }

    /// The stream's other quality, if it has one.
    pub(super) fn other(&self) -> Option<Arc<Self>> {
        self.other.get()?.upgrade()
    }

    /// Players are told of both qualities: while one is watched, the other is
    /// cut too, so that a change takes no longer than a part.
    pub(super) fn pair(&self) {
        if let Some(paired) = self.paired.get() {
            paired.store(true, Ordering::Relaxed);
        }
        self.touch();
    }

    /// Players are told of this quality alone.
    pub(super) fn part(&self) {
        if let Some(paired) = self.paired.get() {
            paired.store(false, Ordering::Relaxed);
        }
    }

    /// The other quality, while players may change to it.
    pub(super) fn alternative(&self) -> Option<Arc<Self>> {
        let paired = self.paired.get().is_some_and(|paired| paired.load(Ordering::Relaxed));
        self.other().filter(|_| paired)
    }

    /// What a multivariant playlist says of the channel; while it is not cut,
    /// what was said last.
    pub(super) fn variant(&self, quality: Quality) -> Option<Arc<Variant>> {
        if let State::Live(snapshot) = &*self.state.borrow()
            && !snapshot.segments.is_empty()
        {
            self.variant.store(Some(Arc::new(Variant::of(snapshot, quality))));
        }
        self.variant.load_full()
    }

    /// Counts bytes of media as sent to a player.
    pub(super) fn count_sent(&self, sessions: &SessionMetrics, bytes: u64) {
        let counter = || sessions.of("hls").sent_bytes(self.stream.name());
        self.sent.get_or_init(counter).inc_by(bytes);
    }

    /// Notes a player's request: the stream is cut, and counts as watched, for
    /// a while; its other quality too, where the player may change to it.
    pub(super) fn touch(&self) {
        self.touch_alone();
        if let Some(other) = self.alternative() {
            other.touch_alone();
        }
    }

    /// A player that knows no parts asks once in a target duration.
    fn linger(&self) -> Duration {
        match &*self.state.borrow() {
            State::Live(snapshot) => LINGER.max(snapshot.targets.segment * 3 / 2),
            State::Starting | State::Unplayable(_) => LINGER,
        }
    }

    fn touch_alone(&self) {
        let now = Instant::now();
        // A thousand players ask in the same moment: one speaks for them.
        let asked = *self.asked.borrow();
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) < SAME_MOMENT) {
            return;
        }
        self.asked.send_replace(Some(now));
        let later = now + self.linger();
        let mut until = lock(&self.watched_until);
        if until.replace(later).is_none() {
            let interest = self.stream.watch();
            let until = Arc::clone(&self.watched_until);
            let paired = self.paired.get().cloned();
            tokio::spawn(async move {
                let mut wake = later;
                loop {
                    tokio::time::sleep_until(wake).await;
                    let mut until = lock(&until);
                    match *until {
                        Some(later) if later > Instant::now() => wake = later,
                        _ => {
                            *until = None;
                            if let Some(paired) = &paired {
                                paired.store(false, Ordering::Relaxed);
                            }
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

/// Waits until there is a playlist with so many segments, or never will be.
pub(super) async fn ready(state: &mut watch::Receiver<State>, segments: usize) -> Option<State> {
    let ready = |state: &State| match state {
        State::Starting => false,
        State::Unplayable(_) => true,
        State::Live(snapshot) => snapshot.segments.len() >= segments || snapshot.ended,
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
