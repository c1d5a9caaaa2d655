//! When to decode a frame, given when to show it.

/// Frames that a decoder can hold back (H.264 annex A.3.1: `MaxDpbFrames`).
const MAX_REORDER_FRAMES: usize = 16;

/// A step of this many seconds ahead is a gap: what came before no longer
/// bounds the times of decoding.
const GAP_SECONDS: i64 = 2;

/// A step of this many seconds either way is another clock.
const JUMP_SECONDS: i64 = 10;

/// When to show and to decode one frame, in RTP ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When to show it.
    pub pts: i64,
    /// When to decode it; never after `pts`.
    pub dts: i64,
}

/// Decoding times for frames that arrive in the order of decoding.
///
/// Where at most `depth` frames are shown after a frame that is decoded after
/// them, the frame's decoding time is the `depth + 1`-th largest of the show
/// times so far. That needs no look-ahead, so it adds no latency; it never
/// goes back, and never passes the frame's own show time. Picture order
/// counts give the same order, where the times are right; where they are not,
/// `picture_order` has set them right.
#[derive(Debug)]
pub struct Reorder {
    rate: i64,
    depth: usize,
    /// Ticks between frames, for those before the first show time.
    frame_ticks: i64,
    /// The largest show times, ascending.
    largest: Vec<i64>,
    last: Option<Times>,
}

impl Reorder {
    /// For a clock of `rate` hertz, passing times through until told or shown
    /// that frames are reordered.
    pub fn new(rate: u32) -> Self {
        // 30 frames a second until told otherwise.
        let frame_ticks = i64::from(rate / 30).max(1);
        Self {
            rate: i64::from(rate.max(1)),
            depth: 0,
            frame_ticks,
            largest: Vec::new(),
            last: None,
        }
    }

    /// What the parameter sets say: frames that may be shown after a later
    /// decoded one, and the ticks a frame lasts.
    pub fn configure(&mut self, depth: u32, frame_ticks: Option<u32>) {
        self.depth = (depth as usize).min(MAX_REORDER_FRAMES);
        if let Some(ticks) = frame_ticks {
            self.frame_ticks = i64::from(ticks).clamp(1, self.rate);
        }
    }

    /// Frames by which the stream is reordered, as told or as observed.
    pub fn depth(&self) -> u32 {
        self.depth as u32
    }

    /// Times of the next frame in the order of decoding.
    pub fn stamp(&mut self, pts: i64) -> Times {
        if let (Some(last), Some(&newest)) = (self.last, self.largest.last()) {
            let step = pts.saturating_sub(last.pts);
            if step.saturating_abs() > JUMP_SECONDS * self.rate {
                self.largest.clear();
                self.last = None;
            } else if pts.saturating_sub(newest) > GAP_SECONDS * self.rate {
                self.largest.clear();
            }
        }
        let at = self.largest.partition_point(|&t| t <= pts);
        let later = self.largest.len() - at;
        self.largest.insert(at, pts);
        if self.largest.len() > MAX_REORDER_FRAMES + 1 {
            self.largest.remove(0);
        }
        // More than the sets admit, or they said nothing: learn.
        self.depth = self.depth.max(later.min(MAX_REORDER_FRAMES));
        let missing = (self.depth + 1).saturating_sub(self.largest.len());
        let index = self.largest.len().saturating_sub(self.depth + 1);
        let oldest = self.largest.get(index).copied().unwrap_or(pts);
        let mut dts = oldest.saturating_sub(missing as i64 * self.frame_ticks).min(pts);
        if let Some(last) = self.last {
            dts = dts.max(last.dts.saturating_add(1));
        }
        // While learning, a frame can come later than it should have been
        // shown: then it is shown at once.
        let times = Times { pts: pts.max(dts), dts };
        self.last = Some(Times { pts, dts });
        times
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamped(reorder: &mut Reorder, pts: &[i64]) -> Vec<(i64, i64)> {
        let pair = |&t: &i64| {
            let times = reorder.stamp(t);
            (times.pts, times.dts)
        };
        pts.iter().map(pair).collect()
    }

    #[test]
    fn without_reordering_times_pass_through() {
        let mut reorder = Reorder::new(90_000);
        assert_eq!(stamped(&mut reorder, &[0, 3000, 6000]), [(0, 0), (3000, 3000), (6000, 6000)]);
    }

    #[test]
    fn b_pyramid_of_x264_gets_evenly_spaced_decoding_times() {
        // I0 P4 B2 b1 b3 P8 B6 b5 b7, two frames deep.
        let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7].map(|n| n * 3000);
        let mut reorder = Reorder::new(90_000);
        reorder.configure(2, Some(3000));
        let decoded: Vec<i64> = stamped(&mut reorder, &shown).iter().map(|t| t.1).collect();
        assert_eq!(decoded, [-2, -1, 0, 1, 2, 3, 4, 5, 6].map(|n| n * 3000));
    }

