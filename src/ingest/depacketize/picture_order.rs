//! When to show a picture, where the camera's times do not say it.
//!
//! RTP times are presentation times (RFC 6184 §5.1, RFC 7798 §4.1): where
//! pictures are reordered, they go back and forth, and decoding times follow
//! from them ([`super::reorder`]). Encoders that stamp pictures as they leave
//! send times that only rise: shown by those, B-frames move to and fro. The
//! picture order counts of the slices tell the two apart, and give the order.

/// Pictures that go back in order while time goes on, until the times are held
/// to be those of decoding. One alone may be a reset of the count that only
/// the rest of the slice header tells (`memory_management_control_operation` 5).
const CONVINCING: u32 = 3;

/// Pictures by which a count can be ahead of, or behind, the order of decoding
/// (H.264 annex A.3.1, H.265 annex A.4.2: `MaxDpbSize`).
const MAX_AHEAD: i64 = 16;

/// Steps between times of which the middle one is the time a picture lasts.
const STEPS: usize = 7;

/// What a slice header says of its picture's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderCount {
    /// `pic_order_cnt_lsb`.
    pub(super) low: u32,
    /// How many bits it has, 4 to 16.
    pub(super) bits: u32,
    /// The count starts over with this picture (IDR, BLA).
    pub(super) restarts: bool,
    /// A viewer can start with it, and it may be the first we see.
    pub(super) entry: bool,
    /// Pictures count on from this one.
    pub(super) reference: bool,
}

/// Follows times and counts of the pictures of one track.
#[derive(Debug)]
pub(super) struct PictureOrder {
    rate: i64,
    /// Count of the last picture that others count on from.
    reference: i64,
    /// Time and count of the last picture.
    last: Option<(i64, i64)>,
    /// Count at the last restart, or entry, and pictures since then, lost ones
    /// too.
    sequence: Option<(i64, i64)>,
    /// Smallest step of the count: 2 in most H.264, 1 in H.265.
    unit: i64,
    steps: [i64; STEPS],
    contradictions: u32,
}

impl PictureOrder {
    /// For a clock of `rate` hertz.
    pub(super) fn new(rate: u32) -> Self {
        let rate = i64::from(rate.max(1));
        Self {
            rate,
            reference: 0,
            last: None,
            sequence: None,
            unit: i64::MAX,
            steps: [(rate / 30).max(1); STEPS],
            contradictions: 0,
        }
    }

    /// When to show the next picture in the order of decoding, which came with
    /// `timestamp`; just that, unless the counts have shown it to be wrong.
    /// Without a count there is nothing to go by: coded fields, H.264's counts
    /// of type 1, streams whose sets rule out reordering.
    pub(super) fn show_time(&mut self, timestamp: i64, count: Option<OrderCount>) -> i64 {
        let Some(slice) = count else {
            (self.last, self.sequence) = (None, None);
            return timestamp;
        };
        let count = self.full_count(slice);
        let before = self.last.replace((timestamp, count));
        if let Some((last_time, last_count)) = before {
            self.compare(timestamp.saturating_sub(last_time), count - last_count, slice.restarts);
        }
        if slice.restarts || slice.entry && self.sequence.is_none() {
            self.sequence = Some((count, 0));
        }
        let Some((first, decoded)) = self.sequence else {
            return timestamp;
        };
        let ahead = (count - first) / self.unit - decoded;
        if self.contradictions < CONVINCING || ahead.abs() > MAX_AHEAD {
            return timestamp;
        }
        timestamp.saturating_add(ahead * self.picture_ticks())
    }

    /// The whole count (H.264 §8.2.1.1, H.265 §8.3.1).
    fn full_count(&mut self, slice: OrderCount) -> i64 {
        let (low, wrap) = (i64::from(slice.low), 1 << slice.bits);
        let mut count = low;
        if !slice.restarts {
            let step = low - self.reference.rem_euclid(wrap);
            count = self.reference + step;
            if -step >= wrap / 2 {
                count += wrap;
            } else if step > wrap / 2 {
                count -= wrap;
            }
        }
        if slice.reference || slice.restarts {
            self.reference = count;
        }
        count
    }

