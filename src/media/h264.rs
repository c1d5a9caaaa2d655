//! H.264 parameter sets.

use bytes::Bytes;

use super::nal::{FrameRate, MAX_PARAMETER_SET_BYTES, MAX_PICTURE_SIDE};
use super::vui::{Colour, Vui};
use super::{BadParameterSet, BitReader, PixelSize, unescape};

/// Most sets of one kind; `avcC` counts them in a byte (ISO/IEC 14496-15
/// §5.3.3.1), and real encoders write one to four.
const MAX_PPS: usize = 255;

/// H.264 parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avc {
    /// Sequence parameter set, escaped, with its NAL header.
    pub sps: Bytes,
    /// Every picture parameter set in force, likewise.
    pub pps: Vec<Bytes>,
    /// Picture size.
    pub size: PixelSize,
    /// Frames that may be decoded before, yet shown after, another one; 0
    /// where the stream has no B-frames. `None` when the SPS does not say.
    pub max_num_reorder_frames: Option<u32>,
}

impl Avc {
    /// Reads what we need from the sets.
    ///
    /// # Errors
    ///
    /// An SPS that H.264 §7.3.2.1 cannot have written, or no PPS.
    pub fn new(sps: Bytes, pps: Vec<Bytes>) -> Result<Self, BadParameterSet> {
        let info = AvcSps::read(&sps)?;
        if pps.is_empty() || pps.len() > MAX_PPS {
            return Err(BadParameterSet("H.264 has no PPS, or too many"));
        }
        for set in &pps {
            AvcPps::read(set)?;
        }
        Ok(Self { sps, pps, size: info.size, max_num_reorder_frames: info.max_num_reorder_frames })
    }

    /// Codec string for `isTypeSupported`, such as `avc1.64001F`.
    ///
    /// RFC 6381 §3.3: profile, constraint flags and level, in hex, from the
    /// SPS. Raw bytes are safe to read: profile and level are never zero, so
    /// no emulation prevention byte (H.264 §7.3.1) can come this early.
    pub fn codec_string(&self) -> String {
        let [profile, flags, level] = self.profile();
        format!("avc1.{profile:02X}{flags:02X}{level:02X}")
    }

    /// `profile_idc`, constraint flags, `level_idc`: the three bytes of SDP's
    /// `profile-level-id` (RFC 6184 §8.1).
    pub fn profile(&self) -> [u8; 3] {
        match *self.sps {
            [_header, profile, flags, level, ..] => [profile, flags, level],
            // Whoever filled the fields without `new` gets a codec string
            // that no browser supports, not a panic.
            _ => [0; 3],
        }
    }
}

/// How an SPS lets the order of pictures be told (H.264 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PicOrder {
    /// Type 0: the slice carries this many low bits of the count.
    Lsb {
        /// `log2_max_pic_order_cnt_lsb`, 4 to 16.
        log2_max: u32,
    },
    /// Type 1: from `frame_num` and a cycle of offsets.
    Cycle {
        /// `delta_pic_order_always_zero_flag`.
        delta_always_zero: bool,
    },
    /// Type 2: shown in the order of decoding, so no B-frames.
    Decoding,
}

/// What a gateway reads from a sequence parameter set (H.264 §7.3.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcSps {
    /// `seq_parameter_set_id`, 0 to 31.
    pub id: u8,
    /// `chroma_format_idc`: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// `separate_colour_plane_flag`: two more bits in each slice header.
    pub separate_colour_planes: bool,
    /// `log2_max_frame_num`, 4 to 16.
    pub log2_max_frame_num: u32,
    /// How pictures are ordered.
    pub pic_order: PicOrder,
    /// `max_num_ref_frames`.
    pub max_num_ref_frames: u32,
    /// Where that stands, as [`VuiPlace`] counts.
    pub max_num_ref_frames_at: usize,
    /// `gaps_in_frame_num_value_allowed_flag`.
    pub frame_num_gaps_allowed: bool,
    /// `frame_mbs_only_flag`; otherwise slices may code fields.
    pub frame_mbs_only: bool,
    /// Picture size after cropping.
    pub size: PixelSize,
    /// Macroblocks of 16 x 16 samples of a picture before cropping.
    pub macroblocks: u32,
    /// See [`Avc::max_num_reorder_frames`].
    pub max_num_reorder_frames: Option<u32>,
    /// Nominal frame rate of the VUI; cameras often lie, so measure as well.
    pub frame_rate: Option<FrameRate>,
    /// What its samples mean.
    pub colour: Colour,
    /// Width and height of a sample, where the VUI tells them (table E-1).
    pub sample_aspect: Option<(u16, u16)>,
    /// Where the VUI is, for whoever rewrites it.
    pub vui: VuiPlace,
}

