//! Frames in, parts and segments out.
//!
//! A pure function of the stamped frames: no clock, no random, no I/O, so two
//! processes that see the same frames emit the same bytes, and a test plays
//! hours in a moment. Names and media times count from the wall time on the
//! first frame; a restarted gateway therefore goes on above the numbers it
//! used before, and caches and players never meet an old name with new bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::lane::Lane;
use super::targets::{Lesson, Targets, nanos};
use crate::cmaf::{self, Run};
use crate::media::{
    ClockRate, Frame, FrameKind, MediaKind, MediaTime, PixelSize, Track, Tracks, WallTime,
};

/// What happens to a playlist, in order.
#[derive(Debug)]
pub(super) enum Step {
    /// The playlist begins, with these promises and this first number.
    Start(Targets, u64),
    /// Segments from here on need this init segment.
    Init(Arc<Init>),
    /// A segment begins; a part follows at once.
    Open(Head),
    /// The open segment grows.
    Part(Part),
    /// The open segment is complete.
    Close,
    /// HLS cannot carry the stream: name of its codec.
    Unplayable(&'static str),
}

/// An init segment and what the multivariant playlist says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Init {
    /// Number of the first segment that needs it; its name.
    pub(super) number: u64,
    pub(super) data: Bytes,
    /// `CODECS` (RFC 6381).
    pub(super) codecs: String,
    pub(super) size: Option<PixelSize>,
}

/// What is known of a segment when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub(super) discontinuity: bool,
    /// When its first picture was captured.
    pub(super) wall: WallTime,
    /// Whether its first frame decodes from nothing.
    pub(super) independent: bool,
}

/// A partial segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) data: Bytes,
    pub(super) duration: Duration,
    /// Whether it holds a key frame.
    pub(super) independent: bool,
}

/// Most bytes kept while learning: half of what `ingest` allows a group of
/// pictures.
const LESSON_BYTES: usize = 16 << 20;

/// A segment of more bytes ends with its part, key frame or not: eight of
/// them fit in what `store` holds of a stream.
pub(super) const SEGMENT_BYTES: usize = 32 << 20;

/// Unit of wall time, in milliseconds, that the first segment number counts.
const NUMBER_MS: i64 = 100;

/// Sound that is away for longer than this is left out until it comes again.
/// A player stands still where its sound ends, so not much longer than what
/// it has in its buffer; longer than any pause between two packets.
const SILENCE: Duration = Duration::from_secs(4);

/// A packet of sound, should there be no second one to measure it by.
const USUAL_SOUND: Duration = Duration::from_millis(20);

/// Cuts one stream.
pub(super) struct Segmenter {
    config: Config,
    /// Tracks of the newest frame.
    tracks: Arc<Tracks>,
    /// Stream time of the newest sound, while it comes. A track that is
    /// announced but silent would keep Media Source Extensions from playing
    /// anything.
    heard: Option<i64>,
    unplayable: bool,
    /// Numbers below were used, or promised in a hint.
    unused: u64,
    phase: Phase,
}

enum Phase {
    /// Frames kept while their rhythm is learned.
    Learning {
        lesson: Lesson,
        kept: Vec<Arc<Frame>>,
        bytes: usize,
    },
    Cutting(Box<Cutter>),
}

impl Phase {
    fn learning() -> Self {
        Self::Learning { lesson: Lesson::default(), kept: Vec::new(), bytes: 0 }
    }
}

impl Segmenter {
    pub(super) fn new(config: Config) -> Self {
        let tracks = Arc::default();
        let phase = Phase::learning();
        Self { config, tracks, heard: None, unplayable: false, unused: 0, phase }
    }

