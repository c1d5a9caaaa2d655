use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::super::link::Via;
use super::*;
use crate::egress::whep::packetizer::picture;

static ROUTE: Route =
    Route { to: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9), via: Via::Udp(None) };
const PROFILE: ProtectionProfile = ProtectionProfile::AeadAes128Gcm;

fn codec(payload_type: u8) -> Offered {
    Offered { payload_type, name: "x".into(), clock_rate: 90_000, channels: 0, fmtp: String::new() }
}

/// A sender and a receiver that knows its key.
struct Line {
    sender: Sender,
    sealer: Sealer,
    receiver: Context,
    outbox: Outbox,
}

impl Line {
    fn new(rtx: bool) -> Self {
        let provider = rtc::crypto::default_provider().unwrap();
        let (key, salt) = ([3; 16], [4; 12]);
        Self {
            sender: Sender::new(&codec(96), rtx.then(|| codec(97)).as_ref()),
            sealer: Sealer::new(provider.crypto(), PROFILE, &key, &salt).unwrap(),
            receiver: Context::new(&key, &salt, PROFILE, None, None, provider.crypto()).unwrap(),
            outbox: Outbox::default(),
        }
    }

    fn send(&mut self, sequence: u64, packets: usize) -> Vec<Vec<u8>> {
        let mut frame = Arc::into_inner(picture(sequence, false, 100)).unwrap();
        frame.payloads = vec![frame.payloads[0].clone(); packets];
        let Self { sender, sealer, outbox, .. } = self;
        let out = &mut Out { now: Instant::now(), sealer, route: &ROUTE, outbox };
        sender.send(out, &Arc::new(frame), 0..packets, sequence as i64);
        self.taken()
    }

    fn resend(&mut self, now: Instant, sequence_number: u16) -> Option<Vec<u8>> {
        let Self { sender, sealer, outbox, .. } = self;
        let out = &mut Out { now, sealer, route: &ROUTE, outbox };
        sender.resend(out, sequence_number)?;
        self.taken().pop()
    }

    /// What is in the outbox, as it is on the wire.
    fn taken(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outbox).datagrams().map(<[u8]>::to_vec).collect()
    }

    fn open(&mut self, datagram: &[u8]) -> rtc::rtp::Packet {
        use rtc::shared::marshal::Unmarshal;
        let opened = self.receiver.decrypt_rtp(datagram).unwrap();
        rtc::rtp::Packet::unmarshal(&mut &opened[..]).unwrap()
    }
}

#[test]
fn sequence_numbers_run_on_over_pictures_and_wraps() {
    let mut line = Line::new(false);
    let mut last = None;
    for sequence in 0..900 {
        for datagram in line.send(sequence, 100) {
            let header = line.open(&datagram).header;
            let number = header.sequence_number;
            assert!(last.is_none_or(|last: u16| number == last.wrapping_add(1)));
            assert_eq!((header.payload_type, header.marker), (96, true));
            last = Some(number);
        }
    }
}

#[test]
fn a_lost_packet_comes_again_to_the_byte() {
    let mut line = Line::new(false);
    let sent: Vec<Vec<u8>> = (0..3).flat_map(|sequence| line.send(sequence, 4)).collect();
    for lost in &sent {
        let number = u16::from_be_bytes([lost[2], lost[3]]);
        assert_eq!(line.resend(Instant::now(), number).as_ref(), Some(lost));
    }
    let newest = &sent[sent.len() - 1];
    let next = u16::from_be_bytes([newest[2], newest[3]]).wrapping_add(1);
    assert_eq!(line.resend(Instant::now(), next), None, "never sent");
    let before = u16::from_be_bytes([sent[0][2], sent[0][3]]).wrapping_sub(1);
    assert_eq!(line.resend(Instant::now(), before), None, "never sent");
}

#[test]
fn a_retransmission_stream_names_the_packet_it_repeats() {
    let mut line = Line::new(true);
    let sent = line.send(1, 3);
    let original = line.open(&sent[1]);
    let number = original.header.sequence_number;
    let first = line.resend(Instant::now(), number).unwrap();
    let again = line.resend(Instant::now(), number).unwrap();
    let (first, again) = (line.open(&first), line.open(&again));
    assert_eq!(first.header.payload_type, 97);
    assert_ne!(first.header.ssrc, original.header.ssrc);
    assert_eq!(first.header.timestamp, original.header.timestamp);
    assert_eq!(first.payload[..2], number.to_be_bytes());
    assert_eq!(first.payload[2..], original.payload[..]);
    // Two packets, so two nonces.
    let next = first.header.sequence_number.wrapping_add(1);
    assert_eq!(again.header.sequence_number, next);
}

/// A line whose viewer reports on every packet by the extension 5.
fn numbered(rtx: bool) -> Line {
    let mut line = Line::new(rtx);
    let transport = Transport::new(Instant::now(), Some(5));
    line.sender = Sender::new(&codec(96), rtx.then(|| codec(97)).as_ref()).over(transport);
    line
}

