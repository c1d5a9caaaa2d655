//! The one UDP socket of all viewers: batched in, batched out; and what goes out
//! by it, or by a connection of a viewer's own.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::link::{Link, Route, Via};

/// Asked of the kernel, which may give less: a key frame for many viewers at
/// once, and everybody's checks while we are busy sending it.
const BUFFER_BYTES: usize = 4 << 20;

/// Largest datagram taken; WebRTC sends none above its path's size.
pub(super) const MAX_DATAGRAM: usize = 1500;

/// Most bytes in one GSO send: the length field of IPv4, less headers.
const MAX_RUN: usize = 65_000;

/// How long a full socket may hold up a picture before it is dropped.
const PATIENCE: Duration = Duration::from_millis(50);

/// Oldest a datagram is taken to be.
const BELIEVED: Duration = Duration::from_secs(1);

/// The bound socket.
///
/// Not tokio's, which watches it all the time: the kernel reports every datagram
/// that comes and room after every message that has left, and each report wakes
/// a thread.
pub(super) struct Socket {
    io: Arc<UdpSocket>,
    state: UdpSocketState,
    ipv6: bool,
    /// Bound to every address: which of them a datagram leaves from is to be
    /// said.
    everywhere: bool,
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) from: SocketAddr,
    /// Our address it was sent to, where the kernel says.
    pub(super) to: Option<IpAddr>,
    /// When the kernel had it, which may be before anybody looked.
    pub(super) at: Instant,
    pub(super) data: &'a [u8],
}

/// Room for a batch of arrivals, reused.
pub(super) struct Inbox {
    buffers: Vec<Vec<u8>>,
    meta: Vec<RecvMeta>,
}

/// Datagrams to go out, in order; consecutive ones to the same address travel
/// as one message where the kernel can cut them up (GSO).
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// Connections that something was queued for.
    links: Vec<Arc<Link>>,
}

struct Run {
    to: SocketAddr,
    /// Our address to send from; `None` lets the kernel choose.
    from: Option<IpAddr>,
    start: usize,
    end: usize,
    /// Size of every datagram but the last, which may be shorter.
    segment: usize,
    count: usize,
}

