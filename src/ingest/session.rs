//! One session with a camera: from DESCRIBE until it ends, packets in, frames
//! on the bus.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::depacketize::{self, Unit};
use super::end::End;
use super::jumps::Jumps;
use super::loss::{LossWatch, Verdict};
use super::metrics::StreamMeters;
use super::rtsp::{Feed, Greeting, Item, Packet};
use super::select::{Selected, connect};
use super::source::{Source, Transport};
use super::watchdog::{Bark, SILENCE_LIMIT, Watchdog};
use crate::bus::{Note, Publisher};
use crate::fault::{Code, Fault};
use crate::media::{Draft, FrameKind, MediaTime, Track, TrackId, Tracks, WallTime};
use crate::timeline::Timeline;

/// Most bytes from one key frame to the next: what the bus can hold for a
/// viewer to start from. Bytes bound memory, so they alone end a session here.
/// Time does not: 30 s is the longest interval that cameras offer in their
/// settings, and with a quiet picture it costs little. The watchdog waits 35 s
/// for the first key frame, and redials where the next takes above 90 s.
const GROUP_BYTES: usize = 32 << 20;
/// How long the first picture waits for the parameters of its sound: they
/// come with the first of its packets, if there are any.
const PARAMETERS_LIMIT: Duration = Duration::from_secs(1);
/// And most bytes that wait so: a second of 64 Mbit/s.
const WAITING_BYTES: usize = 8 << 20;

/// How often what the feed has seen is put into the metrics.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// What earlier sessions say about this one.
pub(super) struct Terms {
    /// Whether it should end where UDP loses too much.
    pub(super) may_leave_udp: bool,
    /// Whether UDP was chosen by us, since TCP was refused: then a remark on
    /// its loss is there already.
    pub(super) is_second_choice: bool,
    /// When sound that stops may end it; `None` for at once.
    pub(super) sound_redial_from: Option<Instant>,
}

/// Runs a session to its end, and returns why it ended. `on_live` is called
/// once, with the first picture that a viewer can start at (or the first sound
/// of a stream without one), and with remarks such as tracks left out.
pub(super) async fn run(
    source: &Source,
    terms: Terms,
    publisher: &mut Publisher,
    timeline: &mut Timeline,
    meters: &StreamMeters,
    farewells: &TaskTracker,
    on_live: impl FnOnce(&Publisher, &StreamMeters, Vec<Note>),
) -> End {
    let (mut feed, selected, notes) =
        match connect(source, &mut Greeting::default(), farewells).await {
            Ok(connected) => connected,
            Err(end) => return end,
        };
    timeline.start_session(selected.iter().map(|track| (track.kind, track.rate)));
    let started = Instant::now();
    let udp = feed.transport == Transport::Udp;
    let kinds = selected.iter().map(|track| track.kind);
    let mut session = Session {
        publisher,
        timeline,
        meters,
        tracks: None,
        watchdog: Watchdog::new(kinds, udp, terms.sound_redial_from, started),
        loss: udp.then(|| LossWatch::new(started)),
        may_leave_udp: terms.may_leave_udp,
        advise_tcp: source.transport == Transport::Udp && !terms.is_second_choice,
        selected,
        started,
        waiting: Vec::new(),
        waiting_bytes: 0,
        notes,
        silence: None,
        lossy: None,
        on_live: Some(on_live),
    };
    let mut figures_due = started;
    // Its time only moves ahead with the packets, so it is not set for each of
    // them: it goes off early, and is set then.
    let mut alarm = pin!(sleep_until(started));
    loop {
        let item = tokio::select! {
            biased;
            item = feed.next() => match item {
                Ok(item) => Some(item),
                Err(fault) => return End::Fault(fault),
            },
            () = &mut alarm => None,
        };
        let now = Instant::now();
        let handled = match item {
            Some(Item::Packet(packet)) => session.packet(&packet, now),
            Some(Item::Report { section, report }) => {
                session.report(section, report.rtp, report.wall);
                Ok(())
            }
            None => Ok(()),
        };
        // Asked even while packets come: those of one track do not speak for
        // the other's.
        let handled = handled.and_then(|()| session.watch(now));
        let due = session.watchdog.due().unwrap_or(now + SILENCE_LIMIT);
        if alarm.is_elapsed() || due < alarm.deadline() {
            alarm.as_mut().reset(due);
        }
        if now >= figures_due {
            figures_due = now + FIGURES_EVERY;
            session.figures(&feed);
        }
        if let Err(end) = handled {
            if matches!(&end, End::Fault(fault) if fault.code == Code::SourceLimit) {
                feed.cut();
            }
            return end;
        }
    }
}

