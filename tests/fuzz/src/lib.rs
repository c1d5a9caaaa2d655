//! What targets share.

use porthole::ingest::depacketize::{AfterLoss, Depacketizer, Packet, Unit};
use porthole::media::{Codec, FrameKind, MediaKind, NalUnits};

/// What SDP says of a track.
pub struct Announced {
    pub kind: MediaKind,
    pub name: &'static str,
    pub rate: u32,
    /// Format parameters where the input brings none.
    pub fmtp: &'static str,
}

/// Feeds RTP payloads, in whatever order, to a depacketizer: no panic, no
/// frame above the limits, none that is not what the bus promises.
///
/// Input: a byte of flags (show after loss, parameters of its own), parameters
/// behind their 8-bit length, then packets, each a byte of flags (marker, loss,
/// time step), a 16-bit length and the payload.
pub fn depacketize(announced: &Announced, data: &[u8]) {
    let Some((&flags, mut rest)) = data.split_first() else { return };
    let mut fmtp = announced.fmtp.to_owned();
    if flags & 1 != 0 {
        let Some((&length, after)) = rest.split_first() else { return };
        let (own, after) = after.split_at(usize::from(length).min(after.len()));
        (fmtp, rest) = (String::from_utf8_lossy(own).into_owned(), after);
    }
    let channels = [None, Some(1), Some(2), Some(u16::MAX)][usize::from(flags >> 1 & 3)];
    let Announced { kind, name, rate, .. } = *announced;
    let Ok(made) = Depacketizer::new(kind, name, rate, channels, Some(&fmtp)) else { return };
    let policy = if flags & 0x80 == 0 { AfterLoss::Hold } else { AfterLoss::Show };
    let mut depacketizer = made.after_loss(policy);

    let (mut timestamp, mut last) = (0i64, None);
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
            check(&unit, depacketizer.codec(), kind);
            last = Some(unit);
        }
    }
    // What outputs hold must not change under them.
    drop(depacketizer);
    if let Some(unit) = last {
        assert!(unit.data.len() <= 8 << 20);
    }
}

fn check(unit: &Unit, codec: Option<&Codec>, kind: MediaKind) {
    assert!(unit.dts <= unit.pts && unit.data.len() <= 8 << 20 && !unit.data.is_empty());
    assert_eq!(unit.kind == FrameKind::Audio, kind == MediaKind::Audio);
    let codec = codec.expect("a frame of an unknown codec");
    assert_eq!(codec.kind(), kind);
    if matches!(codec, Codec::H264(_) | Codec::H265(_)) {
        let whole: usize = NalUnits::new(&unit.data).map(|nal| 4 + nal.len()).sum();
        assert_eq!(whole, unit.data.len());
        codec.rfc6381().expect("fMP4 carries both");
    }
}
