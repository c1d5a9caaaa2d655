use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A way with a queue before its narrow part, and a viewer that reports every
/// 100 ms, at its end; its clock is any.
struct Way {
    estimator: Estimator,
    now: Instant,
    began: Instant,
    rate: f64,
    loss: f64,
    queue: Duration,
    delay: Duration,
    free: Instant,
    number: u16,
    viewer: VecDeque<(u16, Option<Instant>)>,
    report: Instant,
    clock: u32,
    seed: u64,
}

impl Way {
    fn new(rate: f64) -> Self {
        let now = Instant::now();
        Self {
            estimator: Estimator::new(now, true),
            now,
            began: now,
            rate,
            loss: 0.0,
            queue: Duration::from_millis(300),
            delay: Duration::from_millis(20),
            free: now,
            number: 65_000,
            viewer: VecDeque::new(),
            report: now,
            clock: u32::MAX - 9_000,
            seed: 7,
        }
    }

    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) as f64 / (1_u64 << 31) as f64
    }

    fn packet(&mut self, bytes: usize) {
        self.number = self.number.wrapping_add(1);
        self.estimator.sent(self.now, self.number, bytes);
        self.free = self.free.max(self.now);
        let full = self.free - self.now > self.queue;
        if full || self.chance() < self.loss {
            self.viewer.push_back((self.number, None));
            return;
        }
        self.free += Duration::from_secs_f64(bytes as f64 * 8.0 / self.rate);
        self.viewer.push_back((self.number, Some(self.free + self.delay)));
    }

    /// Pictures for `seconds` at 25 a second and `rate` bits each second; every
    /// fiftieth is ten times as large as the others.
    fn play(&mut self, rate: f64, seconds: u32) -> Vec<Look> {
        let mut looks = Vec::new();
        for picture in 0..seconds * 25 {
            let share = if picture % 50 == 0 { 10.0 } else { 1.0 };
            let mut bytes = (rate / 8.0 / 25.0 * share * 50.0 / 59.0) as usize;
            while bytes > 0 {
                let packet = bytes.min(1_200);
                self.packet(packet);
                bytes -= packet;
            }
            self.now += Duration::from_millis(40);
            if self.now >= self.report {
                self.report = self.now + Duration::from_millis(100);
                let mut fates = Vec::new();
                let here = |at: &Option<Instant>| at.is_none_or(|at| at <= self.now);
                while let Some((number, at)) = self.viewer.pop_front_if(|(_, at)| here(at)) {
                    let units = |at: Instant| ((at - self.began).as_micros() / 250) as u32;
                    let arrived = at.map(|at| self.clock.wrapping_add(units(at)));
                    fates.push(Fate { number, arrived });
                }
                looks.extend(self.estimator.feedback(self.now, &fates));
            }
        }
        looks
    }
}

fn share(looks: &[Look], state: State) -> f64 {
    looks.iter().filter(|look| look.state == state).count() as f64 / looks.len() as f64
}

/// Share of looks that say the way is too narrow, much or not.
fn narrow(looks: &[Look]) -> f64 {
    share(looks, State::Strained) + share(looks, State::Choked)
}

#[test]
fn a_way_that_is_wide_enough_is_never_strained_whatever_key_frames_do() {
    for rate in [2_600_000.0, 4_000_000.0, 1e9] {
        let looks = Way::new(rate).play(2_000_000.0, 60);
        assert!(looks.len() >= 90, "{}", looks.len());
        assert_eq!(narrow(&looks), 0.0, "{rate}: {looks:?}");
    }
}

#[test]
fn one_that_is_too_narrow_is_strained_and_what_it_carries_is_known() {
    for rate in [1_500_000.0, 1_000_000.0, 200_000.0] {
        for queue in [100, 300, 3_000] {
            let mut way = Way::new(rate);
            way.queue = Duration::from_millis(queue);
            let looks = way.play(2_000_000.0, 20);
            let late = &looks[4..];
            assert!(narrow(late) > 0.8, "{rate} {queue}: {looks:?}");
            let mut carried: Vec<u64> = late.iter().map(|look| look.carried).collect();
            carried.sort_unstable();
            let median = carried[carried.len() / 2] as f64;
            assert!((0.8..1.2).contains(&(median / rate)), "{rate} {queue}: {median}");
        }
    }
}

