//! Boxes as a strict reader finds them. That browsers and ffmpeg play them is
//! shown in `tests/hls_routes.rs`.

use super::*;
use crate::media::{Aac, Avc, ClockRate, G711Law, Hevc, PixelSize, TrackId};

/// A box: its type and content.
type Child<'a> = (&'a [u8], &'a [u8]);

/// The boxes that fill `data` to its last byte.
fn boxes(mut data: &[u8]) -> Vec<Child<'_>> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let size = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
        out.push((&data[4..8], &data[8..size]));
        data = &data[size..];
    }
    out
}

/// Types along the way, as `moov/trak`; the n-th of the last kind.
fn find<'a>(data: &'a [u8], path: &str, n: usize) -> &'a [u8] {
    let (first, rest) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
    let mut found = boxes(data).into_iter().filter(|(kind, _)| *kind == first.as_bytes());
    match rest {
        Some(rest) => find(found.next().expect(first).1, rest, n),
        None => found.nth(n).expect(first).1,
    }
}

fn kinds(data: &[u8]) -> Vec<&str> {
    boxes(data).into_iter().map(|(kind, _)| std::str::from_utf8(kind).unwrap()).collect()
}

fn track(rate: u32, codec: Codec) -> Track {
    Track { id: TrackId(0), rate: ClockRate::new(rate).unwrap(), codec }
}

/// High profile, 8 bits, 4:2:0, by hand (H.264 §7.3.2.1.1).
const HIGH_SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
];

fn avc(sps: &'static [u8]) -> Track {
    let codec = Codec::H264(Avc {
        sps: Bytes::from_static(sps),
        pps: vec![Bytes::from_static(&[0x68, 1]), Bytes::from_static(&[0x68, 2, 3])],
        size: PixelSize { width: 320, height: 180 },
        max_num_reorder_frames: None,
    });
    track(90_000, codec)
}

fn alaw() -> Track {
    track(8_000, Codec::G711 { law: G711Law::A, channels: 1 })
}

/// The sample entry of a file of one track, behind `stsd`'s header.
fn entry(track: &Track) -> Vec<u8> {
    let file = init(&[track]);
    find(&file, "moov/trak/mdia/minf/stbl/stsd", 0)[8..].to_vec()
}

#[test]
fn the_init_segment_is_whole_and_mvex_comes_last() {
    let file = init(&[&avc(HIGH_SPS), &alaw()]);
    assert_eq!(kinds(&file), ["ftyp", "moov"]);
    assert_eq!(kinds(find(&file, "moov", 0)), ["mvhd", "trak", "trak", "mvex"]);
    assert_eq!(kinds(find(&file, "moov/mvex", 0)), ["trex", "trex"]);
    assert_eq!(find(&file, "moov/mvex/trex", 1)[4..12], [0, 0, 0, 2, 0, 0, 0, 1]);
    let minf = find(&file, "moov/trak/mdia/minf", 0);
    assert_eq!(kinds(minf), ["vmhd", "dinf", "stbl"]);
    assert_eq!(minf[8..12], [0, 0, 0, 1], "vmhd has flag 1");
    assert_eq!(kinds(find(minf, "stbl", 0)), ["stsd", "stts", "stsc", "stsz", "stco"]);
}

#[test]
fn cmfc_is_claimed_for_one_track_only() {
    let brands = |tracks: &[&Track]| find(&init(tracks), "ftyp", 0)[8..].to_vec();
    assert_eq!(brands(&[&alaw()]), b"iso6cmfc");
    assert_eq!(brands(&[&avc(HIGH_SPS), &alaw()]), b"iso6");
}

#[test]
fn avcc_of_a_high_profile_ends_with_its_chroma_and_depths() {
    let entry = entry(&avc(HIGH_SPS));
    assert_eq!(kinds(&entry), ["avc1"]);
    let config = find(&find(&entry, "avc1", 0)[78..], "avcC", 0).to_vec();
    let sets = [&[0, 25], HIGH_SPS, &[2, 0, 2, 0x68, 1, 0, 3, 0x68, 2, 3]].concat();
    let high = [0xfd, 0xf8, 0xf8, 0];
    assert_eq!(config, [&[1, 0x64, 0, 0x0c, 0xff, 0xe1][..], &sets, &high].concat());
}

