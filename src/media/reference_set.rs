//! H.265 reference picture sets: which pictures a picture needs, by its own
//! word. H.264 has nothing like it.

use super::{BadParameterSet, BitReader};

/// Most short-term sets of an SPS (H.265 §7.4.3.2.1).
const MAX_SETS: u32 = 64;
/// Most pictures of a set (`sps_max_dec_pic_buffering` is 16 at most).
const MAX_PICTURES: u32 = 16;

/// A short-term reference picture set (§7.4.8): pictures that a decoder still
/// holds, by how far from the present one they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceSet {
    /// Those shown before it, the nearest first: difference of the picture
    /// order counts, and whether the present picture itself refers to it.
    before: Vec<(i32, bool)>,
    /// Those shown after it, likewise.
    after: Vec<(i32, bool)>,
}

/// What an SPS says of references, so that slice headers can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceSets {
    sets: Vec<ReferenceSet>,
    /// Slices may name long-term pictures too; so many are named by the SPS.
    long_term: Option<u32>,
}

impl ReferenceSet {
    /// Every picture of the set: difference of the picture order counts, and
    /// whether the present picture refers to it.
    pub fn iter(&self) -> impl Iterator<Item = (i32, bool)> {
        self.before.iter().chain(&self.after).copied()
    }

    fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// `st_ref_pic_set(index)` (§7.3.7), behind those read so far.
    fn read(
        r: &mut BitReader<'_>,
        sets: &[Self],
        index: usize,
        in_slice: bool,
    ) -> Result<Self, BadParameterSet> {
        const WRONG: &str = "a reference picture set that H.265 cannot have written";
        if index > 0 && r.flag()? {
            let back = if in_slice { 1 + r.ue_up_to(MAX_SETS, WRONG)? as usize } else { 1 };
            let from = index.checked_sub(back).and_then(|from| sets.get(from));
            let from = from.ok_or(BadParameterSet(WRONG))?;
            let is_negative = r.flag()?;
            let shift = 1 + r.ue_up_to((1 << 15) - 1, WRONG)? as i32;
            return from.shifted(if is_negative { -shift } else { shift }, r);
        }
        let (before, after) = (r.ue_up_to(MAX_PICTURES, WRONG)?, r.ue_up_to(MAX_PICTURES, WRONG)?);
        let mut side = |count: u32, sign: i32| {
            let mut distance = 0;
            let picture = |_| {
                distance += sign * (1 + r.ue_up_to((1 << 15) - 1, WRONG)? as i32);
                Ok((distance, r.flag()?))
            };
            (0..count).map(picture).collect::<Result<Vec<_>, BadParameterSet>>()
        };
        Ok(Self { before: side(before, -1)?, after: side(after, 1)? })
    }

    /// A set predicted from this one (§7.4.8, equations 7-61 and 7-62).
    fn shifted(&self, shift: i32, r: &mut BitReader<'_>) -> Result<Self, BadParameterSet> {
        let pictures = self.iter().map(|(distance, _)| distance).chain([0]);
        let mut kept = Vec::with_capacity(self.len() + 1);
        for distance in pictures {
            let is_used = r.flag()?;
            let is_kept = is_used || r.flag()?;
            let distance = distance + shift;
            if is_kept && distance != 0 {
                kept.push((distance, is_used));
            }
        }
        // The nearest first, on either side: what the equations' loops do.
        kept.sort_by_key(|(distance, _)| distance.abs());
        let (before, after) = kept.into_iter().partition(|(distance, _)| *distance < 0);
        Ok(Self { before, after })
    }
}

