//! One clean timeline per stream.
//!
//! Here: RTP time and sender reports of one camera session after another
//! become one monotonic line that starts at zero and never goes back, and a
//! wall clock for it. Not here: I/O, a clock (time is an argument), frames.
//!
//! Promise: no output ever sees a camera's clock, and none dies of one bad
//! frame. A single impossible time is repaired, a lasting shift is rejoined
//! and marked as a discontinuity, and each is counted by [`Stamp::repaired`].

use std::time::{Duration, Instant};

use crate::media::{ClockRate, MediaKind, MediaTime, WallTime};

/// A camera's time may run this far ahead of arrival before it is a jump.
/// Cameras send a group of pictures from their buffer in one burst at the
/// start, of 2 s at most where seen.
const MAX_AHEAD: i64 = 3_000_000_000;

/// …and this far behind: a TCP stall delivers late what was captured in time.
const MAX_BEHIND: i64 = 10_000_000_000;

/// A camera's clock may be wrong by one part in this many: 1,000 ppm, ten
/// times what a bad quartz does. Slower than that, it is followed; it would
/// otherwise look like a jump after some hours.
const DRIFT: i64 = 1_000;

/// Frames in a row with an impossible time after which it is the new time.
const LASTING: u32 = 5;

/// A camera's wall clock is believed within this of ours. Cameras without NTP
/// report 1970, or their time zone as UTC.
const SANE_WALL: i64 = 5_000_000_000;

/// Sound is moved to its picture when sender reports put it this far off.
const AUDIBLE_SKEW: i64 = 40_000_000;

/// Where a frame lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// On the stream's line; strictly later than the track's last one.
    pub dts: MediaTime,
    /// Capture time.
    pub wall: WallTime,
    /// First of its track after the source came back or its time shifted.
    pub discontinuity: bool,
    /// The camera's time was impossible and has been replaced.
    pub repaired: bool,
}

/// The line of one stream, across all of its camera sessions.
#[derive(Debug, Default)]
pub struct Timeline {
    /// The moment that is zero on the line.
    origin: Option<Instant>,
    /// Latest moment given out, so that a new session starts behind it.
    latest: i64,
    /// No frame of this session may come before it.
    floor: i64,
    sessions: u64,
    /// Line position of the session's RTP time zero, once a frame has come.
    base: Option<i64>,
    /// Wall clock minus line, nanoseconds.
    wall_offset: Option<i64>,
    /// Our clock minus the line, as of the newest frame's arrival.
    arrival_offset: i64,
    tracks: Vec<TrackLine>,
}

#[derive(Debug)]
struct TrackLine {
    kind: MediaKind,
    rate: ClockRate,
    /// RTP time, and the ticks on the line that it is.
    anchor: Option<(i64, i64)>,
    /// RTP time, line ticks and arrival of the newest frame.
    last: Option<(i64, i64, Instant)>,
    /// How far its time runs ahead of arrival, nanoseconds, as followed so far.
    lead: i64,
    /// What of it is drift, so a difference of clocks that is there to stay.
    drift: i64,
    /// Impossible times in a row.
    suspicious: u32,
    discontinuity: bool,
    /// Wall clock minus line by this track's newest sender report.
    report_offset: Option<i64>,
}

impl TrackLine {
    fn ticks(&self, nanos: i64) -> i64 {
        MediaTime::new(nanos, ClockRate::NANOSECONDS).rescaled(self.rate)
    }

