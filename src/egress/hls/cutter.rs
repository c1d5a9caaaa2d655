//! Cuts a stream of frames, once the targets are known.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::lane::Lane;
use super::segment::{Head, Init, Part, Pieces};
use super::segmenter::Step;
use super::store::LEAST_LISTED;
use super::targets::{Targets, nanos};
use crate::cmaf::{self, Run};
use crate::media::{ClockRate, Codec, Frame, MediaKind, MediaTime, Track, Tracks, WallTime};

/// A segment of more bytes ends with its part, key frame or not: eight of
/// them fit in what `store` holds of a stream.
pub(super) const SEGMENT_BYTES: usize = 32 << 20;

/// Unit of wall time, in milliseconds, that the first segment number counts.
const NUMBER_MS: i64 = 100;

/// A gap is this long where no segment was longer: numbers are not used up, and
/// who waits is told twice a second at most. A group of pictures that ends a segment early,
/// for the next would not end within it, ends one of this length at the least.
const SHORTEST_SEGMENT: Duration = Duration::from_secs(1);

/// A packet of sound, should there be no second one to measure it by.
const USUAL_SOUND: Duration = Duration::from_millis(20);

/// Media time and wall time of one moment may differ by this much. They are
/// the same at first, so that two qualities have one timeline; then a clock
/// runs wrong, or is set.
const ADRIFT: i64 = 1_000_000_000;

/// Missing media shorter than this is not listed as a gap: players step over
/// it by themselves. Of more, hls.js 1.7 stood half a second longer, and
/// shaka-player 5.2 up to five.
const SHORTEST_GAP: Duration = Duration::from_millis(500);

/// But where gaps are listed, what is left of the same outage is one, too: of the segment
/// behind them shaka-player 5.2 takes the first part where the list's lengths put it, and the
/// rest by its date, and stood again where these differed. A date's unit.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// A part that begins without a key frame is listed to begin this much later
/// than its media does, in microseconds.
///
/// shaka-player 5.2 moves a source buffer by 1 ms more than it has to (an old
/// Edge), and empties the decoder where a part is off by 1 ms or more: without
/// rounding errors each part was, or none, by the toss of a coin, and then
/// Chromium drops all up to the next key frame. Two, as each end of a part is
/// rounded, and a time of day as a float is a quarter off.
const LATE_MICROS: i64 = 2;

/// A segment whose last part is no longer than this is complete in the list once there is a
/// part behind it. hls.js 1.7 takes a segment for loaded that is complete in its playlist and
/// buffered up to 0.2 s before its end (`bufferPadding` of its fragment tracker): had it not
/// yet appended the part before, it never asked for the last one, and stood until the
/// segment's parts left the list.
const SHORT_PART: Duration = Duration::from_millis(250);

/// Cuts, once the targets are known.
pub(super) struct Cutter {
    targets: Targets,
    /// Milliseconds from the stream's line to Unix time.
    origin: MediaTime,
    lanes: Option<Lanes>,
    /// Number of the open segment, or of the next one.
    pub(super) number: u64,
    fragments: u32,
    /// Decode time at which the open segment began; `None` between segments.
    segment_began: Option<i64>,
    /// Bytes in the open segment.
    segment_bytes: usize,
    part_began: i64,
    /// The same as it is listed, in microseconds.
    part_listed: i64,
    discontinuity: bool,
    /// Whether any segment was published before.
    begun: bool,
    /// What was published first, and whether it was ever something else: from
    /// then on key frames carry their parameter sets.
    first: Option<Codec>,
    changed: bool,
    /// Whether the first segment is complete.
    opened: bool,
    /// Where the newest segment ended, stream time and wall time, while no
    /// frame continues it.
    ended: Option<(i64, WallTime)>,
    /// Length of the segments of this outage that stand for what is missing.
    gaps: Duration,
    most_gaps: Duration,
    /// The longest segment so far.
    longest: Duration,
    /// When the newest key frame came, and how long after the one before it.
    key: Option<i64>,
    group: Duration,
    /// What ends an outage in the list: it comes with the first part behind it.
    held: Vec<Step>,
    /// The next segment, or the open one, is the first behind an outage.
    resumes: bool,
    /// The open segment ends with the next key frame that is not in its first
    /// part: it begins without one.
    ends_with_key: bool,
    /// The segment before has ended, but it is not said yet.
    unsaid: bool,
    /// How far segments' dates are ahead of the stream's line, in nanoseconds. It stays as long
    /// as `origin` does, though the camera's clock becomes known better: hls.js 1.7 and
    /// shaka-player 5.2 place segments by their dates. Where those stepped by 0.2 s, hls.js
    /// looked for parts where they were not; by 1 ms, shaka stood until the next key frame;
    /// by 50 ms where the parameters changed, 0.7 s there.
    dated: Option<i64>,
}

