//! Asking another server, by HTTP or HTTPS: a key set, a yes or no.
//!
//! A leaf room. One request per connection, with a time limit and a byte cap;
//! no redirect is followed, no proxy and no cookie known. Only URLs of the
//! operator come here.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, DEFAULT_VERSIONS, RootCertStore};
use url::{Position, Url};

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, whole.
    pub body: Bytes,
}

/// Why there is no answer; names the host, never the URL, whose query may hold
/// a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host}: {why}")]
pub struct NoAnswer {
    host: String,
    why: String,
}

/// GETs `url`, or POSTs `json` to it; whole within `limit`, at most `bytes`
/// long.
///
/// # Errors
///
/// No connection, no valid HTTP, too slow, too long. Any status is an answer.
pub async fn fetch(
    url: &Url,
    json: Option<String>,
    limit: Duration,
    bytes: usize,
) -> Result<Answer, NoAnswer> {
    let asked = tokio::time::timeout(limit, ask(url, json, bytes)).await;
    let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
    let host = || url.host_str().unwrap_or_default().to_owned();
    asked.map_err(|why| NoAnswer { host: host(), why })
}

async fn ask(url: &Url, json: Option<String>, bytes: usize) -> Result<Answer, String> {
    let host = url.host_str().ok_or("the URL names no host")?;
    let port = url.port_or_known_default().ok_or("the URL names no port")?;
    // `[::1]` is how a URL writes it, not how it is looked up.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await.map_err(|error| error.to_string())?;
    if url.scheme() != "https" {
        return converse(stream, url, json, bytes).await;
    }
    let server = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(tls()).connect(server, stream).await;
    converse(stream.map_err(|error| error.to_string())?, url, json, bytes).await
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    json: Option<String>,
    bytes: usize,
) -> Result<Answer, String> {
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let request = Request::builder()
        .method(if json.is_some() { "POST" } else { "GET" })
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Body::from(json.unwrap_or_default()))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status();
        let body = axum::body::to_bytes(Body::new(response.into_body()), bytes).await;
        let body = body.map_err(|_| format!("more than {bytes} bytes, or cut short"))?;
        Ok(Answer { status, body })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The last of the answer may be on its way to us still.
        _ = connection => exchange.await,
    }
}

/// What the system's authorities vouch for.
fn tls() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(DEFAULT_VERSIONS)
            .expect("ring speaks TLS 1.2 and 1.3");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }))
}
