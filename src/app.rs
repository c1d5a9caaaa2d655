//! The only room that knows all rooms: start, wire, drain.
//!
//! Not here: what any room does. A line that is not wiring has lost its way.

mod admin;
mod expiry;
mod reload;
mod streams;
mod tls;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::http::StatusCode;
use axum::{Router, response::IntoResponse};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api::{self, Readiness};
use crate::auth::{Access, AuthMetrics};
use crate::bus::{self, BusMetrics, StreamsCollector};
use crate::config::{Config, Layers};
use crate::egress::hls::{self, Hls};
use crate::egress::mjpeg::{self, Pictures};
use crate::egress::mse::{self, Mse};
use crate::egress::rtsp;
use crate::egress::whep::{self, Whep};
use crate::fault::Code;
use crate::http::{self, Front, Gate, HttpMetrics, Listener, Problem};
use crate::ingest::{IngestMetrics, Pullers};
use crate::metrics::{self, ConfigMetrics};
use crate::traces::Traces;
use crate::{go2rtc, memory, pages};

use self::reload::Live;
use self::streams::Streams;

pub use self::streams::Changes;

/// How long stopping may take in all: cameras confirm TEARDOWN within 2 s,
/// requests under way end within 5.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running gateway.
pub struct App {
    viewer: SocketAddr,
    /// `http` or `https`.
    scheme: &'static str,
    admin: SocketAddr,
    readiness: Arc<Readiness>,
    /// Nobody new is let in.
    draining: Arc<AtomicBool>,
    /// Ends cameras, outputs and listeners.
    stop: CancellationToken,
    tasks: TaskTracker,
    whep: Arc<Whep>,
    live: Arc<Live>,
    hls: Arc<Hls>,
}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every camera was torn down, every task ended.
    Clean,
    /// A second signal, or the time limit, cut it short.
    Forced,
}

