//! The figures a playlist promises for all its life, learned from the first
//! frames: Apple's player leaves a stream whose targets change or whose part
//! is a millisecond too long.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Config;

/// Longest wait for a second key frame. Then segments are as long as they may
/// be, for players start with those that begin with a key frame or are three
/// from the end: of a camera that sends one each twelve seconds all do, of one
/// that sends one each 30 s one of three, or all where so long ones are wished
/// for. Others are cut where there is none.
const LONGEST_LESSON: Duration = Duration::from_secs(6);
/// Shortest lesson: enough frames for a sound interval.
const SHORTEST_LESSON: Duration = Duration::from_secs(1);
/// Bounds of `TARGETDURATION`. Players that know no parts stay three of them behind, so it
/// is longer only where longer segments are wished for.
const SHORTEST_TARGET: Duration = Duration::from_secs(2);
const LONGEST_TARGET: Duration = Duration::from_secs(12);
/// `TARGETDURATION` over the length that segments should have: a key frame may be late.
const LATE: f64 = 1.25;
/// What `PART-TARGET` may take of the length that was asked for, room for
/// jitter included. A player stays three targets behind the newest part; the
/// rest is for the frame that tells a part is over, for the way and the
/// decoder. So it shows what the camera saw three wished lengths ago.
const SHARE: f64 = 0.93;
/// `PART-TARGET` over the usual part. A camera's clock and its frames jitter,
/// and a part that therefore ends a frame early must still be 85 % of its
/// target (§4.4.4.9): this leaves as much room above the usual length as below.
const ROOM: f64 = 1.1;
/// Frame intervals remembered: six seconds at 120 pictures a second.
const INTERVALS: usize = 720;

/// Promises of a playlist; frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Targets {
    /// `EXT-X-TARGETDURATION`: no segment is longer. Whole seconds.
    pub(super) segment: Duration,
    /// `PART-TARGET`: no part is longer. Whole milliseconds.
    pub(super) part: Duration,
    /// A frame this far into a part begins the next.
    pub(super) cut_part_after: Duration,
    /// A key frame this far into a segment ends it.
    pub(super) cut_after: Duration,
    /// Usual time between frames of the lead track.
    pub(super) interval: Duration,
    /// The first segment is no longer than this: players wait for it.
    pub(super) opening: Duration,
}

impl Targets {
    /// Distance that a player keeps to the newest part, `PART-HOLD-BACK`: Apple
    /// asks for three parts at the least, and 3 × 0.414 is more than 1.242 to a
    /// player that computes with floats.
    pub(super) fn hold_back(&self) -> Duration {
        self.part * 3 + Duration::from_millis(1)
    }

    /// `interval` between frames, `gop` between key frames where it is known.
    fn new(config: &Config, interval: Duration, gop: Option<Duration>) -> Self {
        let wished = config.segment.max(Duration::from_secs(1));
        let interval = interval.max(Duration::from_millis(1));
        let most = config.part.min(wished).mul_f64(SHARE / ROOM);
        let frames = (most.as_nanos() / interval.as_nanos()).max(1);
        let usual_part = interval * u32::try_from(frames).unwrap_or(u32::MAX);
        let part = ceil(usual_part.mul_f64(ROOM), Duration::from_millis(1));

        // Half a frame early is on time, if the part is not short then.
        let cut_part_after = (usual_part - interval / 2).max(part.mul_f64(0.85));

        // A little short of the wish, so that a key frame which comes a
        // moment early ends the segment instead of doubling it.
        let cut_after = wished.mul_f64(0.9);
        let second = Duration::from_secs(1);
        let longest = LONGEST_TARGET.max(ceil(wished.mul_f64(LATE), second));
        let segment = match gop {
            Some(gop) => ceil(ceil(cut_after, gop).max(usual_part).mul_f64(LATE), second),
            None => longest,
        };
        let segment = segment.clamp(SHORTEST_TARGET, longest).max(ceil(part, second));
        let opening = segment.min(LONGEST_LESSON.max(part));
        Self { segment, part, cut_part_after, cut_after, interval, opening }
    }
}

/// `TARGETDURATION` of the two qualities of a stream: §6.2.4 wants one for both. Whichever
/// is cut first says what it is, for as long as either is cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Common(Arc<Mutex<Weak<Duration>>>);

impl Common {
    /// `targets` as they are promised, and what keeps them common as long as it is held. One
    /// whose parts do not fit in the other's segments has its own.
    pub(super) fn agree(&self, targets: Targets) -> (Targets, Arc<Duration>) {
        // Poison does no harm: the value is a single word.
        let mut common = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let promised = common.upgrade().filter(|segment| targets.part <= **segment);
        if let Some(promised) = promised {
            let (segment, opening) = (*promised, targets.opening.min(*promised));
            return (Targets { segment, opening, ..targets }, promised);
        }
        let promised = Arc::new(targets.segment);
        if common.strong_count() == 0 {
            *common = Arc::downgrade(&promised);
        }
        (targets, promised)
    }
}

