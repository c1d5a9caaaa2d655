//! One coded picture, or one packet's worth of sound.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{MediaTime, Track, TrackId, Tracks, WallTime};

/// What a decoder needs before it can use a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Video that decodes from nothing: IDR, IRAP, or a JPEG.
    Key,
    /// Video that needs the frames before it.
    Delta,
    /// Sound; each frame decodes by itself.
    Audio,
}

/// A frame before the bus has numbered it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Which of `tracks` it belongs to.
    pub track: TrackId,
    /// The stream's tracks as of this frame; a new `Arc` when they changed.
    pub tracks: Arc<Tracks>,
    /// When to show it.
    pub pts: MediaTime,
    /// When to decode it; differs from `pts` only where frames are reordered.
    pub dts: MediaTime,
    /// When the camera captured it.
    pub wall: WallTime,
    /// What a decoder needs before it.
    pub kind: FrameKind,
    /// RTP packets of its track lost between the previous frame and this one.
    pub lost_before: u32,
    /// First frame of its track after its source came back (reconnect, SSRC
    /// change, lasting jump). Time has still not gone backward.
    pub discontinuity: bool,
    /// When its last packet arrived, for latency figures.
    pub arrived: Instant,
    /// H.264/H.265: NAL units, each behind its length as 4 bytes big-endian
    /// (ISO/IEC 14496-15 §5.2), without parameter sets and access unit
    /// delimiters. VP8, VP9: a frame, of VP9 perhaps with frames that are not
    /// shown (a superframe). AV1: a temporal unit of units with sizes, without
    /// its delimiter. JPEG: a whole JFIF file. Audio: the bare codec payload
    /// (AAC without ADTS, samples of G.711, G.722 or L16, one Opus packet).
    pub data: Bytes,
}

/// An immutable frame on the bus.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Position on the stream's bus, from 1, without holes; survives
    /// reconnects.
    pub sequence: u64,
    /// All the rest.
    pub draft: Draft,
}

impl Frame {
    /// Whether a reader that saw nothing before can start here: a key frame,
    /// or any sound where there is no picture.
    pub fn is_entry_point(&self) -> bool {
        match self.draft.kind {
            FrameKind::Key => true,
            FrameKind::Delta => false,
            FrameKind::Audio => self.draft.tracks.video().is_none(),
        }
    }

    /// The track it belongs to.
    pub fn track(&self) -> Option<&Track> {
        self.draft.tracks.get(self.draft.track)
    }
}

impl std::ops::Deref for Frame {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}
