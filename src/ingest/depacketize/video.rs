//! Access units of H.264 and H.265, which differ in syntax only.

use std::collections::VecDeque;

use super::access_unit::{
    AccessUnit, find_start_code, split_at_start_codes, without_trailing_zeros,
};
use super::chain::Chain;
use super::limit::Limit;
use super::picture_order::PictureOrder;
use super::reorder::Reorder;
use super::syntax::{Nal, Packing, Slice, Syntax};
use super::{Discarded, Packet, Unit};
use crate::media::{Codec, FrameKind};

/// Streams that refresh the picture gradually ("intra refresh", some Axis and
/// Hikvision "smart" modes) send no IDR, or only one at the start. When none
/// has come for this long, a recovery point or an all-intra picture counts as
/// a key frame. Cameras with IDRs send one every 1 to 4 s.
const IDR_PATIENCE_SECONDS: i64 = 4;

/// Units in a row whose first or last fragment does not say so, with no packet
/// missing, after which the camera is one that never says it.
const BITS_PATIENCE: u8 = 3;

/// Depacketizer of one video track.
#[derive(Debug)]
pub(super) struct Video<S> {
    syntax: S,
    pub(super) codec: Option<Codec>,
    pub(super) ready: VecDeque<Unit>,
    pub(super) discarded: Discarded,
    rate: i64,
    order: PictureOrder,
    reorder: Reorder,

    // The access unit being put together.
    unit: AccessUnit,
    timestamp: Option<i64>,
    first_slice: Option<Slice>,
    /// Every slice so far is intra.
    intra: bool,
    recovery_point: bool,
    damaged: bool,

    // What went before.
    /// Packets lost since the last unit handed out.
    lost: u32,
    pub(super) chain: Chain,
    /// Timestamp that a marker ended, unless packets were lost since.
    marked: Option<i64>,
    /// Some cameras set the marker on every slice: then only a new timestamp
    /// ends an access unit, at the price of one frame of latency.
    marker_lies: bool,
    /// Units in a row that lacked the start bit, and the end bit.
    missing_starts: u8,
    missing_ends: u8,
    /// Timestamp of the last IDR, or of the first picture.
    idr_at: Option<i64>,
}

impl<S: Syntax> Video<S> {
    /// `syntax` with the parameter sets of SDP, for a clock of `rate` hertz.
    pub(super) fn new(mut syntax: S, rate: u32) -> Self {
        let mut reorder = Reorder::new(rate);
        // Every encoder we met numbers its first picture parameter set 0.
        let codec = syntax.codec(0).cloned();
        if let Some(codec) = &codec {
            configure(&mut reorder, codec, rate);
        }
        Self {
            syntax,
            codec,
            ready: VecDeque::new(),
            discarded: Discarded::default(),
            rate: i64::from(rate),
            order: PictureOrder::new(rate),
            reorder,
            unit: AccessUnit::default(),
            timestamp: None,
            first_slice: None,
            intra: true,
            recovery_point: false,
            damaged: false,
            lost: 0,
            chain: Chain::default(),
            marked: None,
            marker_lies: false,
            missing_starts: 0,
            missing_ends: 0,
            idr_at: None,
        }
    }

