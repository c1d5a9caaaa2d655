//! Frames cut into packets, once for all fan-outs of a stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::packetizer::Packets;
use crate::media::Frame;

/// Frames one fan-out may be ahead of another: two seconds of picture and
/// sound. One further behind cuts for itself.
const RECENT: usize = 128;

/// The newest frames of a stream, cut.
#[derive(Default)]
pub(super) struct Cuts(Mutex<VecDeque<(u64, Option<Arc<Packets>>)>>);

impl Cuts {
    /// The frame's packets; `None` for a codec WebRTC does not carry here.
    pub(super) fn of(&self, frame: &Frame) -> Option<Arc<Packets>> {
        // Held while cutting: whoever comes at the same time would only cut
        // the same frame.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.iter().rev().find(|(sequence, _)| *sequence == frame.sequence);
        if let Some((_, packets)) = known {
            return packets.clone();
        }
        let packets = Packets::of(frame).map(Arc::new);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((frame.sequence, packets.clone()));
        packets
    }
}
