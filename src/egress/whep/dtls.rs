//! DTLS (RFC 5764): proves that the viewer is who its offer says, and yields
//! the keys of SRTP. The handshake itself is the library's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile as Profile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::{Error, Result};
use rtc::srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::option::srtcp_replay_protection;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::srtp::Sealer;

/// Stands for the viewer, whose address may change while DTLS lives (RFC 8842
/// §6); of a block kept for documentation (RFC 5737).
const VIEWER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 9);

/// SRTCP packets that may come out of order.
const REPLAY_WINDOW: usize = 64;

/// Our certificate: one for the life of the process, since viewers know it by
/// the fingerprint in their answer.
pub(super) struct Identity {
    certificate: Certificate,
    /// SHA-256, as `a=fingerprint` has it.
    pub(super) fingerprint: String,
    pub(super) crypto: Arc<dyn RTCCryptoProvider>,
}

/// One viewer's DTLS association.
pub(super) struct Dtls {
    endpoint: Endpoint,
    identity: Arc<Identity>,
    /// SHA-256 of the viewer's certificate, one of these.
    fingerprints: Arc<[String]>,
    /// We began the handshake, or do when the path is there.
    client: bool,
    started: bool,
    closed: bool,
}

/// What came of a datagram.
pub(super) enum Outcome {
    Nothing,
    /// The handshake is over.
    Keys(Box<Keys>),
    /// The viewer said goodbye.
    Closed,
}

/// What protects a session.
pub(super) struct Keys {
    pub(super) sealer: Sealer,
    pub(super) rtcp: Box<Rtcp>,
}

/// What protects the reports of both sides.
pub(super) struct Rtcp {
    pub(super) ours: Context,
    pub(super) theirs: Context,
}

impl Identity {
    /// A new key and a self-signed certificate.
    pub(super) fn generate() -> Result<Self> {
        let crypto = rtc::crypto::default_provider().map_err(failed)?;
        let certificate =
            Certificate::generate_self_signed(["porthole".to_owned()], crypto.crypto())?;
        let der = certificate.certificate.first().ok_or(Error::ErrNonCertificate)?;
        let fingerprint = fingerprint(crypto.as_ref(), der)?;
        Ok(Self { certificate, fingerprint, crypto })
    }
}

impl Dtls {
    /// Waits for a viewer whose certificate has one of these fingerprints.
    /// As `client` it is we who begin ([`Dtls::connect`]).
    pub(super) fn new(identity: Arc<Identity>, fingerprints: Vec<String>, client: bool) -> Self {
        let endpoint = Endpoint::new(VIEWER, TransportProtocol::UDP, None);
        let fingerprints = fingerprints.into();
        Self { endpoint, identity, fingerprints, client, started: false, closed: false }
    }

