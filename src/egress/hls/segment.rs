//! What segments and parts are made of.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::disk::Stored;
use crate::media::{PixelSize, WallTime};

/// Bytes in pieces that follow each other: the frames among them are the
/// bus's own, so that a window takes the memory of its media once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    list: Arc<[Bytes]>,
    len: usize,
}

impl Pieces {
    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.list.iter()
    }

    /// A copy of them.
    pub(super) fn joined(&self) -> Bytes {
        let mut all = Vec::with_capacity(self.len);
        self.list.iter().for_each(|piece| all.extend_from_slice(piece));
        all.into()
    }

    /// Their length alone: the bytes are in a file.
    fn filed(&self) -> Self {
        Self { list: Arc::default(), len: self.len }
    }
}

impl From<Vec<Bytes>> for Pieces {
    fn from(list: Vec<Bytes>) -> Self {
        let len = list.iter().map(Bytes::len).sum();
        Self { list: list.into(), len }
    }
}

/// An init segment and what the multivariant playlist says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Init {
    /// Number of the first segment that needs it; its name.
    pub(super) number: u64,
    pub(super) data: Bytes,
    /// `CODECS` (RFC 6381).
    pub(super) codecs: String,
    pub(super) size: Option<PixelSize>,
}

/// What is known of a segment when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub(super) discontinuity: bool,
    /// When its first picture was captured.
    pub(super) wall: WallTime,
    /// Whether its first frame decodes from nothing.
    pub(super) independent: bool,
    /// It stands for media that is missing, and cannot be fetched.
    pub(super) gap: bool,
}

/// A partial segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) data: Pieces,
    pub(super) duration: Duration,
    /// Whether it holds a key frame.
    pub(super) independent: bool,
}

/// A segment, complete or open.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) head: Head,
    pub(super) init: Arc<Init>,
    pub(super) parts: Vec<Part>,
    /// Sum of the parts; of a gap, what is missing.
    pub(super) duration: Duration,
    /// Sum of the parts.
    pub(super) bytes: usize,
    /// The file it is written to, where windows are kept on disk.
    pub(super) stored: Option<Arc<Stored>>,
    /// Whether its bytes are in that file and not in memory.
    pub(super) filed: bool,
}

impl Segment {
    pub(super) fn new(head: Head, init: Arc<Init>) -> Self {
        let (duration, parts) = (Duration::ZERO, Vec::new());
        Self { head, init, parts, duration, bytes: 0, stored: None, filed: false }
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        if self.filed { 0 } else { self.bytes }
    }

    /// The same, with its bytes in its file alone.
    pub(super) fn in_file(&self) -> Self {
        let mut filed = Self { filed: true, ..self.clone() };
        for part in &mut filed.parts {
            part.data = part.data.filed();
        }
        filed
    }

    /// Where a part begins and ends in the segment.
    pub(super) fn place(&self, part: usize) -> Option<Range<u64>> {
        let before: usize = self.parts.iter().take(part).map(|part| part.data.len()).sum();
        let length = self.parts.get(part)?.data.len();
        Some(before as u64..(before + length) as u64)
    }
}
