//! Targets, windows, names and waiting, one rule a test.

use std::time::Duration;

use super::*;
use crate::egress::hls::cutter::SEGMENT_BYTES;
use crate::egress::hls::segment;
use crate::egress::hls::store::MOST_BYTES;

#[test]
fn nothing_is_published_before_the_rhythm_is_known() {
    let mut show = Show::camera();
    show.play(0..50);
    assert!(show.snapshot.is_none());
    show.play(50..52);
    assert_eq!(show.now().segments.len(), 1);
}

#[test]
fn segments_begin_with_key_frames_and_have_four_parts() {
    let mut show = Show::camera();
    show.play(0..500);
    let text = show.text();
    let read = Read::new(&text);
    assert_eq!(read.first(), FIRST);
    assert_eq!(read.header["#EXT-X-INDEPENDENT-SEGMENTS"], "");
    assert!(!read.header.contains_key("#EXT-X-START"), "{text}");
    assert_eq!(read.segments[0].map, Some(format!("i{FIRST}.mp4").as_str()));
    assert_eq!(read.segments[1].date_line, "2026-09-21T14:13:22.250Z");
    for segment in read.segments.iter().filter(|s| s.parts.len() == 4 && !s.uri.is_empty()) {
        assert_eq!(segment.duration, Some(2.0));
        let durations: Vec<f64> = segment.parts.iter().map(|part| part.1).collect();
        assert_eq!(durations, [0.52, 0.52, 0.52, 0.44]);
        let independent: Vec<bool> = segment.parts.iter().map(|part| part.2).collect();
        assert_eq!(independent, [true, false, false, false]);
    }
    assert_eq!(read.segments.iter().filter(|s| s.parts.is_empty()).count(), 6, "{text}");
}

#[test]
fn the_window_slides_and_what_left_it_stays_for_three_targets() {
    let mut show = Show::camera();
    show.play(0..25 * 200);
    let now = show.now();
    let listed: Duration = now.listed().iter().map(|segment| segment.duration).sum();
    assert!((60..=62).contains(&listed.as_secs()), "{listed:?}");
    let unlisted: Duration = now.segments[..now.unlisted].iter().map(|s| s.duration).sum();
    assert!((9..=11).contains(&unlisted.as_secs()), "{unlisted:?}");
    let oldest = now.segments[0].head.number;
    assert!(now.segment(oldest).is_some() && now.segment(oldest - 1).is_none());
    assert!(show.store.bytes() < 250 * 25 * 80, "{}", show.store.bytes());
}

#[test]
fn a_list_that_nobody_reads_is_what_a_player_begins_with() {
    let seconds = |segments: &[Arc<_>]| {
        let media = segments.iter().filter(|segment: &&Arc<segment::Segment>| !segment.head.gap);
        media.map(|segment| segment.duration.as_secs()).sum::<u64>()
    };
    let mut show = Show::camera();
    show.store.watched = false;
    show.play(0..1_000);
    let now = show.now();
    assert_eq!((now.unlisted, seconds(&now.segments)), (0, 10), "{}", show.text());

    show.store.watched = true;
    show.play(1_000..5_000);
    assert!(seconds(show.now().listed()) >= 60, "{}", show.text());
    show.store.watched = false;
    show.play(5_000..5_051);
    assert_eq!((show.now().unlisted, seconds(&show.now().segments)), (0, 10), "{}", show.text());

    // Away for 30 s: gaps are nothing to begin with.
    for n in 0..100 {
        let kind = if n % 50 == 0 { FrameKind::Key } else { FrameKind::Delta };
        show.frame(0, (5_051 + 750 + n) * 40, kind, n == 0);
    }
    let text = show.text();
    let gaps = show.now().listed().iter().filter(|segment| segment.head.gap).count();
    assert!(gaps >= 9 && seconds(show.now().listed()) >= 9, "{text}");
    for n in 100..500 {
        let kind = if n % 50 == 0 { FrameKind::Key } else { FrameKind::Delta };
        show.frame(0, (5_051 + 750 + n) * 40, kind, false);
    }
    assert_eq!(seconds(&show.now().segments), show.now().segments.len() as u64 * 2, "{text}");
}

