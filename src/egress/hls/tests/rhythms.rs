//! Cameras of every rhythm, by chance.

use proptest::prelude::*;

use super::*;

/// Frames that a camera of the property tests sends at the least; in these,
/// things happen.
const FRAMES: usize = 200;

/// A camera of some rhythm: the time between frames is `interval` give or
/// take `jitter`, and now and then something happens.
#[derive(Clone, Debug)]
struct Rhythm {
    interval: i64,
    jitter: i64,
    gop: i64,
    sound: bool,
    /// Sound comes this much later (or earlier) than the picture, in ms.
    sound_late: i64,
    /// Index of a frame, what happens there.
    events: Vec<(usize, Event)>,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Nothing for so many milliseconds.
    Hole(i64),
    /// The same, and the source came back.
    Outage(i64),
    NewParameters,
    ExtraKey,
}

fn rhythm() -> impl Strategy<Value = Rhythm> {
    let event = prop_oneof![
        (1..9_000_i64).prop_map(Event::Hole),
        (1..90_000_i64).prop_map(Event::Outage),
        Just(Event::NewParameters),
        Just(Event::ExtraKey),
    ];
    let interval =
        prop_oneof![Just(16_i64), Just(33), Just(40), Just(100), Just(1_000), 17..1_500_i64];
    let events = prop::collection::vec((0..FRAMES, event), 0..5);
    (interval, 0..30_i64, 1..300_i64, any::<bool>(), -400..400_i64, events, any::<u64>()).prop_map(
        |(interval, jitter, gop, sound, sound_late, events, seed)| {
            let jitter = jitter.min(interval - 1);
            Rhythm { interval, jitter, gop, sound, sound_late, events, seed }
        },
    )
}

impl Rhythm {
    /// Long enough for the longest lesson, whatever happened before: behind an
    /// outage it begins anew, behind a hole with the next key frame.
    fn frames(&self) -> usize {
        let lesson = 20_000 / self.interval as usize;
        if self.events.is_empty() {
            return FRAMES.max(lesson);
        }
        FRAMES + self.gop as usize + lesson
    }
}

fn perform(rhythm: &Rhythm) -> Show {
    let mut tracks = vec![video(640)];
    tracks.extend(rhythm.sound.then(sound));
    let mut show = Show::new(tracks);
    let (mut at, mut heard, mut width, mut seed) = (1_000_i64, 0_i64, 640, rhythm.seed);
    for n in 0..rhythm.frames() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let jitter = (seed >> 33) as i64 % (rhythm.jitter + 1);
        at += rhythm.interval + if n % 2 == 0 { jitter } else { -jitter };
        let mut kind = if n as i64 % rhythm.gop == 0 { FrameKind::Key } else { FrameKind::Delta };
        let mut back = false;
        for (_, event) in rhythm.events.iter().filter(|(when, _)| *when == n) {
            match event {
                Event::Hole(length) => at += length,
                Event::Outage(length) => (at, kind, back) = (at + length, FrameKind::Key, true),
                Event::NewParameters => {
                    width += 2;
                    kind = FrameKind::Key;
                    let sound = rhythm.sound.then(sound);
                    let tracks = std::iter::once(video(width)).chain(sound).collect();
                    show.tracks = Arc::new(Tracks::new(tracks));
                }
                Event::ExtraKey => kind = FrameKind::Key,
            }
        }
        let mut back_too = back;
        while rhythm.sound && heard + 20 + rhythm.sound_late <= at {
            heard = if back_too { at - rhythm.sound_late } else { heard + 20 };
            show.frame(1, heard, FrameKind::Audio, std::mem::take(&mut back_too));
        }
        show.frame(0, at, kind, back);
        show.video_given += 1;
    }
    show.end();
    show
}

#[test]
fn a_hole_before_anything_was_learned_costs_the_group_it_is_in() {
    let events = vec![(3, Event::Hole(5_901))];
    let rhythm =
        Rhythm { interval: 100, jitter: 0, gop: 200, sound: false, sound_late: 0, events, seed: 0 };
    assert!(perform(&rhythm).states > 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_rhythm_keeps_the_rules(rhythm in rhythm()) {
        // `Show::check` holds each published state against the rules.
        let show = perform(&rhythm);
        prop_assert!(show.states > 2);
        check_places(show.now());
        if !rhythm.sound {
            let outage = rhythm.events.iter().any(|(_, e)| !matches!(e, Event::ExtraKey));
            // A hole longer than a segment makes the next key frame awaited;
            // otherwise no picture is lost.
            prop_assert!(outage || show.video_published() == show.video_given,
                "{} of {}", show.video_published(), show.video_given);
        }
    }

    #[test]
    fn the_same_frames_give_the_same_bytes(rhythm in rhythm()) {
        let (a, b) = (perform(&rhythm), perform(&rhythm));
        prop_assert!(a.objects == b.objects && a.text() == b.text());
    }
}

/// `TARGETDURATION` as a playlist says it.
fn target(show: &Show) -> String {
    let text = show.text();
    Read::new(&text).header["#EXT-X-TARGETDURATION"].to_owned()
}

#[test]
fn both_qualities_have_the_target_of_the_one_that_is_cut_first() {
    // By themselves a camera's groups of 2 s make 3 s, and those of 4 s make 5 s.
    for groups in [[50, 100], [100, 50]] {
        let common = Common::default();
        let paired = || Show::paired(Config::default(), common.clone(), vec![video(640)]);
        let [mut first, mut second] = [paired(), paired()];
        first.play_groups(groups[0], 0..500);
        // Each playlist is checked: no segment is longer.
        second.play_groups(groups[1], 0..500);
        let promised = target(&first);
        assert_eq!(promised, if groups[0] == 50 { "3" } else { "5" });
        assert_eq!(target(&second), promised);

        // What one learns anew while the other is cut is the same; then it is its own.
        first.segmenter.forget();
        first.store.forget();
        first.snapshot = None;
        first.play_groups(groups[1], 500..1_000);
        assert_eq!(target(&first), promised);
        for show in [&mut first, &mut second] {
            show.segmenter.forget();
            show.store.forget();
            show.snapshot = None;
        }
        second.play_groups(groups[1], 1_000..1_500);
        assert_ne!(target(&second), promised);
    }
}

#[test]
fn parts_that_are_longer_than_the_other_qualitys_target_have_one_of_their_own() {
    let common = Common::default();
    let paired = || Show::paired(Config::default(), common.clone(), vec![video(640)]);
    let [mut main, mut sub] = [paired(), paired()];
    main.play(0..300);
    (0..10).for_each(|n| sub.frame(0, n * 5_000, FrameKind::Key, false));
    assert_eq!((target(&main).as_str(), target(&sub).as_str()), ("3", "7"));
}
