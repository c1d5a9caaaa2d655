use super::Standard::H264;
use super::*;

/// Slices 4, AUD, Baseline, an IDR every 6 pictures, 12 pictures.
const SLICES: &[u8] = include_bytes!("../testdata/x264_slices.h264");
/// Three B-frames in a pyramid, an IDR every 12 pictures, 24 pictures.
const BFRAMES: &[u8] = include_bytes!("../testdata/x264_bframes.h264");
/// Intra refresh every 25 pictures, one IDR at the start, 130 pictures.
const INTRA_REFRESH: &[u8] = include_bytes!("../testdata/x264_intra_refresh.h264");

/// When picture n of `BFRAMES` is shown, as ffprobe tells.
fn bframes_shown(n: usize) -> i64 {
    const GROUP: [i64; 12] = [0, 4, 2, 1, 3, 8, 6, 5, 7, 11, 9, 10];
    (n / 12 * 12) as i64 + GROUP[n % 12]
}

fn in_order(n: usize) -> i64 {
    n as i64
}

fn sets_of<'a>(pictures: &[Vec<&'a [u8]>]) -> (&'a [u8], &'a [u8]) {
    let find = |kind| *pictures[0].iter().find(|unit| H264.kind(unit) == kind).unwrap();
    (find(7), find(8))
}

/// `sprop-parameter-sets` of these sets.
fn sprop(sets: &[&[u8]]) -> String {
    use base64::Engine;
    let encode = |set: &&[u8]| base64::engine::general_purpose::STANDARD.encode(set);
    let list: Vec<String> = sets.iter().map(encode).collect();
    format!("packetization-mode=1;sprop-parameter-sets={}", list.join(","))
}

fn avc(codec: Option<&Codec>) -> &crate::media::Avc {
    match codec {
        Some(Codec::H264(avc)) => avc,
        other => panic!("{other:?} is not H.264"),
    }
}

/// `picture` without its parameter sets.
fn without_sets<'a>(picture: &[&'a [u8]]) -> Vec<&'a [u8]> {
    picture.iter().copied().filter(|unit| !matches!(H264.kind(unit), 7 | 8)).collect()
}

#[test]
fn what_x264_wrote_comes_back_slice_by_slice_at_any_packet_size() {
    for clip in [SLICES, BFRAMES] {
        let pictures = pictures(H264, clip);
        for mtu in [20, 100, 1400] {
            let sent = packetized(H264, &pictures, mtu, in_order);
            let units = received(&mut video("H264", ""), &sent, &[]);
            assert_eq!(nals(&units), slices(H264, &pictures), "{mtu}");
            let keys = units.iter().filter(|u| u.kind == FrameKind::Key).count();
            assert_eq!(keys, 2);
        }
    }
}

#[test]
fn in_band_sets_make_the_codec_and_come_with_the_first_unit_only() {
    let pictures = pictures(H264, SLICES);
    let sent = packetized(H264, &pictures, 1400, in_order);
    let mut depacketizer = video("H264", "");
    assert_eq!(depacketizer.codec(), None);
    let units = received(&mut depacketizer, &sent, &[]);
    let (sps, pps) = sets_of(&pictures);
    let avc = avc(units[0].codec.as_ref());
    assert_eq!((&avc.sps[..], &avc.pps[0][..]), (sps, pps));
    assert_eq!((avc.size.width, avc.size.height), (128, 96));
    assert!(units[1..].iter().all(|unit| unit.codec.is_none()));
    assert_eq!(depacketizer.codec(), units[0].codec.as_ref());
}

#[test]
fn sets_only_in_sdp_are_enough() {
    let all = pictures(H264, SLICES);
    let (sps, pps) = sets_of(&all);
    let bare: Vec<_> = all.iter().map(|p| without_sets(p)).collect();
    let mut depacketizer = video("h264", &sprop(&[sps, pps]));
    assert_eq!(avc(depacketizer.codec()).size.width, 128);
    let units = received(&mut depacketizer, &packetized(H264, &bare, 1400, in_order), &[]);
    assert_eq!(units.len(), 12);
    assert_eq!(units[0].codec, None, "as SDP said");
}