#[test]
fn a_stream_of_many_bytes_has_a_shorter_window_and_the_newest_segments() {
    let mut show = Show::camera();
    // A segment of 50 pictures takes about 5.5 kB.
    show.store.most_bytes = 30_000;
    for n in 0..2_000 {
        show.play(n..n + 1);
        assert!(show.store.bytes() <= 30_000, "{} after {n}", show.store.bytes());
    }
    let now = show.now();
    assert!(now.listed().len() >= 3 && now.open.is_some(), "{}", show.text());
    assert_eq!(now.next, FIRST + 39);

    show.store.most_bytes = 0;
    show.play(2_000..2_500);
    assert!(!show.now().listed().is_empty(), "the live edge stays whatever it costs");
}

#[test]
fn a_segment_beyond_measure_is_cut_before_its_key_frame() {
    let mut show = Show::camera();
    show.key_bytes = SEGMENT_BYTES / 3;
    // A key frame each fifth of a second is too often to cut at.
    show.play_groups(5, 0..150);
    let largest = show.now().segments.iter().map(|segment| segment.bytes).max().unwrap();
    assert!(largest < SEGMENT_BYTES * 5 / 2, "{largest}");
    assert!(show.store.bytes() <= MOST_BYTES, "{}", show.store.bytes());
}

#[test]
fn a_segment_without_a_key_frame_ends_with_the_next() {
    let mut show = Show::camera();
    // The first segment is cut after six seconds.
    show.play_groups(160, 0..400);
    let text = show.text();
    let read = Read::new(&text);
    let lengths: Vec<f64> = read.segments.iter().filter_map(|s| s.duration).collect();
    // What begins without a key frame is listed two microseconds late.
    assert_eq!(lengths, [5.600002, 0.799998, 6.4], "{text}");
    assert!(read.segments[2].parts[0].2, "{text}");
}

#[test]
fn a_long_group_of_pictures_is_cut_by_force_and_not_called_independent() {
    let mut show = Show::camera();
    show.play_groups(750, 0..3_000);
    let text = show.text();
    let read = Read::new(&text);
    assert!(!read.header.contains_key("#EXT-X-INDEPENDENT-SEGMENTS"));
    assert!(read.segments.iter().all(|s| s.length() <= 12.0), "{text}");
    let longest = read.segments.iter().filter_map(|s| s.duration).fold(0.0, f64::max);
    assert!(longest > 11.0, "{text}");

    // The first of them may take six seconds, the second twelve: 20.2 s back
    // from the newest frame, which is not in a part yet, is the key frame.
    let mut show = Show::camera();
    show.play_groups(1_000, 0..507);
    let text = show.text();
    let start = Read::new(&text).attribute("#EXT-X-START", "TIME-OFFSET");
    assert!((-20.2..-19.7).contains(&start), "{text}");

    let mut show = Show::camera();
    show.play_groups(1_000, 0..160);
    let text = show.text();
    assert_eq!(text.matches("#EXTINF").count(), 1, "nobody waits for the first one: {text}");
}

#[test]
fn segments_as_long_as_is_wished_are_whole_groups() {
    let (segment, window) = (Duration::from_secs(30), Some(Duration::from_secs(300)));
    let long = || Config { segment, window, ..Config::default() };
    // Of the last, two are longer than a segment may be: each is one.
    for (pictures, lengths) in
        [(25, 26.9..28.1), (250, 29.9..30.1), (750, 29.9..30.1), (500, 19.9..20.1)]
    {
        let mut show = Show::wishing(long(), vec![video(640)]);
        show.play_groups(pictures, 0..7_000);
        let text = show.text();
        let read = Read::new(&text);
        assert!(read.segments.len() > 8, "{text}");
        // The first is short, and what is left of its group may be the second.
        for segment in &read.segments[2..] {
            assert!(
                segment.parts.first().is_none_or(|part| part.2),
                "groups of {pictures}: {text}"
            );
            let length = segment.duration.unwrap_or(lengths.start);
            assert!(lengths.contains(&length), "groups of {pictures}: {text}");
        }
    }
}

