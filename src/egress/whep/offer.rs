//! A viewer's SDP offer, read once: what it says of the connection, its media
//! sections, and the codecs in them (`codec`). `answer` replies to it.

use super::codec::Offered;
use crate::media::MediaKind;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// The first `ice-ufrag` and `ice-pwd`.
    pub(super) ufrag: String,
    pub(super) password: String,
    /// SHA-256 fingerprints, any of which its certificate may have.
    pub(super) fingerprints: Vec<String>,
    /// It waits for us to begin DTLS (`a=setup:passive`).
    pub(super) passive: bool,
    /// It does not check connectivity by itself (RFC 8445 §2.5).
    pub(super) lite: bool,
    /// Candidates that may be tried, without `a=candidate:`; at most
    /// [`MAX_CANDIDATES`].
    pub(super) candidates: Vec<String>,
    pub(super) sections: Vec<Section>,
    /// The sections share one connection (RFC 9143).
    pub(super) bundled: bool,
}

/// One `m=` and what follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: Option<MediaKind>,
    pub(super) media: String,
    pub(super) protocol: String,
    /// The first format, which a refusal has to repeat.
    pub(super) format: String,
    pub(super) mid: String,
    /// The viewer wants to receive here.
    pub(super) receives: bool,
    /// Values of `a=rtcp-fb`, behind the payload type or `*`.
    pub(super) feedback: Vec<(String, String)>,
    pub(super) codecs: Vec<Offered>,
    /// The number of the header extension [`TRANSPORT_CC`] here.
    pub(super) transport_cc: Option<u8>,
}

/// Packets are numbered for all streams alike, and reported on by that number.
pub(super) const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

impl Offer {
    /// Reads the text of an offer.
    pub(super) fn read(text: &str) -> Result<Self, BadOffer> {
        if text.len() > MAX_OFFER {
            return Err(BadOffer("it is longer than 64 KiB"));
        }
        if !text.starts_with("v=0") {
            return Err(BadOffer("it is not SDP: it does not start with `v=0`"));
        }
        let mut offer = Self::default();
        let mut fingerprint = false;
        for line in text.lines().map(str::trim_end) {
            if has_forbidden(line) {
                return Err(BadOffer("a line has a character that SDP forbids"));
            }
            if let Some(media) = line.strip_prefix("m=") {
                if offer.sections.len() == MAX_SECTIONS {
                    return Err(BadOffer("it has more than 16 media sections"));
                }
                offer.sections.push(Section::new(media));
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                fingerprint |= name == "fingerprint";
                offer.attribute(name, value);
            }
        }
        if offer.sections.is_empty() {
            return Err(BadOffer("it has no media section"));
        }
        if offer.ufrag.is_empty() || offer.password.is_empty() {
            return Err(BadOffer("it has no ICE credentials (`a=ice-ufrag`, `a=ice-pwd`)"));
        }
        if !fingerprint {
            return Err(BadOffer("it has no DTLS certificate (`a=fingerprint`)"));
        }
        if offer.fingerprints.is_empty() {
            return Err(BadOffer("it has no SHA-256 fingerprint (`a=fingerprint:sha-256`)"));
        }
        // RFC 9143 §7.2: the answer names the sections that share a connection.
        if offer.bundled && offer.sections.iter().any(|section| section.mid.is_empty()) {
            return Err(BadOffer("a media section has no name (`a=mid`)"));
        }
        Ok(offer)
    }

    fn attribute(&mut self, name: &str, value: &str) {
        let first = |to: &mut String| {
            if to.is_empty() {
                value.clone_into(to);
            }
        };
        match name {
            "ice-ufrag" => first(&mut self.ufrag),
            "ice-pwd" => first(&mut self.password),
            "ice-lite" => self.lite = true,
            "setup" => self.passive |= value == "passive",
            "group" => self.bundled |= value.starts_with("BUNDLE"),
            "candidate" => {
                if self.candidates.len() < MAX_CANDIDATES && is_usable_candidate(value) {
                    self.candidates.push(value.to_owned());
                }
            }
            "fingerprint" => {
                let (algorithm, print) = value.split_once(' ').unwrap_or_default();
                if algorithm.eq_ignore_ascii_case("sha-256") {
                    self.fingerprints.push(print.trim().to_owned());
                }
            }
            _ => {
                if let Some(section) = self.sections.last_mut() {
                    section.attribute(name, value);
                }
            }
        }
    }

    /// Whether the viewer would take media of this kind at all.
    pub(super) fn wants(&self, kind: MediaKind) -> bool {
        self.receiving(kind).is_some()
    }

    /// One track of a kind is sent: the first section that receives gets it.
    pub(super) fn receiving(&self, kind: MediaKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == Some(kind) && section.receives)
    }
}

impl Section {
    /// From `video 9 UDP/TLS/RTP/SAVPF 96 97`.
    fn new(media: &str) -> Self {
        let mut words = media.split_ascii_whitespace();
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (media, port, protocol) = (word(), word(), word());
        let kind = match media.as_str() {
            "video" => Some(MediaKind::Video),
            "audio" => Some(MediaKind::Audio),
            _ => None,
        };
        let formats: Vec<&str> = words.collect();
        let codecs = formats.iter().filter_map(|word| word.parse().ok()).map(Offered::of).collect();
        let format = formats.first().copied().unwrap_or_default().to_owned();
        Self { kind, media, protocol, format, receives: port != "0", codecs, ..Self::default() }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "sendonly" | "inactive" => self.receives = false,
            "mid" => value.clone_into(&mut self.mid),
            "rtcp-fb" => {
                if let Some((payload_type, what)) = value.split_once(' ') {
                    self.feedback.push((payload_type.to_owned(), what.trim().to_owned()));
                }
            }
            "extmap" => self.transport_cc = self.transport_cc.or(transport_cc(value)),
            "rtpmap" => {
                if let Some((codec, encoding)) = self.described(value) {
                    codec.set_encoding(encoding);
                }
            }
            "fmtp" => {
                if let Some((codec, parameters)) = self.described(value) {
                    parameters.clone_into(&mut codec.fmtp);
                }
            }
            _ => {}
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

/// The number that `3 URI` or `3/recvonly URI` gives [`TRANSPORT_CC`], if the
/// viewer would receive it in headers of the short form (RFC 8285 §4.2, §5).
fn transport_cc(extmap: &str) -> Option<u8> {
    let mut words = extmap.split_ascii_whitespace();
    let (number, uri) = (words.next()?, words.next()?);
    let (number, direction) = number.split_once('/').unwrap_or((number, "sendrecv"));
    let number = number.parse().ok().filter(|number| (1..=14).contains(number));
    number.filter(|_| uri == TRANSPORT_CC && matches!(direction, "sendrecv" | "recvonly"))
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
pub(super) mod tests;
