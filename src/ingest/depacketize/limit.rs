//! How much a camera may make us hold.

use std::fmt;

use crate::fault::{Code, Fault};

/// Longest NAL unit. A 4K key frame of the worst cameras has 1.5 MiB.
pub(super) const MAX_NAL_BYTES: usize = 4 << 20;

/// Largest frame: several slices of the above, or a JPEG.
pub(super) const MAX_ACCESS_UNIT_BYTES: usize = 8 << 20;

/// Most NAL units of one access unit. Level 6.2 allows 600 slices; the worst
/// cameras send 68. A million one-byte units would cost us a length each.
pub(super) const MAX_NALS: u32 = 4096;

/// Most parameter sets of one kind. The standards allow 256 PPS; cameras send
/// one, encoders for conferences up to four.
pub(super) const MAX_SETS: usize = 64;

/// Longest AAC frame: 6144 bits for each of 48 channels (ISO/IEC 14496-3
/// §4.5.1.1), rounded up.
pub(super) const MAX_AAC_BYTES: usize = 64 << 10;

/// A cap that the camera exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// One NAL unit above 4 MiB, such as a fragment that never ends.
    NalBytes,
    /// One frame above 8 MiB.
    AccessUnitBytes,
    /// One frame of more than 4,096 NAL units.
    NalCount,
    /// A parameter set above 4 KiB, or more than 64 of a kind.
    ParameterSets,
    /// One AAC frame above 64 KiB.
    AudioBytes,
}

impl Limit {
    /// Short name, for the label of `porthole_source_limit_exceeded_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NalBytes => "nal_bytes",
            Self::AccessUnitBytes => "access_unit_bytes",
            Self::NalCount => "nal_count",
            Self::ParameterSets => "parameter_sets",
            Self::AudioBytes => "audio_bytes",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NalBytes => "a NAL unit is longer than 4 MiB",
            Self::AccessUnitBytes => "a frame is larger than 8 MiB",
            Self::NalCount => "a frame has more than 4096 NAL units",
            Self::ParameterSets => "a parameter set is longer than 4 KiB, or one of too many",
            Self::AudioBytes => "a sound frame is larger than 64 KiB",
        })
    }
}

impl From<Limit> for Fault {
    fn from(limit: Limit) -> Self {
        Self::new(Code::SourceLimit, limit.to_string())
    }
}
