//! One camera's whole life: connect, play, watch, back off, stop.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, info_span, warn};

use super::backoff::Backoff;
use super::end::End;
use super::mask::masked;
use super::metrics::{IngestMetrics, StreamMeters};
use super::route::Route;
use super::rtsp::Trust;
use super::session::{self, Terms};
use super::source::Source;
use super::watchdog::SOUND_REDIAL_EVERY;
use crate::bus::{Note, Publisher, SourceState};
use crate::fault::{Code, Fault};
use crate::timeline::Timeline;

/// How long a camera on demand stays after its last viewer, so that a page
/// reload does not cost a reconnect.
const HOLD_OFF: Duration = Duration::from_secs(10);
/// Live for this long, a camera has come back; less is still trouble.
const STEADY: Duration = Duration::from_secs(10);

/// So often in a row may a camera that has never accepted the login hang up on
/// it. Some do so instead of answering 401, and lock the account after five.
/// One that did accept it, and hangs up now, is booting or busy.
const MAX_LOGIN_HANG_UPS: u32 = 3;

/// Starts the supervisor of one camera. It ends, with the camera torn down,
/// soon after `stop` is cancelled.
pub fn supervise(
    source: Source,
    publisher: Publisher,
    metrics: &IngestMetrics,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let name = publisher.stream().name().clone();
    let span = info_span!("source", stream = %name);
    if source.is_tls() && source.tls == Trust::Anybody {
        warn!(
            parent: &span,
            "`tls: verify: false`: anybody between here and the camera can read and change this \
             stream and learn its password; pin the camera's certificate with `tls: fingerprint`"
        );
    }
    let supervisor = Supervisor {
        meters: metrics.stream(&name),
        interest: publisher.stream().watch_interest(),
        route: Route::new(source.transport),
        sound_redial_from: None,
        login_proven: false,
        login_hang_ups: 0,
        source,
        publisher,
        timeline: Timeline::new(),
        farewells: TaskTracker::new(),
        backoff: Backoff::default(),
        logged: None,
        stop,
    };
    tokio::spawn(supervisor.run().instrument(span))
}

