//! H.265 in RTP (RFC 7798).

use super::Unsupported;
use super::access_unit::{has_recovery_point, split_at_start_codes, without_trailing_zeros};
use super::fmtp::Fmtp;
use super::limit::Limit;
use super::picture_order::OrderCount;
use super::references::References;
use super::sets::Sets;
use super::syntax::{Nal, Packing, Slice, Syntax};
use crate::media::{
    BadParameterSet, BitReader, Codec, Hevc, HevcPps, HevcSps, MAX_PARAMETER_SET_BYTES, unescape,
};

/// NAL unit types (H.265 table 7-1, RFC 7798 §4.4).
mod nal {
    pub(super) const SUB_LAYER_R: u8 = 15;
    pub(super) const RADL_N: u8 = 6;
    pub(super) const RASL_N: u8 = 8;
    pub(super) const RASL_R: u8 = 9;
    pub(super) const BLA_W_LP: u8 = 16;
    pub(super) const BLA_W_RADL: u8 = 17;
    pub(super) const BLA_N_LP: u8 = 18;
    pub(super) const IDR_W_RADL: u8 = 19;
    pub(super) const IDR_N_LP: u8 = 20;
    pub(super) const CRA: u8 = 21;
    pub(super) const VPS: u8 = 32;
    pub(super) const SPS: u8 = 33;
    pub(super) const PPS: u8 = 34;
    pub(super) const PREFIX_SEI: u8 = 39;
    pub(super) const AGGREGATE: u8 = 48;
    pub(super) const FRAGMENT: u8 = 49;
}

/// Bytes of a slice that hold all we read of its header.
const SLICE_HEAD_BYTES: usize = 64;

/// Parameter sets of a track, and its NAL syntax.
#[derive(Debug, Default)]
pub(super) struct H265 {
    vps: Sets<()>,
    sps: Sets<HevcSps>,
    pps: Sets<HevcPps>,
    /// The codec of the SPS with this id, until a set changes.
    current: Option<(u8, Codec)>,
}

impl H265 {
    /// With the parameter sets of SDP, as far as they can be read; what comes
    /// in-band replaces them.
    pub(super) fn new(fmtp: &Fmtp<'_>) -> Result<Self, Unsupported> {
        // Decoding order numbers change the layout of every packet (§4.4).
        if fmtp.number("sprop-max-don-diff").unwrap_or(0) > 0 {
            return Err(Unsupported("H.265 in interleaved packets (DONL)".into()));
        }
        let mut h265 = Self::default();
        for kind in ["sprop-vps", "sprop-sps", "sprop-pps"] {
            for set in fmtp.base64_list(kind) {
                for unit in split_at_start_codes(&set) {
                    // Too many or too long: in-band ones may be better.
                    let _ = h265.classify(unit);
                }
            }
        }
        Ok(h265)
    }

    /// Keeps a parameter set; what cannot be read is left out, since another
    /// may follow.
    fn keep(&mut self, kind: u8, unit: &[u8]) -> Result<(), Limit> {
        let set = without_trailing_zeros(unit);
        if set.len() > MAX_PARAMETER_SET_BYTES {
            return Err(Limit::ParameterSets);
        }
        let changed = match kind {
            nal::VPS => match *set {
                // The id is the first thing in it (§7.3.2.1).
                [_, _, id, _, ..] => self.vps.put(id >> 4, (), set)?,
                _ => false,
            },
            nal::SPS => match HevcSps::read(set) {
                Ok(info) => {
                    let id = info.id;
                    let changed = self.sps.put(id, info, set)?;
                    if changed {
                        self.pps.outdate(|pps| pps.sps_id == id);
                    }
                    changed
                }
                Err(_) => false,
            },
            _ => match HevcPps::read(set) {
                Ok(info) => self.pps.put(info.id, info, set)?,
                Err(_) => false,
            },
        };
        if changed {
            self.current = None;
        }
        Ok(())
    }

    /// The start of a slice segment header (H.265 §7.3.6.1).
    fn slice(&self, unit: &[u8], kind: u8) -> Result<Slice, BadParameterSet> {
        let head = unescape(unit.get(..SLICE_HEAD_BYTES).unwrap_or(unit));
        let mut r = BitReader::new(&head);
        let base_layer = r.bits(16)? & 7 == 1;
        let first = r.flag()?;
        let random_access = (nal::BLA_W_LP..=nal::CRA).contains(&kind);
        if random_access {
            r.flag()?; // no_output_of_prior_pics_flag
        }
        let pps = r.ue_up_to(63, "a slice names a PPS above 63")? as u8;
        let set = self.pps.get(pps);
        let mut references = None;
        let order = match set.and_then(|set| Some((&set.info, self.sps.get(set.info.sps_id)?))) {
            // A count that cannot be read does not cost the picture.
            Some((pps, sps)) if first => {
                references = read_references(pps, &sps.info, r.clone(), kind).unwrap_or(None);
                order_count(pps, &sps.info, r, kind, base_layer).unwrap_or(None)
            }
            _ => None,
        };
        Ok(Slice {
            first,
            random_access,
            skipped_leading: matches!(kind, nal::RASL_N | nal::RASL_R),
            has_skipped_leading: matches!(kind, nal::BLA_W_LP | nal::BLA_W_RADL | nal::CRA),
            // The slice type lies behind fields of the PPS that we do not read.
            intra: false,
            reference: true,
            pps,
            frame_num: None,
            references,
            order,
        })
    }
}

