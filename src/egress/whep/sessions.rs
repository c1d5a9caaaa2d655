//! All WebRTC sessions: the socket they share, the tasks that drive them, and
//! how one comes to be.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::dtls::Identity;
use super::engine::{Peer, Plan, Restart};
use super::fanout::{Command, Fanout, MAX_COMMANDS};
use super::offer::Offer;
use super::socket::Socket;
use super::switchboard::{Session, SessionId, Switchboard};
use super::viewer::Viewer;
use super::{Config, Metrics, candidates};
use crate::auth::Principal;
use crate::bus::Stream;
use crate::fault::{Code, Fault};
use crate::media::StreamName;

/// How long [`Whep::close`] lets viewers be told.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The WebRTC output: one per process. Dropping it ends every session.
pub struct Whep {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    receiver: tokio::task::AbortHandle,
}

/// What requests, the socket's task and the streams' tasks share.
pub(super) struct Shared {
    pub(super) socket: Socket,
    pub(super) metrics: Metrics,
    pub(super) identity: Arc<Identity>,
    board: Mutex<Switchboard>,
    tasks: Mutex<HashMap<StreamName, Task>>,
}

struct Task {
    stream: Arc<Stream>,
    commands: mpsc::Sender<Command>,
}

/// A session that has just begun.
pub(super) struct Begun {
    pub(super) id: SessionId,
    pub(super) etag: String,
    pub(super) answer: String,
}

impl Whep {
    /// Binds the port and begins to listen.
    ///
    /// # Errors
    ///
    /// When the port cannot be bound, or no certificate made.
    pub async fn bind(config: Config, metrics: Metrics) -> io::Result<Arc<Self>> {
        let identity = Identity::generate().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            socket: Socket::bind(config.listen)?,
            metrics,
            identity: Arc::new(identity),
            board: Mutex::default(),
            tasks: Mutex::default(),
        });
        let receiver = tokio::spawn(receive(Arc::clone(&shared))).abort_handle();
        Ok(Arc::new(Self { config, shared, receiver }))
    }

    /// The bound address.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Sessions there are now.
    pub fn sessions(&self) -> usize {
        self.shared.board().len()
    }

    /// Says goodbye to every viewer, and waits until all have gone, but not
    /// long.
    pub async fn close(&self) {
        let tasks: Vec<_> = self.shared.tasks().values().map(|t| t.commands.clone()).collect();
        let all_gone = async {
            for task in tasks {
                let _ = task.send(Command::Close).await;
            }
            while self.sessions() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, all_gone).await;
    }

    /// Makes a session: `plan` says what of the stream goes to which payload
    /// type, `codecs` what these are, video first.
    pub(super) async fn begin(
        &self,
        stream: &Arc<Stream>,
        principal: Principal,
        offer: &Offer,
        plan: &Plan,
        codecs: [Option<&'static str>; 2],
        host: Option<IpAddr>,
    ) -> Result<Begun, Fault> {
        let asked = Instant::now();
        if self.sessions() >= self.config.max_viewers {
            return Err(Code::ViewerLimit.into());
        }
        let internal = |error: io::Error| Fault::new(Code::ViewerIceFailed, error.to_string());
        let addresses = self.addresses(host).await.map_err(internal)?;
        let (peer, answer) = Peer::answer(asked, &self.shared.identity, offer, plan)
            .map_err(|error| Fault::new(Code::ViewerBadOffer, error.to_string()))?;
        let answer = candidates::complete(&answer, &addresses);

        let id = SessionId::random();
        let ufrag = peer.ufrag().to_owned();
        let etag = format!("\"{ufrag}\"");
        let session = |task| Session {
            stream: stream.name().clone(),
            principal,
            remote_ufrag: offer.ufrag.clone(),
            ufrag,
            task,
        };
        let place = |shared: &Arc<Shared>| Place::new(Arc::clone(shared), id);
        let [video, audio] = codecs;
        self.shared.join(stream, id, session, |shared| {
            Viewer::new(asked, peer, place(shared), offer.candidates.len(), codecs)
        })?;
        tracing::info!(stream = %stream.name(), viewer = id.short(), video, audio, "viewer joins");
        Ok(Begun { id, etag, answer })
    }

    /// Where viewers reach us, with the address a request came to.
    pub(super) async fn addresses(&self, host: Option<IpAddr>) -> io::Result<Vec<SocketAddr>> {
        let local = self.local_addr()?;
        Ok(candidates::addresses(local, &self.config.advertise, host).await)
    }

    /// The session, if it is this principal's and of this stream.
    pub(super) fn session(
        &self,
        id: &str,
        stream: &str,
        principal: &Principal,
    ) -> Option<(SessionId, Session)> {
        let id = SessionId::parse(id)?;
        let session = self.shared.board().get(id)?.clone();
        let theirs = session.stream.viewed() == stream && session.principal == *principal;
        theirs.then_some((id, session))
    }
}

impl Drop for Whep {
    fn drop(&mut self) {
        self.receiver.abort();
        for task in self.shared.tasks().values() {
            // A task too busy to hear it ends with its stream.
            let _ = task.commands.try_send(Command::Close);
        }
    }
}