    pub(super) fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        if packet.lost_before > 0 {
            self.lose(packet.lost_before);
        }
        if self.timestamp != Some(packet.timestamp) {
            // Without a slice it goes on under the new time: some cameras
            // stamp parameter sets and SEI with the previous picture's.
            self.displace()?;
            if self.first_slice.is_some() || self.damaged {
                self.finish();
            } else {
                self.unit.recount();
            }
            self.timestamp = Some(packet.timestamp);
        }
        match self.syntax.packing(packet.payload) {
            Packing::Single(unit) => self.units(unit)?,
            Packing::Aggregate(mut rest) => {
                while let Some((length, after)) = rest.split_first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    let Some((unit, after)) = after.split_at_checked(length) else {
                        self.malformed();
                        break;
                    };
                    self.units(unit)?;
                    rest = after;
                }
            }
            Packing::Fragment { header, start, end, data } => {
                self.fragment(&header[..S::HEADER], start, end, data)?;
            }
            Packing::Nothing => self.discarded.malformed += 1,
            Packing::Malformed => self.malformed(),
        }
        // A marker within a fragmented unit, or on parameter sets and SEI
        // before any slice, ends nothing.
        let ends = packet.marker && !self.marker_lies && !self.unit.is_open();
        if ends && (self.first_slice.is_some() || self.damaged) {
            self.finish();
            self.marked = Some(packet.timestamp);
        }
        Ok(())
    }

    /// Packets are missing before the one at hand. What was being put
    /// together has no marker yet, so its end may be among them.
    fn lose(&mut self, packets: u32) {
        self.lost = self.lost.saturating_add(packets);
        self.chain.suspect(packets);
        self.marked = None;
        if self.missing_starts < BITS_PATIENCE {
            self.missing_starts = 0;
        } else {
            // The next fragment may be from the middle, and would not tell.
            self.damaged = true;
        }
        if self.first_slice.is_some() || self.unit.is_open() {
            self.damaged = true;
        }
        self.unit.abandon();
    }

    fn malformed(&mut self) {
        self.discarded.malformed += 1;
        // It may have been a slice.
        self.damaged = true;
    }

    fn fragment(
        &mut self,
        header: &[u8],
        start: bool,
        end: bool,
        data: &[u8],
    ) -> Result<(), Limit> {
        let other = self.unit.open_header().is_some_and(|open| (open ^ header[0]) & S::TYPE != 0);
        if start || other {
            self.displace()?;
        }
        if start {
            self.missing_starts = 0;
            self.unit.begin(header)?;
        } else if !self.unit.is_open() {
            // Its start was lost, or never sent.
            if self.missing_starts < BITS_PATIENCE {
                self.missing_starts += u8::from(!self.damaged);
                self.damaged = true;
                return Ok(());
            }
            self.unit.begin(header)?;
        }
        self.unit.extend(data)?;
        // A start that is also an end breaks RFC 6184 §5.8, and is a whole
        // unit to the cameras that send it.
        if !end {
            return Ok(());
        }
        self.missing_ends = 0;
        self.join()
    }

    /// Something else follows the unit in fragments, and no packet is missing
    /// between: damage, unless this is a camera that marks no ends.
    fn displace(&mut self) -> Result<(), Limit> {
        if !self.unit.is_open() {
            return Ok(());
        }
        if self.missing_ends < BITS_PATIENCE {
            self.missing_ends += u8::from(!self.damaged);
            self.damaged = true;
            self.unit.abandon();
            return Ok(());
        }
        self.join()
    }

    /// Takes the unit whose fragments are all here.
    fn join(&mut self) -> Result<(), Limit> {
        let Some((at, unit)) = self.unit.end() else {
            return Ok(());
        };
        if find_start_code(unit).is_some() {
            let stream = unit.to_vec();
            self.unit.drop_last(at);
            return self.units(&stream);
        }
        let nal = self.syntax.classify(unit)?;
        if !self.note(nal) {
            self.unit.drop_last(at);
        }
        Ok(())
    }

    /// Takes what should be one unit, and is a byte stream from some cameras.
    fn units(&mut self, data: &[u8]) -> Result<(), Limit> {
        self.displace()?;
        // None ends with a zero (§7.4.1); some cameras pad them to four bytes.
        let units = split_at_start_codes(data).map(without_trailing_zeros);
        for unit in units.filter(|unit| !unit.is_empty()) {
            let nal = self.syntax.classify(unit)?;
            if self.note(nal) {
                self.unit.append(unit)?;
            } else {
                self.unit.skip(unit)?;
            }
        }
        Ok(())
    }

    /// Notes what a unit means for its access unit; whether it is kept.
    fn note(&mut self, nal: Nal) -> bool {
        match nal {
            Nal::Slice(slice) => {
                if self.first_slice.is_none() {
                    if !slice.first {
                        self.damaged = true;
                        if self.marked == self.timestamp {
                            // Its start is not missing: a marker cut it off,
                            // and it has been handed out as a whole picture.
                            self.marker_lies = true;
                            self.chain.break_off();
                        }
                    }
                    self.first_slice = Some(slice);
                    self.intra = true;
                }
                self.intra &= slice.intra;
                true
            }
            Nal::Partition => true,
            Nal::RecoveryPoint => {
                self.recovery_point = true;
                true
            }
            Nal::Other => false,
            Nal::Malformed => {
                self.malformed();
                false
            }
        }
    }

    /// Ends the access unit: hands it out, or drops and counts it.
    fn finish(&mut self) {
        let damaged = self.damaged;
        let (slice, timestamp) = (self.first_slice.take(), self.timestamp);
        let recovery_point = std::mem::take(&mut self.recovery_point);
        let intra = self.intra;
        self.damaged = false;
        self.marked = None;
        let (Some(slice), Some(timestamp), false) = (slice, timestamp, damaged) else {
            self.unit.clear();
            self.discarded.damaged += 1;
            self.chain.suspect(1);
            return;
        };
        // Of pictures that are held, too: they count.
        let shown = self.order.show_time(timestamp, slice.order);
        let idr_at = *self.idr_at.get_or_insert(timestamp);
        if slice.random_access {
            self.idr_at = Some(timestamp);
        }
        let patience = IDR_PATIENCE_SECONDS * self.rate;
        let no_idr = timestamp.saturating_sub(idr_at).saturating_abs() >= patience;
        let key = slice.random_access || no_idr && (recovery_point || intra);
        let codec = self.syntax.codec(slice.pps);
        let is_decodable = self.chain.admits(&slice, key, self.codec.as_ref(), codec);
        if !is_decodable {
            self.unit.clear();
            self.discarded.undecodable += 1;
            return;
        }
        let kind = if key { FrameKind::Key } else { FrameKind::Delta };
        self.hand_out(shown, kind, slice.pps);
    }

    fn hand_out(&mut self, shown: i64, kind: FrameKind, pps: u8) {
        let mut news = None;
        if let Some(codec) = self.syntax.codec(pps)
            && self.codec.as_ref() != Some(codec)
        {
            configure(&mut self.reorder, codec, self.rate as u32);
            news = Some(codec.clone());
            self.codec.clone_from(&news);
        }
        let times = self.reorder.stamp(shown);
        self.ready.push_back(Unit {
            pts: times.pts,
            dts: times.dts,
            kind,
            data: self.unit.take(),
            lost_before: std::mem::take(&mut self.lost),
            codec: news,
            samples: None,
        });
    }
}

fn configure(reorder: &mut Reorder, codec: &Codec, rate: u32) {
    match codec {
        Codec::H264(avc) => {
            let sps = crate::media::AvcSps::read(&avc.sps).ok();
            let ticks = sps.and_then(|s| s.frame_rate).map(|f| f.frame_ticks(rate));
            reorder.configure(avc.max_num_reorder_frames.unwrap_or(0), ticks);
        }
        Codec::H265(hevc) => reorder.configure(hevc.max_num_reorder_pics, None),
        _ => {}
    }
}
