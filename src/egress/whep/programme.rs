//! What of the stream a viewer is still to be shown, and at which times: it
//! begins at a key frame, and again after a gap or when the viewer asks for one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Waiting};
use super::group::Group;
use super::packetizer::Packets;
use super::stamps;
use crate::media::MediaKind;

/// Key frames on request are at least this far apart, and the more so the more
/// has to be sent with them: a viewer that asks because its line is full must
/// not be sent 30 s of video every second.
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(1);
const REPEATED_BYTES_PER_SECOND: f64 = 500_000.0;

/// A viewer's choice of the stream.
pub(super) struct Programme {
    /// Codecs it takes ([`crate::media::Codec::name`]).
    video: Option<&'static str>,
    audio: Option<&'static str>,
    /// What came before this is not for it, or already on its way.
    next_sequence: u64,
    /// Waits for a frame to start at.
    seeking: bool,
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
    /// For a viewer that takes these codecs, of pictures and of sound.
    pub(super) fn new([video, audio]: [Option<&'static str>; 2]) -> Self {
        Self {
            video,
            audio,
            next_sequence: 0,
            seeking: true,
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

    /// A new frame of the stream. Returns how many packets had to be thrown
    /// away since they waited too long; the frame itself may be none the viewer
    /// can take.
    pub(super) fn offer(&mut self, now: Instant, packets: &Arc<Packets>) -> u64 {
        let wanted = match packets.kind {
            MediaKind::Video => self.video,
            MediaKind::Audio => self.audio,
        };
        if wanted != Some(packets.codec) || packets.sequence < self.next_sequence {
            return 0;
        }
        self.next_sequence = packets.sequence + 1;
        let dropped = self.queue.drop_overdue(now);
        self.seeking |= dropped > 0;
        if packets.kind == MediaKind::Audio {
            self.queue.push(now, Arc::clone(packets), packets.ticks);
            return dropped;
        }
        if self.seeking && !packets.entry {
            return dropped;
        }
        self.seeking = false;
        if packets.entry {
            self.key_frame_interval = KEY_FRAME_INTERVAL;
            self.key_frame_at = Some(now);
            self.key_frame_due = None;
        }
        self.queue_picture(now, Arc::clone(packets), packets.ticks);
        dropped
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
        self.queue.push(now, packets, ticks);
    }

    /// Queues the group of pictures being shown, so that nobody waits for the
    /// camera's next key frame.
    pub(super) fn catch_up(&mut self, group: &Group, now: Instant) {
        let frames = group.pictures();
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
        self.next_sequence = end.max(self.next_sequence);
        let times: Vec<i64> = frames.iter().map(|packets| packets.ticks).collect();
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
        self.seeking = false;
        self.key_frame_at = Some(now);
        self.newest = times.last().copied();
        self.queue.expect(group.bytes());
        for (packets, time) in frames.iter().zip(times) {
            self.queue.push(now, Arc::clone(packets), time);
        }
    }

    /// The viewer asks for a key frame.
    pub(super) fn key_frame_wanted(&mut self, now: Instant) {
        // Not forgotten when it comes too early: not every viewer asks twice.
        let due = self.key_frame_at.map_or(now, |at| now.max(at + self.key_frame_interval));
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
