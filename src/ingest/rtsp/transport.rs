//! The Transport header (RFC 2326 §12.39): what we ask for, and what the
//! camera makes of it.

use std::fmt;
use std::net::IpAddr;

/// What a SETUP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// RTP on this even channel of the connection, RTCP on the next.
    Interleaved(u8),
    /// RTP to this even port of ours, RTCP to the next.
    Udp(u16),
}

impl Asked {
    /// The header's value for the profile with feedback (RFC 4585).
    pub fn by_avpf(self) -> String {
        self.to_string().replacen("RTP/AVP", "RTP/AVPF", 1)
    }
}

impl fmt::Display for Asked {
    /// The header's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interleaved(channel) => {
                write!(f, "RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel.saturating_add(1))
            }
            Self::Udp(port) => {
                write!(f, "RTP/AVP;unicast;client_port={port}-{}", port.saturating_add(1))
            }
        }
    }
}

/// Where a track's RTP and RTCP travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Channels of the connection; not always the ones asked for.
    Interleaved {
        /// Of RTP.
        rtp: u8,
        /// Of RTCP.
        rtcp: u8,
    },
    /// Ports of the camera, where it names them.
    Udp {
        /// It sends RTP from this one, and RTCP from the next or that one.
        server: Option<(u16, u16)>,
    },
}

/// The camera's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Where RTP and RTCP travel.
    pub path: Path,
    /// The address it says it sends from.
    pub source: Option<IpAddr>,
    /// The source it says it will be; advice, since several cameras send
    /// another.
    pub ssrc: Option<u32>,
}

/// An answer we cannot work with; the words say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// RTP would go to a group of receivers.
    #[error("the camera sends to a multicast group only, which is not supported")]
    Multicast,
    /// SRTP.
    #[error("the camera encrypts its media (SRTP), which is not supported")]
    Encrypted,
    /// It answered TCP with UDP; to be treated like status 461.
    #[error("the camera insists on UDP")]
    InsistsOnUdp,
    /// It answered UDP with TCP.
    #[error("the camera insists on TCP")]
    InsistsOnTcp,
}

impl Granted {
    /// Reads an answer to `asked`. What is missing or cannot be read is as
    /// asked.
    ///
    /// # Errors
    ///
    /// When media would come by a way that we did not ask for.
    pub fn parse(answer: &str, asked: Asked) -> Result<Self, Unusable> {
        // Several transports are separated by commas; an answer holds one.
        let answer = answer.split(',').next().unwrap_or_default();
        let mut profile = "";
        let (mut channels, mut server, mut source, mut ssrc) = (None, None, None, None);
        let mut udp = false;
        for part in answer.split(';').map(str::trim) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => return Err(Unusable::Multicast),
                "interleaved" => channels = pair(value),
                "server_port" => server = pair(value),
                "client_port" => udp = true,
                "source" => source = value.parse().ok(),
                "ssrc" => ssrc = self::ssrc(value),
                name if name.starts_with("rtp/") => profile = part,
                _ => {}
            }
        }
        let profile = profile.to_ascii_uppercase();
        if profile.contains("SAVP") {
            return Err(Unusable::Encrypted);
        }
        let tcp = channels.is_some() || profile.ends_with("/TCP");
        let path = match asked {
            Asked::Interleaved(_) if !tcp && (udp || server.is_some()) => {
                return Err(Unusable::InsistsOnUdp);
            }
            Asked::Udp(_) if tcp => return Err(Unusable::InsistsOnTcp),
            Asked::Interleaved(channel) => {
                let (rtp, rtcp) = channels.unwrap_or((channel, channel.saturating_add(1)));
                Path::Interleaved { rtp, rtcp }
            }
            Asked::Udp(_) => Path::Udp { server: server.filter(|(rtp, _)| *rtp != 0) },
        };
        Ok(Self { path, source, ssrc })
    }
}

/// `a-b`, or `a` alone, which then means the next one too.
fn pair<N: std::str::FromStr + Copy + Next>(value: &str) -> Option<(N, N)> {
    let (first, second) = value.split_once('-').unwrap_or((value, ""));
    let first: N = first.trim().parse().ok()?;
    let second = second.trim().parse().ok().or_else(|| first.next())?;
    Some((first, second))
}

/// The number after; none after the last.
trait Next: Sized {
    fn next(self) -> Option<Self>;
}

