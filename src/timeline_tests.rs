//! The line's promises, with time as an argument.

use proptest::prelude::*;

use super::*;

const FRAME: i64 = 3_600; // 25 fps at 90 kHz
const FRAME_TIME: Duration = Duration::from_millis(40);

/// Our clock's minus the camera's idea of it: 2026-01-01.
const EPOCH: i64 = 1_767_225_600_000_000_000;

struct Run {
    timeline: Timeline,
    start: Instant,
    at: Instant,
}

impl Run {
    fn new() -> Self {
        let mut timeline = Timeline::new();
        timeline.start_session([
            (MediaKind::Video, ClockRate::VIDEO),
            (MediaKind::Audio, ClockRate::new(8_000).unwrap()),
        ]);
        let start = Instant::now();
        Self { timeline, start, at: start }
    }

    fn wall(&self) -> WallTime {
        WallTime::from_unix_nanos(EPOCH).offset_by(nanos(self.at - self.start))
    }

    /// A picture, one frame time after the one before it.
    fn picture(&mut self, rtp: i64) -> Stamp {
        self.at += FRAME_TIME;
        self.timeline.stamp(0, rtp, self.at, self.wall()).unwrap()
    }

    fn ticks(&mut self, rtp: i64) -> i64 {
        self.picture(rtp).dts.ticks()
    }
}

#[test]
fn steady_pictures_keep_the_cameras_spacing() {
    let mut run = Run::new();
    let ticks: Vec<i64> = (0..4).map(|i| run.ticks(77_000 + i * FRAME)).collect();
    assert_eq!(ticks, [0, FRAME, 2 * FRAME, 3 * FRAME]);
}

#[test]
fn one_impossible_time_is_repaired_and_forgotten() {
    for bad in [-1_000_000, 900_000_000_000, i64::MAX, i64::MIN] {
        let mut run = Run::new();
        run.picture(0);
        run.picture(FRAME);
        let repaired = run.picture(bad);
        assert!(repaired.repaired && !repaired.discontinuity);
        assert_eq!(repaired.dts.ticks(), 2 * FRAME, "{bad}");
        let next = run.picture(3 * FRAME);
        assert_eq!((next.dts.ticks(), next.repaired), (3 * FRAME, false), "{bad}");
    }
}

#[test]
fn a_lasting_jump_is_rejoined_once_without_going_back() {
    for jump in [-50_000_000, 50_000_000] {
        let mut run = Run::new();
        let mut stamps: Vec<Stamp> = (0..10).map(|i| run.picture(i * FRAME)).collect();
        stamps.extend((10..40).map(|i| run.picture(jump + i * FRAME)));
        assert_eq!(stamps.iter().filter(|s| s.discontinuity).count(), 1);
        assert!(stamps.windows(2).all(|w| w[0].dts < w[1].dts));
        // In the end the spacing is the camera's again, and near real time.
        assert_eq!(stamps[39].dts.ticks(), 39 * FRAME);
    }
}

#[test]
fn a_stalled_connection_does_not_move_the_line() {
    let mut run = Run::new();
    run.picture(0);
    run.at += Duration::from_secs(8);
    let late = run.picture(FRAME);
    assert_eq!((late.dts.ticks(), late.repaired), (FRAME, false));
}

#[test]
fn a_new_session_continues_behind_the_old_one_and_says_so() {
    let mut run = Run::new();
    run.picture(0);
    let before = run.picture(FRAME);
    run.at += Duration::from_secs(3);
    run.timeline.start_session([(MediaKind::Video, ClockRate::VIDEO)]);
    let after = run.picture(4_000_000_000);
    assert!(after.discontinuity);
    let gap = after.dts.nanos() - before.dts.nanos();
    assert_eq!(gap, 3_040_000_000);
}

