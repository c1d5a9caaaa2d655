//! A viewer's SDP offer: which codecs it has, and the text made safe for the
//! engine.

use std::fmt::Write;

use crate::media::{Avc, Codec, G711Law, MediaKind};

/// Most bytes of an offer; Chromium's is about 6 KB.
pub(super) const MAX_OFFER: usize = 64 << 10;

/// Most media sections looked at.
const MAX_SECTIONS: usize = 16;

/// Most candidates taken from one viewer, in its offer and later. Each is checked with packets to an
/// address the viewer chose, so the number bounds what it can make us send.
pub(super) const MAX_CANDIDATES: usize = 16;

/// The offer cannot be used; the words say why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadOffer(pub(super) &'static str);

/// An offer that has everything a session needs.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// The text, without candidates the engine should not try.
    pub(super) sdp: String,
    /// `ice-ufrag` of the first section.
    pub(super) ufrag: String,
    /// Candidates in the text, of [`MAX_CANDIDATES`].
    pub(super) candidates: usize,
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    kind: Option<MediaKind>,
    /// The viewer wants to receive here.
    receives: bool,
    codecs: Vec<Offered>,
}

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
    /// Reads the text of an offer.
    pub(super) fn read(text: &str) -> Result<Self, BadOffer> {
        if text.len() > MAX_OFFER {
            return Err(BadOffer("it is longer than 64 KiB"));
        }
        if !text.starts_with("v=0") {
            return Err(BadOffer("it is not SDP: it does not start with `v=0`"));
        }
        let mut offer = Self {
            sdp: String::with_capacity(text.len() + 64),
            ufrag: String::new(),
            candidates: 0,
            sections: Vec::new(),
        };
        let (mut fingerprint, mut password) = (false, false);
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if has_forbidden(line) {
                return Err(BadOffer("a line has a character that SDP forbids"));
            }
            if let Some(candidate) = line.strip_prefix("a=candidate:") {
                if offer.candidates == MAX_CANDIDATES || !is_usable_candidate(candidate) {
                    continue;
                }
                offer.candidates += 1;
            }
            writeln!(offer.sdp, "{line}\r").expect("a String takes all");
            if let Some(media) = line.strip_prefix("m=") {
                if offer.sections.len() == MAX_SECTIONS {
                    return Err(BadOffer("it has more than 16 media sections"));
                }
                offer.sections.push(Section::new(media));
            } else if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                if offer.ufrag.is_empty() {
                    offer.ufrag = ufrag.to_owned();
                }
            } else if line.starts_with("a=ice-pwd:") {
                password = true;
            } else if line.starts_with("a=fingerprint:") {
                fingerprint = true;
            } else if let (Some(section), Some(attribute)) =
                (offer.sections.last_mut(), line.strip_prefix("a="))
            {
                section.attribute(attribute);
            }
        }
        if offer.sections.is_empty() {
            return Err(BadOffer("it has no media section"));
        }
        if offer.ufrag.is_empty() || !password {
            return Err(BadOffer("it has no ICE credentials (`a=ice-ufrag`, `a=ice-pwd`)"));
        }
        if !fingerprint {
            return Err(BadOffer("it has no DTLS certificate (`a=fingerprint`)"));
        }
        Ok(offer)
    }

    /// Whether the viewer would take media of this kind at all.
    pub(super) fn wants(&self, kind: MediaKind) -> bool {
        self.receiving(kind).next().is_some()
    }

    /// What to send H.264 as: mode 1, the stream's own profile if offered,
    /// else constrained baseline, which browsers decode any profile under.
    pub(super) fn h264(&self, avc: &Avc) -> Option<&Offered> {
        let [profile, ..] = avc.profile();
        self.receiving(MediaKind::Video)
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
        self.receiving(MediaKind::Audio)
            .find(|offered| offered.is(name) && offered.clock_rate == clock_rate)
    }

    /// The retransmission payload type (RFC 4588 §8.1) that goes with `codec`.
    pub(super) fn rtx(&self, codec: &Offered) -> Option<&Offered> {
        let apt = codec.payload_type.to_string();
        self.receiving(MediaKind::Video)
            .find(|offered| offered.is("rtx") && offered.parameter("apt") == Some(&apt))
    }

    /// Names of the codecs offered, each once, for a message.
    pub(super) fn codec_names(&self, kind: MediaKind) -> String {
        const NOT_CODECS: [&str; 7] =
            ["rtx", "red", "ulpfec", "flexfec-03", "CN", "telephone-event", "unknown"];
        let mut names: Vec<&str> = Vec::new();
        for codec in self.receiving(kind) {
            let known = |name: &&str| name.eq_ignore_ascii_case(&codec.name);
            if !NOT_CODECS.iter().any(known) && !names.iter().any(known) && names.len() < 12 {
                names.push(&codec.name);
            }
        }
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    fn receiving(&self, kind: MediaKind) -> impl Iterator<Item = &Offered> {
        self.sections
            .iter()
            .filter(move |section| section.kind == Some(kind) && section.receives)
            // One track of a kind is sent: the first section gets it.
            .take(1)
            .flat_map(|section| &section.codecs)
    }
}

