//! Requests and connections, counted.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Why a connection is refused.
const REASONS: [&str; 5] =
    ["connections", "connections_per_address", "idle", "offers", "tls_handshake"];

/// Metric families of this room.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    connections: IntGaugeVec,
    rejected: IntCounterVec,
}

impl HttpMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("porthole_http_requests_total", "Requests answered"),
            &["route", "method", "class"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "porthole_http_request_duration_seconds",
                "Time from a request's headers to its response's; blocking reloads wait on purpose",
            )
            .buckets(vec![0.005, 0.025, 0.1, 0.5, 5.0]),
            &["route"],
        )?;
        let connections = IntGaugeVec::new(
            Opts::new("porthole_http_connections", "Connections open"),
            &["listener"],
        )?;
        let rejected = IntCounterVec::new(
            Opts::new("porthole_http_rejected_total", "Connections refused, by reason"),
            &["reason"],
        )?;
        // There from the start: a rate sees no first event of a series that
        // begins with it.
        for reason in REASONS {
            rejected.with_label_values(&[reason]);
        }
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(rejected.clone()))?;
        Ok(Self { requests, duration, connections, rejected })
    }

    pub(super) fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Counts an answer to a request that came at `started`.
    pub(super) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        started: Instant,
    ) {
        let method = method_label(method, status);
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[route, method, class]).inc();
        self.duration.with_label_values(&[route]).observe(started.elapsed().as_secs_f64());
    }

    /// Answers counted so far.
    #[cfg(test)]
    pub(super) fn answers(&self, route: &str, method: &str, class: &str) -> u64 {
        self.requests.with_label_values(&[route, method, class]).get()
    }

    /// Connections open to `listener`.
    pub fn open(&self, listener: &'static str) -> usize {
        let open = self.connections.with_label_values(&[listener]).get();
        usize::try_from(open).unwrap_or_default()
    }

    /// Counts a connection as open until the guard is dropped.
    pub(super) fn connection(&self, listener: &'static str) -> OpenConnection {
        let gauge = self.connections.with_label_values(&[listener]);
        gauge.inc();
        OpenConnection(gauge)
    }
}

pub(super) struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts each request under its route's pattern, never under its path, so that
/// invented names create no series.
pub(super) async fn count_requests<F: Future<Output = Response>>(
    metrics: &HttpMetrics,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, started) = (request.method().clone(), Instant::now());
    let response = next(request).await;
    let route = route.as_ref().map_or("unmatched", |route| route_label(route.as_str()));
    metrics.answered(route, &method, response.status(), started);
    response
}

/// The pattern of a route; one word for all files of the pages, each of which
/// has a route of its own.
fn route_label(pattern: &str) -> &str {
    let name = pattern.strip_prefix('/').unwrap_or_default();
    if name.contains('.') && !name.contains(['/', '{']) { "static" } else { pattern }
}

/// A route's own methods only: every other one that somebody tries on it is
/// the same, or trying them all would multiply the series.
fn method_label(method: &Method, status: StatusCode) -> &'static str {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return "other";
    }
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
