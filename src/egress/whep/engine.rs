//! The WebRTC engine behind a narrow interface: an offer becomes an answer,
//! datagrams go in and come out, media goes in; what the viewer reports comes
//! out as [`Report`]s. Nothing here does I/O or reads a clock, and no other
//! file names the engine's crate (but [`super::tap`], which it calls for), so
//! that another engine could take its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::interceptor::{NackResponderBuilder, Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::offer::{Offer, Offered};
use super::packetizer::Payload;
use super::tap::Tap;
use crate::media::{MediaKind, WallTime};

/// The only local addresses the engine knows: the socket, not the engine,
/// decides where packets come from. One for each family keeps the number of
/// candidate pairs, and of checks, at the number of remote candidates. They
/// are of the blocks kept for documentation (RFC 5737, RFC 3849), with the
/// port of `discard`, and never leave this file.
const LOCAL: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
const LOCAL_PORT: u16 = 9;

/// Browsers refresh consent every 2.5 s or so; a viewer silent for twice that
/// is in trouble, and gone if it stays silent for the second span.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Packets kept for retransmission: about 1 s at 10 Mbit/s.
const RETRANSMIT_PACKETS: u16 = 1024;

/// RFC 3550 §6.2 would allow 5 s; players line sound and picture up only once
/// they have a report of both, so: often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A datagram that panics, in this crate's own tests.
#[cfg(test)]
pub(super) const PANIC: &[u8] = b"panic";

/// What a viewer will be sent, by payload type of its offer.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) video: Option<Offered>,
    /// Retransmissions of `video` (RFC 4588).
    pub(super) rtx: Option<Offered>,
    pub(super) audio: Option<Offered>,
}

/// Something the viewer, or its connection, tells us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Media can flow.
    Connected,
    /// It is over; nothing will come or go any more.
    Closed,
    /// PLI or FIR: the decoder needs a key frame.
    KeyFrameWanted,
    /// Other feedback, by kind, for the metrics.
    Feedback(&'static str),
}

/// The engine could not make a session of the offer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct EngineError(#[from] rtc::shared::error::Error);

/// One viewer's connection.
pub(super) struct Peer {
    connection: RTCPeerConnection,
    ufrag: String,
    video: Option<Sender>,
    audio: Option<Sender>,
    reports: Vec<Report>,
    /// A DTLS record came; it may have been a goodbye.
    dtls_heard: bool,
    over: bool,
}

/// State of one RTP stream (RFC 3550 §6.4.1).
struct Sender {
    id: RTCRtpSenderId,
    ssrc: u32,
    payload_type: u8,
    sequence_number: u16,
    /// Random offset of all timestamps (RFC 3550 §5.1).
    timestamp_offset: u32,
    packets: u32,
    octets: u32,
    next_report: Option<Instant>,
}

