//! ICE over TCP (RFC 6544): viewers whose network lets no UDP through connect
//! to the same port number. Each connection belongs to the session that its
//! first datagram names, and ends with it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};

use super::command::Command;
use super::link::{Link, Via};
use super::shared::Shared;
use super::socket::{Arrival, MAX_DATAGRAM};
use super::switchboard::{SessionId, TaskId};
use super::tasks::Tasks;

/// Connections that have not proven to be a viewer's: of all, and of one
/// address. A browser opens one for each of our candidates.
const MAX_UNPROVEN: usize = 256;
const MAX_UNPROVEN_OF_ONE: usize = 32;

/// A connection has to prove itself in this time: a browser sends its check
/// with the connection's first packet.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes the kernel holds that were not sent yet: what waits there is shown
/// late, and cannot be taken back.
const UNSENT_BYTES: u32 = 16 << 10;

/// What waits to be accepted: as many as for HTTP. Behind a network that lets no
/// UDP through, a page with forty cameras connects forty times at once.
const BACKLOG: i32 = 1_024;

/// The listening side.
pub(super) struct Listener(TcpListener);

/// Unproven connections, by address.
#[derive(Default)]
struct Gate(Mutex<HashMap<IpAddr, usize>>);

/// A place at the gate, given back when it is dropped.
struct Pass {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Gate {
    fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Pass> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.values().sum::<usize>() >= MAX_UNPROVEN {
            return None;
        }
        let count = waiting.entry(ip).or_default();
        if *count >= MAX_UNPROVEN_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Pass { gate: Arc::clone(self), ip })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut waiting = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.ip);
            }
        }
    }
}

impl Listener {
    /// Binds the port, as the UDP socket does.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Connections of an earlier run that the kernel has not forgotten yet
        // keep nobody from starting.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into()).map(Self)
    }

    /// Takes connections, each served by a task of its own.
    pub(super) async fn run(self, shared: Arc<Shared>, tasks: Arc<Tasks>) {
        let gate = Arc::new(Gate::default());
        loop {
            let (stream, from) = match self.0.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, for one; never a reason to stop.
                    tracing::debug!(%error, "accepting on the WebRTC port");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            match gate.enter(from.ip()) {
                Some(pass) => {
                    let (shared, tasks) = (Arc::clone(&shared), Arc::clone(&tasks));
                    tokio::spawn(serve(stream, from, pass, shared, tasks));
                }
                None => shared.metrics.discarded("tcp_limit", 1),
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    pass: Pass,
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
) {
    // Neither makes a viewer's picture fail.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let link = Arc::new(Link::new(stream));
    let unproven = async {
        if tokio::time::timeout(PROOF_TIMEOUT, link.proof()).await.is_ok() {
            drop(pass);
            std::future::pending::<()>().await;
        }
        shared.metrics.ice_failure("tcp_unproven");
    };
    tokio::select! {
        () = unproven => {}
        () = link.drain() => {}
        () = link.finished() => {}
        why = read(&link, from, &shared, &tasks) => {
            if let Some(reason) = why {
                shared.metrics.discarded(reason, 1);
            }
        }
    }
    link.finish();
}

/// Hands everything that comes to the viewer it is for, until the connection
/// ends; if by us, says why.
async fn read(
    link: &Arc<Link>,
    from: SocketAddr,
    shared: &Shared,
    tasks: &Tasks,
) -> Option<&'static str> {
    let mut buffer = BytesMut::new();
    let mut whose: Option<(SessionId, TaskId)> = None;
    loop {
        buffer.reserve(MAX_DATAGRAM);
        match link.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        loop {
            let data = match frame(&mut buffer) {
                Ok(Some(data)) => data,
                Ok(None) => break,
                Err(reason) => return Some(reason),
            };
            let at = Instant::now();
            let (viewer, task) = match whose {
                Some(known) => known,
                // Only a check that names its receiver opens a connection.
                None => match shared.board().named(Arrival { from, to: None, at, data: &data }) {
                    Ok(found) => *whose.insert(found),
                    Err(reason) => return Some(reason),
                },
            };
            let via = Via::Tcp(Arc::clone(link));
            match tasks.try_tell(task, Command::Datagram { viewer, from, via, at, data }) {
                Err("no_session") => return Some("no_session"),
                Err(reason) => shared.metrics.discarded(reason, 1),
                Ok(()) => {}
            }
        }
    }
}

/// Takes the next datagram (RFC 4571 §2); none before it is whole, an error for
/// one that is none of WebRTC's.
fn frame(buffer: &mut BytesMut) -> Result<Option<BytesMut>, &'static str> {
    let Some(&[high, low]) = buffer.first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length == 0 || length > MAX_DATAGRAM {
        return Err("not_webrtc");
    }
    if buffer.len() < 2 + length {
        return Ok(None);
    }
    buffer.advance(2);
    Ok(Some(buffer.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut buffer = BytesMut::new();
        let mut got = Vec::new();
        for byte in *b"\0\x03one\0\x01x\0" {
            buffer.extend_from_slice(&[byte]);
            got.extend(frame(&mut buffer).unwrap());
        }
        assert_eq!(got, [&b"one"[..], b"x"]);
        assert_eq!(&buffer[..], b"\0");
    }

    #[test]
    fn what_is_no_datagram_of_ours_ends_the_connection() {
        for bad in [&b"\0\0"[..], b"GET / HTTP/1.1", &[0x16, 3, 1, 2]] {
            assert_eq!(frame(&mut BytesMut::from(bad)), Err("not_webrtc"), "{bad:?}");
        }
    }

    #[test]
    fn one_address_cannot_fill_the_gate_and_leaves_nothing_behind() {
        let gate = Arc::new(Gate::default());
        let ip = |last| IpAddr::from([192, 0, 2, last]);
        let held: Vec<_> = (0..100).filter_map(|_| gate.enter(ip(1))).collect();
        assert_eq!(held.len(), MAX_UNPROVEN_OF_ONE);
        let others: Vec<_> = (2..255).filter_map(|last| gate.enter(ip(last))).collect();
        assert_eq!(held.len() + others.len(), MAX_UNPROVEN);
        drop((held, others));
        assert!(gate.0.lock().unwrap().is_empty());
    }
}
