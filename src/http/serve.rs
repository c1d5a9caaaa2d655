//! Listeners: connections in, responses out, nobody holds one for nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connection::{self, House};
use super::shortcut::{Shortcut, Site};
use super::slots::{Caps, Slots};
use super::tls::Tls;
use super::{HttpMetrics, request_problem};

/// How long a request's body may take; an SDP offer has a few kilobytes.
const BODY_LIMIT: Duration = Duration::from_secs(5);
/// Longest body of any request we take.
const BODY_BYTES: usize = 64 << 10;
/// How long stopping waits for requests under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Connections that the system completes before we have accepted them. Beyond
/// it a client believes in a connection that nobody knows of; the usual 128 are
/// fewer than viewers that all come back after a restart.
const BACKLOG: u32 = 1_024;
/// Out of file descriptors: closing some takes a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener.
pub struct Listener {
    /// The word in metrics: `viewer` or `admin`.
    name: &'static str,
    socket: TcpListener,
    caps: Caps,
    tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Binds `address`; `name` is the word in metrics, `key` the one that
    /// configures it.
    ///
    /// # Errors
    ///
    /// The system's, with the address and the key.
    pub fn bind(name: &'static str, key: &'static str, address: SocketAddr) -> io::Result<Self> {
        let socket = listen(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address} ({key}): {error}"))
        })?;
        Ok(Self { name, socket, caps: Caps::default(), tls: None })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_caps(self, caps: Caps) -> Self {
        Self { caps, ..self }
    }

    /// The same over TLS: HTTP/2 and HTTP/1.1, as the client likes.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Where it listens; the port is real even where 0 was asked for.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A socket that listens on `address`, with room for a crowd that comes at once.
///
/// # Errors
///
/// The system's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the program before us that still linger do not matter.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `site` until `stop`, then lets requests under way finish within
/// five seconds.
pub async fn serve<S: Shortcut>(
    listener: Listener,
    site: Site<S>,
    metrics: HttpMetrics,
    stop: CancellationToken,
) {
    let slots = Slots::new(listener.caps);
    let house = House { site, tls: listener.tls, metrics, stop };
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = house.stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(listener = listener.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let slot = match slots.take(peer.ip()) {
            Ok(slot) => slot,
            Err(reason) => {
                house.metrics.rejected(reason);
                continue;
            }
        };
        let open = house.metrics.connection(listener.name);
        let house = house.clone();
        connections.spawn(async move {
            let _held = (slot, open);
            if let Err(error) = connection::serve(stream, peer, house).await {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        debug!(listener = listener.name, "requests still under way were cut off");
    }
}

/// Reads a request's body whole before its route sees it, so that nobody holds a
/// route, or our memory, by sending slowly or without end.
pub(super) async fn whole_body<F: Future<Output = Response>>(
    request: Request<Body>,
    next: impl FnOnce(Request<Body>) -> F,
) -> Response {
    if request.body().is_end_stream() {
        return next(request).await;
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_LIMIT, to_bytes(body, BODY_BYTES)).await {
        Ok(Ok(body)) => next(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => {
            request_problem(StatusCode::PAYLOAD_TOO_LARGE, "a body above 64 KiB, or one cut short")
        }
        Err(_) => request_problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::middleware::{Next, from_fn};
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::activity::HEADER_LIMIT;

    /// What a client that sends `bytes` and then nothing more gets, until the
    /// connection is closed on it.
    async fn answer_to(bytes: &[u8]) -> String {
        let listener = Listener::bind("test", "listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.address().unwrap();
        let router = Router::new()
            .route("/", post(|body: Bytes| async move { body.len().to_string() }))
            .layer(from_fn(async |request, next: Next| {
                whole_body(request, |request| next.run(request)).await
            }));
        let metrics = HttpMetrics::register(&prometheus::Registry::new()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Site::from(router), metrics, stop.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let limit = HEADER_LIMIT + BODY_LIMIT + Duration::from_secs(5);
        let read = tokio::time::timeout(limit, client.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection is still open");
        stop.cancel();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_or_half_a_header_is_closed() {
        for bytes in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"] {
            let answer = answer_to(bytes.as_bytes()).await;
            assert!(!answer.contains(" 200 "), "{bytes}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_or_does_not_end_is_refused() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ";
        let late = answer_to(format!("{head}10\r\n\r\nabc").as_bytes()).await;
        assert!(late.starts_with("HTTP/1.1 408"), "{late}");
        let long = format!("{head}100000\r\n\r\n{}", "x".repeat(100_000));
        let long = answer_to(long.as_bytes()).await;
        assert!(long.starts_with("HTTP/1.1 413"), "{long}");
        for answer in [late, long] {
            assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        }
        let whole = answer_to(format!("{head}3\r\n\r\nabc").as_bytes()).await;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with('3'), "{whole}");
    }
}
