//! Which of a viewer's codecs a track is sent as (RFC 8829 §5.3.1).

use super::narrowband;
use super::offer::{Offer, Section};
use crate::media::{Avc, Codec, G711Law, Hevc, MediaKind};

/// One codec of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offered {
    /// RTP payload type.
    pub(super) payload_type: u8,
    /// Encoding name as written: `H264`, `opus`.
    pub(super) name: String,
    pub(super) clock_rate: u32,
    /// 0 where the offer does not say.
    pub(super) channels: u16,
    pub(super) fmtp: String,
}

impl Offer {
    /// What to send this video as; `None` where the offer does not have it.
    pub(super) fn video(&self, codec: &Codec) -> Option<&Offered> {
        match codec {
            Codec::H264(avc) => self.h264(avc),
            Codec::H265(hevc) => self.h265(hevc),
            Codec::Vp8(_) => self.videos("VP8").next(),
            Codec::Vp9(vp9) => self.profiled("VP9", "profile-id", vp9.profile),
            Codec::Av1(av1) => self.profiled("AV1", "profile", av1.profile),
            _ => None,
        }
    }

    /// Mode 1, the stream's own profile if offered, else constrained baseline,
    /// under which browsers decode any profile they can decode at all: the
    /// decoder goes by the SPS. Levels are not compared: `level-asymmetry-allowed`
    /// is what all of them offer, and cameras overstate theirs. Last resort is
    /// an offer without a mode, as GStreamer makes it, which takes both.
    fn h264(&self, avc: &Avc) -> Option<&Offered> {
        let [profile, ..] = avc.profile();
        let mode = |codec: &Offered| codec.parameter("packetization-mode").map(|mode| mode == "1");
        self.videos("H264").filter(|codec| mode(codec) != Some(false)).max_by_key(|codec| {
            let id = codec.parameter("profile-level-id").unwrap_or_default();
            let offered = id.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            let baseline = id.to_ascii_lowercase().starts_with("42e0");
            (mode(codec).is_some(), offered == Some(profile), baseline)
        })
    }

    /// The stream's own profile, or Main 10 (2) for Main (1), which it includes
    /// (H.265 §A.3.3). Without `profile-id` Main is meant (RFC 7798 §7.1).
    fn h265(&self, hevc: &Hevc) -> Option<&Offered> {
        let profile = hevc.profile_tier_level[0] & 0x1f;
        let own = self.videos("H265").find(|codec| codec.profile("profile-id", 1) == profile);
        let wider = |codec: &&Offered| profile == 1 && codec.profile("profile-id", 1) == 2;
        own.or_else(|| self.videos("H265").find(wider))
    }

    /// Profile 0 where the offer does not say (RFC 9628 §6, AV1 in RTP §7.2.1).
    fn profiled(&self, name: &'static str, key: &str, profile: u8) -> Option<&Offered> {
        self.videos(name).find(|codec| codec.profile(key, 0) == profile)
    }

    fn videos(&self, name: &'static str) -> impl Iterator<Item = &Offered> {
        self.codecs(MediaKind::Video)
            .filter(move |codec| codec.is(name) && codec.clock_rate == 90_000)
    }

    /// What to send audio with a clock of `rate` hertz as; `None` where the
    /// offer does not have it.
    pub(super) fn audio(&self, codec: &Codec, rate: u32) -> Option<&Offered> {
        let (name, clock_rate) = match codec {
            Codec::G711 { law: G711Law::A, channels: 1 } => ("PCMA", 8_000),
            Codec::G711 { law: G711Law::Mu, channels: 1 } => ("PCMU", 8_000),
            // Its RTP clock is not its rate (RFC 3551 §4.5.2).
            Codec::G722 => ("G722", 8_000),
            Codec::Opus { .. } => ("opus", 48_000),
            Codec::L16 { .. } if narrowband::carries(rate) => ("PCMU", 8_000),
            _ => return None,
        };
        self.codecs(MediaKind::Audio)
            .find(|offered| offered.is(name) && offered.clock_rate == clock_rate)
    }

    /// The retransmission payload type (RFC 4588 §8.1) that goes with `codec`.
    pub(super) fn rtx(&self, codec: &Offered) -> Option<&Offered> {
        let apt = codec.payload_type.to_string();
        self.codecs(MediaKind::Video)
            .find(|offered| offered.is("rtx") && offered.parameter("apt") == Some(&apt))
    }

    /// What the offer does not have, for a message: more than the codec's name
    /// where that is in it.
    pub(super) fn lacking(&self, codec: &Codec) -> String {
        let (encoding, form) = match codec {
            Codec::H264(_) => ("H264", "packetization-mode=1".to_owned()),
            Codec::H265(hevc) => {
                ("H265", format!("profile-id={}", hevc.profile_tier_level[0] & 0x1f))
            }
            Codec::Vp9(vp9) => ("VP9", format!("profile-id={}", vp9.profile)),
            Codec::Av1(av1) => ("AV1", format!("profile={}", av1.profile)),
            _ => return codec.name().to_owned(),
        };
        match self.videos(encoding).next() {
            Some(_) => format!("{} with {form}", codec.name()),
            None => codec.name().to_owned(),
        }
    }

    /// Names of the codecs offered, each once, for a message.
    pub(super) fn codec_names(&self, kind: MediaKind) -> String {
        const NOT_CODECS: [&str; 7] =
            ["rtx", "red", "ulpfec", "flexfec-03", "CN", "telephone-event", "unknown"];
        let mut names: Vec<&str> = Vec::new();
        for codec in self.codecs(kind) {
            let known = |name: &&str| name.eq_ignore_ascii_case(&codec.name);
            if !NOT_CODECS.iter().any(known) && !names.iter().any(known) && names.len() < 12 {
                names.push(&codec.name);
            }
        }
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    fn codecs(&self, kind: MediaKind) -> impl Iterator<Item = &Offered> {
        self.receiving(kind).into_iter().flat_map(|section: &Section| &section.codecs)
    }
}

impl Offered {
    /// Until `a=rtpmap` says more: the static types of RFC 3551 §6.
    pub(super) fn of(payload_type: u8) -> Self {
        let (name, clock_rate) = match payload_type {
            0 => ("PCMU", 8_000),
            8 => ("PCMA", 8_000),
            9 => ("G722", 8_000),
            _ => ("unknown", 0),
        };
        Self { payload_type, name: name.into(), clock_rate, channels: 0, fmtp: String::new() }
    }

    /// From `opus/48000/2`, as `a=rtpmap` has it.
    pub(super) fn set_encoding(&mut self, encoding: &str) {
        let mut parts = encoding.split('/');
        self.name = parts.next().unwrap_or_default().chars().take(32).collect();
        self.clock_rate = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        self.channels = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn profile(&self, key: &str, silent: u8) -> u8 {
        let said = self.parameter(key).map(|value| value.parse().ok());
        // What cannot be read is no profile of ours.
        said.map_or(silent, |profile| profile.unwrap_or(u8::MAX))
    }

    /// A `key=value` of `a=fmtp`.
    fn parameter(&self, key: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case(key).then_some(value)
        })
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
