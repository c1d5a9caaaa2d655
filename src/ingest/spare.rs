//! Buffers that are used again, whoever's they were.
//!
//! Those of a hundred cameras come and go with each picture; allocated each
//! time, they would be most of what a camera takes beyond its ring, and frames
//! on the bus would leave them as holes in the heap.

use std::cell::RefCell;

use bytes::BytesMut;

/// A larger one is not kept.
pub(super) const KEPT_BYTES: usize = 256 << 10;
/// Most that are kept in one place.
pub(super) const KEPT: usize = 4;

/// Empty buffers of one thread, for one use.
pub(super) struct Spares(RefCell<Vec<BytesMut>>);

impl Spares {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// An empty buffer, of whatever capacity.
    pub(super) fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.0.borrow().len()
    }

    /// Keeps a buffer for whoever is next; what is in it is dropped. Not kept
    /// is one that has no `room` of its own, as while slices of it are held.
    pub(super) fn give_back(&self, mut buffer: BytesMut, room: usize) {
        let mut kept = self.0.borrow_mut();
        buffer.clear();
        if kept.len() < KEPT && buffer.try_reclaim(room) && buffer.capacity() <= KEPT_BYTES {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_whole_unless_it_is_held_or_large() {
        let spares = Spares::new();
        spares.give_back(BytesMut::from(&[7; 1_000][..]), 1_000);
        let mut again = spares.take();
        assert_eq!((again.len(), again.capacity()), (0, 1_000));

        again.extend_from_slice(&[7; 1_000]);
        let held = again.split_to(600).freeze();
        spares.give_back(again, 1_000);
        spares.give_back(BytesMut::with_capacity(KEPT_BYTES + 1), 1_000);
        assert_eq!(spares.take().capacity(), 0);
        drop(held);
    }

    #[test]
    fn only_a_few_are_kept() {
        let spares = Spares::new();
        for _ in 0..2 * KEPT {
            spares.give_back(BytesMut::with_capacity(100), 100);
        }
        assert_eq!(spares.kept(), KEPT);
    }
}
