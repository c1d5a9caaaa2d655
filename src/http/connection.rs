//! One connection: TLS, HTTP/1 or HTTP/2, and when it has lasted for nothing
//! long enough.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::HttpMetrics;
use super::stall::Impatient;
use super::tls::Tls;

/// A request's headers must be here this long after its connection, or the
/// request before it; a browser takes milliseconds. `axum::serve` waits for
/// ever, so that a slow sender holds a connection for nothing.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// The same for a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long an HTTP/2 connection stays without a request.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long its requests stay without a byte moving; blocking reloads wait for
/// three target durations at the most.
const STUCK_LIMIT: Duration = Duration::from_secs(120);
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
pub(super) struct House {
    pub(super) router: Router,
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
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, house: House) -> io::Result<()> {
    // Parts and playlists are small and awaited: never hold one back.
    stream.set_nodelay(true)?;
    // What the system holds for a slow viewer can be skipped no more, however
    // old it gets: let it hold little.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let stream = Impatient::new(stream);
    let Some(tls) = house.tls.clone() else {
        return http1(stream, peer, Scheme::Http, house).await;
    };
    let shaken = timeout(HANDSHAKE_LIMIT, tls.acceptor().accept(stream)).await;
    let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = shaken.inspect_err(|_| house.metrics.rejected("tls_handshake"))?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, peer, house).await
    } else {
        http1(stream, peer, Scheme::Https, house).await
    }
}

async fn http1<S>(stream: S, peer: SocketAddr, scheme: Scheme, house: House) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = house.router;
    let service = service_fn(move |request| answer(router.clone(), request, peer, scheme));
    // Without TLS HTTP/1 alone: no browser speaks HTTP/2 then, and telling the
    // two apart would wait for the first bytes without a limit.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = house.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

async fn http2<S>(stream: S, peer: SocketAddr, house: House) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let (router, seen) = (house.router, Arc::clone(&activity));
    let service = service_fn(move |request| {
        let request = answer(router.clone(), request, peer, Scheme::Https);
        let under_way = seen.begin();
        async move {
            let response = request.await?;
            Ok::<_, Infallible>(response.map(|body| Body::new(Watched { body, under_way })))
        }
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
        () = activity.over() => {
            house.metrics.rejected("idle");
            connection.as_mut().graceful_shutdown();
            // It may not read our goodbye either.
            timeout(HEADER_LIMIT, connection).await.unwrap_or(Ok(()))
        }
    };
    ended.map_err(io::Error::other)
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    scheme: Scheme,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(scheme);
    router.oneshot(request.map(Body::new)).await
}

/// What happens on an HTTP/2 connection. HTTP/1 needs none of it: there a
/// connection without a request has [`HEADER_LIMIT`], and one whose client
/// takes no bytes ends in [`Impatient`]; in HTTP/2 both could be hidden.
struct Activity {
    begun: Instant,
    /// Milliseconds from `begun` to the latest sign of life.
    latest: AtomicU64,
    under_way: AtomicUsize,
    served: AtomicUsize,
}

impl Activity {
    fn new() -> Self {
        let zero = AtomicUsize::new(0);
        Self { begun: Instant::now(), latest: 0.into(), under_way: zero, served: 0.into() }
    }

    fn sign(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.latest.store(now, Ordering::Relaxed);
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        self.sign();
        self.served.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Returns once nothing has happened for too long.
    async fn over(&self) {
        loop {
            let limit = if self.under_way.load(Ordering::Relaxed) > 0 {
                STUCK_LIMIT
            } else if self.served.load(Ordering::Relaxed) > 0 {
                IDLE_LIMIT
            } else {
                HEADER_LIMIT
            };
            let latest = Duration::from_millis(self.latest.load(Ordering::Relaxed));
            let left = (latest + limit).saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return;
            }
            // What begins meanwhile may shorten the limit, by a little.
            sleep(left.min(HEADER_LIMIT)).await;
        }
    }
}

/// A request, until its response has been sent.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.sign();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body, each piece of it a sign of life.
struct Watched {
    body: Body,
    under_way: UnderWay,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.under_way.0.sign();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_when_nothing_happens_and_not_before() {
        let activity = Arc::new(Activity::new());
        activity.over().await;
        assert_eq!(activity.begun.elapsed(), HEADER_LIMIT, "no request at all");

        let activity = Arc::new(Activity::new());
        let request = activity.begin();
        let ends = tokio::spawn({
            let activity = Arc::clone(&activity);
            async move { activity.over().await }
        });
        sleep(STUCK_LIMIT - HEADER_LIMIT).await;
        assert!(!ends.is_finished(), "a blocking reload may wait");
        drop(request);
        sleep(IDLE_LIMIT - HEADER_LIMIT).await;
        assert!(!ends.is_finished(), "a page that is open may rest");
        sleep(HEADER_LIMIT * 3).await;
        assert!(ends.is_finished());
    }
}
