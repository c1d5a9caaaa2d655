//! One session with a camera: from DESCRIBE until it ends, packets in, frames
//! on the bus.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::depacketize::{self, Depacketizer, Discarded, Unit};
use super::metrics::StreamMeters;
use super::rtsp::{Announced, Camera, Feed, Item, Packet, SessionGroup};
use super::source::Source;
use crate::bus::{Note, Publisher};
use crate::fault::{Code, Fault};
use crate::media::{
    ClockRate, Codec, Draft, FrameKind, MediaKind, MediaTime, Track, TrackId, Tracks, WallTime,
};
use crate::timeline::Timeline;

/// A picture that has stopped for this long is redialled.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How long packets may arrive without a picture that can be decoded. Key
/// frames every 30 s are the longest that cameras offer.
const KEYFRAME_LIMIT: Duration = Duration::from_secs(35);
/// Rarest key frames we serve: a viewer starts at one, and who comes between
/// two would see nothing. A new session makes every camera send one.
const KEYFRAME_INTERVAL_LIMIT: Duration = Duration::from_secs(90);
/// Most bytes from one key frame to the next: what the bus can hold for a
/// viewer to start from.
const GROUP_BYTES: usize = 32 << 20;
/// How long the first frame waits for the parameters of the other tracks.
const PARAMETERS_LIMIT: Duration = Duration::from_secs(5);

/// A track we asked the camera for.
pub(super) struct Selected {
    /// Its section in the SDP.
    pub(super) section: usize,
    pub(super) kind: MediaKind,
    pub(super) rate: ClockRate,
    pub(super) depacketizer: Depacketizer,
    /// Parameters as of the newest unit.
    codec: Option<Codec>,
    last_packet: Instant,
    last_unit: Instant,
    /// What the depacketizer had discarded when last counted.
    discarded: Discarded,
    /// Line time of the newest key frame, nanoseconds.
    last_key: Option<i64>,
    /// When it arrived; before the first, when the session began.
    last_key_at: Instant,
    /// Bytes from it on.
    group_bytes: usize,
}

/// Runs a session to its end, and returns why it ended. `on_live` is called
/// once, after the first frame, with remarks such as tracks left out.
pub(super) async fn run(
    source: &Source,
    publisher: &mut Publisher,
    timeline: &mut Timeline,
    meters: &StreamMeters,
    group: Arc<SessionGroup>,
    on_live: impl FnOnce(&Publisher, &StreamMeters, Vec<Note>),
) -> Fault {
    let (mut feed, selected, notes) = match connect(source, group).await {
        Ok(connected) => connected,
        Err(fault) => return fault,
    };
    timeline.start_session(selected.iter().map(|track| (track.kind, track.rate)));
    let started = Instant::now();
    let mut session = Session {
        publisher,
        timeline,
        meters,
        tracks: None,
        selected,
        started,
        notes,
        on_live: Some(on_live),
    };
    loop {
        let item = match timeout_at(session.deadline(), feed.next()).await {
            Ok(Ok(item)) => item,
            Ok(Err(fault)) => return fault,
            Err(_) => return session.silence(),
        };
        let handled = match item {
            Item::Packet(packet) => session.packet(&packet),
            Item::Report { section, rtp, wall } => {
                session.report(section, rtp, wall);
                Ok(())
            }
        };
        if let Err(limit) = handled {
            feed.cut();
            return limit;
        }
    }
}

/// DESCRIBE, SETUP of what we can carry, PLAY.
pub(super) async fn connect(
    source: &Source,
    group: Arc<SessionGroup>,
) -> Result<(Feed, Vec<Selected>, Vec<Note>), Fault> {
    let mut camera = Camera::describe(source, group).await?;
    let (selected, notes) = select(&camera.announced());
    if selected.is_empty() {
        let offered: Vec<String> = camera.announced().into_iter().map(|a| a.encoding).collect();
        let detail = format!("it offers only: {}", offered.join(", "));
        return Err(Fault::new(Code::SourceNoMedia, detail));
    }
    for track in &selected {
        camera.setup(track.section).await?;
    }
    Ok((camera.play().await?, selected, notes))
}

