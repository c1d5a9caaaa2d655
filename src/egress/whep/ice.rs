//! The path to one viewer: ICE as full agent (RFC 8445), and which of its paths
//! the viewer means. The state machine is the library's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::ice::agent::Agent;
use rtc::ice::agent::agent_config::AgentConfig;
use rtc::ice::candidate::candidate_host::CandidateHostConfig;
use rtc::ice::candidate::{CandidateConfig, unmarshal_candidate};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::state::ConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::error::Result;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::nomination::Nomination;
use super::stun;

/// The only local addresses the engine knows: the socket, not the engine,
/// decides where packets come from. One for each family keeps the number of
/// candidate pairs, and of checks, at the number of remote candidates. They
/// are of the blocks kept for documentation (RFC 5737, RFC 3849), with the
/// port of `discard`, and never leave this file.
const LOCAL: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
const LOCAL_PORT: u16 = 9;

/// Browsers refresh consent every 2.5 s or so; a viewer silent for twice that
/// is in trouble, and gone if it stays silent for the second span.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(4);

/// The library would look after a connected viewer five times a second, to send
/// a check every [`KEEPALIVE`].
const CONNECTED_TICK: Duration = Duration::from_secs(2);

/// Credentials of an ICE restart (RFC 8445 §9).
#[derive(Clone, Debug)]
pub(super) struct Restart {
    pub(super) ufrag: String,
    pub(super) password: String,
    pub(super) remote_ufrag: String,
    pub(super) remote_password: String,
}

/// A new `ice-ufrag` and `ice-pwd`: RFC 8445 §5.3 asks for 24 and 128 bits.
pub(super) fn credentials() -> (String, String) {
    (format!("{:016x}", rand::random::<u64>()), format!("{:032x}", rand::random::<u128>()))
}

/// What has become of the path.
pub(super) enum Change {
    /// There is one to the viewer, or another than before.
    Path,
    /// No path works any more.
    Failed,
    Other,
}

/// One viewer's paths.
pub(super) struct Ice {
    agent: Agent,
    ticked: Instant,
    /// The viewer's address that DTLS and media go to.
    path: Option<SocketAddr>,
    selected: bool,
    nomination: Nomination,
    lite: bool,
}

impl Ice {
    /// Looks for a viewer with the credentials `theirs`, its `ice-ufrag` and
    /// `ice-pwd`; `lite` if it does not look for us (RFC 8445 §2.5).
    pub(super) fn new(
        now: Instant,
        crypto: Arc<dyn RTCCryptoProvider>,
        [ufrag, password]: [&str; 2],
        theirs: [&str; 2],
        lite: bool,
    ) -> Result<Self> {
        let config = AgentConfig {
            local_ufrag: ufrag.to_owned(),
            local_pwd: password.to_owned(),
            multicast_dns_mode: MulticastDnsMode::Disabled,
            disconnected_timeout: Some(DISCONNECTED_AFTER),
            failed_timeout: Some(FAILED_AFTER),
            keepalive_interval: Some(KEEPALIVE),
            ..AgentConfig::default()
        };
        let mut agent = Agent::new(now, Arc::new(config), crypto)?;
        for address in LOCAL {
            let base_config = CandidateConfig {
                network: "udp".to_owned(),
                address: address.to_string(),
                port: LOCAL_PORT,
                component: 1,
                ..CandidateConfig::default()
            };
            let candidate = CandidateHostConfig { base_config, ..CandidateHostConfig::default() };
            agent.add_local_candidate(candidate.new_candidate_host()?)?;
        }
        let [remote_ufrag, remote_password] = theirs.map(str::to_owned);
        agent.start_connectivity_checks(now, lite, remote_ufrag, remote_password)?;
        let (path, nomination) = (None, Nomination::default());
        Ok(Self { agent, ticked: now, path, selected: false, nomination, lite })
    }

    /// A candidate of the viewer's, without `a=candidate:`.
    pub(super) fn add_candidate(&mut self, candidate: &str) {
        let added = unmarshal_candidate(candidate).and_then(|c| self.agent.add_remote_candidate(c));
        if let Err(error) = added {
            tracing::debug!(%error, "candidate not used");
        }
    }

