//! What a camera may do in the middle: go away, change, fall silent.

use super::*;
use crate::media::Jpeg;

#[test]
fn new_parameters_bring_a_discontinuity_and_an_init_segment() {
    let mut show = Show::camera();
    show.play(0..300);
    show.tracks = Arc::new(Tracks::new(vec![video(1_280)]));
    show.play(300..500);
    let text = show.text();
    let read = Read::new(&text);
    let cuts: Vec<&Segment<'_>> = read.segments.iter().filter(|s| s.discontinuity).collect();
    assert_eq!(cuts.len(), 1, "{text}");
    assert!(cuts[0].map.is_some() && cuts[0].parts.first().is_none_or(|part| part.2));
    assert!(multivariant(show.now()).contains("RESOLUTION=1280x360"));
}

#[test]
fn an_init_segment_is_hinted_before_the_first_part_that_needs_it() {
    let mut show = Show::camera();
    show.play(0..301);
    assert!(!show.text().contains("TYPE=MAP"), "nothing new is needed: {}", show.text());
    show.tracks = Arc::new(Tracks::new(vec![video(1_280)]));
    show.frame(0, 301 * 40, FrameKind::Key, false);
    let text = show.text();
    let number = show.now().next;
    let hint = format!("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"i{number}.mp4\"\n");
    assert_eq!((text.matches(&hint).count(), text.matches("TYPE=MAP").count()), (1, 1), "{text}");
    assert!(show.now().content(Name::Init(number)).is_some(), "it can be fetched at once");
    show.play(302..330);
    let text = show.text();
    assert!(!text.contains("TYPE=MAP"), "{text}");
    let map = Read::new(&text).segments.last().and_then(|segment| segment.map.map(str::to_owned));
    assert_eq!(map, Some(format!("i{number}.mp4")), "{text}");
}

#[test]
fn an_equal_set_of_tracks_is_no_change() {
    let mut show = Show::camera();
    show.play(0..300);
    show.tracks = Arc::new(Tracks::new(vec![video(640)]));
    show.play(300..500);
    assert!(!show.text().contains("#EXT-X-DISCONTINUITY\n"));
}

/// Twelve seconds of a camera, then nothing for `seconds`, then eight more.
fn outage(seconds: i64) -> Show {
    let mut show = Show::new(vec![video(640), sound()]);
    for n in 0..500 {
        // Both tracks say so.
        let (at, back) =
            if n < 310 { (n * 40, false) } else { (n * 40 + seconds * 1_000, n == 310) };
        let kind = if n % 50 == 0 || back { FrameKind::Key } else { FrameKind::Delta };
        show.frame(1, at, FrameKind::Audio, back);
        show.frame(0, at, kind, back);
    }
    show
}

#[test]
fn an_outage_is_listed_as_gaps_then_a_discontinuity_and_a_date() {
    let show = outage(20);
    let text = show.text();
    let read = Read::new(&text);
    let cut = read.segments.iter().position(|s| s.discontinuity).expect("a discontinuity");
    assert_eq!(read.segments.iter().filter(|s| s.discontinuity).count(), 1, "{text}");
    assert_eq!(read.segments[cut].date_line, "2026-09-21T14:13:52.650Z");
    let gap = |s: &&Segment<'_>| s.gap;
    let gaps: Vec<&Segment<'_>> = read.segments.iter().filter(gap).collect();
    assert!(read.segments[cut - gaps.len()..cut].iter().all(|s| s.gap), "{text}");
    let lengths: Vec<f64> = gaps.iter().filter_map(|s| s.duration).collect();
    // As long as segments were, though they may be 3 s.
    assert_eq!(lengths, [2.0; 10]);
    assert_eq!(gaps[0].date_line, "2026-09-21T14:13:32.650Z");
    assert_eq!(read.segments[cut - gaps.len() - 1].duration, Some(0.400002));
    let name = |s: &Segment<'_>| s.uri.to_owned();
    assert!(name(gaps[1]) > name(gaps[0]) && name(&read.segments[cut]) > name(gaps[9]), "{text}");
}

