//! TLS in front of a camera that has none.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion};

/// A certificate of its own for that name, as a camera makes it.
pub fn certificate(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// A front with that certificate; ends with it.
pub struct Front {
    pub port: u16,
    _connections: JoinSet<()>,
}

impl Front {
    pub async fn start(
        camera: u16,
        certified: &rcgen::CertifiedKey<rcgen::KeyPair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut front = JoinSet::new();
        front.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let gateway = listener.accept().await.unwrap().0;
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // One that does not trust us hangs up.
                    let Ok(mut gateway) = acceptor.accept(gateway).await else { return };
                    let mut camera =
                        TcpStream::connect((Ipv4Addr::LOCALHOST, camera)).await.unwrap();
                    let _ = copy_bidirectional(&mut gateway, &mut camera).await;
                });
            }
        });
        Self { port, _connections: front }
    }
}
