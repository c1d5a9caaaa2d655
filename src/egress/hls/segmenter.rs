//! Frames in, parts and segments out.
//!
//! A pure function of the stamped frames: no clock, no random, no I/O, so two
//! processes that see the same frames emit the same bytes, and a test plays
//! hours in a moment. Names and media times count from the wall time on the
//! first frame; a restarted gateway therefore goes on above the numbers it
//! used before, and caches and players never meet an old name with new bytes.
//! (The one thing from outside: two qualities have a [`Common`] target.)

use std::sync::Arc;
use std::time::Duration;

use super::Config;
use super::cutter::{Cutter, lead};
use super::segment::{Head, Init, Part};
use super::targets::{Common, Lesson, Targets, nanos};
use crate::media::{Frame, FrameKind, Tracks, WallTime};

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
    /// The open segment has its last part; that it ends is said with the next one.
    Last,
    /// The open segment is complete.
    Close,
    /// A segment of this length is missing.
    Gap(Head, Duration),
    /// HLS cannot carry the stream: name of its codec.
    Unplayable(&'static str),
}

/// Most bytes kept while learning: half of what `ingest` allows a group of
/// pictures.
const LESSON_BYTES: usize = 16 << 20;

/// Sound that is away for longer than this is left out until it comes again.
/// A player stands still where its sound ends, so not much longer than what
/// it has in its buffer; longer than any pause between two packets.
const SILENCE: Duration = Duration::from_secs(4);

/// Cuts one stream.
pub(super) struct Segmenter {
    config: Config,
    common: Common,
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
    Learning { lesson: Lesson, kept: Vec<Arc<Frame>>, bytes: usize },
    Cutting {
        cutter: Box<Cutter>,
        /// While it is held, the stream's other quality has the same target.
        _promised: Arc<Duration>,
    },
}

impl Phase {
    fn learning() -> Self {
        Self::Learning { lesson: Lesson::default(), kept: Vec::new(), bytes: 0 }
    }
}

impl Segmenter {
    pub(super) fn new(config: Config, common: Common) -> Self {
        let tracks = Arc::default();
        let phase = Phase::learning();
        Self { config, common, tracks, heard: None, unplayable: false, unused: 0, phase }
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
        // Over an outage it was not the sound alone that stopped; players do not
        // bear a second without it when the camera is back (hls.js gives up).
        if frame.kind == FrameKind::Audio || (frame.discontinuity && self.heard.is_some()) {
            self.heard = Some(now);
        }
        self.heard = self.heard.filter(|heard| nanos(now.saturating_sub(*heard)) <= SILENCE);
        let heard = self.heard.is_some();

        match &mut self.phase {
            Phase::Cutting { cutter, .. } => cutter.push(frame, &self.tracks, heard, out),
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
                let (targets, promised) = self.common.agree(targets);
                let kept = dated(std::mem::take(kept));
                let mut cutter = Cutter::new(targets, &self.config, &kept[0], self.unused);
                out.push(Step::Start(targets, cutter.number));
                for frame in &kept {
                    cutter.push(frame, &self.tracks, heard, out);
                }
                self.phase = Phase::Cutting { cutter: Box::new(cutter), _promised: promised };
            }
        }
    }

    /// Starts anew with the next frame, above all numbers used so far.
    pub(super) fn forget(&mut self) {
        let unused = match &self.phase {
            Phase::Learning { .. } => self.unused,
            Phase::Cutting { cutter, .. } => cutter.number.saturating_add(1),
        };
        *self = Self { unused, ..Self::new(self.config.clone(), self.common.clone()) };
    }

    /// Frames were lost before the next one: what follows does not continue.
    pub(super) fn interrupt(&mut self, out: &mut Vec<Step>) {
        match &mut self.phase {
            Phase::Learning { .. } => self.phase = Phase::learning(),
            Phase::Cutting { cutter, .. } => cutter.interrupt(None, out),
        }
    }
    /// The source is away, and the stream's line has come to `now`
    /// (nanoseconds) without a frame.
    pub(super) fn away(&mut self, now: i64, out: &mut Vec<Step>) {
        if let Phase::Cutting { cutter, .. } = &mut self.phase {
            cutter.away(now, out);
        }
    }
}

/// The frames with the wall time that the newest of them knows best: a
/// camera's first sender report comes some seconds after its first frame.
fn dated(frames: Vec<Arc<Frame>>) -> Vec<Arc<Frame>> {
    let shift = |frame: &Frame| frame.wall.unix_nanos().saturating_sub(frame.pts.nanos());
    let Some(newest) = frames.last().map(|frame| shift(frame)) else { return frames };
    let dated = |frame: Arc<Frame>| {
        let mut frame = Arc::unwrap_or_clone(frame);
        frame.draft.wall = WallTime::from_unix_nanos(newest.saturating_add(frame.pts.nanos()));
        Arc::new(frame)
    };
    frames.into_iter().map(dated).collect()
}

/// Whether what we carry of the two differs.
fn differ(a: &Tracks, b: &Tracks) -> bool {
    a.video() != b.video() || a.audio() != b.audio()
}
