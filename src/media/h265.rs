//! H.265 parameter sets.

use bytes::Bytes;

use super::nal::{MAX_PARAMETER_SET_BYTES, MAX_PICTURE_SIDE};
use super::{BadParameterSet, BitReader, PixelSize, ReferenceSets, unescape};

/// Most PPS of a track (H.265 §7.4.3.3.1: ids are 0 to 63).
const MAX_PPS: usize = 64;

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
        let info = HevcSps::read(&sps)?;
        if HevcUnit::of(&vps) != Some(HevcUnit::Vps) || vps.len() > MAX_PARAMETER_SET_BYTES {
            return Err(BadParameterSet("H.265 has no VPS of acceptable size"));
        }
        if pps.is_empty() || pps.len() > MAX_PPS {
            return Err(BadParameterSet("H.265 has no PPS, or too many"));
        }
        for set in &pps {
            HevcPps::read(set)?;
        }
        Ok(Self {
            vps,
            sps,
            pps,
            size: info.size,
            profile_tier_level: info.profile_tier_level,
            chroma_format: info.chroma_format,
            bit_depth_luma: info.bit_depth_luma,
            bit_depth_chroma: info.bit_depth_chroma,
            sub_layers: info.sub_layers,
            temporal_id_nested: info.temporal_id_nested,
            max_num_reorder_pics: info.max_num_reorder_pics,
        })
    }

    /// Codec string such as `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 annex E.3).
    pub fn codec_string(&self) -> String {
        let [first, c0, c1, c2, c3, constraints @ .., level] = self.profile_tier_level;
        let space = ["", "A", "B", "C"][usize::from(first >> 6)];
        let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
        // The flags are written in reverse, the lowest profile as bit 0.
        let compatibility = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
        let mut out = format!("hvc1.{space}{}.{compatibility:X}.{tier}{level}", first & 0x1f);
        let used = constraints.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        for byte in &constraints[..used] {
            out.push_str(&format!(".{byte:X}"));
        }
        out
    }
}

/// The NAL unit types that matter for parameters (H.265 table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HevcUnit {
    Vps,
    Sps,
    Pps,
}

impl HevcUnit {
    fn of(unit: &[u8]) -> Option<Self> {
        let [first, _second, _payload, ..] = *unit else {
            return None;
        };
        match first >> 1 {
            32 => Some(Self::Vps),
            33 => Some(Self::Sps),
            34 => Some(Self::Pps),
            _ => None,
        }
    }
}

/// What a gateway reads from a sequence parameter set (H.265 §7.3.2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HevcSps {
    /// `sps_seq_parameter_set_id`, 0 to 15.
    pub id: u8,
    /// `sps_video_parameter_set_id`, 0 to 15.
    pub vps_id: u8,
    /// Picture size after the conformance window.
    pub size: PixelSize,
    /// See [`Hevc::profile_tier_level`].
    pub profile_tier_level: [u8; 12],
    /// `chroma_format_idc`: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// Temporal sub-layers, 1 to 7.
    pub sub_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_id_nested: bool,
    /// `log2_max_pic_order_cnt_lsb`, 4 to 16.
    pub log2_max_pic_order_cnt_lsb: u32,
    /// `sps_max_num_reorder_pics` of the highest sub-layer.
    pub max_num_reorder_pics: u32,
    /// What pictures may refer to; `None` where that cannot be read, which
    /// costs no more than certainty after loss.
    pub references: Option<ReferenceSets>,
}

