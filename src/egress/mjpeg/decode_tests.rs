use super::*;

/// Level 5.2's most, as x264 writes it: 4,096 x 2,304 in the High profile, and
/// 16 reference frames.
fn sps(width_mbs: u32, height_mbs: u32, refs: u32) -> Vec<u8> {
    let mut out = BitWriter::default();
    out.bits(0x67_64_00_34, 32);
    out.ue(0); // seq_parameter_set_id
    out.ue(1); // chroma_format_idc
    out.ue(0);
    out.ue(0);
    out.bits(0, 2);
    out.ue(0); // log2_max_frame_num_minus4
    out.ue(2); // pic_order_cnt_type
    out.ue(refs);
    out.bits(0, 1);
    out.ue(width_mbs - 1);
    out.ue(height_mbs - 1);
    out.bits(0b110, 3); // frames only, 8x8 inference, no cropping
    // VUI: square samples, full range, nothing else.
    out.bits(1, 1);
    out.bits(1, 1);
    out.bits(1, 8);
    out.bits(0, 1);
    out.bits(0b1101_1000, 8); // signal type: format 5, full range, no matrix; then none
    out.bits(0, 8);
    escape(&out.finish())
}

#[test]
fn the_decoder_s_sps_has_the_picture_and_nothing_else() {
    let unit = sps(256, 144, 16);
    let told = AvcSps::read(&unit).unwrap();
    assert!(told.colour.full_range && told.sample_aspect == Some((1, 1)));
    assert_eq!((told.max_num_ref_frames, told.macroblocks), (16, MAX_MACROBLOCKS));
    let bare = AvcSps::read(&bare_sps(&unit, &told).unwrap()).unwrap();
    assert_eq!((bare.max_num_ref_frames, bare.size), (1, told.size));
    assert_eq!((bare.sample_aspect, bare.colour.full_range), (None, false));
    assert_eq!(bare.vui.restriction, None);
    for end in 0..unit.len() {
        let _must_not_panic = bare_sps(&unit[..end], &told);
    }
}

#[test]
fn what_the_decoder_has_no_picture_for_is_refused_before_it() {
    let read = |width, height| AvcSps::read(&sps(width, height, 1)).unwrap();
    assert_eq!(check(&read(256, 144), 100), Ok(()));
    assert!(check(&read(256, 145), 100).unwrap_err().contains("level 5.2"));
    assert!(check(&read(40, 30), 122).unwrap_err().contains("profile (122)"));
    let fields = AvcSps { frame_mbs_only: false, ..read(40, 30) };
    assert!(check(&fields, 100).unwrap_err().contains("interlaced"));
    let deep = AvcSps { bit_depth_luma: 10, ..read(40, 30) };
    assert!(check(&deep, 100).unwrap_err().contains("8 bits"));
}

#[test]
fn slices_that_refer_to_other_pictures_and_slice_groups_are_kept_out() {
    let slice = |kind: u32| {
        let mut out = BitWriter::default();
        out.bits(0x65, 8);
        out.ue(0);
        out.ue(kind);
        out.finish()
    };
    let intra: Vec<u32> = (0..10).filter(|&kind| is_intra(&slice(kind))).collect();
    assert_eq!(intra, [2, 7]);
    assert!(!is_intra(&[0x65]));
    let pps = |groups: u32| {
        let mut out = BitWriter::default();
        out.bits(0x68, 8);
        out.ue(0);
        out.ue(0);
        out.bits(0, 2);
        out.ue(groups);
        out.finish()
    };
    assert!(has_one_slice_group(&pps(0)) && !has_one_slice_group(&pps(7)));
    assert!(!has_one_slice_group(&[0x68]));
}

#[test]
fn samples_are_made_square_by_leaving_some_out() {
    let of = |aspect| {
        square(&AvcSps { sample_aspect: aspect, ..AvcSps::read(&sps(44, 36, 1)).unwrap() })
    };
    assert_eq!(of(None), None);
    assert_eq!(of(Some((1, 1))), None);
    assert_eq!(of(Some((16, 11))), Some((704, 396)));
    assert_eq!(of(Some((1, 2))), Some((352, 576)));
    assert_eq!(of(Some((u16::MAX, 1))), None);
}
