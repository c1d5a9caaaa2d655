//! A WHEP viewer that costs little: it connects as any other, then counts what
//! comes, and decrypts it only if it is to look inside.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};

use crate::{Failure, camera};

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A socket whose batches arrive as they were sent (GRO).
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    pub(crate) address: SocketAddr,
}

impl Socket {
    pub(crate) fn bind() -> Result<Self, std::io::Error> {
        let io = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        io.set_nonblocking(true)?;
        let (address, io) = (io.local_addr()?, UdpSocket::from_std(io)?);
        // As much as browsers give theirs would lose a key frame now and then.
        socket2::SockRef::from(&io).set_recv_buffer_size(1 << 20)?;
        Ok(Self { io, state, address })
    }

    /// Waits for datagrams and hands each to `take`.
    pub(crate) async fn receive(
        &self,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> std::io::Result<()> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 16]);
        }
        self.io.readable().await?;
        BUFFER.with_borrow_mut(|buffer| {
            let mut meta = [RecvMeta::default()];
            let received = self.io.try_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(buffer)];
                self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut meta)
            });
            match received {
                Ok(_) => {
                    let datagrams = buffer[..meta[0].len].chunks(meta[0].stride.max(1));
                    datagrams.for_each(|datagram| take(meta[0].addr, datagram));
                    Ok(())
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

/// What a viewer has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    /// First and newest sequence number, the latter counted on over wraps.
    first: Option<u16>,
    newest: u64,
    /// Of each picture, by the viewers that look.
    pub(crate) latencies: Vec<Duration>,
}

impl Seen {
    fn count(&mut self, datagram: &[u8]) {
        let &[_, _, high, low, ..] = datagram else { return };
        let sequence = u16::from_be_bytes([high, low]);
        let first = *self.first.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(first.wrapping_add(self.newest as u16));
        if ahead < 0x8000 {
            self.newest += u64::from(ahead);
        }
        self.packets += 1;
        self.bytes += datagram.len() as u64;
    }

    pub(crate) fn lost(&self) -> u64 {
        (self.newest + u64::from(self.first.is_some())).saturating_sub(self.packets)
    }
}

pub(crate) struct Viewer {
    connection: RTCPeerConnection,
    socket: Socket,
    looks: bool,
    media_ssrc: u32,
    next_report: Instant,
    pub(crate) seen: Seen,
}

impl Viewer {
    /// Connects; `looks` says whether it decrypts the pictures.
    pub(crate) async fn connect(url: &str, looks: bool) -> Result<Self, Failure> {
        let now = Instant::now();
        let socket = Socket::bind()?;
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let mut engine = MediaEngine::default();
        engine.register_default_codecs()?;
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(engine)
            .build(now)?;
        connection.add_transceiver_from_kind(RtpCodecKind::Video, None)?;
        let offer = connection.create_offer(None)?;
        connection.set_local_description(now, offer.clone())?;
        let SocketAddr::V4(address) = socket.address else { return Err("not IPv4".into()) };
        let (ip, port) = (address.ip(), address.port());
        let candidate = format!("candidate:1 1 udp 2130706431 {ip} {port} typ host");
        let candidate = RTCIceCandidateInit { candidate, ..Default::default() };
        connection.add_local_candidate(candidate)?;
        let answer = post(url, &offer.sdp).await?;
        connection.set_remote_description(now, RTCSessionDescription::answer(answer)?)?;
        let mut viewer = Self {
            connection,
            socket,
            looks,
            media_ssrc: 0,
            next_report: now + REPORT_EVERY,
            seen: Seen::default(),
        };
        let patience = Duration::from_secs(20);
        let connected = async {
            while viewer.seen.packets == 0 {
                viewer.step().await?;
            }
            Ok::<(), Failure>(())
        };
        tokio::time::timeout(patience, connected).await.map_err(|_| "it does not connect")??;
        Ok(viewer)
    }

    /// Forgets what it has seen.
    pub(crate) fn reset(&mut self) {
        self.seen = Seen::default();
    }

    /// Watches until then.
    pub(crate) async fn watch(&mut self, until: Instant) -> Result<(), Failure> {
        loop {
            match tokio::time::timeout_at(until.into(), self.step()).await {
                Ok(done) => done?,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Waits for the next thing to happen, and lets it. May be abandoned at any
    /// await.
    async fn step(&mut self) -> Result<(), Failure> {
        self.drain();
        let due = self.connection.poll_timeout().unwrap_or(self.next_report);
        let due = due.min(self.next_report);
        let Self { connection, socket, looks, media_ssrc, seen, .. } = self;
        let local_addr = socket.address;
        let received = socket.receive(|peer_addr, datagram| {
            // RFC 7983 §7; RFC 5761 §4: payload types 64 to 95 are RTCP.
            let media = matches!(datagram.first(), Some(128..=191))
                && !matches!(datagram.get(1).map(|second| second & 0x7f), Some(64..=95));
            if media {
                seen.count(datagram);
                if let Some(ssrc) = datagram.get(8..12) {
                    *media_ssrc = ssrc.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                }
            }
            if !media || *looks {
                let message = BytesMut::from(datagram);
                let transport_protocol = TransportProtocol::UDP;
                let transport =
                    TransportContext { local_addr, peer_addr, transport_protocol, ecn: None };
                let message = TaggedBytesMut { now: Instant::now(), transport, message };
                let _ = connection.handle_read(message);
            }
        });
        tokio::select! {
            received = received => received?,
            () = tokio::time::sleep_until(due.into()) => self.connection.handle_timeout(Instant::now())?,
        }
        if Instant::now() >= self.next_report {
            self.report();
        }
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        loop {
            while let Some(out) = self.connection.poll_write() {
                // A lost check is repeated.
                let _ = self.socket.io.try_send_to(&out.message, out.transport.peer_addr);
            }
            let mut moved = false;
            while self.connection.poll_event().is_some() {
                moved = true;
            }
            while let Some(message) = self.connection.poll_read() {
                moved = true;
                if let RTCMessage::RtpPacket(_, packet) = message.message
                    && let Some(age) = camera::age(&packet.payload)
                {
                    self.seen.latencies.push(age);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// A receiver report a second, as browsers send them.
    fn report(&mut self) {
        let now = Instant::now();
        self.next_report = now + REPORT_EVERY;
        let report = ReceptionReport { ssrc: self.media_ssrc, ..Default::default() };
        let report = ReceiverReport { ssrc: 1, reports: vec![report], ..Default::default() };
        let receivers: Vec<_> = self.connection.get_receivers().collect();
        if let Some(mut receiver) =
            receivers.first().and_then(|id| self.connection.rtp_receiver(*id))
        {
            let _ = receiver.write_rtcp(now, vec![Box::new(report)]);
        }
    }
}

/// Posts an offer; returns the answer.
async fn post(url: &str, offer: &str) -> Result<String, Failure> {
    let rest = url.strip_prefix("http://").ok_or("only http:// URLs")?;
    let (host, path) = rest.split_once('/').ok_or("no path")?;
    let mut stream = TcpStream::connect(host).await?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        offer.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(offer.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    match text.split_once("\r\n\r\n") {
        Some((head, answer)) if head.starts_with("HTTP/1.1 201") => Ok(answer.to_owned()),
        _ => Err(text.into()),
    }
}
