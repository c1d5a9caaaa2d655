//! What the camera side counts.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::media::{MediaKind, StreamName};
use crate::metrics::forget;
use crate::traces::{Trace, Traces};

/// Limits whose excess ends a session, as [`Limit`](super::depacketize::Limit)
/// names them; the ring's; and the timeline's.
const LIMITS: [&str; 7] = [
    "access_unit_bytes",
    "audio_bytes",
    "group_bytes",
    "nal_bytes",
    "nal_count",
    "parameter_sets",
    "time_jumps",
];

/// Metric families of the camera side.
#[derive(Clone)]
pub struct IngestMetrics {
    up: IntGaugeVec,
    connects: IntCounterVec,
    last_frame: GaugeVec,
    bytes: IntCounterVec,
    packets: IntCounterVec,
    lost: IntCounterVec,
    reordered: IntCounterVec,
    jitter: GaugeVec,
    frames: IntCounterVec,
    discarded: IntCounterVec,
    keyframe_interval: GaugeVec,
    limits: IntCounterVec,
    panics: IntCounterVec,
    traces: Traces,
}

impl IngestMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(format!("porthole_{name}"), help), labels)?;
            registry.register(Box::new(family.clone()))?;
            prometheus::Result::Ok(family)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let family = GaugeVec::new(Opts::new(format!("porthole_{name}"), help), labels)?;
            registry.register(Box::new(family.clone()))?;
            prometheus::Result::Ok(family)
        };
        let up = IntGaugeVec::new(
            Opts::new("porthole_source_up", "Whether frames arrive from the source"),
            &["stream"],
        )?;
        registry.register(Box::new(up.clone()))?;
        let media = &["stream", "media"];
        let limits = counter(
            "source_limit_exceeded_total",
            "Sessions ended because the source exceeded a limit",
            &["limit"],
        )?;
        // There from the start: a rate sees no first event of a series that
        // begins with it.
        for limit in LIMITS {
            limits.with_label_values(&[limit]);
        }
        Ok(Self {
            up,
            connects: counter(
                "source_connects_total",
                "Attempts to connect to the source, by result: ok or a fault code",
                &["stream", "result"],
            )?,
            last_frame: gauge(
                "source_last_frame_timestamp_seconds",
                "Unix time at which the newest frame arrived",
                &["stream"],
            )?,
            bytes: counter("source_received_bytes_total", "RTP payload bytes received", media)?,
            packets: counter("source_rtp_packets_total", "RTP packets received", media)?,
            lost: counter(
                "source_rtp_packets_lost_total",
                "RTP packets missing by their sequence numbers",
                media,
            )?,
            reordered: counter(
                "source_rtp_packets_reordered_total",
                "RTP packets that were overtaken by later ones",
                media,
            )?,
            jitter: gauge(
                "source_jitter_seconds",
                "Interarrival jitter of RTP packets (RFC 3550)",
                media,
            )?,
            frames: counter("source_frames_total", "Frames put on the bus", media)?,
            discarded: counter(
                "source_frames_discarded_total",
                "Frames not shown, or shown at a repaired time, by reason",
                &["stream", "reason"],
            )?,
            keyframe_interval: gauge(
                "source_keyframe_interval_seconds",
                "Time between the two newest key frames",
                &["stream"],
            )?,
            limits,
            panics: counter("panics_total", "Panics contained, by task", &["task"])?,
            traces: Traces::default(),
        })
    }

    /// Panics by task, for other rooms to count theirs in.
    pub fn panics(&self) -> &IntCounterVec {
        &self.panics
    }

    /// Families that no registry shows, for tests.
    pub fn unregistered() -> Self {
        Self::register(&Registry::new()).expect("a new registry holds no family yet")
    }

    /// Tells of each connect to a camera.
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Drops what was counted of a stream that is no more.
    pub fn forget(&self, stream: &StreamName) {
        let name = stream.as_str();
        forget(&self.up, name);
        for family in [&self.last_frame, &self.jitter, &self.keyframe_interval] {
            forget(family, name);
        }
        let Self { connects, bytes, packets, lost, reordered, frames, discarded, .. } = self;
        for family in [connects, bytes, packets, lost, reordered, frames, discarded] {
            forget(family, name);
        }
    }

    /// The meters of one stream, looked up once.
    pub(super) fn stream(&self, name: &StreamName) -> StreamMeters {
        let label = [name.as_str()];
        StreamMeters {
            name: name.clone(),
            up: self.up.with_label_values(&label),
            last_frame: self.last_frame.with_label_values(&label),
            keyframe_interval: self.keyframe_interval.with_label_values(&label),
            video: self.media(name, MediaKind::Video),
            audio: OnceLock::new(),
            panics: self.panics.with_label_values(&["ingest"]),
            families: self.clone(),
        }
    }

    fn media(&self, name: &StreamName, kind: MediaKind) -> MediaMeters {
        let labels = [name.as_str(), kind.as_str()];
        MediaMeters {
            bytes: self.bytes.with_label_values(&labels),
            packets: self.packets.with_label_values(&labels),
            lost: self.lost.with_label_values(&labels),
            reordered: self.reordered.with_label_values(&labels),
            jitter: self.jitter.with_label_values(&labels),
            frames: self.frames.with_label_values(&labels),
        }
    }
}

/// What one stream counts.
pub(super) struct StreamMeters {
    name: StreamName,
    pub(super) up: IntGauge,
    pub(super) last_frame: Gauge,
    pub(super) keyframe_interval: Gauge,
    video: MediaMeters,
    /// Most cameras have none, and each series takes most of a kilobyte.
    audio: OnceLock<MediaMeters>,
    pub(super) panics: IntCounter,
    families: IngestMetrics,
}

/// What one kind of media of a stream counts.
pub(super) struct MediaMeters {
    pub(super) bytes: IntCounter,
    pub(super) packets: IntCounter,
    pub(super) lost: IntCounter,
    pub(super) reordered: IntCounter,
    pub(super) jitter: Gauge,
    pub(super) frames: IntCounter,
}

impl StreamMeters {
    pub(super) fn media(&self, kind: MediaKind) -> &MediaMeters {
        match kind {
            MediaKind::Video => &self.video,
            MediaKind::Audio => {
                self.audio.get_or_init(|| self.families.media(&self.name, MediaKind::Audio))
            }
        }
    }

    /// An attempt ended with `ok` or a fault code.
    pub(super) fn connected(&self, result: &'static str, took: Duration) {
        self.families.connects.with_label_values(&[self.name.as_str(), result]).inc();
        self.families.traces.tell(|| Trace {
            name: "source connect",
            took,
            steps: Vec::new(),
            attributes: vec![("porthole.stream", self.name.to_string())],
            fault: Some(result).filter(|result| *result != "ok"),
        });
    }

    pub(super) fn limit_exceeded(&self, limit: &'static str) {
        self.families.limits.with_label_values(&[limit]).inc();
    }

    pub(super) fn discarded(&self, reason: &'static str, frames: u64) {
        self.families.discarded.with_label_values(&[self.name.as_str(), reason]).inc_by(frames);
    }
}
