//! One client: what it has set up, what it is answered, what it is sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::message::{Method, Request, Response, Status};
use super::{Deps, outlet::Outlet, sdp};
use crate::auth::{Action, Pass, Principal};
use crate::bus::{Interest, Join, Seen, SourceState, Stream, Subscription};
use crate::fault::{Code, Fault};
use crate::http::Attended;
use crate::media::{Frame, FrameKind, MediaTime, Quality, TrackId};
use crate::rtp;

/// How long a DESCRIBE waits for a starting (or on-demand) camera's first
/// frame: clients give up after 10 s or more.
const FIRST_FRAME: Duration = Duration::from_secs(8);

/// Seconds of silence after which a client that plays nothing is forgotten;
/// RFC 2326 §12.37 names 60 as the usual value.
pub(super) const TIMEOUT_SECONDS: u64 = 60;

const PUBLIC: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// A client's state, from its first request to TEARDOWN.
pub(super) struct Session {
    pub(super) deps: Deps,
    /// Where the client is.
    pub(super) peer: Option<IpAddr>,
    remote: Option<SocketAddr>,
    /// Who it proved to be.
    pub(super) principal: Principal,
    id: String,
    stream: Option<Arc<Stream>>,
    /// Keeps an on-demand camera connected from DESCRIBE on.
    interest: Option<Interest>,
    outlets: Vec<Outlet>,
    playing: Option<Playing>,
}

struct Playing {
    frames: Subscription,
    /// Taken from `frames` to announce it, not sent yet.
    first: Option<Arc<Frame>>,
    /// Sound from before the first picture is left out: its time lies before
    /// the one that RTP-Info announced.
    from: Option<MediaTime>,
    /// When the newest frame of what is being sent arrived.
    arrived: Option<Instant>,
    attended: Attended,
}

/// What a URL means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The URL of the whole stream, without query.
    base: String,
    pub(super) stream: &'a str,
    /// The word for its quality; `None` for the main one.
    quality: Option<&'a str>,
    track: Option<TrackId>,
}

/// Reads `rtsp://host[:port]/stream[/sub][/trackID=n][?quality=sub]`. Both
/// ways to name the substream mean the same; in what we answer it stands in
/// the path, since recorders append the track to a URL, query or not.
pub(super) fn target(url: &str) -> Option<Target<'_>> {
    let url = url.split('#').next()?;
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    // Some clients append the track to the whole URL, behind the query.
    let (query, appended) = match query.rsplit_once('/') {
        Some((query, track)) if track.starts_with("trackID=") => (query, track),
        _ => (query, ""),
    };
    let url = url.trim_end_matches('/');
    let (_, rest) = url.split_once("://")?;
    let (_authority, path) = rest.split_once('/')?;
    let (stream, mut rest) = path.split_once('/').unwrap_or((path, ""));
    let mut quality = query.split('&').find_map(|pair| pair.strip_prefix("quality="));
    let sub = Quality::Sub.as_str();
    if let Some(after) = rest.strip_prefix(sub)
        && (after.is_empty() || after.starts_with('/'))
    {
        (quality, rest) = (Some(sub), after.trim_start_matches('/'));
    }
    let track = match if rest.is_empty() { appended } else { rest } {
        "" => None,
        rest => Some(TrackId(rest.strip_prefix("trackID=")?.parse().ok()?)),
    };
    let mut base = url[..url.len() - path.len() + stream.len()].to_owned();
    if let Some(word) = quality.filter(|word| *word == sub) {
        base = format!("{base}/{word}");
    }
    Some(Target { base, stream, quality, track })
}

/// Interleaved channels of a `Transport` header: the first RTP/AVP/TCP offer,
/// with the pair it asks for, if any. `None` where all offers are for UDP.
fn interleaved(transport: &str) -> Option<Option<(u8, u8)>> {
    let offer = transport.split(',').map(str::trim).find(|offer| {
        offer.split(';').next().is_some_and(|p| p.trim().eq_ignore_ascii_case("RTP/AVP/TCP"))
    })?;
    let wanted = offer.split(';').find_map(|p| p.trim().strip_prefix("interleaved="));
    Some(wanted.and_then(|pair| {
        let (rtp, rtcp) = pair.split_once('-').unwrap_or((pair, ""));
        let rtp: u8 = rtp.parse().ok()?;
        let rtcp = if rtcp.is_empty() { rtp.checked_add(1)? } else { rtcp.parse().ok()? };
        (rtp != rtcp).then_some((rtp, rtcp))
    }))
}

