//! A session that a task of its own serves: counted, listed, and ended when it
//! is asked to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;

use super::session_table::{SessionLine, SessionStart};
use super::sessions::{Latency, OutputSessions};
use crate::auth::{Pass, Principal};
use crate::media::{Codec, MediaKind, StreamName};

/// How often the table is told.
const EVERY: Duration = Duration::from_secs(1);

/// A viewer, counted as connected and listed until it is dropped.
pub struct Attended {
    sessions: OutputSessions,
    begun: Instant,
    end: &'static str,
    sent: IntCounter,
    latency: Latency,
    line: SessionLine,
    ended: CancellationToken,
    bytes: u64,
    packets: u64,
    told: Option<Instant>,
}

impl Attended {
    pub(super) fn new(
        sessions: OutputSessions,
        stream: &StreamName,
        pass: Option<&Pass>,
        remote: Option<SocketAddr>,
    ) -> Self {
        let ended = CancellationToken::new();
        let leave = ended.clone();
        let id = format!("{:08x}", rand::random::<u32>());
        let principal = pass.map_or(Principal::Anonymous, |pass| pass.principal().clone());
        let start = SessionStart { id, stream: stream.main(), principal };
        let mut line = sessions.list(start, move || {
            leave.cancel();
            true
        });
        let begun = Instant::now();
        line.tell(begun, |news| {
            news.stage = "connected";
            news.quality = stream.quality();
            (news.remote, news.transport) = (remote, Some("tcp"));
        });
        sessions.add("connected", 1);
        let (sent, latency) = (sessions.sent_bytes(stream), sessions.latency());
        let (bytes, packets, told) = (0, 0, None);
        Self { sessions, begun, end: "closed", sent, latency, line, ended, bytes, packets, told }
    }

    /// Cancelled when somebody wants this viewer gone.
    pub fn asked_to_leave(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Why it will have ended: one of few words, a metric label. `closed` if
    /// nobody says.
    pub fn end_with(&mut self, why: &'static str) {
        self.end = why;
    }

    /// What it is shown is of these codecs from now on.
    pub fn shows<'c>(&mut self, codecs: impl Iterator<Item = &'c Codec> + Clone) {
        let first = |kind| codecs.clone().find(|codec| codec.kind() == kind).map(Codec::name);
        let (video, audio) = (first(MediaKind::Video), first(MediaKind::Audio));
        self.line.tell(Instant::now(), |news| (news.video, news.audio) = (video, audio));
    }

    /// It is shown JPEG pictures, whatever the camera sends.
    pub fn shows_pictures(&mut self) {
        self.line.tell(Instant::now(), |news| (news.video, news.audio) = (Some("JPEG"), None));
    }

    /// A message of so many bytes of media was sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
        self.bytes += bytes as u64;
        self.packets += 1;
        let now = Instant::now();
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return;
        }
        self.told = Some(now);
        let (bytes, packets) = (self.bytes, self.packets);
        self.line.tell(now, |news| {
            news.stage = "live";
            (news.bytes, news.packets) = (bytes, packets);
        });
    }

    /// The frame whose last packet arrived then has gone out. What was kept
    /// for the viewer to begin with does not count.
    pub fn gone_out(&self, arrived: Instant) {
        if arrived > self.begun {
            self.latency.gone_out(arrived);
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.sessions.add("connected", -1);
        self.sessions.ended(self.end, self.begun.elapsed().as_secs_f64());
    }
}
