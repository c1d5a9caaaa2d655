//! A viewer: the `webrtc` crate, over WHEP.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use rtc::interceptor::{
    Attribute, Interceptor, NackGeneratorBuilder, Packet, Slot, StreamInfo, TaggedPacket,
};
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::transport::RTCDtlsTransportState;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use tokio::sync::mpsc;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, Registry,
    register_default_interceptors,
};
use webrtc::runtime::default_runtime;

use super::line::Line;
use super::session_of;

/// What a viewer sees.
pub(crate) enum Event {
    State(RTCPeerConnectionState),
    /// An RTP packet of `video` or `audio`.
    Rtp(&'static str, rtc::rtp::Packet),
    Rtcp(&'static str, Vec<Box<dyn rtc::rtcp::Packet>>),
    Track(&'static str, Arc<dyn TrackRemote>),
    /// A candidate of its own, as an `a=` line has it.
    Candidate(String),
}

pub(crate) struct Player {
    pub(crate) connection: Box<dyn PeerConnection>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) http: reqwest::Client,
    /// Where its session is, once there is one.
    pub(crate) session: Option<url::Url>,
    video: Option<Arc<dyn TrackRemote>>,
    pub(crate) answer: String,
    /// RTP packets as they came: the library puts those of RTX back where they
    /// were missing.
    pub(crate) raw: Raw,
}

pub(crate) type Raw = Arc<Mutex<Vec<rtc::rtp::Packet>>>;

struct Handler(mpsc::UnboundedSender<Event>);

/// Shows RTCP to the application, and keeps all RTP.
#[derive(Default)]
struct Tap(VecDeque<TaggedPacket>, VecDeque<TaggedPacket>, Raw);

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtp(packet) = &packet.message.packet {
            self.2.lock().unwrap().push(packet.clone());
        }
        packet.message.add(Attribute::DeliverToApplication);
        self.0.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.0.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        self.1.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.1.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

// Written as the `async_trait` macro would, to do without that crate.
impl PeerConnectionEventHandler for Handler {
    fn on_connection_state_change<'s, 'a>(&'s self, state: RTCPeerConnectionState) -> Done<'a>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let _ = self.0.send(Event::State(state));
        })
    }

    fn on_ice_candidate<'s, 'a>(&'s self, event: RTCPeerConnectionIceEvent) -> Done<'a>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let candidate = event.candidate.to_json().unwrap().candidate;
            let _ = self.0.send(Event::Candidate(candidate));
        })
    }

    fn on_track<'s, 'a>(&'s self, track: Arc<dyn TrackRemote>) -> Done<'a>
    where
        's: 'a,
        Self: 'a,
    {
        let events = self.0.clone();
        Box::pin(async move {
            let video = track.kind().await == RtpCodecKind::Video;
            let kind = if video { "video" } else { "audio" };
            let _ = events.send(Event::Track(kind, Arc::clone(&track)));
            tokio::spawn(async move {
                while let Some(event) = track.poll().await {
                    let _ = match event {
                        TrackRemoteEvent::OnRtpPacket(packet) => {
                            events.send(Event::Rtp(kind, packet))
                        }
                        TrackRemoteEvent::OnRtcpPacket(all) => events.send(Event::Rtcp(kind, all)),
                        _ => Ok(()),
                    };
                }
            });
        })
    }
}

impl Player {
    /// A player that would receive these kinds, and its offer.
    pub(crate) async fn offering(kinds: &[RtpCodecKind]) -> (Self, String) {
        Self::offering_from("127.0.0.1:0", kinds).await
    }

    /// The same, which has that address alone.
    pub(crate) async fn offering_from(ours: &str, kinds: &[RtpCodecKind]) -> (Self, String) {
        Self::asking_every(Duration::from_millis(100), ours, kinds).await
    }

