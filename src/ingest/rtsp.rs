//! RTSP with a camera, the only importer of `retina`.
//!
//! Here: DESCRIBE, SETUP, PLAY and the packets that follow, with a time limit
//! on every request, and what an error of the library means in our catalogue.
//! Not here: what is in the packets (`depacketize`), when to try again
//! (`supervisor`).
//!
//! Of `retina` we use signalling, transports and RTP parsing, not its
//! depacketizers: those grow without limit on an endless fragment, keep one
//! PPS, and know no Opus.

pub mod control;
#[expect(dead_code, reason = "for the session of our own")]
mod media;
pub mod receiver;
pub mod reception;
mod reorder;
pub mod rtcp;
pub mod rtp_info;
pub mod sdp;
mod sequence;
pub mod transport;
#[expect(dead_code, reason = "for the session of our own")]
mod udp;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
pub(super) use retina::client::SessionGroup;
use retina::client::{
    Credentials, Described, InitialTimestampPolicy, PacketItem, PlayOptions, Playing,
    SessionIdPolicy, SessionOptions, SetupOptions, TcpTransportOptions, UdpTransportOptions,
    UnknownRtcpSsrcPolicy,
};
use retina::rtp::ReceivedPacket;

use super::source::{Source, Transport};
use crate::fault::{Code, Fault};
use crate::media::{MediaKind, WallTime};

/// Longest time to connect and be described. A SYN that meets a booting
/// camera is sent again after 1 and 3 s, so waiting longer gains nothing.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for SETUP and PLAY; slow NVRs take a second or two.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// What an SDP may measure.
const SDP_LIMIT: usize = 64 << 10;

/// One `m=` section of the camera's SDP.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    /// None for metadata and other things nobody sees or hears.
    pub(super) kind: Option<MediaKind>,
    /// Lower-case encoding name, such as `h264`.
    pub(super) encoding: String,
    pub(super) clock_rate: u32,
    pub(super) channels: Option<u16>,
    /// `a=fmtp` parameters.
    pub(super) fmtp: Option<String>,
}

/// A camera that has described itself.
pub(super) struct Camera {
    session: retina::client::Session<Described>,
    transport: Transport,
}

/// A camera that is sending.
pub(super) struct Feed {
    session: retina::client::Session<Playing>,
    /// What it was asked for in the end; never `Auto`.
    pub(super) transport: Transport,
}

/// What comes from a camera.
pub(super) enum Item {
    Packet(Packet),
    /// RTCP sender report: this RTP time was this wall time.
    Report {
        section: usize,
        rtp: i64,
        wall: WallTime,
    },
}

/// An RTP packet, in order of sequence number.
pub(super) struct Packet(ReceivedPacket);

impl Packet {
    /// Which section of the SDP it belongs to.
    pub(super) fn section(&self) -> usize {
        self.0.stream_id()
    }

    /// Unwrapped RTP time since the moment RTP-Info names, else since the
    /// first packet.
    pub(super) fn timestamp(&self) -> i64 {
        self.0.timestamp().elapsed()
    }

    pub(super) fn marker(&self) -> bool {
        self.0.mark()
    }

    /// Packets missing before this one.
    pub(super) fn lost_before(&self) -> u32 {
        self.0.loss().into()
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.0.payload()
    }
}

impl Camera {
    /// Connects and asks what there is.
    pub(super) async fn describe(source: &Source, group: Arc<SessionGroup>) -> Result<Self, Fault> {
        let host = source.url().host_str().unwrap_or_default();
        // Asked first, since the library does not say what failed to connect.
        let address = (host.trim_matches(['[', ']']), source.url().port().unwrap_or(554));
        match tokio::time::timeout(DESCRIBE_LIMIT, tokio::net::lookup_host(address)).await {
            Ok(Ok(mut found)) => {
                if found.next().is_none() {
                    return Err(Fault::new(Code::SourceDns, "the name has no address"));
                }
            }
            Ok(Err(error)) => return Err(Fault::new(Code::SourceDns, error.to_string())),
            Err(_) => return Err(Fault::new(Code::SourceDns, "the name server does not answer")),
        }
        let login = source.login.as_ref().map(|login| Credentials {
            username: login.username.clone(),
            password: login.password.expose().to_owned(),
        });
        let options = SessionOptions::default()
            .creds(login)
            .user_agent(concat!("porthole/", env!("CARGO_PKG_VERSION")).into())
            // Some cameras answer every SETUP with a session id of its own.
            .session_id(SessionIdPolicy::UseFirst)
            .session_group(group);
        let describing = retina::client::Session::describe(source.url().clone(), options);
        let session = limited(DESCRIBE_LIMIT, "DESCRIBE", describing).await?;
        if session.sdp().len() > SDP_LIMIT {
            return Err(Fault::new(Code::SourceLimit, "SDP larger than 64 KiB"));
        }
        Ok(Self { session, transport: source.transport })
    }

