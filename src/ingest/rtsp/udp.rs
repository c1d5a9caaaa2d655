//! A track's pair of UDP ports: RTP on the even one, RTCP on the next
//! (RFC 3550 §11).

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A key frame of a 4K camera is sent in one burst of up to 1.5 MiB. Linux
/// grants `net.core.rmem_max`, often 208 KiB, and says nothing.
const RECEIVE_BUFFER: usize = 2 << 20;
/// Ports tried until two of them lie side by side.
const ATTEMPTS: usize = 64;
/// Longest datagram there is; of several that the kernel joins, the longest sum.
const MAX_DATAGRAM: usize = 1 << 16;
/// Most messages that one port hands over, by one call to the system, before
/// others are heard: a picture of a few, of a burst a part.
const BATCH: usize = quinn_udp::BATCH_SIZE;

/// An RTP header and an empty receiver report, which say nothing; they make
/// firewalls and NAT on the way let answers through.
const EMPTY_RTP: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const EMPTY_RTCP: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 0];

thread_local! {
    /// Where datagrams land before it is known how long they are: one for
    /// each thread instead of one for each camera. What no datagram has been
    /// long enough to reach takes no memory.
    static LANDING: RefCell<Box<[u8]>> = RefCell::new(vec![0; BATCH * MAX_DATAGRAM].into());
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datagram<'a> {
    Rtp(&'a [u8]),
    Rtcp(&'a [u8]),
}

/// A pair of ports, open to one camera.
#[derive(Debug)]
pub(super) struct Ports {
    rtp: Port,
    rtcp: Port,
    /// The RTSP connection's other end. Nobody else is listened to, also where
    /// `source` of the answer to SETUP names somebody else: that would be a
    /// redirect off the host.
    camera: IpAddr,
    /// Where it takes RTP and RTCP, if it said so.
    server: Option<(SocketAddr, SocketAddr)>,
}

#[derive(Debug)]
struct Port {
    io: UdpSocket,
    /// What the system can do with it.
    state: UdpSocketState,
}

impl Ports {
    /// Opens two ports side by side, on the address on which the RTSP
    /// connection stands, for the camera at its other end.
    ///
    /// # Errors
    ///
    /// When the system has none left.
    pub(super) async fn open(local: SocketAddr, camera: IpAddr) -> io::Result<Self> {
        let bind = async |port| {
            let mut local = local;
            local.set_port(port);
            let io = UdpSocket::bind(local).await?;
            // Less is no reason not to go on.
            _ = SockRef::from(&io).set_recv_buffer_size(RECEIVE_BUFFER);
            let state = UdpSocketState::new(UdpSockRef::from(&io))?;
            io::Result::Ok(Port { io, state })
        };
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..ATTEMPTS {
            let any = bind(0).await?;
            let port = any.io.local_addr()?.port();
            // Zero is even, but no port.
            outcome = match (port % 2, bind(port ^ 1).await) {
                (_, Err(error)) => Err(error),
                (0, Ok(rtcp)) => Ok((any, rtcp)),
                (_, Ok(rtp)) => Ok((rtp, any)),
            };
            if outcome.is_ok() {
                break;
            }
        }
        let (rtp, rtcp) = outcome?;
        Ok(Self { rtp, rtcp, camera: camera.to_canonical(), server: None })
    }

    /// The even port.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.rtp.io.local_addr()?.port())
    }

    /// The camera's ports, as its answer to SETUP names them. Opens the way
    /// for its packets.
    pub(super) fn connect(&mut self, (rtp, rtcp): (u16, u16)) {
        let server = [rtp, rtcp].map(|port| SocketAddr::new(self.camera, port));
        self.server = Some((server[0], server[1]));
        send(&self.rtp.io, &EMPTY_RTP, server[0]);
        send(&self.rtcp.io, &EMPTY_RTCP, server[1]);
    }

    /// Sends RTCP, if the camera said where to.
    pub(super) fn send_rtcp(&self, compound: &[u8]) {
        if let Some((_, rtcp)) = self.server {
            send(&self.rtcp.io, compound, rtcp);
        }
    }

    /// Hands the camera's datagrams that are here to `take`, those of at most
    /// [`BATCH`] messages of each port. Ready once there was one.
    pub(super) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        mut take: impl FnMut(Datagram<'_>),
    ) -> Poll<io::Result<()>> {
        let rtp = self.poll_port(&self.rtp, context, |data| take(Datagram::Rtp(data)));
        let rtcp = self.poll_port(&self.rtcp, context, |data| take(Datagram::Rtcp(data)));
        match (rtp, rtcp) {
            (Poll::Pending, only) | (only, Poll::Pending) => only,
            (Poll::Ready(rtp), Poll::Ready(rtcp)) => Poll::Ready(rtp.and(rtcp)),
        }
    }

    fn poll_port(
        &self,
        port: &Port,
        context: &mut Context<'_>,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let mut taken = false;
        while !taken {
            ready!(port.io.poll_recv_ready(context))?;
            LANDING.with_borrow_mut(|landing| {
                let mut meta = [RecvMeta::default(); BATCH];
                let messages = port.receive(landing, &mut meta)?;
                for (meta, message) in meta.iter().zip(landing.chunks(MAX_DATAGRAM)).take(messages)
                {
                    if meta.addr.ip().to_canonical() == self.camera {
                        taken = true;
                        // The kernel may hand over several as one.
                        let data = message.get(..meta.len).unwrap_or_default();
                        data.chunks(meta.stride.max(1)).for_each(&mut take);
                    }
                }
                io::Result::Ok(())
            })?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Port {
    /// Puts what is here into pieces of `landing`; how many it was, of anybody.
    fn receive(&self, landing: &mut [u8], meta: &mut [RecvMeta; BATCH]) -> io::Result<usize> {
        let mut messages = 0;
        let received = self.io.try_io(Interest::READABLE, || {
            let mut pieces = landing.chunks_mut(MAX_DATAGRAM);
            let mut pieces: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(pieces.next().unwrap_or_default()));
            messages = self.state.recv(UdpSockRef::from(&self.io), &mut pieces, meta)?;
            // Fewer than it may be are all: to ask again would be to be told so.
            if messages == BATCH { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match received {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(messages),
        }
    }
}

/// Sends at once or not at all: nothing that we send is missed, and the next
/// report makes up for one that is lost. Past tokio, which would first wait for
/// word that the socket can be written to.
fn send(socket: &UdpSocket, data: &[u8], to: SocketAddr) {
    _ = SockRef::from(socket).send_to(data, &to.into());
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    async fn ports() -> Ports {
        Ports::open(SocketAddr::new(LOCAL, 554), LOCAL).await.unwrap()
    }

    async fn socket(address: IpAddr) -> UdpSocket {
        UdpSocket::bind((address, 0)).await.unwrap()
    }

    /// What comes at once: whether it is RTCP, and the data.
    async fn receive(ports: &Ports) -> Vec<(bool, Vec<u8>)> {
        let mut all = Vec::new();
        let mut take = |datagram: Datagram<'_>| match datagram {
            Datagram::Rtp(data) => all.push((false, data.to_vec())),
            Datagram::Rtcp(data) => all.push((true, data.to_vec())),
        };
        let receiving = poll_fn(|context| ports.poll_receive(context, &mut take));
        tokio::time::timeout(Duration::from_secs(5), receiving).await.unwrap().unwrap();
        all
    }

    #[tokio::test]
    async fn ports_come_in_pairs_and_rtp_is_even() {
        let mut held = Vec::new();
        for _ in 0..20 {
            let ports = ports().await;
            let (rtp, rtcp) =
                (ports.rtp.io.local_addr().unwrap(), ports.rtcp.io.local_addr().unwrap());
            assert_eq!((rtp.port() % 2, rtcp.port()), (0, rtp.port() + 1));
            assert_eq!((rtp.ip(), ports.port().unwrap()), (LOCAL, rtp.port()));
            held.push(ports);
        }
    }

    #[tokio::test]
    async fn only_the_camera_is_listened_to() {
        let ports = ports().await;
        let (camera, stranger) = (socket(LOCAL).await, socket(OTHER).await);
        let (rtp, rtcp) = (ports.port().unwrap(), ports.port().unwrap() + 1);
        for _ in 0..3 {
            stranger.send_to(b"forged", (LOCAL, rtp)).await.unwrap();
            stranger.send_to(b"forged", (LOCAL, rtcp)).await.unwrap();
        }
        camera.send_to(b"sound", (LOCAL, rtcp)).await.unwrap();
        assert_eq!(receive(&ports).await, [(true, b"sound".to_vec())]);
        camera.send_to(b"", (LOCAL, rtp)).await.unwrap();
        camera.send_to(b"x", (LOCAL, rtp)).await.unwrap();
        assert_eq!(receive(&ports).await, [(false, b"x".to_vec())]);
    }

    #[tokio::test]
    async fn what_is_there_comes_in_batches_and_whole() {
        let ports = ports().await;
        let (camera, to) = (socket(LOCAL).await, (LOCAL, ports.port().unwrap()));
        for n in 0..40 {
            camera.send_to(&[n; 1_400], to).await.unwrap();
        }
        let (first, rest) = (receive(&ports).await, receive(&ports).await);
        assert_eq!((first.len(), rest.len()), (BATCH, 40 - BATCH));
        let expected = (0..40).map(|n| (false, vec![n; 1_400]));
        assert!(first.into_iter().chain(rest).eq(expected));
        // Longest datagram of IPv4: not cut off.
        camera.send_to(&[8; 65_507], to).await.unwrap();
        assert_eq!(receive(&ports).await, [(false, vec![8; 65_507])]);
    }

    #[tokio::test]
    async fn the_way_is_opened_and_reports_are_sent_to_the_cameras_ports() {
        let mut ports = ports().await;
        let (rtp, rtcp) = (socket(LOCAL).await, socket(LOCAL).await);
        // Nowhere to send it yet.
        ports.send_rtcp(b"early");
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        ports.connect((port(&rtp), port(&rtcp)));
        ports.send_rtcp(b"report");
        let mut buffer = [0; 100];
        for (socket, expected, from) in
            [(&rtp, &EMPTY_RTP[..], 0), (&rtcp, &EMPTY_RTCP, 1), (&rtcp, b"report", 1)]
        {
            let receiving = socket.recv_from(&mut buffer);
            let (length, sender) =
                tokio::time::timeout(Duration::from_secs(5), receiving).await.unwrap().unwrap();
            assert_eq!(&buffer[..length], expected);
            assert_eq!(sender.port(), ports.port().unwrap() + from);
        }
    }
}