    #[test]
    fn an_unannounced_depth_is_learnt_within_one_group() {
        let mut reorder = Reorder::new(90_000);
        let group = |base: i64| [0, 4, 2, 1, 3].map(|n| (base + n) * 3000);
        stamped(&mut reorder, &group(0));
        assert_eq!(reorder.depth(), 2);
        stamped(&mut reorder, &group(5));
        let shown = group(10);
        let times = stamped(&mut reorder, &shown);
        assert_eq!(times.iter().map(|t| t.0).collect::<Vec<_>>(), shown, "repaired no longer");
    }

    #[test]
    fn two_fields_under_one_time_stay_together_and_in_order() {
        // Coded fields of I0 P2 B1, P4 B3: each picture comes as two units.
        let shown = [0, 0, 2, 2, 1, 1, 4, 4, 3, 3].map(|n| n * 3000);
        let mut reorder = Reorder::new(90_000);
        reorder.configure(2, Some(3000));
        let times = stamped(&mut reorder, &shown);
        // A tick later at the most, for the second field's turn to decode.
        assert!(times.iter().zip(shown).all(|(t, shown)| (0..=1).contains(&(t.0 - shown))));
        assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].1), "{times:?}");
    }

    #[test]
    fn a_gap_or_a_jump_starts_afresh() {
        let mut reorder = Reorder::new(90_000);
        reorder.configure(1, Some(3000));
        stamped(&mut reorder, &[0, 6000, 3000]);
        let gap = 5 * 90_000;
        assert_eq!(reorder.stamp(gap), Times { pts: gap, dts: gap - 3000 });
        let back = -1_000_000_000;
        assert_eq!(reorder.stamp(back), Times { pts: back, dts: back - 3000 });
    }

    proptest! {
        #[test]
        fn decoding_times_advance_and_never_pass_show_times(
            rate in 1u32..200_000,
            depth in 0u32..40,
            steps in proptest::collection::vec(-200_000i64..200_000, 1..200),
        ) {
            let mut reorder = Reorder::new(rate);
            reorder.configure(depth, None);
            let (mut pts, mut last) = (0i64, None::<(i64, i64)>);
            for step in steps {
                let jump = step.abs() > JUMP_SECONDS * i64::from(rate);
                pts += step;
                let times = reorder.stamp(pts);
                prop_assert!(times.dts <= times.pts);
                if let (Some((_, dts)), false) = (last, jump) {
                    prop_assert!(times.dts > dts);
                }
                last = Some((times.pts, times.dts));
            }
        }

        #[test]
        fn no_timestamp_overflows(pts in proptest::collection::vec(any::<i64>(), 0..50)) {
            let mut reorder = Reorder::new(90_000);
            reorder.configure(16, Some(u32::MAX));
            for t in pts {
                reorder.stamp(t);
            }
        }
    }
}
