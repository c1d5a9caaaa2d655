//! RTSP with a camera: from its name to packets in order.
//!
//! Here: connecting, TLS, login, DESCRIBE, SETUP, PLAY and keep-alive, each in
//! limited time; RTP and RTCP over the connection or UDP. Not here: what is in
//! the packets (`depacketize`), when to try again (`supervisor`).
//!
//! Of `retina` we use what it does sans I/O: the grammar of messages (`wire`),
//! of RTP and of RTCP packets (`receiver`, `rtcp`). Its client we do not use:
//!
//! - it buffers a whole message before it looks at its length: an SDP of
//!   100,000 tracks cost 324 MiB, an endless header grows until time is up;
//! - it opens the connection itself, so there is no RTSPS;
//! - it answers the first challenge only, renews no nonce on a keep-alive, and
//!   does not say what failed to connect;
//! - it sends no receiver reports, and has no order over UDP;
//! - its depacketizers grow on an endless fragment, and know no Opus.
//!
//! | file | what |
//! |---|---|
//! | `connect`, `tls`, `tunnel`, `http_head`, `link` | a stream of bytes to the camera |
//! | `wire` | bytes to messages and back, with caps |
//! | `exchange`, `login`, `dialog` | requests and their answers |
//! | `sdp`, `control`, `transport`, `rtp_info` | what the camera's answers mean |
//! | `media`, `receiver`, `reception`, `reorder`, `repair`, `sender`, `sequence`, `rtcp`, `udp` | packets of its tracks |
//! | `feed` | a camera that plays |
//! | `still` | a JPEG over HTTP, made, trusted and logged in alike |
//!
//! Promise: nothing a camera sends costs more than these files' caps. It is
//! never followed to another host.

mod connect;
pub mod control;
mod dialog;
mod exchange;
mod feed;
pub mod http_head;
mod link;
pub mod login;
mod media;
pub mod receiver;
pub mod reception;
mod reorder;
pub mod repair;
pub mod rtcp;
pub mod rtp_info;
pub mod sdp;
mod sender;
mod sequence;
mod still;
mod tls;
pub mod transport;
mod tunnel;
mod udp;
pub mod wire;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

use self::control::Base;
use self::dialog::{Dialog, Session};
use self::exchange::{Exchange, Method};
pub(super) use self::feed::Feed;
use self::link::Link;
use self::login::Door;
pub(super) use self::media::Item;
use self::media::Media;
pub(super) use self::receiver::Packet;
use self::receiver::{Carrier, Receiver};
use self::sdp::Description;
pub(super) use self::sdp::Section as Announced;
pub use self::still::Still;
pub use self::tls::{Authorities, BadTrust, Fingerprint, Trust};
use self::transport::{Asked, Granted, Path, Unusable};
use self::udp::Ports;
use self::wire::Answer;
use super::source::{Source, Transport};
use crate::fault::{Code, Fault};
use crate::media::ClockRate;

/// Longest time to connect and be described.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(5);
/// How long OPTIONS may stay unanswered, which some cameras leave so.
const OPTIONS_LIMIT: Duration = Duration::from_secs(1);
/// New connections for a login: for the password, for a nonce that was stale
/// by then, and for the password as typed. Then `login` has had enough, and
/// says so; an end that does not say `source.auth` would be tried again within
/// a second, and the account locked.
const MAX_RECONNECTS: u32 = 3;
/// Longest time for SETUP and PLAY; slow NVRs take a second or two.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Who we say we are.
const USER_AGENT: &str = concat!("porthole/", env!("CARGO_PKG_VERSION"));

/// The way out where the transport was chosen and the camera has another one.
const TO_AUTO: &str = "set `transport: auto`";

/// What a camera says about itself before it says anything else.
#[derive(Clone, Debug, Default)]
pub(super) struct Greeting {
    /// Login schemes it offers; none where it asks for none.
    pub(super) login_schemes: Vec<String>,
    /// What it calls its server.
    pub(super) server: Option<String>,
}

