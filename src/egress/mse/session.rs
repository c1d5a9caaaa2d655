//! One viewer's socket: hello, init, fragments, until one of the two has had
//! enough.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message as Wire, WebSocket, close_code};
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::Mse;
use super::expected::Expected;
use super::hello::{Able, Choice, Message, choose, not_here, refusal};
use super::mux::Mux;
use crate::auth::Pass;
use crate::bus::{Interest, Join, Seen, SourceState, Stream, Subscription};
use crate::fault::{Code, Fault};
use crate::http::{Attended, Problem};
use crate::media::{Frame, FrameKind, Tracks};

/// Longest message of a viewer: a list of codecs has some hundred bytes.
pub(super) const MOST_MESSAGE_BYTES: usize = 4 << 10;
/// Messages of a viewer; it has one thing to say.
const MOST_MESSAGES: u32 = 64;
/// A page says what it plays as soon as the socket is open.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// How long a viewer waits for the stream's first key frame. A camera connects
/// within a second or two; longer waits are the page's to repeat.
const START_LIMIT: Duration = Duration::from_secs(3);
/// A message that was not taken for this long never will be.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// A viewer this far behind the camera goes on at a key frame. Less than the
/// bus keeps, so that there is one.
const MOST_BEHIND: Duration = Duration::from_secs(2);
/// How often a viewer is asked whether it is there; it answers by itself.
const PING: Duration = Duration::from_secs(5);
/// One that was not heard for this long has left without a word.
const SILENCE: Duration = Duration::from_secs(12);
/// How long a socket stays for its goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// How often a viewer is told when a picture was captured.
const TELL_TIME: Duration = Duration::from_secs(2);
/// The same of a key frame, before which it can forget what it has.
const TELL_KEY: Duration = Duration::from_millis(500);

/// Why a session ended; the word is a metric label.
enum End {
    Left,
    /// It took nothing, or was silent.
    Slow,
    Refused(Box<Problem>),
    /// The stream is there no more.
    StreamEnded,
    /// It may see the stream no more.
    Expired,
    /// Who runs the gateway sent it away.
    Ended,
    /// We are stopping.
    Stopping,
}

impl End {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Slow => "slow",
            Self::Refused(_) => "refused",
            Self::StreamEnded => "stream_ended",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Stopping => "stopping",
        }
    }
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Problem::from(fault).into()
    }
}

/// A viewer.
pub(super) struct Session {
    mse: Arc<Mse>,
    stream: Arc<Stream>,
    mux: Arc<Mux>,
    asked: Instant,
    pass: Option<Pass>,
    remote: Option<SocketAddr>,
    /// Whether it has been told `ok` or a fault, for the metric.
    set_up: bool,
    _interest: Interest,
    /// Stopping waits for the goodbye.
    _tracked: TaskTrackerToken,
}

impl Session {
    /// A viewer that asked for `stream` at `asked`.
    pub(super) fn new(
        mse: &Arc<Mse>,
        stream: Arc<Stream>,
        asked: Instant,
        pass: Option<Pass>,
        remote: Option<SocketAddr>,
    ) -> Self {
        Self {
            mux: mse.mux(&stream),
            mse: Arc::clone(mse),
            _interest: stream.watch(),
            _tracked: mse.tasks.token(),
            stream,
            asked,
            pass,
            remote,
            set_up: false,
        }
    }