#[test]
fn while_the_source_is_away_gaps_take_half_the_window_and_then_what_they_need() {
    for seconds in [20, 40, 100, 3_600, 1_000_000] {
        let mut show = Show::camera();
        show.play(0..310);
        let back = 12_400 + seconds * 1_000;
        show.away(back);
        let text = show.text();
        let gaps = text.matches("#EXT-X-GAP").count() as i64;
        assert_eq!(gaps, (seconds / 2).min(15), "{text}");
        assert!(!Read::new(&text).segments[0].gap, "what was before can still be seen: {text}");

        show.frame(0, back, FrameKind::Key, true);
        for n in 1..50 {
            show.frame(0, back + n * 40, FrameKind::Delta, false);
        }
        // Places by lengths and by dates are the same, within a window at the least.
        let listed = show.now().listed();
        for two in listed.windows(2) {
            let apart = two[1].head.wall.unix_nanos() - two[0].head.wall.unix_nanos();
            let off = apart - two[0].duration.as_nanos() as i64;
            assert!(off.abs() < 3_000, "{off} ns behind {}: {text}", two[0].head.number);
        }
        assert!(listed.len() <= 35, "{}", listed.len());
        let has_gap = listed.iter().filter(|segment| segment.head.gap).count() as i64;
        assert!(has_gap >= (seconds / 2).min(28), "{has_gap} in {}", show.text());
    }
}

#[test]
fn a_gap_that_is_listed_while_the_source_is_away_is_the_one_listed_afterwards() {
    let (mut told, mut asleep) = (Show::camera(), Show::camera());
    for show in [&mut told, &mut asleep] {
        show.play(0..310);
    }
    // At 12.4 s nothing follows; once a second somebody looks.
    for seconds in 13..30 {
        told.away(seconds * 1_000);
        assert!(seconds < 16 || told.text().contains("#EXT-X-GAP"), "{seconds}");
    }
    for show in [&mut told, &mut asleep] {
        show.frame(0, 30_000, FrameKind::Key, true);
        show.play(751..900);
    }
    assert_eq!(told.text(), asleep.text());
    assert_eq!(told.text().matches("#EXT-X-GAP").count(), 9, "{}", told.text());
}

#[test]
fn a_gap_has_parts_to_count_on_from_and_none_to_fetch() {
    let mut show = Show::camera();
    show.play(0..310);
    show.away(14_000);
    let hint = show.text().lines().last().unwrap().to_owned();
    show.away(16_000);
    let text = show.text();
    let read = Read::new(&text);
    let gap = read.segments.last().expect("a gap");
    assert!(gap.gap && hint.contains(gap.parts[0].0), "the one that was hinted: {hint}, {text}");
    let lengths: Vec<f64> = gap.parts.iter().map(|part| part.1).collect();
    assert_eq!(lengths, [0.44, 0.44, 0.44, 0.44, 0.24]);
    let number = show.now().next - 1;
    let report = playlist::Report::of(show.now(), "sub/media.m3u8").unwrap();
    assert_eq!((report.segment, report.part), (number, Some(4)));
    assert!(show.now().content(Name::Part(number, 0)).is_none());
    // Who counts on waits for what comes behind it, and does not ask again and again.
    assert!(show.now().reaches(number, Some(4)) && !show.now().reaches(number, Some(5)));
}

#[test]
fn behind_an_outage_the_first_part_is_a_segment() {
    let show = outage(20);
    let text = show.text();
    let read = Read::new(&text);
    let cut = read.segments.iter().position(|s| s.discontinuity).unwrap();
    let lengths: Vec<f64> = read.segments[cut..].iter().map(Segment::length).take(4).collect();
    // The next one ends with its first key frame.
    assert_eq!(lengths, [0.400002, 1.199998, 2.0, 2.0], "{text}");
    assert!(!read.header.contains_key("#EXT-X-INDEPENDENT-SEGMENTS"), "{text}");
}

#[test]
fn the_end_of_an_outage_comes_with_its_first_part() {
    let mut show = Show::camera();
    show.play(0..310);
    // At 12.4 s nothing follows; players are told of a second and another one.
    show.away(16_500);
    let away = show.text();
    assert_eq!(away.matches("#EXT-X-GAP").count(), 2, "{away}");
    let mut at = 16_600;
    show.frame(0, at, FrameKind::Key, true);
    while show.text() == away {
        at += 40;
        show.frame(0, at, FrameKind::Delta, false);
    }
    let text = show.text();
    let read = Read::new(&text);
    let newest = read.segments.last().unwrap();
    assert!(newest.discontinuity && newest.duration == Some(0.400002), "complete: {text}");
    let rest = &read.segments[read.segments.len() - 2];
    assert!(rest.gap && rest.duration == Some(0.2), "short as it is: {text}");
    assert_eq!(text.matches("#EXT-X-GAP").count(), 3, "{text}");
}