    fn nanos(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.rate).nanos()
    }

    /// How far ahead of arrival a jump, or a new session, may leave the line.
    /// It cannot go back, so without an end to this each round of a file camera
    /// that begins with a burst would put it further ahead.
    fn reach(&self) -> i64 {
        self.drift.max(0) + MAX_AHEAD
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

impl Timeline {
    /// A line without a frame yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A camera session begins, with these tracks.
    pub fn start_session(&mut self, tracks: impl IntoIterator<Item = (MediaKind, ClockRate)>) {
        let discontinuity = self.sessions > 0;
        // A millisecond is more than one tick of any track's clock.
        self.floor = if discontinuity { self.latest.saturating_add(1_000_000) } else { 0 };
        self.sessions += 1;
        let drift = self.tracks.iter().map(|track| track.drift).max().unwrap_or(0);
        (self.base, self.wall_offset) = (None, None);
        let line = |(kind, rate)| TrackLine {
            kind,
            rate,
            anchor: None,
            last: None,
            lead: 0,
            drift,
            suspicious: 0,
            discontinuity,
            report_offset: None,
        };
        self.tracks = tracks.into_iter().map(line).collect();
    }

    /// Puts a frame on the line. `rtp` is unwrapped RTP decode time in ticks
    /// of the track, zero where the session's RTP-Info says it began (else at
    /// its first packet); `at` and `wall` are when it arrived.
    ///
    /// `None` for a frame of no known track, and for sound that overlaps what
    /// was already given out: drop it and count it.
    pub fn stamp(&mut self, track: usize, rtp: i64, at: Instant, wall: WallTime) -> Option<Stamp> {
        let now = nanos(at.saturating_duration_since(*self.origin.get_or_insert(at)));
        let floor = self.floor;
        let line = self.tracks.get_mut(track)?;

        let (rtp_zero, line_zero) = line.anchor.unwrap_or_else(|| {
            let elapsed = line.nanos(rtp);
            // The session starts now, or just behind what is already out.
            let start = now.max(floor);
            line.lead = (start - now).min(line.reach());
            line.drift = line.drift.min(line.lead);
            let base = *self.base.get_or_insert(start.saturating_sub(elapsed));
            let by_rtp = base.saturating_add(elapsed);
            // An RTP-Info that is off by seconds (some cameras send zero) is none.
            let sane = by_rtp.abs_diff(start) < MAX_AHEAD as u64
                && by_rtp.saturating_sub(now) <= line.lead + MAX_AHEAD;
            let position = if sane { by_rtp } else { start };
            (rtp, line.ticks(position.max(floor)))
        });
        line.anchor = Some((rtp_zero, line_zero));
        let expected = line_zero.saturating_add(rtp.saturating_sub(rtp_zero));

        let mut repaired = false;
        let mut ticks = expected;
        if let Some((last_rtp, last_ticks, last_at)) = line.last {
            let ahead = line.nanos(expected).saturating_sub(now);
            let off = ahead.saturating_sub(line.lead);
            let impossible = rtp < last_rtp || !(-MAX_BEHIND..=MAX_AHEAD).contains(&off);
            if impossible {
                line.suspicious = line.suspicious.saturating_add(1);
                repaired = true;
                let passed = nanos(at.saturating_duration_since(last_at)).min(MAX_AHEAD);
                // Too far ahead, it waits until real time has come up.
                let waits = line.nanos(last_ticks).saturating_sub(now) > line.reach();
                let step = if waits { 1 } else { line.ticks(passed).max(1) };
                ticks = last_ticks.saturating_add(step);
                let lead = line.nanos(ticks).saturating_sub(now);
                if line.suspicious >= LASTING && lead <= line.reach() {
                    // It stays: this is the camera's time from now on.
                    ticks = ticks.max(line.ticks(now));
                    line.lead = lead.max(0);
                    line.drift = line.drift.min(line.lead);
                    line.anchor = Some((rtp, ticks));
                    line.suspicious = 0;
                    line.discontinuity = true;
                    line.report_offset = None;
                    line.last = None;
                }
            } else {
                line.suspicious = 0;
                let passed = nanos(at.saturating_duration_since(last_at));
                let step = off.clamp(-passed / DRIFT, passed / DRIFT);
                line.lead += step;
                line.drift += step;
                if ticks <= last_ticks {
                    if line.kind == MediaKind::Audio && rtp > last_rtp {
                        // Sound was moved back to its picture: what overlaps goes.
                        line.last = Some((last_rtp, last_ticks, at));
                        return None;
                    }
                    // Two fields, or slices, under one time.
                    ticks = last_ticks + 1;
                }
            }
        }
        // A repaired time is no measure for the next one.
        let known_rtp = if repaired { line.last.map(|last| last.0) } else { None };
        line.last = Some((known_rtp.unwrap_or(rtp), ticks, at));

        let moment = line.nanos(ticks);
        self.latest = self.latest.max(moment);
        self.arrival_offset = wall.unix_nanos().saturating_sub(now);
        let offset = *self.wall_offset.get_or_insert(self.arrival_offset);
        Some(Stamp {
            dts: MediaTime::new(ticks, line.rate),
            wall: WallTime::from_unix_nanos(moment.saturating_add(offset)),
            discontinuity: std::mem::take(&mut line.discontinuity),
            repaired,
        })
    }

    /// Takes a sender report (RFC 3550 §6.4.1): `wall` is its NTP time, `rtp`
    /// its RTP time, unwrapped as in [`Timeline::stamp`]; `now` is our clock.
    pub fn sender_report(&mut self, track: usize, rtp: i64, wall: WallTime, now: WallTime) {
        let Some(line) = self.tracks.get_mut(track) else { return };
        let Some((rtp_zero, line_zero)) = line.anchor else { return };
        let moment = line.nanos(line_zero.saturating_add(rtp.saturating_sub(rtp_zero)));
        // Its RTP time is about now, as its NTP time is. That of a camera which
        // has restarted its RTP clock, or made it up, tells nothing.
        let arrived = now.unix_nanos().saturating_sub(self.arrival_offset);
        let off = moment.saturating_sub(line.lead).saturating_sub(arrived);
        if off.saturating_abs() > MAX_BEHIND {
            return;
        }
        let offset = wall.unix_nanos().saturating_sub(moment);
        line.report_offset = Some(offset);
        let kind = line.kind;

        let reference = self.tracks.iter().position(|t| t.kind == MediaKind::Video).unwrap_or(0);
        if track == reference && wall.unix_nanos().abs_diff(now.unix_nanos()) < SANE_WALL as u64 {
            self.wall_offset = Some(offset);
        }
        if kind == MediaKind::Audio || track == reference {
            self.align_sound(reference);
        }
    }

    /// Moves sound to where its sender reports put it relative to the picture;
    /// the camera's clock may be wrong, as long as it is one clock.
    fn align_sound(&mut self, reference: usize) {
        let Some(picture) = self.tracks.get(reference).and_then(|t| t.report_offset) else {
            return;
        };
        for line in self.tracks.iter_mut().filter(|t| t.kind == MediaKind::Audio) {
            let Some(offset) = line.report_offset else { continue };
            let skew = offset.saturating_sub(picture);
            if (AUDIBLE_SKEW..MAX_AHEAD).contains(&skew.saturating_abs())
                && let Some((rtp, ticks)) = line.anchor
            {
                line.anchor = Some((rtp, ticks.saturating_add(line.ticks(skew))));
                line.report_offset = Some(picture);
            }
        }
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