#[test]
fn chromiums_list_ends_where_the_third_from_the_end_begins_with_a_key_frame() {
    let mut show = Show::camera();
    let (mut newest, mut changes) = (0, 0);
    for from in 0..120 {
        show.play_groups(750, from * 25..from * 25 + 25);
        let Some(now) = &show.snapshot else { continue };
        let text = playlist::whole(now);
        let read = Read::new(&text);
        assert!(!text.contains("#EXT-X-PART") && !text.contains("-HINT"), "{text}");
        let begins = |number: u64| now.segment(number).unwrap().head.independent;
        let last = read.first() + read.segments.len() as u64 - 1;
        assert!(last < now.next && last >= newest, "{text}");
        // Of the first group there are two.
        assert!(now.next < FIRST + 3 || begins(last - 2), "{text}");
        changes += usize::from(last > newest);
        newest = last;
    }
    // Two segments one by one, and then whole groups of three.
    assert!((4..=6).contains(&changes) && newest > FIRST + 6, "{changes}, {newest}");
}

#[test]
fn behind_a_change_of_parameters_key_frames_carry_theirs() {
    // Of a player that read the first init segment and no other, as ffmpeg 5.1.
    const SETS: &[u8] = b"\0\0\0\x05\x67\x42\xc0\x0c\x8c\0\0\0\x02\x68\x01FRAME";
    let mut show = Show::camera();
    show.play(0..100);
    for (width, from) in [(320, 100), (640, 200)] {
        show.tracks = Arc::new(Tracks::new(vec![video(width)]));
        show.play(from..from + 100);
    }
    show.end();
    let carried: Vec<usize> = show
        .now()
        .segments
        .iter()
        .map(|segment| {
            let data: Vec<u8> = segment.parts.iter().flat_map(|p| whole(&p.data)).collect();
            data.windows(SETS.len()).filter(|window| *window == SETS).count()
        })
        .collect();
    // Also where it is again as it was. Each segment has one key frame.
    assert_eq!(carried, [0, 0, 1, 1, 1, 1]);
}

#[test]
fn a_segment_without_a_key_frame_names_one_before_the_hold_back_reaches_it() {
    // shaka-player begins nearer the end.
    let mut show = Show::camera();
    let mut reached = 0;
    for n in 0..1_000 {
        show.play_groups(750, n..n + 1);
        let Some(now) = show.snapshot.as_ref() else { continue };
        let Some(open) = now.open.as_ref().filter(|open| !open.head.independent) else { continue };
        if open.duration < now.targets.hold_back() {
            let text = show.text();
            assert!(text.contains("#EXT-X-START"), "{text}");
            reached += 1;
        }
    }
    assert!(reached > 10);
}

#[test]
fn a_part_without_a_key_frame_is_never_listed_before_its_media() {
    // What is rounded how depends on the time of day.
    for clock in [0, 137, 371, 621, 913] {
        let mut show = Show::camera();
        show.clock = clock;
        let mut seed = 1_u64;
        for n in 0..1_600 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let kind = if n % 750 == 0 { FrameKind::Key } else { FrameKind::Delta };
            show.frame(0, n * 40 + (seed >> 33) as i64 % 7, kind, false);
        }
        assert!(check_places(show.now()) > 60);
    }
}

#[test]
fn sound_alone_ends_its_segments_with_whole_parts() {
    let mut show = Show::new(vec![Track { id: TrackId(0), ..sound() }]);
    (0..1_000).for_each(|n| show.frame(0, n * 23, FrameKind::Audio, false));
    let text = show.text();
    let read = Read::new(&text);
    let complete = read.segments.iter().filter(|s| !s.uri.is_empty() && !s.parts.is_empty());
    let lengths: Vec<f64> = complete.flat_map(|s| s.parts.iter().map(|part| part.1)).collect();
    assert!(lengths.len() > 10 && lengths.iter().all(|length| *length == lengths[0]), "{text}");
}

#[test]
fn a_restart_begins_above_all_numbers_used_however_short_the_segments() {
    // Segments of a second, and a reconnect twice a second after a while.
    let config = Config { segment: Duration::from_secs(1), ..Config::default() };
    let mut show = Show::camera();
    (show.segmenter, show.store) =
        (Segmenter::new(config.clone(), Common::default()), Store::new(&config, None));
    for n in 0..1_500 {
        let back = n > 500 && n % 13 == 0;
        let kind = if n % 25 == 0 || back { FrameKind::Key } else { FrameKind::Delta };
        show.frame(0, n * 40, kind, back);
    }
    let used = show.now().next;
    assert!(used > FIRST + 80, "{used}");

    let mut again = Show::camera();
    again.play_groups(25, 1_501..1_700);
    let first = again.now().segments[0].head.number;
    assert!(first > used, "{first} after {used}");
}

