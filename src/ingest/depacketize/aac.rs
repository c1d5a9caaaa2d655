//! AAC in RTP (RFC 3640, `mpeg4-generic`).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::fmtp::Fmtp;
use super::limit::{Limit, MAX_AAC_BYTES};
use super::{Discarded, Packet, Unit, Unsupported};
use crate::media::{Aac, BadParameterSet, BitReader, Codec, FrameKind};

/// Most frames of one packet. A frame of silence has 6 bytes, and a packet of
/// 1,500 bytes and 5 s of delay is past what any camera sends.
const MAX_FRAMES: u32 = 250;

/// Longest `AudioSpecificConfig` we carry; AAC-LC has 2 bytes, one with a
/// program config element some dozens.
pub(super) const MAX_CONFIG_BYTES: usize = 64;

/// Samples per second by index (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// An `AudioSpecificConfig` as far as we read it (ISO/IEC 14496-3 §1.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// Audio object type; 2 is AAC-LC, 5 HE-AAC where said outright.
    pub object_type: u8,
    /// Samples per second that come out, after band replication.
    pub sample_rate: u32,
    /// Samples per second of the core codec.
    pub core_rate: u32,
    /// Channels; 0 when a program config element tells.
    pub channels: u8,
    /// Samples per channel that the core codec puts into a frame.
    pub frame_samples: u32,
}

impl AacConfig {
    /// Reads the config.
    ///
    /// # Errors
    ///
    /// A config that cannot be AAC.
    pub fn read(config: &[u8]) -> Result<Self, BadParameterSet> {
        Self::read_from(&mut BitReader::new(config))
    }

    /// Reads the config to its end, up to extensions that a decoder may not know.
    pub(super) fn read_from(r: &mut BitReader<'_>) -> Result<Self, BadParameterSet> {
        let mut kind = object_type(r)?;
        let object_type_shown = kind;
        let core_rate = sample_rate(r)?;
        let channels = match r.bits(4)? {
            n @ 0..=6 => n as u8,
            7 => 8,
            _ => return Err(BadParameterSet("an AAC channel configuration that is reserved")),
        };
        let mut rate = core_rate;
        if matches!(kind, 5 | 29) {
            rate = sample_rate(r)?;
            kind = object_type(r)?;
        }
        // Main, LC, SSR, LTP and scalable: those with a GASpecificConfig that
        // browsers know how to play start with the frame length.
        if !matches!(kind, 1..=4) {
            return Err(BadParameterSet("an AAC object type other than Main, LC, SSR or LTP"));
        }
        let frame_samples = if r.flag()? { 960 } else { 1024 };
        if r.flag()? {
            r.bits(14)?; // coreCoderDelay
        }
        r.flag()?; // extensionFlag
        Ok(Self {
            object_type: object_type_shown,
            sample_rate: rate,
            core_rate,
            channels,
            frame_samples,
        })
    }

    /// AAC-LC, which is what cameras send that leave the config out.
    fn usual(rate: u32, channels: Option<u16>) -> Option<(Self, [u8; 2])> {
        let index = SAMPLE_RATES.iter().position(|&known| known == rate)? as u8;
        let channels = channels.unwrap_or(1).clamp(1, 2) as u8;
        let config = [2 << 3 | index >> 1, index << 7 | channels << 3];
        Some((Self::read(&config).ok()?, config))
    }

    /// With its own bytes, and the channels that SDP speaks of where those of
    /// the config are in a program config element.
    pub(super) fn with_bytes(self, config: Bytes, said: Option<u16>) -> Aac {
        let said = said.map_or(2, |n| n.clamp(1, 8) as u8);
        Aac {
            config,
            object_type: self.object_type,
            sample_rate: self.sample_rate,
            channels: if self.channels == 0 { said } else { self.channels },
        }
    }
}

/// The raw frame behind an ADTS header (ISO/IEC 14496-3 §1.A.2.2), which some
/// cameras leave on. A raw frame cannot start like one: its first three bits
/// would be the end (§4.4.2.1).
fn without_adts(frame: &[u8]) -> &[u8] {
    let [0xff, b1, _, b3, b4, b5, b6, ..] = *frame else { return frame };
    let length = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5) >> 5;
    let one_block = b6 & 3 == 0;
    if b1 & 0xf6 != 0xf0 || length != frame.len() || !one_block {
        return frame;
    }
    frame.get(if b1 & 1 == 0 { 9 } else { 7 }..).unwrap_or_default()
}

