//! The text format taken apart, the contract's list, and names to ask for.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Labels that several families have.
const MEDIA: &[&str] = &["stream", "media"];

/// Types.
const C: &str = "counter";
const G: &str = "gauge";
const H: &str = "histogram";

/// A family: name, type, labels.
pub(crate) type Promise = (&'static str, &'static str, &'static [&'static str]);

/// Every family of `porthole_` that is promised.
pub(crate) const CONTRACT: &[Promise] = &[
    ("porthole_build_info", G, &["version", "revision", "target"]),
    ("porthole_config_reloads_total", C, &["result"]),
    ("porthole_config_last_success_timestamp_seconds", G, &[]),
    ("porthole_streams", G, &["state"]),
    ("porthole_source_up", G, &["stream"]),
    ("porthole_source_connects_total", C, &["stream", "result"]),
    ("porthole_source_last_frame_timestamp_seconds", G, &["stream"]),
    ("porthole_source_received_bytes_total", C, MEDIA),
    ("porthole_source_rtp_packets_total", C, MEDIA),
    ("porthole_source_rtp_packets_lost_total", C, MEDIA),
    ("porthole_source_rtp_packets_reordered_total", C, MEDIA),
    ("porthole_source_jitter_seconds", G, MEDIA),
    ("porthole_source_frames_total", C, MEDIA),
    ("porthole_source_frames_discarded_total", C, &["stream", "reason"]),
    ("porthole_source_keyframe_interval_seconds", G, &["stream"]),
    ("porthole_source_limit_exceeded_total", C, &["limit"]),
    ("porthole_bus_readers", G, &["output"]),
    ("porthole_bus_skipped_frames_total", C, &["output"]),
    ("porthole_buffer_bytes", G, &["pool"]),
    ("porthole_buffer_limit_bytes", G, &["pool"]),
    ("porthole_sessions", G, &["output", "state"]),
    ("porthole_session_setups_total", C, &["output", "result"]),
    ("porthole_session_setup_duration_seconds", H, &["output"]),
    ("porthole_first_frame_duration_seconds", H, &["output"]),
    ("porthole_session_duration_seconds", H, &["output", "end"]),
    ("porthole_pipeline_latency_seconds", H, &["output"]),
    ("porthole_sent_bytes_total", C, &["stream", "output"]),
    ("porthole_webrtc_remote_loss_ratio", H, &[]),
    ("porthole_webrtc_rtt_seconds", H, &[]),
    ("porthole_webrtc_feedback_total", C, &["kind"]),
    ("porthole_webrtc_ice_failures_total", C, &["stage"]),
    ("porthole_udp_discarded_packets_total", C, &["reason"]),
    ("porthole_hls_blocked_requests", G, &[]),
    ("porthole_hls_blocked_duration_seconds", H, &[]),
    ("porthole_hls_segments_filed_total", C, &["result"]),
    ("porthole_http_requests_total", C, &["route", "method", "class"]),
    ("porthole_http_request_duration_seconds", H, &["route"]),
    ("porthole_http_connections", G, &["listener"]),
    ("porthole_http_rejected_total", C, &["reason"]),
    ("porthole_auth_failures_total", C, &["kind"]),
    ("porthole_panics_total", C, &["task"]),
];

/// One answer of `/metrics`.
pub(crate) struct Scrape {
    pub(crate) text: String,
    pub(crate) families: BTreeMap<String, Family>,
}

#[derive(Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Of a histogram, its buckets, sum and count.
    pub(crate) series: Vec<Series>,
}

#[derive(Debug)]
pub(crate) struct Series {
    /// As it is written, without the value.
    pub(crate) name: String,
    /// Without `le`.
    pub(crate) labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Values with a quote or a comma would be told apart wrongly; none of
    /// ours has one.
    pub(crate) fn parse(text: &str) -> Self {
        let mut families = BTreeMap::<String, Family>::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                name.clone_into(&mut current);
                families.entry(current.clone()).or_default().help = help.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&current), "{name} below {current}");
                let inside =
                    name.split_once('{').map_or("", |(_, inside)| &inside[..inside.len() - 1]);
                let pair = |pair: &str| {
                    let (label, value) = pair.split_once('=').unwrap();
                    (label.to_owned(), value.trim_matches('"').to_owned())
                };
                let labels = inside.split("\",").filter(|pair| !pair.is_empty()).map(pair);
                let labels = labels.filter(|(label, _)| label != "le").collect();
                let series =
                    Series { name: name.to_owned(), labels, value: value.parse().unwrap() };
                families.get_mut(&current).unwrap().series.push(series);
            }
        }
        Self { text: text.to_owned(), families }
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = &Series> {
        self.families.values().flat_map(|family| &family.series)
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.series().map(|series| series.name.clone()).collect()
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.series().find(|series| series.name == name).map(|series| series.value)
    }
}

/// Names that nobody gave a stream: valid ones, and what a scanner tries.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    (0..).map(move |i: usize| {
        // Xorshift: the same names in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = format!("{state:016x}");
        match i % 7 {
            0 => format!("CAM{word}"),
            1 => format!("x{word}%22%7D%20{i}"),
            2 => format!("x{word}%0A{i}"),
            3 => format!("x{word}.%2E%2F{i}"),
            4 => format!("x{}", word.repeat(20)),
            _ => format!("x{word}"),
        }
    })
}

/// Every path pattern that the source gives a route.
pub(crate) fn routes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let patterns = text.split(".route(\"").skip(1);
                found.extend(patterns.filter_map(|rest| Some(rest.split('"').next()?.to_owned())));
            }
        }
    }
    found
}
