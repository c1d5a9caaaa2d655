//! RTP payloads to frames.
//!
//! Here: access units out of packets, for each codec we carry; the parameters
//! a decoder needs, from SDP and in-band; what is damaged or cannot be decoded
//! after loss; the order of decoding. Not here: I/O, clocks, RTP headers,
//! jitter (the transport's), and time in any sense but RTP ticks (`timeline`).
//!
//! Promise: whatever a camera sends, nothing panics, memory stays below the
//! [`Limit`]s, and a damaged picture is never handed out as a good one.
//!
//! `retina` has depacketizers of its own. They grow without bound on an
//! endless fragment, keep one PPS, and know neither Opus nor intra refresh.

mod aac;
mod access_unit;
mod audio;
mod av1;
mod chain;
mod fmtp;
mod h264;
mod h265;
mod jpeg;
mod latm;
mod limit;
mod picture;
mod picture_order;
mod references;
mod reorder;
mod sets;
mod syntax;
mod video;
mod vpx;

use std::collections::VecDeque;

use bytes::Bytes;

pub use aac::AacConfig;
pub use limit::Limit;
pub use reorder::{Reorder, Times};

use crate::media::{Codec, FrameKind, MediaKind};

/// One RTP packet, in order; what lies between two is `lost_before`.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// RTP timestamp, unwrapped.
    pub timestamp: i64,
    /// The marker bit.
    pub marker: bool,
    /// Packets missing between the previous one and this one.
    pub lost_before: u32,
    /// Payload, without header, extension and padding.
    pub payload: &'a [u8],
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// When to show it, in RTP ticks.
    pub pts: i64,
    /// When to decode it, in RTP ticks; before or at `pts`, and always after
    /// the previous unit's unless the camera's clock jumped by seconds.
    pub dts: i64,
    /// What a decoder needs before it.
    pub kind: FrameKind,
    /// As [`crate::media::Draft::data`] says.
    pub data: Bytes,
    /// Packets lost since the previous unit.
    pub lost_before: u32,
    /// The codec as of this unit, where it is new or not what
    /// [`Depacketizer::codec`] said before.
    pub codec: Option<Codec>,
    /// Duration in RTP ticks, where the payload tells (sound).
    pub samples: Option<u32>,
}

/// What to do with pictures that depend on lost ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterLoss {
    /// Hold them back until the picture is decodable again.
    #[default]
    Hold,
    /// Hand them out: smeared, but moving.
    Show,
}

/// What was not handed out, and why; only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Frames of which a part was missing.
    pub damaged: u64,
    /// Whole frames that need one that was lost, or parameters never seen.
    pub undecodable: u64,
    /// Packets that do not follow their payload format.
    pub malformed: u64,
}

/// A payload we cannot carry; the text says why, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Depacketizer of one track. Push a packet, then pull until there is none.
#[derive(Debug)]
pub struct Depacketizer(Payload);

#[derive(Debug)]
enum Payload {
    H264(Box<video::Video<h264::H264>>),
    H265(Box<video::Video<h265::H265>>),
    Vp8(Box<picture::Pictures<vpx::RtpVp8>>),
    Vp9(Box<picture::Pictures<vpx::RtpVp9>>),
    Av1(Box<picture::Pictures<av1::RtpAv1>>),
    Jpeg(Box<jpeg::RtpJpeg>),
    Aac(Box<aac::RtpAac>),
    Latm(Box<latm::RtpLatm>),
    Plain(audio::PlainAudio),
}

impl Depacketizer {
    /// For a media section of SDP: its kind, encoding name, clock rate,
    /// channels and format parameters, the latter without the payload type.
    ///
    /// # Errors
    ///
    /// A payload we cannot carry.
    pub fn new(
        media: MediaKind,
        encoding_name: &str,
        clock_rate: u32,
        channels: Option<u16>,
        fmtp: Option<&str>,
    ) -> Result<Self, Unsupported> {
        let name = encoding_name.to_ascii_lowercase();
        let fmtp = fmtp::Fmtp::new(fmtp.unwrap_or_default());
        let payload = match (media, name.as_str()) {
            (MediaKind::Video, "h264") => {
                Payload::H264(Box::new(video::Video::new(h264::H264::new(&fmtp)?, clock_rate)))
            }
            (MediaKind::Video, "h265" | "hevc") => {
                Payload::H265(Box::new(video::Video::new(h265::H265::new(&fmtp)?, clock_rate)))
            }
            (MediaKind::Video, "vp8") => Payload::Vp8(Box::default()),
            (MediaKind::Video, "vp9") => Payload::Vp9(Box::default()),
            (MediaKind::Video, "av1") => Payload::Av1(Box::default()),
            (MediaKind::Video, "jpeg") => Payload::Jpeg(Box::default()),
            (MediaKind::Audio, "mpeg4-generic") => {
                Payload::Aac(Box::new(aac::RtpAac::new(&fmtp, clock_rate, channels)?))
            }
            (MediaKind::Audio, "mp4a-latm") => {
                Payload::Latm(Box::new(latm::RtpLatm::new(&fmtp, clock_rate, channels)?))
            }
            (MediaKind::Audio, "pcma" | "pcmu" | "g722" | "l16" | "opus") => {
                Payload::Plain(audio::PlainAudio::new(&name, clock_rate, channels)?)
            }
            _ => return Err(unsupported(media, encoding_name)),
        };
        Ok(Self(payload))
    }

