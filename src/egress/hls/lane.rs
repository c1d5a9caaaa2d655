//! One track on its way into parts: frames become samples once the next
//! frame tells how long they last.

use std::collections::VecDeque;
use std::time::Duration;

use super::targets::nanos;
use crate::cmaf::{self, Sample};
use crate::media::{ClockRate, Frame, FrameKind, MediaKind, MediaTime, Track, WallTime};

/// A track's frames that are in no part yet.
pub(super) struct Lane {
    track: Track,
    /// From the stream's line to the playlist's, in ticks.
    origin: i64,
    samples: VecDeque<Timed>,
    /// The newest frame, whose length is not known yet.
    open: Option<Timed>,
    /// How long the last frame was, in ticks.
    usual: Option<u32>,
    /// Capture time of the first frame taken last.
    wall: WallTime,
}

struct Timed {
    /// Decode time on the stream's line, in ticks.
    dts: i64,
    wall: WallTime,
    /// With a duration of zero while it is open.
    sample: Sample,
}

impl Lane {
    /// `origin` is what the playlist's clock shows at the line's zero.
    pub(super) fn new(track: &Track, origin: MediaTime) -> Self {
        Self {
            track: track.clone(),
            origin: origin.rescaled(track.rate),
            samples: VecDeque::new(),
            open: None,
            usual: None,
            wall: WallTime::from_unix_nanos(0),
        }
    }

    pub(super) fn kind(&self) -> MediaKind {
        self.track.kind()
    }

    fn rate(&self) -> ClockRate {
        self.track.rate
    }

    fn at(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.rate()).nanos()
    }

    /// Whether a decoder can start at the newest frame whose length is known.
    pub(super) fn ends_with_entry_point(&self) -> bool {
        self.samples.back().is_some_and(|timed| timed.sample.sync)
    }

    /// From the newest frame to `frame`.
    pub(super) fn since_newest(&self, frame: &Frame) -> Option<Duration> {
        let newest = self.at(self.open.as_ref()?.dts);
        Some(nanos(frame.dts.nanos().saturating_sub(newest)))
    }

    /// Takes a frame, which ends the one before: that one's decode time in
    /// nanoseconds is returned.
    pub(super) fn push(&mut self, frame: &Frame) -> Option<i64> {
        let mut dts = frame.dts.rescaled(self.rate());
        let before = self.open.take().map(|mut before| {
            // Decode times must grow; `timeline` sees to it, we rely on it
            // for the file format alone.
            dts = dts.max(before.dts.saturating_add(1));
            before.sample.duration = ticks(dts - before.dts);
            before
        });
        let pts = frame.pts.rescaled(self.rate());
        let position = u64::try_from(pts.saturating_add(self.origin)).unwrap_or(0);
        self.open = Some(Timed {
            dts,
            wall: frame.wall,
            sample: Sample {
                duration: 0,
                composition: pts.saturating_sub(dts).clamp(i64::from(i32::MIN), i64::from(i32::MAX))
                    as i32,
                sync: frame.kind != FrameKind::Delta,
                data: cmaf::sample_data(&self.track, position, &frame.data),
            },
        });
        let before = before?;
        self.usual = Some(before.sample.duration);
        let at = self.at(before.dts);
        self.samples.push_back(before);
        Some(at)
    }

    /// Ends the newest frame as if one more came as usual, yet after
    /// `at_most`; returns that end in nanoseconds.
    pub(super) fn finish(&mut self, at_most: Duration) -> Option<i64> {
        let mut last = self.open.take()?;
        let nanos = i64::try_from(at_most.as_nanos()).unwrap_or(i64::MAX);
        let at_most = MediaTime::new(nanos, ClockRate::NANOSECONDS);
        let at_most = ticks(at_most.rescaled(self.rate()));
        last.sample.duration = self.usual.map_or(at_most, |usual| usual.min(at_most));
        let end = last.dts.saturating_add(i64::from(last.sample.duration));
        self.samples.push_back(last);
        Some(self.at(end))
    }

    /// Hands out the frames decoded before `end` (nanoseconds), with the
    /// decode time of the first on the playlist's clock.
    pub(super) fn take_before(&mut self, end: i64) -> Option<(u64, Vec<Sample>)> {
        let count = self.samples.iter().take_while(|timed| self.at(timed.dts) < end).count();
        let first = self.samples.front().filter(|_| count > 0)?;
        self.wall = first.wall;
        let base = u64::try_from(first.dts.saturating_add(self.origin)).unwrap_or(0);
        Some((base, self.samples.drain(..count).map(|timed| timed.sample).collect()))
    }

    /// When the first frame handed out last was captured.
    pub(super) fn wall_of_taken(&self) -> WallTime {
        self.wall
    }

    /// Drops frames older than the newest by more than `length`.
    pub(super) fn keep_newest(&mut self, length: Duration) {
        let Some(newest) = self.open.as_ref().map(|open| self.at(open.dts)) else { return };
        let old = |timed: &Timed| nanos(newest.saturating_sub(self.at(timed.dts))) > length;
        let count = self.samples.iter().take_while(|timed| old(timed)).count();
        self.samples.drain(..count);
    }
}

/// A sample's length; at least one tick, so that decode times grow.
fn ticks(ticks: i64) -> u32 {
    u32::try_from(ticks.max(1)).unwrap_or(u32::MAX)
}
