//! RTP payloads of every kind, in any order: no panic, no frame above the
//! limits, no frame that is not what the bus promises.
//!
//! Input: a byte that picks the payload format, then packets, each a byte of
//! flags (marker, loss, time steps), a 16-bit length and the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::ingest::depacketize::{AfterLoss, Depacketizer, Packet, Unit};
use porthole::media::{Codec, MediaKind, NalUnits};

const AAC: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408";

fn depacketizer(pick: u8) -> Depacketizer {
    let (kind, name, rate, fmtp) = match pick % 6 {
        0 => (MediaKind::Video, "h264", 90_000, ""),
        1 => (MediaKind::Video, "h265", 90_000, ""),
        2 => (MediaKind::Video, "jpeg", 90_000, ""),
        3 => (MediaKind::Audio, "mpeg4-generic", 16_000, AAC),
        4 => (MediaKind::Audio, "pcmu", 8_000, ""),
        _ => (MediaKind::Audio, "opus", 48_000, ""),
    };
    let policy = if pick & 0x80 == 0 { AfterLoss::Hold } else { AfterLoss::Show };
    let made = Depacketizer::new(kind, name, rate, None, Some(fmtp));
    made.expect("all of these are supported").after_loss(policy)
}

fn check(unit: &Unit, codec: Option<&Codec>) {
    assert!(unit.dts <= unit.pts && unit.data.len() <= 8 << 20);
    let codec = codec.expect("a frame of an unknown codec");
    if matches!(codec, Codec::H264(_) | Codec::H265(_)) {
        let whole: usize = NalUnits::new(&unit.data).map(|nal| 4 + nal.len()).sum();
        assert_eq!(whole, unit.data.len());
        codec.rfc6381().expect("fMP4 carries both");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&pick, mut rest)) = data.split_first() else { return };
    let mut depacketizer = depacketizer(pick);
    let mut timestamp = 0i64;
    while let [flags, l0, l1, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let (payload, next) = after.split_at(length.min(after.len()));
        rest = next;
        // Steps of 0 to 7 frames, once in a while back, or far away.
        timestamp += i64::from(flags >> 5) * 3600 - i64::from(flags & 0x10) * 10;
        if flags & 0x1c == 0x1c {
            timestamp += 10_000_000;
        }
        let lost_before = u32::from(flags >> 1 & 1);
        let packet = Packet { timestamp, marker: flags & 1 == 1, lost_before, payload };
        if depacketizer.push(packet).is_err() {
            return;
        }
        while let Some(unit) = depacketizer.pull() {
            check(&unit, depacketizer.codec());
        }
    }
});