#[test]
fn a_clock_that_drifts_for_a_day_is_no_jump() {
    for ppm in [-200, 200] {
        let mut run = Run::new();
        // A burst of two seconds at the start, as cameras send their buffer.
        let burst = 50 * FRAME;
        run.picture(0);
        let second = ClockRate::VIDEO.hz() as i64;
        for step in 1..24 * 3_600 {
            run.at += Duration::from_millis(960);
            let stamp = run.picture(burst + step * (second + second * ppm / 1_000_000));
            assert!(!stamp.repaired && !stamp.discontinuity, "{ppm} ppm, second {step}");
        }
    }
}

#[test]
fn two_pictures_under_one_time_get_two_times() {
    let mut run = Run::new();
    assert_eq!([run.ticks(0), run.ticks(0), run.ticks(FRAME)], [0, 1, FRAME]);
}

#[test]
fn sender_reports_give_the_wall_clock_when_sane() {
    let mut run = Run::new();
    run.picture(0);
    let now = run.wall();
    // Captured 100 ms before it arrived.
    run.timeline.sender_report(0, 0, now.offset_by(-100_000_000), now);
    let next = run.picture(FRAME);
    assert_eq!(next.wall, now.offset_by(-60_000_000));
    // A camera that believes in 1970.
    run.timeline.sender_report(0, FRAME, WallTime::from_unix_nanos(0), now);
    let next = run.picture(2 * FRAME);
    assert_eq!(next.wall, now.offset_by(-20_000_000));
}

#[test]
fn a_report_whose_rtp_time_is_from_elsewhere_moves_no_clock() {
    let mut run = Run::new();
    run.picture(0);
    let before = run.picture(FRAME).wall;
    for rtp in [i64::MAX, i64::MIN, 1 << 40, -20 * 90_000] {
        let now = run.wall();
        run.timeline.sender_report(0, rtp, now, now);
    }
    assert_eq!(run.picture(2 * FRAME).wall, before.offset_by(40_000_000));
}