    /// The sections of its SDP.
    pub(super) fn announced(&self) -> Vec<Announced> {
        let sdp = String::from_utf8_lossy(self.session.sdp());
        let section = |stream: &retina::client::Stream| Announced {
            kind: match stream.media() {
                "video" => Some(MediaKind::Video),
                "audio" => Some(MediaKind::Audio),
                _ => None,
            },
            encoding: stream.encoding_name().to_owned(),
            clock_rate: stream.clock_rate_hz(),
            channels: stream.channels().map(std::num::NonZeroU16::get),
            fmtp: fmtp(&sdp, stream.media(), stream.rtp_payload_type()),
        };
        self.session.streams().iter().map(section).collect()
    }

    /// Asks for one section.
    pub(super) async fn setup(&mut self, section: usize) -> Result<(), Fault> {
        let tcp = retina::client::Transport::Tcp(TcpTransportOptions::default());
        let udp = retina::client::Transport::Udp(UdpTransportOptions::default());
        let first = if self.transport == Transport::Udp { udp.clone() } else { tcp };
        let options = SetupOptions::default().transport(first);
        match limited_raw(REQUEST_LIMIT, self.session.setup(section, options)).await {
            // 461: the camera insists on the other one.
            Err(Failure::Library(error))
                if error.status_code() == Some(461) && self.transport == Transport::Auto =>
            {
                self.transport = Transport::Udp;
                let options = SetupOptions::default().transport(udp);
                limited(REQUEST_LIMIT, "SETUP", self.session.setup(section, options)).await
            }
            other => other.map_err(|failure| failure.into_fault("SETUP")),
        }
    }

    /// Starts it.
    pub(super) async fn play(self) -> Result<Feed, Fault> {
        let options = PlayOptions::default()
            // Cameras that omit rtptime, or send it for one track only, play too.
            .initial_timestamp(InitialTimestampPolicy::Permissive)
            .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::DropPackets);
        let session = limited(REQUEST_LIMIT, "PLAY", self.session.play(options)).await?;
        let transport = match self.transport {
            Transport::Udp => Transport::Udp,
            Transport::Auto | Transport::Tcp => Transport::Tcp,
        };
        Ok(Feed { session, transport })
    }
}

impl Feed {
    /// What comes next; waits for ever if nothing does. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Item, Fault> {
        loop {
            let item = match self.session.next().await {
                Some(Ok(item)) => item,
                Some(Err(error)) => return Err(fault(&error)),
                None => {
                    return Err(Fault::new(Code::SourceProtocol, "the camera ended the stream"));
                }
            };
            match item {
                PacketItem::Rtp(packet) => return Ok(Item::Packet(Packet(packet))),
                PacketItem::Rtcp(compound) => {
                    let Some(rtp) = compound.rtp_timestamp() else { continue };
                    let first = compound.pkts().next().and_then(|p| p.as_sender_report().ok());
                    let Some(report) = first.flatten() else { continue };
                    return Ok(Item::Report {
                        section: compound.stream_id(),
                        rtp: rtp.elapsed(),
                        wall: WallTime::from_ntp(report.ntp_timestamp().0),
                    });
                }
                // A kind of item this version of the library does not know yet.
                _ => {}
            }
        }
    }
}

