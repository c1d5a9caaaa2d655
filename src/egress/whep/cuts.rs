//! Frames cut into packets, once for all fan-outs of a stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::packetizer::{Packetizer, Packets};
use crate::media::Frame;

/// Frames one fan-out may be ahead of another: two seconds of picture and
/// sound. One further behind cuts for itself.
const RECENT: usize = 128;

/// The newest frames of a stream, cut.
#[derive(Default)]
pub(super) struct Cuts(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    frames: VecDeque<(u64, Option<Arc<Packets>>)>,
    packetizer: Packetizer,
}

impl Cuts {
    /// The frame's packets; `None` for a codec WebRTC does not carry here, and
    /// for sound that is still short of a packet.
    pub(super) fn of(&self, frame: &Frame) -> Option<Arc<Packets>> {
        // Held while cutting: whoever comes at the same time would only cut
        // the same frame.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.frames.iter().rev().find(|(sequence, _)| *sequence == frame.sequence);
        if let Some((_, packets)) = known {
            return packets.clone();
        }
        if recent.frames.back().is_some_and(|(newest, _)| *newest > frame.sequence) {
            // The past, for a fan-out that begins: it must not come between
            // sound that is being put together.
            return Packetizer::default().packets(frame).map(Arc::new);
        }
        let packets = recent.packetizer.packets(frame).map(Arc::new);
        if recent.frames.len() == RECENT {
            recent.frames.pop_front();
        }
        recent.frames.push_back((frame.sequence, packets.clone()));
        packets
    }
}
