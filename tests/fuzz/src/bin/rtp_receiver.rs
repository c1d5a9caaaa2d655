//! Datagrams of every kind at any time: no panic, the caps hold, nothing
//! waits beyond its time, no packet comes out that did not go in.
//!
//! Input: a byte that picks the carrier, then datagrams, each a byte of
//! milliseconds, a byte of flags, and, by its highest bit, either a 16-bit
//! length and the datagram itself, or a 16-bit step of the sequence number.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use porthole::ingest::rtsp::receiver::{Carrier, Receiver};
use porthole::media::ClockRate;

const WAIT: Duration = Duration::from_millis(80);

/// A packet of type 96, whose payload is the number of packets so far.
fn packet(number: u16, flags: u8, count: u32) -> Bytes {
    let mut packet = vec![0x80, 96 | (flags & 1) << 7];
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&(count * 3_000).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, flags >> 1 & 3]);
    packet.resize(12 + 4 + usize::from(flags >> 3 & 15) * 4_096, 0);
    packet[12..16].copy_from_slice(&count.to_be_bytes());
    packet.into()
}

fuzz_target!(|data: &[u8]| {
    let Some((&pick, mut rest)) = data.split_first() else { return };
    let carrier = if pick & 1 == 0 { Carrier::Unordered } else { Carrier::Ordered };
    let mut receiver = Receiver::new(0, 96, ClockRate::VIDEO, carrier);
    if pick & 2 == 2 {
        receiver.announce(3);
        receiver.start_at(u32::MAX);
    }
    let (mut now, mut number, mut count, mut out) = (Instant::now(), 0u16, 0u32, 0u32);
    while let [millis, flags, a, b, after @ ..] = rest {
        now += Duration::from_millis((*millis).into());
        let value = u16::from_be_bytes([*a, *b]);
        let datagram = if flags & 0x80 == 0 {
            rest = after;
            // Mostly small steps, either way.
            number = number.wrapping_add(if value < 0x4000 { 1 } else { value });
            packet(number, *flags, count)
        } else {
            let (datagram, next) = after.split_at(usize::from(value).min(after.len()));
            rest = next;
            Bytes::copy_from_slice(datagram)
        };
        count += 1;
        receiver.push(datagram, now);
        while let Some(packet) = receiver.pull() {
            out += 1;
            assert!(!packet.payload().is_empty());
        }
        let (packets, bytes) = receiver.held();
        assert!(packets <= 512 && bytes <= 1 << 20);
        assert!(carrier == Carrier::Unordered || packets == 0);
        assert!(
            receiver.deadline().is_none_or(|deadline| deadline > now && deadline <= now + WAIT)
        );
    }
    receiver.expire(now + WAIT);
    out += std::iter::from_fn(|| receiver.pull()).count() as u32;
    assert_eq!((receiver.held(), receiver.deadline()), ((0, 0), None));
    let arrivals = receiver.arrivals();
    let dropped = arrivals.late + arrivals.duplicates + arrivals.foreign + arrivals.malformed;
    assert!(u64::from(out) + dropped <= u64::from(count));
});
