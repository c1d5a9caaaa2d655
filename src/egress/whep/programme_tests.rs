use super::super::packetizer::{picture, sound};
use super::*;

/// Of the substream, to be told apart.
const SUB: u64 = 1_000;

/// Packets of a picture are this large.
const BYTES: usize = 10_000;

struct Screen {
    programme: Programme,
    now: Instant,
    /// Of all that went out.
    times: Vec<i64>,
}

impl Screen {
    /// Of a viewer that has the stream's first key frame.
    fn new(may_sub: bool) -> Self {
        let programme = Programme::new([Some("H.264"), Some("PCMA")], may_sub);
        let mut screen = Self { programme, now: Instant::now(), times: Vec::new() };
        assert_eq!(screen.main(1, true), [1]);
        screen
    }

    /// What goes out of the stream's next picture, and of what waited before.
    fn main(&mut self, sequence: u64, key: bool) -> Vec<u64> {
        self.offer(Quality::Main, &picture(sequence, key, BYTES))
    }

    fn sub(&mut self, sequence: u64, key: bool) -> Vec<u64> {
        self.offer(Quality::Sub, &picture(SUB + sequence, key, BYTES))
    }

    fn offer(&mut self, of: Quality, packets: &Arc<Packets>) -> Vec<u64> {
        self.now += Duration::from_millis(40);
        assert_eq!(self.programme.offer(self.now, of, packets), 0);
        self.out()
    }

    fn out(&mut self) -> Vec<u64> {
        let mut sequences = Vec::new();
        while let Some(waiting) = self.programme.front_mut() {
            sequences.push(waiting.packets.sequence);
            self.times.push(waiting.ticks);
            self.programme.pop();
        }
        sequences
    }
}

const NOTHING: [u64; 0] = [];

#[test]
fn a_narrow_way_gets_the_substream_from_a_key_frame_on_and_the_stream_again_from_one() {
    let mut screen = Screen::new(true);
    screen.programme.want(Rung::Sub, 200_000);
    assert_eq!(screen.main(2, false), NOTHING, "its way does not carry it");
    assert_eq!(screen.sub(1, false), NOTHING, "nothing to decode it with");
    assert_eq!((screen.programme.wanted(), screen.programme.feed()), (Quality::Sub, Quality::Main));
    assert_eq!(screen.sub(2, true), [SUB + 2]);
    assert_eq!(screen.main(3, true), NOTHING, "two pictures at once");
    assert_eq!(screen.sub(3, false), [SUB + 3]);
    assert_eq!(screen.offer(Quality::Sub, &sound(160)), NOTHING, "sound is the stream's own");

    screen.programme.want(Rung::Main, 5_000_000);
    assert_eq!(screen.main(4, false), NOTHING, "nothing to decode it with");
    assert_eq!(screen.sub(4, false), [SUB + 4], "until the other comes");
    assert_eq!(screen.main(5, true), [5]);
    assert_eq!(screen.sub(5, true), NOTHING, "two pictures at once");
    assert_eq!(screen.main(6, false), [6]);
    assert!(screen.times.is_sorted_by(|a, b| a < b), "{:?}", screen.times);
}

#[test]
fn a_small_group_of_the_substream_is_sent_at_once_and_a_large_one_not() {
    for (carried, wanted) in [(1_000_000, vec![SUB + 1, SUB + 2]), (300_000, vec![])] {
        let mut screen = Screen::new(true);
        let mut group = Group::new(1 << 20);
        (1..=2).for_each(|at| group.push(&picture(SUB + at, at == 1, BYTES)));
        let groups = Groups { main: Group::new(0), sub: Some(group) };
        screen.programme.change_over_at_once(&groups, screen.now);
        assert_eq!(screen.out(), NOTHING, "its way carries the stream");
        screen.programme.want(Rung::Sub, carried);
        screen.programme.change_over_at_once(&groups, screen.now);
        assert_eq!(screen.out(), wanted, "{carried}");
    }
}

#[test]
fn key_frames_alone_come_as_often_as_the_way_takes_them() {
    let mut screen = Screen::new(false);
    // 80 kbit each.
    screen.programme.want(Rung::KeyFrames, 100_000);
    assert_eq!(screen.main(2, true), [2]);
    for sequence in 3..=20 {
        assert_eq!(screen.main(sequence, sequence == 15), NOTHING, "{sequence}");
    }
    screen.now += Duration::from_millis(40);
    assert_eq!(screen.main(21, true), [21]);
    screen.now += Duration::from_secs(1);
    // Not behind one that still waits.
    for sequence in [22, 23] {
        screen.programme.offer(screen.now, Quality::Main, &picture(sequence, true, BYTES));
        screen.now += Duration::from_secs(1);
    }
    assert_eq!(screen.out(), [22]);
}

#[test]
fn a_substream_that_goes_leaves_key_frames_and_may_come_back() {
    for ever in [false, true] {
        let mut screen = Screen::new(true);
        screen.programme.want(Rung::Sub, 1_000_000);
        assert_eq!(screen.sub(1, true), [SUB + 1]);
        screen.programme.lose_sub(ever);
        assert_eq!(screen.programme.wanted(), Quality::Main);
        assert_eq!(screen.main(2, false), NOTHING);
        assert_eq!(screen.main(3, true), [3]);
        assert_eq!(screen.main(4, false), NOTHING, "more than key frames");
        // Asked for again once the way has carried the stream.
        screen.programme.want(Rung::Main, 5_000_000);
        assert_eq!(screen.main(5, true), [5]);
        screen.programme.want(Rung::Sub, 1_000_000);
        let wanted = if ever { Quality::Main } else { Quality::Sub };
        assert_eq!((screen.programme.wanted(), screen.programme.may_sub()), (wanted, !ever));
    }
}
