//! H.265 parameter sets.

use bytes::Bytes;

use super::{BadParameterSet, PixelSize};

/// H.265 parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hevc {
    /// Video parameter set, escaped, with its NAL header.
    pub vps: Bytes,
    /// Sequence parameter set, likewise.
    pub sps: Bytes,
    /// Every picture parameter set in force, likewise.
    pub pps: Vec<Bytes>,
    /// Picture size.
    pub size: PixelSize,
    /// The 12 bytes of `profile_tier_level` up to `general_level_idc`
    /// (H.265 §7.3.3), as `hvcC` repeats them.
    pub profile_tier_level: [u8; 12],
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// `sps_max_sub_layers_minus1` + 1.
    pub sub_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_id_nested: bool,
    /// `sps_max_num_reorder_pics` of the highest sub-layer.
    pub max_num_reorder_pics: u32,
}

impl Hevc {
    /// Reads what we need from the sets.
    ///
    /// # Errors
    ///
    /// An SPS that H.265 §7.3.2.2 cannot have written, or no VPS or PPS.
    pub fn new(vps: Bytes, sps: Bytes, pps: Vec<Bytes>) -> Result<Self, BadParameterSet> {
        let _ = (vps, sps, pps);
        todo!()
    }

    /// Codec string such as `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 annex E.3).
    pub fn codec_string(&self) -> String {
        todo!()
    }
}
