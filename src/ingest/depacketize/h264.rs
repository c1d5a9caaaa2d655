//! H.264 in RTP (RFC 6184).

use super::Unsupported;
use super::access_unit::{has_recovery_point, split_at_start_codes, without_trailing_zeros};
use super::fmtp::Fmtp;
use super::limit::Limit;
use super::picture_order::OrderCount;
use super::sets::Sets;
use super::syntax::{Nal, Packing, Slice, Syntax};
use crate::media::{
    Avc, AvcPps, AvcSps, BadParameterSet, BitReader, Codec, MAX_PARAMETER_SET_BYTES, PicOrder,
    unescape,
};

/// NAL unit types (H.264 table 7-1, RFC 6184 table 1).
mod nal {
    pub(super) const SLICE: u8 = 1;
    pub(super) const PARTITION_A: u8 = 2;
    pub(super) const PARTITION_C: u8 = 4;
    pub(super) const IDR: u8 = 5;
    pub(super) const SEI: u8 = 6;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const STAP_A: u8 = 24;
    pub(super) const STAP_B: u8 = 25;
    pub(super) const FU_A: u8 = 28;
    pub(super) const FU_B: u8 = 29;
}

/// Bytes of a slice that hold all we read of its header: five Exp-Golomb codes
/// at their longest, and emulation prevention.
const SLICE_HEAD_BYTES: usize = 32;

/// Parameter sets of a track, and its NAL syntax.
#[derive(Debug, Default)]
pub(super) struct H264 {
    sps: Sets<AvcSps>,
    pps: Sets<AvcPps>,
    /// The codec of the SPS with this id, until a set changes.
    current: Option<(u8, Codec)>,
}

impl H264 {
    /// With the parameter sets of SDP, as far as they can be read; what comes
    /// in-band replaces them.
    pub(super) fn new(fmtp: &Fmtp<'_>) -> Result<Self, Unsupported> {
        let interleaved = fmtp.number("sprop-interleaving-depth").unwrap_or(0) > 0;
        if fmtp.number("packetization-mode") == Some(2) || interleaved {
            return Err(Unsupported("H.264 in interleaved packets (mode 2)".into()));
        }
        let mut h264 = Self::default();
        for set in fmtp.base64_list("sprop-parameter-sets") {
            // GW Security cameras end each with a start code.
            for unit in split_at_start_codes(&set) {
                // Too many or too long: in-band ones may be better.
                let _ = h264.classify(unit);
            }
        }
        Ok(h264)
    }

    /// The start of a slice header (H.264 §7.3.3).
    fn slice(&self, unit: &[u8], kind: u8) -> Result<Slice, BadParameterSet> {
        let head = unescape(unit.get(..SLICE_HEAD_BYTES).unwrap_or(unit));
        let mut r = BitReader::new(&head);
        let reference = r.bits(8)? & 0x60 != 0;
        let first_mb = r.ue()?;
        let slice_type = r.ue_up_to(9, "slice_type is above 9")?;
        let pps = r.ue_up_to(255, "a slice names a PPS above 255")? as u8;
        let sps = self.pps.get(pps).and_then(|set| self.sps.get(set.info.sps_id));
        // Fields share a `frame_num` and gaps skip some: neither proves a thing.
        let counts = |set: &AvcSps| set.frame_mbs_only && !set.frame_num_gaps_allowed;
        let (mut frame_num, mut order) = (None, None);
        if let Some(set) = sps.map(|set| &set.info) {
            if set.separate_colour_planes {
                r.bits(2)?;
            }
            let bits = set.log2_max_frame_num;
            frame_num = Some((r.bits(bits)?, 1 << bits)).filter(|_| counts(set));
            // A count that cannot be read does not cost the picture.
            order = order_count(set, r, kind == nal::IDR, reference).unwrap_or(None);
        }
        Ok(Slice {
            first: first_mb == 0,
            random_access: kind == nal::IDR,
            skipped_leading: false,
            has_skipped_leading: false,
            // I and SI; 5 to 9 say that all slices of the picture are alike.
            intra: matches!(slice_type % 5, 2 | 4),
            reference,
            pps,
            frame_num,
            references: None,
            order,
        })
    }
}