#[test]
fn what_is_forgotten_is_gone_and_its_numbers_stay_used() {
    let mut show = Show::camera();
    show.play(0..500);
    let used = show.now().next;
    show.segmenter.forget();
    show.store.forget();
    assert!(matches!(show.store.state(), State::Starting) && show.store.bytes() == 0);
    // The camera's clock was set back meanwhile.
    show.snapshot = None;
    show.objects.clear();
    show.play(0..200);
    let first = show.now().segments[0].head.number;
    assert!(first > used, "{first} after {used}");
    assert_eq!(show.now().listed()[0].head.number, first);
}

#[test]
fn waiting_follows_the_draft() {
    let mut show = Show::camera();
    show.play(0..230);
    let now = show.now();
    // Open: the segment from 8 s on, with three parts.
    let open = FIRST + 4;
    assert_eq!((now.next, now.open_parts()), (open, 2));
    let reaches = |number, part| now.reaches(number, part);
    assert!(reaches(open - 1, None) && !reaches(open, None), "a whole segment");
    assert!(reaches(open, Some(1)) && !reaches(open, Some(2)), "a part");
    assert!(reaches(open - 1, Some(5)), "part 0 of the next is there");
    assert!(reaches(FIRST - 9, None) && reaches(FIRST - 9, Some(7)), "old ones");
    let too_far = |number, part| now.too_far(number, part);
    assert!(!too_far(open + 1, None) && too_far(open + 2, None));
    // Seven parts of 0.440 s are three seconds.
    assert!(!too_far(open, Some(8)) && too_far(open, Some(9)));
    assert!(!too_far(open + 1, Some(6)) && too_far(open + 1, Some(7)));
    assert!(!too_far(open - 1, Some(99)));

    // Three, where parts are a second or longer.
    let mut show = Show::camera();
    (0..20).for_each(|n| show.frame(0, n * 1_000, FrameKind::Key, false));
    let now = show.now();
    assert!(now.targets.part >= Duration::from_secs(1) && now.open_parts() == 0, "{}", show.text());
    assert!(!now.too_far(now.next, Some(2)) && now.too_far(now.next, Some(3)));
}

#[test]
fn a_part_past_the_end_of_the_newest_segment_waits_for_the_next() {
    let mut show = Show::camera();
    show.play(0..201);
    let now = show.now();
    assert_eq!((now.next, now.open_parts()), (FIRST + 4, 0));
    assert!(now.reaches(FIRST + 3, Some(4)) && !now.reaches(FIRST + 3, Some(5)));
}

#[test]
fn names_are_numbers_in_one_spelling() {
    for name in ["media.m3u8", "i7.mp4", "s7.m4s", "s7.0.m4s", "s18446744073709551615.3.m4s"] {
        assert_eq!(Name::parse(name).expect(name).to_string(), name);
    }
    for name in ["s07.m4s", "s+7.m4s", "s7.00.m4s", "s.m4s", "s7", "i.mp4", "s7.0.0.m4s", "", "x"] {
        assert_eq!(Name::parse(name), None, "{name}");
    }
}

#[test]
fn parts_fill_their_target_although_frames_jitter() {
    for interval in [16, 33, 40, 66, 100, 125, 200] {
        let mut show = Show::camera();
        for n in 0..20_000 / interval {
            // Late or early, in no order.
            let most = 17.min(interval / 3);
            let jitter = ((n * 2_654_435_761) >> 7) % (2 * most + 1) - most;
            let kind = if n * interval / 2_000 != (n - 1) * interval / 2_000 || n == 0 {
                FrameKind::Key
            } else {
                FrameKind::Delta
            };
            show.frame(0, 1_000 + n * interval + jitter, kind, false);
        }
        let text = show.text();
        let read = Read::new(&text);
        let target = read.attribute("#EXT-X-PART-INF", "PART-TARGET");
        for segment in &read.segments {
            let [parts @ .., _last] = &segment.parts[..] else { continue };
            let short = parts.iter().find(|part| part.1 < target * 0.85);
            assert!(short.is_none(), "{interval}: {short:?} of {target}: {text}");
        }
    }
}