    /// The same, which looks so often for packets to ask for again.
    pub(crate) async fn asking_every(
        interval: Duration,
        ours: &str,
        kinds: &[RtpCodecKind],
    ) -> (Self, String) {
        let raw = Raw::default();
        let (sender, events) = mpsc::unbounded_channel();
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
        // It would forget what it misses after 512 packets, of which a busy machine
        // hands it as many at once.
        let asks = NackGeneratorBuilder::new().with_interval(interval).with_size(1024).build();
        let registry = registry
            .with(Slot::NackGenerator, asks)
            .with(Slot::from(14_000), Tap(VecDeque::new(), VecDeque::new(), Arc::clone(&raw)));
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler(sender)))
            .with_runtime(default_runtime().unwrap())
            .with_udp_addrs(vec![ours.to_owned()])
            .build()
            .await
            .unwrap();
        for kind in kinds {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..Default::default()
            };
            connection.add_transceiver_from_kind(*kind, Some(init)).await.unwrap();
        }
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer.clone()).await.unwrap();
        let player = Self {
            connection: Box::new(connection),
            events,
            http: reqwest::Client::new(),
            session: None,
            video: None,
            answer: String::new(),
            raw,
        };
        (player, offer.sdp)
    }

    /// Connects to `url`; returns the answer's headers.
    pub(crate) async fn play(&mut self, url: &str, offer: &str) -> HeaderMap {
        let response = self.post(url, offer).await;
        assert_eq!(response.status(), 201);
        let headers = response.headers().clone();
        self.answer = response.text().await.unwrap();
        let answer = RTCSessionDescription::answer(self.answer.clone()).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
        headers
    }

    /// A viewer of pictures behind `line`.
    pub(crate) async fn behind(line: &Line, url: &str, gateway: SocketAddr) -> Self {
        Self::behind_as(line, url, gateway, &[RtpCodecKind::Video], |_| true).await
    }

    /// The same, of these kinds, with those lines alone of its offer that `keep`
    /// takes, and without RTX.
    pub(crate) async fn behind_as(
        line: &Line,
        url: &str,
        gateway: SocketAddr,
        kinds: &[RtpCodecKind],
        keep: impl Fn(&str) -> bool,
    ) -> Self {
        let (player, offer) = Self::offering(kinds).await;
        player.go_behind(line, url, gateway, &without_rtx(&offer), keep).await
    }

    /// Plays `offer` behind `line`.
    pub(crate) async fn go_behind(
        mut self,
        line: &Line,
        url: &str,
        gateway: SocketAddr,
        offer: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Self {
        let ours = |line: &&str| !line.starts_with("a=candidate:") && keep(line);
        let offer: String = offer.lines().filter(ours).map(|line| format!("{line}\r\n")).collect();
        let response = self.post(url, &offer).await;
        assert_eq!(response.status(), 201);
        self.session = Some(session_of(url, response.headers()));
        self.answer = line.redirect(&response.text().await.unwrap(), gateway);
        let answer = RTCSessionDescription::answer(self.answer.clone()).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
        self
    }

    /// Begins an ICE restart; returns the fragment that says so.
    pub(crate) async fn restart(&self) -> String {
        let options = RTCOfferOptions { ice_restart: true };
        let offer = self.connection.create_offer(Some(options)).await.unwrap();
        self.connection.set_local_description(offer.clone()).await.unwrap();
        fragment_of(&offer.sdp)
    }

    /// Ends it: the answer is the first one, with the credentials of `reply`.
    pub(crate) async fn restarted(&self, reply: &str) {
        let of = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            line.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        let mut answer = self.answer.clone();
        for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
            answer = answer.replace(&of(&self.answer, name), &of(reply, name));
        }
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }

    pub(crate) async fn post(&self, url: &str, offer: &str) -> reqwest::Response {
        let request = self.http.post(url).header(CONTENT_TYPE, "application/sdp");
        request.body(offer.to_owned()).send().await.unwrap()
    }

    /// Asks for a key frame of the video (PLI), once its track is known.
    pub(crate) async fn want_key_frame(&mut self) {
        let track = self.video.clone().expect("packets of it have come");
        let media_ssrc = track.ssrcs().await[0];
        let request = PictureLossIndication { sender_ssrc: 1, media_ssrc };
        track.write_rtcp(vec![Box::new(request)]).await.unwrap();
    }

    /// Whether the gateway has said goodbye (DTLS `close_notify`).
    pub(crate) async fn hears_goodbye(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let receivers = self.connection.get_receivers().await;
        let transport = receivers[0].transport().await.unwrap().unwrap();
        while transport.state().await.unwrap() != RTCDtlsTransportState::Closed {
            assert!(Instant::now() < deadline, "no goodbye came");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The first event that `pick` takes; fails after ten seconds.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(Event) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let event = tokio::time::timeout_at(deadline.into(), self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("never came: {what}"));
            let event = event.expect("the handler lives");
            if let Event::Track("video", track) = &event {
                self.video = Some(Arc::clone(track));
            }
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    }
}

