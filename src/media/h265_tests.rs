use proptest::prelude::*;

use super::*;

/// Bytes from their hexadecimal form.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// One encoder setting, and what ffprobe 5.1 says of its output.
struct Encoded {
    vps: &'static str,
    sps: &'static str,
    codec_string: &'static str,
    size: (u32, u32),
    reorder: u32,
    chroma_and_depth: (u8, u8),
}

const PPS: &str = "4401c172b46240";

/// Made by libx265 3.5 through ffmpeg from `testsrc2`, 25/s.
const X265: [Encoded; 3] = [
    // 1920x1080, Main.
    Encoded {
        vps: "40010c01ffff016000000300900000030000030078959809",
        sps: "420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c84",
        codec_string: "hvc1.1.6.L120.90",
        size: (1920, 1080),
        reorder: 2,
        chroma_and_depth: (1, 8),
    },
    // 642x362, -pix_fmt yuv420p10le, bframes=0.
    Encoded {
        vps: "40010c01ffff02200000030090000003000003003f928090",
        sps: "42010102200000030090000003000003003fa005120171c9236592a4932bc05a020000030002000003003210",
        codec_string: "hvc1.2.4.L63.90",
        size: (642, 362),
        reorder: 0,
        chroma_and_depth: (1, 10),
    },
    // 640x360, -pix_fmt yuv422p10le (range extensions).
    Encoded {
        vps: "40010c01ffff0408000003009d0800000300003f959809",
        sps: "4201010408000003009d0800000300003fb005020169365959a4932bc05a020000030002000003003210",
        codec_string: "hvc1.4.10.L63.9D.8",
        size: (640, 360),
        reorder: 2,
        chroma_and_depth: (2, 10),
    },
];

#[test]
fn what_x265_wrote_is_read_as_ffprobe_reads_it() {
    for e in &X265 {
        let hevc = Hevc::new(hex(e.vps), hex(e.sps), vec![hex(PPS)]).unwrap();
        assert_eq!(hevc.codec_string(), e.codec_string);
        assert_eq!((hevc.size.width, hevc.size.height), e.size, "{}", e.codec_string);
        assert_eq!(hevc.max_num_reorder_pics, e.reorder, "{}", e.codec_string);
        assert_eq!((hevc.chroma_format, hevc.bit_depth_luma), e.chroma_and_depth);
        assert_eq!((hevc.sub_layers, hevc.temporal_id_nested), (1, true));
    }
}

#[test]
fn codec_strings_follow_annex_e_3_of_14496_15() {
    let hevc = Hevc::new(hex(X265[0].vps), hex(X265[0].sps), vec![hex(PPS)]).unwrap();
    // The standard's own example, and a stream in profile space A, high tier.
    let spell = |ptl| Hevc { profile_tier_level: ptl, ..hevc.clone() }.codec_string();
    assert_eq!(spell([1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93]), "hvc1.1.6.L93.B0");
    assert_eq!(spell([0x64, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120]), "hvc1.A4.10.H120");
}

#[test]
fn sets_of_another_kind_are_refused() {
    let (vps, sps, pps) = (hex(X265[0].vps), hex(X265[0].sps), hex(PPS));
    assert!(Hevc::new(sps.clone(), sps.clone(), vec![pps.clone()]).is_err());
    assert!(Hevc::new(vps.clone(), vps.clone(), vec![pps.clone()]).is_err());
    assert!(Hevc::new(vps.clone(), sps.clone(), vec![]).is_err());
    assert!(Hevc::new(vps.clone(), sps.clone(), vec![sps.clone()]).is_err());
    assert!(Hevc::new(vps, sps, vec![pps; 65]).is_err());
}

#[test]
fn every_cut_that_loses_a_needed_field_is_an_error() {
    let sps = hex(X265[0].sps);
    for cut in 0..25 {
        assert!(HevcSps::read(&sps[..cut]).is_err(), "{cut}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        mut sps in proptest::collection::vec(any::<u8>(), 0..200),
        pps in proptest::collection::vec(any::<u8>(), 0..20),
        typed: bool,
    ) {
        if let (true, Some(first)) = (typed, sps.first_mut()) {
            *first = 0x42;
        }
        let _ = HevcPps::read(&pps);
        if let Ok(hevc) = Hevc::new(hex(X265[0].vps), sps.into(), vec![hex(PPS)]) {
            prop_assert!(hevc.size.width <= MAX_PICTURE_SIDE && hevc.size.height <= MAX_PICTURE_SIDE);
            prop_assert!(hevc.size.width > 0 && hevc.size.height > 0);
            hevc.codec_string();
        }
    }

    #[test]
    fn no_flipped_bit_makes_it_panic(which in 0..X265.len(), at in 8usize..300, also in 8usize..300) {
        let mut sps = hex(X265[which].sps).to_vec();
        for bit in [at, also] {
            let bit = bit % (sps.len() * 8);
            sps[bit / 8] ^= 0x80 >> (bit % 8);
        }
        let _ = HevcSps::read(&sps);
    }
}