impl Feed {
    /// Closes the connection at once, without TEARDOWN. After this nothing
    /// may wait for the session's group any more.
    ///
    /// Dropped as it is, the library spawns a task that asks for TEARDOWN and
    /// then reads for 5 s what the camera sends instead of an answer: from one
    /// that floods us, gigabytes. A runtime that never runs takes that task,
    /// and the connection in it, with it.
    pub(super) fn cut(self) {
        let Ok(nowhere) = tokio::runtime::Builder::new_current_thread().build() else { return };
        let entered = nowhere.enter();
        drop(self);
        drop(entered);
        nowhere.shutdown_background();
    }
}

/// Why a request came to nothing.
enum Failure {
    Library(retina::Error),
    TimedOut,
}

impl Failure {
    fn into_fault(self, request: &str) -> Fault {
        match self {
            Self::Library(error) => fault(&error),
            Self::TimedOut => Fault::new(Code::SourceTimeout, format!("no answer to {request}")),
        }
    }
}

async fn limited_raw<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, retina::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Failure::Library),
        Err(_) => Err(Failure::TimedOut),
    }
}

async fn limited<T>(
    limit: Duration,
    name: &str,
    request: impl Future<Output = Result<T, retina::Error>>,
) -> Result<T, Fault> {
    limited_raw(limit, request).await.map_err(|failure| failure.into_fault(name))
}

/// What an error of the library means. Its type tells only statuses; what the
/// system said stands in the text, behind the first line only context follows.
fn fault(error: &retina::Error) -> Fault {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Fault::new(code(error.status_code(), line), line)
}

fn code(status: Option<u16>, line: &str) -> Code {
    match status {
        Some(401 | 403) => return Code::SourceAuth,
        Some(404 | 410) => return Code::SourceNotFound,
        // 453 Not Enough Bandwidth is what cameras say when all slots are taken.
        Some(453 | 503) => return Code::SourceBusy,
        _ => {}
    }
    let os_error = line.rsplit_once("(os error ").and_then(|(_, n)| n.split(')').next());
    match os_error.and_then(|n| n.parse::<i32>().ok()) {
        // ECONNREFUSED
        Some(111) => Code::SourceRefused,
        // ENETUNREACH, ETIMEDOUT, EHOSTDOWN, EHOSTUNREACH
        Some(101 | 110 | 112 | 113) => Code::SourceTimeout,
        _ if line.contains("Unable to connect") => Code::SourceRefused,
        _ if line == "Timeout" => Code::SourceTimeout,
        _ => Code::SourceProtocol,
    }
}

/// The `a=fmtp` parameters of the section of that media and payload type;
/// the library keeps them to itself.
fn fmtp(sdp: &str, media: &str, payload_type: u8) -> Option<String> {
    let payload_type = payload_type.to_string();
    let mut ours = false;
    for line in sdp.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix("m=") {
            // m=<media> <port> <proto> <fmt> …
            let mut words = section.split_ascii_whitespace();
            ours = words.next() == Some(media) && words.nth(2) == Some(&payload_type);
        } else if ours && let Some(rest) = line.strip_prefix("a=fmtp:") {
            let (format, parameters) = rest.split_once(' ')?;
            if format == payload_type {
                return Some(parameters.trim().to_owned());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_system_errors_become_catalogue_codes() {
        assert_eq!(code(Some(401), ""), Code::SourceAuth);
        assert_eq!(code(Some(404), ""), Code::SourceNotFound);
        assert_eq!(code(Some(453), ""), Code::SourceBusy);
        assert_eq!(code(Some(500), ""), Code::SourceProtocol);
        let refused = "Unable to connect to RTSP server: Connection refused (os error 111)";
        assert_eq!(code(None, refused), Code::SourceRefused);
        let far = "Unable to connect to RTSP server: No route to host (os error 113)";
        assert_eq!(code(None, far), Code::SourceTimeout);
    }

    #[test]
    fn fmtp_is_taken_from_the_right_section() {
        let sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=fmtp:96 packetization-mode=1\r\n\
                   m=audio 0 RTP/AVP 97\r\na=rtpmap:97 x/1\r\na=fmtp:97 mode=AAC-hbr; a=b\r\n";
        assert_eq!(fmtp(sdp, "audio", 97).as_deref(), Some("mode=AAC-hbr; a=b"));
        assert_eq!(fmtp(sdp, "video", 96).as_deref(), Some("packetization-mode=1"));
        assert_eq!(fmtp(sdp, "audio", 96), None);
    }
}