/// What a fragment (RFC 8840) says of the session of an `offer`.
pub(crate) fn fragment_of(offer: &str) -> String {
    let wanted = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:"];
    let lines = offer.lines().filter(|line| wanted.iter().any(|w| line.starts_with(w)));
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// An offer without RTX, which the `webrtc` crate does not put back in its place:
/// repairs come on the packets' own SSRC then.
pub(crate) fn without_rtx(offer: &str) -> String {
    let mut rtx = Vec::new();
    for line in offer.lines() {
        if let Some(map) = line.strip_prefix("a=rtpmap:")
            && let Some((number, "rtx/90000")) = map.split_once(' ')
        {
            rtx.push(number);
        }
    }
    let ours = |line: &&str| {
        let of_rtx = |number: &&str| {
            let names = ["rtpmap", "fmtp", "rtcp-fb"];
            names.iter().any(|name| line.starts_with(&format!("a={name}:{number} ")))
        };
        !rtx.iter().any(of_rtx)
    };
    let without = |line: &str| {
        let kept = |word: &&str| !line.starts_with("m=") || !rtx.contains(word);
        line.split(' ').filter(kept).collect::<Vec<_>>().join(" ") + "\r\n"
    };
    offer.lines().filter(ours).map(without).collect()
}

/// Puts the NAL units of RTP payloads back together (RFC 6184), in the order they
/// were sent from the first one on: RTP time and unit. A busy machine loses
/// packets on the way; they come later, once asked for.
#[derive(Default)]
pub(crate) struct Depacketizer {
    next: Option<u16>,
    early: BTreeMap<u16, rtc::rtp::Packet>,
    partial: Vec<u8>,
    pub(crate) units: Vec<(u32, Vec<u8>)>,
}

impl Depacketizer {
    pub(crate) fn push(&mut self, packet: &rtc::rtp::Packet) {
        let number = packet.header.sequence_number;
        let next = *self.next.get_or_insert(number);
        if number.wrapping_sub(next) < 0x8000 {
            self.early.insert(number, packet.clone());
        }
        while let Some(next) = self.next
            && let Some(packet) = self.early.remove(&next)
        {
            self.next = Some(next.wrapping_add(1));
            self.take(&packet);
        }
    }

    fn take(&mut self, packet: &rtc::rtp::Packet) {
        let (time, data) = (packet.header.timestamp, &packet.payload[..]);
        match data[0] & 0x1f {
            24 => {
                let mut rest = &data[1..];
                while let [a, b, tail @ ..] = rest {
                    let (unit, tail) = tail.split_at(usize::from(*a) << 8 | usize::from(*b));
                    self.units.push((time, unit.to_vec()));
                    rest = tail;
                }
            }
            28 => {
                if data[1] & 0x80 != 0 {
                    self.partial = vec![data[0] & 0xe0 | data[1] & 0x1f];
                }
                self.partial.extend_from_slice(&data[2..]);
                if data[1] & 0x40 != 0 {
                    self.units.push((time, std::mem::take(&mut self.partial)));
                }
            }
            _ => self.units.push((time, data.to_vec())),
        }
    }
}