struct Lanes {
    lead: Lane,
    audio: Option<Lane>,
    /// Parameter sets that go in front of key frames.
    sets: Bytes,
}

impl Cutter {
    /// Numbers begin at `unused` or above.
    pub(super) fn new(targets: Targets, config: &Config, first: &Frame, unused: u64) -> Self {
        let wall_ms = first.wall.unix_nanos().max(0) / 1_000_000;
        // Half the window: while the source is away, what was before can still be
        // seen, and no player sits in front of gaps alone.
        let most_gaps = config.window().max(targets.segment * LEAST_LISTED) / 2;
        Self {
            targets,
            origin: origin(first),
            lanes: None,
            // Segments last a second at the least, those that a reconnect, a
            // new setting or a late key frame cuts short a tenth of it all in
            // all. So numbers fall behind the clock, and a restart begins
            // above all it used.
            number: ((wall_ms / NUMBER_MS) as u64).max(unused),
            fragments: 0,
            segment_began: None,
            segment_bytes: 0,
            part_began: 0,
            part_listed: 0,
            discontinuity: false,
            begun: false,
            first: None,
            changed: false,
            opened: false,
            ended: None,
            gaps: Duration::ZERO,
            most_gaps,
            longest: SHORTEST_SEGMENT,
            key: None,
            group: Duration::ZERO,
            held: Vec::new(),
            resumes: false,
            ends_with_key: false,
            unsaid: false,
            dated: None,
        }
    }

    /// Takes the next frame of the bus; `heard` says whether sound comes.
    pub(super) fn push(
        &mut self,
        frame: &Frame,
        tracks: &Tracks,
        heard: bool,
        out: &mut Vec<Step>,
    ) {
        let Some(lead) = lead(tracks) else { return };
        let audio = second(tracks, lead).filter(|_| heard);

        if frame.track == lead.id {
            if let Some(lanes) = &self.lanes {
                let gap = lanes.lead.since_newest(frame).unwrap_or_default();
                // Sound that only now began to come, or has stopped, needs a
                // new init segment; a frame longer than a segment cannot be
                // listed.
                let other = lanes.audio.is_some() != audio.is_some() && frame.is_entry_point();
                let off = origin(frame).nanos().saturating_sub(self.origin.nanos());
                let adrift = off.saturating_abs() > ADRIFT && frame.is_entry_point();
                if frame.discontinuity || other || adrift || gap > self.targets.segment {
                    self.interrupt(Some(frame), out);
                }
                if adrift {
                    (self.origin, self.dated) = (origin(frame), None);
                }
            }
            if self.lanes.is_none() {
                if !frame.is_entry_point() {
                    return;
                }
                let mut steps = std::mem::take(&mut self.held);
                self.fill(frame.dts.nanos(), true, &mut steps);
                self.begin(lead, audio, &mut steps);
                match self.resumes {
                    true => self.held = steps,
                    false => out.append(&mut steps),
                }
            }
            self.push_lead(frame, out);
        } else if Some(frame.track) == audio.map(|track| track.id) {
            let Some(lanes) = &mut self.lanes else { return };
            let Some(lane) = &mut lanes.audio else { return };
            if frame.discontinuity {
                // The hole belongs to the frame before as little as to this
                // one; the picture's own first frame starts things anew.
                lane.finish(USUAL_SOUND);
            }
            lane.push(frame);
            // The picture stands still while sound goes on: keep what a part
            // can need, drop the rest.
            lane.keep_newest(self.targets.segment);
        }
    }

    /// The source is away, and the stream's line has come to `now`.
    pub(super) fn away(&mut self, now: i64, out: &mut Vec<Step>) {
        self.interrupt(None, out);
        self.fill(now, false, out);
    }

    /// Lists what is missing before `until` as gaps, `to_the_end` with what
    /// then remains. So the playlist's timeline stays that of the media, and
    /// players that wait see it move on.
    ///
    /// While the source is away they take half the window, then as much as it was away:
    /// shaka-player 5.2 places what follows by its date, and where the list was shorter it went
    /// past its end, for good.
    ///
    /// Each is as long as a segment has been: shaka-player 5.2 stays behind the
    /// end by the longest segment it ever saw, and stood a second longer behind
    /// gaps of a target duration, which segments mostly do not reach.
    fn fill(&mut self, until: i64, to_the_end: bool, out: &mut Vec<Step>) {
        let most = self.longest.min(self.targets.segment);
        if let Some((at, wall)) = self.ended.filter(|_| to_the_end) {
            // What is longer than the window takes all of it.
            let beyond = nanos(until.saturating_sub(at)).saturating_sub(self.most_gaps * 2);
            let beyond = i64::try_from(beyond.as_nanos()).unwrap_or(i64::MAX);
            self.ended = Some((at.saturating_add(beyond), wall.offset_by(beyond)));
        }
        let room = |gaps| to_the_end || gaps + most <= self.most_gaps;
        while let Some((at, wall)) = self.ended.filter(|_| room(self.gaps)) {
            let missing = nanos(until.saturating_sub(at));
            let length = missing.min(most);
            let whole = length == most;
            let least = if self.gaps.is_zero() { SHORTEST_GAP } else { SHORTEST_REST };
            if !(whole || to_the_end && length >= least) {
                return;
            }
            let head = Head {
                number: self.number,
                discontinuity: false,
                wall,
                independent: true,
                gap: true,
            };
            out.push(Step::Gap(head, length));
            self.number += 1;
            self.gaps += length;
            let nanos = length.as_nanos() as i64;
            self.ended = Some((at.saturating_add(nanos), wall.offset_by(nanos)));
        }
    }

