//! One look at a camera, for `porthole doctor`: what it offers, and what it
//! really sends for a few seconds.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::depacketize::{self, Unit};
use super::mask::masked;
use super::rtsp::{Greeting, Item};
use super::select::{self, Selected};
use super::source::{Source, Transport};
use crate::fault::{Code, Fault};
use crate::media::{Codec, FrameKind, MediaKind, WallTime};

/// A look of this length sees at least one interval of the usual 1 to 4 s
/// between key frames…
const LOOK: Duration = Duration::from_secs(8);
/// …and one of this length the 10 s that some cameras have.
const LONG_LOOK: Duration = Duration::from_secs(21);

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// Login schemes the camera asks for, as it names them; empty for none.
    pub login_schemes: Vec<String>,
    /// What the camera calls its server.
    pub server: Option<String>,
    /// How media travelled; `None` when none did.
    pub transport: Option<Transport>,
    /// Tracks that were pulled.
    pub tracks: Vec<Seen>,
    /// Tracks left out, and why.
    pub notes: Vec<Fault>,
    /// Camera's clock minus ours, nanoseconds, by its sender reports.
    pub clock_offset: Option<i64>,
    /// Why the look ended early.
    pub fault: Option<Fault>,
}

impl Probe {
    /// The camera's own words say nothing that it was told.
    fn without_secrets(mut self, source: &Source) -> Self {
        let words = self.login_schemes.iter_mut().chain(&mut self.server);
        let details = self.notes.iter_mut().chain(&mut self.fault);
        for text in words.chain(details.map(|fault| &mut fault.detail)) {
            *text = masked(source, text);
        }
        self
    }
}

/// What was seen of a track.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Video or audio.
    pub kind: MediaKind,
    /// Parameters; `None` if they never came.
    pub codec: Option<Codec>,
    /// Frames received.
    pub frames: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Time from the first frame to the last by the camera's clock, seconds.
    pub seconds: f64,
    /// Mean time between key frames, seconds; `None` with fewer than two.
    pub keyframe_interval: Option<f64>,
    /// Whether pictures are shown in another order than they are decoded.
    pub reordered: bool,
    /// Packets received and lost.
    pub packets: u64,
    /// Packets missing by their sequence numbers.
    pub lost: u64,
    /// Frames damaged, undecodable or malformed.
    pub discarded: u64,
    /// Times that went back, stood still or jumped by more than a second.
    pub bad_times: u64,
}

impl Seen {
    /// Frames a second, by the camera's clock.
    pub fn rate(&self) -> Option<f64> {
        (self.frames > 1 && self.seconds > 0.0).then(|| (self.frames - 1) as f64 / self.seconds)
    }

    /// Bits a second, by the camera's clock.
    pub fn bit_rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.bytes as f64 * 8.0 / self.seconds)
    }
}

/// Connects once, looks for eight seconds (for longer where key frames are
/// rare), and tears down.
pub async fn probe(source: &Source) -> Probe {
    let mut probe = Probe::default();
    let farewells = TaskTracker::new();
    let mut greeting = Greeting::default();
    match select::connect(source, &mut greeting, &farewells).await {
        Err(end) => probe.fault = Some(end.into_fault()),
        Ok((mut feed, selected, notes)) => {
            probe.transport = Some(feed.transport);
            probe.notes = notes.into_iter().map(|note| note.0).collect();
            let mut looks: Vec<Look> = selected.into_iter().map(Look::new).collect();
            let begun = Instant::now();
            while probe.fault.is_none() {
                let rare = looks.iter().any(Look::awaits_key_frame);
                let until = begun + if rare { LONG_LOOK } else { LOOK };
                match timeout_at(until, feed.next()).await {
                    Err(_) => break,
                    Ok(Err(fault)) => probe.fault = Some(fault),
                    Ok(Ok(Item::Report { report, .. })) => {
                        let ours: WallTime = SystemTime::now().into();
                        probe.clock_offset = Some(report.wall.unix_nanos() - ours.unix_nanos());
                    }
                    Ok(Ok(Item::Packet(packet))) => {
                        let section = packet.section();
                        let look = looks.iter_mut().find(|look| look.track.section == section);
                        let taken = look.map(|look| {
                            look.packet(depacketize::Packet {
                                timestamp: packet.timestamp(),
                                marker: packet.marker(),
                                lost_before: packet.lost_before(),
                                payload: packet.payload(),
                            })
                        });
                        probe.fault = taken.and_then(Result::err);
                    }
                }
            }
            probe.tracks = looks.into_iter().map(Look::finish).collect();
            if probe.fault.is_none() && probe.tracks.iter().all(|track| track.packets == 0) {
                probe.fault = Some(Code::SourceNoMedia.into());
            }
        }
    }
    farewells.close();
    let _ = timeout(Duration::from_secs(2), farewells.wait()).await;
    probe.login_schemes = greeting.login_schemes;
    probe.server = greeting.server;
    probe.without_secrets(source)
}

/// A track being looked at.
struct Look {
    track: Selected,
    seen: Seen,
    first: Option<i64>,
    last: Option<i64>,
    keys: Vec<i64>,
}

impl Look {
    fn new(track: Selected) -> Self {
        let seen = Seen {
            kind: track.kind,
            codec: None,
            frames: 0,
            bytes: 0,
            seconds: 0.0,
            keyframe_interval: None,
            reordered: false,
            packets: 0,
            lost: 0,
            discarded: 0,
            bad_times: 0,
        };
        Self { track, seen, first: None, last: None, keys: Vec::new() }
    }

    fn packet(&mut self, packet: depacketize::Packet<'_>) -> Result<(), Fault> {
        self.seen.packets += 1;
        self.seen.lost += u64::from(packet.lost_before);
        self.track.depacketizer.push(packet)?;
        while let Some(unit) = self.track.depacketizer.pull() {
            self.unit(&unit);
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Unit) {
        let second = i64::from(self.track.rate.hz());
        self.seen.frames += 1;
        self.seen.bytes += unit.data.len() as u64;
        self.seen.reordered |= unit.pts != unit.dts;
        if let Some(last) = self.last.replace(unit.dts)
            && !(1..=second).contains(&unit.dts.saturating_sub(last))
        {
            self.seen.bad_times += 1;
        }
        self.first.get_or_insert(unit.dts);
        if unit.kind == FrameKind::Key {
            self.keys.push(unit.dts);
        }
    }

    /// Whether pictures come, but no interval between key frames is known.
    fn awaits_key_frame(&self) -> bool {
        self.seen.kind == MediaKind::Video && self.seen.frames > 0 && self.keys.len() < 2
    }

    fn finish(self) -> Seen {
        let Self { track, mut seen, first, last, keys } = self;
        let seconds = |ticks: i64| ticks as f64 / f64::from(track.rate.hz());
        seen.seconds = first.zip(last).map_or(0.0, |(a, b)| seconds(b.saturating_sub(a)));
        seen.keyframe_interval = match keys[..] {
            [a, .., b] => Some(seconds(b.saturating_sub(a)) / (keys.len() - 1) as f64),
            _ => None,
        };
        seen.codec = track.depacketizer.codec().cloned();
        let discarded = track.depacketizer.discarded();
        seen.discarded = discarded.damaged + discarded.undecodable + discarded.malformed;
        seen
    }
}
