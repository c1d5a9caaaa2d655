//! HTTPS: the certificate from files, read anew when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{DEFAULT_VERSIONS, ServerConfig};

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that vouch for it (PEM).
    pub cert_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
}

/// Why a certificate cannot be used, with the file's name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(String);

/// The certificate in force.
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, BadCertificate> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(server_config(files)?))))
    }

    /// Reads them again; connections there are keep what they began with.
    ///
    /// # Errors
    ///
    /// As for [`Tls::load`]; the old certificate stays in force then.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), BadCertificate> {
        self.0.store(Arc::new(server_config(files)?));
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, BadCertificate> {
    let TlsFiles { cert_file, key_file } = files;
    let bad = |file: &Path, why: &str| BadCertificate(format!("{}: {why}", file.display()));
    let read = |file: &Path| std::fs::read(file).map_err(|error| bad(file, &error.to_string()));

    let pem = read(cert_file)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| bad(cert_file, "no certificate (PEM) stands in it"))?;
    // The library's words might quote the key.
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?);
    let key = key.map_err(|_| bad(key_file, "no private key (PEM) stands in it"))?;

    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(DEFAULT_VERSIONS)
        .expect("ring speaks TLS 1.2 and 1.3");
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| bad(cert_file, &error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // One ticket, not two: a player comes back on one connection at a time.
    config.send_tls13_tickets = 1;
    Ok(config)
}

impl From<BadCertificate> for io::Error {
    fn from(bad: BadCertificate) -> Self {
        Self::new(io::ErrorKind::InvalidData, bad.0)
    }
}
