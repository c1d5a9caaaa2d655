use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::media::{
    Avc, ClockRate, Draft, G711Law, MediaTime, PixelSize, TrackId, Tracks, WallTime,
    length_prefixed,
};

fn frame(kind: FrameKind, data: Bytes) -> Frame {
    let at = MediaTime::new(0, ClockRate::VIDEO);
    let draft = Draft {
        track: TrackId(0),
        tracks: Arc::new(Tracks::default()),
        pts: at,
        dts: at,
        wall: WallTime::from_unix_nanos(0),
        kind,
        lost_before: 0,
        discontinuity: false,
        arrived: Instant::now(),
        data,
    };
    Frame { sequence: 1, draft }
}

/// Payload, marker, later.
fn packets(codec: &Codec, frame: &Frame) -> Vec<(Vec<u8>, bool, u32)> {
    let mut out = Vec::new();
    payloads(codec, frame, |p| out.push(([p.head, p.body].concat(), p.marker, p.later)));
    for (payload, ..) in &out {
        assert!(payload.len() <= MAX_PAYLOAD);
    }
    out
}

fn avc() -> Codec {
    Codec::H264(Avc {
        sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f, 9]),
        pps: vec![Bytes::from_static(&[0x68, 1, 2])],
        size: PixelSize { width: 16, height: 16 },
        max_num_reorder_frames: Some(0),
    })
}

#[test]
fn an_h264_key_frame_goes_out_behind_its_parameter_sets_and_fragments_rejoin() {
    let slice: Vec<u8> = [0x65].into_iter().chain((0..4000).map(|i| i as u8)).collect();
    let sei: &[u8] = &[0x06, 5, 1];
    let got = packets(&avc(), &frame(FrameKind::Key, length_prefixed([sei, &slice])));

    let stap_a = [0x78, 0, 5, 0x67, 0x42, 0xc0, 0x1f, 9, 0, 3, 0x68, 1, 2];
    assert_eq!(got[0], (stap_a.to_vec(), false, 0));
    assert_eq!(got[1], (sei.to_vec(), false, 0));
    let fragments = &got[2..];
    assert_eq!(fragments.len(), 3);
    let flags: Vec<_> = fragments.iter().map(|(p, marker, _)| (p[0], p[1], *marker)).collect();
    assert_eq!(flags, [(0x7c, 0x85, false), (0x7c, 0x05, false), (0x7c, 0x45, true)]);
    let rejoined: Vec<u8> = fragments.iter().flat_map(|(p, ..)| &p[2..]).copied().collect();
    assert_eq!(rejoined, slice[1..]);
}

#[test]
fn a_delta_frame_goes_out_without_parameter_sets() {
    let got = packets(&avc(), &frame(FrameKind::Delta, length_prefixed([&[0x41, 7, 7][..]])));
    assert_eq!(got, [(vec![0x41, 7, 7], true, 0)]);
}

#[test]
fn h265_fragments_keep_layer_and_type() {
    let mut got = Vec::new();
    let slice: Vec<u8> = [19 << 1, 1].into_iter().chain((0..3000).map(|i| i as u8)).collect();
    access_unit(&H265, &length_prefixed([&slice[..]]), &mut |p: Payload<'_>| {
        got.push(([p.head, p.body].concat(), p.marker));
    });
    let flags: Vec<_> = got.iter().map(|(p, marker)| (p[0], p[1], p[2], *marker)).collect();
    assert_eq!(flags, [(98, 1, 0x80 | 19, false), (98, 1, 19, false), (98, 1, 0x40 | 19, true)]);
    let rejoined: Vec<u8> = got.iter().flat_map(|(p, _)| &p[3..]).copied().collect();
    assert_eq!(rejoined, slice[2..]);
}

#[test]
fn h265_parameter_sets_share_one_aggregation_packet() {
    let mut got = Vec::new();
    let sets: [&[u8]; 3] = [&[0x40, 1, 9], &[0x42, 1, 8], &[0x44, 1, 7]];
    parameter_sets(&H265, sets.into_iter(), &mut |p: Payload<'_>| got.push(p.body.to_vec()));
    let packet = [96, 1, 0, 3, 0x40, 1, 9, 0, 3, 0x42, 1, 8, 0, 3, 0x44, 1, 7];
    assert_eq!(got, [packet.to_vec()]);
}

#[test]
fn parameter_sets_too_big_for_a_packet_go_out_singly() {
    let Codec::H264(mut avc) = avc() else { unreachable!() };
    avc.pps = vec![Bytes::from(vec![0x68; 900]), Bytes::from(vec![0x68; 900])];
    let slice = length_prefixed([&[0x65, 1][..]]);
    let got = packets(&Codec::H264(avc), &frame(FrameKind::Key, slice));
    let lengths: Vec<_> = got.iter().map(|(p, marker, _)| (p.len(), *marker)).collect();
    assert_eq!(lengths, [(5, false), (900, false), (900, false), (2, true)]);
}

#[test]
fn an_aac_unit_says_its_size_and_every_fragment_repeats_it() {
    let aac = Codec::Aac(Aac {
        config: Bytes::from_static(&[0x12, 0x10]),
        object_type: 2,
        sample_rate: 44_100,
        channels: 2,
    });
    let got = packets(&aac, &frame(FrameKind::Audio, Bytes::from_static(&[7; 5])));
    assert_eq!(got, [(vec![0, 16, 0, 5 << 3, 7, 7, 7, 7, 7], true, 0)]);
    let got = packets(&aac, &frame(FrameKind::Audio, Bytes::from(vec![7; 2000])));
    let heads: Vec<_> = got.iter().map(|(p, marker, _)| (p[..4].to_vec(), *marker)).collect();
    let [high, low] = (2000u16 << 3).to_be_bytes();
    assert_eq!(heads, [(vec![0, 16, high, low], false), (vec![0, 16, high, low], true)]);
    assert!(packets(&aac, &frame(FrameKind::Audio, Bytes::from(vec![7; 9000]))).is_empty());
}

#[test]
fn a_long_g711_frame_is_cut_and_time_runs_on_inside_it() {
    let stereo = Codec::G711 { law: G711Law::A, channels: 2 };
    let got = packets(&stereo, &frame(FrameKind::Audio, Bytes::from(vec![0xd5; 3000])));
    let cuts: Vec<_> = got.iter().map(|(p, _, later)| (p.len(), *later)).collect();
    assert_eq!(cuts, [(1400, 0), (1400, 700), (200, 1400)]);
    for (codec, ticks) in [(Codec::G722, [0, 1400]), (Codec::L16 { channels: 2 }, [0, 350])] {
        let got = packets(&codec, &frame(FrameKind::Audio, Bytes::from(vec![1; 2000])));
        assert_eq!(got.iter().map(|(_, _, later)| *later).collect::<Vec<_>>(), ticks);
    }
}

#[test]
fn broken_frames_make_no_packets_and_no_panic() {
    for data in [&[][..], &[0, 0, 0, 0], &[255; 9], &[0, 0, 0, 1, 0x65], &[0, 0]] {
        let frame = frame(FrameKind::Delta, Bytes::copy_from_slice(data));
        assert!(packets(&avc(), &frame).is_empty());
    }
}
