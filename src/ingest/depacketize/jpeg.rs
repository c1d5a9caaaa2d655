//! JPEG in RTP (RFC 2435): scans come bare, and get back the headers that
//! make each a whole JFIF file.

mod tables;

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use super::limit::{Limit, MAX_ACCESS_UNIT_BYTES};
use super::{Discarded, Packet, Unit};
use crate::media::{Codec, FrameKind, Jpeg, PixelSize};

/// Luminance and chrominance quantizers, in zigzag order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quantizers {
    luma: Bytes,
    chroma: Bytes,
}

/// The payload headers of a packet (§3.1).
struct Header<'a> {
    offset: usize,
    kind: u8,
    q: u8,
    size: PixelSize,
    restart_interval: Option<u16>,
    /// In-band quantizers: precision bits and tables.
    tables: Option<(u8, &'a [u8])>,
    scan: &'a [u8],
}

/// The picture being put together.
#[derive(Debug)]
struct Picture {
    timestamp: i64,
    size: PixelSize,
    /// Where the scan starts in the buffer.
    scan_at: usize,
}

/// Depacketizer.
#[derive(Debug, Default)]
pub(super) struct RtpJpeg {
    pub(super) codec: Option<Codec>,
    pub(super) ready: VecDeque<Unit>,
    pub(super) discarded: Discarded,
    buffer: BytesMut,
    picture: Option<Picture>,
    /// By Q, for cameras that send them once (§3.1.8). At most 128 values.
    quantizers: BTreeMap<u8, Quantizers>,
    lost: u32,
    /// Timestamp of the picture last counted as damaged.
    counted: Option<i64>,
}

impl RtpJpeg {
    pub(super) fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        self.lost = self.lost.saturating_add(packet.lost_before);
        if packet.lost_before > 0 {
            self.drop_damaged();
        }
        let Some(header) = Header::read(packet.payload) else {
            self.discarded.malformed += 1;
            self.drop_damaged();
            return Ok(());
        };
        if self.picture.as_ref().is_some_and(|p| p.timestamp != packet.timestamp) {
            // Its marker never came; a scan that ends as one should is whole.
            if self.buffer.ends_with(&[0xff, 0xd9]) { self.finish() } else { self.drop_damaged() }
        }
        if header.offset == 0 {
            self.drop_damaged();
            if !self.start(&header, packet.timestamp) {
                self.discarded.malformed += 1;
                return Ok(());
            }
        }
        let Some(picture) = &self.picture else {
            // Its start was lost, or it is dropped already.
            self.count_damaged(packet.timestamp);
            return Ok(());
        };
        if self.buffer.len() - picture.scan_at != header.offset {
            self.drop_damaged();
            return Ok(());
        }
        if self.buffer.len() + header.scan.len() > MAX_ACCESS_UNIT_BYTES {
            return Err(Limit::AccessUnitBytes);
        }
        self.buffer.put_slice(header.scan);
        if packet.marker {
            self.finish();
        }
        Ok(())
    }

    fn drop_damaged(&mut self) {
        if let Some(picture) = self.picture.take() {
            self.buffer.clear();
            self.count_damaged(picture.timestamp);
        }
    }

    /// Counts a picture once, however many of its packets come.
    fn count_damaged(&mut self, timestamp: i64) {
        if self.counted.replace(timestamp) != Some(timestamp) {
            self.discarded.damaged += 1;
        }
    }

    /// Writes the headers of a new picture; `false` when its quantizers are
    /// unknown.
    fn start(&mut self, header: &Header<'_>, timestamp: i64) -> bool {
        let quantizers = match header.q {
            1..=99 => Some(scaled_quantizers(header.q)),
            128..=255 => {
                let sent = header.tables.and_then(|(precision, t)| read_quantizers(precision, t));
                // 255 changes from picture to picture, so is never kept.
                if let (Some(sent), 128..=254) = (&sent, header.q) {
                    self.quantizers.insert(header.q, sent.clone());
                }
                sent.or_else(|| self.quantizers.get(&header.q).cloned())
            }
            _ => None,
        };
        let Some(quantizers) = quantizers else {
            return false;
        };
        // Cameras' pictures are larger than this; small ones share it.
        self.buffer.reserve(32 << 10);
        write_headers(&mut self.buffer, header, &quantizers);
        self.picture = Some(Picture { timestamp, size: header.size, scan_at: self.buffer.len() });
        true
    }

    fn finish(&mut self) {
        let Some(picture) = self.picture.take() else {
            return;
        };
        if !self.buffer.ends_with(&[0xff, 0xd9]) {
            self.buffer.put_slice(&[0xff, 0xd9]);
        }
        let codec = Codec::Jpeg(Jpeg { size: picture.size });
        let news = (self.codec.as_ref() != Some(&codec)).then_some(codec);
        if news.is_some() {
            self.codec.clone_from(&news);
        }
        self.ready.push_back(Unit {
            pts: picture.timestamp,
            dts: picture.timestamp,
            kind: FrameKind::Key,
            data: self.buffer.split().freeze(),
            lost_before: std::mem::take(&mut self.lost),
            codec: news,
            samples: None,
        });
    }
}

