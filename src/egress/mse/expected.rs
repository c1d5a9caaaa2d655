//! What a viewer's decoder is told of B-frames: that there are none, as long as
//! none is seen, or it would hold pictures back that might have to wait.

use std::borrow::Cow;

use crate::bus::Stream;
use crate::media::reorder::{self, Order};
use crate::media::{Frame, Tracks};

/// Whether B-frames are to be expected of a stream.
pub(super) struct Expected {
    none: bool,
    order: Order,
}

impl Expected {
    /// As the stream's newest pictures have it.
    pub(super) fn new(stream: &Stream) -> Self {
        Self { none: stream.has_b_frames() == Some(false), order: Order::default() }
    }

    /// The tracks as the decoder is to be told of them.
    pub(super) fn told<'t>(&self, tracks: &'t Tracks) -> Cow<'t, Tracks> {
        match self.none {
            true => Cow::Owned(reorder::ordered_tracks(tracks)),
            false => Cow::Borrowed(tracks),
        }
    }

    /// Whether the decoder was told something else than this frame needs, whose
    /// tracks are `new` or not. Of new ones nothing is known yet.
    pub(super) fn differ(&mut self, frame: &Frame, new: bool) -> bool {
        let surprised = self.none && self.order.is_surprise(frame);
        self.none &= !(new || surprised);
        new || surprised
    }
}
