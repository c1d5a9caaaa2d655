//! The reader of one stream's frames: cuts all the time, or from a player's
//! first request until some time after the last one.
//!
//! It starts with all that the ring holds, so the first player of a camera
//! with key frames every two seconds finds a segment at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::segmenter::{Segmenter, Step};
use super::store::{State, Store};
use crate::bus::{Join, Seen, SourceState, Stream, Subscription};
use crate::http::Latency;

/// A playlist goes on for this long after the last request, so that a phone
/// out of the pocket finds its place again. Longer than any request is held
/// (`waiting`), and than the 38 s of the longest target duration, in which a
/// player that knows no parts asks once.
const KEPT: Duration = Duration::from_secs(60);

/// How often the gap of a source that is away is looked at. It grows by a
/// target duration of 2 s or more.
const GAP_STEP: Duration = Duration::from_millis(500);

/// Cuts one stream into what its players can fetch.
pub(super) struct Reader {
    always: bool,
    stream: Arc<Stream>,
    /// When a player asked last; changes with each request.
    asked: watch::Receiver<Option<Instant>>,
    segmenter: Segmenter,
    store: Store,
    steps: Vec<Step>,
    /// Stream time of the newest frame in nanoseconds, and when it came.
    newest: Option<(i64, Instant)>,
    state: watch::Sender<State>,
    /// Bytes held, for the metric.
    bytes: Arc<AtomicUsize>,
    latency: Latency,
}

/// Why a reader stopped cutting.
enum Stop {
    /// The stream has ended.
    Ended,
    /// Nobody asks any more.
    Unasked,
}

impl Reader {
    /// Of a stream that is cut `always`, or for players; by what it is cut, and where that
    /// is kept.
    pub(super) fn new(
        stream: &Arc<Stream>,
        always: bool,
        (segmenter, store): (Segmenter, Store),
        asked: watch::Receiver<Option<Instant>>,
        state: watch::Sender<State>,
        bytes: Arc<AtomicUsize>,
        latency: Latency,
    ) -> Self {
        Self {
            always,
            stream: Arc::clone(stream),
            asked,
            segmenter,
            store,
            steps: Vec::new(),
            newest: None,
            state,
            bytes,
            latency,
        }
    }

    /// Works until the stream ends.
    pub(super) async fn run(mut self) {
        loop {
            if !self.always && self.asked.wait_for(is_recent).await.is_err() {
                return;
            }
            // What a camera that is away has left behind is not live.
            let is_live = self.stream.status().state == SourceState::Live;
            let join = if is_live { Join::OldestKey } else { Join::NextKey };
            let frames = self.stream.subscribe("hls", join);
            match self.cut(frames).await {
                Stop::Ended => break,
                Stop::Unasked => self.forget(),
            }
        }
        self.segmenter.interrupt(&mut self.steps);
        self.store.end();
        self.publish();
        // Stays until the channel goes: what was listed can still be fetched.
        self.state.closed().await;
    }

    async fn cut(&mut self, mut frames: Subscription) -> Stop {
        let mut status = self.stream.watch_status();
        let unasked = unasked(self.asked.clone(), self.always);
        tokio::pin!(unasked);
        let mut is_away = false;
        loop {
            tokio::select! {
                // What came before the source went away goes before that.
                biased;
                seen = frames.next() => {
                    let Some(seen) = seen else { return Stop::Ended };
                    is_away = false;
                    let mut arrived = self.take(seen);
                    // All there is at once: a player that comes now must not
                    // be shown the ring's oldest pictures as the newest.
                    while let Some(seen) = frames.try_next() {
                        arrived = self.take(seen);
                    }
                    if self.publish_steps() && let Some(arrived) = arrived {
                        self.latency.gone_out(arrived);
                    }
                }
                // The publisher has gone with its stream; the frames end too.
                Ok(()) = status.changed() => {
                    let state = status.borrow_and_update().state;
                    is_away = matches!(state, SourceState::Connecting | SourceState::Down);
                    if is_away {
                        // Players have use for the last part before they run dry, and each
                        // attempt to connect again is a change too.
                        self.list_gap();
                    }
                    if state == SourceState::Idle {
                        // Nobody watches, and who comes in an hour must not be
                        // shown this hour's pictures as live.
                        self.forget();
                    }
                }
                () = sleep(GAP_STEP), if is_away => self.list_gap(),
                () = &mut unasked => return Stop::Unasked,
            }
        }
    }

    /// The source is away: players that wait are shown that time passes.
    fn list_gap(&mut self) {
        let Some((at, since)) = self.newest else { return };
        let passed = i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.segmenter.away(at.saturating_add(passed), &mut self.steps);
        self.publish_steps();
    }

    /// When what was taken arrived, if it is a frame.
    fn take(&mut self, seen: Seen) -> Option<std::time::Instant> {
        match seen {
            Seen::Frame(frame) => {
                self.newest = Some((frame.dts.nanos(), Instant::now()));
                self.segmenter.push(&frame, &mut self.steps);
                Some(frame.arrived)
            }
            Seen::Skipped(_) => {
                self.segmenter.interrupt(&mut self.steps);
                None
            }
        }
    }

    /// Drops all there is; numbers are not used again.
    fn forget(&mut self) {
        self.segmenter.forget();
        self.store.forget();
        self.steps.clear();
        self.newest = None;
        self.publish();
    }

    /// Whether there was something to publish.
    fn publish_steps(&mut self) -> bool {
        let has_steps = !self.steps.is_empty();
        if has_steps {
            self.publish();
        }
        has_steps
    }

    fn publish(&mut self) {
        self.store.watched = is_recent(&self.asked.borrow());
        for step in self.steps.drain(..) {
            self.store.apply(step);
        }
        self.bytes.store(self.store.bytes(), Ordering::Relaxed);
        self.state.send_replace(self.store.state());
    }
}

/// Whether players still count on what is cut.
fn is_recent(asked: &Option<Instant>) -> bool {
    asked.is_some_and(|asked| asked.elapsed() < KEPT)
}

/// Waits until no player has asked for [`KEPT`]; for ever where that does not
/// matter.
async fn unasked(asked: watch::Receiver<Option<Instant>>, always: bool) {
    if always {
        std::future::pending::<()>().await;
    }
    loop {
        let last = *asked.borrow();
        let Some(last) = last.filter(|_| is_recent(&last)) else { return };
        sleep_until(last + KEPT).await;
    }
}
