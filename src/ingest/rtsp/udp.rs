//! A track's pair of UDP ports: RTP on the even one, RTCP on the next
//! (RFC 3550 §11).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::UdpSocket;

/// A key frame of a 4K camera is sent in one burst of up to 1.5 MiB. Linux
/// grants `net.core.rmem_max`, often 208 KiB, and says nothing.
const RECEIVE_BUFFER: usize = 2 << 20;
/// Ports tried until two of them lie side by side.
const ATTEMPTS: usize = 64;
/// Longest datagram there is.
const MAX_DATAGRAM: usize = 1 << 16;

/// An RTP header and an empty receiver report, which say nothing; they make
/// firewalls and NAT on the way let answers through.
const EMPTY_RTP: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const EMPTY_RTCP: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 0];

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    Rtp(Bytes),
    Rtcp(Bytes),
}

/// A pair of ports, open to one camera.
#[derive(Debug)]
pub(super) struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// The RTSP connection's other end. Nobody else is listened to, also where
    /// `source` of the answer to SETUP names somebody else: that would be a
    /// redirect off the host.
    camera: IpAddr,
    /// Where it takes RTP and RTCP, if it said so.
    server: Option<(SocketAddr, SocketAddr)>,
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
            let socket = UdpSocket::bind(local).await?;
            // Less is no reason not to go on.
            _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
            io::Result::Ok(socket)
        };
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..ATTEMPTS {
            let any = bind(0).await?;
            let port = any.local_addr()?.port();
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
        Ok(self.rtp.local_addr()?.port())
    }

    /// The camera's ports, as its answer to SETUP names them. Opens the way
    /// for its packets.
    pub(super) fn connect(&mut self, (rtp, rtcp): (u16, u16)) {
        let server = [rtp, rtcp].map(|port| SocketAddr::new(self.camera, port));
        self.server = Some((server[0], server[1]));
        send(&self.rtp, &EMPTY_RTP, server[0]);
        send(&self.rtcp, &EMPTY_RTCP, server[1]);
    }

    /// Sends RTCP, if the camera said where to.
    pub(super) fn send_rtcp(&self, compound: &[u8]) {
        if let Some((_, rtcp)) = self.server {
            send(&self.rtcp, compound, rtcp);
        }
    }

    /// The next datagram of the camera's, in `buffer`'s memory. Once what was
    /// received before is dropped, that memory is used again.
    pub(super) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<Datagram>> {
        if let Poll::Ready(rtp) = self.poll_one(&self.rtp, context, buffer) {
            return Poll::Ready(rtp.map(Datagram::Rtp));
        }
        let rtcp = ready!(self.poll_one(&self.rtcp, context, buffer));
        Poll::Ready(rtcp.map(Datagram::Rtcp))
    }

    fn poll_one(
        &self,
        socket: &UdpSocket,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<Bytes>> {
        loop {
            ready!(socket.poll_recv_ready(context))?;
            buffer.clear();
            buffer.reserve(MAX_DATAGRAM);
            match socket.try_recv_buf_from(buffer) {
                Ok((_, from)) if from.ip().to_canonical() == self.camera => {
                    return Poll::Ready(Ok(buffer.split().freeze()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
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

    async fn receive(ports: &Ports, buffer: &mut BytesMut) -> Datagram {
        let receiving = poll_fn(|context| ports.poll_receive(context, buffer));
        tokio::time::timeout(Duration::from_secs(5), receiving).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn ports_come_in_pairs_and_rtp_is_even() {
        let mut held = Vec::new();
        for _ in 0..20 {
            let ports = ports().await;
            let (rtp, rtcp) = (ports.rtp.local_addr().unwrap(), ports.rtcp.local_addr().unwrap());
            assert_eq!((rtp.port() % 2, rtcp.port()), (0, rtp.port() + 1));
            assert_eq!((rtp.ip(), ports.port().unwrap()), (LOCAL, rtp.port()));
            held.push(ports);
        }
    }

    #[tokio::test]
    async fn only_the_camera_is_listened_to() {
        let (ports, mut buffer) = (ports().await, BytesMut::new());
        let (camera, stranger) = (socket(LOCAL).await, socket(OTHER).await);
        let (rtp, rtcp) = (ports.port().unwrap(), ports.port().unwrap() + 1);
        for _ in 0..3 {
            stranger.send_to(b"forged", (LOCAL, rtp)).await.unwrap();
            stranger.send_to(b"forged", (LOCAL, rtcp)).await.unwrap();
        }
        camera.send_to(b"sound", (LOCAL, rtcp)).await.unwrap();
        assert_eq!(receive(&ports, &mut buffer).await, Datagram::Rtcp(Bytes::from("sound")));
        camera.send_to(b"", (LOCAL, rtp)).await.unwrap();
        assert_eq!(receive(&ports, &mut buffer).await, Datagram::Rtp(Bytes::new()));
    }

    #[tokio::test]
    async fn the_same_memory_is_used_again_once_it_is_free() {
        let (ports, mut buffer) = (ports().await, BytesMut::new());
        let (camera, to) = (socket(LOCAL).await, (LOCAL, ports.port().unwrap()));
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..100 {
            camera.send_to(&[7; 1_400], to).await.unwrap();
            let Datagram::Rtp(data) = receive(&ports, &mut buffer).await else { panic!("RTCP") };
            assert_eq!(data, [7; 1_400][..]);
            places.insert(data.as_ptr());
        }
        assert!(places.len() <= 2, "{places:?}");
        // Longest datagram of IPv4: not cut off.
        camera.send_to(&[8; 65_507], to).await.unwrap();
        let Datagram::Rtp(data) = receive(&ports, &mut buffer).await else { panic!("RTCP") };
        assert_eq!(data.len(), 65_507);
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
