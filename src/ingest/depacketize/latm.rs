//! AAC in LATM in RTP (RFC 6416, `MP4A-LATM`): the config in SDP, or in-band.

use std::collections::VecDeque;

use bytes::Bytes;

use super::aac::{AacConfig, MAX_CONFIG_BYTES};
use super::fmtp::Fmtp;
use super::limit::{Limit, MAX_AAC_BYTES};
use super::{Discarded, Packet, Unit, Unsupported};
use crate::media::{Aac, BadParameterSet, BitReader, Codec, FrameKind};

/// A `StreamMuxConfig` (ISO/IEC 14496-3 §1.7.3) as far as cameras use it: one
/// program of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MuxConfig {
    /// Frames of an `AudioMuxElement`, 1 to 64.
    frames: u32,
    aac: Aac,
    /// Samples of a frame, and of how many a second, by the core codec.
    frame_samples: u32,
    core_rate: u32,
}

/// A number behind its count of bytes.
fn latm_value(r: &mut BitReader<'_>) -> Result<u32, BadParameterSet> {
    let bytes = r.bits(2)? + 1;
    r.bits(8 * bytes)
}

/// Bits `from` to `to` of `data`, as bytes.
fn bits_of(data: &[u8], from: usize, to: usize) -> Bytes {
    let bit = |at: usize| at < to && data.get(at / 8).is_some_and(|b| b >> (7 - at % 8) & 1 == 1);
    let byte = |start: usize| (start..start + 8).fold(0, |byte, at| byte << 1 | u8::from(bit(at)));
    (from..to).step_by(8).map(byte).collect()
}

/// Skips the signalling of SBR behind a config (ISO/IEC 14496-3 §1.6.5), if
/// that is what comes; a `frameLengthType` of ours cannot begin so.
fn skip_extension(r: &mut BitReader<'_>) -> bool {
    let mut ahead = r.clone();
    if ahead.bits(11) != Ok(0x2b7) || ahead.bits(5) != Ok(5) {
        return false;
    }
    if ahead.flag() == Ok(true) && ahead.bits(4) == Ok(15) {
        ahead.skip(24);
    }
    *r = ahead;
    true
}

/// What follows the config of the codec.
fn read_rest(r: &mut BitReader<'_>, extended: bool) -> Result<(), BadParameterSet> {
    if r.bits(3)? != 0 {
        return Err(BadParameterSet("LATM frames of fixed length"));
    }
    r.bits(8)?; // latmBufferFullness
    if r.flag()? {
        // otherDataLenBits; such data follows the frames and is not read.
        if extended {
            latm_value(r)?;
        } else {
            while r.bits(9)? & 0x100 != 0 {}
        }
    }
    if r.flag()? {
        r.bits(8)?; // crcCheckSum
    }
    Ok(())
}

impl MuxConfig {
    /// Reads it at `r`, which reads `data`.
    fn read(
        r: &mut BitReader<'_>,
        data: &[u8],
        said: Option<u16>,
    ) -> Result<Self, BadParameterSet> {
        let extended = r.flag()?;
        if extended && r.flag()? {
            return Err(BadParameterSet("a LATM version that is reserved"));
        }
        if extended {
            latm_value(r)?; // taraBufferFullness
        }
        let same_framing = r.flag()?;
        let frames = r.bits(6)? + 1;
        if !same_framing || r.bits(4)? != 0 || r.bits(3)? != 0 {
            return Err(BadParameterSet("LATM with several programs or layers"));
        }
        let length = if extended { Some(latm_value(r)? as usize) } else { None };
        let from = r.position();
        let info = AacConfig::read_from(r)?;
        let mut to = r.position();
        if let Some(length) = length {
            // What follows inside its length is an extension (SBR signalling).
            let end = from.saturating_add(length);
            if end < to || end > 8 * data.len() || length > 8 * MAX_CONFIG_BYTES {
                return Err(BadParameterSet("a LATM config of impossible length"));
            }
            r.skip(end - to);
            to = end;
        }
        // GStreamer leaves the encoder's extension where it has no place, and
        // ends the config wherever its bytes do.
        if extended || !skip_extension(r) || r.position() + 13 <= 8 * data.len() {
            read_rest(r, extended)?;
        }
        Ok(Self {
            frames,
            aac: info.with_bytes(bits_of(data, from, to), said),
            frame_samples: info.frame_samples,
            core_rate: info.core_rate,
        })
    }
}

