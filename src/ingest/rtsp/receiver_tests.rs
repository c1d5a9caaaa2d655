use proptest::prelude::*;

use super::super::reorder::{MAX_BYTES, MAX_PACKETS, WAIT};
use super::*;

const MS: Duration = Duration::from_millis(1);
const SSRC: u32 = 0x1234_5678;

/// An RTP packet of type 96, whose payload is its number.
fn rtp(ssrc: u32, number: u16, time: u32) -> Bytes {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&time.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&number.to_be_bytes());
    packet.into()
}

/// A receiver whose clock ticks in milliseconds, and what came out of it.
struct Bench {
    start: Instant,
    receiver: Receiver,
    out: Vec<Packet>,
}

impl Bench {
    fn new(carrier: Carrier) -> Self {
        let start = Instant::now();
        let rate = ClockRate::new(1_000).unwrap();
        Self { start, receiver: Receiver::new(3, 96, rate, carrier), out: Vec::new() }
    }

    fn push(&mut self, at: Duration, data: Bytes) {
        self.receiver.push(data, self.start + at);
        self.out.extend(std::iter::from_fn(|| self.receiver.pull()));
    }

    fn expire(&mut self, at: Duration) {
        self.receiver.expire(self.start + at);
        self.out.extend(std::iter::from_fn(|| self.receiver.pull()));
    }

    /// Numbers that came out, and losses before each.
    fn numbers(&self) -> Vec<(u16, u32)> {
        let number = |p: &Packet| u16::from_be_bytes(p.payload().try_into().unwrap());
        self.out.iter().map(|p| (number(p), p.lost_before())).collect()
    }

    fn times(&self) -> Vec<i64> {
        self.out.iter().map(Packet::timestamp).collect()
    }
}

/// What comes out where these numbers of one source come in, 1 ms apart. The
/// first comes so early that it need not wait for others.
fn received(carrier: Carrier, numbers: &[u16]) -> Bench {
    let mut bench = Bench::new(carrier);
    bench.push(Duration::ZERO, rtp(SSRC, numbers[0], 0));
    bench.expire(WAIT);
    bench.start += WAIT;
    for (ms, number) in (0..).zip(numbers).skip(1) {
        bench.push(MS * ms, rtp(SSRC, *number, 0));
    }
    bench
}

#[test]
fn packets_in_order_pass_at_once_and_are_not_copied() {
    for carrier in [Carrier::Ordered, Carrier::Unordered] {
        let mut bench = received(carrier, &[65_529]);
        for number in 65_530..65_546u32 {
            let data = rtp(SSRC, number as u16, number);
            let payload = data[12..].as_ptr();
            bench.push(Duration::ZERO, data);
            assert_eq!(bench.out.last().unwrap().payload().as_ptr(), payload);
        }
        assert_eq!((bench.out.len(), bench.out[0].section()), (17, 3));
        assert_eq!(bench.receiver.deadline(), None);
        assert_eq!(bench.receiver.arrivals(), Arrivals::default());
    }
}

#[test]
fn overtaken_packets_are_put_in_order_on_udp_alone() {
    let bench = received(Carrier::Unordered, &[1, 2, 5, 4, 3, 6]);
    assert_eq!(bench.numbers(), [1, 2, 3, 4, 5, 6].map(|n| (n, 0)));
    assert_eq!(bench.receiver.arrivals(), Arrivals { reordered: 2, ..Arrivals::default() });
    assert_eq!(bench.receiver.deadline(), None);

    let bench = received(Carrier::Ordered, &[1, 2, 5, 4, 3, 6]);
    assert_eq!(bench.numbers(), [(1, 0), (2, 0), (5, 2), (6, 0)]);
    assert_eq!(
        bench.receiver.arrivals(),
        Arrivals { reordered: 2, late: 2, ..Arrivals::default() }
    );
}

#[test]
fn a_source_begins_with_its_first_packet_also_if_another_came_first() {
    let mut bench = Bench::new(Carrier::Unordered);
    for number in [7, 5, 6, 5, 9] {
        bench.push(Duration::ZERO, rtp(SSRC, number, 0));
    }
    assert_eq!((bench.out.len(), bench.receiver.held().0), (0, 4));
    bench.expire(WAIT);
    assert_eq!(bench.numbers(), [(5, 0), (6, 0), (7, 0), (9, 1)]);
    bench.push(WAIT, rtp(SSRC, 4, 0));
    bench.push(WAIT, rtp(SSRC, 10, 0));
    assert_eq!(bench.numbers()[4..], [(10, 0)]);
    assert_eq!(bench.receiver.arrivals().late, 1);
}