#[test]
fn avcc_of_a_baseline_profile_has_no_such_end() {
    let entry = entry(&avc(&[0x67, 0x42, 0xc0, 0x0c, 0x8c]));
    let config = find(&find(&entry, "avc1", 0)[78..], "avcC", 0).to_vec();
    assert!(config.ends_with(&[0, 3, 0x68, 2, 3]), "{config:x?}");
}

#[test]
fn hvcc_holds_the_three_kinds_of_sets_complete() {
    let set = |byte| Bytes::from(vec![byte; 3]);
    let hevc = Hevc {
        vps: set(1),
        sps: set(2),
        pps: vec![set(3), set(4)],
        size: PixelSize { width: 640, height: 360 },
        profile_tier_level: [9; 12],
        chroma_format: 1,
        bit_depth_luma: 10,
        bit_depth_chroma: 8,
        sub_layers: 1,
        temporal_id_nested: true,
        max_num_reorder_pics: 0,
    };
    let entry = entry(&track(90_000, Codec::H265(hevc)));
    let config = find(&find(&entry, "hvc1", 0)[78..], "hvcC", 0).to_vec();
    let fixed = [&[1][..], &[9; 12], &[0xf0, 0, 0xfc, 0xfd, 0xfa, 0xf8, 0, 0, 0x0f, 3]].concat();
    let arrays = [
        &[0xa0, 0, 1, 0, 3, 1, 1, 1][..],
        &[0xa1, 0, 1, 0, 3, 2, 2, 2],
        &[0xa2, 0, 2, 0, 3, 3, 3, 3, 0, 3, 4, 4, 4],
    ];
    assert_eq!(config, [fixed, arrays.concat()].concat());
}

#[test]
fn esds_lengths_add_up() {
    let config = Bytes::from_static(&[0x11, 0x90]);
    let aac = Aac { config, object_type: 2, sample_rate: 48_000, channels: 2 };
    let entry = entry(&track(48_000, Codec::Aac(aac)));
    let esds = find(&find(&entry, "mp4a", 0)[28..], "esds", 0).to_vec();
    assert_eq!(esds[4..6], [3, esds.len() as u8 - 6]);
    assert_eq!(esds[9..13], [4, 17, 0x40, 0x15]);
    assert_eq!(esds[24..], [5, 2, 0x11, 0x90, 6, 1, 2]);
}

#[test]
fn opus_and_flac_entries_carry_their_configs() {
    let opus = entry(&track(48_000, Codec::Opus { channels: 2 }));
    let config = find(&find(&opus, "Opus", 0)[28..], "dOps", 0).to_vec();
    assert_eq!(config, [0, 2, 0, 0, 0, 0, 0xbb, 0x80, 0, 0, 0]);
    let flac = entry(&alaw());
    let config = find(&find(&flac, "fLaC", 0)[28..], "dfLa", 0).to_vec();
    assert_eq!((config.len(), &config[4..8]), (4 + 4 + 34, &[0x80, 0, 0, 34][..]));
    // 8,000 Hz in 20 bits, mono, 16 bits.
    assert_eq!(config[18..22], [0x01, 0xf4, 0x00, 0xf0]);
}

/// Frames of a track whose parameter sets are in the sample entry alone.
fn run(track: u32, base: u64, samples: &[Sample]) -> Run<'_> {
    Run { track, base, samples, sets: &[] }
}

fn sample(duration: u32, composition: i32, sync: bool, data: &'static [u8]) -> Sample {
    Sample { duration, composition, sync, data: Bytes::from_static(data) }
}