impl Peer {
    /// Makes a session of an offer: the peer, and the answer's text, without
    /// candidates.
    pub(super) fn answer(
        now: Instant,
        offer: &Offer,
        plan: &Plan,
    ) -> Result<(Self, String), EngineError> {
        let ufrag = format!("{:016x}", rand::random::<u64>());
        let password = format!("{:032x}", rand::random::<u128>());
        let settings = SettingEngineBuilder::new()
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEPALIVE))
            .with_ice_credentials(ufrag.clone(), password)
            .build();
        let mut registry = Registry::new().with(Slot::from(14_000), Tap::default());
        if plan.video.is_some() {
            let responder = NackResponderBuilder::new().with_size(RETRANSMIT_PACKETS).build();
            registry = registry.with(Slot::NackResponder, responder);
        }
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(media_engine(plan)?)
            .with_interceptor_registry(registry)
            .build(now)?;
        connection.set_remote_description(now, RTCSessionDescription::offer(offer.sdp.clone())?)?;

        let mut add = |codec: &Option<Offered>, kind| -> Result<Option<Sender>, EngineError> {
            let Some(codec) = codec else { return Ok(None) };
            Ok(Some(Sender::add(&mut connection, codec, kind, plan.rtx.is_some())?))
        };
        let video = add(&plan.video, MediaKind::Video)?;
        let audio = add(&plan.audio, MediaKind::Audio)?;
        for address in LOCAL {
            let candidate = format!("candidate:1 1 udp 2130706431 {address} {LOCAL_PORT} typ host");
            let candidate = RTCIceCandidateInit { candidate, ..Default::default() };
            connection.add_local_candidate(candidate)?;
        }
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        let answer = connection.create_answer(None)?;
        let text = answer.sdp.clone();
        connection.set_local_description(now, answer)?;
        let peer = Self {
            connection,
            ufrag,
            video,
            audio,
            reports: Vec::new(),
            dtls_heard: false,
            over: false,
        };
        Ok((peer, text))
    }

    /// Our `ice-ufrag`, by which STUN requests find this peer.
    pub(super) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// A candidate of the viewer's that came after its offer.
    pub(super) fn add_candidate(&mut self, candidate: &str) {
        let candidate = format!("candidate:{candidate}");
        let candidate = RTCIceCandidateInit { candidate, ..Default::default() };
        if let Err(error) = self.connection.add_remote_candidate(candidate) {
            tracing::debug!(%error, "candidate not used");
        }
    }

    /// A datagram from `from`. Broken and forged ones have no effect: the
    /// engine checks STUN integrity, DTLS and SRTP authentication.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        #[cfg(test)]
        assert_ne!(&data[..], PANIC, "as a fault in the engine would");
        let local = LOCAL[usize::from(from.is_ipv6())];
        // RFC 7983 §7.
        self.dtls_heard |= matches!(data.first(), Some(20..=63));
        let message = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: SocketAddr::new(local, LOCAL_PORT),
                peer_addr: from,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: data,
        };
        if let Err(error) = self.connection.handle_read(message) {
            tracing::trace!(%error, "datagram not used");
        }
    }

    /// When [`Peer::tick`] is due.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        if self.over { None } else { self.connection.poll_timeout() }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Err(error) = self.connection.handle_timeout(now) {
            tracing::trace!(%error, "timer");
        }
    }

    /// Sends part of a frame, stamped `ticks` of its payload's clock. Returns
    /// the bytes of RTP it made. Nothing is sent of a kind the viewer has no
    /// track for.
    pub(super) fn send(
        &mut self,
        now: Instant,
        kind: MediaKind,
        payloads: &[Payload],
        ticks: i64,
    ) -> usize {
        let sender = match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let Some(sender) = sender else { return 0 };
        sender.send(&mut self.connection, now, payloads, ticks)
    }

    /// Sends a report that ties the wall clock to media time (RFC 3550 §6.4.1),
    /// if one is due. `wall` is when the moment `ticks` was captured.
    pub(super) fn report(&mut self, now: Instant, kind: MediaKind, wall: WallTime, ticks: i64) {
        let sender = match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let Some(sender) = sender else { return };
        if sender.next_report.is_some_and(|due| now < due) {
            return;
        }
        sender.next_report = Some(now + REPORT_EVERY);
        sender.report(&mut self.connection, now, wall, ticks);
    }

    /// Takes all that is to go out, and notes what came in, until nothing
    /// moves: a handshake stalls if it is left before that.
    pub(super) fn drain(&mut self, mut out: impl FnMut(SocketAddr, &[u8])) {
        loop {
            while let Some(datagram) = self.connection.poll_write() {
                out(datagram.transport.peer_addr, &datagram.message);
            }
            let mut moved = false;
            while let Some(event) = self.connection.poll_event() {
                moved = true;
                if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                    self.state_changed(state);
                }
            }
            while let Some(message) = self.connection.poll_read() {
                moved = true;
                if let RTCMessage::RtcpPacket(_, packets) = message.message {
                    self.reports.extend(packets.iter().filter_map(|p| feedback(p.as_ref())));
                }
            }
            if !moved {
                break;
            }
        }
        if std::mem::take(&mut self.dtls_heard) && !self.over && self.has_said_goodbye() {
            self.over = true;
            self.reports.push(Report::Closed);
        }
    }

    /// Whether the viewer closed DTLS. The engine's connection state does not
    /// show it (nor does the W3C's), so that a viewer who left properly would
    /// be kept until ICE has given it up.
    fn has_said_goodbye(&mut self) -> bool {
        let Some(id) = self.video.as_ref().or(self.audio.as_ref()).map(|sender| sender.id) else {
            return false;
        };
        let sender = self.connection.rtp_sender(id);
        let state = sender.and_then(|sender| sender.transport().map(|dtls| dtls.state()));
        state == Some(RTCDtlsTransportState::Closed)
    }

    fn state_changed(&mut self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "connection");
        match state {
            RTCPeerConnectionState::Connected => self.reports.push(Report::Connected),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                self.over = true;
                self.reports.push(Report::Closed);
            }
            _ => {}
        }
    }

    /// What was reported since the last call.
    pub(super) fn reports(&mut self) -> std::vec::Drain<'_, Report> {
        self.reports.drain(..)
    }

    /// Says goodbye (DTLS `close_notify`); [`Peer::drain`] sends it.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.connection.close() {
            tracing::debug!(%error, "close");
        }
        self.over = true;
    }
}

