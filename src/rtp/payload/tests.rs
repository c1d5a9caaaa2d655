use super::*;
use crate::media::{
    Aac, Av1, Avc, G711Law, Hevc, PixelSize, Vp8, Vp9, leb128, length_prefixed, put_leb128,
};

const MAX: usize = 1172;

const SIZE: PixelSize = PixelSize { width: 16, height: 16 };

/// Payload, marker, later.
fn packets(codec: &Codec, kind: FrameKind, data: &Bytes) -> Vec<(Vec<u8>, bool, u32)> {
    let payloads = cut(codec, kind, data, MAX);
    let written = payloads.iter().map(|payload| {
        let mut bytes = Vec::new();
        payload.write(&mut bytes);
        assert_eq!(bytes.len(), payload.size());
        assert!(bytes.len() <= MAX);
        (bytes, payload.marker, payload.later)
    });
    written.collect()
}

fn sound(codec: &Codec, bytes: usize) -> Vec<(Vec<u8>, bool, u32)> {
    packets(codec, FrameKind::Audio, &Bytes::from(vec![7; bytes]))
}

fn avc() -> Avc {
    Avc {
        sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f, 9]),
        pps: vec![Bytes::from_static(&[0x68, 1, 2])],
        size: SIZE,
        max_num_reorder_frames: Some(0),
    }
}

fn hevc() -> Codec {
    Codec::H265(Hevc {
        vps: Bytes::from_static(&[0x40, 1, 9]),
        sps: Bytes::from_static(&[0x42, 1, 8]),
        pps: vec![Bytes::from_static(&[0x44, 1, 7])],
        size: SIZE,
        profile_tier_level: [0; 12],
        chroma_format: 1,
        bit_depth_luma: 8,
        bit_depth_chroma: 8,
        sub_layers: 1,
        temporal_id_nested: true,
        max_num_reorder_pics: 0,
    })
}

fn unit(header: &[u8], length: usize) -> Vec<u8> {
    header.iter().copied().chain((header.len()..length).map(|i| i as u8)).collect()
}

#[test]
fn an_h264_key_frame_goes_out_behind_its_parameter_sets_and_fragments_rejoin() {
    let (sei, slice) = (unit(&[0x06], 3), unit(&[0x65], 3_500));
    let data = length_prefixed([&sei[..], &slice]);
    let got = packets(&Codec::H264(avc()), FrameKind::Key, &data);

    let stap_a = [0x78, 0, 5, 0x67, 0x42, 0xc0, 0x1f, 9, 0, 3, 0x68, 1, 2];
    assert_eq!(got[0], (stap_a.to_vec(), false, 0));
    assert_eq!(got[1], (sei, false, 0));
    let fragments = &got[2..];
    let flags: Vec<_> = fragments.iter().map(|(p, marker, _)| (p[0], p[1], *marker)).collect();
    assert_eq!(flags, [(0x7c, 0x85, false), (0x7c, 0x05, false), (0x7c, 0x45, true)]);
    let rejoined: Vec<u8> = fragments.iter().flat_map(|(p, ..)| &p[2..]).copied().collect();
    assert_eq!(rejoined, slice[1..]);
}

#[test]
fn a_delta_frame_goes_out_without_parameter_sets() {
    let data = length_prefixed([&[0x41, 7, 7][..]]);
    let got = packets(&Codec::H264(avc()), FrameKind::Delta, &data);
    assert_eq!(got, [(vec![0x41, 7, 7], true, 0)]);
}

#[test]
fn h265_sets_share_a_packet_and_fragments_keep_layer_and_type() {
    let slice = unit(&[19 << 1, 1], 3_000);
    let got = packets(&hevc(), FrameKind::Key, &length_prefixed([&slice[..]]));
    let sets = [96, 1, 0, 3, 0x40, 1, 9, 0, 3, 0x42, 1, 8, 0, 3, 0x44, 1, 7];
    assert_eq!(got[0].0, sets);
    let flags: Vec<_> = got[1..].iter().map(|(p, marker, _)| (p[0], p[1], p[2], *marker)).collect();
    assert_eq!(flags, [(98, 1, 0x80 | 19, false), (98, 1, 19, false), (98, 1, 0x40 | 19, true)]);
    let rejoined: Vec<u8> = got[1..].iter().flat_map(|(p, ..)| &p[3..]).copied().collect();
    assert_eq!(rejoined, slice[2..]);
}

#[test]
fn fragments_are_equal_in_size_and_none_is_a_copy() {
    for length in [MAX + 1, 2 * MAX, 50_001] {
        let data = length_prefixed([&unit(&[0x41], length)[..]]);
        let payloads = cut(&Codec::H264(avc()), FrameKind::Delta, &data, MAX);
        let sizes: Vec<usize> = payloads.iter().map(Payload::size).collect();
        let (last, rest) = sizes.split_last().unwrap();
        assert!(rest.iter().all(|size| *size == sizes[0]) && *last <= sizes[0], "{sizes:?}");
        assert!(sizes[0] <= MAX && sizes[0] - last < sizes.len(), "{sizes:?}");
        let frame = data.as_ptr_range();
        assert!(payloads.iter().all(|payload| frame.contains(&payload.body.as_ptr())));
    }
}