#[test]
fn a_missing_packet_is_waited_for_and_then_counted() {
    let mut bench = received(Carrier::Unordered, &[1, 2, 4, 5, 8]);
    assert_eq!(bench.numbers(), [(1, 0), (2, 0)]);
    assert_eq!(bench.receiver.deadline(), Some(bench.start + 2 * MS + WAIT));
    bench.expire(WAIT + MS);
    assert_eq!(bench.numbers().len(), 2);
    // The one that came first after the gap has waited long enough, the one
    // after the second gap has not.
    bench.expire(WAIT + 2 * MS);
    assert_eq!(bench.numbers()[2..], [(4, 1), (5, 0)]);
    assert_eq!(bench.receiver.deadline(), Some(bench.start + 4 * MS + WAIT));
    // Too late by now.
    bench.push(WAIT + 3 * MS, rtp(SSRC, 3, 0));
    bench.expire(WAIT + 4 * MS);
    assert_eq!(bench.numbers()[4..], [(8, 2)]);
    assert_eq!(
        bench.receiver.arrivals(),
        Arrivals { reordered: 1, late: 1, ..Arrivals::default() }
    );
}

#[test]
fn a_wait_ends_whatever_comes_then() {
    for data in [Bytes::from_static(b"no RTP"), rtp(SSRC + 1, 9, 0), rtp(SSRC, 1, 0)] {
        let mut bench = received(Carrier::Unordered, &[1, 3]);
        bench.push(MS + WAIT, data);
        assert_eq!((bench.numbers(), bench.receiver.deadline()), (vec![(1, 0), (3, 1)], None));
    }
}

