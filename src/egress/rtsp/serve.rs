//! Sockets: accepting clients, reading requests, writing packets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument as _;

use super::Deps;
use super::message::{self, Incoming, Method, Response};
use super::session::{Session, TIMEOUT_SECONDS};

/// Most clients at once: NVRs and players, not browsers.
const MAX_CLIENTS: usize = 256;

/// How long a client may take for its first whole request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// How long a client may be silent while nothing is sent to it either; a
/// little more than what the Session header promises.
const SILENCE: Duration = Duration::from_secs(TIMEOUT_SECONDS + 5);

/// How long a client may take no byte of what is written to it: then it is
/// gone, or paused for good.
const WRITE: Duration = Duration::from_secs(10);

/// Bytes gathered into one write when a client is behind.
const BATCH: usize = 256 << 10;

/// Serves clients from `listener` until `shutdown` resolves; then closes
/// every connection and returns. One client's fault, even a panic of its
/// task, touches no other client.
pub async fn serve(listener: TcpListener, deps: Deps, shutdown: impl Future<Output = ()>) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(rtsp = %address, "serving RTSP");
    }
    let mut clients = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = clients.join_next() => {
                // Its words are in the log, as far as they are for it.
                if ended.is_err() {
                    tracing::error!("an RTSP client's task panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if clients.len() >= MAX_CLIENTS => drop(socket),
                Ok((socket, peer)) => {
                    let span = tracing::info_span!("rtsp", viewer = %peer);
                    clients.spawn(client(socket, peer, deps.clone()).instrument(span));
                }
                Err(error) => {
                    // Out of descriptors, mostly: let some close first.
                    tracing::warn!(%error, "cannot accept an RTSP client");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    clients.shutdown().await;
}

async fn client(socket: TcpStream, peer: SocketAddr, deps: Deps) {
    let mut session = Session::new(deps, Some(peer));
    let end = match converse(socket, &mut session).await {
        Ok(end) => end.to_owned(),
        Err(error) => error.to_string(),
    };
    let stream = session.stream().unwrap_or("none");
    tracing::debug!(stream, end, "RTSP client left");
}

/// Talks to one client until either side ends it; says how it ended.
async fn converse(mut socket: TcpStream, session: &mut Session) -> io::Result<&'static str> {
    socket.set_nodelay(true)?;
    let (mut reader, mut writer) = socket.split();
    let mut inbox = BytesMut::new();
    let mut out = Vec::new();
    let mut deadline = Instant::now() + FIRST_REQUEST;
    loop {
        let pass = session.pass();
        let expired = async {
            match &pass {
                Some(pass) => pass.over().await,
                None => std::future::pending().await,
            }
        };
        let asked_to_leave = session.asked_to_leave();
        tokio::select! {
            // Requests first: a TEARDOWN must not wait for a fast camera.
            biased;
            read = reader.read_buf(&mut inbox) => {
                if read? == 0 {
                    return Ok("closed by the client");
                }
                loop {
                    match message::take(&mut inbox) {
                        Ok(None) => break,
                        Ok(Some(Incoming::Interleaved)) => {}
                        Ok(Some(Incoming::Request(request))) => {
                            let response = session.answer(&request).await;
                            tracing::debug!(method = ?request.method, status = ?response.status);
                            write(&mut writer, &response.bytes(Some(request.cseq))).await?;
                            if request.method == Method::Teardown {
                                return Ok("torn down");
                            }
                        }
                        Err(bad) => {
                            let response = Response::new(bad.status).bytes(None);
                            write(&mut writer, &response).await?;
                            return Err(io::Error::new(io::ErrorKind::InvalidData, bad));
                        }
                    }
                    deadline = Instant::now() + SILENCE;
                }
            }
            alive = session.next_packets(&mut out, BATCH) => {
                write(&mut writer, &out).await?;
                session.sent(out.len());
                out.clear();
                // One key frame may have needed much; do not keep it.
                out.shrink_to(BATCH);
                if !alive {
                    session.end_with("stream_ended");
                    return Ok("the stream ended or changed");
                }
                deadline = Instant::now() + SILENCE;
            }
            () = asked_to_leave => {
                session.end_with("ended");
                return Ok("sent away");
            }
            () = expired => {
                session.end_with("expired");
                return Ok("expired");
            }
            () = sleep_until(deadline) => {
                session.end_with("slow");
                return Ok("silent for too long");
            }
        }
    }
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match timeout(WRITE, writer.write(bytes)).await {
            Ok(written) => match written? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = bytes.get(written..).unwrap_or_default(),
            },
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no data")),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