pub(super) fn refusal(fault: &Fault) -> Response {
    let status = match fault.code {
        Code::StreamUnknown => Status::NotFound,
        Code::ViewerAuth => Status::Unauthorized,
        Code::ViewerForbidden => Status::Forbidden,
        Code::VideoUnplayable => Status::UnsupportedMedia,
        _ => Status::Unavailable,
    };
    let text = format!("{fault}\n{}\n", fault.code.hint());
    Response::new(status).with_body("text/plain; charset=utf-8", text)
}

impl Session {
    pub(super) fn new(deps: Deps, remote: Option<SocketAddr>) -> Self {
        Self {
            deps,
            peer: remote.map(|remote| remote.ip()),
            remote,
            principal: Principal::Anonymous,
            id: format!("{:016x}", rand::random::<u64>()),
            stream: None,
            interest: None,
            outlets: Vec::new(),
            playing: None,
        }
    }

    /// What a client that plays was let in with.
    pub(super) fn pass(&self) -> Option<Pass> {
        let stream = self.stream.as_ref()?.name().clone();
        Some(Pass::new(Arc::clone(&self.deps.access), self.principal.clone(), stream))
    }

    /// Packets of so many bytes went out to a client that plays.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(playing) = &mut self.playing {
            playing.attended.sent(bytes);
            if let Some(arrived) = playing.arrived.take() {
                playing.attended.gone_out(arrived);
            }
        }
    }

    /// Why it will have ended, as a metric label.
    pub(super) fn end_with(&mut self, why: &'static str) {
        if let Some(playing) = &mut self.playing {
            playing.attended.end_with(why);
        }
    }

    /// Returns once somebody wants a client that plays gone.
    pub(super) fn asked_to_leave(&self) -> impl Future<Output = ()> + use<> {
        let asked = self.playing.as_ref().map(|playing| playing.attended.asked_to_leave());
        async move {
            match asked {
                Some(asked) => asked.cancelled().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Name of the stream in question, for the log.
    pub(super) fn stream(&self) -> Option<&str> {
        self.stream.as_ref().map(|stream| stream.name().as_str())
    }

    /// Answers a request. Waits for nothing but a starting camera's first
    /// frame, and for that at most 8 s.
    pub(super) async fn answer(&mut self, request: &Request) -> Response {
        if let Err(refused) = self.admit(request).await {
            return refused;
        }
        let result = match request.method {
            Method::Options => Ok(Response::new(Status::Ok).with("Public", PUBLIC)),
            Method::Describe => self.describe(request).await,
            Method::Setup => self.setup(request),
            Method::Play => self.play(request),
            Method::GetParameter | Method::SetParameter => self.keep_alive(request),
            Method::Teardown => self.teardown(request),
            Method::NotAllowed => {
                let allow = ["Allow", "Public"];
                Ok(allow.iter().fold(Response::new(Status::NotAllowed), |r, h| r.with(h, PUBLIC)))
            }
            Method::Unknown => Ok(Response::new(Status::NotImplemented).with("Public", PUBLIC)),
        };
        result.unwrap_or_else(|refused| refused)
    }

    async fn describe(&mut self, request: &Request) -> Result<Response, Response> {
        let target = target(&request.url).ok_or_else(|| refusal(&Code::StreamUnknown.into()))?;
        let stream = self.authorized(&target)?;
        let interest = stream.watch();
        wait_for_tracks(&stream).await.map_err(|fault| refusal(&fault))?;
        let tracks = stream.tracks().ok_or_else(|| refusal(&Code::StreamStarting.into()))?;
        let Some(sdp) = sdp::describe(stream.name(), &tracks) else {
            let detail = "MJPEG is not re-published over RTSP; watch it in a browser";
            return Err(refusal(&Fault::new(Code::VideoUnplayable, detail)));
        };
        if self.playing.is_none() {
            self.interest = Some(interest);
        }
        Ok(Response::new(Status::Ok)
            .with("Content-Base", format!("{}/", target.base))
            .with_body("application/sdp", sdp))
    }

    fn setup(&mut self, request: &Request) -> Result<Response, Response> {
        let fail = |status| Err(Response::new(status));
        let target = target(&request.url).ok_or_else(|| refusal(&Code::StreamUnknown.into()))?;
        let stream = self.authorized(&target)?;
        if self.deps.draining.load(Ordering::Acquire) {
            let fault = Fault::new(Code::ViewerLimit, "this gateway is stopping");
            return Err(refusal(&fault));
        }
        if request.header("Session").is_some() {
            self.check_session(request)?;
        }
        if self.playing.is_some() {
            return fail(Status::NotValidInState);
        }
        if self.stream.as_ref().is_some_and(|known| !Arc::ptr_eq(known, &stream)) {
            return fail(Status::NotAllowed);
        }
        let Some(wanted) = interleaved(request.header("Transport").unwrap_or_default()) else {
            return fail(Status::UnsupportedTransport);
        };
        let tracks = stream.tracks().ok_or_else(|| refusal(&Code::StreamStarting.into()))?;
        // A stream of one track may be set up without naming it.
        let id = target.track.or((tracks.iter().count() == 1).then_some(TrackId(0)));
        let Some(id) = id else { return fail(Status::AggregateNotAllowed) };
        let Some(track) = tracks.get(id).filter(|track| rtp::carries(&track.codec)) else {
            return fail(Status::NotFound);
        };
        self.outlets.retain(|outlet| outlet.track() != id);
        let taken = |n: u8| self.outlets.iter().any(|o| o.channels.0 == n || o.channels.1 == n);
        let free = |&(rtp, rtcp): &(u8, u8)| !taken(rtp) && !taken(rtcp);
        let pairs = (0..=127u8).map(|n| (2 * n, 2 * n + 1));
        let Some(channels) = wanted.into_iter().chain(pairs).find(free) else {
            return fail(Status::UnsupportedTransport);
        };
        let outlet = Outlet::new(track.clone(), channels);
        let transport = format!(
            "RTP/AVP/TCP;unicast;interleaved={}-{};ssrc={:08X}",
            channels.0, channels.1, outlet.ssrc
        );
        self.outlets.push(outlet);
        self.interest.get_or_insert_with(|| stream.watch());
        self.stream = Some(stream);
        Ok(self.in_session(Response::new(Status::Ok)).with("Transport", transport))
    }

    fn play(&mut self, request: &Request) -> Result<Response, Response> {
        self.check_session(request)?;
        let (Some(stream), Some(target)) = (&self.stream, target(&request.url)) else {
            return Err(Response::new(Status::NotValidInState));
        };
        self.authorized(&target)?;
        let ok = self.in_session(Response::new(Status::Ok)).with("Range", "npt=now-");
        if self.playing.is_some() {
            // A PLAY while playing is a keepalive, or a wish to seek.
            return Ok(ok);
        }
        // RTP-Info names the first frame's time, when the ring holds it already.
        let mut frames = stream.subscribe("rtsp", Join::NewestKey);
        let first = match frames.try_next() {
            Some(Seen::Frame(frame)) => Some(frame),
            Some(Seen::Skipped(_)) | None => None,
        };
        let from = first.as_ref().map(|frame| frame.pts);
        let info: Vec<String> = self
            .outlets
            .iter()
            .map(|outlet| {
                let track = outlet.track().0;
                let mut info = format!("url={}/trackID={track};seq={}", target.base, outlet.next);
                if let Some(from) = from {
                    info += &format!(";rtptime={}", outlet.rtp_time(from));
                }
                info
            })
            .collect();
        let pass = self.pass();
        let mut attended = self.deps.sessions.attend(stream.name(), pass.as_ref(), self.remote);
        attended.shows(self.outlets.iter().map(Outlet::codec));
        self.playing = Some(Playing { frames, first, from, arrived: None, attended });
        Ok(ok.with("RTP-Info", info.join(",")))
    }

    fn keep_alive(&self, request: &Request) -> Result<Response, Response> {
        if request.header("Session").is_none() {
            return Ok(Response::new(Status::Ok));
        }
        self.check_session(request)?;
        Ok(self.in_session(Response::new(Status::Ok)))
    }

    fn teardown(&mut self, request: &Request) -> Result<Response, Response> {
        self.check_session(request)?;
        self.end_with("left");
        self.playing = None;
        self.outlets.clear();
        self.interest = None;
        self.stream = None;
        Ok(Response::new(Status::Ok))
    }

    /// The stream of that name and quality, if this client may see it.
    fn authorized(&self, target: &Target<'_>) -> Result<Arc<Stream>, Response> {
        let stream = self.deps.registry.get(target.stream);
        let stream = stream.ok_or_else(|| refusal(&Code::StreamUnknown.into()))?;
        self.deps
            .access
            .authorize(&self.principal, Action::View, stream.name())
            .map_err(|fault| refusal(&fault))?;
        stream.of_quality(target.quality).map_err(|fault| refusal(&fault))
    }

    fn check_session(&self, request: &Request) -> Result<(), Response> {
        let given = request.header("Session").and_then(|v| v.split(';').next());
        if given.map(str::trim) != Some(&self.id) {
            return Err(Response::new(Status::SessionNotFound));
        }
        // A session begins with the first SETUP that works.
        self.stream.as_ref().map(drop).ok_or_else(|| Response::new(Status::SessionNotFound))
    }

    fn in_session(&self, response: Response) -> Response {
        response.with("Session", format!("{};timeout={TIMEOUT_SECONDS}", self.id))
    }

    /// Waits for frames and appends their packets to `out`, up to about
    /// `enough` bytes. `false` once the stream has ended, or became one that
    /// the client's SDP does not describe; pending for ever while not playing.
    ///
    /// Cancel safe.
    pub(super) async fn next_packets(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        let Some(playing) = &mut self.playing else { return std::future::pending().await };
        let mut next = match playing.first.take() {
            Some(first) => Some(Seen::Frame(first)),
            None => playing.frames.next().await,
        };
        loop {
            match next {
                None => return false,
                Some(Seen::Skipped(frames)) => tracing::debug!(frames, "client reads too slowly"),
                Some(Seen::Frame(frame)) => {
                    if !playing.send(&frame, &mut self.outlets, out) {
                        return false;
                    }
                }
            }
            if out.len() >= enough {
                return true;
            }
            next = playing.frames.try_next();
            if next.is_none() {
                return true;
            }
        }
    }
}

impl Playing {
    /// Appends the frame's packets; `false` if the client's SDP does not
    /// describe it any more.
    fn send(&mut self, frame: &Frame, outlets: &mut [Outlet], out: &mut Vec<u8>) -> bool {
        let from = *self.from.get_or_insert(frame.pts);
        if frame.kind == FrameKind::Audio && frame.pts < from {
            return true;
        }
        let Some(outlet) = outlets.iter_mut().find(|outlet| outlet.track() == frame.track) else {
            return true;
        };
        self.arrived = Some(frame.arrived);
        outlet.send(frame, out)
    }
}

/// Waits until the stream has tracks.
async fn wait_for_tracks(stream: &Stream) -> Result<(), Fault> {
    let mut status = stream.watch_status();
    let mut frames = stream.subscribe("rtsp", Join::Live);
    let waiting = async {
        loop {
            let (state, fault) = {
                let status = status.borrow_and_update();
                (status.state, status.fault.clone())
            };
            match (state, fault) {
                // Nobody waits for a failure that is known already.
                (SourceState::Down, Some(fault)) => return Err(fault),
                _ if stream.tracks().is_some() => return Ok(()),
                _ => {}
            }
            tokio::select! {
                changed = status.changed() => {
                    if changed.is_err() {
                        return Err(Code::StreamUnknown.into());
                    }
                }
                seen = frames.next() => {
                    if seen.is_none() {
                        return Err(Code::StreamUnknown.into());
                    }
                }
            }
        }
    };
    timeout(FIRST_FRAME, waiting).await.unwrap_or_else(|_| Err(Code::StreamStarting.into()))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