#[test]
fn wrong_sets_in_sdp_give_way_to_those_in_band() {
    let (slices_, others) = (pictures(H264, SLICES), pictures(H264, BFRAMES));
    let (sps, pps) = sets_of(&others);
    // With the same ids as the right ones, and one more that names the SPS.
    let stale = [0x68, 0b0101_1000];
    for fmtp in [sprop(&[sps, pps, &stale]), "sprop-parameter-sets=AAAA,!!".into()] {
        let mut depacketizer = video("h264", &fmtp);
        let sent = packetized(H264, &slices_, 1400, in_order);
        let units = received(&mut depacketizer, &sent, &[]);
        assert_eq!(units.len(), 12);
        let (sps, pps) = sets_of(&slices_);
        let avc = avc(units[0].codec.as_ref());
        assert_eq!((&avc.sps[..], avc.pps.len(), &avc.pps[0][..]), (sps, 1, pps));
    }
}

#[test]
fn several_pps_ids_are_all_kept() {
    let pictures = pictures(H264, SLICES);
    let (sps, pps) = sets_of(&pictures);
    // pic_parameter_set_id 1 (010) where x264 wrote 0 (1); the tail is as good.
    let second = [0x68, 0b0101_0000 | pps[1] >> 3 & 0x0f, pps[2]];
    let mut depacketizer = video("h264", &sprop(&[sps, pps, &second]));
    assert_eq!(avc(depacketizer.codec()).pps.len(), 2);
    let sent = packetized(H264, &pictures, 1400, in_order);
    received(&mut depacketizer, &sent, &[]);
    assert_eq!(avc(depacketizer.codec()).pps.len(), 2);
}

#[test]
fn sets_that_change_come_with_the_key_frame_they_start() {
    let (first, second) = (pictures(H264, SLICES), pictures(H264, BFRAMES));
    let both: Vec<_> = first.into_iter().chain(second).collect();
    let sent = packetized(H264, &both, 1400, in_order);
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(units.len(), 36);
    let with_codec: Vec<usize> =
        units.iter().enumerate().filter(|(_, u)| u.codec.is_some()).map(|(i, _)| i).collect();
    assert_eq!(with_codec, [0, 12]);
    assert_eq!(avc(units[12].codec.as_ref()).codec_string(), "avc1.4D400A");
}

#[test]
fn b_frames_get_decoding_times_in_order_and_keep_their_show_times() {
    let pictures = pictures(H264, BFRAMES);
    let sent = packetized(H264, &pictures, 1400, bframes_shown);
    let units = received(&mut video("h264", ""), &sent, &[]);
    let shown: Vec<i64> = units.iter().map(|u| u.pts / FRAME).collect();
    assert_eq!(shown, (0..24).map(bframes_shown).collect::<Vec<_>>());
    let decoded: Vec<i64> = units.iter().map(|u| u.dts).collect();
    assert_eq!(decoded, (0..24).map(|n| (n - 2) * FRAME).collect::<Vec<_>>());
}

#[test]
fn aggregates_with_sets_and_all_slices_of_a_picture_are_taken_apart() {
    let pictures = pictures(H264, SLICES);
    let aggregate = |(n, picture): (usize, &Vec<&[u8]>)| Sent {
        timestamp: n as i64 * FRAME,
        marker: true,
        payload: H264.aggregate(picture),
    };
    let sent: Vec<Sent> = pictures.iter().enumerate().map(aggregate).collect();
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H264, &pictures));
}

#[test]
fn a_new_timestamp_ends_a_picture_when_no_marker_ever_does() {
    let pictures = pictures(H264, SLICES);
    let mut sent = packetized(H264, &pictures, 100, in_order);
    sent.iter_mut().for_each(|packet| packet.marker = false);
    let units = received(&mut video("h264", ""), &sent, &[]);
    // The last one waits for a successor.
    assert_eq!(nals(&units), slices(H264, &pictures)[..11]);
}