#[test]
fn bandwidth_is_the_peak_of_what_makes_up_a_target_duration() {
    let mut show = Show::camera();
    show.play(0..500);
    let usual = show.now().peak_rate();
    // A segment of 0.4 s that is a key frame and little else is no peak…
    show.key_bytes = 4_000;
    show.frame(0, 20_000, FrameKind::Key, false);
    for n in 501..510 {
        show.frame(0, n * 40, FrameKind::Delta, false);
    }
    show.frame(0, 510 * 40, FrameKind::Key, true);
    let after = show.now();
    let alone = after.segments.last().unwrap();
    let alone = alone.bytes as f64 * 8.0 / alone.duration.as_secs_f64();
    let peak = after.peak_rate();
    assert!(peak > usual && (peak as f64) < alone, "{usual} {peak} {alone}");
    // …and a peak stays one when it has left the playlist.
    show.key_bytes = 400;
    show.play(511..25 * 120);
    assert_eq!(show.now().peak_rate(), peak.max(show.now().peak_rate()));
    assert!(show.now().peak_rate() >= peak);
}

#[test]
fn a_window_holds_the_frames_of_the_bus_and_no_copy_of_them() {
    let mut show = Show::camera();
    show.key_bytes = 50_000;
    show.play(0..180);
    let part = &show.now().open.as_ref().unwrap().parts[0];
    let frame = part.data.iter().find(|piece| piece.len() > 40_000).expect("a key frame");
    assert_eq!(frame.as_ptr(), show.newest_key.as_ptr());
}

#[test]
fn dates_follow_from_lengths_though_the_clock_becomes_known_better() {
    let mut show = Show::camera();
    show.play(0..150);
    show.clock = 200;
    show.play(150..700);
    show.tracks = Arc::new(Tracks::new(vec![video(1_280)]));
    show.play(700..25 * 60);
    let now = show.now();
    assert!(show.text().contains("#EXT-X-DISCONTINUITY\n"));
    let nanos = |segment: &segment::Segment| segment.head.wall.unix_nanos();
    for pair in now.listed().windows(2) {
        let apart = nanos(&pair[1]) - nanos(&pair[0]);
        let step = apart - pair[0].duration.as_nanos() as i64;
        assert!(step.abs() <= 2_000, "{step}: {}", show.text());
    }
}

#[test]
fn a_segment_with_a_short_last_part_is_complete_once_there_is_a_part_behind_it() {
    let is_short = |part: &segment::Part| part.duration < Duration::from_millis(200);
    let last = |segment: &segment::Segment| is_short(segment.parts.last().unwrap());
    let mut show = Show::camera();
    // Five parts of ten pictures, and four pictures.
    show.play_groups(54, 0..108);
    let mut seen = 0;
    for n in 108..541 {
        show.play_groups(54, n..n + 1);
        let now = show.now();
        assert!(now.open.is_some() || !last(now.listed().last().unwrap()), "{}", show.text());
        let Some(open) = now.open.as_ref().filter(|open| last(open)) else { continue };
        seen += 1;
        // It is listed at once, and waited for is what follows.
        assert!(now.reaches(now.next, Some(5)) && !now.reaches(now.next, Some(6)));
        assert_eq!(open.parts.len(), 6);
        let hint = format!("URI=\"s{}.0.m4s\"", now.next + 1);
        assert!(show.text().ends_with(&format!("TYPE=PART,{hint}\n")), "{}", show.text());
    }
    assert!(seen >= 8 * 9, "{seen}");

    // It does not wait for a part that may never come: the camera goes away right behind one.
    assert!(last(show.now().open.as_ref().unwrap()));
    show.away(541 * 40);
    let ends: Vec<usize> = show.now().listed().iter().map(|s| s.parts.len()).collect();
    assert!(ends.ends_with(&[6, 6, 1]), "{}", show.text());
    assert_eq!(show.video_published(), 541);
}