/// What the first slice header of a picture says of the pictures that it needs.
fn read_references(
    pps: &HevcPps,
    sps: &HevcSps,
    mut r: BitReader<'_>,
    kind: u8,
) -> Result<Option<References>, BadParameterSet> {
    let bits = sps.log2_max_pic_order_cnt_lsb;
    if matches!(kind, nal::IDR_W_RADL | nal::IDR_N_LP) {
        return Ok(Some(References::none(0, bits)));
    }
    let Some(sets) = sps.references.as_ref().filter(|_| sps.chroma_format != 3) else {
        return Ok(None);
    };
    r.bits(u32::from(pps.num_extra_slice_header_bits))?;
    r.ue()?; // slice_type
    if pps.output_flag_present {
        r.flag()?; // pic_output_flag
    }
    let low = r.bits(bits)?;
    if (nal::BLA_W_LP..=nal::BLA_N_LP).contains(&kind) {
        return Ok(Some(References::none(low, bits)));
    }
    Ok(sets.of_slice(&mut r)?.and_then(|set| References::new(low, bits, &set)))
}

/// What follows the PPS's id in the first slice header of a picture, to the
/// picture order count.
fn order_count(
    pps: &HevcPps,
    sps: &HevcSps,
    mut r: BitReader<'_>,
    kind: u8,
    base_layer: bool,
) -> Result<Option<OrderCount>, BadParameterSet> {
    // With 4:4:4 a plane's number may come first, and no camera sends that.
    if sps.max_num_reorder_pics == 0 || sps.chroma_format == 3 {
        return Ok(None);
    }
    let bits = sps.log2_max_pic_order_cnt_lsb;
    if matches!(kind, nal::IDR_W_RADL | nal::IDR_N_LP) {
        return Ok(Some(OrderCount { low: 0, bits, restarts: true, entry: true, reference: true }));
    }
    r.bits(u32::from(pps.num_extra_slice_header_bits))?;
    r.ue()?; // slice_type
    if pps.output_flag_present {
        r.flag()?; // pic_output_flag
    }
    // What others do not refer to, or a viewer may have skipped, is no measure
    // (§8.3.1): even types below RSV_VCL_R15, RADL and RASL.
    let optional =
        kind <= nal::SUB_LAYER_R && kind & 1 == 0 || (nal::RADL_N..=nal::RASL_R).contains(&kind);
    Ok(Some(OrderCount {
        low: r.bits(bits)?,
        bits,
        restarts: matches!(kind, nal::BLA_W_LP..=nal::BLA_N_LP),
        entry: kind >= nal::BLA_W_LP,
        reference: base_layer && !optional,
    }))
}

impl Syntax for H265 {
    const HEADER: usize = 2;
    const TYPE: u8 = 0x7e;

    fn packing<'a>(&self, payload: &'a [u8]) -> Packing<'a> {
        let [first, second, rest @ ..] = payload else {
            return Packing::Nothing;
        };
        match first >> 1 & 0x3f {
            nal::AGGREGATE => Packing::Aggregate(rest),
            nal::FRAGMENT => match rest.split_first() {
                Some((&header, data)) => Packing::Fragment {
                    header: [first & 0x81 | (header & 0x3f) << 1, *second],
                    start: header & 0x80 != 0,
                    end: header & 0x40 != 0,
                    data,
                },
                None => Packing::Malformed,
            },
            0..=47 => Packing::Single(payload),
            _ => Packing::Malformed,
        }
    }

    fn classify(&mut self, unit: &[u8]) -> Result<Nal, Limit> {
        let [first, second, _payload, ..] = *unit else {
            return Ok(Nal::Other);
        };
        // Layers above the base belong to extensions no browser decodes.
        if first & 1 != 0 || second & 0xf8 != 0 {
            return Ok(Nal::Other);
        }
        match first >> 1 & 0x3f {
            kind @ (0..=nal::RASL_R | nal::BLA_W_LP..=nal::CRA) => {
                Ok(self.slice(unit, kind).map_or(Nal::Malformed, Nal::Slice))
            }
            kind @ nal::VPS..=nal::PPS => {
                self.keep(kind, unit)?;
                Ok(Nal::Other)
            }
            nal::PREFIX_SEI => {
                // Recovery points come early, long messages are user data.
                let head = unescape(unit.get(..512).unwrap_or(unit));
                let found = has_recovery_point(head.get(2..).unwrap_or_default());
                Ok(if found { Nal::RecoveryPoint } else { Nal::Other })
            }
            _ => Ok(Nal::Other),
        }
    }

    fn codec(&mut self, pps: u8) -> Option<&Codec> {
        let active = self.pps.get(pps)?.info.sps_id;
        if self.current.as_ref().is_none_or(|(id, _)| *id != active) {
            let sps = self.sps.get(active)?;
            let vps = self.vps.get(sps.info.vps_id)?.unit.clone();
            let all = self.pps.beside(pps, |set| set.sps_id == active);
            let hevc = Hevc::new(vps, sps.unit.clone(), all).ok()?;
            self.current = Some((active, Codec::H265(hevc)));
        }
        self.current.as_ref().map(|(_, codec)| codec)
    }
}