#[test]
fn markers_on_sets_and_sei_end_nothing() {
    let pictures = pictures(H264, SLICES);
    let mut sent = packetized(H264, &pictures, 1400, in_order);
    for packet in &mut sent {
        packet.marker |= matches!(H264.kind(&packet.payload), 6..=9);
    }
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H264, &pictures));
}

#[test]
fn markers_on_every_slice_are_seen_through_after_one_picture() {
    let pictures = pictures(H264, SLICES);
    let mut sent = packetized(H264, &pictures, 1400, in_order);
    sent.iter_mut().for_each(|packet| packet.marker = true);
    let mut depacketizer = video("h264", "");
    let units = received(&mut depacketizer, &sent, &[]);
    // The first slice of the first picture is out before the second one gives
    // it away; then nothing until the next key frame.
    assert_eq!(nals(&units)[1..], slices(H264, &pictures)[6..11]);
    assert_eq!(units[1].kind, FrameKind::Key);
}

#[test]
fn delimiters_filler_and_sei_anywhere_are_stripped() {
    let noise: [&[u8]; 4] = [&[9, 0xf0], &[12, 255, 0x80], &[6, 5, 1, 0, 0x80], &[11]];
    let pictures = pictures(H264, SLICES);
    let noisy: Vec<Vec<&[u8]>> = pictures
        .iter()
        .map(|p| p.iter().flat_map(|unit| noise.into_iter().chain([*unit])).collect())
        .collect();
    let sent = packetized(H264, &noisy, 1400, in_order);
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H264, &pictures));
}

#[test]
fn sets_under_the_previous_picture_s_timestamp_are_used() {
    let pictures = pictures(H264, BFRAMES);
    let mut sent = packetized(H264, &pictures, 1400, in_order);
    for packet in &mut sent {
        if matches!(H264.kind(&packet.payload), 6..=8) {
            packet.timestamp -= FRAME;
        }
    }
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H264, &pictures));
}

#[test]
fn byte_streams_in_place_of_units_are_split() {
    // As VStarcam cameras do, alone and in fragments.
    let pictures = pictures(H264, SLICES);
    let stream = |picture: &Vec<&[u8]>| -> Vec<u8> {
        picture.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
    };
    for (mtu, skipped) in [(10_000, 0), (60, 4)] {
        let streams: Vec<Vec<u8>> = pictures.iter().map(stream).collect();
        // A fragment needs a header, so the stream starts with a unit.
        let units: Vec<Vec<&[u8]>> = streams.iter().map(|s| vec![&s[skipped..]]).collect();
        let sent = packetized(H264, &units, mtu, in_order);
        let units = received(&mut video("h264", ""), &sent, &[]);
        assert_eq!(nals(&units), slices(H264, &pictures), "{mtu}");
    }
}

#[test]
fn a_fragment_that_starts_and_ends_at_once_is_a_unit() {
    let pictures = pictures(H264, SLICES);
    let mut sent = packetized(H264, &pictures, 10_000, in_order);
    for packet in &mut sent {
        let unit = &packet.payload;
        packet.payload = [&[unit[0] & 0xe0 | 28, 0xc0 | unit[0] & 0x1f], &unit[1..]].concat();
    }
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H264, &pictures));
}

#[test]
fn any_single_lost_packet_costs_damaged_pictures_and_shows_none() {
    let pictures = pictures(H264, SLICES);
    let whole = slices(H264, &pictures);
    let sent = packetized(H264, &pictures, 60, in_order);
    for lost in 0..sent.len() {
        let units = received(&mut video("h264", ""), &sent, &[lost]);
        for (unit, nals) in units.iter().zip(nals(&units)) {
            assert_eq!(nals, whole[(unit.pts / FRAME) as usize], "{lost}");
        }
        // From the key frame after the loss on, all is there.
        if sent[lost].timestamp < 6 * FRAME {
            let late = units.iter().filter(|u| u.pts >= 6 * FRAME).count();
            assert_eq!(late, 6, "{lost}");
            assert_eq!(units.iter().map(|u| u.lost_before).sum::<u32>(), 1, "{lost}");
        }
    }
}

