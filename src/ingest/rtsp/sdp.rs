//! What a camera says it offers (SDP, RFC 8866; RFC 2326 §C).
//!
//! A reader of our own, since real SDPs break the grammar: lines out of
//! order, blanks around values, bare attributes, `o=` lines of too many words.
//! What cannot be read is a section nobody sets up, never an error.

use url::Url;

use super::control::Base;
use super::repair::Offer;
use crate::fault::{Code, Fault};
use crate::media::MediaKind;

/// What an SDP may measure.
const MAX_BYTES: usize = 64 << 10;
/// Most `m=` sections. An NVR that offers all its channels in one has 32.
const MAX_SECTIONS: usize = 64;

/// Most payload types of a section that are looked at. Dahua offers 20 for its
/// loudspeaker.
const MAX_FORMATS: usize = 32;

/// A whole SDP.
#[derive(Clone, Debug)]
pub struct Description {
    /// What PLAY and TEARDOWN name.
    pub control: Url,
    /// In the SDP's order.
    pub sections: Vec<Section>,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// None for metadata, back channels and all else nobody sees or hears, and
    /// for what cannot be read.
    pub kind: Option<MediaKind>,
    /// RTP payload type; zero where there is none to be read.
    pub payload_type: u8,
    /// Lower-case encoding name, such as `h264`.
    pub encoding: String,
    /// Ticks per second of its RTP time.
    pub clock_rate: u32,
    /// Channels, where `a=rtpmap` or the static payload type says.
    pub channels: Option<u16>,
    /// `a=fmtp` parameters of the payload type.
    pub fmtp: Option<String>,
    /// What SETUP names.
    pub control: Url,
    /// What it offers to do about loss.
    pub offer: Offer,
}

/// A cap that the SDP exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Above 64 KiB.
    #[error("SDP larger than 64 KiB")]
    Bytes,
    /// More than 64 sections.
    #[error("SDP of more than 64 sections")]
    Sections,
}

impl From<Excess> for Fault {
    fn from(excess: Excess) -> Self {
        Self::new(Code::SourceLimit, excess.to_string())
    }
}

/// Whose media it is. RFC 8866 §6.7 means the author of the SDP, so a camera
/// would be `sendonly`; ONVIF (Streaming §5.3) and with it Hikvision, Dahua,
/// Ubiquiti and most others write the viewer's view: `recvonly` is the
/// camera's media, `sendonly` the channel back to its loudspeaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Sendonly,
    Recvonly,
    Inactive,
}

/// A section as its lines say.
#[derive(Debug, Default)]
struct Raw<'a> {
    media: &'a str,
    formats: &'a str,
    rtp: bool,
    avpf: bool,
    rtcp_fbs: Vec<&'a str>,
    rtpmaps: Vec<&'a str>,
    fmtps: Vec<&'a str>,
    control: &'a str,
    direction: Option<Direction>,
}

impl Description {
    /// Reads an SDP; its control attributes are relative to `base`.
    ///
    /// # Errors
    ///
    /// When it is larger than any camera's.
    pub fn parse(sdp: &[u8], base: &Base) -> Result<Self, Excess> {
        if sdp.len() > MAX_BYTES {
            return Err(Excess::Bytes);
        }
        // Names of cameras are in any encoding; nothing we read is.
        let text = String::from_utf8_lossy(sdp);
        let mut session = Raw::default();
        let mut raws: Vec<Raw<'_>> = Vec::new();
        for line in text.split(['\r', '\n']).map(str::trim) {
            match line.split_once('=') {
                Some(("m", _)) if raws.len() == MAX_SECTIONS => return Err(Excess::Sections),
                Some(("m", value)) => raws.push(Raw::new(value)),
                Some(("a", value)) => raws.last_mut().unwrap_or(&mut session).attribute(value),
                _ => {}
            }
        }
        let back_channels = back_channels(&raws);
        let section = |(raw, back): (&Raw<'_>, &bool)| {
            let mut section = raw.section(base.join(raw.control));
            if *back || raw.direction == Some(Direction::Inactive) {
                section.kind = None;
            }
            section
        };
        let sections = raws.iter().zip(&back_channels).map(section).collect();
        Ok(Self { control: base.join(session.control), sections })
    }
}

/// Which sections are channels to the camera: sound that goes the other way
/// than the picture, or, beside silent pictures, than other sound.
fn back_channels(raws: &[Raw<'_>]) -> Vec<bool> {
    let direction = |media: &str| {
        let mut found = raws.iter().filter(|raw| raw.media == media);
        found.find_map(|raw| raw.direction)
    };
    let ours = direction("video").or_else(|| direction("application"));
    let sound = raws.iter().filter(|raw| raw.media == "audio");
    let other_sound = sound.clone().any(|raw| raw.direction != Some(Direction::Sendonly));
    let back = |raw: &Raw<'_>| match (raw.direction, ours) {
        _ if raw.media != "audio" => false,
        (Some(direction), Some(ours)) => direction != ours,
        (Some(Direction::Sendonly), None) => other_sound,
        _ => false,
    };
    raws.iter().map(back).collect()
}

impl<'a> Raw<'a> {
    /// From the value of an `m=` line: `<media> <port> <proto> <fmt> …`.
    fn new(line: &'a str) -> Self {
        let mut rest = line.trim();
        let mut word = || {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = after.trim_start();
            word
        };
        let (media, _port, proto) = (word(), word(), word());
        // Also `TCP/RTP/AVP`; SRTP (`SAVP`) needs keys that no camera hands out.
        let proto = proto.to_ascii_uppercase();
        let rtp = proto.split('/').any(|part| part == "RTP") && !proto.contains("SAVP");
        let avpf = proto.split('/').any(|part| part == "AVPF");
        Self { media, formats: rest, rtp, avpf, ..Self::default() }
    }