    /// Takes the next frame of the bus.
    pub(super) fn push(&mut self, frame: &Arc<Frame>, out: &mut Vec<Step>) {
        if !Arc::ptr_eq(&self.tracks, &frame.tracks) {
            let changed = differ(&self.tracks, &frame.tracks);
            self.tracks = Arc::clone(&frame.tracks);
            if changed {
                self.unplayable = false;
                self.interrupt(out);
            }
        }
        let Some(lead) = lead(&self.tracks).map(|track| track.id) else {
            // A picture that cannot be shown is not replaced by its sound.
            if !std::mem::replace(&mut self.unplayable, true) {
                let name = self.tracks.iter().next().map_or("nothing", |t| t.codec.name());
                out.push(Step::Unplayable(name));
            }
            return;
        };
        let now = frame.dts.nanos();
        if frame.kind == FrameKind::Audio {
            self.heard = Some(now);
        }
        self.heard = self.heard.filter(|heard| nanos(now.saturating_sub(*heard)) <= SILENCE);
        let heard = self.heard.is_some();

        match &mut self.phase {
            Phase::Cutting(cutter) => cutter.push(frame, &self.tracks, heard, out),
            Phase::Learning { lesson, kept, bytes } => {
                if frame.track == lead {
                    let key = frame.is_entry_point();
                    if frame.discontinuity && !kept.is_empty() {
                        self.phase = Phase::learning();
                        return self.push(frame, out);
                    }
                    if kept.is_empty() && !key {
                        return;
                    }
                    lesson.note(frame.dts.nanos(), key);
                } else if kept.is_empty() {
                    return;
                }
                *bytes += frame.data.len();
                kept.push(Arc::clone(frame));
                let targets = match lesson.learned(&self.config) {
                    Some(targets) => targets,
                    None if *bytes > LESSON_BYTES => lesson.settle(&self.config),
                    None => return,
                };
                let kept = std::mem::take(kept);
                let mut cutter = Cutter::new(targets, &kept[0], self.unused);
                out.push(Step::Start(targets, cutter.number));
                for frame in &kept {
                    cutter.push(frame, &self.tracks, heard, out);
                }
                self.phase = Phase::Cutting(Box::new(cutter));
            }
        }
    }

    /// Starts anew with the next frame, above all numbers used so far.
    pub(super) fn forget(&mut self) {
        let unused = match &self.phase {
            Phase::Learning { .. } => self.unused,
            Phase::Cutting(cutter) => cutter.number.saturating_add(1),
        };
        *self = Self { unused, ..Self::new(self.config) };
    }

    /// Frames were lost before the next one: what follows does not continue.
    pub(super) fn interrupt(&mut self, out: &mut Vec<Step>) {
        match &mut self.phase {
            Phase::Learning { .. } => self.phase = Phase::learning(),
            Phase::Cutting(cutter) => cutter.interrupt(None, out),
        }
    }
}

/// The track that parts and segments are cut by.
fn lead(tracks: &Tracks) -> Option<&Track> {
    tracks.video().or_else(|| tracks.audio()).filter(|track| cmaf::carries(&track.codec))
}

/// The sound that goes with it.
fn second<'t>(tracks: &'t Tracks, lead: &Track) -> Option<&'t Track> {
    tracks.audio().filter(|track| track.id != lead.id && cmaf::carries(&track.codec))
}

/// Whether what we carry of the two differs.
fn differ(a: &Tracks, b: &Tracks) -> bool {
    a.video() != b.video() || a.audio() != b.audio()
}

/// Cuts, once the targets are known.
struct Cutter {
    targets: Targets,
    /// Milliseconds from the stream's line to Unix time.
    origin: MediaTime,
    lanes: Option<Lanes>,
    /// Number of the open segment, or of the next one.
    number: u64,
    fragments: u32,
    /// Decode time at which the open segment began; `None` between segments.
    segment_began: Option<i64>,
    /// Bytes in the open segment.
    segment_bytes: usize,
    part_began: i64,
    discontinuity: bool,
    /// Whether any segment was published before.
    begun: bool,
}

struct Lanes {
    lead: Lane,
    audio: Option<Lane>,
}

impl Cutter {
    fn new(targets: Targets, first: &Frame, unused: u64) -> Self {
        let wall_ms = first.wall.unix_nanos().max(0) / 1_000_000;
        let millis = ClockRate::new(1_000).expect("not zero");
        let origin = wall_ms.saturating_sub(first.pts.rescaled(millis));
        Self {
            targets,
            origin: MediaTime::new(origin, millis),
            lanes: None,
            // Segments last a second at the least, those that a reconnect or
            // a new setting cuts short a tenth of it all in all. So numbers
            // fall behind the clock, and a restart begins above all it used.
            number: ((wall_ms / NUMBER_MS) as u64).max(unused),
            fragments: 0,
            segment_began: None,
            segment_bytes: 0,
            part_began: 0,
            discontinuity: false,
            begun: false,
        }
    }