#[test]
fn a_fragment_without_its_start_or_its_end_is_damage_even_if_no_loss_is_reported() {
    let pictures = pictures(H264, SLICES);
    let sent = packetized(H264, &pictures, 60, in_order);
    let whole = slices(H264, &pictures);
    let ends = |p: &Sent| p.payload[0] & 31 == 28 && p.payload[1] & 0xc0 != 0;
    for hole in (0..sent.len()).filter(|&i| ends(&sent[i])) {
        let mut holed = sent.clone();
        holed.remove(hole);
        for unit in received(&mut video("h264", ""), &holed, &[]) {
            let nals: Vec<&[u8]> = NalUnits::new(&unit.data).collect();
            assert_eq!(nals, whole[(unit.pts / FRAME) as usize], "{hole}");
        }
    }
}

#[test]
fn pictures_under_one_timestamp_are_told_apart_by_markers_also_after_loss() {
    let pictures = pictures(H264, SLICES);
    let sent = packetized(H264, &pictures, 1400, |_| 0);
    let first_slice = |p: &Sent| p.payload[0] & 31 == 1;
    let lost = sent.iter().position(first_slice).unwrap();
    let units = received(&mut video("h264", ""), &sent, &[lost]);
    let whole = slices(H264, &pictures);
    assert_eq!(nals(&units), [&whole[..1], &whole[6..]].concat());
}

#[test]
fn a_new_sequence_without_its_key_frame_is_held_whatever_its_numbers_say() {
    // The lost IDR has `frame_num` 0, as the one before it: the next picture
    // would follow either.
    let (first, second) = (pictures(H264, SLICES), pictures(H264, BFRAMES));
    let both = [&first[..1], &second[..]].concat();
    let shown = |n: usize| if n == 0 { 0 } else { 1 + bframes_shown(n - 1) };
    let sent = packetized(H264, &both, 10_000, shown);
    let lost = sent.iter().position(|p| p.timestamp > 0 && p.payload[0] & 31 == 5).unwrap();
    let units = received(&mut video("h264", ""), &sent, &[lost]);
    let got: Vec<i64> = units.iter().map(|u| u.pts / FRAME).collect();
    assert_eq!(got, std::iter::once(0).chain((13..25).map(shown)).collect::<Vec<_>>());
}

