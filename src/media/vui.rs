//! Video usability information of H.264 (annex E).

use super::nal::FrameRate;
use super::{BadParameterSet, BitReader};

/// What the samples of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// `matrix_coefficients` (table E-5): 1 is BT.709, 5 and 6 are BT.601, 2 is
    /// unspecified.
    pub matrix: u8,
    /// Black is 0 and white 255, instead of 16 and 235.
    pub full_range: bool,
}

impl Default for Colour {
    /// What §E.2.1 infers where nothing is said.
    fn default() -> Self {
        Self { matrix: 2, full_range: false }
    }
}

/// By `aspect_ratio_idc` (table E-1).
const SAMPLE_ASPECTS: [(u16, u16); 17] = [
    (0, 0),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Video usability information, as far as it went (annex E.1.1).
#[derive(Default)]
pub(super) struct Vui {
    pub(super) sample_aspect: Option<(u16, u16)>,
    pub(super) colour: Colour,
    pub(super) frame_rate: Option<FrameRate>,
    pub(super) max_num_reorder_frames: Option<u32>,
    /// Bit position of `bitstream_restriction_flag`.
    pub(super) restriction: Option<usize>,
}

impl Vui {
    pub(super) fn read(r: &mut BitReader<'_>) -> Self {
        let mut vui = Self::default();
        // An early end keeps what was read before it.
        let _cut_short = vui.fill(r);
        vui
    }

    fn fill(&mut self, r: &mut BitReader<'_>) -> Result<(), BadParameterSet> {
        if r.flag()? {
            let (width, height) = match r.bits(8)? {
                // Extended_SAR
                255 => (r.bits(16)? as u16, r.bits(16)? as u16),
                known => SAMPLE_ASPECTS.get(known as usize).copied().unwrap_or_default(),
            };
            // Either of them 0: unspecified (§E.2.1).
            self.sample_aspect = (width > 0 && height > 0).then_some((width, height));
        }
        if r.flag()? {
            r.flag()?; // overscan_appropriate_flag
        }
        if r.flag()? {
            r.bits(3)?; // video_format
            self.colour.full_range = r.flag()?;
            if r.flag()? {
                r.bits(16)?; // primaries, transfer characteristics
                self.colour.matrix = r.bits(8)? as u8;
            }
        }
        if r.flag()? {
            r.ue()?; // chroma_sample_loc_type of both fields
            r.ue()?;
        }
        if r.flag()? {
            let (tick, scale) = (r.bits(32)?, r.bits(32)?);
            r.flag()?; // fixed_frame_rate_flag
            // A tick is one field (§E.2.1), so a frame takes two.
            self.frame_rate = FrameRate::new(scale, tick.saturating_mul(2));
        }
        let nal_hrd = r.flag()?;
        if nal_hrd {
            skip_hrd(r)?;
        }
        let vcl_hrd = r.flag()?;
        if vcl_hrd {
            skip_hrd(r)?;
        }
        if nal_hrd || vcl_hrd {
            r.flag()?; // low_delay_hrd_flag
        }
        r.flag()?; // pic_struct_present_flag
        let restriction = r.position();
        let restricted = r.flag()?;
        self.restriction = Some(restriction);
        if restricted {
            r.flag()?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                r.ue()?; // bytes and bits denominators, vector lengths
            }
            let reorder = r.ue_up_to(16, "more than 16 frames are reordered")?;
            self.max_num_reorder_frames = Some(reorder);
        }
        Ok(())
    }
}

/// Annex E.1.2.
fn skip_hrd(r: &mut BitReader<'_>) -> Result<(), BadParameterSet> {
    let schedules = 1 + r.ue_up_to(31, "an HRD has more than 32 schedules")?;
    r.bits(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..schedules {
        r.ue()?;
        r.ue()?;
        r.flag()?;
    }
    r.bits(20)?; // lengths of delays and offsets
    Ok(())
}