#[test]
fn a_lossy_way_is_no_narrow_one() {
    let mut way = Way::new(1e8);
    way.loss = 0.1;
    let looks = way.play(2_000_000.0, 60);
    assert!(narrow(&looks) < 0.05, "{looks:?}");
    way.loss = 0.5;
    let looks = way.play(2_000_000.0, 20);
    assert!(share(&looks[1..], State::Strained) > 0.9, "{looks:?}");
}

#[test]
fn one_that_carries_less_than_half_is_choked_within_two_looks_and_others_are_not() {
    for rate in [64_000.0, 300_000.0, 800_000.0] {
        for queue in [100, 300, 30_000] {
            let mut way = Way::new(1e8);
            way.play(2_000_000.0, 10);
            (way.rate, way.queue) = (rate, Duration::from_millis(queue));
            let looks = way.play(2_000_000.0, 2);
            assert!(narrow(&looks[..2]) > 0.4, "{rate} {queue}: {looks:?}");
            assert!(share(&looks[1..3], State::Choked) > 0.4, "{rate} {queue}: {looks:?}");
        }
    }
    for queue in [300, 3_000] {
        let mut way = Way::new(1_500_000.0);
        way.queue = Duration::from_millis(queue);
        let looks = way.play(2_000_000.0, 60);
        // Its key frames are too much for a moment.
        let twice = |pair: &[Look]| pair.iter().all(|look| look.state == State::Choked);
        assert!(!looks.windows(2).any(twice), "{queue}: {looks:?}");
    }
}

#[test]
fn a_longer_way_from_now_on_is_no_queue() {
    let mut way = Way::new(1e8);
    way.play(2_000_000.0, 10);
    way.delay = Duration::from_millis(150);
    let looks = way.play(2_000_000.0, 100);
    assert!(narrow(&looks) * looks.len() as f64 <= 1.0, "{looks:?}");
    assert_eq!(looks.last().unwrap().state, State::Clear);
}

#[test]
fn a_way_that_was_mended_is_clear_again() {
    let mut way = Way::new(800_000.0);
    way.play(2_000_000.0, 10);
    way.rate = 1e8;
    let looks = way.play(2_000_000.0, 10);
    assert!(share(&looks[4..], State::Clear) > 0.9, "{looks:?}");
}

#[test]
fn without_feedback_on_packets_the_viewers_own_word_counts() {
    let now = Instant::now();
    let (mut believed, mut silent) = (Estimator::new(now, false), Estimator::new(now, false));
    for (second, carried, loss, wanted) in [
        (1, 3_000_000, 0.01, State::Clear),
        (2, 700_000, 0.3, State::Strained),
        (3, 950_000, 0.05, State::Clear),
    ] {
        for estimator in [&mut believed, &mut silent] {
            (0..100).for_each(|number| estimator.sent(now, number, 1_250));
        }
        let at = now + Duration::from_secs(second);
        assert_eq!(silent.reception(at, loss).unwrap().state, wanted, "{second}");
        assert_eq!(silent.reception(at, 1.0), None, "no time has passed");
        assert_eq!(believed.remb(at, carried).unwrap().state, wanted, "{second}");
        assert_eq!(believed.reception(at + LOOK, 1.0), None, "who says more is believed");
    }
    let mut every = Estimator::new(now, true);
    assert_eq!(every.remb(now + LOOK, 1), None);
    assert_eq!(every.reception(now + LOOK, 1.0), None);
}

proptest! {
    /// Whatever a viewer claims, nothing breaks, and no more is said to have
    /// arrived than was sent.
    #[test]
    fn no_report_breaks_it(
        numbers in prop::collection::vec((any::<u16>(), prop::option::of(any::<u32>())), 0..200),
        sent in 0_u16..300,
    ) {
        let now = Instant::now();
        let mut estimator = Estimator::new(now, true);
        (0..sent).for_each(|number| estimator.sent(now, number, 1_000));
        let fates = |from: &[(u16, Option<u32>)]| -> Vec<Fate> {
            from.iter().map(|&(number, arrived)| Fate { number: number % 400, arrived }).collect()
        };
        let mut arrived = 0.0;
        for (at, part) in (1..).zip(numbers.chunks(20)) {
            let look = estimator.feedback(now + LOOK * at, &fates(part));
            // A look is a quarter of a second long at least.
            arrived += look.map_or(0.0, |look| look.carried as f64 / 8.0 * 0.25);
        }
        prop_assert!(arrived <= f64::from(sent) * 1_000.0 + 100.0, "{}", arrived);
    }
}
