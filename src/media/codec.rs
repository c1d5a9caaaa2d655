//! Codecs and the parameters that a decoder must be told.

use bytes::Bytes;

use super::{Av1, Avc, Hevc, MediaKind, Vp8, Vp9};

/// Picture size in luma samples, after cropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelSize {
    /// Samples across.
    pub width: u32,
    /// Samples down.
    pub height: u32,
}

/// MPEG-4 audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aac {
    /// `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1), as SDP carries it.
    pub config: Bytes,
    /// Audio object type; 2 is AAC-LC.
    pub object_type: u8,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
}

/// G.711 companding law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum G711Law {
    /// PCMA, the law outside North America and Japan.
    A,
    /// PCMU (µ-law).
    Mu,
}

/// Motion JPEG: each frame is a whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jpeg {
    /// From the RTP/JPEG header (RFC 2435 §3.1.5).
    pub size: PixelSize,
}

/// A codec and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 / AVC.
    H264(Avc),
    /// H.265 / HEVC.
    H265(Hevc),
    /// VP8.
    Vp8(Vp8),
    /// VP9.
    Vp9(Vp9),
    /// AV1.
    Av1(Av1),
    /// Motion JPEG.
    Jpeg(Jpeg),
    /// MPEG-4 AAC.
    Aac(Aac),
    /// G.711 at 8 kHz.
    G711 {
        /// Companding law.
        law: G711Law,
        /// Channels; practically 1.
        channels: u8,
    },
    /// G.722 at 64 kbit/s: 16 kHz mono, yet its RTP clock runs at 8 kHz
    /// (RFC 3551 §4.5.2), so a byte is a tick.
    G722,
    /// Linear PCM, 16 bits big-endian (RFC 3551 §4.5.11), at its track's rate.
    L16 {
        /// Channels: 1 or 2, interleaved.
        channels: u8,
    },
    /// Opus; its RTP clock is always 48 kHz (RFC 7587 §4.1).
    Opus {
        /// Channels: 1 or 2.
        channels: u8,
    },
}

impl Codec {
    /// Video or audio.
    pub fn kind(&self) -> MediaKind {
        match self {
            Self::H264(_)
            | Self::H265(_)
            | Self::Vp8(_)
            | Self::Vp9(_)
            | Self::Av1(_)
            | Self::Jpeg(_) => MediaKind::Video,
            Self::Aac(_)
            | Self::G711 { .. }
            | Self::G722
            | Self::L16 { .. }
            | Self::Opus { .. } => MediaKind::Audio,
        }
    }

    /// The name people know it by, for messages, JSON and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::H264(_) => "H.264",
            Self::H265(_) => "H.265",
            Self::Vp8(_) => "VP8",
            Self::Vp9(_) => "VP9",
            Self::Av1(_) => "AV1",
            Self::Jpeg(_) => "MJPEG",
            Self::Aac(_) => "AAC",
            Self::G711 { law: G711Law::A, .. } => "PCMA",
            Self::G711 { law: G711Law::Mu, .. } => "PCMU",
            Self::G722 => "G722",
            Self::L16 { .. } => "L16",
            Self::Opus { .. } => "Opus",
        }
    }

    /// Codec string as browsers take it in `isTypeSupported` (RFC 6381 §3.3),
    /// of what our fMP4 carries: G.711 and L16 travel there as FLAC. `None` where
    /// fMP4 does not carry the codec.
    pub fn rfc6381(&self) -> Option<String> {
        match self {
            Self::H264(avc) => Some(avc.codec_string()),
            Self::H265(hevc) => Some(hevc.codec_string()),
            Self::Vp8(_) | Self::Vp9(_) | Self::Av1(_) | Self::Jpeg(_) | Self::G722 => None,
            Self::Aac(aac) => Some(format!("mp4a.40.{}", aac.object_type)),
            Self::G711 { .. } | Self::L16 { .. } => Some("flac".into()),
            Self::Opus { .. } => Some("opus".into()),
        }
    }

    /// Picture size; `None` for audio.
    pub fn pixel_size(&self) -> Option<PixelSize> {
        match self {
            Self::H264(avc) => Some(avc.size),
            Self::H265(hevc) => Some(hevc.size),
            Self::Vp8(vp8) => Some(vp8.size),
            Self::Vp9(vp9) => Some(vp9.size),
            Self::Av1(av1) => Some(av1.size),
            Self::Jpeg(jpeg) => Some(jpeg.size),
            Self::Aac(_)
            | Self::G711 { .. }
            | Self::G722
            | Self::L16 { .. }
            | Self::Opus { .. } => None,
        }
    }
}
