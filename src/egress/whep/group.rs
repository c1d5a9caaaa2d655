//! The group of pictures being shown, cut into packets: once per stream,
//! whatever the number of viewers that join.

use std::sync::Arc;

use super::packetizer::Packets;
use crate::media::{ClockRate, MediaKind, Quality};

/// Most pictures kept; as many frames as the bus holds.
const MAX_PICTURES: usize = 4096;

/// From the newest key frame on; empty while there is none.
pub(super) struct Group {
    pictures: Vec<Arc<Packets>>,
    bytes: usize,
    max_bytes: usize,
}

/// Those of a stream and, while somebody is sent it, of its substream.
pub(super) struct Groups {
    pub(super) main: Group,
    pub(super) sub: Option<Group>,
}

impl Groups {
    pub(super) fn of(&self, quality: Quality) -> Option<&Group> {
        match quality {
            Quality::Main => Some(&self.main),
            Quality::Sub => self.sub.as_ref(),
        }
    }
}

impl Group {
    /// A group of at most so many bytes: one that grows beyond is forgotten,
    /// as the bus does.
    pub(super) fn new(max_bytes: usize) -> Self {
        // Packets are a little larger than the frame they are cut from.
        let max_bytes = max_bytes.saturating_add(max_bytes / 8);
        Self { pictures: Vec::new(), bytes: 0, max_bytes }
    }

    /// The stream's next frame.
    pub(super) fn push(&mut self, packets: &Arc<Packets>) {
        if packets.kind != MediaKind::Video {
            return;
        }
        if packets.entry {
            self.clear();
        } else if self.pictures.is_empty() {
            return;
        }
        self.bytes += packets.bytes();
        self.pictures.push(Arc::clone(packets));
        if self.bytes > self.max_bytes || self.pictures.len() > MAX_PICTURES {
            self.clear();
        }
    }

    /// A frame is missing: nothing that follows can be shown.
    pub(super) fn clear(&mut self) {
        self.pictures = Vec::new();
        self.bytes = 0;
    }

    /// All of it, the key frame first.
    pub(super) fn pictures(&self) -> &[Arc<Packets>] {
        &self.pictures
    }

    /// Bytes of all packets.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bits a second, where there are pictures of a second: the key frame alone
    /// would say too much.
    pub(super) fn rate(&self) -> Option<u64> {
        let [first, .., last] = &self.pictures[..] else { return None };
        let second = u64::from(ClockRate::VIDEO.hz());
        let ticks = u64::try_from(last.ticks - first.ticks).ok().filter(|t| *t >= second)?;
        (self.bytes as u64 * 8).checked_mul(second).map(|bits| bits / ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::whep::packetizer::picture;

    fn sequences(group: &Group) -> Vec<u64> {
        group.pictures().iter().map(|packets| packets.sequence).collect()
    }

    #[test]
    fn it_goes_from_the_newest_key_frame_on() {
        let mut group = Group::new(10_000);
        for (sequence, key) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
            group.push(&picture(sequence, key, 100));
        }
        assert_eq!((sequences(&group), group.bytes()), (vec![4, 5], 200));
    }

    #[test]
    fn its_rate_is_known_after_a_second() {
        let mut group = Group::new(1_000_000);
        let mut rates = Vec::new();
        for sequence in 0..=26 {
            group.push(&picture(sequence, sequence == 0, 1_000));
            rates.push(group.rate());
        }
        assert_eq!(rates[24], None);
        assert_eq!((rates[25], rates[26]), (Some(208_000), Some(207_692)));
    }

    #[test]
    fn one_too_large_is_forgotten_until_the_next_key_frame() {
        let mut group = Group::new(1_000);
        group.push(&picture(1, true, 600));
        group.push(&picture(2, false, 600));
        group.push(&picture(3, false, 10));
        assert_eq!((sequences(&group), group.bytes()), (vec![], 0));
        group.push(&picture(4, true, 600));
        assert_eq!(sequences(&group), [4]);
    }
}
