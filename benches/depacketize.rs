//! Depacketizing: RTP payloads to frames, the hot path of every camera.
//!
//! A hundred cameras of 2 Mbit/s are 25 MB and some 19,000 packets a second;
//! the promise of 10 % of a core for all of them leaves this a small share.
//! Run with `cargo bench --bench depacketize`; times are per second of one
//! camera, throughput in bytes of payload.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use porthole::ingest::depacketize::{Depacketizer, Packet};
use porthole::media::MediaKind;

/// Payload bytes of a packet, as cameras on Ethernet have it.
const MTU: usize = 1400;

/// Pictures of 10 kB, 25 times a second, are 2 Mbit/s.
const PICTURE: usize = 10_000;

struct Sent {
    timestamp: i64,
    marker: bool,
    payload: Vec<u8>,
}

/// Coded video looks random, and has no start code in it.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8 | 1
    };
    (0..length).map(|_| next()).collect()
}

/// One second: sets and a key frame of five pictures' size, then 24 more.
fn video(sets: &[&[u8]], key: [u8; 2], delta: [u8; 2], hevc: bool) -> Vec<Sent> {
    let mut sent = Vec::new();
    for n in 0..25_i64 {
        let timestamp = n * 3600;
        let (header, size) = if n == 0 { (key, 5 * PICTURE) } else { (delta, PICTURE * 20 / 24) };
        for set in sets.iter().filter(|_| n == 0) {
            sent.push(Sent { timestamp, marker: false, payload: set.to_vec() });
        }
        // A slice header: first in its picture, PPS 0, `frame_num` n.
        let head: &[u8] = match (hevc, n) {
            (true, 0) => &[0xaf, 0x20],
            (true, _) => &[0xd0, 0x20],
            (false, 0) => &[0x88, 0x84],
            (false, _) => &[0x9a, 0x84],
        };
        let body = [head, &noise(size)].concat();
        let parts = body.chunks(MTU);
        let last = parts.len() - 1;
        for (at, part) in parts.enumerate() {
            let flags = u8::from(at == 0) << 7 | u8::from(at == last) << 6;
            let payload = if hevc {
                let fu = [header[0] & 0x81 | 49 << 1, header[1], flags | header[0] >> 1];
                [&fu[..], part].concat()
            } else {
                [&[header[0] & 0xe0 | 28, flags | header[0] & 0x1f][..], part].concat()
            };
            sent.push(Sent { timestamp, marker: at == last, payload });
        }
    }
    sent
}

/// One second of AAC at 48 kHz and 64 kbit/s, a frame a packet.
fn aac() -> Vec<Sent> {
    let packet = |n: i64| {
        let frame = noise(170);
        let [high, low] = ((frame.len() as u16) << 3).to_be_bytes();
        let payload = [&[0, 16, high, low][..], &frame].concat();
        Sent { timestamp: n * 1024, marker: true, payload }
    };
    (0..47).map(packet).collect()
}

fn run(depacketizer: &mut Depacketizer, sent: &[Sent]) -> usize {
    let mut units = 0;
    for packet in sent {
        let packet = Packet {
            timestamp: packet.timestamp,
            marker: packet.marker,
            lost_before: 0,
            payload: &packet.payload,
        };
        depacketizer.push(black_box(packet)).expect("below every limit");
        while let Some(unit) = depacketizer.pull() {
            black_box(unit);
            units += 1;
        }
    }
    units
}

fn depacketize(c: &mut Criterion) {
    let avc: [&[u8]; 2] = [
        &[
            0x67, 0x4d, 0x40, 0x0a, 0xec, 0xa1, 0x06, 0xd8, 0x08, 0x80, 0, 0, 3, 0, 0x80, 0, 0,
            0x19, 7, 0x89, 0x12, 0xcb,
        ],
        &[0x68, 0xeb, 0xe0, 0x84, 0xb2],
    ];
    let clip = include_bytes!("../src/ingest/depacketize/testdata/x265_open_gop.h265");
    let starts: Vec<usize> =
        (3..clip.len()).filter(|&at| clip[at - 3..at] == [0, 0, 1]).take(6).collect();
    let units = starts.windows(2).map(|pair| &clip[pair[0]..pair[1] - 3]);
    let hevc: Vec<&[u8]> = units.filter(|unit| (32..=34).contains(&(unit[0] >> 1))).collect();
    let cases = [
        ("h264_fu_a", MediaKind::Video, "h264", 90_000, video(&avc, [0x65, 0], [0x41, 0], false)),
        ("h265_fu", MediaKind::Video, "h265", 90_000, video(&hevc, [0x26, 1], [0x02, 1], true)),
        ("aac", MediaKind::Audio, "mpeg4-generic", 48_000, aac()),
    ];
    let mut group = c.benchmark_group("depacketize");
    for (name, kind, encoding, rate, sent) in cases {
        let make = || {
            let fmtp = (kind == MediaKind::Audio).then_some("mode=AAC-hbr;config=1190");
            Depacketizer::new(kind, encoding, rate, None, fmtp).expect("it is supported")
        };
        assert!(run(&mut make(), &sent) >= 25, "{name}: every frame comes out");
        let bytes: usize = sent.iter().map(|packet| packet.payload.len()).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(make, |d| run(d, &sent), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, depacketize);
criterion_main!(benches);