/// A session that is playing.
struct Session<'a, L> {
    publisher: &'a mut Publisher,
    timeline: &'a mut Timeline,
    meters: &'a StreamMeters,
    /// Tracks as of the newest frame; none before the first.
    tracks: Option<Arc<Tracks>>,
    selected: Vec<Selected>,
    watchdog: Watchdog,
    /// Over UDP.
    loss: Option<LossWatch>,
    /// Whether too much of it ends the session,
    may_leave_udp: bool,
    /// or the operator is told, whose choice UDP was.
    advise_tcp: bool,
    started: Instant,
    /// Units that came before the parameters of all tracks were known.
    waiting: Vec<(usize, Unit, Arrival)>,
    /// Their bytes, those that keep them included.
    waiting_bytes: usize,
    notes: Vec<Note>,
    /// The remark that there is no sound.
    silence: Option<Note>,
    /// The remark that UDP loses packets.
    lossy: Option<Note>,
    on_live: Option<L>,
}

/// When something arrived.
#[derive(Clone, Copy)]
struct Arrival {
    at: Instant,
    wall: SystemTime,
}

impl<L: FnOnce(&Publisher, &StreamMeters, Vec<Note>)> Session<'_, L> {
    fn packet(&mut self, packet: &Packet, now: Instant) -> Result<(), End> {
        let Some(index) = self.selected.iter().position(|t| t.section == packet.section()) else {
            return Ok(());
        };
        if self.watchdog.packet(index, now) == Some(Bark::HeardAgain) {
            self.remark(|session| &mut session.silence, None);
        }
        let track = &mut self.selected[index];
        if track.is_left_out {
            return Ok(());
        }
        let media = self.meters.media(track.kind);
        media.packets.inc();
        media.bytes.inc_by(packet.payload().len() as u64);
        media.lost.inc_by(packet.lost_before().into());
        let verdict = self.loss.as_mut().and_then(|loss| loss.packet(packet.lost_before(), now));
        if let Some(verdict) = verdict {
            self.judge_loss(verdict)?;
        }
        let track = &mut self.selected[index];
        let pushed = track.depacketizer.push(depacketize::Packet {
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            lost_before: packet.lost_before(),
            payload: packet.payload(),
        });
        if let Err(limit) = pushed {
            self.meters.limit_exceeded(limit.as_str());
            return Err(Fault::from(limit).into());
        }
        let discarded = track.depacketizer.discarded();
        if discarded != track.discarded {
            let old = std::mem::replace(&mut track.discarded, discarded);
            self.meters.discarded("damaged", discarded.damaged - old.damaged);
            self.meters.discarded("undecodable", discarded.undecodable - old.undecodable);
            self.meters.discarded("malformed", discarded.malformed - old.malformed);
        }
        while let Some(unit) = self.selected[index].depacketizer.pull() {
            self.unit(index, unit, Arrival { at: now, wall: SystemTime::now() })?;
        }
        Ok(())
    }

    /// Leaves UDP that loses too much, or tells who chose it.
    fn judge_loss(&mut self, verdict: Verdict) -> Result<(), End> {
        let Verdict::Lasting(percent) = verdict else {
            self.remark(|session| &mut session.lossy, None);
            return Ok(());
        };
        let mut detail = format!("UDP loses {percent:.1} % of the packets");
        if self.may_leave_udp {
            return Err(End::UdpFailed(Fault::new(Code::SourceLossy, detail)));
        }
        if self.advise_tcp && self.lossy.is_none() {
            detail.push_str("; set `transport: auto`, which then goes over to TCP");
            let note = Note(Fault::new(Code::SourceLossy, detail));
            self.remark(|session| &mut session.lossy, Some(note));
        }
        Ok(())
    }

    fn report(&mut self, section: usize, rtp: i64, wall: WallTime) {
        if let Some(index) = self.selected.iter().position(|track| track.section == section) {
            self.timeline.sender_report(index, rtp, wall, SystemTime::now().into());
        }
    }

    /// Takes one unit; it goes on the bus once the tracks are known.
    fn unit(&mut self, index: usize, unit: Unit, arrival: Arrival) -> Result<(), Fault> {
        let key = unit.kind != FrameKind::Delta;
        self.watchdog.unit(index, key, arrival.at);
        let track = &mut self.selected[index];
        if key {
            track.group_bytes = 0;
        }
        track.group_bytes += unit.data.len();
        if track.group_bytes > GROUP_BYTES {
            self.meters.limit_exceeded("group_bytes");
            return Err(Fault::new(Code::SourceLimit, "more than 32 MiB between two key frames"));
        }
        if let Some(codec) = &unit.codec {
            track.codec = Some(codec.clone());
            self.tracks = None;
        }
        // Sound alone is no stream while its picture is not known.
        let lead_known = self.selected.first().is_some_and(|lead| lead.codec.is_some());
        let Some(tracks) = self.tracks(arrival.at).filter(|_| lead_known) else {
            if lead_known {
                self.waiting_bytes += unit.data.len() + size_of::<(usize, Unit, Arrival)>();
                self.waiting.push((index, unit, arrival));
            }
            return Ok(());
        };
        for (index, unit, arrival) in std::mem::take(&mut self.waiting) {
            self.publish(index, unit, arrival, Arc::clone(&tracks))?;
        }
        self.publish(index, unit, arrival, tracks)
    }

    /// Puts one unit on the bus.
    fn publish(
        &mut self,
        index: usize,
        unit: Unit,
        arrival: Arrival,
        tracks: Arc<Tracks>,
    ) -> Result<(), Fault> {
        let Arrival { at, wall } = arrival;
        let Some(id) = self.track_id(index) else { return Ok(()) };
        let Selected { kind, rate, .. } = self.selected[index];

        let Some(stamp) = self.timeline.stamp(index, unit.dts, at.into_std(), wall.into()) else {
            self.meters.discarded("overlap", 1);
            return Ok(());
        };
        if stamp.repaired {
            self.meters.discarded("timestamp_repaired", 1);
            if self.selected[index].jumps.exceed(at) {
                return self.jumps_exceeded(index);
            }
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
            arrived: at.into_std(),
            data: unit.data,
        });
        self.meters.media(kind).frames.inc();
        self.meters.last_frame.set(
            wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        );
        // Sound beside a picture that cannot be decoded is not yet a stream.
        if index == 0
            && unit.kind != FrameKind::Delta
            && let Some(on_live) = self.on_live.take()
        {
            on_live(self.publisher, self.meters, std::mem::take(&mut self.notes));
        }
        Ok(())
    }

    /// A track's time jumps without end: sound beside a picture is left out.
    fn jumps_exceeded(&mut self, index: usize) -> Result<(), Fault> {
        if index == 0 {
            self.meters.limit_exceeded("time_jumps");
            return Err(Fault::new(Code::SourceLimit, Jumps::TOO_MANY));
        }
        self.selected[index].is_left_out = true;
        let note = Note(Fault::new(Code::AudioDropped, Jumps::TOO_MANY));
        self.remark(|session| &mut session.silence, Some(note));
        Ok(())
    }

    /// Counts what the feed has seen of each track.
    fn figures(&mut self, feed: &Feed) {
        for track in &mut self.selected {
            let Some((arrivals, jitter)) = feed.arrivals(track.section) else { continue };
            let media = self.meters.media(track.kind);
            media.reordered.inc_by(arrivals.reordered - track.reordered);
            track.reordered = arrivals.reordered;
            media.jitter.set(jitter.as_secs_f64());
        }
    }

    /// Asks the watchdog.
    fn watch(&mut self, now: Instant) -> Result<(), End> {
        if self.watchdog.due().is_none_or(|due| now < due) {
            return Ok(());
        }
        match self.watchdog.check(now) {
            None | Some(Bark::HeardAgain) => Ok(()),
            Some(Bark::Stopped(fault)) if self.watchdog.is_firewalled() => {
                Err(End::UdpFailed(fault))
            }
            Some(Bark::Stopped(fault)) => Err(End::Fault(fault)),
            Some(Bark::SoundStopped(fault)) => Err(End::SoundStopped(fault)),
            Some(Bark::Silent(fault)) => {
                self.remark(|session| &mut session.silence, Some(Note(fault)));
                Ok(())
            }
        }
    }

    /// Shows a remark in place of the last one that was kept there.
    fn remark(&mut self, kept: fn(&mut Self) -> &mut Option<Note>, note: Option<Note>) {
        let old = std::mem::replace(kept(self), note.clone());
        if old == note {
            return;
        }
        let change = |notes: &mut Vec<Note>| {
            notes.retain(|known| Some(known) != old.as_ref());
            notes.extend(note);
        };
        if self.on_live.is_some() {
            change(&mut self.notes);
        } else {
            self.publisher.set_status(|status| change(&mut status.notes));
        }
    }

    /// The tracks, once all of them are known; a track that stays silent does
    /// not hold up the others for ever.
    fn tracks(&mut self, now: Instant) -> Option<Arc<Tracks>> {
        if self.tracks.is_none() {
            let known = self.selected.iter().filter(|track| track.codec.is_some()).count();
            let in_time = now < self.started + PARAMETERS_LIMIT;
            let in_bounds = self.waiting_bytes < WAITING_BYTES;
            if known < self.selected.len() && in_time && in_bounds {
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
}