impl<'a> Header<'a> {
    fn read(payload: &'a [u8]) -> Option<Self> {
        let [_type_specific, o0, o1, o2, kind, q, width, height, rest @ ..] = payload else {
            return None;
        };
        // Types 0 and 1, and 64 and 65 with restart markers (§4.1); the
        // others were never defined. Size 0 would be above 2,040 samples,
        // told elsewhere: such cameras are better asked for H.264.
        if !matches!(kind, 0 | 1 | 64 | 65) || *width == 0 || *height == 0 {
            return None;
        }
        let mut header = Self {
            offset: u32::from_be_bytes([0, *o0, *o1, *o2]) as usize,
            kind: *kind,
            q: *q,
            size: PixelSize { width: u32::from(*width) * 8, height: u32::from(*height) * 8 },
            restart_interval: None,
            tables: None,
            scan: rest,
        };
        if header.kind >= 64 {
            let (&[i0, i1, _count0, _count1], rest) = header.scan.split_first_chunk::<4>()?;
            header.restart_interval = Some(u16::from_be_bytes([i0, i1]));
            header.scan = rest;
        }
        if header.q >= 128 && header.offset == 0 {
            let (&[_zero, precision, l0, l1], rest) = header.scan.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let (tables, scan) = rest.split_at_checked(length)?;
            header.tables = Some((precision, tables));
            header.scan = scan;
        }
        Some(header)
    }
}

/// In-band tables (§3.1.8): 64 bytes each, or 128 where the precision bit is
/// set. One alone serves both.
fn read_quantizers(precision: u8, tables: &[u8]) -> Option<Quantizers> {
    let side = |table: u8| if precision >> table & 1 == 0 { 64 } else { 128 };
    let (luma, rest) = tables.split_at_checked(side(0))?;
    let chroma = rest.get(..side(1)).unwrap_or(luma);
    Some(Quantizers { luma: Bytes::copy_from_slice(luma), chroma: Bytes::copy_from_slice(chroma) })
}

/// Tables for Q 1 to 99 (§4.2).
fn scaled_quantizers(q: u8) -> Quantizers {
    let q = u32::from(q.clamp(1, 99));
    let factor = if q < 50 { 5000 / q } else { 200 - q * 2 };
    let scale = |&value: &u8| ((u32::from(value) * factor + 50) / 100).clamp(1, 255) as u8;
    Quantizers {
        luma: tables::LUMA_QUANTIZERS.iter().map(scale).collect(),
        chroma: tables::CHROMA_QUANTIZERS.iter().map(scale).collect(),
    }
}

/// All that comes before the scan (RFC 2435 appendix B, and a JFIF header).
fn write_headers(out: &mut BytesMut, header: &Header<'_>, quantizers: &Quantizers) {
    out.put_slice(&[0xff, 0xd8]);
    // APP0: JFIF 1.2, square samples, no thumbnail.
    out.put_slice(b"\xff\xe0\x00\x10JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00");
    for (id, table) in [(0, &quantizers.luma), (1, &quantizers.chroma)] {
        out.put_slice(&[0xff, 0xdb]);
        out.put_u16(3 + table.len() as u16);
        out.put_u8(if table.len() == 128 { 0x10 | id } else { id });
        out.put_slice(table);
    }
    if let Some(interval) = header.restart_interval {
        out.put_slice(&[0xff, 0xdd, 0, 4]);
        out.put_u16(interval);
    }
    // SOF0: 8 bits, three components; luma twice as dense across, and down
    // as well for type 1.
    out.put_slice(&[0xff, 0xc0, 0, 17, 8]);
    out.put_u16(header.size.height as u16);
    out.put_u16(header.size.width as u16);
    let luma = if header.kind & 1 == 0 { 0x21 } else { 0x22 };
    out.put_slice(&[3, 1, luma, 0, 2, 0x11, 1, 3, 0x11, 1]);
    out.put_slice(&[0xff, 0xc4]);
    out.put_u16(2 + tables::HUFFMAN_TABLES.len() as u16);
    out.put_slice(&tables::HUFFMAN_TABLES);
    // SOS: luma by tables 0, chroma by tables 1, all coefficients.
    out.put_slice(&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
}

#[cfg(test)]
mod tests;