#[test]
fn duplicates_are_dropped_and_counted() {
    for carrier in [Carrier::Ordered, Carrier::Unordered] {
        let bench = received(carrier, &[1, 1, 2, 1, 2, 3]);
        assert_eq!(bench.numbers(), [(1, 0), (2, 0), (3, 0)]);
        let expected = Arrivals { duplicates: 3, ..Arrivals::default() };
        assert_eq!(bench.receiver.arrivals(), expected);
    }
    let bench = received(Carrier::Unordered, &[1, 3, 3, 2]);
    assert_eq!(bench.numbers(), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn what_is_not_the_tracks_is_ignored_and_counted() {
    let mut bench = received(Carrier::Unordered, &[1]);
    let mut other_type = rtp(SSRC, 2, 0).to_vec();
    // Geovision sends packets of type 50 between its own.
    other_type[1] = 50;
    bench.push(MS, other_type.into());
    for bad in [&[][..], &[0x80; 11], &[0; 12], &[0xbf; 12], b"RTSP/1.0 200 OK\r\n"] {
        bench.push(MS, Bytes::copy_from_slice(bad));
    }
    // Padding alone is no payload, but has a number.
    let mut padding = rtp(SSRC, 2, 0).to_vec();
    padding[0] |= 0x20;
    *padding.last_mut().unwrap() = 2;
    bench.push(MS, padding.into());
    bench.push(MS, rtp(SSRC, 3, 0));
    assert_eq!(bench.numbers(), [(1, 0), (3, 0)]);
    let expected = Arrivals { foreign: 1, malformed: 5, ..Arrivals::default() };
    assert_eq!(bench.receiver.arrivals(), expected);
}

#[test]
fn timestamps_go_on_where_32_bits_wrap_and_may_go_back() {
    let mut bench = Bench::new(Carrier::Ordered);
    let times = [u32::MAX - 39, u32::MAX, 40, 0, 80];
    for (number, time) in times.into_iter().enumerate() {
        bench.push(Duration::ZERO, rtp(SSRC, number as u16, time));
    }
    assert_eq!(bench.times(), [0, 39, 80, 40, 120]);
}

#[test]
fn time_begins_where_rtp_info_says() {
    let mut bench = Bench::new(Carrier::Ordered);
    bench.receiver.start_at(u32::MAX);
    bench.push(Duration::ZERO, rtp(SSRC, 1, 9));
    bench.receiver.start_at(0);
    bench.push(Duration::ZERO, rtp(SSRC, 2, 19));
    assert_eq!(bench.times(), [10, 20]);
}

#[test]
fn a_new_source_goes_on_where_the_old_one_would_be() {
    for carrier in [Carrier::Ordered, Carrier::Unordered] {
        let mut bench = Bench::new(carrier);
        bench.push(Duration::ZERO, rtp(1, 1, 1_000));
        bench.push(40 * MS, rtp(1, 2, 1_040));
        bench.push(540 * MS, rtp(2, 60_000, 4_000_000_000));
        bench.push(580 * MS, rtp(2, 60_001, 4_000_000_040));
        bench.expire(580 * MS + WAIT);
        assert_eq!(bench.numbers(), [(1, 0), (2, 0), (60_000, 1), (60_001, 0)]);
        let (first, second) = (bench.times()[2], bench.times()[3]);
        // UDP believes it with its second packet.
        assert!((540..=580).contains(&first) && second == first + 40, "{first} {second}");
    }
}

#[test]
fn packets_of_an_old_session_stay_out() {
    // As Reolink mixes them in.
    let mut bench = Bench::new(Carrier::Ordered);
    for n in 0..100u16 {
        bench.push(MS * 10 * n.into(), rtp(1, n, 0));
        bench.push(MS * 10 * n.into(), rtp(2, 7_000 + n, 0));
    }
    assert_eq!(bench.out.len(), 100);
    assert!(bench.out.iter().all(|p| p.lost_before() == 0));
    assert_eq!(bench.receiver.arrivals().foreign, 100);
}

#[test]
fn a_source_that_said_bye_or_that_was_not_announced_gives_way_at_once() {
    let mut bench = received(Carrier::Ordered, &[1, 2]);
    bench.receiver.bye(1);
    bench.push(2 * MS, rtp(1, 9, 0));
    assert_eq!(bench.out.len(), 2, "the BYE was somebody else's");
    bench.receiver.bye(SSRC);
    bench.push(2 * MS, rtp(1, 9, 0));
    assert_eq!(bench.numbers()[2..], [(9, 1)]);
    bench.receiver.announce(77);
    bench.push(3 * MS, rtp(77, 30, 0));
    assert_eq!(bench.numbers()[3..], [(30, 1)]);
}

#[test]
fn numbers_that_start_over_are_believed_at_once_on_tcp_and_twice_on_udp() {
    let bench = received(Carrier::Ordered, &[20_000, 3, 4]);
    assert_eq!(bench.numbers(), [(20_000, 0), (3, 1), (4, 0)]);
    let mut bench = received(Carrier::Unordered, &[20_000, 3, 20_001, 9, 10, 11]);
    bench.expire(WAIT + 10 * MS);
    assert_eq!(bench.numbers(), [(20_000, 0), (20_001, 0), (9, 1), (10, 0), (11, 0)]);
    assert_eq!(bench.receiver.arrivals().foreign, 1);
}

#[test]
fn an_outage_of_thousands_is_counted_exactly() {
    for carrier in [Carrier::Ordered, Carrier::Unordered] {
        let mut bench = received(carrier, &[1, 2, 10_003, 10_004]);
        bench.expire(WAIT + 10 * MS);
        assert_eq!(bench.numbers(), [(1, 0), (2, 0), (10_003, 10_000), (10_004, 0)]);
    }
}

#[test]
fn sender_reports_are_placed_without_moving_the_clock() {
    let mut bench = Bench::new(Carrier::Ordered);
    let now = bench.start;
    assert_eq!(bench.receiver.sender_report(SSRC, 0, 0, now), None);
    bench.push(Duration::ZERO, rtp(SSRC, 1, 10));
    bench.push(Duration::ZERO, rtp(SSRC, 2, 50));
    assert_eq!(bench.receiver.sender_report(SSRC, 0, u32::MAX - 9, now), Some(-20));
    assert_eq!(bench.receiver.sender_report(SSRC + 1, 0, 50, now), None);
    assert_eq!(bench.receiver.sender_report(SSRC, 0, 60, now), Some(50));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever is overtaken by less than the wait costs nothing.
    #[test]
    fn any_order_within_the_wait_comes_out_in_order(
        first in any::<u16>(),
        delays in prop::collection::vec(0..75u32, 1..400),
    ) {
        let mut bench = Bench::new(Carrier::Unordered);
        let sent = (0..).zip(&delays);
        let mut arrivals: Vec<(Duration, u16)> = sent
            .map(|(n, delay)| (MS * (u32::from(n) / 4 + delay), first.wrapping_add(n)))
            .collect();
        arrivals.sort_by_key(|(at, _)| *at);
        for (at, number) in &arrivals {
            bench.push(*at, rtp(SSRC, *number, 0));
        }
        bench.expire(MS * 1_000);
        let numbers = 0..delays.len() as u16;
        let expected: Vec<_> = numbers.map(|n| (first.wrapping_add(n), 0)).collect();
        prop_assert_eq!(bench.numbers(), expected);
        prop_assert_eq!(bench.receiver.held(), (0, 0));
    }

    /// Whatever is lost and repeated, whatever wraps: the sum is right.
    #[test]
    fn any_loss_is_counted_exactly(
        first in any::<u16>(),
        fates in prop::collection::vec(0..4u8, 1..600),
        ordered in any::<bool>(),
    ) {
        let carrier = if ordered { Carrier::Ordered } else { Carrier::Unordered };
        let mut bench = Bench::new(carrier);
        bench.push(Duration::ZERO, rtp(SSRC, first, 0));
        let mut expected = vec![(first, 0)];
        let (mut lost, mut at) = (0, Duration::ZERO);
        for (n, fate) in (1..).zip(&fates) {
            let number = first.wrapping_add(n);
            at += 10 * MS;
            match fate {
                0 => lost += 1,
                fate => {
                    (0..*fate).for_each(|_| bench.push(at, rtp(SSRC, number, 0)));
                    expected.push((number, std::mem::take(&mut lost)));
                }
            }
        }
        bench.expire(at + WAIT);
        prop_assert_eq!(bench.numbers(), expected);
    }

    /// Whatever the numbers, sources and moments: the caps hold, nothing comes
    /// out that did not go in, nothing waits beyond its time.
    #[test]
    fn a_hostile_camera_never_makes_us_hold_more_than_the_caps(
        steps in prop::collection::vec((0..3u32, -600..700i32, 0..40u32, 0..3_000usize), 1..2_000),
    ) {
        let mut bench = Bench::new(Carrier::Unordered);
        let (mut at, mut number) = (Duration::ZERO, 0u16);
        for (ssrc, step, micros, size) in &steps {
            at += Duration::from_micros((*micros).into());
            number = number.wrapping_add_signed(*step as i16 * 2);
            let mut data = rtp(SSRC + ssrc / 2, number, 0).to_vec();
            data.resize(12 + size, 0);
            bench.receiver.push(data.into(), bench.start + at);
            while bench.receiver.pull().is_some() {}
            let (packets, bytes) = bench.receiver.held();
            prop_assert!(packets <= MAX_PACKETS && bytes <= MAX_BYTES);
        }
        bench.expire(at + WAIT);
        prop_assert_eq!(bench.receiver.held(), (0, 0));
        prop_assert_eq!(bench.receiver.deadline(), None);
    }
}

#[test]
fn too_many_packets_or_bytes_end_the_wait() {
    let mut bench = received(Carrier::Unordered, &[1]);
    for number in 3..3 + MAX_PACKETS as u16 {
        bench.push(MS, rtp(SSRC, number, 0));
    }
    assert_eq!((bench.out.len(), bench.receiver.held().0), (1, MAX_PACKETS));
    bench.push(MS, rtp(SSRC, 3 + MAX_PACKETS as u16, 0));
    assert_eq!((bench.out.len(), bench.receiver.held()), (514, (0, 0)));

    let mut bench = received(Carrier::Unordered, &[1]);
    let large = |number| [&rtp(SSRC, number, 0)[..], &vec![0; 60_000]].concat();
    for number in 3..20 {
        bench.push(MS, large(number).into());
    }
    assert_eq!((bench.out.len(), bench.receiver.held().0), (1, 17));
    bench.push(MS, large(20).into());
    assert_eq!(bench.receiver.held(), (0, 0));
}

/// A packet of RTX, type 97, about another.
fn rtx(number: u16, time: u32, about: u16) -> Bytes {
    let mut packet = rtp(SSRC + 1, number, time).to_vec();
    packet[1] = 97;
    packet.truncate(12);
    packet.extend_from_slice(&about.to_be_bytes());
    packet.extend_from_slice(&about.to_be_bytes());
    packet.into()
}

#[test]
fn what_is_lost_is_asked_for_and_takes_its_place_when_it_comes_again() {
    let mut bench = Bench::new(Carrier::Unordered);
    bench.receiver.repair(Offer { avpf: true, nack: true, rtx: Some(97) });
    bench.push(Duration::ZERO, rtp(SSRC, 10, 0));
    bench.expire(WAIT);
    bench.start += WAIT;
    bench.push(MS, rtp(SSRC, 13, 30));
    assert_eq!(bench.receiver.deadline(), Some(bench.start + MS * 11));
    let asked = |bench: &mut Bench, ms| bench.receiver.missing(bench.start + MS * ms);
    assert_eq!(asked(&mut bench, 10), None);
    assert_eq!(asked(&mut bench, 11), Some((SSRC, vec![(11, 1)])));
    bench.push(MS * 15, rtx(1, 20, 12));
    // One by RTX, which also comes twice, and what nobody asked for; then the
    // other as it was.
    bench.push(MS * 15, rtx(1, 20, 12));
    bench.push(MS * 15, rtx(2, 90, 60_000));
    assert_eq!(asked(&mut bench, 31), Some((SSRC, vec![(11, 0)])));
    bench.push(MS * 150, rtp(SSRC, 11, 10));
    assert_eq!(bench.numbers(), [(10, 0), (11, 0), (12, 0), (13, 0)]);
    assert_eq!(bench.times(), [0, 10, 20, 30]);
    assert_eq!((asked(&mut bench, 300), bench.receiver.deadline()), (None, None));
    // And what never comes is waited for no longer than that.
    bench.push(MS * 400, rtp(SSRC, 15, 50));
    bench.expire(MS * 599);
    assert_eq!(bench.out.len(), 4);
    bench.expire(MS * 600);
    assert_eq!(bench.numbers()[4..], [(15, 1)]);
}