/// Why a camera does not play.
#[derive(Debug)]
pub(super) enum Failure {
    /// It does not send the way that it was asked to.
    TransportRefused(Fault),
    /// It hung up instead of answering a request with a login, so many times.
    LoginHungUp(Fault, u32),
    /// Anything else.
    Other(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

/// A camera that has described itself.
pub(super) struct Camera {
    session: Session,
    description: Description,
    base: Base,
    transport: Transport,
    encrypted: bool,
    /// Both ends of the connection.
    ends: (SocketAddr, SocketAddr),
    media: Media,
    /// What SETUP named, in this order.
    set_up: Vec<Url>,
}

impl Camera {
    /// Connects and asks what there is. `greeting` is filled in even when it
    /// comes to nothing; TEARDOWN is said in a task among `farewells`.
    pub(super) async fn describe(
        source: &Source,
        greeting: &mut Greeting,
        farewells: &TaskTracker,
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + DESCRIBE_LIMIT;
        let door = Door::new(source.login.clone(), source.spare_login().cloned());
        let connection = connect::connect(source, deadline).await?;
        let mut ends = (connection.local, connection.peer);
        let mut dialog = Dialog::new(Link::new(connection), Exchange::new(door));
        let mut described = describe(&mut dialog, source.url(), deadline).await;
        let mut hang_ups = u32::from(dialog.is_login_hung_up());
        for _ in 0..MAX_RECONNECTS {
            // Some hang up behind a 401: the login goes over a new connection.
            if !(dialog.asked_again && dialog.link.is_closed()) {
                break;
            }
            let connection = connect::connect(source, deadline).await?;
            ends = (connection.local, connection.peer);
            dialog.reconnect(Link::new(connection));
            described = describe(&mut dialog, source.url(), deadline).await;
            hang_ups += u32::from(dialog.is_login_hung_up());
        }
        greeting.login_schemes = dialog.exchange.door.offered().to_vec();
        greeting.server = dialog.exchange.server.clone();
        let (url, answer) = match described {
            Err(fault) if dialog.is_login_hung_up() => {
                return Err(Failure::LoginHungUp(fault, hang_ups));
            }
            described => described?,
        };
        let headers = ["Content-Base", "Content-Location"].map(|name| answer.header(name));
        let base = Base::new(&url, headers[0], headers[1]);
        let description = Description::parse(&answer.body, &base).map_err(Fault::from)?;
        let session = Session::new(dialog, description.control.clone(), farewells.clone());
        Ok(Self {
            session,
            description,
            base,
            transport: source.transport,
            encrypted: source.is_tls(),
            ends,
            media: Media::default(),
            set_up: Vec::new(),
        })
    }

    /// The sections of its SDP.
    pub(super) fn announced(&self) -> &[Announced] {
        &self.description.sections
    }

    /// Asks for one section.
    pub(super) async fn setup(&mut self, section: usize) -> Result<(), Failure> {
        let udp = self.transport == Transport::Udp;
        if self.try_setup(section, udp).await? {
            return Ok(());
        }
        let refused =
            |detail| Err(Failure::TransportRefused(Fault::new(Code::SourceProtocol, detail)));
        match self.transport {
            Transport::Tcp | Transport::Http => {
                return refused(format!("{}; {TO_AUTO}", Unusable::InsistsOnUdp));
            }
            Transport::Udp => return refused(format!("{}; {TO_AUTO}", Unusable::InsistsOnTcp)),
            // What was asked for in TLS does not travel in the clear instead.
            Transport::Auto if self.encrypted => {
                return refused(format!("{}, which is not encrypted", Unusable::InsistsOnUdp));
            }
            Transport::Auto => self.transport = Transport::Udp,
        }
        match self.try_setup(section, true).await? {
            true => Ok(()),
            false => refused("the camera refuses both TCP and UDP".to_owned()),
        }
    }

    /// False: the camera refuses this way of travel (461, or an answer that
    /// says another one).
    async fn try_setup(&mut self, section: usize, udp: bool) -> Result<bool, Fault> {
        let offer = self.description.sections[section].offer;
        // Whether by AVPF. Some name that profile and take only the plain one;
        // GStreamer refuses the plain one where it names AVPF alone.
        let profiles = match (offer.avpf, udp && offer.nack) {
            (false, _) => &[false][..],
            (true, false) => &[false, true],
            (true, true) => &[true, false],
        };
        for avpf in profiles {
            if self.try_profile(section, udp, *avpf).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`Camera::try_setup`], by one profile.
    async fn try_profile(&mut self, section: usize, udp: bool, avpf: bool) -> Result<bool, Fault> {
        let announced = &self.description.sections[section];
        let rate = ClockRate::new(announced.clock_rate)
            .ok_or_else(|| Fault::new(Code::SourceProtocol, "a track without a clock rate"))?;
        let no_ports = |error: io::Error| Fault::new(Code::SourceNoMedia, error.to_string());
        let (local, peer) = self.ends;
        let ports = match udp {
            true => Some(Ports::open(local, peer.ip()).await.map_err(no_ports)?),
            false => None,
        };
        let asked = match &ports {
            Some(ports) => Asked::Udp(ports.port().map_err(no_ports)?),
            // Two channels for each track; nobody sets up 128 of them.
            None => Asked::Interleaved(self.set_up.len() as u8 * 2),
        };
        let transport = if avpf { asked.by_avpf() } else { asked.to_string() };
        let headers = [("Transport", transport.as_str())];
        let dialog = self.session.dialog();
        let answer =
            dialog.request(Method::Setup, &announced.control, &headers, REQUEST_LIMIT).await?;
        if answer.status == 461 {
            return Ok(false);
        }
        let answer = accepted(Method::Setup, answer)?;
        let granted = match Granted::parse(answer.header("Transport").unwrap_or_default(), asked) {
            Ok(granted) => granted,
            Err(Unusable::InsistsOnUdp) => return Ok(false),
            Err(unusable) => return Err(Fault::new(Code::SourceProtocol, unusable.to_string())),
        };
        if let Path::Interleaved { rtp, rtcp } = granted.path {
            dialog.link.wire.expect(rtp);
            dialog.link.wire.expect(rtcp);
        }
        let now = Instant::now().into_std();
        let carrier = if udp { Carrier::Unordered } else { Carrier::Ordered };
        let payload_type = announced.payload_type;
        let mut receiver = Receiver::new(section, payload_type, rate, carrier);
        if let Some(ssrc) = granted.ssrc {
            receiver.announce(ssrc);
        }
        if udp && avpf {
            receiver.repair(announced.offer);
        }
        self.media.add(section, payload_type, granted.path, ports, receiver, now);
        self.set_up.push(announced.control.clone());
        Ok(true)
    }

    /// Starts it.
    pub(super) async fn play(self) -> Result<Feed, Fault> {
        let Self { mut session, base, transport, mut media, set_up, .. } = self;
        let url = session.url().clone();
        let range = [("Range", "npt=0.000-")];
        let answer = session.dialog().request(Method::Play, &url, &range, REQUEST_LIMIT).await?;
        let answer = accepted(Method::Play, answer)?;
        let info = answer.header("RTP-Info").unwrap_or_default();
        if let Some(times) = rtp_info::start_times(info, &base, &set_up.iter().collect::<Vec<_>>())
        {
            media.start_at(&times);
        }
        let transport = match transport {
            Transport::Auto => Transport::Tcp,
            known => known,
        };
        Ok(Feed::new(session, media, transport))
    }
}

/// OPTIONS and DESCRIBE: the URL that was described in the end, and how.
async fn describe(
    dialog: &mut Dialog,
    url: &Url,
    deadline: Instant,
) -> Result<(Url, Answer), Fault> {
    // For what the camera can do; it is described whatever it says to that.
    match dialog.request(Method::Options, url, &[], OPTIONS_LIMIT).await {
        Err(fault) if fault.code != Code::SourceTimeout => return Err(fault),
        _ => {}
    }
    let accept = [("Accept", "application/sdp")];
    let left = || deadline.saturating_duration_since(Instant::now());
    let answer = dialog.request(Method::Describe, url, &accept, left()).await?;
    let Some(moved) = moved(url, &answer) else {
        return Ok((url.clone(), accepted(Method::Describe, answer)?));
    };
    let answer = dialog.request(Method::Describe, &moved, &accept, left()).await?;
    Ok((moved, accepted(Method::Describe, answer)?))
}

/// Where a redirection leads, on the host we are connected to.
fn moved(url: &Url, answer: &Answer) -> Option<Url> {
    let to = answer.header("Location").filter(|_| (300..400).contains(&answer.status))?;
    let mut to = url.join(to).ok()?;
    let place =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
    let _ = to.set_username("").and_then(|()| to.set_password(None));
    (place(&to) == place(url) && to != *url).then_some(to)
}

/// An answer that says yes.
fn accepted(method: Method, answer: Answer) -> Result<Answer, Fault> {
    if (200..300).contains(&answer.status) {
        Ok(answer)
    } else {
        Err(exchange::refused(method, &answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_path_of_the_same_host_is_followed() {
        let asked = Url::parse("rtsp://cam:8554/a").unwrap();
        for (to, leads) in [
            ("rtsp://cam:8554/b", Some("rtsp://cam:8554/b")),
            ("rtsp://u:p@cam:8554/b?c", Some("rtsp://cam:8554/b?c")),
            ("/b", Some("rtsp://cam:8554/b")),
            ("rtsp://cam:8554/a", None),
            ("rtsp://cam/b", None),
            ("rtsps://cam:8554/b", None),
            ("rtsp://other:8554/b", None),
            ("//other/b", None),
        ] {
            let text = format!("RTSP/1.0 302 Found\r\nLocation: {to}\r\n\r\n");
            let heard = wire::Wire::default().next(&mut bytes::BytesMut::from(text.as_bytes()));
            let Ok(Some(wire::Heard::Answer(answer))) = heard else { panic!("{heard:?}") };
            assert_eq!(moved(&asked, &answer).as_ref().map(Url::as_str), leads, "{to}");
        }
    }
}