#[test]
fn what_is_missing_for_a_moment_is_no_gap() {
    let mut show = Show::camera();
    show.play(0..310);
    show.frame(0, 310 * 40 + 400, FrameKind::Key, true);
    show.play(325..500);
    assert!(!show.text().contains("#EXT-X-GAP"), "{}", show.text());
}

#[test]
fn a_track_that_is_announced_but_silent_is_left_out_until_it_is_heard() {
    let mut show = Show::new(vec![video(640), sound()]);
    show.play(0..300);
    assert!(multivariant(show.now()).contains("CODECS=\"avc1.42C00C\""));
    for n in 300..400 {
        show.frame(1, n * 40, FrameKind::Audio, false);
        show.play(n..n + 1);
    }
    assert!(multivariant(show.now()).contains("CODECS=\"avc1.42C00C,fLaC\""));
    assert_eq!(show.text().matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn sound_that_stops_is_left_out_before_players_wait_for_it() {
    let mut show = Show::new(vec![video(640), sound()]);
    for n in 0..300 {
        show.frame(1, n * 40, FrameKind::Audio, false);
        show.play(n..n + 1);
    }
    assert!(multivariant(show.now()).contains("fLaC"));
    // A pause of 3 s is none.
    show.play(300..375);
    show.frame(1, 375 * 40, FrameKind::Audio, false);
    show.play(375..450);
    assert!(multivariant(show.now()).contains("fLaC"));
    // The next key frame after 4 s: at 18 s.
    show.play(450..600);
    assert!(!multivariant(show.now()).contains("fLaC"));
    assert_eq!(show.text().matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn sound_comes_back_with_its_picture() {
    let mut show = Show::new(vec![video(640), sound()]);
    for n in 0..300 {
        show.frame(1, n * 40, FrameKind::Audio, false);
        show.play(n..n + 1);
    }
    // Six seconds later the picture is first, and its sound right behind it.
    for n in 450..600 {
        show.frame(
            0,
            n * 40,
            if n % 50 == 0 { FrameKind::Key } else { FrameKind::Delta },
            n == 450,
        );
        show.frame(1, n * 40 + 5, FrameKind::Audio, false);
    }
    assert!(multivariant(show.now()).contains("fLaC"));
    // A second one would say that the sound came later.
    assert_eq!(show.text().matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{}", show.text());
}

#[test]
fn sound_alone_is_a_stream_too() {
    let mut show = Show::new(vec![sound()]);
    for n in 0..1_000 {
        show.frame(0, n * 20, FrameKind::Audio, false);
    }
    let text = show.text();
    let index = multivariant(show.now());
    assert!(index.contains("CODECS=\"fLaC\"") && !index.contains("FRAME-RATE"), "{index}");
    assert!(Read::new(&text).segments.iter().all(|s| s.parts.iter().all(|part| part.2)));
}

#[test]
fn mjpeg_is_named_as_what_hls_cannot_carry() {
    let size = PixelSize { width: 640, height: 360 };
    let jpeg = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec: Codec::Jpeg(Jpeg { size }) };
    let mut show = Show::new(vec![jpeg, sound()]);
    show.frame(0, 0, FrameKind::Key, false);
    assert!(matches!(show.store.state(), State::Unplayable("MJPEG")));
    show.tracks = Arc::new(Tracks::new(vec![video(640)]));
    show.play(0..120);
    assert!(matches!(show.store.state(), State::Live(_)), "a new encoder setting heals it");
}

#[test]
fn a_clock_that_is_set_begins_a_new_timeline_and_a_late_report_does_not() {
    let mut show = Show::camera();
    // The camera's first report comes a second after its first frame.
    show.clock = 4_000;
    show.play(0..25);
    show.clock = 0;
    show.play(25..300);
    let text = show.text();
    let read = Read::new(&text);
    assert!(!read.segments.iter().any(|s| s.discontinuity), "{text}");
    assert_eq!(read.segments[0].date_line, "2026-09-21T14:13:20.250Z");
    assert_eq!(read.first(), FIRST);

    show.clock = 7_000;
    show.play(300..500);
    let text = show.text();
    let read = Read::new(&text);
    let cut = read.segments.iter().find(|s| s.discontinuity).expect("a discontinuity");
    assert_eq!(cut.date_line, "2026-09-21T14:13:39.250Z");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
}