impl Sender {
    fn add(
        connection: &mut RTCPeerConnection,
        codec: &Offered,
        kind: MediaKind,
        rtx: bool,
    ) -> Result<Self, EngineError> {
        let ssrc = rand::random();
        let rtx =
            (rtx && kind == MediaKind::Video).then(|| RTCRtpRtxParameters { ssrc: rand::random() });
        let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: coding,
            codec: engine_codec(codec, kind),
            ..Default::default()
        };
        // One stream id for both tracks, so that a player keeps them in step.
        let track = MediaStreamTrack::new(
            "porthole".to_owned(),
            kind.as_str().to_owned(),
            kind.as_str().to_owned(),
            engine_kind(kind),
            vec![encoding],
        );
        Ok(Self {
            id: connection.add_track(track)?,
            ssrc,
            payload_type: codec.payload_type,
            sequence_number: rand::random(),
            timestamp_offset: rand::random(),
            packets: 0,
            octets: 0,
            next_report: None,
        })
    }

    /// RTP timestamp of a moment; wraps, as RFC 3550 §5.1 intends.
    fn timestamp(&self, ticks: i64) -> u32 {
        (ticks as u32).wrapping_add(self.timestamp_offset)
    }

    fn send(
        &mut self,
        connection: &mut RTCPeerConnection,
        now: Instant,
        payloads: &[Payload],
        ticks: i64,
    ) -> usize {
        let Some(mut sender) = connection.rtp_sender(self.id) else { return 0 };
        let mut bytes = 0;
        for payload in payloads {
            let header = rtc::rtp::header::Header {
                version: 2,
                marker: payload.marker,
                payload_type: self.payload_type,
                sequence_number: self.sequence_number,
                timestamp: self.timestamp(ticks).wrapping_add(payload.later),
                ssrc: self.ssrc,
                ..Default::default()
            };
            let packet = rtc::rtp::packet::Packet { header, payload: payload.bytes.clone() };
            if let Err(error) = sender.write_rtp(now, packet) {
                tracing::debug!(%error, "packet not sent");
                break;
            }
            self.sequence_number = self.sequence_number.wrapping_add(1);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(payload.bytes.len() as u32);
            bytes += 12 + payload.bytes.len();
        }
        bytes
    }

    fn report(
        &mut self,
        connection: &mut RTCPeerConnection,
        now: Instant,
        wall: WallTime,
        ticks: i64,
    ) {
        let report = SenderReport {
            ssrc: self.ssrc,
            ntp_time: wall.ntp(),
            rtp_time: self.timestamp(ticks),
            packet_count: self.packets,
            octet_count: self.octets,
            ..Default::default()
        };
        if let Some(mut sender) = connection.rtp_sender(self.id)
            && let Err(error) = sender.write_rtcp(now, vec![Box::new(report)])
        {
            tracing::debug!(%error, "sender report not sent");
        }
    }
}

/// An engine that knows exactly the codecs to be used, spelt as the offer
/// spells them: so there is nothing for it to match wrongly.
fn media_engine(plan: &Plan) -> Result<MediaEngine, EngineError> {
    let mut engine = MediaEngine::default();
    let tracks = [
        (&plan.video, MediaKind::Video),
        (&plan.rtx, MediaKind::Video),
        (&plan.audio, MediaKind::Audio),
    ];
    for (codec, kind) in tracks {
        let Some(codec) = codec else { continue };
        let codec = RTCRtpCodecParameters {
            rtp_codec: engine_codec(codec, kind),
            payload_type: codec.payload_type,
        };
        engine.register_codec(codec, engine_kind(kind))?;
    }
    Ok(engine)
}

fn engine_kind(kind: MediaKind) -> RtpCodecKind {
    match kind {
        MediaKind::Video => RtpCodecKind::Video,
        MediaKind::Audio => RtpCodecKind::Audio,
    }
}

fn engine_codec(codec: &Offered, kind: MediaKind) -> RTCRtpCodec {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    let repairable = kind == MediaKind::Video && !codec.name.eq_ignore_ascii_case("rtx");
    RTCRtpCodec {
        mime_type: format!("{}/{}", kind.as_str(), codec.name),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        sdp_fmtp_line: codec.fmtp.clone(),
        rtcp_feedback: if repairable {
            vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")]
        } else {
            Vec::new()
        },
    }
}

/// What an RTCP packet of the viewer's asks for.
fn feedback(packet: &dyn rtc::rtcp::Packet) -> Option<Report> {
    let packet = packet.as_any();
    if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
        Some(Report::KeyFrameWanted)
    } else if packet.is::<TransportLayerNack>() {
        // Answered by the engine's responder.
        Some(Report::Feedback("nack"))
    } else if packet.is::<ReceiverReport>() {
        Some(Report::Feedback("receiver_report"))
    } else {
        None
    }
}