impl Next for u8 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Next for u16 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// Eight hexadecimal digits by RFC 2326 §12.39. Hikvision drops leading zeros
/// and puts a blank there; some Dahua write it in decimal, which more than
/// eight digits give away. Rubetek and others send 16 bits that are not what
/// their packets carry, the H264DVR cameras zero.
fn ssrc(value: &str) -> Option<u32> {
    let value = value.strip_prefix("0x").unwrap_or(value).trim();
    let ssrc = match value.len() {
        5..=8 => u32::from_str_radix(value, 16).ok(),
        9..=10 => value.parse().ok(),
        _ => None,
    };
    ssrc.filter(|ssrc| *ssrc != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Asked = Asked::Interleaved(2);
    const UDP: Asked = Asked::Udp(50_000);

    #[test]
    fn we_ask_as_live555_does() {
        assert_eq!(TCP.to_string(), "RTP/AVP/TCP;unicast;interleaved=2-3");
        assert_eq!(UDP.to_string(), "RTP/AVP;unicast;client_port=50000-50001");
    }

    #[test]
    fn answers_of_cameras_are_understood() {
        let channels = |rtp, rtcp| Path::Interleaved { rtp, rtcp };
        let ports = |rtp, rtcp| Path::Udp { server: Some((rtp, rtcp)) };
        #[rustfmt::skip]
        let table = [
            ("Dahua", TCP, "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=30A98EE7", channels(2, 3), Some(0x30A9_8EE7)),
            ("other channels", TCP, "RTP/AVP/TCP;unicast;interleaved=0-1", channels(0, 1), None),
            ("one channel", TCP, "RTP/AVP/TCP;interleaved=4", channels(4, 5), None),
            ("no channels", TCP, "RTP/AVP/TCP;unicast", channels(2, 3), None),
            ("nothing", TCP, "", channels(2, 3), None),
            ("Hikvision", TCP, "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc= d6d6627;mode=\"play\"", channels(2, 3), Some(0x0d6d_6627)),
            ("Rubetek", TCP, "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=0x6f7c;mode=\"PLAY\"", channels(2, 3), None),
            ("decimal", TCP, "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=4294962989", channels(2, 3), Some(4_294_962_989)),
            ("Luckfox", TCP, "RTP/AVP/TCP;ssrc=22345684;interleaved=2-3", channels(2, 3), Some(0x2234_5684)),
            ("blanks and capitals", TCP, "rtp/avp/tcp; Unicast; Interleaved = 2 - 3", channels(2, 3), None),
            ("profile without TCP", TCP, "RTP/AVP;unicast;interleaved=2-3", channels(2, 3), None),
            ("H264DVR", UDP, "RTP/AVP;unicast;mode=PLAY;source=127.0.0.1;client_port=50000-50001;server_port=40006-40007;ssrc=0", ports(40_006, 40_007), None),
            ("RTP/AVP/UDP", UDP, "RTP/AVP/UDP;unicast;client_port=50000-50001;server_port=6970", ports(6970, 6971), None),
            ("ports not adjacent", UDP, "RTP/AVP;unicast;server_port=6970-8000", ports(6970, 8000), None),
            ("no server_port", UDP, "RTP/AVP;unicast;client_port=50000-50001", Path::Udp { server: None }, None),
            ("server_port zero", UDP, "RTP/AVP;unicast;server_port=0-1", Path::Udp { server: None }, None),
        ];
        for (camera, asked, answer, path, ssrc) in table {
            let granted = Granted::parse(answer, asked).unwrap();
            assert_eq!((granted.path, granted.ssrc), (path, ssrc), "{camera}");
        }
        let named = Granted::parse("RTP/AVP;unicast;source=10.0.0.5;server_port=1-2", UDP).unwrap();
        assert_eq!(named.source, Some(IpAddr::from([10, 0, 0, 5])));
        assert_eq!(Granted::parse("RTP/AVP;source=cam;server_port=1-2", UDP).unwrap().source, None);
    }

    #[test]
    fn what_we_did_not_ask_for_is_refused_in_words() {
        for (asked, answer, why) in [
            (
                UDP,
                "RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001;ttl=16",
                Unusable::Multicast,
            ),
            (
                TCP,
                "RTP/AVP;unicast;client_port=0-1;server_port=40006-40007",
                Unusable::InsistsOnUdp,
            ),
            (UDP, "RTP/AVP/TCP;unicast;interleaved=0-1", Unusable::InsistsOnTcp),
            (TCP, "RTP/SAVP/TCP;unicast;interleaved=0-1", Unusable::Encrypted),
        ] {
            assert_eq!(Granted::parse(answer, asked), Err(why), "{answer}");
        }
    }
}
