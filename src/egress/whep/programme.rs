//! What of the stream a viewer is still to be shown, and at which times: it
//! begins at a key frame, and again after a gap or when the viewer asks for one.
//!
//! The pictures may come from the stream or from its substream, and change over
//! at a key frame of either; the times of both lie on one line. Sound is the
//! stream's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Waiting};
use super::group::{Group, Groups};
use super::ladder::Rung;
use super::packetizer::Packets;
use super::sound::Sound;
use super::stamps;
use crate::media::{MediaKind, Quality, WallTime};

/// Key frames on request are at least this far apart, and the more so the more
/// has to be sent with them: a viewer that asks because its line is full must
/// not be sent 30 s of video every second.
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(1);
const REPEATED_BYTES_PER_SECOND: f64 = 500_000.0;

/// What no way carries less than, in bits a second, or nothing would ever be
/// shown.
const LEAST_CARRIED: u64 = 24_000;

/// Clocks of a camera's two streams that differ by more are not compared.
const SAME_CLOCK: i64 = 45_000;

/// A group of pictures is sent to change over at once if a narrow way takes
/// this part of a second for it.
const AT_ONCE: f64 = 0.5;

/// A viewer's choice of the stream.
pub(super) struct Programme {
    /// Codecs it takes ([`crate::media::Codec::name`]).
    video: Option<&'static str>,
    audio: Option<&'static str>,
    /// What came before this is not for it, or already on its way: of the
    /// stream, and of its substream.
    next_sequence: [u64; 2],
    /// Whose pictures it is sent, and what is to be added to their times.
    feed: Quality,
    shift: i64,
    /// What its way carries: which pictures that allows, and bits a second.
    rung: Rung,
    carried: u64,
    /// Whether it could be shown the substream, and whether that can be had.
    may_sub: bool,
    has_sub: bool,
    /// The newest picture queued as it came: its RTP time, when it was
    /// captured, and when it was queued.
    anchor: Option<(i64, WallTime, Instant)>,
    /// Where only key frames are sent, when the next may be.
    next_key: Option<Instant>,
    /// Waits for a frame to start at.
    seeking: bool,
    sound: Sound,
    queue: Backlog,
    /// RTP time and distance of the newest picture queued.
    newest: Option<i64>,
    duration: i64,
    /// When it was last sent a key frame, and when it is to get one it asked
    /// for.
    key_frame_at: Option<Instant>,
    key_frame_due: Option<Instant>,
    key_frame_interval: Duration,
    /// Pictures before this were shown again on request.
    repeated: u64,
}

