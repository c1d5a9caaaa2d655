//! All WebRTC sessions: the socket they share, the tasks that drive them, and
//! how one comes to be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::Command;
use super::dtls::Identity;
use super::engine::{Peer, Plan};
use super::fanout::Fanout;
use super::names::Names;
use super::offer::Offer;
use super::place::Place;
use super::shared::Shared;
use super::socket::Socket;
use super::switchboard::{Session, SessionId, TaskId};
use super::tasks::Tasks;
use super::tcp::Listener;
use super::viewer::Viewer;
use super::{Config, Metrics, candidates, reader};
use crate::auth::Principal;
use crate::bus::Stream;
use crate::fault::{Code, Fault};
use crate::http::{SessionLine, SessionStart};
use crate::media::StreamName;
use crate::threads::Threads;

/// How long [`Whep::close`] lets viewers be told.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The media thread that reads the socket.
pub(super) const READER: usize = 0;

/// The WebRTC output: one per process. Dropping it ends every session.
pub struct Whep {
    pub(super) config: Config,
    names: Arc<Names>,
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: Arc<Tasks>,
    threads: Threads,
    receivers: [tokio::task::AbortHandle; 2],
}

/// Port numbers tried where any will do.
const BIND_ATTEMPTS: u32 = 20;

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
    /// When the port cannot be bound, for UDP or for TCP, or no certificate
    /// made.
    pub async fn bind(config: Config, metrics: Metrics) -> io::Result<Arc<Self>> {
        let identity = Identity::generate().map_err(io::Error::other)?;
        let threads = Threads::start("media", Threads::cores())?;
        let (socket, listener) = {
            // Who binds them reads them.
            let _here = threads.get(READER).enter();
            bind(config.listen)?
        };
        candidates::warn_if_hidden(socket.local_addr()?, &config.advertise);
        let names = Arc::new(Names::new(&config.advertise));
        let (early, port) = (Arc::clone(&names), socket.local_addr()?.port());
        // The first viewer need not wait, and a wrong name is told of at once.
        tokio::spawn(async move { early.addresses(Instant::now(), port).await });
        let shared = Arc::new(Shared::new(socket, metrics, identity));
        let tasks = Arc::new(Tasks::new(threads.len()));
        let run = listener.run(Arc::clone(&shared), Arc::clone(&tasks));
        let receivers = [
            threads
                .get(READER)
                .spawn(reader::run(Arc::clone(&shared), Arc::clone(&tasks)))
                .abort_handle(),
            threads.get(READER).spawn(run).abort_handle(),
        ];
        Ok(Arc::new(Self { config, names, shared, tasks, threads, receivers }))
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

    /// Runtimes of its threads.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = tokio::runtime::Handle> {
        self.threads.all()
    }

    /// Tasks there are now; two where nobody watches.
    pub fn tasks(&self) -> usize {
        self.threads.tasks()
    }

    /// Says goodbye to every viewer, and waits until all have gone, but not
    /// long.
    pub async fn close(&self) {
        let all_gone = async {
            for task in self.tasks.all() {
                self.tasks.tell(task, Command::Close).await;
            }
            while self.sessions() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, all_gone).await;
    }

    /// Sends away who may not stay; `may_stay` is asked about each session's
    /// principal and stream.
    pub async fn expel(&self, may_stay: impl Fn(&Principal, &StreamName) -> bool + Send) {
        let leaving = self.shared.board().unlike(may_stay);
        for (id, task) in leaving {
            self.tasks.tell(task, Command::Leave(id, "expired")).await;
        }
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
        self.shared.hurry();
        let internal = |error: io::Error| Fault::new(Code::ViewerIceFailed, error.to_string());
        let addresses = self.addresses(host).await.map_err(internal)?;
        let (peer, answer) = Peer::answer(asked, &self.shared.identity, offer, plan)
            .map_err(|error| Fault::new(Code::ViewerBadOffer, error.to_string()))?;
        let answer = candidates::complete(&answer, &addresses);

        let id = SessionId::random();
        let ufrag = peer.ufrag().to_owned();
        let etag = format!("\"{ufrag}\"");
        let start = |thread, duty| {
            let fanout = Fanout::new(duty, Arc::clone(&self.shared), Arc::clone(&self.tasks));
            self.threads.get(thread).spawn(fanout.run());
        };
        let joined = self.tasks.join(stream, start, |task, crowd| {
            let line = self.list(id, stream.name(), &principal, task);
            let session = Session {
                stream: stream.name().clone(),
                principal,
                remote_ufrag: offer.ufrag.clone(),
                ufrag,
                task,
                heard: false,
            };
            self.shared.board().add(asked, id, session);
            let shared = Arc::clone(&self.shared);
            let place = Place::new(shared, id, stream.name().clone(), crowd, addresses, line);
            let candidates = offer.candidates.len();
            let viewer = Viewer::new(asked, peer, place, candidates, codecs, plan.adapts);
            Command::Join(id, Box::new(viewer))
        });
        joined?;
        self.make_room(asked);
        let [video, audio] = codecs;
        tracing::info!(stream = %stream.name(), viewer = id.short(), video, audio, "viewer joins");
        Ok(Begun { id, etag, answer })
    }

    /// Sends away who has waited longest for a viewer that never came, where too
    /// many wait.
    fn make_room(&self, now: Instant) {
        loop {
            let Some((id, task)) = self.shared.board().crowded_out(now) else { return };
            // One too busy to hear it ends the session in its own time.
            let _ = self.tasks.try_tell(task, Command::Leave(id, "crowded_out"));
        }
    }

    /// Shows the session to whoever runs the gateway, and lets them end it.
    fn list(
        &self,
        id: SessionId,
        stream: &StreamName,
        principal: &Principal,
        task: TaskId,
    ) -> SessionLine {
        let tasks = Arc::clone(&self.tasks);
        let end = move || tasks.try_tell(task, Command::Leave(id, "ended")).is_ok();
        let principal = principal.clone();
        let start = SessionStart { id: id.short(), stream: stream.main(), principal };
        self.shared.metrics.sessions.list(start, end)
    }

    /// Where viewers reach us, with the address a request came to.
    pub(super) async fn addresses(&self, host: Option<IpAddr>) -> io::Result<Vec<SocketAddr>> {
        let local = self.local_addr()?;
        let advertised = self.names.addresses(Instant::now(), local.port()).await;
        Ok(candidates::addresses(local, advertised, host))
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
        self.receivers.iter().for_each(tokio::task::AbortHandle::abort);
        for task in self.tasks.all() {
            // One too busy to hear it ends with its thread.
            let _ = self.tasks.try_tell(task, Command::Close);
        }
    }
}

/// One port number, for UDP and TCP.
fn bind(address: SocketAddr) -> io::Result<(Socket, Listener)> {
    let of = |protocol: &'static str| {
        move |error: io::Error| io::Error::new(error.kind(), format!("{protocol}: {error}"))
    };
    let mut attempts = 1..=BIND_ATTEMPTS;
    loop {
        let socket = Socket::bind(address).map_err(of("UDP"))?;
        match Listener::bind(socket.local_addr()?) {
            Ok(listener) => return Ok((socket, listener)),
            // The number was the system's choice, and it did not ask TCP.
            Err(_) if address.port() == 0 && attempts.next().is_some() => {}
            Err(error) => return Err(of("TCP")(error)),
        }
    }
}