/// What follows `frame_num` in a slice header, to the picture order count.
fn order_count(
    sps: &AvcSps,
    mut r: BitReader<'_>,
    idr: bool,
    reference: bool,
) -> Result<Option<OrderCount>, BadParameterSet> {
    let PicOrder::Lsb { log2_max: bits } = sps.pic_order else {
        return Ok(None);
    };
    if sps.max_num_reorder_frames == Some(0) || !sps.frame_mbs_only && r.flag()? {
        return Ok(None);
    }
    if idr {
        r.ue()?; // idr_pic_id
    }
    Ok(Some(OrderCount { low: r.bits(bits)?, bits, restarts: idr, entry: idr, reference }))
}

impl Syntax for H264 {
    const HEADER: usize = 1;
    const TYPE: u8 = 0x1f;

    fn packing<'a>(&self, payload: &'a [u8]) -> Packing<'a> {
        let Some((&indicator, rest)) = payload.split_first() else {
            return Packing::Nothing;
        };
        match indicator & 0x1f {
            nal::STAP_A => Packing::Aggregate(rest),
            // With a decoding order number in front: in order outside of the
            // interleaved mode, which is refused.
            nal::STAP_B => rest.get(2..).map_or(Packing::Malformed, Packing::Aggregate),
            nal::FU_B if rest.len() < 3 => Packing::Malformed,
            kind @ (nal::FU_A | nal::FU_B) => match rest.split_first() {
                Some((&header, data)) => Packing::Fragment {
                    header: [indicator & 0xe0 | header & 0x1f, 0],
                    start: header & 0x80 != 0,
                    end: header & 0x40 != 0,
                    data: if kind == nal::FU_B { &data[2..] } else { data },
                },
                None => Packing::Malformed,
            },
            // 0 starts a byte stream; MTAPs exist in the interleaved mode only.
            0..=23 => Packing::Single(payload),
            _ => Packing::Malformed,
        }
    }

    fn classify(&mut self, unit: &[u8]) -> Result<Nal, Limit> {
        let Some(&header) = unit.first() else {
            return Ok(Nal::Other);
        };
        match header & 0x1f {
            kind @ (nal::SLICE | nal::PARTITION_A | nal::IDR) => {
                Ok(self.slice(unit, kind).map_or(Nal::Malformed, Nal::Slice))
            }
            nal::PARTITION_A..=nal::PARTITION_C => Ok(Nal::Partition),
            nal::SEI => {
                // Recovery points come early, long messages are user data.
                let head = unescape(unit.get(..512).unwrap_or(unit));
                let found = has_recovery_point(head.get(1..).unwrap_or_default());
                Ok(if found { Nal::RecoveryPoint } else { Nal::Other })
            }
            nal::SPS => {
                let set = without_trailing_zeros(unit);
                // Unreadable sets are left out: another may follow.
                if set.len() > MAX_PARAMETER_SET_BYTES {
                    return Err(Limit::ParameterSets);
                } else if let Ok(info) = AvcSps::read(set)
                    && self.sps.put(info.id, info.clone(), set)?
                {
                    self.pps.outdate(|pps| pps.sps_id == info.id);
                    self.current = None;
                }
                Ok(Nal::Other)
            }
            nal::PPS => {
                let set = without_trailing_zeros(unit);
                if set.len() > MAX_PARAMETER_SET_BYTES {
                    return Err(Limit::ParameterSets);
                } else if let Ok(info) = AvcPps::read(set)
                    && self.pps.put(info.id, info, set)?
                {
                    self.current = None;
                }
                Ok(Nal::Other)
            }
            _ => Ok(Nal::Other),
        }
    }

    fn codec(&mut self, pps: u8) -> Option<&Codec> {
        let active = self.pps.get(pps)?.info.sps_id;
        if self.current.as_ref().is_none_or(|(id, _)| *id != active) {
            let sps = self.sps.get(active)?.unit.clone();
            let avc = Avc::new(sps, self.pps.beside(pps, |set| set.sps_id == active)).ok()?;
            self.current = Some((active, Codec::H264(avc)));
        }
        self.current.as_ref().map(|(_, codec)| codec)
    }
}