    /// Sets what happens to pictures after loss.
    #[must_use]
    pub fn after_loss(mut self, policy: AfterLoss) -> Self {
        match &mut self.0 {
            Payload::H264(video) => video.chain.after_loss = policy,
            Payload::H265(video) => video.chain.after_loss = policy,
            Payload::Vp8(video) => video.after_loss = policy,
            Payload::Vp9(video) => video.after_loss = policy,
            Payload::Av1(video) => video.after_loss = policy,
            Payload::Jpeg(_) | Payload::Aac(_) | Payload::Latm(_) | Payload::Plain(_) => {}
        }
        self
    }

    /// The codec as of the newest unit, or as SDP says before there is one;
    /// `None` until the parameters are known.
    pub fn codec(&self) -> Option<&Codec> {
        match &self.0 {
            Payload::H264(video) => video.codec.as_ref(),
            Payload::H265(video) => video.codec.as_ref(),
            Payload::Vp8(video) => video.codec.as_ref(),
            Payload::Vp9(video) => video.codec.as_ref(),
            Payload::Av1(video) => video.codec.as_ref(),
            Payload::Jpeg(jpeg) => jpeg.codec.as_ref(),
            Payload::Aac(aac) => Some(&aac.codec),
            Payload::Latm(latm) => latm.codec.as_ref(),
            Payload::Plain(audio) => Some(&audio.codec),
        }
    }

    /// Takes the next packet.
    ///
    /// # Errors
    ///
    /// The limit that the camera exceeded. The session should end: what
    /// follows is no longer put together.
    pub fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        match &mut self.0 {
            Payload::H264(video) => video.push(packet),
            Payload::H265(video) => video.push(packet),
            Payload::Vp8(video) => video.push(packet),
            Payload::Vp9(video) => video.push(packet),
            Payload::Av1(video) => video.push(packet),
            Payload::Jpeg(jpeg) => jpeg.push(packet),
            Payload::Aac(aac) => aac.push(packet),
            Payload::Latm(latm) => latm.push(packet),
            Payload::Plain(audio) => audio.push(packet),
        }
    }

    /// The next whole frame.
    pub fn pull(&mut self) -> Option<Unit> {
        self.ready_mut().pop_front()
    }

    /// What was not handed out.
    pub fn discarded(&self) -> Discarded {
        match &self.0 {
            Payload::H264(video) => video.discarded,
            Payload::H265(video) => video.discarded,
            Payload::Vp8(video) => video.discarded,
            Payload::Vp9(video) => video.discarded,
            Payload::Av1(video) => video.discarded,
            Payload::Jpeg(jpeg) => jpeg.discarded,
            Payload::Aac(aac) => aac.discarded,
            Payload::Latm(latm) => latm.discarded,
            Payload::Plain(audio) => audio.discarded,
        }
    }

    fn ready_mut(&mut self) -> &mut VecDeque<Unit> {
        match &mut self.0 {
            Payload::H264(video) => &mut video.ready,
            Payload::H265(video) => &mut video.ready,
            Payload::Vp8(video) => &mut video.ready,
            Payload::Vp9(video) => &mut video.ready,
            Payload::Av1(video) => &mut video.ready,
            Payload::Jpeg(jpeg) => &mut jpeg.ready,
            Payload::Aac(aac) => &mut aac.ready,
            Payload::Latm(latm) => &mut latm.ready,
            Payload::Plain(audio) => &mut audio.ready,
        }
    }
}

/// Why not, and what to do in the camera's menu.
fn unsupported(media: MediaKind, encoding_name: &str) -> Unsupported {
    let name: String = encoding_name.chars().take(40).collect();
    let known = match name.to_ascii_lowercase().as_str() {
        "mp4v-es" => "MPEG-4 Part 2",
        "mpv" | "mp2t" | "mp2p" => "MPEG-2",
        "h263" | "h263-1998" | "h263-2000" => "H.263",
        "mpa" | "mpa-robust" => "MPEG audio (MP1 to MP3)",
        "dvi4" => "IMA ADPCM",
        name if name.starts_with("g726") => "G.726 ADPCM",
        _ => "unknown here",
    };
    let way_out = match media {
        MediaKind::Video => "H.264 or H.265",
        MediaKind::Audio => "G.711, AAC or Opus",
    };
    let media = media.as_str();
    Unsupported(format!("{media} codec {name:?} ({known}); set the camera to {way_out}"))
}

#[cfg(test)]
mod tests;
