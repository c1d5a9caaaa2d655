//! HTTPS: HTTP/2 and HTTP/1.1, a certificate that is replaced, and clients
//! that hold a connection for nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod camera_support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Longest wait for a connection to be closed on us.
const PATIENCE: Duration = Duration::from_secs(15);

/// A certificate of its own for `localhost`, written to the folder.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

fn yaml(folder: &Path) -> String {
    let folder = folder.display();
    format!("tls: {{ cert_file: {folder}/cert.pem, key_file: {folder}/key.pem }}\n")
}

/// A connection to the gateway that believes `trusted` alone.
async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

/// How long until the other side closes.
async fn closed_after(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Duration {
    let begun = Instant::now();
    let mut sink = Vec::new();
    assert!(timeout(PATIENCE, stream.read_to_end(&mut sink)).await.is_ok(), "still open");
    begun.elapsed()
}

#[tokio::test]
async fn a_browser_gets_http_2_and_an_old_client_http_1() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let app = app_support::configured(&yaml(folder.path())).await;
    assert!(app.pages().starts_with("https://"), "{}", app.pages());

    let stream = connect(app.viewer_address(), &trusted, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // Several at once on one connection.
    let asked =
        ["/", "/api/streams", "/nobody/index.m3u8"].map(|path| sender.send_request(get(path)));
    let answers = futures_util::future::try_join_all(asked).await.unwrap();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 404]);
    assert!(answers.iter().all(|answer| answer.version() == Version::HTTP_2));
    for answer in answers {
        assert!(!answer.collect().await.unwrap().to_bytes().is_empty());
    }

    let stream = connect(app.viewer_address(), &trusted, "http/1.1").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(get("/api/streams")).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    app.stop().await;
}

/// The value of a metric, by its name and labels.
async fn metric(app: &porthole::app::App, name: &str) -> Option<String> {
    let text = app_support::get(&format!("http://{}/metrics", app.admin_address())).await.1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_on_http_2_goes_with_its_client_and_its_connection_stays() {
    const HELD: &str = "porthole_hls_blocked_requests";
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let cameras = camera_support::Cameras::start(&["h264-pcma"]);
    // Segments so long that nobody confuses a request that went with one that
    // was answered.
    let streams =
        format!("hls: {{ segment: 6s }}\nstreams: {{ yard: {} }}\n", cameras.url("h264-pcma"));
    let app = app_support::configured(&(yaml(folder.path()) + &streams)).await;
    let stream = connect(app.viewer_address(), &trusted, "h2").await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let until = Instant::now() + PATIENCE * 2;
    let first: u64 = loop {
        let answer = sender.send_request(get("/yard/hls/media.m3u8")).await.unwrap();
        let text = answer.collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        if let Some(rest) = text.split("#EXT-X-MEDIA-SEQUENCE:").nth(1) {
            break rest.lines().next().unwrap().parse().unwrap();
        }
        assert!(Instant::now() < until, "{text}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };

    let mut ahead = first + 1;
    let begun = loop {
        let path = format!("/yard/hls/media.m3u8?_HLS_msn={ahead}");
        let (begun, mut asked) = (Instant::now(), Box::pin(sender.send_request(get(&path))));
        // One that is there is answered; the next is waited for.
        if timeout(Duration::from_millis(700), &mut asked).await.is_err() {
            assert_eq!(metric(&app, HELD).await.as_deref(), Some("1"));
            break begun;
        }
        ahead += 1;
    };
    while metric(&app, HELD).await.as_deref() != Some("0") {
        assert!(begun.elapsed() < Duration::from_secs(4), "it is held for nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = sender.send_request(get("/api/streams")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "the connection goes on");
    app.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let app = app_support::configured(&yaml(folder.path())).await;
    let address = app.viewer_address();
    let stream = connect(address, &first, "h2").await.unwrap();
    let (mut old, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(old.send_request(get("/")).await.unwrap().status(), StatusCode::OK);

    let second = certificate(folder.path());
    let until = Instant::now() + PATIENCE;
    while connect(address, &second, "h2").await.is_err() {
        assert!(Instant::now() < until, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(connect(address, &first, "h2").await.is_err(), "the old one is gone");
    let answer = old.send_request(get("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "a connection from before goes on");

    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(connect(address, &second, "h2").await.is_ok());
    app.stop().await;
}

#[tokio::test]
async fn nobody_holds_a_connection_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let app = app_support::configured(&yaml(folder.path())).await;
    let address = app.viewer_address();

    let silent = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        closed_after(&mut stream).await
    };
    let half_a_handshake = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
        closed_after(&mut stream).await
    };
    let http_1 = async {
        let mut stream = connect(address, &trusted, "http/1.1").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        closed_after(&mut stream).await
    };
    let http_2 = async {
        let mut stream = connect(address, &trusted, "h2").await.unwrap();
        // The preface and empty settings, and nothing after them.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        closed_after(&mut stream).await
    };
    let preface = async {
        let mut stream = connect(address, &trusted, "h2").await.unwrap();
        stream.write_all(b"PRI * HT").await.unwrap();
        closed_after(&mut stream).await
    };
    let (a, b, c, d, e) = tokio::join!(silent, half_a_handshake, http_1, http_2, preface);
    for (who, took) in [("silent", a), ("handshake", b), ("h1", c), ("h2", d), ("preface", e)] {
        assert!(took < Duration::from_secs(11), "{who} stayed for {took:?}");
    }
    app.stop().await;
}

#[tokio::test]
async fn who_asks_over_http_2_and_opens_no_window_is_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let app = app_support::configured(&yaml(folder.path())).await;
    let stream = connect(app.viewer_address(), &trusted, "h2").await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let asked = (0..50).map(|_| sender.send_request(get("/porthole.js")));
    let answers = futures_util::future::try_join_all(asked).await.unwrap();
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));

    // It answers every ping, as who is there does.
    let begun = Instant::now();
    let ended = timeout(PATIENCE * 2, connection).await;
    assert!(ended.is_ok(), "it holds fifty answers after {:?}", begun.elapsed());
    let refused = "porthole_http_rejected_total{reason=\"idle\"}";
    assert_eq!(metric(&app, refused).await.as_deref(), Some("1"));
    drop(answers);
    app.stop().await;
}
