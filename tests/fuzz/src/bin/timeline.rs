//! Times and sender reports of a camera, whatever they are: the line rises
//! strictly, and stays within reach of real time.
//!
//! Input: records of twelve bytes: what happens, how long after the one
//! before, and a number of 64 bits.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use porthole::media::{ClockRate, MediaKind, WallTime};
use porthole::timeline::Timeline;

const EPOCH: i64 = 1_767_225_600_000_000_000;

fuzz_target!(|data: &[u8]| {
    let rate = |hz| ClockRate::new(hz).expect("not zero");
    let tracks = || [(MediaKind::Video, ClockRate::VIDEO), (MediaKind::Audio, rate(8_000))];
    let mut timeline = Timeline::new();
    timeline.start_session(tracks());
    let start = Instant::now();
    let mut at = start;
    // The line begins with the first frame.
    let mut origin = None;
    let (mut last, mut rtp) = ([i64::MIN; 2], [0i64; 2]);
    // A track that is silent between wrong times is late by that much, until
    // five of them in a row are believed.
    let (mut seen_at, mut silence) = ([0i64; 2], 0);
    for record in data.chunks_exact(12) {
        let (head, number) = record.split_first_chunk::<4>().expect("twelve bytes");
        let number = i64::from_be_bytes(number.try_into().expect("eight bytes"));
        let &[what, w0, w1, track] = head;
        let track = usize::from(track & 1);
        at += Duration::from_millis(u64::from(u16::from_be_bytes([w0, w1])));
        let wall = WallTime::from_unix_nanos(EPOCH + (at - start).as_nanos() as i64);
        match what % 8 {
            0 => timeline.start_session(tracks()),
            1 => {
                let camera = wall.offset_by(number);
                timeline.sender_report(track, rtp[track], camera, wall);
            }
            2 => timeline.sender_report(track, number, wall, wall),
            step => {
                rtp[track] = match step {
                    3 => number,
                    // What is usual, so that what is not stands out.
                    _ => rtp[track].saturating_add(number >> 44),
                };
                let now = (at - *origin.get_or_insert(at)).as_nanos() as i64;
                let Some(stamp) = timeline.stamp(track, rtp[track], at, wall) else { continue };
                assert!(stamp.dts.ticks() > last[track], "{stamp:?} after {last:?}");
                last[track] = stamp.dts.ticks();
                silence = silence.max(now - std::mem::replace(&mut seen_at[track], now));
                // Drift, followed at one part in a thousand, and a tick a frame.
                let slack = now / 1_000 + 1_000_000_000;
                let ahead = stamp.dts.nanos() - now;
                assert!(ahead <= 6_000_000_000 + slack, "{stamp:?} at {now}");
                let late = 10_000_000_000 + 4 * silence + slack;
                assert!(-ahead <= late, "{stamp:?} at {now}");
                // A report may be off by as much as a frame, and its clock by 5 s.
                let wrong_by = (stamp.wall.unix_nanos() - wall.unix_nanos()).abs();
                assert!(wrong_by <= 25_000_000_000 + late + 2 * slack, "{stamp:?} at {wall:?}");
            }
        }
    }
});