impl HevcSps {
    /// Reads an escaped SPS with its NAL header.
    ///
    /// # Errors
    ///
    /// Anything H.265 §7.3.2.2 cannot have written, and pictures above
    /// 16,384 samples a side.
    pub fn read(unit: &[u8]) -> Result<Self, BadParameterSet> {
        if HevcUnit::of(unit) != Some(HevcUnit::Sps) || unit.len() > MAX_PARAMETER_SET_BYTES {
            return Err(BadParameterSet("not an H.265 SPS, or not of its size"));
        }
        let rbsp = unescape(unit);
        let mut r = BitReader::new(&rbsp);
        r.bits(16)?;
        let vps_id = r.bits(4)? as u8;
        let sub_layers = 1 + r.bits(3)?;
        if sub_layers > 7 {
            return Err(BadParameterSet("the H.265 SPS has eight sub-layers"));
        }
        let temporal_id_nested = r.flag()?;
        let mut profile_tier_level = [0; 12];
        for byte in &mut profile_tier_level {
            *byte = r.bits(8)? as u8;
        }
        skip_sub_layer_levels(&mut r, sub_layers)?;
        let id = r.ue_up_to(15, "the id of the H.265 SPS is above 15")? as u8;
        let chroma_format = r.ue_up_to(3, "chroma_format_idc is above 3")?;
        if chroma_format == 3 {
            r.flag()?; // separate_colour_plane_flag
        }
        let (width, height) = (r.ue()?, r.ue()?);
        let window = if r.flag()? { [r.ue()?, r.ue()?, r.ue()?, r.ue()?] } else { [0; 4] };
        let (sub_width, sub_height) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let size = PixelSize {
            width: inside(width, window[0], window[1], sub_width)?,
            height: inside(height, window[2], window[3], sub_height)?,
        };
        let bit_depth_luma = 8 + r.ue_up_to(8, "a sample has more than 16 bits")? as u8;
        let bit_depth_chroma = 8 + r.ue_up_to(8, "a sample has more than 16 bits")? as u8;
        let log2_max_pic_order_cnt_lsb =
            4 + r.ue_up_to(12, "log2_max_pic_order_cnt_lsb is above 16")?;
        let each_sub_layer = r.flag()?;
        let mut max_num_reorder_pics = 0;
        for _ in 0..if each_sub_layer { sub_layers } else { 1 } {
            r.ue()?; // sps_max_dec_pic_buffering_minus1
            max_num_reorder_pics = r.ue_up_to(15, "more than 15 pictures are reordered")?;
            r.ue()?; // sps_max_latency_increase_plus1
        }
        Ok(Self {
            id,
            vps_id,
            size,
            profile_tier_level,
            chroma_format: chroma_format as u8,
            bit_depth_luma,
            bit_depth_chroma,
            sub_layers: sub_layers as u8,
            temporal_id_nested,
            log2_max_pic_order_cnt_lsb,
            max_num_reorder_pics,
            references: ReferenceSets::read(&mut r).ok(),
        })
    }
}

/// What ties a picture parameter set to the rest, and what a slice header
/// needs of it (H.265 §7.3.2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HevcPps {
    /// `pps_pic_parameter_set_id`, named by slices.
    pub id: u8,
    /// `pps_seq_parameter_set_id` of the SPS it builds on.
    pub sps_id: u8,
    /// `output_flag_present_flag`: one more bit in each slice header.
    pub output_flag_present: bool,
    /// `num_extra_slice_header_bits`, 0 to 7.
    pub num_extra_slice_header_bits: u8,
}

impl HevcPps {
    /// Reads an escaped PPS with its NAL header.
    ///
    /// # Errors
    ///
    /// Another NAL unit, or ids out of range.
    pub fn read(unit: &[u8]) -> Result<Self, BadParameterSet> {
        if HevcUnit::of(unit) != Some(HevcUnit::Pps) || unit.len() > MAX_PARAMETER_SET_BYTES {
            return Err(BadParameterSet("not an H.265 PPS, or not of its size"));
        }
        // All that takes at most 25 bits: no need to unescape all of it.
        let rbsp = unescape(unit.get(..12).unwrap_or(unit));
        let mut r = BitReader::new(&rbsp);
        r.bits(16)?;
        let id = r.ue_up_to(63, "the id of the H.265 PPS is above 63")? as u8;
        let sps_id = r.ue_up_to(15, "the H.265 PPS names an SPS above 15")? as u8;
        r.flag()?; // dependent_slice_segments_enabled_flag
        let output_flag_present = r.flag()?;
        let num_extra_slice_header_bits = r.bits(3)? as u8;
        Ok(Self { id, sps_id, output_flag_present, num_extra_slice_header_bits })
    }
}

/// `profile_tier_level` after `general_level_idc` (§7.3.3).
fn skip_sub_layer_levels(r: &mut BitReader<'_>, sub_layers: u32) -> Result<(), BadParameterSet> {
    if sub_layers == 1 {
        return Ok(());
    }
    // Always eight pairs of flags, of which the last are reserved zero bits.
    let flags = r.bits(16)?;
    for layer in 0..sub_layers - 1 {
        let pair = flags >> (14 - 2 * layer) & 3;
        if pair & 2 != 0 {
            r.bits(32)?; // 88 bits of profile
            r.bits(32)?;
            r.bits(24)?;
        }
        if pair & 1 != 0 {
            r.bits(8)?; // level
        }
    }
    Ok(())
}

/// Luma samples inside the conformance window.
fn inside(coded: u32, before: u32, after: u32, unit: u32) -> Result<u32, BadParameterSet> {
    let cut = (u64::from(before) + u64::from(after)) * u64::from(unit);
    match u64::from(coded).checked_sub(cut) {
        Some(side) if side > 0 && coded <= MAX_PICTURE_SIDE => Ok(side as u32),
        _ => Err(BadParameterSet("the picture is empty or above 16,384 samples a side")),
    }
}

#[cfg(test)]
#[path = "h265_tests.rs"]
mod tests;
