//! Which pictures a decoder has, by the word of the pictures themselves
//! (H.265 §8.3.2): a picture names all that it or a later one refers to.

use crate::media::ReferenceSet;

/// Most pictures that a decoder holds.
const MAX_PICTURES: usize = 16;

/// What a picture needs; pictures are told apart by the low bits of their
/// order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct References {
    /// Its own.
    low: u32,
    /// How many bits that has.
    bits: u32,
    /// Pictures a decoder should still hold, and whether this one needs them.
    pictures: [Option<(u32, bool)>; MAX_PICTURES],
}

impl References {
    /// A picture that refers to none, and behind which none refers to one
    /// before it.
    pub(super) fn none(low: u32, bits: u32) -> Self {
        Self { low, bits, pictures: [None; MAX_PICTURES] }
    }

    /// `None` for more pictures than a decoder can hold.
    pub(super) fn new(low: u32, bits: u32, set: &ReferenceSet) -> Option<Self> {
        let mut references = Self::none(low, bits);
        for (nth, (distance, is_needed)) in set.iter().enumerate() {
            let place = low.wrapping_add_signed(distance) & (references.wrap() - 1);
            *references.pictures.get_mut(nth)? = Some((place, is_needed));
        }
        Some(references)
    }

    /// Where the counts begin again.
    pub(super) fn wrap(&self) -> u32 {
        1 << self.bits
    }

    fn iter(&self) -> impl Iterator<Item = (u32, bool)> {
        self.pictures.iter().flatten().copied()
    }
}

/// Pictures that a decoder has, each of them whole.
#[derive(Debug, Default)]
pub(super) struct Decoded(Vec<u32>);

impl Decoded {
    /// Whether it has all that this one needs.
    pub(super) fn has(&self, references: &References) -> bool {
        references.iter().all(|(picture, is_needed)| !is_needed || self.0.contains(&picture))
    }

    /// A picture came, and was handed out or not. What it does not name is
    /// gone; where it names nothing that we can read, all is.
    pub(super) fn step(&mut self, references: Option<&References>, is_handed_out: bool) {
        let Some(references) = references else { return self.0.clear() };
        self.0.retain(|held| references.iter().any(|(picture, _)| picture == *held));
        if is_handed_out {
            self.0.push(references.low);
        }
    }
}