fn number(packet: &rtc::rtp::Packet) -> u16 {
    let element = packet.header.get_extension(5).expect("every packet has its number");
    u16::from_be_bytes([element[0], element[1]])
}

#[test]
fn every_packet_has_a_number_of_its_own_on_the_transport() {
    let mut line = numbered(true);
    let sent = line.send(1, 3);
    let lost = line.open(&sent[1]);
    let again = line.resend(Instant::now(), lost.header.sequence_number).unwrap();
    let mut all: Vec<rtc::rtp::Packet> = sent.iter().map(|packet| line.open(packet)).collect();
    all.push(line.open(&again));
    all.extend(line.send(2, 2).iter().map(|packet| line.open(packet)));
    let numbers: Vec<u16> = all.iter().map(number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert_eq!(all[3].payload[..2], lost.header.sequence_number.to_be_bytes());
    assert_eq!(all[3].payload[2..], lost.payload[..]);
}

#[test]
fn without_a_retransmission_stream_a_number_comes_again_with_its_packet() {
    let mut line = numbered(false);
    let sent: Vec<Vec<u8>> = (0..3).flat_map(|sequence| line.send(sequence, 4)).collect();
    for lost in &sent {
        let number = u16::from_be_bytes([lost[2], lost[3]]);
        assert_eq!(line.resend(Instant::now(), number).as_ref(), Some(lost));
    }
}

#[test]
fn old_packets_are_forgotten() {
    let mut line = Line::new(false);
    let first = line.send(0, 10).swap_remove(0);
    let number = u16::from_be_bytes([first[2], first[3]]);
    (1..=REMEMBERED as u64 / 10 - 1).for_each(|sequence| drop(line.send(sequence, 10)));
    assert!(line.resend(Instant::now(), number).is_some());
    (0..3 + FORGOTTEN / 10).for_each(|_| drop(line.send(999, 10)));
    assert_eq!(line.resend(Instant::now(), number), None);
    (0..=FORGOTTEN / 10).for_each(|_| drop(line.send(999, 10)));
    assert!(line.sender.remembered <= REMEMBERED + FORGOTTEN);
}

#[test]
fn asking_often_does_not_make_us_send_much() {
    let mut line = Line::new(false);
    let sent = line.send(0, 1).swap_remove(0);
    let number = u16::from_be_bytes([sent[2], sent[3]]);
    let now = Instant::now();
    let at_once = (0..10_000).filter(|_| line.resend(now, number).is_some()).count();
    assert_eq!(at_once, REPAIR_BURST as usize / 100);
    let later = now + Duration::from_millis(100);
    let then = (0..10_000).filter(|_| line.resend(later, number).is_some()).count();
    assert_eq!(then, (REPAIR_BYTES_PER_SECOND * 0.1) as usize / 100);
    // A way of 800 kbit/s carries 100 kB a second.
    line.sender.limit_repairs(Some(800_000));
    let later = later + Duration::from_secs(10);
    let then = (0..10_000).filter(|_| line.resend(later, number).is_some()).count();
    assert_eq!(then, (100_000.0 * REPAIR_SHARE) as usize / 100);
    line.sender.forget();
    assert_eq!(line.resend(later + Duration::from_secs(1), number), None);
}

#[test]
fn the_round_trip_is_told_by_our_clock_whatever_the_cameras_says() {
    let mut line = Line::new(false);
    let sent = Instant::now();
    let wall = WallTime::from_unix_nanos(1_000_000_000_000_000_000);
    let report = line.sender.report(sent, wall, 7).unwrap();
    assert_eq!(line.sender.report(sent, wall, 7), None, "not due");
    let parsed = rtc::rtcp::packet::unmarshal(&mut &report[..]).unwrap();
    assert_eq!(parsed.len(), 2, "a report and a name");
    let last_report = (wall.ntp() >> 16) as u32;
    let block = Reception { last_report, delay: 65_536 / 2, ..Reception::default() };
    let now = sent + Duration::from_millis(530);
    assert_eq!(line.sender.round_trip(now, &block), Some(Duration::from_millis(30)));
    let forged = Reception { delay: u32::MAX, ..block };
    assert_eq!(line.sender.round_trip(now, &forged), None);
    let unknown = Reception { last_report: 5, ..block };
    assert_eq!(line.sender.round_trip(now, &unknown), None);
}

#[test]
fn the_first_reports_come_every_second_and_later_ones_every_five() {
    let (mut line, start) = (Line::new(false), Instant::now());
    let wall = WallTime::from_unix_nanos(1_700_000_000_000_000_000);
    let second =
        |second: &u64| line.sender.report(start + Duration::from_secs(*second), wall, 0).is_some();
    let reported: Vec<u64> = (0..20).filter(second).collect();
    assert_eq!(reported, [0, 1, 2, 3, 8, 13, 18]);
}