    /// Sets up lanes and their init segment.
    ///
    /// Behind an outage that is not said before there is a part: hls.js 1.7 asks for each gap,
    /// and where that is the newest segment it knows it waits for a second.
    fn begin(&mut self, lead: &Track, audio: Option<&Track>, out: &mut Vec<Step>) {
        let tracks: Vec<&Track> = std::iter::once(lead).chain(audio).collect();
        let codecs: Vec<String> = tracks.iter().filter_map(|t| codec_string(t)).collect();
        out.push(Step::Init(Arc::new(Init {
            number: self.number,
            data: cmaf::init(&tracks),
            codecs: codecs.join(","),
            size: lead.codec.pixel_size(),
        })));
        // Also when it is again what it was at first: who never had another
        // init segment has had the other's parameter sets.
        self.changed |= *self.first.get_or_insert_with(|| lead.codec.clone()) != lead.codec;
        let sets = if self.changed { cmaf::parameter_sets(lead) } else { Bytes::new() };
        let mut lanes = tracks.iter().map(|track| Lane::new(track, self.origin));
        self.lanes = lanes.next().map(|lead| Lanes { lead, audio: lanes.next(), sets });
        self.discontinuity = self.begun;
        self.resumes = !self.gaps.is_zero();
        (self.ended, self.gaps) = (None, Duration::ZERO);
        (self.key, self.group) = (None, Duration::ZERO);
    }

    fn push_lead(&mut self, frame: &Frame, out: &mut Vec<Step>) {
        let Some(lanes) = &mut self.lanes else { return };
        let (now, kind) = (frame.dts.nanos(), lanes.lead.kind());
        let Some(newest) = lanes.lead.push(frame) else {
            (self.part_began, self.part_listed) = (now, micros(now));
            return;
        };
        let key_before = lanes.lead.ends_with_entry_point();
        // The frame before this one is complete now. If it makes its part or
        // its segment too long, it begins the next.
        let since = |began: i64| nanos(now.saturating_sub(began));
        if since(self.part_began) > self.targets.part && newest > self.part_began {
            self.close_part(newest, key_before, out);
            self.close_full_segment(newest, out);
        }
        if self.segment_began.is_some_and(|began| since(began) > self.targets.segment) {
            self.close_segment(out);
        }
        let key = frame.is_entry_point();
        let began = self.segment_began.unwrap_or(self.part_began);
        let full = since(self.part_began) >= self.targets.cut_part_after;
        // Sound begins anew anywhere, so it does so with a whole part: hls.js
        // steps over a short one now and then, and stands still.
        let here = full || kind != MediaKind::Audio;
        // Who begins to play begins with a segment that has its key frame.
        let targets = &self.targets;
        if key && let Some(before) = self.key.replace(now) {
            self.group = since(before);
        }
        // Rather a short segment than one that ends without a key frame, should the next
        // group be as long as the last.
        let is_last = since(began) + self.group + targets.part > targets.segment;
        let least = match self.ends_with_key {
            true => targets.cut_part_after,
            false if is_last => targets.cut_after.min(SHORTEST_SEGMENT),
            false => targets.cut_after,
        };
        if key && here && since(began) >= least {
            let last = since(self.part_began);
            self.unsaid = self.segment_began.is_some() && last <= SHORT_PART;
            self.close_part(now, key, out);
            self.close_segment(out);
        } else if full {
            self.close_part(now, key, out);
            self.close_full_segment(now, out);
        }
    }

