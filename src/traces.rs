//! Traces for an OpenTelemetry collector: one per WebRTC session from POST to
//! first frame, one per connect to a camera.
//!
//! A leaf room. A trace is told whole, once it is over: nothing is open while a
//! viewer plays, and frames are never spans. Off unless configured.
//!
//! Promise: telling never waits. What a collector does not take in time is
//! dropped, and the log says so once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::fetch::fetch;

/// Traces that wait for the collector; more are dropped.
const WAITING: usize = 256;
/// Traces in one request.
const BATCH: usize = 64;
/// How long the first of a request waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// Longest time for a request.
const LIMIT: Duration = Duration::from_secs(3);
/// Longest answer: nothing is read in it.
const ANSWER: usize = 64 * 1024;

/// Where traces go: nowhere by default.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<mpsc::Sender<(Trace, SystemTime)>>);

/// Something that took its time, and is over now.
#[derive(Debug)]
pub struct Trace {
    /// What it was.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Its parts, each with the time at which it ended, counted from the start.
    pub steps: Vec<(&'static str, Duration)>,
    /// Whose it was: names of streams and sessions, never an address or a URL.
    pub attributes: Vec<(&'static str, String)>,
    /// The fault's code, if it failed.
    pub fault: Option<&'static str>,
}

/// Sends what [`Traces`] is told.
pub struct Exporter {
    queue: mpsc::Receiver<(Trace, SystemTime)>,
    url: Url,
}

impl Traces {
    /// Traces for the collector at `endpoint`, which speaks OTLP over HTTP; the
    /// exporter is to be run.
    pub fn to(endpoint: &Url) -> (Self, Exporter) {
        let (sender, queue) = mpsc::channel(WAITING);
        let mut url = endpoint.clone();
        // The endpoint is the base, as in OTEL_EXPORTER_OTLP_ENDPOINT.
        url.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        (Self(Some(sender)), Exporter { queue, url })
    }

    /// Tells of something that is over just now. `trace` is called only if
    /// anybody wants to know.
    pub fn tell(&self, trace: impl FnOnce() -> Trace) {
        if let Some(sender) = &self.0 {
            // A full queue drops it: nobody waits for a collector.
            let _ = sender.try_send((trace(), SystemTime::now()));
        }
    }
}

impl Exporter {
    /// Sends until `stop`, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut batch, mut works) = (Vec::new(), None);
        loop {
            let goes_on = tokio::select! {
                got = self.queue.recv_many(&mut batch, BATCH) => got > 0,
                () = stop.cancelled() => false,
            };
            if goes_on {
                tokio::select! {
                    () = tokio::time::sleep(LINGER) => {}
                    () = stop.cancelled() => {}
                }
            }
            while batch.len() < BATCH
                && let Ok(trace) = self.queue.try_recv()
            {
                batch.push(trace);
            }
            if !batch.is_empty() {
                let sent = self.send(&batch).await;
                // Once per change, not once per second.
                if works != Some(sent.is_ok()) {
                    match &sent {
                        Ok(()) => info!("traces reach the collector"),
                        Err(why) => warn!(why, "traces do not reach the collector"),
                    }
                }
                works = Some(sent.is_ok());
                batch.clear();
            }
            if !goes_on {
                return;
            }
        }
    }

    async fn send(&self, batch: &[(Trace, SystemTime)]) -> Result<(), String> {
        let body = request(batch).to_string();
        let answer = fetch(&self.url, Some(body), LIMIT, ANSWER).await;
        let status = answer.map_err(|error| error.to_string())?.status;
        if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
    }
}

/// OTLP's ExportTraceServiceRequest as JSON (OTLP 1.x, "JSON Protobuf
/// Encoding": ids in hex, 64-bit numbers as text).
fn request(batch: &[(Trace, SystemTime)]) -> Value {
    let spans: Vec<Value> = batch.iter().flat_map(|(trace, end)| spans(trace, *end)).collect();
    let resource = [
        ("service.name", "porthole".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": [{ "scope": { "name": "porthole" }, "spans": spans }],
    }] })
}

/// A trace's root, and a span for each of its steps.
fn spans(trace: &Trace, end: SystemTime) -> Vec<Value> {
    let id = format!("{:032x}", rand::random::<u128>().max(1));
    let span_id = || format!("{:016x}", rand::random::<u64>().max(1));
    let begun = end.checked_sub(trace.took).unwrap_or(UNIX_EPOCH);
    let nanos = |at: Duration| {
        let at = begun.duration_since(UNIX_EPOCH).unwrap_or_default() + at;
        at.as_nanos().to_string()
    };
    let root = span_id();
    // OTLP's Status: 1 is ok, 2 an error.
    let status = match trace.fault {
        None => json!({ "code": 1 }),
        Some(fault) => json!({ "code": 2, "message": fault }),
    };
    let mut spans = vec![json!({
        "traceId": id, "spanId": root, "name": trace.name, "kind": 1,
        "startTimeUnixNano": nanos(Duration::ZERO), "endTimeUnixNano": nanos(trace.took),
        "attributes": attributes(&trace.attributes), "status": status,
    })];
    let mut from = Duration::ZERO;
    for &(name, to) in &trace.steps {
        spans.push(json!({
            "traceId": id, "spanId": span_id(), "parentSpanId": root, "name": name, "kind": 1,
            "startTimeUnixNano": nanos(from), "endTimeUnixNano": nanos(to),
        }));
        from = to;
    }
    spans
}

fn attributes(list: &[(&'static str, String)]) -> Value {
    list.iter()
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_its_root_and_its_steps_end_to_end() {
        let second = Duration::from_secs(1);
        let trace = Trace {
            name: "whep",
            took: second * 3,
            steps: vec![("connect", second), ("first frame", second * 3)],
            attributes: vec![("porthole.stream", "gate".to_owned())],
            fault: Some("viewer.ice_failed"),
        };
        let sent = request(&[(trace, UNIX_EPOCH + second * 10)]);
        let spans = &sent["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let times = |i: usize| (&spans[i]["startTimeUnixNano"], &spans[i]["endTimeUnixNano"]);
        assert_eq!(times(0), (&json!("7000000000"), &json!("10000000000")));
        assert_eq!(times(1), (&json!("7000000000"), &json!("8000000000")));
        assert_eq!(times(2), (&json!("8000000000"), &json!("10000000000")));
        assert_eq!(spans[0]["status"], json!({ "code": 2, "message": "viewer.ice_failed" }));
        assert_eq!(spans[0]["traceId"].as_str().unwrap().len(), 32);
        for step in [1, 2] {
            assert_eq!(spans[step]["parentSpanId"], spans[0]["spanId"]);
            assert_eq!(spans[step]["traceId"], spans[0]["traceId"]);
        }
        assert_ne!(spans[1]["spanId"], spans[2]["spanId"]);
    }

    #[test]
    fn the_endpoint_is_a_base_and_a_full_queue_waits_for_nobody() {
        let (traces, exporter) = Traces::to(&"http://127.0.0.1:4318/otel/".parse().unwrap());
        assert_eq!(exporter.url.as_str(), "http://127.0.0.1:4318/otel/v1/traces");
        for _ in 0..2 * WAITING {
            traces.tell(|| Trace {
                name: "source",
                took: Duration::ZERO,
                steps: Vec::new(),
                attributes: Vec::new(),
                fault: None,
            });
        }
        assert_eq!(exporter.queue.len(), WAITING);
        Traces::default().tell(|| unreachable!("nobody wants to know"));
    }
}
