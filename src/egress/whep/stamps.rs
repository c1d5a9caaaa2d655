//! RTP time of old frames: a viewer that joins is sent the group of pictures
//! being shown, as fast as it can take it, and must end up at live.
//!
//! The old frames are restamped to lie close together and end where live time
//! begins, so that a player runs through them at once instead of showing the
//! past at its own pace for as long as the viewer stays.

/// Ticks between restamped frames: 1 ms at 90 kHz, about as fast as they are
/// sent, so that the player's estimate of jitter stays low.
const STEP: i64 = 90;

/// Times for a viewer that has seen nothing: the newest frame keeps its own,
/// those before it move up to it. Never later, and never closer, than needed.
pub(super) fn glued(mut times: Vec<i64>) -> Vec<i64> {
    let mut next: Option<i64> = None;
    for time in times.iter_mut().rev() {
        if let Some(next) = next {
            *time = (*time).max(next - STEP).min(next - 1);
        }
        next = Some(*time);
    }
    times
}

/// Times for showing frames again to a viewer that was already sent something
/// stamped `newest`: all go in between that and the next frame, a picture's
/// `duration` later. `None` where they do not fit.
pub(super) fn again(count: usize, newest: i64, duration: i64) -> Option<Vec<i64>> {
    let count = i64::try_from(count).ok()?;
    let step = STEP.min(duration / (count + 1));
    (step > 0).then(|| (1..=count).map(|at| newest + at * step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_frames_end_at_live_time_a_millisecond_apart() {
        let camera: Vec<i64> = (0..250).map(|frame| 7_000 + frame * 3_600).collect();
        let live = *camera.last().unwrap();
        let times = glued(camera);
        assert_eq!(times.last(), Some(&live));
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == STEP), "{times:?}");
    }

    #[test]
    fn times_are_distinct_and_rise_whatever_the_camera_did() {
        for camera in [vec![5, 5, 5], vec![0, 10, 20], vec![30, 20, 10], vec![9], vec![]] {
            let times = glued(camera);
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        }
    }

    #[test]
    fn a_second_showing_fits_before_the_next_frame() {
        let times = again(250, 1_000_000, 3_600).unwrap();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(times[0] > 1_000_000 && *times.last().unwrap() < 1_003_600);
        assert_eq!(again(9_000, 0, 3_600), None);
    }
}
