//! Which of a viewer's codecs a track is sent as (RFC 8829 §5.3.1).

use super::offer::{Offer, Section};
use crate::media::{Avc, Codec, G711Law, MediaKind};

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
    /// What to send H.264 as: mode 1, the stream's own profile if offered,
    /// else constrained baseline, which browsers decode any profile under.
    pub(super) fn h264(&self, avc: &Avc) -> Option<&Offered> {
        let [profile, ..] = avc.profile();
        self.codecs(MediaKind::Video)
            .filter(|codec| codec.is("H264") && codec.clock_rate == 90_000)
            .filter(|codec| codec.parameter("packetization-mode") == Some("1"))
            .max_by_key(|codec| {
                let id = codec.parameter("profile-level-id").unwrap_or_default();
                let offered = id.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                (offered == Some(profile), id.to_ascii_lowercase().starts_with("42e0"))
            })
    }

    /// What to send this audio as; `None` where the offer does not have it.
    pub(super) fn audio(&self, codec: &Codec) -> Option<&Offered> {
        let (name, clock_rate) = match codec {
            Codec::G711 { law: G711Law::A, channels: 1 } => ("PCMA", 8_000),
            Codec::G711 { law: G711Law::Mu, channels: 1 } => ("PCMU", 8_000),
            // Its RTP clock is not its rate (RFC 3551 §4.5.2).
            Codec::G722 => ("G722", 8_000),
            Codec::Opus { .. } => ("opus", 48_000),
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
