//! What H.264 and H.265 each do their own way, as seen by `video`.

use super::limit::Limit;
use super::picture_order::OrderCount;
use super::references::References;
use crate::media::Codec;

/// How an RTP payload packs NAL units.
pub(super) enum Packing<'a> {
    /// One unit.
    Single(&'a [u8]),
    /// Units behind 16-bit lengths.
    Aggregate(&'a [u8]),
    /// A part of one unit.
    Fragment {
        /// The unit's own header, restored; H.264 uses the first byte.
        header: [u8; 2],
        start: bool,
        end: bool,
        data: &'a [u8],
    },
    /// Too short to hold anything, such as the empty packets by which some
    /// cameras keep a UDP path open.
    Nothing,
    /// None of the above.
    Malformed,
}

/// What a NAL unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nal {
    /// Part of a picture.
    Slice(Slice),
    /// Part of a picture that tells nothing about it.
    Partition,
    /// An SEI with a recovery point; decoders start from it.
    RecoveryPoint,
    /// Nothing a viewer needs: sets (kept aside), delimiters, filler.
    Other,
    /// Not to be read.
    Malformed,
}

/// What the start of a slice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// First of its picture.
    pub(super) first: bool,
    /// Decodes from nothing: IDR or IRAP.
    pub(super) random_access: bool,
    /// May refer to pictures from before the last random access (RASL).
    pub(super) skipped_leading: bool,
    /// Followed by such pictures (CRA, BLA).
    pub(super) has_skipped_leading: bool,
    /// Intra only.
    pub(super) intra: bool,
    /// Others may refer to it.
    pub(super) reference: bool,
    /// Its picture parameter set.
    pub(super) pps: u8,
    /// `frame_num` and the count it wraps at, where the codec has one.
    pub(super) frame_num: Option<(u32, u32)>,
    /// The pictures that its picture needs, where it says so (H.265).
    pub(super) references: Option<References>,
    /// Where its picture stands in the order of showing, if that may differ
    /// from the order of decoding.
    pub(super) order: Option<OrderCount>,
}

/// What a video codec does its own way.
pub(super) trait Syntax {
    /// Bytes of a NAL header.
    const HEADER: usize;

    /// Bits of its first byte that tell the unit's type.
    const TYPE: u8;

    /// How `payload` packs NAL units.
    fn packing<'a>(&self, payload: &'a [u8]) -> Packing<'a>;

    /// What a whole unit is for; keeps parameter sets.
    fn classify(&mut self, unit: &[u8]) -> Result<Nal, Limit>;

    /// Codec of a picture that names `pps`; `None` when a set is missing.
    fn codec(&mut self, pps: u8) -> Option<&Codec>;
}
