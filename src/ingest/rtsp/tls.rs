//! RTSPS: TLS around the connection, and which certificates are believed.
//!
//! Cameras make their own certificates, so the usual way is to pin one. A
//! certificate that is not believed is named by its fingerprint, ready to be
//! pinned. One crypto provider in the whole program: ring.

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::fault::{Code, Fault};
use crate::ingest::source::Source;

/// Whose certificate is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// What the system's authorities vouch for.
    #[default]
    System,
    /// What these authorities vouch for.
    Authorities(Authorities),
    /// This certificate and no other, for whatever name.
    Pinned(Fingerprint),
    /// Anybody's: encrypted, to we know not whom.
    Anybody,
}

/// Certificates of authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities(Arc<[CertificateDer<'static>]>);

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Not a certificate or fingerprint; the words say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTrust(&'static str);

impl Authorities {
    /// From a file's text, as `ca.pem`.
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadTrust> {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Arc<[_]>, _>>();
        let certificates = certificates.map_err(|_| BadTrust("this is not a PEM file"))?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 || added < certificates.len() {
            return Err(BadTrust("no certificate that can be read stands in this file"));
        }
        Ok(Self(certificates))
    }
}

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = BadTrust;

    /// `sha256:` and 64 hex digits, with or without colons between them.
    fn from_str(s: &str) -> Result<Self, BadTrust> {
        let wrong = BadTrust("a fingerprint is `sha256:` and 64 hex digits");
        let (kind, hex) = s.trim().split_once(':').ok_or(wrong)?;
        let digits: Option<Vec<u32>> =
            hex.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or(wrong)?;
        if !kind.eq_ignore_ascii_case("sha256") {
            return Err(wrong);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Shakes hands with the camera over that connection.
///
/// # Errors
///
/// `source.tls`, with the way out.
pub(super) async fn secure(
    stream: TcpStream,
    source: &Source,
) -> Result<TlsStream<TcpStream>, Fault> {
    let provider = Arc::new(crypto::ring::default_provider());
    let judge = Arc::new(Judge::new(source.tls.clone(), &provider)?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let host = source.url().host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| tls(error.to_string()))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    shaken.map_err(|error| judge.fault(&error))
}

fn tls(detail: impl Into<String>) -> Fault {
    Fault::new(Code::SourceTls, detail)
}

/// The system's authorities, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(load))
}

/// Judges one camera's certificate, and remembers which it was.
#[derive(Debug)]
struct Judge {
    trust: Trust,
    /// Who judges by authorities.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl Judge {
    fn new(trust: Trust, provider: &Arc<CryptoProvider>) -> Result<Self, Fault> {
        let roots = match &trust {
            Trust::System => Some(system_roots()),
            Trust::Authorities(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(authorities.0.iter().cloned());
                Some(Arc::new(roots))
            }
            Trust::Pinned(_) | Trust::Anybody => None,
        };
        if roots.as_ref().is_some_and(|roots| roots.is_empty()) {
            return Err(tls(
                "this machine has no list of certificate authorities; pin the camera's certificate \
                 with `tls: { fingerprint: … }`, or name its authority with `tls: { ca_file: … }`",
            ));
        }
        let chain = roots
            .map(|roots| {
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build()
            })
            .transpose()
            .map_err(|error| tls(error.to_string()))?;
        Ok(Self { trust, chain, provider: Arc::clone(provider), seen: Mutex::default() })
    }

    /// Why there is no connection, in words that name the way out.
    fn fault(&self, error: &io::Error) -> Fault {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let Some(cause) = cause else {
            return tls(format!("the connection broke during the TLS handshake: {error}"));
        };
        let mut words = match cause {
            rustls::Error::InvalidCertificate(why) => certificate(why).to_owned(),
            rustls::Error::InvalidMessage(_) => {
                "there is no TLS at this port; try rtsp:// or the camera's RTSPS port".to_owned()
            }
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                rustls::AlertDescription::ProtocolVersion
                | rustls::AlertDescription::HandshakeFailure,
            ) => format!("the camera's TLS is older than 1.2 or has no safe cipher: {cause}"),
            _ => cause.to_string(),
        };
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(seen), rustls::Error::InvalidCertificate(_)) = (seen, cause) {
            let _ = write!(
                words,
                "; if it is your camera's, trust it with `tls: {{ fingerprint: \"{seen}\" }}`"
            );
        }
        tls(words)
    }
}

fn certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet; check this machine's clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name"
        }
        CertificateError::ApplicationVerificationFailure => {
            "the certificate is not the one in `tls: fingerprint`"
        }
        // The latter from an authority that only has the name of one of ours.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the certificate is self-signed, or of an authority unknown to this machine"
        }
        _ => "the certificate is not believed",
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(leaf);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        match (&self.trust, &self.chain) {
            (Trust::Anybody, _) => Ok(ServerCertVerified::assertion()),
            (Trust::Pinned(pinned), _) if *pinned == fingerprint => {
                Ok(ServerCertVerified::assertion())
            }
            (_, Some(chain)) => chain.verify_server_cert(leaf, intermediates, name, ocsp, now),
            (_, None) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_people_paste_them() {
        let hex = "0123456789abcdef".repeat(4);
        let plain: Fingerprint = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(plain.to_string(), format!("sha256:{hex}"));
        let pairs: Vec<String> = hex
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|p| String::from_utf8_lossy(p).into())
            .collect();
        // As `openssl x509 -fingerprint -sha256` prints it.
        assert_eq!(format!("SHA256:{}", pairs.join(":")).parse(), Ok(plain));
        for bad in [&hex, "sha256:", "sha1:00", &format!("sha1:{hex}"), &format!("sha256:{hex}0")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let bad = ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"];
        for bad in bad {
            assert!(Authorities::from_pem(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