    fn config(&self, profiles: Vec<Profile>) -> Result<Arc<HandshakeConfig>> {
        let (allowed, crypto) = (Arc::clone(&self.fingerprints), Arc::clone(&self.identity.crypto));
        let verify = move |chain: &[Vec<u8>], _: &[_]| {
            let certificate = chain.first().ok_or(Error::ErrNonCertificate)?;
            let shown = fingerprint(crypto.as_ref(), certificate)?;
            match allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&shown)) {
                true => Ok(()),
                false => Err(Error::ErrNoMatchingCertificateFingerprint),
            }
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&self.identity.crypto))
            .with_certificates(vec![self.identity.certificate.clone()])
            .with_srtp_protection_profiles(profiles)
            // The fingerprint is what authenticates (RFC 8827 §6.5), not a
            // chain to some authority.
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(self.client, None)?;
        Ok(Arc::new(config))
    }

    /// A path to the viewer is there.
    pub(super) fn connect(&mut self, now: Instant) -> Result<()> {
        if !self.client || std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        let config = self
            .config(vec![Profile::Srtp_Aead_Aes_128_Gcm, Profile::Srtp_Aes128_Cm_Hmac_Sha1_80])?;
        self.endpoint.connect(now, VIEWER, config, None)
    }

    /// A record of the viewer's. Errors are of that datagram only.
    pub(super) fn receive(&mut self, now: Instant, datagram: BytesMut) -> Result<Outcome> {
        if self.closed || self.client && !self.started {
            return Ok(Outcome::Nothing);
        }
        if !self.started {
            self.started = true;
            // The library takes the viewer's first profile, which for browsers
            // is the slower one: so it is shown only the one to take.
            let profiles = match offers_gcm(&datagram) {
                Some(true) => vec![Profile::Srtp_Aead_Aes_128_Gcm],
                Some(false) => vec![Profile::Srtp_Aes128_Cm_Hmac_Sha1_80],
                None => vec![Profile::Srtp_Aead_Aes_128_Gcm, Profile::Srtp_Aes128_Cm_Hmac_Sha1_80],
            };
            let config = self.config(profiles)?;
            self.endpoint.set_server_config(Some(config));
        }
        let mut outcome = Outcome::Nothing;
        for event in self.endpoint.read(now, VIEWER, None, datagram)? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    outcome = Outcome::Keys(Box::new(self.keys()?));
                }
                EndpointEvent::PeerClosed => {
                    self.closed = true;
                    outcome = Outcome::Closed;
                }
                _ => {}
            }
        }
        Ok(outcome)
    }

    fn keys(&self) -> Result<Keys> {
        let state = self.endpoint.get_connection_state(VIEWER).ok_or(Error::HandshakeInProgress)?;
        let profile = match state.srtp_protection_profile() {
            Profile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return Err(Error::ErrNoSuchSrtpProfile),
        };
        tracing::debug!(?profile, "keys agreed");
        let mut config = SrtpConfig { profile, ..Default::default() };
        let length = config.keying_material_len();
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length)?;
        config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
        let (keys, crypto) = (&config.keys, self.identity.crypto.crypto());
        let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
        let window = Some(srtcp_replay_protection(REPLAY_WINDOW));
        let sealer = Sealer::new(crypto, profile, key, salt).map_err(failed)?;
        let ours = Context::new(key, salt, profile, None, None, crypto)?;
        let (key, salt) = (&keys.remote_master_key, &keys.remote_master_salt);
        let theirs = Context::new(key, salt, profile, None, window, crypto)?;
        Ok(Keys { sealer, rtcp: Box::new(Rtcp { ours, theirs }) })
    }

    /// The next record to send.
    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// When [`Dtls::tick`] is due: a flight may have been lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&VIEWER)
    }

    pub(super) fn tick(&mut self, now: Instant) -> Result<()> {
        match self.endpoint.poll_timeout(&VIEWER) {
            Some(due) if due <= now => self.endpoint.handle_timeout(VIEWER, now),
            _ => Ok(()),
        }
    }

    /// Says goodbye (`close_notify`).
    pub(super) fn close(&mut self, now: Instant) -> Result<()> {
        self.closed = true;
        self.endpoint.close(now)
    }
}

fn failed(error: rtc::crypto::CryptoError) -> Error {
    Error::Crypto(error.to_string())
}

/// `AB:CD:…` (RFC 8122 §5).
fn fingerprint(crypto: &dyn RTCCryptoProvider, certificate: &[u8]) -> Result<String> {
    let hash = crypto.crypto().hash(HashAlgorithm::Sha256, certificate).map_err(failed)?;
    let digits: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(digits.join(":"))
}

/// Whether a `ClientHello` has `AEAD_AES_128_GCM` among its SRTP profiles;
/// `None` where it cannot be seen, as in the first part of a long one.
pub(super) fn offers_gcm(datagram: &[u8]) -> Option<bool> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    const USE_SRTP: [u8; 2] = [0, 14];
    const GCM_128: [u8; 2] = [0, 7];

    // RFC 6347 §4.1: type, version, epoch and sequence number, length.
    let (&[kind, ..], mut rest) = datagram.split_first_chunk::<11>()?;
    let record = vector::<2>(&mut rest)?;
    // §4.2.2: type, length, message number, and which part of it this is.
    let (head, body) = record.split_first_chunk::<12>()?;
    let whole = head[6..9] == [0; 3] && head[1..4] == head[9..12];
    if kind != HANDSHAKE || head[0] != CLIENT_HELLO || !whole {
        return None;
    }
    // §4.2.1: version and random, then vectors.
    let (_, mut rest) = body.split_first_chunk::<34>()?;
    let (_session, _cookie) = (vector::<1>(&mut rest)?, vector::<1>(&mut rest)?);
    let (_suites, _compression) = (vector::<2>(&mut rest)?, vector::<1>(&mut rest)?);
    let mut extensions = vector::<2>(&mut rest)?;
    while let Some((kind, tail)) = extensions.split_first_chunk::<2>() {
        extensions = tail;
        let mut extension = vector::<2>(&mut extensions)?;
        if *kind == USE_SRTP {
            // RFC 5764 §4.1.1.
            let profiles = vector::<2>(&mut extension)?;
            return Some(profiles.chunks_exact(2).any(|profile| profile == GCM_128));
        }
    }
    Some(false)
}

/// Takes a vector whose length is written in so many bytes (RFC 5246 §4.3).
fn vector<'a, const LENGTH: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (vector, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(vector)
}

#[cfg(test)]
#[path = "dtls_tests.rs"]
mod tests;