#[test]
fn after_loss_pictures_are_held_to_the_next_key_frame_or_shown_as_asked() {
    let pictures = pictures(H264, SLICES);
    let sent = packetized(H264, &pictures, 1400, in_order);
    let lost = sent.iter().position(|p| p.timestamp == 2 * FRAME && p.payload[0] & 31 == 1);
    let run = |policy| {
        let mut depacketizer = video("h264", "").after_loss(policy);
        let units = received(&mut depacketizer, &sent, &[lost.unwrap()]);
        let shown: Vec<i64> = units.iter().map(|u| u.pts / FRAME).collect();
        (shown, depacketizer.discarded())
    };
    let (shown, discarded) = run(AfterLoss::Hold);
    assert_eq!(shown, [0, 1, 6, 7, 8, 9, 10, 11]);
    assert_eq!(discarded, Discarded { damaged: 1, undecodable: 3, malformed: 0 });
    let (shown, discarded) = run(AfterLoss::Show);
    assert_eq!(shown, [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(discarded, Discarded { damaged: 1, undecodable: 0, malformed: 0 });
}

#[test]
fn a_lost_b_frame_that_nobody_refers_to_costs_itself_only() {
    let pictures = pictures(H264, BFRAMES);
    let sent = packetized(H264, &pictures, 10_000, bframes_shown);
    let unreferenced = |p: &Sent| matches!(p.payload[0], 0x01);
    let lost = sent.iter().position(unreferenced).unwrap();
    let units = received(&mut video("h264", ""), &sent, &[lost]);
    assert_eq!(units.len(), 23);
    let referenced = |p: &Sent| p.payload[0] & 0x7f == 0x41 || p.payload[0] & 0x7f == 0x21;
    let lost = sent.iter().position(referenced).unwrap();
    let units = received(&mut video("h264", ""), &sent, &[lost]);
    assert_eq!(units.len(), 13, "the first key frame, and the second group");
}

#[test]
fn what_was_lost_is_told_with_the_next_unit_that_is_shown() {
    let pictures = pictures(H264, SLICES);
    let sent = packetized(H264, &pictures, 1400, in_order);
    let slice_of = |n: i64| {
        sent.iter().position(|p| p.timestamp == n * FRAME && p.payload[0] & 31 == 1).unwrap()
    };
    let units = received(&mut video("h264", ""), &sent, &[slice_of(2), slice_of(4)]);
    let lost: Vec<u32> = units.iter().map(|u| u.lost_before).collect();
    assert_eq!(lost, [0, 0, 2, 0, 0, 0, 0, 0]);
}

#[test]
fn an_intra_refresh_stream_is_entered_at_a_recovery_point() {
    let all = pictures(H264, INTRA_REFRESH);
    // As if we came after the only IDR: sets are repeated, IDRs are not.
    let sent = packetized(H264, &all[1..], 1400, in_order);
    let units = received(&mut video("h264", ""), &sent, &[]);
    let keys: Vec<i64> =
        units.iter().filter(|u| u.kind == FrameKind::Key).map(|u| u.pts / FRAME).collect();
    // Recovery points are at 24, 49, 74, 99 and 124 of what we see, and the
    // patience with IDRs lasts 4 s, which is 100 pictures.
    assert_eq!(keys, [124]);
    assert_eq!(units[0].kind, FrameKind::Key);
    let units: Vec<_> = nals(&units);
    assert_eq!(H264.kind(units[0][0]), 6, "the recovery point stays: decoders need it");
}

#[test]
fn recovery_points_are_no_key_frames_while_idrs_come() {
    let all = pictures(H264, INTRA_REFRESH);
    let sent = packetized(H264, &all[..100], 1400, in_order);
    let units = received(&mut video("h264", ""), &sent, &[]);
    assert_eq!(units.len(), 100);
    assert!(units[1..].iter().all(|u| u.kind == FrameKind::Delta));
}

#[test]
fn no_picture_is_shown_before_its_sets() {
    let all = pictures(H264, SLICES);
    let bare: Vec<_> = all[..6].iter().map(|p| without_sets(p)).chain(all[6..].to_vec()).collect();
    let mut depacketizer = video("h264", "");
    let units = received(&mut depacketizer, &packetized(H264, &bare, 1400, in_order), &[]);
    assert_eq!(units[0].pts, 6 * FRAME);
    assert_eq!(depacketizer.discarded().undecodable, 6);
}

#[test]
fn the_interleaved_mode_is_refused_by_name() {
    let new = |fmtp| Depacketizer::new(MediaKind::Video, "H264", 90_000, None, Some(fmtp));
    assert!(new("packetization-mode=2").unwrap_err().0.contains("interleaved"));
    let other = Depacketizer::new(MediaKind::Video, "H263", 90_000, None, None);
    let words = r#"video codec "H263" (H.263); set the camera to H.264 or H.265"#;
    assert_eq!(other.unwrap_err().0, words);
}

#[test]
fn b_frames_stamped_in_the_order_of_decoding_are_shown_in_their_own() {
    let pictures = pictures(H264, BFRAMES);
    let again: Vec<_> = pictures.iter().chain(&pictures).cloned().collect();
    let sent = packetized(H264, &again, 1400, in_order);
    let units = received(&mut video("h264", ""), &sent, &[]);
    // From the second group on, when the counts have told.
    let shown: Vec<i64> = units[12..].iter().map(|u| u.pts / FRAME).collect();
    assert_eq!(shown, (12..48).map(bframes_shown).collect::<Vec<_>>());
    let decoded: Vec<i64> = units[12..].iter().map(|u| u.dts).collect();
    assert_eq!(decoded, (12..48).map(|n| (n - 2) * FRAME).collect::<Vec<_>>());
}