/// The first video and the first audio section that we can read; remarks on
/// what is left out.
fn select(announced: &[Announced]) -> (Vec<Selected>, Vec<Note>) {
    let (mut selected, mut notes) = (Vec::<Selected>::new(), Vec::new());
    for (section, track) in announced.iter().enumerate() {
        let Some(kind) = track.kind else {
            debug!(section, encoding = track.encoding, "ignoring a track nobody sees or hears");
            continue;
        };
        if selected.iter().any(|other| other.kind == kind) {
            debug!(section, encoding = track.encoding, "ignoring a further track of its kind");
            continue;
        }
        let fmtp = track.fmtp.as_deref();
        let depacketizer =
            Depacketizer::new(kind, &track.encoding, track.clock_rate, track.channels, fmtp);
        match (depacketizer, ClockRate::new(track.clock_rate)) {
            (Ok(depacketizer), Some(rate)) => selected.push(Selected {
                section,
                kind,
                rate,
                codec: depacketizer.codec().cloned(),
                depacketizer,
                last_packet: Instant::now(),
                last_unit: Instant::now(),
                discarded: Discarded::default(),
                last_key: None,
                last_key_at: Instant::now(),
                group_bytes: 0,
            }),
            (depacketizer, _) => {
                let code = match kind {
                    MediaKind::Video => Code::VideoUnplayable,
                    MediaKind::Audio => Code::AudioDropped,
                };
                let reason = depacketizer.err().map(|e| e.to_string()).unwrap_or_default();
                let detail = format!("{}: {reason}", track.encoding);
                notes.push(Note(Fault::new(code, detail)));
            }
        }
    }
    // Video first: output rooms show tracks in this order.
    selected.sort_by_key(|track| track.kind != MediaKind::Video);
    (selected, notes)
}

/// A session that is playing.
struct Session<'a, L> {
    publisher: &'a mut Publisher,
    timeline: &'a mut Timeline,
    meters: &'a StreamMeters,
    /// Tracks as of the newest frame; none before the first.
    tracks: Option<Arc<Tracks>>,
    selected: Vec<Selected>,
    started: Instant,
    notes: Vec<Note>,
    on_live: Option<L>,
}