    /// Judges one picture by the one before it.
    fn compare(&mut self, step: i64, counts: i64, restarts: bool) {
        let usual = 1..=2 * self.rate;
        if usual.contains(&step) {
            // More than one, where pictures were lost.
            let ticks = self.picture_ticks();
            if let Some((_, decoded)) = &mut self.sequence {
                *decoded += ((step + ticks / 2) / ticks).max(1);
            }
            self.steps.rotate_left(1);
            self.steps[STEPS - 1] = step;
        } else if usual.contains(&step.saturating_neg()) {
            // Times that go back are those of showing.
            self.contradictions = 0;
        } else {
            self.sequence = None;
        }
        if !restarts {
            if counts != 0 {
                self.unit = self.unit.min(counts.abs());
            }
            let contradicts = counts < 0 && usual.contains(&step);
            self.contradictions = self.contradictions.saturating_add(contradicts.into());
        }
    }

    /// Ticks a picture lasts.
    fn picture_ticks(&self) -> i64 {
        let mut steps = self.steps;
        steps.sort_unstable();
        steps[STEPS / 2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: i64 = 3_600;
    /// I0 P4 B2 b1 b3, then an IDR: what x264 does with three B-frames.
    const GROUP: [i64; 9] = [0, 4, 2, 1, 3, 8, 6, 5, 7];

    /// Picture `n` in the order of decoding, whose count steps by two.
    fn count(n: usize) -> Option<OrderCount> {
        let place = n % GROUP.len();
        Some(OrderCount {
            low: (2 * GROUP[place]) as u32,
            bits: 5,
            restarts: place == 0,
            entry: place == 0,
            reference: GROUP[place] % 2 == 0,
        })
    }

    fn shown(n: usize) -> i64 {
        ((n / GROUP.len() * GROUP.len()) as i64 + GROUP[n % GROUP.len()]) * FRAME
    }

    #[test]
    fn times_of_showing_are_left_alone() {
        let mut order = PictureOrder::new(90_000);
        for n in 0..100 {
            assert_eq!(order.show_time(shown(n), count(n)), shown(n), "{n}");
        }
    }

    #[test]
    fn times_of_decoding_become_times_of_showing_within_one_group() {
        let mut order = PictureOrder::new(90_000);
        for n in 0..100 {
            let time = order.show_time(n as i64 * FRAME, count(n));
            assert!(n < GROUP.len() || time == shown(n), "{n}");
        }
    }

    #[test]
    fn a_lost_picture_moves_no_other() {
        let mut order = PictureOrder::new(90_000);
        // An IDR that is lost takes its group with it.
        for n in (0..100).filter(|n| n % 7 != 5 || n % GROUP.len() == 0) {
            let time = order.show_time(n as i64 * FRAME, count(n));
            assert!(n < GROUP.len() || time == shown(n), "{n}");
        }
    }

    #[test]
    fn jitter_leaves_pictures_in_their_order() {
        let mut order = PictureOrder::new(90_000);
        let jitter = |n: i64| n * 7_919 % 1_500 - 750;
        let mut shown_at: Vec<(i64, i64)> = (0..200)
            .map(|n| (shown(n), order.show_time(n as i64 * FRAME + jitter(n as i64), count(n))))
            .skip(2 * GROUP.len())
            .collect();
        shown_at.sort_unstable();
        assert!(shown_at.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }

    #[test]
    fn pictures_in_order_and_pictures_without_a_count_keep_their_times() {
        let mut order = PictureOrder::new(90_000);
        for n in 0..400_i64 {
            let slice = OrderCount {
                low: (2 * n % 256) as u32,
                bits: 8,
                restarts: n == 0,
                entry: n == 0,
                reference: true,
            };
            assert_eq!(order.show_time(n * FRAME, Some(slice)), n * FRAME);
        }
        assert_eq!(order.show_time(5, None), 5);
    }

    proptest! {
        #[test]
        fn no_time_and_no_count_overflows(
            pictures in prop::collection::vec(
                (any::<i64>(), -9_000..9_000_i64, any::<bool>(), any::<u16>(), 4..=16_u32, 0..9_u8),
                0..200,
            ),
        ) {
            let mut order = PictureOrder::new(90_000);
            let mut time = 0_i64;
            for (jump, step, jumps, low, bits, kind) in pictures {
                time = if jumps && kind == 0 { jump } else { time.saturating_add(step) };
                let slice = OrderCount {
                    low: u32::from(low) & ((1 << bits) - 1),
                    bits,
                    restarts: kind == 1,
                    entry: kind < 3,
                    reference: kind < 5,
                };
                let shown = order.show_time(time, (kind != 8).then_some(slice));
                prop_assert!(shown.abs_diff(time) <= MAX_AHEAD as u64 * 180_000);
            }
        }
    }
}
