//! Listeners: connections in, responses out, nobody holds one for nothing.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::HttpMetrics;

/// A request's headers must be here this long after its connection, or the
/// request before it; a browser takes milliseconds. `axum::serve` waits for
/// ever, so that a slow sender holds a connection for nothing.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Connections at once on one listener; each costs about 20 kB.
const CONNECTIONS: usize = 4_096;
/// How long stopping waits for requests under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Out of file descriptors: closing some takes a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener.
pub struct Listener {
    /// The word in metrics: `viewer` or `admin`.
    name: &'static str,
    socket: TcpListener,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// The system's, with the address in words.
    pub async fn bind(name: &'static str, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        Ok(Self { name, socket })
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

/// Serves `router` until `stop`, then lets requests under way finish within
/// five seconds.
pub async fn serve(
    listener: Listener,
    router: Router,
    metrics: HttpMetrics,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(listener = listener.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            metrics.rejected("connections");
            continue;
        };
        let open = metrics.connection(listener.name);
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let _held = (slot, open);
            connection(stream, peer, router, stop).await;
        });
    }
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        debug!(listener = listener.name, "requests still under way were cut off");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Parts and playlists are small and awaited: never hold one back.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .keep_alive_interval(Duration::from_secs(20));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, error, "connection ended");
    }
}