/// Depacketizer.
#[derive(Debug)]
pub(super) struct RtpLatm {
    pub(super) codec: Option<Codec>,
    pub(super) ready: VecDeque<Unit>,
    pub(super) discarded: Discarded,
    rate: u32,
    channels: Option<u16>,
    /// Whether the config may come in-band (`cpresent`).
    in_band: bool,
    config: Option<MuxConfig>,
    /// The element being put together, and its timestamp.
    element: Vec<u8>,
    timestamp: Option<i64>,
    /// A part of that element is missing.
    damaged: bool,
    /// Packets of this element, and of the one that had most; 0 before the
    /// first is whole.
    parts: u32,
    most_parts: u32,
    lost: u32,
}

impl RtpLatm {
    pub(super) fn new(
        fmtp: &Fmtp<'_>,
        rate: u32,
        channels: Option<u16>,
    ) -> Result<Self, Unsupported> {
        let in_band = fmtp.number("cpresent") != Some(0);
        let config = match fmtp.hex("config") {
            Some(bytes) => MuxConfig::read(&mut BitReader::new(&bytes), &bytes, channels)
                .map_err(|bad| Unsupported(bad.0.into()))
                .map(Some),
            None if in_band => Ok(None),
            None => Err(Unsupported("LATM without its `config` in SDP".into())),
        };
        let config = match config {
            // Another one comes in-band.
            Err(_) if in_band => None,
            config => config?,
        };
        Ok(Self {
            codec: config.as_ref().map(|config| Codec::Aac(config.aac.clone())),
            ready: VecDeque::new(),
            discarded: Discarded::default(),
            rate,
            channels,
            in_band,
            config,
            element: Vec::new(),
            timestamp: None,
            damaged: false,
            parts: 0,
            most_parts: 0,
            lost: 0,
        })
    }

    pub(super) fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        self.lost = self.lost.saturating_add(packet.lost_before);
        if self.timestamp.is_some_and(|timestamp| timestamp != packet.timestamp) {
            // Its marker never came: lost, or never set.
            self.damaged |= packet.lost_before > 0;
            self.finish();
        }
        // What is missing may be the start of this one.
        self.damaged |= packet.lost_before > 0 && (self.parts > 0 || self.most_parts != 1);
        self.parts = self.parts.saturating_add(1);
        self.timestamp = Some(packet.timestamp);
        if self.element.len() + packet.payload.len() > MAX_AAC_BYTES {
            return Err(Limit::AudioBytes);
        }
        self.element.extend_from_slice(packet.payload);
        if packet.marker {
            self.finish();
        }
        Ok(())
    }

    /// Takes the frames out of the element (`AudioMuxElement`).
    fn finish(&mut self) {
        let element = std::mem::take(&mut self.element);
        let parts = std::mem::take(&mut self.parts);
        let Some(timestamp) = self.timestamp.take() else { return };
        if std::mem::take(&mut self.damaged) {
            self.discarded.damaged += 1;
        } else if self.split(timestamp, &element).is_err() {
            self.discarded.malformed += 1;
        } else {
            self.most_parts = self.most_parts.max(parts);
        }
        // And its memory with it.
        self.element = element;
        self.element.clear();
    }

    fn split(&mut self, timestamp: i64, element: &[u8]) -> Result<(), BadParameterSet> {
        let mut r = BitReader::new(element);
        if self.in_band && !r.flag()? {
            self.config = Some(MuxConfig::read(&mut r, element, self.channels)?);
        }
        let Some(config) = self.config.clone() else {
            self.discarded.undecodable += 1;
            return Ok(());
        };
        let ticks = u64::from(config.frame_samples) * u64::from(self.rate);
        let ticks = u32::try_from(ticks / u64::from(config.core_rate)).unwrap_or(u32::MAX);
        for n in 0..config.frames {
            let mut length = 0;
            loop {
                let more = r.bits(8)?;
                length += more as usize;
                if more < 255 {
                    break;
                }
            }
            let (from, to) = (r.position(), r.position() + 8 * length);
            if to > 8 * element.len() {
                return Err(BadParameterSet("it ends early"));
            }
            let data = match from % 8 {
                0 => Bytes::copy_from_slice(&element[from / 8..to / 8]),
                _ => bits_of(element, from, to),
            };
            r.skip(8 * length);
            self.hand_out(timestamp.saturating_add(i64::from(n) * i64::from(ticks)), ticks, data);
        }
        Ok(())
    }

    fn hand_out(&mut self, pts: i64, ticks: u32, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let codec = self.config.as_ref().map(|config| Codec::Aac(config.aac.clone()));
        let news = codec.filter(|codec| self.codec.as_ref() != Some(codec));
        if news.is_some() {
            self.codec.clone_from(&news);
        }
        self.ready.push_back(Unit {
            pts,
            dts: pts,
            kind: FrameKind::Audio,
            data,
            lost_before: std::mem::take(&mut self.lost),
            codec: news,
            samples: Some(ticks),
        });
    }
}