impl Socket {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // `[::]` then takes IPv4 too, which is what its writer means.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        // Limits of the system are no reason not to start.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.bind(&address.into())?;
        let io = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let io = Arc::new(io);
        Ok(Self { io, state, ipv6: address.is_ipv6(), everywhere: address.ip().is_unspecified() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    pub(super) fn inbox(&self) -> Inbox {
        let size = MAX_DATAGRAM * self.state.gro_segments();
        Inbox {
            buffers: (0..BATCH_SIZE).map(|_| vec![0; size]).collect(),
            meta: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.watched(Interest::READABLE)?.readable().await.map(drop)
    }

    /// Hands a batch of datagrams that have come to `take`; returns how many
    /// messages that were, [`BATCH_SIZE`] where there may be more.
    pub(super) fn receive(
        &self,
        inbox: &mut Inbox,
        mut take: impl FnMut(Arrival<'_>),
    ) -> io::Result<usize> {
        let Inbox { buffers, meta } = inbox;
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let messages = match self.state.recv(UdpSockRef::from(&*self.io), &mut slices, meta) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            done => done?,
        };
        let now = (Instant::now(), SystemTime::now());
        for (meta, buffer) in meta.iter().zip(buffers.iter()).take(messages) {
            let data = buffer.get(..meta.len).unwrap_or_default();
            let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            let to = meta.dst_ip.map(|ip| ip.to_canonical());
            let at = arrived(now, meta.timestamp);
            // GRO hands over several datagrams of one sender as one.
            for data in data.chunks(meta.stride.max(1)) {
                take(Arrival { from, to, at, data });
            }
        }
        Ok(messages)
    }

    /// Sends all, and empties the box. Returns how many datagrams the kernel
    /// did not take: unreachable addresses, or buffers full for too long.
    pub(super) async fn send(&self, outbox: &mut Outbox) -> u64 {
        let mut lost = 0;
        for run in &outbox.runs {
            let contents = &outbox.bytes[run.start..run.end];
            let most = self.state.max_gso_segments().max(1);
            for part in contents.chunks(most.saturating_mul(run.segment).max(1)) {
                lost += self.send_run(run, part).await;
            }
        }
        outbox.links.iter().for_each(|link| link.flush());
        outbox.clear();
        lost
    }

    async fn send_run(&self, run: &Run, contents: &[u8]) -> u64 {
        let Err(error) = self.try_send(run, contents, run.segment).await else { return 0 };
        tracing::trace!(%error, to = %run.to, "datagram not sent");
        let datagrams = contents.len().div_ceil(run.segment) as u64;
        if datagrams == 1 || error.kind() == io::ErrorKind::WouldBlock {
            return datagrams;
        }
        // A network card that refuses GSO: one by one, as quinn-udp will tell
        // us to from now on.
        let mut lost = 0;
        for datagram in contents.chunks(run.segment) {
            lost += u64::from(self.try_send(run, datagram, run.segment).await.is_err());
        }
        lost
    }

    async fn try_send(&self, run: &Run, contents: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.outward(run.to),
            ecn: None,
            contents,
            segment_size: (segment < contents.len()).then_some(segment),
            src_ip: run
                .from
                .filter(|_| self.everywhere)
                .map(|ip| self.outward(SocketAddr::new(ip, 0)).ip()),
        };
        let send = || self.state.try_send(UdpSockRef::from(&*self.io), &transmit);
        let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match send() {
            Err(error) if full(&error) => {}
            done => return done,
        }
        let writable = self.watched(Interest::WRITABLE)?;
        let patient = writable.async_io(Interest::WRITABLE, |_| send());
        tokio::time::timeout(PATIENCE, patient)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Watched by the runtime until it is dropped.
    #[expect(
        deprecated,
        reason = "its fault is types that lie about their descriptor; std's does not"
    )]
    fn watched(&self, interest: Interest) -> io::Result<AsyncFd<Arc<UdpSocket>>> {
        AsyncFd::with_interest(Arc::clone(&self.io), interest)
    }

    /// An IPv6 socket sends to IPv4 addresses in their mapped form.
    fn outward(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(v4) if self.ipv6 => {
                SocketAddr::new(v4.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        }
    }
}

/// When a datagram came that the kernel stamped so, since 1970. A clock that was
/// set meanwhile is not believed.
fn arrived((now, wall): (Instant, SystemTime), stamp: Option<Duration>) -> Instant {
    let age = stamp.and_then(|stamp| wall.duration_since(UNIX_EPOCH + stamp).ok());
    let age = age.filter(|age| *age < BELIEVED);
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

impl Outbox {
    /// Adds a datagram.
    pub(super) fn push(&mut self, route: &Route, datagram: &[u8]) {
        self.write(route, |bytes| {
            bytes.extend_from_slice(datagram);
            true
        });
    }

    /// Adds the datagram that `write` appends; none if it says so, or no more
    /// fits on the way. Returns whether it is on its way.
    pub(super) fn write(
        &mut self,
        route: &Route,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        if !write(&mut self.bytes) {
            self.bytes.truncate(start);
            return false;
        }
        match &route.via {
            Via::Udp(from) => {
                self.extend_run(start, route.to, *from);
                true
            }
            Via::Tcp(link) => {
                let queued = link.queue(&self.bytes[start..]);
                self.bytes.truncate(start);
                if !self.links.iter().any(|known| Arc::ptr_eq(known, link)) {
                    self.links.push(Arc::clone(link));
                }
                queued
            }
        }
    }

    /// What stands from `start` on is a datagram.
    fn extend_run(&mut self, start: usize, to: SocketAddr, from: Option<IpAddr>) {
        let end = self.bytes.len();
        let length = end - start;
        if let Some(run) = self.runs.last_mut()
            && (run.to, run.from) == (to, from)
            // A shorter one ends a run: only the last segment may be short.
            && run.end - run.start == run.segment * run.count
            && length <= run.segment
            && end - run.start <= MAX_RUN
        {
            run.end = end;
            run.count += 1;
            return;
        }
        self.runs.push(Run { to, from, start, end, segment: length.max(1), count: 1 });
    }

    /// The datagrams one by one.
    #[cfg(test)]
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.runs.iter().flat_map(|run| self.bytes[run.start..run.end].chunks(run.segment))
    }

    /// Makes room for so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.links.is_empty()
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.links.clear();
        // One huge key frame need not be remembered for ever.
        self.bytes.shrink_to(1 << 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn route(to: SocketAddr) -> Route {
        Route { to, via: Via::Udp(None) }
    }

    fn counts(outbox: &Outbox) -> Vec<usize> {
        outbox.runs.iter().map(|run| run.count).collect()
    }

    #[test]
    fn equal_datagrams_to_one_address_are_one_run_that_a_shorter_one_ends() {
        let mut outbox = Outbox::default();
        for size in [100, 100, 40, 40, 100] {
            outbox.push(&route(TO), &vec![0; size]);
        }
        let other = SocketAddr::new(TO.ip(), 10);
        outbox.push(&route(other), &[0; 100]);
        assert_eq!(counts(&outbox), [3, 1, 1, 1]);
    }

    #[test]
    fn a_run_never_exceeds_what_one_message_can_hold() {
        let mut outbox = Outbox::default();
        (0..200).for_each(|_| outbox.push(&route(TO), &[0; 1200]));
        assert!(outbox.runs.iter().all(|run| run.end - run.start <= MAX_RUN));
        assert_eq!(counts(&outbox).iter().sum::<usize>(), 200);
    }

    #[test]
    fn a_datagram_is_as_old_as_the_kernel_says_within_reason() {
        let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_000));
        let age = |stamp| now - arrived((now, wall), stamp);
        assert_eq!(age(Some(Duration::from_millis(999_990))), Duration::from_millis(10));
        let beyond = [None, Some(Duration::from_secs(998)), Some(Duration::from_secs(1_001))];
        assert_eq!(beyond.map(age), [Duration::ZERO; 3]);
    }

    #[tokio::test]
    async fn datagrams_that_wait_keep_the_time_they_came_at() {
        let (ours, theirs) = (
            Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
            Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        );
        let wait = async || {
            let mut outbox = Outbox::default();
            outbox.push(&route(theirs.local_addr().unwrap()), b"early");
            let sent = Instant::now();
            ours.send(&mut outbox).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut waited = Duration::ZERO;
            let take = |arrival: Arrival<'_>| waited = arrival.at.saturating_duration_since(sent);
            assert_eq!(theirs.receive(&mut theirs.inbox(), take).unwrap(), 1);
            waited
        };
        // The kernel begins to stamp datagrams a while after the first socket
        // has asked for it; till then they are as old as their reading.
        for _ in 0..20 {
            if wait().await < Duration::from_millis(150) {
                return;
            }
        }
        panic!("datagrams came when they were read");
    }

    #[tokio::test]
    async fn room_to_send_wakes_nobody() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let woken = tokio::time::timeout(Duration::from_millis(50), socket.readable()).await;
        assert!(woken.is_err());
    }

    #[tokio::test]
    async fn what_is_pushed_arrives_datagram_by_datagram() {
        let (ours, theirs) = (
            Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
            Socket::bind("[::]:0".parse().unwrap()).unwrap(),
        );
        let port = theirs.local_addr().unwrap().port();
        let to = SocketAddr::new(TO.ip(), port);
        let mut outbox = Outbox::default();
        let sent: Vec<Vec<u8>> = (0..150).map(|i| vec![i as u8; 1000 - i % 3]).collect();
        sent.iter().for_each(|datagram| outbox.push(&route(to), datagram));
        assert_eq!(ours.send(&mut outbox).await, 0);

        let mut inbox = theirs.inbox();
        let mut got: Vec<Vec<u8>> = Vec::new();
        while got.len() < sent.len() {
            theirs.readable().await.unwrap();
            theirs
                .receive(&mut inbox, |arrival| {
                    assert_eq!(arrival.from, ours.local_addr().unwrap(), "canonical, not mapped");
                    got.push(arrival.data.to_vec());
                })
                .unwrap();
        }
        assert_eq!(got, sent);
    }
}
