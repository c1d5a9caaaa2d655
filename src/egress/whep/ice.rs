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
    /// The viewer has refreshed the path in use, and nothing has gone out since.
    refreshed: bool,
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
        let (selected, refreshed) = (false, false);
        Ok(Self { agent, ticked: now, path, selected, nomination, lite, refreshed })
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
        (self.selected, self.refreshed) = (false, false);
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
        let refreshes = self.selected && in_use && stun::is_request(&check.message);
        let again = (named && !in_use).then(|| TaggedBytesMut {
            now,
            transport: check.transport,
            message: check.message.clone(),
        });
        self.agent.handle_read(check)?;
        self.refreshed |= refreshes;
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
        while let Some(datagram) = self.agent.poll_write() {
            let to = datagram.transport.peer_addr;
            // The library checks a path back whenever it is checked, also one
            // that has succeeded, where RFC 8445 §7.3.1.4 does no more: it costs
            // us a message out and one in. Consent (RFC 7675) is asked for by
            // [`KEEPALIVE`] whatever the viewer does.
            let back = self.refreshed && stun::is_request(&datagram.message);
            if !(back && self.path == Some(to)) {
                return Some((to, datagram.message));
            }
        }
        self.refreshed = false;
        None
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

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWER: &str = "127.0.0.1:5000";
    const OURS: &str = "127.0.0.1:8189";

    fn host(address: &str) -> CandidateHostConfig {
        let address: SocketAddr = address.parse().unwrap();
        let base_config = CandidateConfig {
            network: "udp".to_owned(),
            address: address.ip().to_string(),
            port: address.port(),
            component: 1,
            ..CandidateConfig::default()
        };
        CandidateHostConfig { base_config, ..CandidateHostConfig::default() }
    }

    /// A viewer as the library makes them: it refreshes its path every two
    /// seconds, without naming it again.
    fn viewer(now: Instant, own: &(String, String), ours: &(String, String)) -> Agent {
        let config = AgentConfig {
            local_ufrag: own.0.clone(),
            local_pwd: own.1.clone(),
            multicast_dns_mode: MulticastDnsMode::Disabled,
            ..AgentConfig::default()
        };
        let crypto = rtc::crypto::default_provider().unwrap();
        let mut agent = Agent::new(now, Arc::new(config), crypto).unwrap();
        agent.add_local_candidate(host(VIEWER).new_candidate_host().unwrap()).unwrap();
        agent.add_remote_candidate(host(OURS).new_candidate_host().unwrap()).unwrap();
        let (ufrag, password) = ours.clone();
        agent.start_connectivity_checks(now, true, ufrag, password).unwrap();
        agent
    }

    #[test]
    fn a_path_that_is_refreshed_is_answered_for_and_not_checked_back() {
        let start = Instant::now();
        let (own, theirs) = (credentials(), credentials());
        let mut viewer = viewer(start, &theirs, &own);
        let crypto = rtc::crypto::default_provider().unwrap();
        let (ours, remote) = ([&*own.0, &*own.1], [&*theirs.0, &*theirs.1]);
        let mut ice = Ice::new(start, crypto, ours, remote, false).unwrap();
        ice.add_candidate("1 1 udp 2130706431 127.0.0.1 5000 typ host");

        let (from, to) = (VIEWER.parse().unwrap(), OURS.parse().unwrap());
        let back = TransportContext { local_addr: from, peer_addr: to, ..transport(from) };
        let (mut refreshed, mut answered, mut checked) = (0, 0, 0);
        for step in 0..3_000 {
            let now = start + Duration::from_millis(10) * step;
            // By then the path is chosen.
            let counts = usize::from(step >= 1_000);
            if viewer.poll_timeout().is_some_and(|due| due <= now) {
                viewer.handle_timeout(now).unwrap();
            }
            if ice.deadline(true).is_some_and(|due| due <= now) {
                ice.tick(now).unwrap();
            }
            for _ in 0..4 {
                while let Some(sent) = viewer.poll_write() {
                    refreshed += counts * usize::from(stun::is_request(&sent.message));
                    ice.check(now, from, sent.message).unwrap();
                }
                while let Some((_, message)) = ice.poll_transmit() {
                    let checks = stun::is_request(&message);
                    checked += counts * usize::from(checks);
                    answered += counts * usize::from(!checks);
                    let sent = TaggedBytesMut { now, transport: back, message };
                    viewer.handle_read(sent).unwrap();
                }
                while ice.poll_change().is_some() {}
            }
            assert!(counts == 0 || ice.is_selected(), "after {step} steps");
        }
        assert!(refreshed >= 9, "{refreshed} times in 20 s");
        assert_eq!(answered, refreshed);
        // For consent, every KEEPALIVE or a little later.
        assert!((4..=5).contains(&checked), "{checked} times in 20 s");
    }
}