#[test]
fn parameter_sets_too_big_for_a_packet_go_out_singly() {
    let pps = Bytes::from(unit(&[0x68], 900));
    let codec = Codec::H264(Avc { pps: vec![pps.clone(), pps], ..avc() });
    let got = packets(&codec, FrameKind::Key, &length_prefixed([&[0x65, 1][..]]));
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
    assert_eq!(sound(&aac, 5), [(vec![0, 16, 0, 5 << 3, 7, 7, 7, 7, 7], true, 0)]);
    let [high, low] = (2000u16 << 3).to_be_bytes();
    let heads: Vec<_> =
        sound(&aac, 2000).iter().map(|(p, marker, _)| (p[..4].to_vec(), *marker)).collect();
    assert_eq!(heads, [(vec![0, 16, high, low], false), (vec![0, 16, high, low], true)]);
    assert!(sound(&aac, 9000).is_empty());
}

#[test]
fn long_sound_is_cut_between_samples_and_time_runs_on_inside_it() {
    let stereo = Codec::G711 { law: G711Law::A, channels: 2 };
    let cuts: Vec<_> = sound(&stereo, 3000).iter().map(|(p, _, later)| (p.len(), *later)).collect();
    assert_eq!(cuts, [(1172, 0), (1172, 586), (656, 1172)]);
    for (codec, ticks) in [(Codec::G722, [0, 1172]), (Codec::L16 { channels: 2 }, [0, 293])] {
        let later: Vec<_> = sound(&codec, 2000).iter().map(|(_, _, later)| *later).collect();
        assert_eq!(later, ticks);
    }
}

#[test]
fn broken_frames_make_no_packets_and_no_panic() {
    for data in [&[][..], &[0, 0, 0, 0], &[255; 9], &[0, 0, 0, 1, 0x65], &[0, 0]] {
        let data = Bytes::copy_from_slice(data);
        assert!(packets(&Codec::H264(avc()), FrameKind::Delta, &data).is_empty());
        assert!(packets(&hevc(), FrameKind::Delta, &data).is_empty());
    }
    assert!(sound(&Codec::Opus { channels: 2 }, 0).is_empty());
    assert!(sound(&Codec::L16 { channels: 0 }, 100).len() < 101);
}

#[test]
fn a_vp8_frame_says_where_it_starts_and_a_vp9_frame_also_where_it_ends() {
    let data = Bytes::from(vec![7; 3_000]);
    let heads = |codec: &Codec, kind| -> Vec<(u8, bool)> {
        packets(codec, kind, &data).iter().map(|(p, marker, _)| (p[0], *marker)).collect()
    };
    let vp8 = Codec::Vp8(Vp8 { size: SIZE });
    let vp9 = Codec::Vp9(Vp9 { profile: 0, size: SIZE });
    assert_eq!(heads(&vp8, FrameKind::Key), [(0x10, false), (0, false), (0, true)]);
    assert_eq!(heads(&vp9, FrameKind::Key), [(0x08, false), (0, false), (0x04, true)]);
    assert_eq!(heads(&vp9, FrameKind::Delta), [(0x48, false), (0x40, false), (0x44, true)]);
    assert!(packets(&vp8, FrameKind::Key, &Bytes::new()).is_empty());
}

#[test]
fn av1_units_come_back_whatever_their_sizes_and_every_boundary_is_inside_one() {
    let codec = Codec::Av1(Av1 { profile: 0, size: SIZE, sequence_header: Bytes::new() });
    // Around the size of a packet, where boundaries would meet.
    for length in (1_150..1_185).chain([1, 40, 5_000]) {
        // Sequence header, frame, tiles, each with its size.
        let mut data = vec![0x12, 0];
        let mut wanted = Vec::new();
        for (header, length) in [(0x0a, 11), (0x1a, length), (0x22, 30), (0x22, length)] {
            let unit: Vec<u8> = (0..length).map(|i| i as u8).collect();
            data.push(header);
            put_leb128(&mut data, length);
            data.extend(&unit);
            wanted.push([&[header & !2][..], &unit].concat());
        }
        let got = packets(&codec, FrameKind::Key, &data.into());
        let mut units: Vec<Vec<u8>> = Vec::new();
        for (at, (payload, marker, _)) in got.iter().enumerate() {
            let (first, last) = (at == 0, at == got.len() - 1);
            let flags = u8::from(!first) << 7 | u8::from(!last) << 6 | u8::from(first) << 3;
            assert_eq!((payload[0], *marker), (flags, last), "{length}: packet {at}");
            let mut rest = &payload[1..];
            let mut goes_on = !first;
            while let Some((size, behind)) = leb128(rest) {
                let (element, behind) = behind.split_at(size);
                match units.last_mut().filter(|_| std::mem::take(&mut goes_on)) {
                    Some(unit) => unit.extend(element),
                    None => units.push(element.to_vec()),
                }
                rest = behind;
            }
        }
        assert_eq!(units, wanted, "{length}");
    }
}