    fn attribute(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        match name.trim() {
            "rtpmap" => self.rtpmaps.push(value),
            "fmtp" => self.fmtps.push(value),
            "rtcp-fb" => self.rtcp_fbs.push(value),
            "control" => self.control = value,
            "sendonly" => self.direction = Some(Direction::Sendonly),
            "recvonly" => self.direction = Some(Direction::Recvonly),
            "inactive" => self.direction = Some(Direction::Inactive),
            _ => {}
        }
    }

    fn section(&self, control: Url) -> Section {
        let kind = match self.media {
            _ if !self.rtp => None,
            "video" => Some(MediaKind::Video),
            "audio" => Some(MediaKind::Audio),
            _ => None,
        };
        // The first is what will be sent (RFC 8866 §5.14). TP-Link offers its
        // analytics as `smart/1/90000`.
        let formats = self.formats.split_ascii_whitespace().take(MAX_FORMATS);
        let mut types = formats.filter_map(|t| t.parse().ok()).filter(|t: &u8| *t < 128);
        let found = types.find_map(|payload_type| Some((payload_type, self.format(payload_type)?)));
        let (payload_type, format) = found.unwrap_or_default();
        Section {
            kind: kind.filter(|_| found.is_some()),
            payload_type,
            encoding: format.encoding.to_ascii_lowercase(),
            clock_rate: format.clock_rate,
            channels: format.channels,
            fmtp: self.fmtp(payload_type),
            control,
            offer: self.offer(payload_type),
        }
    }

    /// What is lost is sent again where `a=rtcp-fb` says so (RFC 4585 §4.2), or
    /// RTX is offered (RFC 4588 §8.1), which GStreamer does without the former.
    fn offer(&self, payload_type: u8) -> Offer {
        if !self.avpf {
            return Offer::default();
        }
        let is_rtx =
            |of: &u8| self.format(*of).is_some_and(|f| f.encoding.eq_ignore_ascii_case("rtx"));
        let is_about = |of: &u8| {
            let parameters = self.fmtp(*of).unwrap_or_default();
            let mut apt = parameters.split(';').filter_map(|p| p.trim().strip_prefix("apt="));
            apt.any(|about| about.trim().parse() == Ok(payload_type))
        };
        let types = self.formats.split_ascii_whitespace().take(MAX_FORMATS);
        let rtx = types.filter_map(|t| t.parse().ok()).find(|t| is_rtx(t) && is_about(t));
        let mut feedback = self.rtcp_fbs.iter().filter_map(|value| {
            of_type(value, payload_type).or_else(|| Some(value.strip_prefix('*')?.trim()))
        });
        let nack = feedback.any(|kind| kind.eq_ignore_ascii_case("nack")) || rtx.is_some();
        Offer { avpf: true, nack, rtx }
    }

    /// What a payload type stands for: as `a=rtpmap` says, also for the static
    /// ones (Anjvision sends AAC as type 0), else by the registry.
    fn format(&self, payload_type: u8) -> Option<Format<'a>> {
        let mapped = |map: &&'a str| Format::mapped(of_type(map, payload_type)?);
        self.rtpmaps.iter().find_map(mapped).or_else(|| Format::registered(payload_type))
    }

    /// Parameters; some cameras spread them over several lines, Ubiquiti sends
    /// a line without any.
    fn fmtp(&self, payload_type: u8) -> Option<String> {
        let lines = self.fmtps.iter().filter_map(|line| of_type(line, payload_type));
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        (!lines.is_empty()).then(|| lines.join(";"))
    }
}

/// The rest of an attribute that begins with that payload type.
fn of_type(value: &str, payload_type: u8) -> Option<&str> {
    let (number, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    (number.parse() == Ok(payload_type)).then(|| rest.trim())
}

#[derive(Clone, Copy, Debug, Default)]
struct Format<'a> {
    encoding: &'a str,
    clock_rate: u32,
    channels: Option<u16>,
}

impl<'a> Format<'a> {
    /// `<encoding name>/<clock rate>[/<channels>]` (RFC 8866 §6.6).
    fn mapped(map: &'a str) -> Option<Self> {
        let mut parts = map.split('/').map(str::trim);
        let encoding = parts.next().filter(|name| !name.is_empty())?;
        let rate = parts.next().and_then(|rate| rate.parse().ok()).filter(|rate| *rate > 0);
        let channels = parts.next().and_then(|channels| channels.parse().ok());
        // A rate left out is the one every such payload has.
        let sound = ["pcmu", "pcma", "g722"].iter().any(|name| encoding.eq_ignore_ascii_case(name));
        let clock_rate = rate.unwrap_or(if sound { 8_000 } else { 90_000 });
        Some(Self { encoding, clock_rate, channels: channels.filter(|n| *n > 0) })
    }

    /// The static payload types (RFC 3551 §6) that cameras use.
    fn registered(payload_type: u8) -> Option<Self> {
        let (encoding, clock_rate, channels) = match payload_type {
            0 => ("pcmu", 8_000, Some(1)),
            8 => ("pcma", 8_000, Some(1)),
            // Samples at 16 kHz, but RFC 1890 said 8,000 by mistake, and it
            // stays so (RFC 3551 §4.5.2).
            9 => ("g722", 8_000, Some(1)),
            10 => ("l16", 44_100, Some(2)),
            11 => ("l16", 44_100, Some(1)),
            14 => ("mpa", 90_000, None),
            26 => ("jpeg", 90_000, None),
            32 => ("mpv", 90_000, None),
            33 => ("mp2t", 90_000, None),
            _ => return None,
        };
        Some(Self { encoding, clock_rate, channels })
    }
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;