impl<L: FnOnce(&Publisher, &StreamMeters, Vec<Note>)> Session<'_, L> {
    fn packet(&mut self, packet: &Packet) -> Result<(), Fault> {
        let Some(index) = self.selected.iter().position(|t| t.section == packet.section()) else {
            return Ok(());
        };
        let track = &mut self.selected[index];
        track.last_packet = Instant::now();
        let media = self.meters.media(track.kind);
        media.packets.inc();
        media.bytes.inc_by(packet.payload().len() as u64);
        media.lost.inc_by(packet.lost_before().into());
        let pushed = track.depacketizer.push(depacketize::Packet {
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            lost_before: packet.lost_before(),
            payload: packet.payload(),
        });
        if let Err(limit) = pushed {
            self.meters.limit_exceeded(limit.as_str());
            return Err(limit.into());
        }
        let discarded = track.depacketizer.discarded();
        if discarded != track.discarded {
            let old = std::mem::replace(&mut track.discarded, discarded);
            self.meters.discarded("damaged", discarded.damaged - old.damaged);
            self.meters.discarded("undecodable", discarded.undecodable - old.undecodable);
            self.meters.discarded("malformed", discarded.malformed - old.malformed);
        }
        while let Some(unit) = self.selected[index].depacketizer.pull() {
            self.unit(index, unit)?;
        }
        Ok(())
    }

    fn report(&mut self, section: usize, rtp: i64, wall: WallTime) {
        if let Some(index) = self.selected.iter().position(|track| track.section == section) {
            self.timeline.sender_report(index, rtp, wall, SystemTime::now().into());
        }
    }

    /// Puts one unit on the bus.
    fn unit(&mut self, index: usize, unit: Unit) -> Result<(), Fault> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let track = &mut self.selected[index];
        let kind = track.kind;
        track.last_unit = now;
        if unit.kind != FrameKind::Delta {
            (track.last_key_at, track.group_bytes) = (now, 0);
        }
        track.group_bytes += unit.data.len();
        if track.group_bytes > GROUP_BYTES {
            self.meters.limit_exceeded("group_bytes");
            return Err(Fault::new(Code::SourceLimit, "more than 32 MiB between two key frames"));
        }
        if let Some(codec) = unit.codec {
            track.codec = Some(codec);
            self.tracks = None;
        }
        let Some(tracks) = self.tracks(now) else { return Ok(()) };
        let Some(id) = self.track_id(index) else { return Ok(()) };
        let rate = self.selected[index].rate;

        let Some(stamp) = self.timeline.stamp(index, unit.dts, now.into_std(), wall.into()) else {
            self.meters.discarded("overlap", 1);
            return Ok(());
        };
        if stamp.repaired {
            self.meters.discarded("timestamp_repaired", 1);
        }
        let ahead = unit.pts.saturating_sub(unit.dts).max(0);
        let pts = MediaTime::new(stamp.dts.ticks().saturating_add(ahead), rate);
        if unit.kind == FrameKind::Key {
            let at = stamp.dts.nanos();
            if let Some(before) = self.selected[index].last_key.replace(at) {
                self.meters.keyframe_interval.set((at - before) as f64 / 1e9);
            }
        }
        self.publisher.publish(Draft {
            track: id,
            tracks,
            pts,
            dts: stamp.dts,
            wall: stamp.wall.offset_by(MediaTime::new(ahead, rate).nanos()),
            kind: unit.kind,
            lost_before: unit.lost_before,
            discontinuity: stamp.discontinuity,
            arrived: now.into_std(),
            data: unit.data,
        });
        self.meters.media(kind).frames.inc();
        self.meters.last_frame.set(
            wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        );
        if let Some(on_live) = self.on_live.take() {
            on_live(self.publisher, self.meters, std::mem::take(&mut self.notes));
        }
        Ok(())
    }

    /// The tracks, once all of them are known; a track that stays silent does
    /// not hold up the others for ever.
    fn tracks(&mut self, now: Instant) -> Option<Arc<Tracks>> {
        if self.tracks.is_none() {
            let known = self.selected.iter().filter(|track| track.codec.is_some()).count();
            if known < self.selected.len() && now < self.started + PARAMETERS_LIMIT {
                return None;
            }
            let tracks = self.selected.iter().filter_map(|track| {
                let codec = track.codec.clone()?;
                Some(Track { id: TrackId(0), rate: track.rate, codec })
            });
            self.tracks = Some(Arc::new(Tracks::new(tracks.collect())));
        }
        self.tracks.clone()
    }

    /// Where a selected track stands in the tracks on the bus.
    fn track_id(&self, index: usize) -> Option<TrackId> {
        self.selected[index].codec.as_ref()?;
        let before = self.selected[..index].iter().filter(|track| track.codec.is_some());
        Some(TrackId(before.count() as u8))
    }

    /// When the silence of the track that matters becomes a fault.
    fn deadline(&self) -> Instant {
        self.selected.first().map_or(self.started, |track| {
            let picture = track.last_unit + KEYFRAME_LIMIT;
            let key_frame = track.last_key_at + KEYFRAME_INTERVAL_LIMIT;
            (track.last_packet + SILENCE_LIMIT).min(picture).min(key_frame)
        })
    }

    /// Which fault it is once the deadline has passed.
    fn silence(&self) -> Fault {
        let Some(track) = self.selected.first() else { return Code::SourceNoMedia.into() };
        let what = if track.kind == MediaKind::Video { "picture" } else { "sound" };
        if track.last_packet.elapsed() >= SILENCE_LIMIT {
            let seconds = SILENCE_LIMIT.as_secs();
            Fault::new(Code::SourceNoMedia, format!("no {what} for {seconds} s"))
        } else {
            let seconds = track.last_key_at.elapsed().as_secs();
            Fault::new(Code::SourceNoKeyframe, format!("none for {seconds} s"))
        }
    }
}