/// Bit positions in the unescaped SPS ([`unescape`]), with its NAL header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VuiPlace {
    /// Of `vui_parameters_present_flag`.
    pub present: usize,
    /// Of `bitstream_restriction_flag`; `None` without a VUI that goes so far.
    pub restriction: Option<usize>,
}

impl AvcSps {
    /// Reads an escaped SPS with its NAL header.
    ///
    /// # Errors
    ///
    /// Anything H.264 §7.3.2.1 cannot have written, and pictures above
    /// 16,384 samples a side. A damaged VUI is no error: some encoders cut it
    /// short, and nothing in it is needed to decode.
    pub fn read(unit: &[u8]) -> Result<Self, BadParameterSet> {
        if unit.len() < 4 || unit.len() > MAX_PARAMETER_SET_BYTES || unit[0] & 0x9f != 7 {
            return Err(BadParameterSet("not an H.264 SPS, or not of its size"));
        }
        let rbsp = unescape(unit);
        let mut r = BitReader::new(&rbsp);
        r.bits(8)?;
        let (profile, flags, level) = (r.bits(8)?, r.bits(8)?, r.bits(8)?);
        if profile == 0 || level == 0 {
            return Err(BadParameterSet("the profile or level of the H.264 SPS is zero"));
        }
        let id = r.ue_up_to(31, "the id of the H.264 SPS is above 31")? as u8;
        let (mut chroma_format, mut planes, mut luma, mut chroma) = (1, false, 8, 8);
        if is_high(profile) {
            chroma_format = r.ue_up_to(3, "chroma_format_idc is above 3")?;
            planes = chroma_format == 3 && r.flag()?;
            luma = 8 + r.ue_up_to(6, "a sample has more than 14 bits")?;
            chroma = 8 + r.ue_up_to(6, "a sample has more than 14 bits")?;
            r.flag()?; // qpprime_y_zero_transform_bypass_flag
            if r.flag()? {
                skip_scaling_matrix(&mut r, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        let log2_max_frame_num = 4 + r.ue_up_to(12, "log2_max_frame_num is above 16")?;
        let pic_order = read_pic_order(&mut r)?;
        let max_num_ref_frames_at = r.position();
        let max_num_ref_frames = r.ue_up_to(16, "more than 16 reference frames")?;
        let frame_num_gaps_allowed = r.flag()?;
        let (width_mbs, height_units) = (r.ue()?, r.ue()?);
        let frame_mbs_only = r.flag()?;
        if !frame_mbs_only {
            r.flag()?; // mb_adaptive_frame_field_flag
        }
        r.flag()?; // direct_8x8_inference_flag
        let crop = if r.flag()? { [r.ue()?, r.ue()?, r.ue()?, r.ue()?] } else { [0; 4] };
        // Table 6-1; with separate planes each is coded as if monochrome.
        let (sub_width, sub_height) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let per_unit = 2 - u32::from(frame_mbs_only);
        let size = PixelSize {
            width: cropped(width_mbs, 16, crop[0], crop[1], sub_width)?,
            height: cropped(height_units, 16 * per_unit, crop[2], crop[3], sub_height * per_unit)?,
        };
        let vui_present = r.position();
        let vui = if r.flag().unwrap_or(false) { Vui::read(&mut r) } else { Vui::default() };
        // Where the syntax rules B-frames out (§7.4.2.1.1, annex A.2.1, and
        // §E.2.1 for the intra profiles), silence means none.
        let intra_only = flags & 0x10 != 0 && matches!(profile, 44 | 86 | 100 | 110 | 122 | 244);
        let ordered = profile == 66
            || pic_order == PicOrder::Decoding
            || max_num_ref_frames == 0
            || intra_only;
        Ok(Self {
            id,
            chroma_format: chroma_format as u8,
            bit_depth_luma: luma as u8,
            bit_depth_chroma: chroma as u8,
            separate_colour_planes: planes,
            log2_max_frame_num,
            pic_order,
            max_num_ref_frames,
            max_num_ref_frames_at,
            frame_num_gaps_allowed,
            frame_mbs_only,
            size,
            // Sides of at most 16,384 samples, by `cropped`.
            macroblocks: (width_mbs + 1) * (height_units + 1) * per_unit,
            max_num_reorder_frames: if ordered { Some(0) } else { vui.max_num_reorder_frames },
            frame_rate: vui.frame_rate,
            colour: vui.colour,
            sample_aspect: vui.sample_aspect,
            vui: VuiPlace { present: vui_present, restriction: vui.restriction },
        })
    }
}

/// The ids that tie a picture parameter set to the rest (H.264 §7.3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvcPps {
    /// `pic_parameter_set_id`, named by slices.
    pub id: u8,
    /// `seq_parameter_set_id` of the SPS it builds on.
    pub sps_id: u8,
}

impl AvcPps {
    /// Reads an escaped PPS with its NAL header.
    ///
    /// # Errors
    ///
    /// Another NAL unit, or ids out of range.
    pub fn read(unit: &[u8]) -> Result<Self, BadParameterSet> {
        if unit.len() > MAX_PARAMETER_SET_BYTES || unit.first().is_none_or(|b| b & 0x9f != 8) {
            return Err(BadParameterSet("not an H.264 PPS, or not of its size"));
        }
        // Both ids take at most 28 bits: no need to unescape all of it.
        let rbsp = unescape(unit.get(..12).unwrap_or(unit));
        let mut r = BitReader::new(&rbsp);
        r.bits(8)?;
        Ok(Self {
            id: r.ue_up_to(255, "the id of the H.264 PPS is above 255")? as u8,
            sps_id: r.ue_up_to(31, "the H.264 PPS names an SPS above 31")? as u8,
        })
    }
}

/// Profiles whose SPS describes chroma (§7.3.2.1.1).
fn is_high(profile: u32) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// §7.3.2.1.1.1; the values are the decoder's business.
fn skip_scaling_matrix(r: &mut BitReader<'_>, lists: usize) -> Result<(), BadParameterSet> {
    for list in 0..lists {
        if !r.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                let delta = r.se()?;
                if !(-128..=127).contains(&delta) {
                    return Err(BadParameterSet("a scaling list steps too far"));
                }
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Ok(())
}

fn read_pic_order(r: &mut BitReader<'_>) -> Result<PicOrder, BadParameterSet> {
    match r.ue_up_to(2, "pic_order_cnt_type is above 2")? {
        0 => Ok(PicOrder::Lsb {
            log2_max: 4 + r.ue_up_to(12, "log2_max_pic_order_cnt_lsb is above 16")?,
        }),
        1 => {
            let delta_always_zero = r.flag()?;
            r.se()?; // offset_for_non_ref_pic
            r.se()?; // offset_for_top_to_bottom_field
            for _ in 0..r.ue_up_to(255, "a picture order cycle is longer than 255")? {
                r.se()?;
            }
            Ok(PicOrder::Cycle { delta_always_zero })
        }
        _ => Ok(PicOrder::Decoding),
    }
}

/// Luma samples of `1 + units_minus1` units, less what is cropped.
fn cropped(
    units_minus1: u32,
    unit: u32,
    crop_before: u32,
    crop_after: u32,
    crop_unit: u32,
) -> Result<u32, BadParameterSet> {
    let coded = (u64::from(units_minus1) + 1) * u64::from(unit);
    let crop = (u64::from(crop_before) + u64::from(crop_after)) * u64::from(crop_unit);
    match coded.checked_sub(crop) {
        Some(side) if side > 0 && coded <= u64::from(MAX_PICTURE_SIDE) => Ok(side as u32),
        _ => Err(BadParameterSet("the picture is empty or above 16,384 samples a side")),
    }
}

#[cfg(test)]
#[path = "h264_tests.rs"]
mod tests;
