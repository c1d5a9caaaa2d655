use proptest::prelude::*;

use super::*;

/// Bytes from their hexadecimal form.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// One encoder setting, and what ffprobe 5.1 says of its output.
struct Encoded {
    sps: &'static str,
    pps: &'static str,
    codec_string: &'static str,
    size: (u32, u32),
    reorder: Option<u32>,
    rate: f64,
}

/// Made by libx264 (core 164) through ffmpeg from `testsrc2`.
const X264: [Encoded; 7] = [
    // -profile:v baseline, 640x360, 25/s.
    Encoded {
        sps: "6742c01ed900a02ff97011000003000100000300320f162e48",
        pps: "68cb83cb20",
        codec_string: "avc1.42C01E",
        size: (640, 360),
        reorder: Some(0),
        rate: 25.0,
    },
    // -profile:v main, 1280x720, 30/s.
    Encoded {
        sps: "674d401feca02802dd8088000003000800000301e078c18cb0",
        pps: "68ebe3cb20",
        codec_string: "avc1.4D401F",
        size: (1280, 720),
        reorder: Some(2),
        rate: 30.0,
    },
    // -profile:v high, 1920x1080 (1088 coded), 30000/1001 a second.
    Encoded {
        sps: "67640028acd940780227e5c04400000fa40003a9803c60c658",
        pps: "68ebe3cb22c0",
        codec_string: "avc1.640028",
        size: (1920, 1080),
        reorder: Some(2),
        rate: 29.970,
    },
    // -profile:v high -x264-params cqm=jvt:bframes=0, 854x480, 15/s.
    Encoded {
        sps: "6764001eacb201b07bcde0220000030002000003003c1e2c5c90",
        pps: "68ebc3cb3002c0",
        codec_string: "avc1.64001E",
        size: (854, 480),
        reorder: Some(0),
        rate: 15.0,
    },
    // -flags +ildct+ilme -x264-params tff=1, 720x576 interlaced, 25/s.
    Encoded {
        sps: "6764001eacd940b424d8088000000300800000190f8a14cb",
        pps: "68fba3cb22c0",
        codec_string: "avc1.64001E",
        size: (720, 576),
        reorder: Some(2),
        rate: 25.0,
    },
    // -profile:v high422 -pix_fmt yuv422p10le, 642x362, 50/s.
    Encoded {
        sps: "677a001fb6cd940a42fe227c0440000003004000001903c60c6580",
        pps: "68ebe3cb22c0",
        codec_string: "avc1.7A001F",
        size: (642, 362),
        reorder: Some(2),
        rate: 50.0,
    },
    // -profile:v high444 -pix_fmt yuv444p, 640x360, 50/s.
    Encoded {
        sps: "67f4001f919b281405ff1380880000030008000003032078c18cb0",
        pps: "68ebe3c44844",
        codec_string: "avc1.F4001F",
        size: (640, 360),
        reorder: Some(2),
        rate: 50.0,
    },
];

#[test]
fn what_x264_wrote_is_read_as_ffprobe_reads_it() {
    for e in &X264 {
        let avc = Avc::new(hex(e.sps), vec![hex(e.pps)]).unwrap();
        assert_eq!(avc.codec_string(), e.codec_string);
        assert_eq!((avc.size.width, avc.size.height), e.size, "{}", e.codec_string);
        assert_eq!(avc.max_num_reorder_frames, e.reorder, "{}", e.codec_string);
        let rate = AvcSps::read(&avc.sps).unwrap().frame_rate.unwrap().hz();
        assert!((rate - e.rate).abs() < 0.001, "{rate} is not {}", e.rate);
    }
}

#[test]
fn sample_formats_and_field_coding_are_read() {
    let read = |i: usize| AvcSps::read(&hex(X264[i].sps)).unwrap();
    assert_eq!((read(2).chroma_format, read(2).bit_depth_luma), (1, 8));
    assert_eq!((read(5).chroma_format, read(5).bit_depth_luma), (2, 10));
    assert_eq!((read(6).chroma_format, read(6).bit_depth_chroma), (3, 8));
    assert!(read(2).frame_mbs_only);
    assert!(!read(4).frame_mbs_only);
    assert_eq!(read(0).pic_order, PicOrder::Decoding);
    assert!(matches!(read(1).pic_order, PicOrder::Lsb { .. }));
}

