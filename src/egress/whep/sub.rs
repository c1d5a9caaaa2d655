//! A stream's substream, read while one of its viewers is to be sent that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cuts::Cuts;
use super::group::Group;
use super::packetizer::Packets;
use crate::bus::{Interest, Join, Seen, SourceState, Stream, Subscription};
use crate::media::reorder::Order;
use crate::media::{Frame, MediaKind};

/// How long its first key frame is waited for: a camera connects within a
/// second or two, and rarely has more than 4 s between them.
const PATIENCE: Duration = Duration::from_secs(8);

/// The substream, as a fan-out reads it.
pub(super) struct Sub {
    stream: Arc<Stream>,
    frames: Subscription,
    /// Keeps its camera connected.
    _interest: Interest,
    cuts: Cuts,
    order: Order,
    asked: Instant,
    begun: bool,
}

/// Why a substream cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not there, for now.
    Away,
    /// It is none that WebRTC shows.
    BFrames,
}

impl Sub {
    pub(super) fn new(now: Instant, stream: &Arc<Stream>) -> Self {
        // What a camera that is away has left behind is not live.
        let live = stream.status().state == SourceState::Live && stream.can_start();
        let join = if live { Join::NewestKey } else { Join::Live };
        Self {
            frames: stream.subscribe("whep", join),
            _interest: stream.watch(),
            stream: Arc::clone(stream),
            cuts: Cuts::default(),
            order: Order::default(),
            asked: now,
            begun: false,
        }
    }

    /// The group of pictures that was being shown, once.
    pub(super) fn past(&mut self) -> Result<Group, Unfit> {
        let mut group = Group::new(self.stream.buffer_bytes().1);
        while let Some(seen) = self.frames.try_next() {
            match seen {
                Seen::Frame(frame) => {
                    if let Some(packets) = self.cut(&frame)? {
                        group.push(&packets);
                    }
                }
                Seen::Skipped(_) => group.clear(),
            }
        }
        Ok(group)
    }

    /// What comes next, as the bus says it.
    pub(super) async fn next(&mut self) -> Option<Seen> {
        self.frames.next().await
    }

    /// A picture's packets; `None` for sound, which stays the stream's own.
    pub(super) fn cut(&mut self, frame: &Frame) -> Result<Option<Arc<Packets>>, Unfit> {
        let Some(track) = frame.tracks.video().filter(|track| track.id == frame.track) else {
            return Ok(None);
        };
        debug_assert_eq!(track.kind(), MediaKind::Video);
        if self.order.is_surprise(frame) {
            return Err(Unfit::BFrames);
        }
        self.begun |= frame.is_entry_point();
        Ok(self.cuts.of(frame))
    }

    /// Whether it can still be hoped for.
    pub(super) fn check(&self, now: Instant) -> Result<(), Unfit> {
        let late = !self.begun && now.saturating_duration_since(self.asked) > PATIENCE;
        let down = self.stream.status().state == SourceState::Down;
        if late || down { Err(Unfit::Away) } else { Ok(()) }
    }
}