impl Shared {
    /// A panic while a table was locked leaves it whole: every change is one
    /// call on a map.
    fn board(&self) -> MutexGuard<'_, Switchboard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<StreamName, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An ICE restart gives a session other names.
    pub(super) fn rename(&self, id: SessionId, restart: &Restart) {
        self.board().rename(id, &restart.ufrag, &restart.remote_ufrag);
    }

    /// No request or datagram finds the session any more.
    pub(super) fn unlist(&self, id: SessionId) {
        self.board().remove(id);
    }

    /// Hands a viewer to its stream's task, starting that if there is none.
    fn join(
        self: &Arc<Self>,
        stream: &Arc<Stream>,
        id: SessionId,
        session: impl FnOnce(mpsc::Sender<Command>) -> Session,
        viewer: impl FnOnce(&Arc<Self>) -> Viewer,
    ) -> Result<(), Fault> {
        // Held until the command is in the channel: `retire` cannot come
        // between finding the task and joining it.
        let mut tasks = self.tasks();
        let usable = |task: &Task| Arc::ptr_eq(&task.stream, stream) && !task.commands.is_closed();
        let commands = match tasks.get(stream.name()).filter(|task| usable(task)) {
            Some(task) => task.commands.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(MAX_COMMANDS);
                let task = Fanout::new(Arc::clone(stream), Arc::clone(self), receiver);
                tokio::spawn(task.run());
                let task = Task { stream: Arc::clone(stream), commands: sender.clone() };
                tasks.insert(stream.name().clone(), task);
                sender
            }
        };
        let slot = commands.try_reserve().map_err(|_| Fault::from(Code::ViewerLimit))?;
        self.board().add(id, session(commands.clone()));
        slot.send(Command::Join(id, Box::new(viewer(self))));
        Ok(())
    }

    /// Ends the calling task's duty, unless somebody is about to join it.
    pub(super) fn retire(&self, stream: &Arc<Stream>, commands: &mpsc::Receiver<Command>) -> bool {
        let mut tasks = self.tasks();
        if !commands.is_empty() {
            return false;
        }
        Self::remove(&mut tasks, stream);
        true
    }

    /// The stream has ended; whoever is about to join goes with it.
    pub(super) fn forget(&self, stream: &Arc<Stream>) {
        Self::remove(&mut self.tasks(), stream);
    }

    fn remove(tasks: &mut HashMap<StreamName, Task>, stream: &Arc<Stream>) {
        if tasks.get(stream.name()).is_some_and(|task| Arc::ptr_eq(&task.stream, stream)) {
            tasks.remove(stream.name());
        }
    }
}

/// The socket's task: finds each datagram's viewer.
async fn receive(shared: Arc<Shared>) {
    let mut inbox = shared.socket.inbox();
    loop {
        let received = shared.socket.receive(&mut inbox, |arrival| {
            let board = shared.board();
            let sent = board.find(arrival).and_then(|(viewer, task)| {
                let (from, to, data) = (arrival.from, arrival.to, BytesMut::from(arrival.data));
                task.try_send(Command::Datagram { viewer, from, to, data }).map_err(|_| "overload")
            });
            if let Err(reason) = sent {
                shared.metrics.discarded(reason, 1);
            }
        });
        if let Err(error) = received.await {
            // A viewer's port that is closed, for one; never a reason to stop.
            tracing::debug!(%error, "receiving on the WebRTC port");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A viewer's place in the tables and gauges, given back when it is dropped,
/// whatever the reason.
pub(super) struct Place {
    shared: Arc<Shared>,
    id: SessionId,
    state: &'static str,
}

impl Place {
    pub(super) fn new(shared: Arc<Shared>, id: SessionId) -> Self {
        shared.metrics.sessions.add("connecting", 1);
        Self { shared, id, state: "connecting" }
    }

    /// The viewer has proven to be at `address`.
    pub(super) fn bind(&self, address: SocketAddr) {
        self.shared.board().bind(address, self.id);
    }

    pub(super) fn connected(&mut self, after: Duration) {
        let sessions = &self.shared.metrics.sessions;
        sessions.add(self.state, -1);
        self.state = "connected";
        sessions.add(self.state, 1);
        sessions.setup("ok");
        sessions.connected(after.as_secs_f64());
    }

    pub(super) fn first_frame(&self, after: Duration) {
        self.shared.metrics.sessions.first_frame(after.as_secs_f64());
    }

    /// What a receiver report said.
    pub(super) fn reception(&self, loss: f64, round_trip: Option<Duration>) {
        self.shared.metrics.reception(loss, round_trip);
    }

    pub(super) fn feedback(&self, kind: &'static str) {
        self.shared.metrics.feedback(kind);
    }

    /// Packets were thrown away since the viewer could not be sent them in time.
    pub(super) fn fell_behind(&self, packets: u64) {
        self.shared.metrics.discarded("viewer_behind", packets);
    }

    pub(super) fn ended(&self, end: &'static str, after: Duration) {
        if self.state == "connecting" && end == "ice_failed" {
            self.shared.metrics.sessions.setup(Code::ViewerIceFailed.as_str());
        }
        self.shared.metrics.sessions.ended(end, after.as_secs_f64());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.sessions.add(self.state, -1);
        self.shared.board().remove(self.id);
    }
}