#[test]
fn a_file_camera_that_starts_over_keeps_sound_and_picture_together() {
    let mut run = Run::new();
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for n in 0..400_i64 {
        // A file of 4 s, played four times; times start over with it.
        let rtp = n % 100;
        pictures.push(run.picture(rtp * FRAME));
        sounds.extend(run.timeline.stamp(1, rtp * 320, run.at, run.wall()));
    }
    assert_eq!(pictures.iter().filter(|stamp| stamp.discontinuity).count(), 3);
    assert!(pictures.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    let (picture, sound) = (pictures.last().unwrap(), sounds.last().unwrap());
    assert!((picture.dts.nanos() - sound.dts.nanos()).abs() < 40_000_000);
    // Nothing piles up: the end is as far as real time has come.
    assert_eq!(picture.dts.nanos(), 399 * 40_000_000);
}

#[test]
fn rounds_that_begin_with_a_burst_do_not_pile_up_ahead_of_real_time() {
    let mut run = Run::new();
    let second = i64::from(ClockRate::VIDEO.hz());
    let mut last = None;
    for _round in 0..100 {
        // Ten frames on time, then two seconds of a buffer at once.
        for n in 0..20 {
            let burst = if n < 10 { 0 } else { 2 * second };
            let stamp = run.picture(n * FRAME + burst);
            let ahead = stamp.dts.nanos() - nanos(run.at - run.start);
            assert!(ahead <= 2 * MAX_AHEAD + 1_000_000, "{ahead} ns");
            assert!(last.replace(stamp.dts).is_none_or(|last| last < stamp.dts));
        }
    }
}

#[test]
fn sessions_that_begin_with_a_burst_do_not_pile_up_ahead_of_real_time() {
    let mut run = Run::new();
    let second = i64::from(ClockRate::VIDEO.hz());
    for session in 0..100 {
        run.timeline.start_session([(MediaKind::Video, ClockRate::VIDEO)]);
        for n in 0..10 {
            let stamp = run.picture(n * 2 * second / 10);
            let ahead = stamp.dts.nanos() - nanos(run.at - run.start);
            assert!(ahead <= 2 * MAX_AHEAD + 1_000_000, "{ahead} ns, session {session}");
        }
    }
}

#[test]
fn a_session_after_a_day_of_drift_starts_without_repair() {
    let mut run = Run::new();
    let second = i64::from(ClockRate::VIDEO.hz());
    run.picture(0);
    for step in 1..24 * 3_600 {
        run.at += Duration::from_millis(960);
        run.picture(step * (second + second / 5_000));
    }
    run.timeline.start_session([(MediaKind::Video, ClockRate::VIDEO)]);
    let stamps: Vec<Stamp> = (0..50).map(|n| run.picture(n * FRAME)).collect();
    assert!(stamps.iter().all(|stamp| !stamp.repaired));
    assert!(stamps.iter().skip(1).all(|stamp| !stamp.discontinuity));
}

#[test]
fn reports_of_any_wall_clock_move_sound_or_do_not() {
    let mut run = Run::new();
    run.picture(0);
    run.timeline.stamp(1, 0, run.at, run.wall());
    let camera = WallTime::from_unix_nanos(0);
    run.timeline.sender_report(0, 0, camera, run.wall());
    for nanos in [i64::MIN, i64::MAX] {
        run.timeline.sender_report(1, 0, WallTime::from_unix_nanos(nanos), run.wall());
    }
    run.picture(FRAME);
    let sound = run.timeline.stamp(1, 320, run.at, run.wall()).unwrap();
    assert_eq!(sound.dts.nanos(), 40_000_000);
}

#[test]
fn sound_moves_to_where_reports_put_it_beside_the_picture() {
    let mut run = Run::new();
    run.picture(0);
    let sound = |run: &mut Run, rtp| run.timeline.stamp(1, rtp, run.at, run.wall());
    // It arrives with the picture, but was captured 200 ms after it; the
    // camera's clock is wrong, but one clock.
    assert_eq!(sound(&mut run, 0).unwrap().dts.nanos(), 0);
    let camera = WallTime::from_unix_nanos(5);
    run.timeline.sender_report(0, 0, camera, run.wall());
    run.timeline.sender_report(1, 0, camera.offset_by(200_000_000), run.wall());
    run.picture(FRAME);
    assert_eq!(sound(&mut run, 320).unwrap().dts.nanos(), 240_000_000);
    // And back: what overlaps is dropped, then it flows again.
    run.timeline.sender_report(1, 320, camera.offset_by(40_000_000), run.wall());
    run.picture(2 * FRAME);
    assert_eq!(sound(&mut run, 640), None);
    run.at += Duration::from_millis(400);
    assert_eq!(sound(&mut run, 3_200).unwrap().dts.nanos(), 400_000_000);
}

proptest! {
    /// Whatever a camera sends, its line rises strictly and stays within
    /// reach of real time.
    #[test]
    fn any_times_give_a_rising_line(
        times in prop::collection::vec((any::<i64>(), 0..2_usize, 0..200_u64), 1..200),
        restarts in prop::collection::hash_set(0..200_usize, 0..4),
    ) {
        let mut run = Run::new();
        let mut last = [i64::MIN; 2];
        for (i, (rtp, track, wait)) in times.into_iter().enumerate() {
            if restarts.contains(&i) {
                run.timeline.start_session([
                    (MediaKind::Video, ClockRate::VIDEO),
                    (MediaKind::Audio, ClockRate::new(8_000).unwrap()),
                ]);
            }
            run.at += Duration::from_millis(wait);
            let wall = run.wall();
            if let Some(stamp) = run.timeline.stamp(track, rtp, run.at, wall) {
                prop_assert!(stamp.dts.ticks() > last[track]);
                last[track] = stamp.dts.ticks();
                let now = nanos(run.at - run.start);
                prop_assert!((stamp.dts.nanos() - now).abs() <= 60_000_000_000);
            }
        }
    }
}