#[test]
fn data_offsets_point_at_each_tracks_first_byte() {
    let video = [sample(3_600, 7_200, true, b"vv0"), sample(3_601, -1, false, b"v1")];
    let audio = [sample(160, 0, true, b"a0"), sample(160, 0, true, b"a1")];
    let runs = [run(1, 1 << 40, &video), run(2, 7, &audio)];
    let file = fragment(9, &runs);
    assert_eq!(kinds(&file), ["moof", "mdat"]);
    assert_eq!(find(&file, "moof/mfhd", 0), [0, 0, 0, 0, 0, 0, 0, 9]);

    let traf = |n| find(find(&file, "moof", 0), "traf", n).to_vec();
    for (n, first) in [(0, &b"vv0v1a0a1"[..]), (1, b"a0a1")] {
        let traf = traf(n);
        assert_eq!(kinds(&traf), ["tfhd", "tfdt", "trun"]);
        let offset = u32::from_be_bytes(find(&traf, "trun", 0)[8..12].try_into().unwrap());
        assert_eq!(&file[offset as usize..], first);
    }
    assert_eq!(find(&traf(0), "tfdt", 0), [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    // Different durations, flags and a negative offset: all in the table.
    let table = find(&traf(0), "trun", 0)[12..].to_vec();
    let row = |fields: [u32; 4]| fields.iter().flat_map(|f| f.to_be_bytes()).collect::<Vec<_>>();
    let rows =
        [row([3_600, 3, 0x0200_0000, 7_200]), row([3_601, 2, 0x0101_0000, u32::MAX])].concat();
    assert_eq!(table, rows);
    // What samples share is said once, so that only sizes remain.
    assert_eq!(find(&traf(1), "trun", 0)[12..], [0, 0, 0, 2, 0, 0, 0, 2]);
    let tfhd = find(&traf(1), "tfhd", 0).to_vec();
    assert_eq!(tfhd, [0, 2, 0, 0x28, 0, 0, 0, 2, 0, 0, 0, 160, 2, 0, 0, 0]);
}

#[test]
fn parameter_sets_stand_in_front_of_what_a_decoder_can_start_at() {
    let video = [sample(1, 0, true, b"k0"), sample(1, 0, false, b"d1"), sample(1, 0, true, b"k2")];
    let audio = [sample(160, 0, true, b"a0")];
    let runs = [Run { sets: b"SETS", ..run(1, 0, &video) }, run(2, 7, &audio)];
    let file = fragment(1, &runs);
    assert_eq!(pieces(1, &runs).concat(), file);
    assert_eq!(find(&file, "mdat", 0), b"SETSk0d1SETSk2a0");
    let traf = |n| find(find(&file, "moof", 0), "traf", n).to_vec();
    let table = find(&traf(0), "trun", 0)[12..].to_vec();
    let sizes: Vec<u8> = table.chunks(8).map(|row| row[3]).collect();
    assert_eq!(sizes, [6, 2, 6]);
    let offset = u32::from_be_bytes(find(&traf(1), "trun", 0)[8..12].try_into().unwrap());
    assert_eq!(&file[offset as usize..], b"a0");

    let sets = parameter_sets(&avc(HIGH_SPS));
    assert_eq!(
        sets,
        [&[0, 0, 0, 25][..], HIGH_SPS, &[0, 0, 0, 2, 0x68, 1, 0, 0, 0, 3, 0x68, 2, 3]].concat()
    );
    assert_eq!(parameter_sets(&alaw()), Bytes::new());
}

#[test]
fn a_run_without_samples_leaves_no_trace() {
    let audio = [sample(160, 0, true, b"a0")];
    let empty = run(1, 0, &[]);
    let file = fragment(1, &[empty, run(2, 0, &audio)]);
    assert_eq!(kinds(find(&file, "moof", 0)), ["mfhd", "traf"]);
}

#[test]
fn a_frame_is_written_into_one_allocation_of_its_size() {
    let video = [sample(3_600, 0, true, &[7; 50_000])];
    let file = fragment(1, &[run(1, 0, &video)]);
    assert!(file.len() < 50_000 + 150, "{}", file.len());
}

#[test]
fn pieces_are_the_fragment_and_large_frames_are_the_given_ones() {
    let large: &'static [u8] = &[7; 5_000];
    let video = [sample(1, 0, true, large), sample(1, 0, false, b"v1"), sample(1, 0, false, large)];
    let audio = [sample(160, 0, true, b"a0"), sample(160, 0, true, b"a1")];
    let runs = [run(1, 0, &video), run(2, 7, &audio)];
    let pieces = pieces(9, &runs);
    assert_eq!(pieces.concat(), fragment(9, &runs));
    let lengths: Vec<usize> = pieces[1..].iter().map(Bytes::len).collect();
    assert_eq!(lengths, [5_000, 2, 5_000, 4]);
    assert_eq!((pieces[1].as_ptr(), pieces[3].as_ptr()), (large.as_ptr(), large.as_ptr()));
}
