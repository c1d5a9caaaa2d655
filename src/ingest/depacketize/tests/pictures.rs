use bytes::Bytes;

use super::*;
use crate::media::{Av1, PixelSize, Vp8, Vp9};
use crate::rtp;

/// A frame of the codec of that name as encoders begin them, with filler
/// behind.
fn frame(name: &str, kind: FrameKind, length: usize) -> Bytes {
    let key = kind == FrameKind::Key;
    let mut data = match (name, key) {
        ("vp8", true) => vec![0x10, 0x62, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0],
        ("vp8", false) => vec![0x11, 0x62, 0],
        ("vp9", true) => vec![0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0b, 0x36, 0x06],
        ("vp9", false) => vec![0x86, 0, 0x40],
        (_, true) => {
            let mut unit = vec![0x0a, 0x0b, 0, 0, 0, 4, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0, 0x40];
            unit.push(0x32);
            crate::media::put_leb128(&mut unit, length + 1);
            unit.push(0x10);
            unit
        }
        (_, false) => {
            let mut unit = vec![0x32];
            crate::media::put_leb128(&mut unit, length + 1);
            unit.push(0x30);
            unit
        }
    };
    data.resize(data.len() + length, 0x55);
    data.into()
}

/// The packets of a key frame and three others.
fn sent(name: &str, codec: &Codec, length: usize) -> (Vec<Bytes>, Vec<Sent>) {
    let (mut frames, mut sent) = (Vec::new(), Vec::new());
    for n in 0..4 {
        let kind = if n == 0 { FrameKind::Key } else { FrameKind::Delta };
        let data = frame(name, kind, length);
        for payload in rtp::cut(codec, kind, &data, 1_200) {
            let mut bytes = Vec::new();
            payload.write(&mut bytes);
            sent.push(Sent { timestamp: n * FRAME, marker: payload.marker, payload: bytes });
        }
        frames.push(data);
    }
    (frames, sent)
}

fn codecs() -> [(&'static str, Codec); 3] {
    let size = PixelSize { width: 320, height: 180 };
    let sequence_header = frame("av1", FrameKind::Key, 0).slice(..13);
    [
        ("vp8", Codec::Vp8(Vp8 { size })),
        ("vp9", Codec::Vp9(Vp9 { profile: 0, size })),
        ("av1", Codec::Av1(Av1 { profile: 0, size, sequence_header })),
    ]
}

#[test]
fn what_was_cut_for_one_viewer_comes_back_as_it_was() {
    for (name, codec) in codecs() {
        for length in [0, 100, 1_190, 9_000] {
            let (frames, sent) = sent(name, &codec, length);
            let units = received(&mut video(name, ""), &sent, &[]);
            let got: Vec<&Bytes> = units.iter().map(|unit| &unit.data).collect();
            assert_eq!(got, frames.iter().collect::<Vec<_>>(), "{name} {length}");
            assert_eq!(units[0].codec.as_ref(), Some(&codec));
            assert!(units[1..].iter().all(|unit| unit.codec.is_none()));
            let kinds: Vec<FrameKind> = units.iter().map(|unit| unit.kind).collect();
            assert_eq!(kinds[..2], [FrameKind::Key, FrameKind::Delta]);
        }
    }
}

#[test]
fn a_picture_with_a_packet_missing_is_never_handed_out_nor_are_those_behind_it() {
    for (name, codec) in codecs() {
        let (frames, sent) = sent(name, &codec, 3_000);
        let per_frame = sent.len() / frames.len();
        for missing in 0..sent.len() - 1 {
            let mut depacketizer = video(name, "");
            let units = received(&mut depacketizer, &sent, &[missing]);
            assert_eq!(units.len(), missing / per_frame, "{name} without {missing}");
            let again = received(&mut depacketizer, &sent[..per_frame], &[]);
            assert_eq!(again.len(), 1, "{name}: a key frame mends it");
            let mut careless = video(name, "").after_loss(AfterLoss::Show);
            let shown = received(&mut careless, &sent, &[missing]).len();
            assert_eq!(shown, if missing < per_frame { 0 } else { 3 }, "{name} {missing}");
        }
    }
}

#[test]
fn a_marker_that_never_comes_costs_a_frame_of_delay_and_nothing_else() {
    for (name, codec) in codecs() {
        let (frames, mut sent) = sent(name, &codec, 3_000);
        sent.iter_mut().for_each(|packet| packet.marker = false);
        let units = received(&mut video(name, ""), &sent, &[]);
        assert_eq!(units.len(), frames.len() - 1, "{name}");
    }
}
