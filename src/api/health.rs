//! `/livez`, `/readyz`, `/startupz` and `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::TextEncoder;

use crate::bus::Registry;

/// Whether new viewers are welcome.
///
/// Cameras do not count: a gateway whose cameras are all off still has to
/// tell people why, and taking it out of service would hide that.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Readiness {
    /// Every listener is up.
    pub fn ready(&self) {
        // Stopping is final.
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Shutdown has begun.
    pub fn stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    fn state(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Health {
    readiness: Arc<Readiness>,
    metrics: prometheus::Registry,
    streams: Arc<Registry>,
}

pub(super) fn routes(
    readiness: Arc<Readiness>,
    metrics: prometheus::Registry,
    streams: Arc<Registry>,
) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(text))
        .with_state(Health { readiness, metrics, streams })
}

impl Health {
    /// Whether there is a stream of that name: `yard`, or `yard/sub`.
    fn has_stream(&self, label: &str) -> bool {
        let (name, sub) = label.split_once('/').map_or((label, false), |(name, _)| (name, true));
        let stream = self.streams.get(name);
        stream.is_some_and(|stream| !sub || stream.substream().is_some())
    }
}

async fn readyz(State(health): State<Health>) -> Response {
    match health.readiness.state() {
        READY => "ok\n".into_response(),
        STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn startupz(State(health): State<Health>) -> Response {
    match health.readiness.state() {
        STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        _ => "ok\n".into_response(),
    }
}

/// The Prometheus text format, 0.0.4. What was counted of a stream that is no
/// more goes with it.
async fn text(State(health): State<Health>) -> Response {
    let mut families = health.metrics.gather();
    for family in &mut families {
        let mut metrics = family.take_metric();
        metrics.retain(|metric| {
            let mut labels = metric.get_label().iter().filter(|label| label.name() == "stream");
            labels.all(|label| health.has_stream(label.value()))
        });
        family.set_metric(metrics);
    }
    families.retain(|family| !family.get_metric().is_empty());
    match TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