impl ReferenceSets {
    /// Reads an SPS on from `log2_min_luma_coding_block_size_minus3`.
    ///
    /// # Errors
    ///
    /// Anything H.265 §7.3.2.2 cannot have written.
    pub(super) fn read(r: &mut BitReader<'_>) -> Result<Self, BadParameterSet> {
        for _ in 0..6 {
            r.ue()?; // sizes of blocks and depths of trees
        }
        if r.flag()? && r.flag()? {
            skip_scaling_lists(r)?;
        }
        r.bits(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
        if r.flag()? {
            r.bits(8)?; // bit depths of PCM samples
            r.ue()?;
            r.ue()?;
            r.flag()?;
        }
        let count = r.ue_up_to(MAX_SETS, "more than 64 reference picture sets")? as usize;
        let mut sets = Vec::with_capacity(count);
        for index in 0..count {
            sets.push(ReferenceSet::read(r, &sets, index, false)?);
        }
        let long_term = if r.flag()? {
            Some(r.ue_up_to(32, "more than 32 long-term reference pictures")?)
        } else {
            None
        };
        Ok(Self { sets, long_term })
    }

    /// Reads a slice header on from behind `slice_pic_order_cnt_lsb`. `None`
    /// where it names long-term pictures.
    ///
    /// # Errors
    ///
    /// Anything H.265 §7.3.6.1 cannot have written.
    pub fn of_slice(&self, r: &mut BitReader<'_>) -> Result<Option<ReferenceSet>, BadParameterSet> {
        let count = self.sets.len();
        let set = if r.flag()? {
            let bits = usize::BITS - count.saturating_sub(1).leading_zeros();
            let index = r.bits(bits)? as usize;
            self.sets.get(index).cloned().ok_or(BadParameterSet("no such reference picture set"))?
        } else {
            ReferenceSet::read(r, &self.sets, count, true)?
        };
        if let Some(of_sps) = self.long_term {
            let named = if of_sps > 0 { r.ue()? } else { 0 };
            if named > 0 || r.ue()? > 0 {
                return Ok(None);
            }
        }
        Ok(Some(set))
    }
}

/// `scaling_list_data` (§7.3.4).
fn skip_scaling_lists(r: &mut BitReader<'_>) -> Result<(), BadParameterSet> {
    for size in 0..4_u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !r.flag()? {
                r.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            let first = u32::from(size > 1);
            for _ in 0..first + 64.min(1 << (4 + (size << 1))) {
                r.se()?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::BitWriter;
    use super::*;

    /// Bits that `write` makes.
    fn bits(write: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
        let mut w = BitWriter::default();
        write(&mut w);
        w.bits(0, 32);
        w.finish()
    }

    fn pictures(set: &ReferenceSet) -> Vec<(i32, bool)> {
        set.iter().collect()
    }

    #[test]
    fn a_set_is_read_from_its_distances_and_predicted_from_another() {
        let data = bits(|w| {
            for number in [2, 1] {
                w.ue(number); // two before, one after
            }
            for (distance, used) in [(1, 1), (3, 0), (2, 1)] {
                w.ue(distance - 1);
                w.bits(used, 1);
            }
            w.bits(1, 1); // predicted
            w.bits(1, 1); // shifted back
            w.ue(0); // by one
            // -1 → -2 used; -4 → -5 gone; +2 → +1 held; 0 → -1 used
            for (flag, count) in [(1, 1), (0, 2), (1, 2), (1, 1)] {
                w.bits(flag, count);
            }
        });
        let mut r = BitReader::new(&data);
        let first = ReferenceSet::read(&mut r, &[], 0, false).unwrap();
        assert_eq!(pictures(&first), [(-1, true), (-4, false), (2, true)]);
        let second = ReferenceSet::read(&mut r, &[first], 1, false).unwrap();
        assert_eq!(pictures(&second), [(-1, true), (-2, true), (1, false)]);
    }

    #[test]
    fn slices_name_a_set_of_the_sps_or_bring_their_own_and_long_term_ones_are_unknown() {
        let set = |distance| ReferenceSet { before: vec![(distance, true)], after: vec![] };
        let mut sets = ReferenceSets { sets: vec![set(-1), set(-2), set(-3)], long_term: None };
        let of = |sets: &ReferenceSets, data: &[u8]| {
            sets.of_slice(&mut BitReader::new(data)).map(|set| set.map(|set| pictures(&set)))
        };
        assert_eq!(of(&sets, &[0b1100_0000]), Ok(Some(vec![(-3, true)])));
        assert!(of(&sets, &[0b1110_0000]).is_err());
        let own = bits(|w| {
            w.bits(0b00, 2); // its own, not predicted
            w.ue(1);
            w.ue(0);
            w.ue(6);
            w.bits(1, 1);
            w.ue(0); // long-term pictures
        });
        assert_eq!(of(&sets, &own), Ok(Some(vec![(-7, true)])));
        sets.long_term = Some(0);
        assert_eq!(of(&sets, &own), Ok(Some(vec![(-7, true)])));
        assert_eq!(of(&sets, &[0b1000_1000]), Ok(None), "one long-term picture");
    }
}