    /// Publishes all frames decoded before `end`, where a key frame stands or
    /// not.
    fn close_part(&mut self, end: i64, key: bool, out: &mut Vec<Step>) {
        let Some(lanes) = &mut self.lanes else { return };
        let Some((base, samples)) = lanes.lead.take_before(end) else { return };
        let sound = lanes.audio.as_mut().and_then(|lane| lane.take_before(end));
        let independent = lanes.lead.kind() == MediaKind::Audio || samples.iter().any(|s| s.sync);

        let mut runs = vec![Run { track: 1, base, samples: &samples, sets: &lanes.sets }];
        if let Some((base, samples)) = &sound {
            runs.push(Run { track: 2, base: *base, samples, sets: &[] });
        }
        self.fragments = self.fragments.wrapping_add(1);
        if self.segment_began.is_none() {
            self.segment_began = Some(self.part_began);
            let ahead = lanes.lead.wall_of_taken().unix_nanos().saturating_sub(self.part_began);
            let dated = *self.dated.get_or_insert(ahead);
            out.append(&mut self.held);
            if std::mem::take(&mut self.unsaid) {
                out.push(Step::Close);
            }
            out.push(Step::Open(Head {
                number: self.number,
                discontinuity: std::mem::take(&mut self.discontinuity),
                wall: date(self.part_began, dated),
                independent: samples.first().is_some_and(|sample| sample.sync),
                gap: false,
            }));
        }
        let data = Pieces::from(cmaf::pieces(self.fragments, &runs));
        self.segment_bytes += data.len();
        let listed = micros(end).saturating_add(if key { 0 } else { LATE_MICROS });
        let length = u64::try_from(listed.saturating_sub(self.part_listed)).unwrap_or(0);
        out.push(Step::Part(Part { data, duration: Duration::from_micros(length), independent }));
        self.begun = true;
        (self.part_began, self.part_listed) = (end, listed);
    }

    /// Ends the segment if one more part might make it longer than promised,
    /// or if it is large beyond measure.
    ///
    /// And as soon as players take it for one behind an outage: hls.js 1.7 goes on there with
    /// nothing but a complete segment, and stood for a whole group of pictures where the first
    /// one had to end with it.
    fn close_full_segment(&mut self, now: i64, out: &mut Vec<Step>) {
        let Some(began) = self.segment_began else { return };
        let most = if self.opened { self.targets.segment } else { self.targets.opening };
        let length = nanos(now.saturating_sub(began));
        let long = length + self.targets.part > most || self.resumes && length > SHORT_PART;
        if long || self.segment_bytes > SEGMENT_BYTES {
            self.close_segment(out);
            self.ends_with_key = true;
        }
    }

    fn close_segment(&mut self, out: &mut Vec<Step>) {
        if let Some(began) = self.segment_began.take() {
            self.longest = self.longest.max(nanos(self.part_began.saturating_sub(began)));
            self.number += 1;
            self.segment_bytes = 0;
            (self.opened, self.resumes, self.ends_with_key) = (true, false, false);
            out.push(if self.unsaid { Step::Last } else { Step::Close });
        }
    }

    /// Publishes what there is: `next`, or whatever comes, does not continue
    /// it.
    pub(super) fn interrupt(&mut self, next: Option<&Frame>, out: &mut Vec<Step>) {
        let Some(lanes) = &mut self.lanes else { return };
        let usual = self.targets.interval;
        let until = next.and_then(|frame| lanes.lead.since_newest(frame)).unwrap_or(usual);
        let end = lanes.lead.finish(until.min(usual));
        if let Some(audio) = &mut lanes.audio {
            audio.finish(USUAL_SOUND);
        }
        if let Some(end) = end {
            self.close_part(end, false, out);
        }
        self.close_segment(out);
        self.ended = end.zip(self.dated).map(|(end, ahead)| (end, date(end, ahead)));
        self.lanes = None;
    }
}

/// Wall time at `at` on the stream's line, which it is `ahead` of.
fn date(at: i64, ahead: i64) -> WallTime {
    WallTime::from_unix_nanos(at.saturating_add(ahead))
}

fn micros(nanos: i64) -> i64 {
    nanos.saturating_add(500).div_euclid(1_000)
}

/// What the wall shows at the zero of the stream's line, by this frame.
fn origin(frame: &Frame) -> MediaTime {
    let millis = ClockRate::new(1_000).expect("not zero");
    let wall = frame.wall.unix_nanos().max(0) / 1_000_000;
    MediaTime::new(wall.saturating_sub(frame.pts.rescaled(millis)), millis)
}

/// The track that parts and segments are cut by.
pub(super) fn lead(tracks: &Tracks) -> Option<&Track> {
    tracks.video().or_else(|| tracks.audio()).filter(|track| cmaf::carries(&track.codec))
}

/// The sound that goes with it.
fn second<'t>(tracks: &'t Tracks, lead: &Track) -> Option<&'t Track> {
    tracks.audio().filter(|track| track.id != lead.id && cmaf::carries(&track.codec))
}

/// `CODECS` names sample entries (RFC 6381 §3.3), so those two keep their
/// capitals.
fn codec_string(track: &Track) -> Option<String> {
    Some(match track.codec.rfc6381()?.as_str() {
        "flac" => "fLaC".into(),
        "opus" => "Opus".into(),
        other => other.into(),
    })
}
