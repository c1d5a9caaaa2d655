//! One connection: TLS, HTTP/1 or HTTP/2, and when it has lasted for nothing
//! long enough.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::HttpMetrics;
use super::activity::{Activity, HEADER_LIMIT, Patience, UnderWay, Watched};
use super::sent::Sent;
use super::shortcut::{Shortcut, Site};
use super::stall::Impatient;
use super::tls::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = HEADER_LIMIT;
/// A connection without a request ends soon: a client that wants to stay
/// connects again. A client that takes no bytes is for [`Impatient`].
const HTTP1: Patience =
    Patience { stuck: Duration::MAX, untaken: Duration::MAX, idle: HEADER_LIMIT };
/// A page's connection stays a while without a request. Blocking reloads wait for
/// three target durations at the most. A client that opens no window is seen here
/// alone, and has as long as [`Impatient`] waits.
const HTTP2: Patience = Patience {
    stuck: Duration::from_secs(120),
    untaken: Duration::from_secs(10),
    idle: Duration::from_secs(60),
};
/// Requests at once on an HTTP/2 connection; a page of the wall has dozens.
const STREAMS: u32 = 100;
/// Longest headers of a request; browsers' have one or two kilobytes.
const HEADER_BYTES: u32 = 16 << 10;
/// What a client may have sent on an HTTP/2 stream and connection before we
/// have read it.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// What we have ready for an HTTP/2 stream before its client takes it.
const SEND_BUFFER: usize = 256 << 10;

/// What a connection may have waiting in the system beside what is under way to
/// its viewer: half a second of a camera's picture.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// What every connection of a listener needs.
#[derive(Clone)]
pub(super) struct House<S> {
    pub(super) site: Site<S>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) metrics: HttpMetrics,
    pub(super) stop: CancellationToken,
}

/// How a request came: told to routes as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over our own TLS.
    Https,
}

/// Serves the connection until it ends.
pub(super) async fn serve<S: Shortcut>(
    stream: TcpStream,
    peer: SocketAddr,
    house: House<S>,
) -> io::Result<()> {
    // Parts and playlists are small and awaited: never hold one back.
    stream.set_nodelay(true)?;
    // What the system holds for a slow viewer can be skipped no more, however
    // old it gets: let it hold little.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let activity = Arc::new(Activity::new());
    let stream = Impatient::new(stream, Arc::clone(&activity));
    let Some(tls) = house.tls.clone() else {
        return http1(stream, peer, Scheme::Http, house, activity).await;
    };
    let shaken = timeout(HANDSHAKE_LIMIT, tls.acceptor().accept(stream)).await;
    let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = shaken.inspect_err(|_| house.metrics.rejected("tls_handshake"))?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, peer, house, activity).await
    } else {
        http1(stream, peer, Scheme::Https, house, activity).await
    }
}

async fn http1<I, S: Shortcut>(
    stream: I,
    peer: SocketAddr,
    scheme: Scheme,
    house: House<S>,
    activity: Arc<Activity>,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (site, seen) = (house.site, Arc::clone(&activity));
    let service = service_fn(move |request| {
        answer(&site, request, peer, scheme, seen.begin(), Watched::until_sent)
    });
    // Without TLS HTTP/1 alone: no browser speaks HTTP/2 then, and telling the
    // two apart would wait for the first bytes without a limit.
    let mut builder = http1::Builder::new();
    // `activity` sees to it: hyper would set a clock for each request.
    builder.header_read_timeout(None);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = house.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    tokio::select! {
        biased;
        ended = served => ended.map_err(io::Error::other),
        () = activity.over(&HTTP1) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn http2<I, S: Shortcut>(
    stream: I,
    peer: SocketAddr,
    house: House<S>,
    activity: Arc<Activity>,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (site, seen) = (house.site, Arc::clone(&activity));
    let service = service_fn(move |request| {
        answer(&site, request, peer, Scheme::Https, seen.begin(), Watched::new)
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = house.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = activity.over(&HTTP2) => {
            house.metrics.rejected("idle");
            connection.as_mut().graceful_shutdown();
            // It may not read our goodbye either.
            timeout(HEADER_LIMIT, connection).await.unwrap_or(Ok(()))
        }
    };
    ended.map_err(io::Error::other)
}

fn answer<S: Shortcut>(
    site: &Site<S>,
    request: Request<Incoming>,
    peer: SocketAddr,
    scheme: Scheme,
    under_way: UnderWay,
    watched: fn(Sent, UnderWay) -> Watched,
) -> impl Future<Output = Result<Response<Watched>, Infallible>> + Send + use<S> {
    let answer = site.answer(request, peer, scheme);
    answer.map(move |response| Ok(response.map(|body| watched(body, under_way))))
}