/// Names the port that could not be had, and the key that chooses another.
fn taken(key: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |error| {
        let text = format!("cannot listen on {address} ({key}): {error}");
        StartError::Listen(io::Error::new(error.kind(), text))
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Mostly a port that is taken.
    #[error("{0}")]
    Listen(#[from] io::Error),
    /// Two families of one name: a fault of ours.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Binds every port, then starts cameras and outputs.
    ///
    /// # Errors
    ///
    /// A port that cannot be bound; nothing has been started then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let viewer = Listener::bind("viewer", "listen", config.listen)?;
        let tls = match &config.tls {
            Some(files) => Some(http::Tls::load(files).map_err(io::Error::from)?),
            None => None,
        };
        let secure = tls.is_some();
        let viewer = viewer.with_caps(config.caps.clone()).with_tls(tls.clone());
        let admin = Listener::bind("admin", "admin.listen", config.admin_listen)?;
        let rtsp_listener = match config.rtsp.listen {
            Some(address) => Some(http::listen(address).map_err(taken("rtsp.listen", address))?),
            None => None,
        };

        let families = metrics::registry()?;
        let config_metrics = ConfigMetrics::register(&families)?;
        config_metrics.started(SystemTime::now());
        let bus_metrics = BusMetrics::register(&families)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let traces = config.traces.as_ref().map_or_else(Traces::default, |endpoint| {
            let (traces, exporter) = Traces::to(endpoint);
            tasks.spawn(exporter.run(stop.clone()));
            traces
        });
        let ingest_metrics = IngestMetrics::register(&families)?.traced(traces.clone());
        let http_metrics = HttpMetrics::register(&families)?;
        let sessions = http::SessionMetrics::register(&families)?;
        let sessions_table = sessions.table();

        let registry = Arc::new(bus::Registry::new());
        families.register(Box::new(StreamsCollector::new(Arc::clone(&registry))?))?;
        let access = Access::new(config.access.clone(), AuthMetrics::register(&families)?);
        let policy = Arc::new(ArcSwap::from_pointee(config.policy.clone()));
        let whep_metrics =
            whep::Metrics::register(&families, &sessions)?.counting_panics(ingest_metrics.panics());
        let whep_metrics = whep_metrics.traced(traces);
        let webrtc = config.webrtc.listen;
        let viewers = config.viewers;
        let whep_config = whep::Config { max_viewers: viewers, ..config.webrtc.clone() };
        let bound = Whep::bind(whep_config, whep_metrics).await;
        let whep = bound.map_err(taken("webrtc.listen", webrtc))?;
        let hls = Hls::new(config.hls.clone(), hls::Metrics::register(&families, &sessions)?)?;
        families.register(Box::new(hls.collector()?))?;
        let picture_metrics =
            mjpeg::Metrics::register(&families)?.counting_panics(ingest_metrics.panics());
        let pictures = Pictures::new(picture_metrics);
        families.register(Box::new(pictures.collector()?))?;
        let draining = Arc::new(AtomicBool::new(false));
        if let Some((tls, files)) = tls.zip(config.tls.clone()) {
            tasks.spawn(tls::keep_fresh(tls, files, stop.clone()));
        }

        let pullers = Arc::new(Pullers::start()?);
        let (open, table) = (http_metrics.clone(), sessions.table());
        let people = move || table.count() + open.open("viewer");
        let runtimes = whep.runtimes().chain(pullers.runtimes()).chain([Handle::current()]);
        tasks.spawn(memory::give_back(people, runtimes.collect(), stop.clone()));

        let embed = config.embed.clone();
        let streams = Streams {
            registry: registry.clone(),
            hls: hls.clone(),
            pictures: pictures.clone(),
            bus: bus_metrics,
            pullers,
            ingest: ingest_metrics,
            sessions: sessions.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
            table: Mutex::default(),
        };
        streams.apply(config.streams.clone());
        let live = Arc::new(Live {
            streams,
            access: access.clone(),
            policy: policy.clone(),
            metrics: config_metrics,
            config: Mutex::new(config),
            layers: OnceLock::new(),
            turn: tokio::sync::Mutex::default(),
            by_api: AtomicBool::new(false),
        });
        tasks.spawn(expiry::keep(whep.clone(), access.clone(), stop.clone()));
        if let Some(listener) = rtsp_listener {
            let (registry, access) = (registry.clone(), access.clone());
            let sessions = sessions.of("rtsp");
            let deps = rtsp::Deps { registry, access, sessions, draining: draining.clone() };
            tasks.spawn(rtsp::serve(listener, deps, stop.clone().cancelled_owned()));
        }

        let readiness = Arc::new(Readiness::default());
        let app = Self {
            viewer: viewer.address()?,
            scheme: if secure { "https" } else { "http" },
            admin: admin.address()?,
            readiness: Arc::clone(&readiness),
            draining: draining.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
            whep: whep.clone(),
            live: live.clone(),
            hls: hls.clone(),
        };
        let gate = Gate {
            access: access.clone(),
            registry: registry.clone(),
            policy: policy.clone(),
            metrics: http_metrics.clone(),
            loopback: viewer.address()?.ip().is_loopback(),
            draining,
        };
        let admin_gate = Gate { loopback: admin.address()?.ip().is_loopback(), ..gate.clone() };
        let hls =
            Arc::new(hls::Deps { registry: registry.clone(), hls, sessions: sessions.clone() });
        let viewers = Router::new()
            .merge(api::viewer_routes(api::Deps { registry: registry.clone(), access }))
            .merge(whep::routes(whep::Deps { registry: registry.clone(), whep }))
            .merge(mse::routes(mse::Deps {
                registry: registry.clone(),
                mse: Mse::new(&sessions, viewers, stop.clone(), tasks.clone()),
            }))
            .merge(mjpeg::routes(mjpeg::Deps {
                registry: registry.clone(),
                pictures,
                rows: Arc::new(Semaphore::new(viewers)),
                sessions: sessions.clone(),
            }))
            .merge(hls::routes(Arc::clone(&hls)))
            .merge(pages::routes(registry.clone(), &embed));
        let viewers = viewers
            .clone()
            .merge(go2rtc::routes(&viewers))
            .fallback(async || Problem::from(Code::StreamUnknown).into_response())
            .method_not_allowed_fallback(http::other_method);
        let admins = api::admin_routes(readiness, families, registry, live, sessions_table)
            .fallback(async || http::request_problem(StatusCode::NOT_FOUND, "nothing is here"))
            .method_not_allowed_fallback(http::other_method);
        let viewers = Front::of_viewers(gate).before_both(viewers, hls::shortcut(&hls));
        let admins = Front::of_admins(admin_gate).before(admins);
        tasks.spawn(http::serve(viewer, viewers, http_metrics.clone(), stop.clone()));
        tasks.spawn(http::serve(admin, admins, http_metrics, stop));
        app.readiness.ready();
        Ok(app)
    }

    /// Where pages and media are; the port is real even where 0 was configured.
    pub fn viewer_address(&self) -> SocketAddr {
        self.viewer
    }

    /// The address of the pages, for people; seen from this machine.
    pub fn pages(&self) -> String {
        format!("{}://{}/", self.scheme, self.viewer)
    }

    /// Addresses that guessed passwords are heard again.
    pub fn forgive(&self) {
        self.live.access.forgive();
    }

    /// Another configuration from now on: streams that it has as they were lose
    /// no frame, sessions that it would not let in end. Listeners, and what is
    /// named in the log, stay as they are until a restart.
    pub fn apply(&self, config: Config) -> Changes {
        self.live.apply(config)
    }

    /// Applies what `layers` become, whenever their files change from now on, and
    /// on SIGHUP; the API may change the file.
    pub async fn follow(&self, layers: Layers) {
        let watch = self.live.watch(&layers).await;
        // Given once: this program follows one set of files.
        let _known = self.live.layers.set(layers.clone());
        self.tasks.spawn(Arc::clone(&self.live).follow(layers, watch, self.stop.clone()));
    }

    /// How long viewers go on after SIGTERM.
    fn grace(&self) -> Duration {
        self.live.config.lock().unwrap_or_else(PoisonError::into_inner).drain
    }

    /// Where metrics and health are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Runs until SIGTERM or SIGINT, then stops: after SIGTERM, which comes from
    /// whatever will send viewers elsewhere, not before these had their time.
    pub async fn run_until_signal(self) -> Exit {
        let mut signals = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                warn!(%error, "cannot listen for signals");
                return self.stop().await;
            }
        };
        let mut signalled = async || {
            tokio::select! {
                _ = signals.0.recv() => "SIGTERM",
                _ = signals.1.recv() => "SIGINT",
            }
        };
        let first = signalled().await;
        let grace = self.grace();
        if first == "SIGTERM" && !grace.is_zero() {
            self.drain();
            info!("{first}: nobody new is let in, stopping in {grace:?}");
            tokio::select! {
                () = tokio::time::sleep(grace) => {}
                // Somebody is in a hurry.
                _ = signalled() => {}
            }
        }
        info!("{first}: stopping");
        tokio::select! {
            exit = self.stop() => exit,
            second = signalled() => {
                warn!("{second}: stopping at once");
                Exit::Forced
            }
        }
    }

    /// Not ready any more: who watches goes on, nobody new begins.
    pub fn drain(&self) {
        self.readiness.stopping();
        self.draining.store(true, Ordering::Release);
    }

    /// Not ready any more, cameras torn down, requests under way finished.
    pub async fn stop(self) -> Exit {
        self.drain();
        self.whep.close().await;
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(STOP_LIMIT, self.tasks.wait()).await;
        self.hls.close();
        match ended {
            Ok(()) => Exit::Clean,
            Err(_) => {
                warn!("some tasks did not end in time");
                Exit::Forced
            }
        }
    }
}
