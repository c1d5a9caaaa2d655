//! One stream: its ring, its status, and how many care.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::ring::{Limits, Ring, Slot, Writer};
use super::subscription::{Join, Subscription};
use super::{BusMetrics, SourceStatus};
use crate::fault::{Code, Fault};
use crate::media::reorder::Order;
use crate::media::{Draft, Frame, FrameKind, Quality, StreamName, Tracks};

/// An encoder that reorders does so from the third picture on, unless it sees
/// no use in it for a while.
const ENOUGH_PICTURES: usize = 5;

/// What readers and pages know of a stream.
pub struct Stream {
    name: StreamName,
    instance: u64,
    substream: Option<Arc<Stream>>,
    ring: Arc<Ring>,
    limits: Limits,
    published: watch::Receiver<u64>,
    tracks: ArcSwapOption<Tracks>,
    status: watch::Sender<SourceStatus>,
    interest: watch::Sender<usize>,
    metrics: BusMetrics,
}

/// The one writer of a stream. Dropping it ends the stream for its readers.
pub struct Publisher {
    stream: Arc<Stream>,
    writer: Writer,
    published: watch::Sender<u64>,
}

impl Stream {
    /// A stream and its one publisher.
    pub fn new(
        name: StreamName,
        limits: Limits,
        status: SourceStatus,
        metrics: BusMetrics,
    ) -> (Arc<Self>, Publisher) {
        Self::with_substream(name, limits, status, metrics, None)
    }

    /// A stream with the same scene in fewer pixels beside it: a stream of its
    /// own, called [`StreamName::sub`], with its own ring, source and status.
    pub fn with_substream(
        name: StreamName,
        limits: Limits,
        status: SourceStatus,
        metrics: BusMetrics,
        substream: Option<Arc<Self>>,
    ) -> (Arc<Self>, Publisher) {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        let (sender, receiver) = watch::channel(0);
        let stream = Arc::new(Self {
            name,
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            substream,
            ring: Arc::new(Ring::new()),
            limits,
            published: receiver,
            tracks: ArcSwapOption::empty(),
            status: watch::Sender::new(status),
            interest: watch::Sender::new(0),
            metrics,
        });
        let publisher = Publisher {
            stream: Arc::clone(&stream),
            writer: Writer::new(limits),
            published: sender,
        };
        (stream, publisher)
    }

    /// What viewers call it; a substream's tells whose it is.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// A number that no other stream has, not even one that had its name before:
    /// those count their frames anew.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// The same scene in fewer pixels, if the camera offers it.
    pub fn substream(&self) -> Option<&Arc<Self>> {
        self.substream.as_ref()
    }

    /// The quality a viewer asks for by its word; `None` is the main one, and so
    /// is `auto`, with which an output that can may change to the other.
    ///
    /// # Errors
    ///
    /// A word that is no quality, and a quality that the stream does not
    /// have: what a viewer asked for is never quietly replaced.
    pub fn of_quality(self: &Arc<Self>, asked: Option<&str>) -> Result<Arc<Self>, Fault> {
        let main = Quality::Main.as_str();
        match asked {
            None | Some("auto") => Ok(Arc::clone(self)),
            Some(word) if word == main => Ok(Arc::clone(self)),
            Some(word) if word == Quality::Sub.as_str() => {
                let detail =
                    || format!("{} has no substream; its only quality is `main`", self.name);
                self.substream.clone().ok_or_else(|| Fault::new(Code::StreamUnknown, detail()))
            }
            Some(word) => {
                let word: String = word.chars().take(20).collect();
                let detail = format!("`{word}` is no quality: ask for `auto`, `main` or `sub`");
                Err(Fault::new(Code::StreamUnknown, detail))
            }
        }
    }

    /// A reader for `output` (the metric label: `whep`, `hls`, …).
    pub fn subscribe(&self, output: &'static str, join: Join) -> Subscription {
        Subscription::new(
            Arc::clone(&self.ring),
            self.published.clone(),
            join,
            self.metrics.meters(output),
        )
    }

    /// The newest frame's tracks; `None` before the first frame.
    pub fn tracks(&self) -> Option<Arc<Tracks>> {
        self.tracks.load_full()
    }

    /// Whether a reader that joins at [`Join::NewestKey`] finds something to
    /// start at. A ring whose key frame had to go for its limits has nothing,
    /// until the camera sends the next one.
    pub fn can_start(&self) -> bool {
        self.ring.newest_entry().is_some()
    }

    /// The frame that a reader which joins at [`Join::NewestKey`] starts at: for
    /// those who want it alone.
    pub fn newest_entry(&self) -> Option<Arc<Frame>> {
        match self.ring.get(self.ring.newest_entry()?) {
            Slot::Frame(frame) => Some(frame),
            Slot::Future | Slot::Gone => None,
        }
    }

    /// Whether the newest group of pictures has B-frames; `None` while it has
    /// too few pictures to tell.
    pub fn has_b_frames(&self) -> Option<bool> {
        let mut at = self.ring.newest_entry()?;
        let (mut order, mut pictures) = (Order::default(), 0);
        while let Slot::Frame(frame) = self.ring.get(at) {
            if order.is_surprise(&frame) {
                return Some(true);
            }
            pictures += usize::from(frame.kind != FrameKind::Audio);
            at += 1;
        }
        (pictures >= ENOUGH_PICTURES).then_some(false)
    }

    /// What the source is doing now.
    pub fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// The same, to wait for changes.
    pub fn watch_status(&self) -> watch::Receiver<SourceStatus> {
        self.status.subscribe()
    }

    /// Payload bytes the ring holds, and the most it may.
    pub fn buffer_bytes(&self) -> (usize, usize) {
        (self.ring.bytes(), self.limits.bytes)
    }

    /// Says that somebody watches, until the guard is dropped. This and
    /// shutdown are all that travels up to the camera.
    pub fn watch(self: &Arc<Self>) -> Interest {
        self.interest.send_modify(|count| *count += 1);
        Interest(Arc::clone(self))
    }

    /// How many watch, for a supervisor that connects on demand.
    pub fn watch_interest(&self) -> watch::Receiver<usize> {
        self.interest.subscribe()
    }
}

/// Somebody's wish to see a stream.
pub struct Interest(Arc<Stream>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.interest.send_modify(|count| *count -= 1);
    }
}

impl Publisher {
    /// The stream published to.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Numbers the frame, keeps it and wakes the readers. Never waits.
    pub fn publish(&mut self, draft: Draft) -> Arc<Frame> {
        let known = self.stream.tracks.load();
        if !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &draft.tracks)) {
            self.stream.tracks.store(Some(Arc::clone(&draft.tracks)));
        }
        let frame = self.writer.publish(&self.stream.ring, draft);
        self.published.send_replace(frame.sequence);
        frame
    }

    /// Lets go of all frames and tracks: what a camera showed before it was
    /// left must not greet a viewer an hour later as live.
    pub fn forget(&mut self) {
        self.stream.tracks.store(None);
        self.writer.forget(&self.stream.ring);
    }

    /// Changes what outputs show of the source.
    pub fn set_status(&self, change: impl FnOnce(&mut SourceStatus)) {
        self.stream.status.send_modify(change);
    }
}