impl Programme {
    /// For a viewer that takes these codecs, of pictures and of sound, and may
    /// be shown the substream.
    pub(super) fn new([video, audio]: [Option<&'static str>; 2], may_sub: bool) -> Self {
        Self {
            video,
            audio,
            next_sequence: [0; 2],
            feed: Quality::Main,
            shift: 0,
            rung: Rung::Main,
            carried: LEAST_CARRIED,
            may_sub,
            has_sub: may_sub,
            anchor: None,
            next_key: None,
            seeking: true,
            sound: Sound::default(),
            queue: Backlog::default(),
            newest: None,
            duration: 3_600,
            key_frame_at: None,
            key_frame_due: None,
            key_frame_interval: KEY_FRAME_INTERVAL,
            repeated: 0,
        }
    }

    /// The codecs it takes, of pictures and of sound.
    pub(super) fn codecs(&self) -> [Option<&'static str>; 2] {
        [self.video, self.audio]
    }

    /// A new frame of the stream, or of its substream. Returns how many packets
    /// had to be thrown away since they waited too long; the frame itself may be
    /// none the viewer can take.
    pub(super) fn offer(&mut self, now: Instant, of: Quality, packets: &Arc<Packets>) -> u64 {
        let wanted = match packets.kind {
            MediaKind::Video => self.video,
            MediaKind::Audio => self.audio.filter(|_| of == Quality::Main),
        };
        let next = &mut self.next_sequence[of as usize];
        if wanted != Some(packets.codec) || packets.sequence < *next {
            return 0;
        }
        *next = packets.sequence + 1;
        let dropped = self.queue.drop_overdue(now, self.is_sparse());
        self.seeking |= dropped > 0;
        if packets.kind == MediaKind::Audio {
            let carried = (self.rung != Rung::Main && self.video.is_some()).then_some(self.carried);
            let held = self.sound.is_held();
            if !self.sound.passes(now, packets, carried) {
                if !held {
                    self.queue.drop_sound();
                }
            } else if self.is_sparse() {
                // A key frame may take a narrow way seconds.
                self.queue.push_sound(now, Arc::clone(packets), packets.ticks);
            } else {
                self.queue.push(now, Arc::clone(packets), packets.ticks);
            }
            return dropped;
        }
        if of != self.feed {
            if of != self.wanted() || !packets.entry {
                return dropped;
            }
            self.change_over(now, of, packets);
        }
        if !self.may_show(now, packets) {
            return dropped;
        }
        if packets.entry {
            self.key_frame_interval = KEY_FRAME_INTERVAL;
            self.key_frame_at = Some(now);
            self.key_frame_due = None;
        }
        self.queue_picture(now, Arc::clone(packets), packets.ticks + self.shift);
        dropped
    }

    /// Whether the next picture of its feed is one to send. What follows one
    /// that is not can be none, until a key frame.
    fn may_show(&mut self, now: Instant, packets: &Packets) -> bool {
        let sparse = self.is_sparse();
        let waits = sparse && (self.queue.has_pictures() || self.next_key > Some(now));
        if waits || ((sparse || self.seeking) && !packets.entry) {
            self.seeking = true;
            return false;
        }
        self.seeking = false;
        if sparse {
            let seconds = packets.bytes() as f64 * 8.0 / self.carried as f64;
            self.next_key = Some(now + Duration::from_secs_f64(seconds));
        }
        true
    }

    /// Whose pictures it is to be sent.
    pub(super) fn wanted(&self) -> Quality {
        match self.rung {
            Rung::Main => Quality::Main,
            Rung::Sub | Rung::KeyFrames if self.has_sub => Quality::Sub,
            Rung::Sub | Rung::KeyFrames => Quality::Main,
        }
    }

    /// Whose pictures it is sent.
    pub(super) fn feed(&self) -> Quality {
        self.feed
    }

    /// Whether it is sent key frames alone: its way carries no more, or it is
    /// about to change over to what that carries.
    fn is_sparse(&self) -> bool {
        let waits = self.wanted() == Quality::Sub && self.feed == Quality::Main;
        self.rung == Rung::KeyFrames || waits
    }

    /// Whether its sound is held back, to leave the way to pictures.
    pub(super) fn holds_sound(&self) -> bool {
        self.sound.is_held()
    }

    /// Bits a second it may be sent, where that is to be minded.
    pub(super) fn limit(&self) -> Option<u64> {
        self.is_sparse().then_some(self.carried)
    }

    /// Whether it could be shown a substream, if there were one.
    pub(super) fn may_sub(&self) -> bool {
        self.may_sub
    }

    /// Whether there is a substream for it.
    pub(super) fn has_sub(&self) -> bool {
        self.has_sub
    }

    /// Its way carries so much, which is enough for that.
    pub(super) fn want(&mut self, rung: Rung, carried: u64) {
        self.rung = rung;
        self.carried = carried.max(LEAST_CARRIED);
        self.next_key = None;
        if rung == Rung::Main {
            self.has_sub = self.may_sub;
        }
    }

    /// The substream cannot be had, for now or, of another codec, `ever`.
    pub(super) fn lose_sub(&mut self, ever: bool) {
        self.has_sub = false;
        self.may_sub &= !ever;
        if self.rung == Rung::Sub {
            self.rung = Rung::KeyFrames;
        }
    }

    /// What is to be added to the times of its feed.
    pub(super) fn shift(&self, kind: MediaKind) -> i64 {
        if kind == MediaKind::Video { self.shift } else { 0 }
    }

    /// From now on pictures come from `feed`, of which `newest` is the one
    /// that has just come: it is shown as long after the last one of the other
    /// as it was captured, or where clocks do not agree, as it came.
    fn change_over(&mut self, now: Instant, feed: Quality, newest: &Packets) {
        self.feed = feed;
        // The other's pictures have numbers of their own.
        self.repeated = 0;
        let Some((ticks, wall, at)) = self.anchor else { return };
        let nanos = newest.wall.unix_nanos().saturating_sub(wall.unix_nanos());
        let by_clock = ticks.saturating_add((i128::from(nanos) * 9 / 100_000) as i64);
        let waited = now.saturating_duration_since(at);
        let by_arrival = ticks + (waited.as_secs_f64() * 90_000.0) as i64;
        let agree = |time: i64| time.abs_diff(by_arrival) < SAME_CLOCK as u64;
        // The stream's own times again, with which its sound agrees.
        let own = feed == Quality::Main && agree(newest.ticks);
        self.shift = match agree(by_clock) {
            _ if own => 0,
            true => by_clock - newest.ticks,
            false => by_arrival - newest.ticks,
        };
    }

    /// Changes over to the substream's group of pictures, if that is wanted and
    /// the way takes it soon; otherwise that waits for the next key frame.
    pub(super) fn change_over_at_once(&mut self, groups: &Groups, now: Instant) {
        if self.wanted() == self.feed || self.feed != Quality::Main {
            return;
        }
        let Some(group) = groups.of(Quality::Sub) else { return };
        let Some(newest) = group.pictures().last() else { return };
        if group.bytes() as f64 * 8.0 > self.carried as f64 * AT_ONCE {
            return;
        }
        let newest = Arc::clone(newest);
        if self.video == Some(newest.codec) {
            self.change_over(now, Quality::Sub, &newest);
            self.catch_up(group, now);
        }
    }

    /// Whether it can take what the stream now is.
    pub(super) fn takes_video(&self, codec: Option<&'static str>) -> bool {
        self.video.is_none() || codec.is_none() || self.video == codec
    }

    fn queue_picture(&mut self, now: Instant, packets: Arc<Packets>, ticks: i64) {
        let ticks = match self.newest {
            Some(newest) => {
                if (1..=90_000).contains(&(ticks - newest)) {
                    self.duration = ticks - newest;
                }
                ticks.max(newest + 1)
            }
            None => ticks,
        };
        self.newest = Some(ticks);
        self.anchor = Some((ticks, packets.wall, now));
        self.queue.push(now, packets, ticks);
    }

    /// Queues the group of pictures being shown, so that nobody waits for the
    /// camera's next key frame.
    pub(super) fn catch_up(&mut self, group: &Group, now: Instant) {
        let mut frames = group.pictures();
        if self.is_sparse() {
            frames = frames.get(..1).unwrap_or_default();
        }
        if frames.first().is_none_or(|packets| self.video != Some(packets.codec)) {
            return;
        }
        let end = frames.last().map_or(0, |packets| packets.sequence + 1);
        // Browsers ask every few seconds when no picture comes: a camera that is
        // gone is not to be seen moving, again and again.
        if self.newest.is_some() && self.repeated == end {
            return;
        }
        self.repeated = if self.newest.is_some() { end } else { 0 };
        let next = &mut self.next_sequence[self.feed as usize];
        *next = end.max(*next);
        let times: Vec<i64> = frames.iter().map(|packets| packets.ticks + self.shift).collect();
        if let [.., a, b] = times[..] {
            self.duration = (b - a).clamp(1, 90_000);
        }
        let times = match self.newest {
            None => stamps::glued(times),
            Some(newest) => match stamps::again(times.len(), newest, self.duration) {
                Some(times) => times,
                None => return,
            },
        };
        let pause = Duration::from_secs_f64(group.bytes() as f64 / REPEATED_BYTES_PER_SECOND);
        self.key_frame_interval = KEY_FRAME_INTERVAL.max(pause);
        // Behind a key frame alone nothing can follow.
        self.seeking = self.is_sparse();
        self.key_frame_at = Some(now);
        self.newest = times.last().copied();
        if let (Some(ticks), Some(newest)) = (self.newest, frames.last()) {
            self.anchor = Some((ticks, newest.wall, now));
        }
        self.queue.expect(group.bytes());
        for (packets, time) in frames.iter().zip(times) {
            self.queue.push(now, Arc::clone(packets), time);
        }
    }

    /// The viewer asks for a key frame.
    pub(super) fn key_frame_wanted(&mut self, now: Instant) {
        // Not forgotten when it comes too early: not every viewer asks twice.
        let due = self.key_frame_at.map_or(now, |at| now.max(at + self.key_frame_interval));
        let due = self.next_key.map_or(due, |next| due.max(next));
        self.key_frame_due.get_or_insert(due);
    }

    /// When a key frame that was asked for is to be sent.
    pub(super) fn key_frame_due(&self) -> Option<Instant> {
        self.key_frame_due
    }

    /// Takes the wish for a key frame once it is due, and all before it is out.
    pub(super) fn take_key_frame(&mut self, now: Instant) -> bool {
        self.queue.is_empty() && self.key_frame_due.take_if(|due| *due <= now).is_some()
    }

    /// Whether all is out.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What goes out next.
    pub(super) fn front_mut(&mut self) -> Option<&mut Waiting> {
        self.queue.front_mut()
    }

    /// The first is out.
    pub(super) fn pop(&mut self) {
        self.queue.pop();
    }

    #[cfg(test)]
    pub(super) fn packets(&self) -> impl Iterator<Item = &Arc<Packets>> {
        self.queue.packets()
    }
}

#[cfg(test)]
#[path = "programme_tests.rs"]
mod tests;