#[test]
fn an_sps_without_bitstream_restrictions_does_not_say_whether_it_reorders() {
    let silent = |profile| AvcSps::read(&sps_of_macroblocks(40, 30, profile)).unwrap();
    assert_eq!(silent(77).max_num_reorder_frames, None);
    assert_eq!(silent(66).max_num_reorder_frames, Some(0));
    // The High-profile SPS above, cut within its VUI, still gives a picture.
    let cut = AvcSps::read(&hex("67640028acd940780227e5c04400")).unwrap();
    assert_eq!(cut.size, PixelSize { width: 1920, height: 1080 });
    assert_eq!((cut.max_num_reorder_frames, cut.frame_rate), (None, None));
}

#[test]
fn every_cut_that_loses_a_needed_field_is_an_error() {
    let sps = hex(X264[2].sps);
    for cut in 0..10 {
        assert!(AvcSps::read(&sps[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn sets_of_another_kind_are_refused() {
    let (sps, pps) = (hex(X264[0].sps), hex(X264[0].pps));
    assert!(Avc::new(sps.clone(), vec![]).is_err());
    assert!(Avc::new(pps.clone(), vec![pps.clone()]).is_err());
    assert!(Avc::new(sps.clone(), vec![sps.clone()]).is_err());
    assert!(Avc::new(sps.clone(), vec![pps; 256]).is_err());
    let mut long = sps.to_vec();
    long.resize(MAX_PARAMETER_SET_BYTES + 1, 1);
    assert!(AvcSps::read(&long).is_err());
}

#[test]
fn pps_ids_are_read() {
    assert_eq!(AvcPps::read(&hex("68ebe3cb20")).unwrap(), AvcPps { id: 0, sps_id: 0 });
    // ue(1) = 010, ue(2) = 011.
    assert_eq!(AvcPps::read(&[0x68, 0b0100_1100]).unwrap(), AvcPps { id: 1, sps_id: 2 });
}

/// `value` as an Exp-Golomb code (table 9-1), in binary digits.
fn ue(value: u32) -> String {
    let code = format!("{:b}", u64::from(value) + 1);
    "0".repeat(code.len() - 1) + &code
}

/// An SPS of Baseline with the given size, and neither cropping nor VUI.
fn sps_of_macroblocks(width: u32, height: u32, profile: u8) -> Vec<u8> {
    // id, log2_max_frame_num - 4, order type, log2_max_lsb - 4, references;
    // no gaps; the size; frames only, direct 8x8, no crop, no VUI, stop bit.
    let head: String = [0, 0, 0, 0, 1].map(ue).concat();
    let bits = head + "0" + &ue(width - 1) + &ue(height - 1) + "11001";
    let digits = |byte: &[u8]| (0..8).fold(0, |n, i| n << 1 | byte.get(i).map_or(0, |b| b - b'0'));
    [0x67, profile, 0, 30].into_iter().chain(bits.as_bytes().chunks(8).map(digits)).collect()
}

#[test]
fn pictures_above_16384_samples_are_refused() {
    let width = |mbs| AvcSps::read(&sps_of_macroblocks(mbs, 1, 66)).map(|s| s.size.width);
    assert_eq!(width(1024), Ok(16_384));
    assert!(width(1025).is_err());
    assert!(width(1 << 30).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        mut sps in proptest::collection::vec(any::<u8>(), 0..200),
        pps in proptest::collection::vec(any::<u8>(), 0..20),
        typed: bool,
    ) {
        if let (true, Some(first)) = (typed, sps.first_mut()) {
            *first = 0x67;
        }
        let _ = AvcPps::read(&pps);
        if let Ok(avc) = Avc::new(sps.into(), vec![Bytes::from_static(&[0x68, 0xce])]) {
            prop_assert!(avc.size.width <= MAX_PICTURE_SIDE && avc.size.height <= MAX_PICTURE_SIDE);
            prop_assert!(avc.size.width > 0 && avc.size.height > 0);
            avc.codec_string();
        }
    }

    #[test]
    fn no_flipped_bit_makes_it_panic(which in 0..X264.len(), at in 8usize..200, also in 8usize..200) {
        let mut sps = hex(X264[which].sps).to_vec();
        for bit in [at, also] {
            let bit = bit % (sps.len() * 8);
            sps[bit / 8] ^= 0x80 >> (bit % 8);
        }
        let _ = AvcSps::read(&sps);
    }
}
