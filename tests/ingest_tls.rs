//! RTSPS: which certificates are believed, and what is said of the others.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use camera_support::{Cameras, pull, source};
use ingest_support::{Front, MOUNT, Scripted, certificate, ok};
use porthole::bus::SourceState;
use porthole::fault::{Code, Fault};
use porthole::ingest::{Authorities, Fingerprint, Trust};
use tokio_rustls::rustls::ALL_VERSIONS;
use tokio_rustls::rustls::version::{TLS12, TLS13};

fn url(front: &Front, host: &str, mount: &str) -> String {
    format!("rtsps://{host}:{}/{mount}", front.port)
}

/// Why nothing comes of that trust.
async fn refused(url: &str, trust: Trust) -> Fault {
    let mut asked = source(url);
    asked.tls = trust;
    let camera = pull(asked);
    let down = camera.status(|status| status.state == SourceState::Down).await;
    camera.end().await;
    let fault = down.fault.unwrap();
    assert_eq!(fault.code, Code::SourceTls, "{fault}");
    fault
}

async fn plays(url: &str, trust: Trust) {
    let mut asked = source(url);
    asked.tls = trust;
    let mut camera = pull(asked);
    assert!(camera.frame().await.is_entry_point());
    camera.end().await;
}

/// The fingerprint that a fault tells people to pin.
fn told(fault: &Fault) -> Fingerprint {
    let (_, rest) = fault.detail.split_once("fingerprint: \"").expect("a way out is named");
    rest.split('"').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_with_a_certificate_of_its_own_is_named_then_pinned() {
    let cameras = Cameras::start(&[MOUNT]);
    for versions in [&[&TLS12][..], &[&TLS13], ALL_VERSIONS] {
        let front = Front::start(cameras.port, &certificate("camera"), versions).await;
        let url = url(&front, "127.0.0.1", MOUNT);
        let fault = refused(&url, Trust::System).await;
        plays(&url, Trust::Pinned(told(&fault))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_pinned_or_vouched_for_certificate_is_believed() {
    let camera = Scripted::start(ok).await;
    let (one, other) = (certificate("localhost"), certificate("localhost"));
    let front = Front::start(camera.port, &one, ALL_VERSIONS).await;
    let (named, address) = (url(&front, "localhost", "live"), url(&front, "127.0.0.1", "live"));
    let by = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        Trust::Authorities(Authorities::from_pem(made.cert.pem().as_bytes()).unwrap())
    };
    plays(&named, by(&one)).await;
    plays(&address, Trust::Anybody).await;

    let fault = refused(&named, by(&other)).await;
    assert!(fault.detail.contains("self-signed"), "{fault}");
    let fault = refused(&address, by(&one)).await;
    assert!(fault.detail.contains("for another name"), "{fault}");
    let pin = told(&fault);
    plays(&address, Trust::Pinned(pin)).await;

    // The camera was replaced, or somebody stands between.
    let front = Front::start(camera.port, &other, ALL_VERSIONS).await;
    let fault = refused(&url(&front, "localhost", "live"), Trust::Pinned(pin)).await;
    assert!(fault.detail.contains("not the one"), "{fault}");
    assert_ne!(told(&fault), pin);
    // Nobody who was not believed was told anything.
    assert!(camera.asked().iter().all(|ask| ask.url.starts_with("rtsps://")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_tls_is_named() {
    let cameras = Cameras::start(&[MOUNT]);
    let url = cameras.url(MOUNT).replace("rtsp:", "rtsps:");
    let fault = refused(&url, Trust::Anybody).await;
    assert!(
        fault.detail.contains("no TLS at this port") || fault.detail.contains("broke"),
        "{fault}"
    );
}
