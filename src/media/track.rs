//! What a stream consists of.

use super::{ClockRate, Codec};

/// Position of a track in its stream's [`Tracks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u8);

/// What a viewer perceives it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl MediaKind {
    /// The word used in SDP, labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// One elementary stream and all a decoder must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its position in [`Tracks`].
    pub id: TrackId,
    /// The clock of its frames' `pts` and `dts`.
    pub rate: ClockRate,
    /// Codec with its current parameters.
    pub codec: Codec,
}

impl Track {
    /// Video or audio.
    pub fn kind(&self) -> MediaKind {
        self.codec.kind()
    }
}

/// All tracks of a stream at one moment.
///
/// Immutable: a change of parameters is a new `Arc<Tracks>` on the frame that
/// brought it, so a reader compares pointers to notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracks(Vec<Track>);

impl Tracks {
    /// Tracks in order of their ids; ids are rewritten to the positions.
    pub fn new(tracks: Vec<Track>) -> Self {
        let number = |(i, track): (usize, Track)| Track { id: TrackId(i as u8), ..track };
        // A camera with 256 tracks is not a camera.
        Self(tracks.into_iter().take(16).enumerate().map(number).collect())
    }

    /// Every track, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.0.iter()
    }

    /// The track of that id.
    pub fn get(&self, id: TrackId) -> Option<&Track> {
        self.0.get(usize::from(id.0))
    }

    /// The first video track: what viewers see.
    pub fn video(&self) -> Option<&Track> {
        self.0.iter().find(|t| t.kind() == MediaKind::Video)
    }

    /// The first audio track: what viewers hear.
    pub fn audio(&self) -> Option<&Track> {
        self.0.iter().find(|t| t.kind() == MediaKind::Audio)
    }
}