    /// Looks for a new path; the one there is stays in use meanwhile.
    pub(super) fn restart(&mut self, now: Instant, restart: Restart) {
        let Restart { ufrag, password, remote_ufrag, remote_password } = restart;
        self.selected = false;
        let restarted = self.agent.restart(now, ufrag, password, true).and_then(|()| {
            self.agent.start_connectivity_checks(now, self.lite, remote_ufrag, remote_password)
        });
        if let Err(error) = restarted {
            tracing::debug!(%error, "ICE restart");
        }
    }

    /// Something other than a check came from `from`, which counts as a sign of
    /// life; whether that address is a candidate's. From one that is none any
    /// more, since a restart, nothing is answered.
    pub(super) fn heard(&mut self, now: Instant, from: SocketAddr) -> bool {
        self.agent.is_valid_non_stun_traffic(now, transport(from))
    }

    /// The viewer goes on with its handshake from there.
    pub(super) fn handshake_from(&mut self, from: SocketAddr) {
        if !self.selected {
            self.path = Some(from);
        }
    }

    /// A check, or the answer to one. An error if it is not the viewer's.
    pub(super) fn check(&mut self, now: Instant, from: SocketAddr, data: BytesMut) -> Result<()> {
        let in_use = self.path == Some(from);
        let check = TaggedBytesMut { now, transport: transport(from), message: data };
        let names = stun::is_nomination(&check.message);
        let named = self.selected && names;
        let again = (named && !in_use).then(|| TaggedBytesMut {
            now,
            transport: check.transport,
            message: check.message.clone(),
        });
        self.agent.handle_read(check)?;
        if names && !named {
            self.nomination.first(now);
        }
        if named && self.nomination.named(now, in_use) {
            // The library keeps to the first path named, until it starts anew;
            // media goes on there until the other has proven itself.
            let ours = self.agent.get_local_credentials().clone();
            let theirs = self.agent.get_remote_credentials().cloned().unwrap_or_default();
            let (remote_ufrag, remote_password) = (theirs.ufrag, theirs.pwd);
            let (ufrag, password) = (ours.ufrag, ours.pwd);
            self.restart(now, Restart { ufrag, password, remote_ufrag, remote_password });
            if let Some(again) = again {
                self.agent.handle_read(again)?;
            }
        }
        Ok(())
    }

    /// When [`Ice::tick`] is due; more seldom for a viewer that is `connected`.
    pub(super) fn deadline(&mut self, connected: bool) -> Option<Instant> {
        let due = self.agent.poll_timeout();
        match connected && self.selected {
            true => due.map(|due| due.max(self.ticked + CONNECTED_TICK)),
            false => due,
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) -> Result<()> {
        self.ticked = now;
        self.agent.handle_timeout(now)
    }

    /// The viewer's address that DTLS and media go to.
    pub(super) fn path(&self) -> Option<SocketAddr> {
        self.path
    }

    /// Whether the viewer has settled on a path.
    pub(super) fn is_selected(&self) -> bool {
        self.selected
    }

    /// What has happened since the last call.
    pub(super) fn poll_change(&mut self) -> Option<Change> {
        Some(match self.agent.poll_event()?.event {
            rtc::ice::Event::SelectedCandidatePairChange(_, remote) => {
                self.selected = true;
                self.path = Some(remote.addr());
                Change::Path
            }
            rtc::ice::Event::ConnectionStateChange(
                ConnectionState::Failed | ConnectionState::Closed,
            ) => Change::Failed,
            _ => Change::Other,
        })
    }

    /// The next check or answer to go out, and where to.
    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, BytesMut)> {
        let datagram = self.agent.poll_write()?;
        Some((datagram.transport.peer_addr, datagram.message))
    }
}

fn transport(from: SocketAddr) -> TransportContext {
    let local = LOCAL[usize::from(from.is_ipv6())];
    TransportContext {
        local_addr: SocketAddr::new(local, LOCAL_PORT),
        peer_addr: from,
        transport_protocol: TransportProtocol::UDP,
        ecn: None,
    }
}
