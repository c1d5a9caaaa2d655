//! What happens on a connection, and when nothing has for too long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};

use super::sent::Sent;

/// A request's headers must be here this long after its connection, or the
/// request before it; a browser takes milliseconds. `axum::serve` waits for
/// ever, so that a slow sender holds a connection for nothing.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may go on with nothing happening.
pub(super) struct Patience {
    /// With requests under way, or bytes that its client has not taken.
    pub(super) stuck: Duration,
    /// With requests under way that all wait for their client to take what is
    /// ready.
    pub(super) untaken: Duration,
    /// After its requests.
    pub(super) idle: Duration,
}

/// What happens on a connection. One clock that is looked at when it may be
/// time, rather than one set anew with each request.
pub(super) struct Activity {
    begun: Instant,
    /// Milliseconds from `begun` to the latest sign of life.
    latest: AtomicU64,
    under_way: AtomicUsize,
    /// Those of which a piece could go out if their client took it.
    untaken: AtomicUsize,
    served: AtomicBool,
    /// A write waits for the client.
    waiting: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            latest: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            untaken: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
        }
    }

    /// A write waits for the client to take bytes, or does no more.
    pub(super) fn waits(&self, waits: bool) {
        self.sign();
        self.waiting.store(waits, Ordering::Relaxed);
    }

    fn sign(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.latest.store(now, Ordering::Relaxed);
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.sign();
        self.served.store(true, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Returns once nothing has happened for too long.
    pub(super) async fn over(&self, patience: &Patience) {
        loop {
            let under_way = self.under_way.load(Ordering::Relaxed);
            let limit = if under_way > 0 && self.untaken.load(Ordering::Relaxed) == under_way {
                patience.untaken
            } else if under_way > 0 || self.waiting.load(Ordering::Relaxed) {
                patience.stuck
            } else if self.served.load(Ordering::Relaxed) {
                patience.idle
            } else {
                HEADER_LIMIT
            };
            let latest = Duration::from_millis(self.latest.load(Ordering::Relaxed));
            let left = latest.saturating_add(limit).saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return;
            }
            // What begins meanwhile may shorten the limit, by a little.
            sleep(left.min(HEADER_LIMIT)).await;
        }
    }
}

/// A request, until its response has been sent.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.sign();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body, each piece of it a sign of life.
pub(super) struct Watched {
    body: Sent,
    under_way: UnderWay,
    /// Nobody has asked for the next piece, which hyper does as soon as the
    /// client's window is open. `None` where there are no windows.
    untaken: Option<bool>,
}

impl Watched {
    /// For HTTP/1: from the response to the end of its body.
    pub(super) fn until_sent(body: Sent, under_way: UnderWay) -> Self {
        Self { body, under_way, untaken: None }
    }

    /// For HTTP/2.
    pub(super) fn new(body: Sent, under_way: UnderWay) -> Self {
        let mut watched = Self { body, under_way, untaken: Some(false) };
        watched.is_untaken(true);
        watched
    }

    fn is_untaken(&mut self, untaken: bool) {
        if self.untaken.is_none_or(|was| was == untaken) {
            return;
        }
        self.untaken = Some(untaken);
        let activity = &self.under_way.0;
        activity.sign();
        if untaken {
            activity.untaken.fetch_add(1, Ordering::Relaxed);
        } else {
            activity.untaken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_untaken(false);
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_untaken(false);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.is_untaken(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Patience = Patience {
        stuck: Duration::from_secs(120),
        untaken: Duration::from_secs(10),
        idle: Duration::from_secs(60),
    };

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_when_nothing_happens_and_not_before() {
        let activity = Arc::new(Activity::new());
        activity.over(&PATIENCE).await;
        assert_eq!(activity.begun.elapsed(), HEADER_LIMIT, "no request at all");

        let activity = Arc::new(Activity::new());
        let request = activity.begin();
        let ends = tokio::spawn({
            let activity = Arc::clone(&activity);
            async move { activity.over(&PATIENCE).await }
        });
        sleep(PATIENCE.stuck - HEADER_LIMIT).await;
        assert!(!ends.is_finished(), "a blocking reload may wait");
        let mut body = Watched::new(Bytes::from("a").into(), request);
        sleep(PATIENCE.untaken - HEADER_LIMIT).await;
        assert!(!ends.is_finished(), "a client may take a moment to take it");
        let piece = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(piece.is_some());
        sleep(PATIENCE.untaken - HEADER_LIMIT).await;
        assert!(!ends.is_finished(), "it took a piece");
        drop(body);
        sleep(PATIENCE.idle - HEADER_LIMIT).await;
        assert!(!ends.is_finished(), "a page that is open may rest");
        sleep(HEADER_LIMIT * 3).await;
        assert!(ends.is_finished());

        let activity = Arc::new(Activity::new());
        let [one, other] = [activity.begin(), activity.begin()];
        let (_untaken, held) = (Watched::new(Bytes::from("a").into(), one), other);
        assert!(
            timeout(PATIENCE.untaken * 3, activity.over(&PATIENCE)).await.is_err(),
            "one waits for us"
        );
        let _untaken_too = Watched::new(Bytes::from("b").into(), held);
        let begun = Instant::now();
        activity.over(&PATIENCE).await;
        assert_eq!(begun.elapsed(), PATIENCE.untaken, "no window is opened");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_bytes_slowly_has_its_time_once_it_has_them() {
        let forever = Duration::MAX;
        let patience = Patience { stuck: forever, untaken: forever, idle: HEADER_LIMIT };
        let activity = Arc::new(Activity::new());
        drop(activity.begin());
        activity.waits(true);
        let takes = async {
            sleep(HEADER_LIMIT * 9 / 2).await;
            activity.waits(false);
        };
        tokio::join!(takes, activity.over(&patience));
        assert_eq!(activity.begun.elapsed(), HEADER_LIMIT * 11 / 2);
    }
}