/// `length` rounded up to a multiple of `unit`.
fn ceil(length: Duration, unit: Duration) -> Duration {
    let units = length.as_nanos().div_ceil(unit.as_nanos().max(1));
    unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

/// Watches the lead track's first frames.
#[derive(Debug, Default)]
pub(super) struct Lesson {
    first: Option<i64>,
    last: i64,
    last_key: Option<i64>,
    /// Longest distance between key frames so far.
    gop: i64,
    intervals: Vec<i64>,
}

impl Lesson {
    /// Notes a frame decoded at `dts` nanoseconds.
    pub(super) fn note(&mut self, dts: i64, key: bool) {
        if self.first.is_some() && self.intervals.len() < INTERVALS {
            self.intervals.push(dts.saturating_sub(self.last).max(0));
        }
        self.first.get_or_insert(dts);
        self.last = dts;
        if let Some(before) = key.then(|| self.last_key.replace(dts)).flatten() {
            self.gop = self.gop.max(dts.saturating_sub(before));
        }
    }

    /// The targets, once enough is known.
    pub(super) fn learned(&self, config: &Config) -> Option<Targets> {
        let span = nanos(self.last.saturating_sub(self.first?));
        let known = self.gop > 0 && span >= SHORTEST_LESSON;
        (known || span >= LONGEST_LESSON).then(|| self.settle(config))
    }

    /// The targets as far as they can be told now.
    pub(super) fn settle(&self, config: &Config) -> Targets {
        let mut intervals = self.intervals.clone();
        intervals.sort_unstable();
        // The middle half: neither a hole counts nor how frames jitter.
        let quarter = intervals.len() / 4;
        let usual = &intervals[quarter..intervals.len() - quarter];
        let count = i64::try_from(usual.len()).unwrap_or(i64::MAX);
        // 25 a second, should there be a single frame.
        let middle = usual.iter().sum::<i64>().checked_div(count).unwrap_or(40_000_000);
        Targets::new(config, nanos(middle), (self.gop > 0).then(|| nanos(self.gop)))
    }
}

/// A span of stream time; a negative one is none.
pub(super) fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(frames: impl Iterator<Item = (i64, bool)>) -> Option<Targets> {
        let mut lesson = Lesson::default();
        frames.map(|(ms, key)| (ms * 1_000_000, key)).find_map(|(dts, key)| {
            lesson.note(dts, key);
            lesson.learned(&Config::default())
        })
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn parts_are_whole_frames_plus_room_for_jitter() {
        let at_25 = learn((0..).map(|n| (n * 40, n % 50 == 0))).unwrap();
        assert_eq!((at_25.interval, at_25.part), (ms(40), ms(440)));
        assert_eq!(at_25.segment, ms(3_000));
        let at_1 = learn((0..).map(|n| (n * 1_000, n % 2 == 0))).unwrap();
        assert_eq!((at_1.part, at_1.segment), (ms(1_100), ms(3_000)));
    }

    #[test]
    fn a_player_is_three_wished_parts_behind_the_camera_at_the_most() {
        for (wish, fps) in [(500, 10), (500, 15), (500, 25), (500, 30), (500, 60), (200, 25)] {
            let mut lesson = Lesson::default();
            (0..=fps * 2).for_each(|n| lesson.note(n * 1_000_000_000 / fps, n % fps == 0));
            let config = Config { part: ms(wish), ..Config::default() };
            let targets = lesson.learned(&config).unwrap();
            // The next frame tells that a part is over; 30 ms remain for the rest.
            let behind = targets.hold_back() + targets.interval + ms(30);
            assert!(behind <= ms(wish) * 3, "{wish} ms at {fps}: {behind:?}");
            assert!(targets.part >= ms(wish).mul_f64(0.7), "{wish} ms at {fps}: {targets:?}");
        }
    }

    #[test]
    fn segments_have_room_for_the_groups_of_pictures_that_make_them_up() {
        for (gop, seconds) in [(500, 3), (1_000, 3), (1_500, 4), (2_000, 3), (4_000, 5)] {
            let targets = learn((0..).map(|n| (n * 20, n * 20 % gop == 0))).unwrap();
            assert_eq!(targets.segment, ms(seconds * 1_000), "{gop}");
        }
    }

    #[test]
    fn a_camera_without_a_second_key_frame_is_not_waited_for() {
        let targets = learn((0..).map(|n| (n * 40, n == 0))).unwrap();
        assert_eq!(targets.segment, ms(12_000));
    }

    #[test]
    fn a_wish_for_long_segments_counts() {
        for (wish, gop, seconds) in
            [(30, 1, 34), (30, 10, 38), (30, 20, 38), (30, 60, 38), (6, 60, 12)]
        {
            let config = Config { segment: ms(wish * 1_000), ..Config::default() };
            let mut lesson = Lesson::default();
            let frames = (0..).map(|n| (n * 40, n * 40 % (gop * 1_000) == 0));
            let targets = frames.map(|(at, key)| (at * 1_000_000, key)).find_map(|(dts, key)| {
                lesson.note(dts, key);
                lesson.learned(&config)
            });
            assert_eq!(
                targets.unwrap().segment,
                ms(seconds * 1_000),
                "{wish} s, groups of {gop} s"
            );
        }
    }

    #[test]
    fn even_one_frame_in_twenty_seconds_fits_its_promises() {
        let targets = learn((0..).map(|n| (n * 20_000, true))).unwrap();
        assert!(targets.part >= ms(20_000) && targets.segment >= targets.part, "{targets:?}");
    }
}