    fn push(&mut self, frame: &Frame, tracks: &Tracks, heard: bool, out: &mut Vec<Step>) {
        let Some(lead) = lead(tracks) else { return };
        let audio = second(tracks, lead).filter(|_| heard);

        if frame.track == lead.id {
            if let Some(lanes) = &self.lanes {
                let gap = lanes.lead.since_newest(frame).unwrap_or_default();
                // Sound that only now began to come, or has stopped, needs a
                // new init segment; a frame longer than a segment cannot be
                // listed.
                let other = lanes.audio.is_some() != audio.is_some() && frame.is_entry_point();
                if frame.discontinuity || other || gap > self.targets.segment {
                    self.interrupt(Some(frame), out);
                }
            }
            if self.lanes.is_none() {
                if !frame.is_entry_point() {
                    return;
                }
                self.begin(lead, audio, out);
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

    /// Sets up lanes and their init segment.
    fn begin(&mut self, lead: &Track, audio: Option<&Track>, out: &mut Vec<Step>) {
        let tracks: Vec<&Track> = std::iter::once(lead).chain(audio).collect();
        let codecs: Vec<String> = tracks.iter().filter_map(|t| codec_string(t)).collect();
        out.push(Step::Init(Arc::new(Init {
            number: self.number,
            data: cmaf::init(&tracks),
            codecs: codecs.join(","),
            size: lead.codec.pixel_size(),
        })));
        let mut lanes = tracks.iter().map(|track| Lane::new(track, self.origin));
        self.lanes = lanes.next().map(|lead| Lanes { lead, audio: lanes.next() });
        self.discontinuity = self.begun;
    }

    fn push_lead(&mut self, frame: &Frame, out: &mut Vec<Step>) {
        let Some(lanes) = &mut self.lanes else { return };
        let now = frame.dts.nanos();
        let Some(newest) = lanes.lead.push(frame) else {
            self.part_began = now;
            return;
        };
        // The frame before this one is complete now. If it makes its part or
        // its segment too long, it begins the next.
        let since = |began: i64| nanos(now.saturating_sub(began));
        if since(self.part_began) > self.targets.part && newest > self.part_began {
            self.close_part(newest, out);
            self.close_full_segment(newest, out);
        }
        if self.segment_began.is_some_and(|began| since(began) > self.targets.segment) {
            self.close_segment(out);
        }
        let key = frame.is_entry_point();
        let began = self.segment_began.unwrap_or(self.part_began);
        if key && since(began) >= self.targets.cut_after {
            self.close_part(now, out);
            self.close_segment(out);
        } else if since(self.part_began) + self.targets.interval > self.targets.part {
            self.close_part(now, out);
            self.close_full_segment(now, out);
        }
    }

    /// Publishes all frames decoded before `end`.
    fn close_part(&mut self, end: i64, out: &mut Vec<Step>) {
        let Some(lanes) = &mut self.lanes else { return };
        let Some((base, samples)) = lanes.lead.take_before(end) else { return };
        let sound = lanes.audio.as_mut().and_then(|lane| lane.take_before(end));
        let independent = lanes.lead.kind() == MediaKind::Audio || samples.iter().any(|s| s.sync);

        let mut runs = vec![Run { track: 1, base, samples: &samples }];
        if let Some((base, samples)) = &sound {
            runs.push(Run { track: 2, base: *base, samples });
        }
        self.fragments = self.fragments.wrapping_add(1);
        if self.segment_began.is_none() {
            self.segment_began = Some(self.part_began);
            out.push(Step::Open(Head {
                number: self.number,
                discontinuity: std::mem::take(&mut self.discontinuity),
                wall: lanes.lead.wall_of_taken(),
                independent: samples.first().is_some_and(|sample| sample.sync),
            }));
        }
        let data = cmaf::fragment(self.fragments, &runs);
        self.segment_bytes += data.len();
        out.push(Step::Part(Part {
            data,
            duration: nanos(end.saturating_sub(self.part_began)),
            independent,
        }));
        self.begun = true;
        self.part_began = end;
    }

    /// Ends the segment if one more part might make it longer than promised,
    /// or if it is large beyond measure.
    fn close_full_segment(&mut self, now: i64, out: &mut Vec<Step>) {
        let Some(began) = self.segment_began else { return };
        let long = nanos(now.saturating_sub(began)) + self.targets.part > self.targets.segment;
        if long || self.segment_bytes > SEGMENT_BYTES {
            self.close_segment(out);
        }
    }

    fn close_segment(&mut self, out: &mut Vec<Step>) {
        if self.segment_began.take().is_some() {
            self.number += 1;
            self.segment_bytes = 0;
            out.push(Step::Close);
        }
    }

    /// Publishes what there is: `next`, or whatever comes, does not continue
    /// it.
    fn interrupt(&mut self, next: Option<&Frame>, out: &mut Vec<Step>) {
        let Some(lanes) = &mut self.lanes else { return };
        let usual = self.targets.interval;
        let until = next.and_then(|frame| lanes.lead.since_newest(frame)).unwrap_or(usual);
        let end = lanes.lead.finish(until.min(usual));
        if let Some(audio) = &mut lanes.audio {
            audio.finish(USUAL_SOUND);
        }
        if let Some(end) = end {
            self.close_part(end, out);
        }
        self.close_segment(out);
        self.lanes = None;
    }
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
