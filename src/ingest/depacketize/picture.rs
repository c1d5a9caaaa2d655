//! Pictures whose payloads tell where each begins and ends: VP8, VP9, AV1.

use std::collections::VecDeque;

use bytes::Bytes;

use super::limit::{Limit, MAX_ACCESS_UNIT_BYTES};
use super::{AfterLoss, Discarded, Packet, Unit};
use crate::media::{Codec, FrameKind};

/// What became of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It goes on from what came before.
    Joined,
    /// It does not: something between is missing.
    Torn,
    /// It does not follow its payload format.
    Malformed,
}

/// What a payload format does its own way.
pub(super) trait Format: Default {
    /// Appends the payload's part to `picture`, which is empty at its start.
    fn take(&mut self, payload: &[u8], picture: &mut Vec<u8>) -> Taken;

    /// Whether what was taken can be all of a picture.
    fn is_whole(&self) -> bool;

    /// Bytes kept beside the picture.
    fn held(&self) -> usize {
        0
    }

    /// Of a whole picture: the codec, if decoding can begin with it.
    fn key(picture: &[u8]) -> Option<Codec>;
}

/// Depacketizer of one such track.
#[derive(Debug, Default)]
pub(super) struct Pictures<F> {
    /// As of the picture at hand.
    format: F,
    pub(super) codec: Option<Codec>,
    pub(super) after_loss: AfterLoss,
    pub(super) ready: VecDeque<Unit>,
    pub(super) discarded: Discarded,
    picture: Vec<u8>,
    timestamp: i64,
    /// A part of the picture at hand is missing.
    damaged: bool,
    /// Something is missing since the last key frame.
    broken: bool,
    lost: u32,
}

impl<F: Format> Pictures<F> {
    pub(super) fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        if packet.lost_before > 0 {
            self.lost = self.lost.saturating_add(packet.lost_before);
            self.broken = true;
        }
        if self.timestamp != packet.timestamp {
            // The marker never came, but perhaps all else did.
            self.damaged |= packet.lost_before > 0 && !self.picture.is_empty();
            self.finish();
            self.timestamp = packet.timestamp;
        } else if packet.lost_before > 0 {
            self.damaged = true;
        }
        // RFC 3550 §5.1 allows a packet without payload.
        if !self.damaged && !packet.payload.is_empty() {
            match self.format.take(packet.payload, &mut self.picture) {
                Taken::Joined => {}
                Taken::Torn => self.damaged = true,
                Taken::Malformed => {
                    self.discarded.malformed += 1;
                    self.damaged = true;
                }
            }
        }
        if self.picture.len() + self.format.held() > MAX_ACCESS_UNIT_BYTES {
            return Err(Limit::AccessUnitBytes);
        }
        if packet.marker {
            self.finish();
        }
        Ok(())
    }

    /// The picture at hand is over, if there is one.
    fn finish(&mut self) {
        let whole = std::mem::take(&mut self.format).is_whole();
        let damaged = std::mem::take(&mut self.damaged);
        if damaged || !whole {
            self.discarded.damaged += 1;
            self.broken = true;
        } else if !self.picture.is_empty() {
            self.hand_out();
        }
        self.picture.clear();
    }

    fn hand_out(&mut self) {
        let key = F::key(&self.picture);
        let kind = if key.is_some() { FrameKind::Key } else { FrameKind::Delta };
        let decodable = key.is_some() || !self.broken || self.after_loss == AfterLoss::Show;
        if !decodable || key.as_ref().or(self.codec.as_ref()).is_none() {
            self.discarded.undecodable += 1;
            return;
        }
        self.broken &= key.is_none();
        let news = key.filter(|codec| self.codec.as_ref() != Some(codec));
        if news.is_some() {
            self.codec.clone_from(&news);
        }
        self.ready.push_back(Unit {
            pts: self.timestamp,
            dts: self.timestamp,
            kind,
            data: Bytes::copy_from_slice(&self.picture),
            lost_before: std::mem::take(&mut self.lost),
            codec: news,
            samples: None,
        });
    }
}