fn object_type(r: &mut BitReader<'_>) -> Result<u8, BadParameterSet> {
    Ok(match r.bits(5)? {
        31 => 32 + r.bits(6)? as u8,
        n => n as u8,
    })
}

fn sample_rate(r: &mut BitReader<'_>) -> Result<u32, BadParameterSet> {
    let rate = match r.bits(4)? {
        15 => r.bits(24)?,
        index => SAMPLE_RATES.get(index as usize).copied().unwrap_or(0),
    };
    if (1_000..=192_000).contains(&rate) {
        Ok(rate)
    } else {
        Err(BadParameterSet("an AAC sample rate that is reserved or out of range"))
    }
}

/// Bits of the fields of an AU header (RFC 3640 §3.2.1).
#[derive(Clone, Copy, Debug)]
struct HeaderBits {
    size: u32,
    index: u32,
    index_delta: u32,
    cts_delta: u32,
    dts_delta: u32,
    random_access: u32,
    stream_state: u32,
    /// Of the auxiliary section behind the headers.
    auxiliary: u32,
}

impl HeaderBits {
    fn new(fmtp: &Fmtp<'_>) -> Result<Self, Unsupported> {
        // §3.3.5 and §3.3.6; cameras leave out what the mode implies.
        let low = fmtp.get("mode").is_some_and(|mode| mode.eq_ignore_ascii_case("AAC-lbr"));
        let (size, index) = if low { (6, 2) } else { (13, 3) };
        let bits = |name, usual| match fmtp.number(name).unwrap_or(usual) {
            bits @ 0..=32 => Ok(bits),
            bits => Err(Unsupported(format!("AAC with {name}={bits}"))),
        };
        Ok(Self {
            size: bits("sizelength", size)?.max(1),
            index: bits("indexlength", index)?,
            index_delta: bits("indexdeltalength", index)?,
            cts_delta: bits("ctsdeltalength", 0)?,
            dts_delta: bits("dtsdeltalength", 0)?,
            random_access: bits("randomaccessindication", 0)?.min(1),
            stream_state: bits("streamstateindication", 0)?,
            auxiliary: bits("auxiliarydatasizelength", 0)?,
        })
    }

    /// Reads a header: its size field and index (delta).
    fn read(&self, r: &mut BitReader<'_>, first: bool) -> Result<(usize, u32), BadParameterSet> {
        let size = r.bits(self.size)? as usize;
        let index = r.bits(if first { self.index } else { self.index_delta })?;
        // A header may end right here, whatever SDP announces, in the last one.
        for delta in [self.cts_delta, self.dts_delta] {
            if delta > 0 && r.flag()? {
                r.bits(delta)?;
            }
        }
        r.bits(self.random_access)?;
        r.bits(self.stream_state)?;
        Ok((size, index))
    }
}

/// A frame that spans packets.
#[derive(Debug)]
struct Partial {
    timestamp: i64,
    size: usize,
    data: BytesMut,
}

/// Depacketizer.
#[derive(Debug)]
pub(super) struct RtpAac {
    pub(super) codec: Codec,
    pub(super) ready: VecDeque<Unit>,
    pub(super) discarded: Discarded,
    bits: HeaderBits,
    /// RTP ticks of a frame.
    frame_ticks: u32,
    partial: Option<Partial>,
    lost: u32,
}

impl RtpAac {
    pub(super) fn new(
        fmtp: &Fmtp<'_>,
        rate: u32,
        channels: Option<u16>,
    ) -> Result<Self, Unsupported> {
        let (info, config) = match fmtp.get("config").filter(|config| !config.is_empty()) {
            None => AacConfig::usual(rate, channels)
                .map(|(info, config)| (info, Bytes::copy_from_slice(&config)))
                .ok_or_else(|| Unsupported(format!("AAC at {rate} Hz without its `config`")))?,
            Some(_) => {
                let config = fmtp.hex("config").filter(|c| c.len() <= MAX_CONFIG_BYTES);
                let config =
                    config.ok_or_else(|| Unsupported("AAC with an unreadable `config`".into()))?;
                let info = AacConfig::read(&config).map_err(|e| Unsupported(e.0.into()))?;
                (info, config.into())
            }
        };
        let ticks = u64::from(info.frame_samples) * u64::from(rate) / u64::from(info.core_rate);
        Ok(Self {
            codec: Codec::Aac(info.with_bytes(config, channels)),
            ready: VecDeque::new(),
            discarded: Discarded::default(),
            bits: HeaderBits::new(fmtp)?,
            frame_ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
            partial: None,
            lost: 0,
        })
    }