struct Supervisor {
    source: Source,
    publisher: Publisher,
    timeline: Timeline,
    meters: StreamMeters,
    interest: watch::Receiver<usize>,
    /// Sessions whose TEARDOWN is still under way.
    farewells: TaskTracker,
    backoff: Backoff,
    /// What was learned of TCP and UDP.
    route: Route,
    /// When sound that stops may cost a session again.
    sound_redial_from: Option<Instant>,
    /// Whether the camera has played for this login.
    login_proven: bool,
    /// How often in a row it hung up on it.
    login_hang_ups: u32,
    /// The fault last logged: once per change, not once per attempt.
    logged: Option<Code>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            if !self.wanted() {
                self.idle().await;
                continue;
            }
            // The camera's slot is free again before it is asked for a new one.
            self.torn_down().await;
            let outcome = self.attempt().await;
            match outcome {
                Some(fault) => self.back_off(fault).await,
                None => self.backoff.reset(),
            }
        }
        self.torn_down().await;
        self.publisher.set_status(|status| status.state = SourceState::Idle);
    }

    /// Waits until the camera has confirmed TEARDOWN, or had its 2 s for it.
    async fn torn_down(&self) {
        self.farewells.close();
        self.farewells.wait().await;
        self.farewells.reopen();
    }

    /// One session, from connecting to its end. `None`: it ended because
    /// nobody wants it any more.
    async fn attempt(&mut self) -> Option<Fault> {
        self.enter(SourceState::Connecting);
        let begun = Instant::now();
        let mut interest = self.interest.clone();
        let mut live_since = None;
        let on_demand = self.source.on_demand;
        let stop = self.stop.clone();
        let mut source = self.source.clone();
        source.transport = self.route.next(Instant::now());
        let terms = Terms {
            may_leave_udp: self.route.may_leave_udp(),
            is_second_choice: self.route.remark().is_some(),
            sound_redial_from: self.sound_redial_from,
        };
        let remark = self.route.remark().map(Note);

        let on_live = |publisher: &Publisher, meters: &StreamMeters, mut notes: Vec<Note>| {
            live_since = Some(Instant::now());
            notes.extend(remark);
            meters.up.set(1);
            meters.connected("ok", begun.elapsed());
            publisher.set_status(|status| {
                let now = SystemTime::now();
                (status.state, status.since, status.notes) = (SourceState::Live, now, notes);
                (status.fault, status.attempts, status.next_retry) = (None, 0, None);
            });
            info!("live");
        };
        // In a place of its own: it is large, and while a camera is idle or away
        // there is none.
        let session = Box::pin(session::run(
            &source,
            terms,
            &mut self.publisher,
            &mut self.timeline,
            &self.meters,
            &self.farewells,
            on_live,
        ));
        // A panic in a parser costs this camera one session, nobody else anything.
        let session = AssertUnwindSafe(session).catch_unwind();
        let end = tokio::select! {
            ended = session => Some(ended.unwrap_or_else(|_| {
                self.meters.panics.inc();
                let detail = "reading the camera's stream failed inside the gateway";
                Fault::new(Code::SourceProtocol, detail).into()
            })),
            () = unwanted(&mut interest), if on_demand => None,
            () = stop.cancelled() => None,
        };
        self.meters.up.set(0);
        let now = Instant::now();
        if let Some(since) = live_since {
            self.route.worked();
            (self.login_proven, self.login_hang_ups) = (true, 0);
            // It was connected, and counted as such. A camera that sends a
            // picture and hangs up is one that fails.
            if now.duration_since(since) >= STEADY {
                self.backoff.reset();
                self.logged = None;
            } else {
                self.backoff.showed();
            }
        }
        let fault = match end? {
            End::LoginHungUp(fault, times) => self.login_hung_up(fault, times),
            End::Fault(fault) => fault,
            End::UdpFailed(fault) => {
                self.route.udp_failed(&fault);
                fault
            }
            End::TransportRefused(fault) => {
                self.route.refused(now);
                fault
            }
            End::SoundStopped(fault) => {
                self.sound_redial_from = Some(now + SOUND_REDIAL_EVERY);
                fault
            }
        };
        if live_since.is_none() {
            self.meters.connected(fault.code.as_str(), begun.elapsed());
        }
        Some(Fault { detail: masked(&self.source, &fault.detail), ..fault })
    }

    /// Whether that may still be chance, or is the camera's way to refuse.
    fn login_hung_up(&mut self, fault: Fault, times: u32) -> Fault {
        self.login_hang_ups += times;
        if self.login_proven || self.login_hang_ups < MAX_LOGIN_HANG_UPS {
            return fault;
        }
        let detail = "it hangs up on each login instead of answering; the password is wrong, the \
                      account is locked, or the camera takes no more viewers";
        Fault::new(Code::SourceAuth, detail)
    }

    async fn back_off(&mut self, fault: Fault) {
        let wait = self.backoff.failed(fault.code, rand::random());
        let attempts = self.backoff.attempts();
        if self.logged != Some(fault.code) {
            self.logged = Some(fault.code);
            warn!(
                code = %fault.code, detail = fault.detail, source = %self.source,
                retry_s = wait.as_secs_f32(), "{} {}", fault.code.sentence(), fault.code.hint()
            );
        }
        self.publisher.set_status(|status| {
            let now = SystemTime::now();
            if status.state != SourceState::Down {
                (status.state, status.since) = (SourceState::Down, now);
            }
            status.notes.clear();
            (status.fault, status.attempts) = (Some(fault), attempts);
            status.next_retry = Some(now + wait);
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn wanted(&self) -> bool {
        !self.source.on_demand || *self.interest.borrow() > 0
    }

    async fn idle(&mut self) {
        self.enter(SourceState::Idle);
        self.publisher.forget();
        tokio::select! {
            _ = self.interest.wait_for(|viewers| *viewers > 0) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// A state in which nothing has failed (yet): an old fault stays visible
    /// while the next attempt runs.
    fn enter(&self, state: SourceState) {
        self.publisher.set_status(|status| {
            // `since` counts from when it went down, not from the latest attempt.
            if status.fault.is_none() || state == SourceState::Idle {
                (status.state, status.since) = (state, SystemTime::now());
            }
            if state == SourceState::Idle {
                (status.fault, status.attempts) = (None, 0);
            }
            status.next_retry = None;
        });
    }
}

/// Returns once nobody has watched for the hold-off time.
async fn unwanted(interest: &mut watch::Receiver<usize>) {
    loop {
        if interest.wait_for(|viewers| *viewers == 0).await.is_err() {
            return;
        }
        let back = tokio::time::timeout(HOLD_OFF, interest.wait_for(|viewers| *viewers > 0)).await;
        if back.is_err() {
            return;
        }
    }
}