    /// Serves the viewer to the end.
    pub(super) async fn run(mut self, socket: WebSocket) {
        let sessions = self.mse.sessions.clone();
        let stop = self.mse.stop.clone();
        let mut line = Line::new(socket);
        let pass = self.pass.take();
        let mut attended = sessions.attend(self.stream.name(), pass.as_ref(), self.remote);
        let ended = attended.asked_to_leave();
        let expired = async {
            match &pass {
                Some(pass) => pass.over().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            end = self.serve(&mut line, &mut attended) => end,
            () = expired => End::Expired,
            () = ended.cancelled() => End::Ended,
            () = stop.cancelled() => End::Stopping,
        };
        if !self.set_up {
            let result = match &end {
                End::Refused(problem) => problem.code().as_str(),
                other => other.as_str(),
            };
            sessions.setup(result);
        }
        attended.end_with(end.as_str());
        drop(attended);
        debug!(stream = %self.stream.name(), end = end.as_str(), "MSE viewer left");
        line.close(&end).await;
    }

    async fn serve(&mut self, line: &mut Line, attended: &mut Attended) -> End {
        match self.play(line, attended).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn play(
        &mut self,
        line: &mut Line,
        attended: &mut Attended,
    ) -> Result<std::convert::Infallible, End> {
        let hello = timeout(HELLO_LIMIT, line.hello()).await;
        let able = hello.map_err(|_| bad("it never came"))??;
        // What a camera that is away has left behind is not live.
        let is_live = self.stream.status().state == SourceState::Live;
        let join = if is_live { Join::NewestKey } else { Join::NextKey };
        let mut frames = self.stream.subscribe("mse", join);
        let mut frame = self.first(line, &mut frames).await?;

        // Said to have none, so that no decoder holds pictures back for them.
        let mut b_frames = Expected::new(&self.stream);
        let (mut tracks, mut choice) = self.begin(line, &able, &frame, &b_frames, None).await?;
        attended.shows(choice.codecs(&tracks));
        self.set_up = true;
        self.mse.sessions.setup("ok");
        self.mse.sessions.connected(self.asked.elapsed().as_secs_f64());
        let mut told_time = None::<Instant>;
        for nth in 0_u64.. {
            if b_frames.differ(&frame, !Arc::ptr_eq(&tracks, &frame.tracks)) {
                // Parameters differ from what the viewer's decoder was told.
                (tracks, choice) =
                    self.begin(line, &able, &frame, &b_frames, Some(&choice)).await?;
                attended.shows(choice.codecs(&tracks));
            }
            if choice.sent.contains(&frame.track)
                && let Some(fragment) = self.mux.fragment(&frame)
            {
                attended.sent(fragment.len());
                line.send(Wire::Binary(fragment)).await?;
                attended.gone_out(frame.arrived);
                if nth == 0 {
                    self.mse.sessions.first_frame(self.asked.elapsed().as_secs_f64());
                }
            }
            let often = if frame.kind == FrameKind::Key { TELL_KEY } else { TELL_TIME };
            if told_time.is_none_or(|told| told.elapsed() > often) {
                told_time = Some(Instant::now());
                line.send(Wire::text(time_of(&frame))).await?;
            }
            if frame.arrived.elapsed() > MOST_BEHIND {
                frames.skip_to_newest_key();
            }
            frame = line.next(&mut frames).await?;
        }
        unreachable!("a session does not live for 2^64 frames")
    }

    /// The first frame a decoder can start at.
    async fn first(&self, line: &mut Line, frames: &mut Subscription) -> Result<Arc<Frame>, End> {
        let mut status = self.stream.watch_status();
        let goes_down = status.wait_for(|status| status.state == SourceState::Down);
        tokio::select! {
            frame = timeout(START_LIMIT, line.next(frames)) => frame.unwrap_or_else(|_| {
                let Some(_) = self.stream.tracks() else {
                    return Err(Problem::not_ready(&self.stream).into());
                };
                let detail = format!("none for {} s", START_LIMIT.as_secs());
                Err(Fault::new(Code::SourceNoKeyframe, detail).into())
            }),
            _ = goes_down => Err(Problem::not_ready(&self.stream).into()),
        }
    }

    /// Says what comes, where that is new, and sends its init segment.
    async fn begin(
        &self,
        line: &mut Line,
        able: &Able,
        frame: &Frame,
        b_frames: &Expected,
        before: Option<&Choice>,
    ) -> Result<(Arc<Tracks>, Choice), End> {
        let choice = choose(&b_frames.told(&frame.tracks), able)?;
        if before.is_none_or(|before| before.mime != choice.mime) {
            line.send(Wire::text(choice.message())).await?;
        }
        if before.is_none_or(|before| before.init != choice.init) {
            line.send(Wire::Binary(choice.init.clone())).await?;
        }
        Ok((Arc::clone(&frame.tracks), choice))
    }
}

/// When the camera captured what is shown at a time of the media element: the
/// page tells its viewer from it how far behind the picture is.
fn time_of(frame: &Frame) -> String {
    let wall = frame.wall.unix_nanos() / 1_000_000;
    let key = frame.kind == FrameKind::Key;
    json!({ "type": "time", "media": frame.pts.seconds(), "wall": wall, "key": key }).to_string()
}

/// The socket, and when its viewer was heard last.
struct Line {
    socket: WebSocket,
    heard: Instant,
    messages: u32,
    ping: Interval,
}

impl Line {
    fn new(socket: WebSocket) -> Self {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, heard: Instant::now(), messages: 0, ping }
    }

    /// Waits for what the viewer plays.
    async fn hello(&mut self) -> Result<Able, End> {
        loop {
            let said = self.socket.recv().await;
            if let Some(able) = self.hear(said).await? {
                return Ok(able);
            }
        }
    }

    /// The bus's next frame; meanwhile the viewer is listened to.
    async fn next(&mut self, frames: &mut Subscription) -> Result<Arc<Frame>, End> {
        loop {
            tokio::select! {
                seen = frames.next() => match seen {
                    Some(Seen::Frame(frame)) => return Ok(frame),
                    // The next one is a key frame.
                    Some(Seen::Skipped(_)) => {}
                    None => return Err(End::StreamEnded),
                },
                said = self.socket.recv() => drop(self.hear(said).await?),
                _ = self.ping.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(End::Slow);
                    }
                    self.send(Wire::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    /// Takes a viewer's message: what it plays, if it says that.
    async fn hear(&mut self, said: Option<Result<Wire, axum::Error>>) -> Result<Option<Able>, End> {
        self.heard = Instant::now();
        let text = match said {
            Some(Ok(Wire::Text(text))) => text,
            // Pings are answered, and pongs taken, by the socket.
            Some(Ok(Wire::Ping(_) | Wire::Pong(_))) => return Ok(None),
            Some(Ok(Wire::Binary(_))) => return Err(bad("a message that is no text").into()),
            // A message that is too long ends in an error as well.
            Some(Ok(Wire::Close(_)) | Err(_)) | None => return Err(End::Left),
        };
        self.messages += 1;
        if self.messages > MOST_MESSAGES {
            return Err(bad("too many messages").into());
        }
        let message: Message =
            serde_json::from_str(&text).map_err(|error| bad(&error.to_string()))?;
        if message.kind == "mse" {
            return Ok(Some(Able::read(&message.value)));
        }
        // go2rtc's clients ask for several outputs over one socket.
        self.send(Wire::text(not_here(&message.kind))).await?;
        Ok(None)
    }

    async fn send(&mut self, message: Wire) -> Result<(), End> {
        match timeout(SEND_LIMIT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Left),
            Err(_) => Err(End::Slow),
        }
    }

    /// Says why, and waits a little for the viewer to have read it.
    async fn close(mut self, end: &End) {
        let (code, reason) = match end {
            End::Left => return,
            End::Slow => (close_code::POLICY, Code::ViewerSlow.as_str()),
            End::Refused(problem) => (close_code::POLICY, problem.code().as_str()),
            End::Expired => (close_code::POLICY, Code::ViewerAuth.as_str()),
            End::StreamEnded | End::Ended | End::Stopping => (close_code::AWAY, end.as_str()),
        };
        let farewell = async {
            let problem = match end {
                End::Refused(problem) => Some(refusal(problem)),
                End::Slow => Some(refusal(&Code::ViewerSlow.into())),
                End::Expired => Some(refusal(&Code::ViewerAuth.into())),
                _ => None,
            };
            if let Some(problem) = problem {
                self.socket.send(Wire::text(problem)).await?;
            }
            let frame = CloseFrame { code, reason: reason.into() };
            self.socket.send(Wire::Close(Some(frame))).await?;
            while self.socket.recv().await.is_some_and(|said| said.is_ok()) {}
            Ok::<_, axum::Error>(())
        };
        // Whoever does not listen misses it.
        let _ = timeout(CLOSE_LIMIT, farewell).await;
    }
}

fn bad(what: &str) -> Fault {
    Fault::new(Code::ViewerBadOffer, what)
}
