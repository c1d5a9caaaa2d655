//! A viewer on TCP (RFC 6544, RFC 4571): the engine of the `rtc` crate, which is
//! told that its datagrams travel over UDP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::session_of;

pub(crate) struct TcpPlayer {
    connection: RTCPeerConnection,
    stream: TcpStream,
    incoming: BytesMut,
    gateway: SocketAddr,
    /// RTP packets of the picture, decrypted.
    pub(crate) packets: Vec<rtc::rtp::Packet>,
    /// Where its session is.
    pub(crate) session: url::Url,
}

impl TcpPlayer {
    /// Posts an offer, and connects to the address of the answer's first
    /// candidate over TCP.
    pub(crate) async fn play(url: &str) -> Self {
        Self::play_from(url, Ipv4Addr::LOCALHOST.into()).await
    }

    /// The same from, and to, this address.
    pub(crate) async fn play_from(url: &str, ip: IpAddr) -> Self {
        let now = Instant::now();
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(engine)
            .build(now)
            .unwrap();
        connection.add_transceiver_from_kind(RtpCodecKind::Video, None).unwrap();
        let offer = connection.create_offer(None).unwrap();
        connection.set_local_description(now, offer.clone()).unwrap();
        let candidate = format!("candidate:1 1 udp 2130706431 {ip} 9 typ host");
        let candidate = RTCIceCandidateInit { candidate, ..Default::default() };
        connection.add_local_candidate(candidate).unwrap();

        let request = reqwest::Client::new().post(url).header("content-type", "application/sdp");
        let response = request.body(offer.sdp).send().await.unwrap();
        assert_eq!(response.status(), 201);
        let session = session_of(url, response.headers());
        let answer = response.text().await.unwrap();
        let there = format!(" {ip} ");
        let is_tcp = |line: &&str| {
            line.starts_with("a=candidate:") && line.contains(" tcp ") && line.contains(&there)
        };
        let candidate = answer.lines().find(is_tcp).expect("a candidate over TCP");
        assert!(candidate.ends_with("typ host tcptype passive"), "{candidate}");
        let words: Vec<&str> = candidate.split(' ').collect();
        let gateway = SocketAddr::new(ip, words[5].parse().unwrap());
        let as_udp = candidate.replace(" tcp ", " udp ").replace(" tcptype passive", "");
        let lines =
            answer.lines().filter(|line| !line.starts_with("a=candidate:") || *line == candidate);
        let answer: String = lines.map(|line| line.replace(candidate, &as_udp) + "\r\n").collect();
        let answer = RTCSessionDescription::answer(answer).unwrap();
        connection.set_remote_description(now, answer).unwrap();
        let stream = TcpStream::connect(gateway).await.unwrap();
        let (incoming, packets) = (BytesMut::new(), Vec::new());
        Self { connection, stream, incoming, gateway, packets, session }
    }

    /// Plays until that many packets have come; fails after ten seconds.
    pub(crate) async fn until(&mut self, packets: usize) {
        let playing = async {
            while self.packets.len() < packets {
                assert!(self.step(true).await, "the gateway has closed the connection");
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(10), playing).await;
        assert!(done.is_ok(), "{} packets came", self.packets.len());
    }

    /// Sends what a viewer sends, and reads if it is to; `false` once the other
    /// side has closed.
    pub(crate) async fn step(&mut self, reads: bool) -> bool {
        self.drain().await;
        let due = self.connection.poll_timeout();
        let due = due.unwrap_or_else(|| Instant::now() + Duration::from_millis(100));
        tokio::select! {
            read = self.stream.read_buf(&mut self.incoming), if reads => {
                if !matches!(read, Ok(1..)) {
                    return false;
                }
            }
            () = tokio::time::sleep_until(due.into()) => {
                self.connection.handle_timeout(Instant::now()).unwrap();
            }
        }
        while let Some(&[high, low]) = self.incoming.first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if self.incoming.len() < 2 + length {
                break;
            }
            self.incoming.advance(2);
            let message = self.incoming.split_to(length);
            let transport = TransportContext {
                local_addr: SocketAddr::new(self.gateway.ip(), 9),
                peer_addr: self.gateway,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let _ = self.connection.handle_read(TaggedBytesMut {
                now: Instant::now(),
                transport,
                message,
            });
        }
        self.drain().await;
        true
    }

    async fn drain(&mut self) {
        loop {
            let mut moved = false;
            while let Some(out) = self.connection.poll_write() {
                let mut framed = (out.message.len() as u16).to_be_bytes().to_vec();
                framed.extend_from_slice(&out.message);
                // It may have been closed meanwhile: reading will tell.
                let _ = self.stream.write_all(&framed).await;
            }
            while self.connection.poll_event().is_some() {
                moved = true;
            }
            while let Some(message) = self.connection.poll_read() {
                moved = true;
                if let RTCMessage::RtpPacket(_, packet) = message.message {
                    self.packets.push(packet);
                }
            }
            if !moved {
                return;
            }
        }
    }
}