impl Section {
    /// From `video 9 UDP/TLS/RTP/SAVPF 96 97`.
    fn new(media: &str) -> Self {
        let mut words = media.split_ascii_whitespace();
        let kind = match words.next() {
            Some("video") => Some(MediaKind::Video),
            Some("audio") => Some(MediaKind::Audio),
            _ => None,
        };
        let rejected = words.next() == Some("0");
        let codecs = words.skip(1).filter_map(|word| word.parse().ok()).map(Offered::of).collect();
        Self { kind, receives: !rejected, codecs }
    }

    fn attribute(&mut self, attribute: &str) {
        if matches!(attribute, "sendonly" | "inactive") {
            self.receives = false;
        } else if let Some(map) = attribute.strip_prefix("rtpmap:") {
            if let Some((codec, encoding)) = self.described(map) {
                let mut parts = encoding.split('/');
                codec.name = parts.next().unwrap_or_default().chars().take(32).collect();
                codec.clock_rate = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                codec.channels = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        } else if let Some(format) = attribute.strip_prefix("fmtp:")
            && let Some((codec, parameters)) = self.described(format)
        {
            codec.fmtp = parameters.to_owned();
        }
    }

    /// `96 rest`: the codec of payload type 96, and the rest.
    fn described<'a>(&mut self, attribute: &'a str) -> Option<(&mut Offered, &'a str)> {
        let (payload_type, rest) = attribute.split_once(' ')?;
        let payload_type: u8 = payload_type.parse().ok()?;
        let codec = self.codecs.iter_mut().find(|codec| codec.payload_type == payload_type)?;
        Some((codec, rest.trim()))
    }
}

impl Offered {
    /// Until `a=rtpmap` says more: the static types of RFC 3551 §6.
    fn of(payload_type: u8) -> Self {
        let (name, clock_rate) = match payload_type {
            0 => ("PCMU", 8_000),
            8 => ("PCMA", 8_000),
            9 => ("G722", 8_000),
            _ => ("unknown", 0),
        };
        Self { payload_type, name: name.into(), clock_rate, channels: 0, fmtp: String::new() }
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

/// RFC 8866 §9 (`byte-string`). A lone CR ends a line for some readers, and we
/// repeat names of the viewer's.
pub(super) fn has_forbidden(line: &str) -> bool {
    line.contains(['\r', '\0'])
}

/// UDP to an IP address. A `.local` name would need multicast DNS, and a name
/// of any kind would let a viewer make us resolve it; the viewer's own checks
/// reach us without it.
pub(super) fn is_usable_candidate(candidate: &str) -> bool {
    let mut words = candidate.split_ascii_whitespace().skip(2);
    let udp = words.next().is_some_and(|word| word.eq_ignore_ascii_case("udp"));
    let address = words.nth(1).and_then(|word| word.parse::<std::net::IpAddr>().ok());
    let address = address.filter(|ip| !ip.is_multicast() && !ip.is_unspecified());
    udp && address.is_some() && candidate.len() < 300
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