    pub(super) fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        self.lost = self.lost.saturating_add(packet.lost_before);
        let other_frame = |p: &Partial| p.timestamp != packet.timestamp || packet.lost_before > 0;
        if self.partial.take_if(|p| other_frame(p)).is_some() {
            self.discarded.damaged += 1;
        }
        if self.split(packet)?.is_err() {
            self.discarded.malformed += 1;
        }
        Ok(())
    }

    /// Takes the frames out of a packet (RFC 3640 §3.2).
    fn split(&mut self, packet: Packet<'_>) -> Result<Result<(), BadParameterSet>, Limit> {
        let sections = match sections(packet.payload, &self.bits) {
            Ok(sections) => sections,
            Err(bad) => return Ok(Err(bad)),
        };
        let (headers, header_bits, mut data) = sections;
        let mut r = BitReader::new(headers);
        let mut frames = 0;
        while r.position() < header_bits {
            let (size, index) = match self.bits.read(&mut r, frames == 0) {
                Ok(header) => header,
                Err(bad) => return Ok(Err(bad)),
            };
            // Interleaving (§3.2.3.2), which cameras have no use for.
            if index != 0 || frames >= MAX_FRAMES {
                return Ok(Err(BadParameterSet("interleaved, or too many frames")));
            }
            if size > MAX_AAC_BYTES {
                return Err(Limit::AudioBytes);
            }
            if let Some((frame, rest)) = data.split_at_checked(size) {
                let skipped = i64::from(frames) * i64::from(self.frame_ticks);
                let timestamp = packet.timestamp.saturating_add(skipped);
                if self.partial.is_none() {
                    self.hand_out(timestamp, Bytes::copy_from_slice(frame));
                } else {
                    // The last fragment happens to be as long as the frame
                    // claims: only a frame of another packet is.
                    self.partial = None;
                    self.discarded.damaged += 1;
                    self.hand_out(timestamp, Bytes::copy_from_slice(frame));
                }
                data = rest;
            } else if frames == 0 {
                self.join(packet.timestamp, size, data)?;
                return Ok(Ok(()));
            } else {
                return Ok(Err(BadParameterSet("it ends early")));
            }
            frames += 1;
        }
        Ok(Ok(()))
    }

    /// Adds a fragment: each carries the size of the whole (§3.2.3).
    fn join(&mut self, timestamp: i64, size: usize, fragment: &[u8]) -> Result<(), Limit> {
        if self.partial.take_if(|p| p.size != size).is_some() {
            self.discarded.damaged += 1;
        }
        let partial =
            self.partial.get_or_insert_with(|| Partial { timestamp, size, data: BytesMut::new() });
        // Both are far below the limit.
        if partial.data.len() + fragment.len() > MAX_AAC_BYTES {
            return Err(Limit::AudioBytes);
        }
        partial.data.extend_from_slice(fragment);
        if partial.data.len() >= size
            && let Some(mut whole) = self.partial.take()
        {
            whole.data.truncate(size);
            self.hand_out(timestamp, whole.data.freeze());
        }
        Ok(())
    }

    fn hand_out(&mut self, pts: i64, data: Bytes) {
        let data = data.slice_ref(without_adts(&data));
        if data.is_empty() {
            return;
        }
        self.ready.push_back(Unit {
            pts,
            dts: pts,
            kind: FrameKind::Audio,
            data,
            lost_before: std::mem::take(&mut self.lost),
            codec: None,
            samples: Some(self.frame_ticks),
        });
    }
}

/// The headers, the bits used of them, and the frames' bytes.
fn sections<'a>(
    payload: &'a [u8],
    bits: &HeaderBits,
) -> Result<(&'a [u8], usize, &'a [u8]), BadParameterSet> {
    let early = BadParameterSet("it ends early");
    let (length, rest) = payload.split_first_chunk::<2>().ok_or(early.clone())?;
    let header_bits = usize::from(u16::from_be_bytes(*length));
    let (headers, mut data) =
        rest.split_at_checked(header_bits.div_ceil(8)).ok_or(early.clone())?;
    if bits.auxiliary > 0 {
        let mut r = BitReader::new(data);
        let size = r.bits(bits.auxiliary)? as usize;
        let skip = r.position().saturating_add(size).div_ceil(8);
        data = data.get(skip..).ok_or(early)?;
    }
    Ok((headers, header_bits, data))
}
