use super::Standard::H265;
use super::*;

/// Open groups of 12 pictures, three B-frames, two slices, AUD; 24 pictures.
const OPEN_GOP: &[u8] = include_bytes!("../testdata/x265_open_gop.h265");

/// When each picture of `OPEN_GOP` is shown, in the order of decoding.
const SHOWN: [i64; 24] =
    [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11, 16, 14, 13, 15, 20, 18, 17, 19, 23, 22, 21];

fn in_order(n: usize) -> i64 {
    n as i64
}

#[test]
fn what_x265_wrote_comes_back_slice_by_slice_at_any_packet_size() {
    let pictures = pictures(H265, OPEN_GOP);
    for mtu in [20, 100, 1400] {
        let sent = packetized(H265, &pictures, mtu, in_order);
        let units = received(&mut video("H265", ""), &sent, &[]);
        assert_eq!(nals(&units), slices(H265, &pictures), "{mtu}");
        let keys: Vec<usize> = (0..24).filter(|&i| units[i].kind == FrameKind::Key).collect();
        assert_eq!(keys.len(), 2);
        let Some(Codec::H265(hevc)) = &units[0].codec else { panic!("no codec") };
        assert_eq!((hevc.size.width, hevc.size.height), (128, 96));
        assert_eq!(hevc.max_num_reorder_pics, 2);
    }
}

#[test]
fn aggregates_are_taken_apart() {
    let pictures = pictures(H265, OPEN_GOP);
    let aggregate = |(n, picture): (usize, &Vec<&[u8]>)| Sent {
        timestamp: n as i64 * FRAME,
        marker: true,
        payload: H265.aggregate(picture),
    };
    let sent: Vec<Sent> = pictures.iter().enumerate().map(aggregate).collect();
    let units = received(&mut video("H265", ""), &sent, &[]);
    assert_eq!(nals(&units), slices(H265, &pictures));
}

#[test]
fn sets_only_in_sdp_are_enough() {
    use base64::Engine;
    let all = pictures(H265, OPEN_GOP);
    let set = |kind| {
        let unit = all[0].iter().find(|unit| H265.kind(unit) == kind).unwrap();
        base64::engine::general_purpose::STANDARD.encode(unit)
    };
    let fmtp = format!("sprop-vps={}; sprop-sps={}; sprop-pps={}", set(32), set(33), set(34));
    let bare = |p: &Vec<&'static [u8]>| -> Vec<&'static [u8]> {
        p.iter().copied().filter(|unit| !matches!(H265.kind(unit), 32..=34)).collect()
    };
    let bare: Vec<_> = all.iter().map(bare).collect();
    let mut depacketizer = video("H265", &fmtp);
    assert!(depacketizer.codec().is_some());
    let units = received(&mut depacketizer, &packetized(H265, &bare, 1400, in_order), &[]);
    assert_eq!(units.len(), 24);
    assert_eq!(units[0].codec, None, "as SDP said");
}

#[test]
fn leading_pictures_that_refer_to_what_was_never_seen_are_dropped() {
    let pictures = pictures(H265, OPEN_GOP);
    let is_kind = |picture: &Vec<&[u8]>, kinds: &[u8]| {
        picture.iter().any(|unit| kinds.contains(&H265.kind(unit)))
    };
    let cra = pictures.iter().position(|p| is_kind(p, &[21])).unwrap();
    let leading = pictures[cra..].iter().filter(|p| is_kind(p, &[8, 9])).count();
    assert_eq!(leading, 3);
    let sent = packetized(H265, &pictures[cra..], 1400, in_order);
    let mut depacketizer = video("H265", "");
    let units = received(&mut depacketizer, &sent, &[]);
    assert_eq!(units.len(), pictures.len() - cra - leading);
    assert_eq!(depacketizer.discarded().undecodable, leading as u64);
}

#[test]
fn any_single_lost_packet_shows_no_damaged_picture() {
    let pictures = pictures(H265, OPEN_GOP);
    let whole = slices(H265, &pictures);
    let sent = packetized(H265, &pictures, 120, |n| SHOWN[n]);
    for lost in 0..sent.len() {
        let units = received(&mut video("H265", ""), &sent, &[lost]);
        let held: Vec<i64> = units.iter().map(|u| u.pts).collect();
        let in_time = units.iter().filter(|u| u.pts % FRAME == 0).collect::<Vec<_>>();
        for unit in in_time {
            let nals: Vec<&[u8]> = NalUnits::new(&unit.data).collect();
            let n = SHOWN.iter().position(|&shown| shown == unit.pts / FRAME).unwrap();
            assert_eq!(nals, whole[n], "{lost}: {held:?}");
        }
    }
}

/// The pictures that are shown, in the order of decoding, when the n-th is lost.
fn shown_without(pictures: &[Vec<&[u8]>], n: usize) -> Vec<usize> {
    let sent = packetized(H265, pictures, 10_000, |n| SHOWN[n]);
    let whole = slices(H265, pictures);
    let is_lost = |p: &Sent| p.timestamp == SHOWN[n] * FRAME;
    let lost: Vec<usize> = (0..sent.len()).filter(|&i| is_lost(&sent[i])).collect();
    let units = received(&mut video("H265", ""), &sent, &lost);
    let nth = |unit: &Vec<&[u8]>| whole.iter().position(|picture| picture == unit).unwrap();
    nals(&units).iter().map(nth).collect()
}

#[test]
fn a_lost_picture_that_nobody_refers_to_costs_itself_only() {
    let pictures = pictures(H265, OPEN_GOP);
    // Sub-layer non-reference pictures (§7.4.2.2), of which all are the lowest
    // sub-layer here: TRAIL_N and RASL_N.
    let unreferenced =
        |picture: &Vec<&[u8]>| picture.iter().any(|unit| matches!(H265.kind(unit), 0 | 8));
    let mut found = 0;
    for lost in (0..24).filter(|&n| unreferenced(&pictures[n])) {
        let others: Vec<usize> = (0..24).filter(|&n| n != lost).collect();
        assert_eq!(shown_without(&pictures, lost), others, "{lost}");
        found += 1;
    }
    assert_eq!(found, 11);
}

#[test]
fn a_lost_reference_costs_what_refers_to_it_and_nothing_that_is_shown_lacks_one() {
    let pictures = pictures(H265, OPEN_GOP);
    // What libavcodec cannot decode without a reference that is missing.
    for (lost, costs) in [
        (1, [1..9, 10..13]),
        (2, [2..9, 10..13]),
        (5, [5..9, 10..13]),
        (6, [6..9, 10..13]),
        (9, [9..24, 24..24]),
        (10, [10..13, 13..13]),
        (13, [13..24, 24..24]),
        (17, [17..24, 24..24]),
        (21, [21..24, 24..24]),
    ] {
        let shown: Vec<usize> =
            (0..24).filter(|n| !costs.iter().any(|cost| cost.contains(n))).collect();
        assert_eq!(shown_without(&pictures, lost), shown, "{lost}");
    }
}

#[test]
fn b_frames_stamped_in_the_order_of_decoding_are_shown_in_their_own() {
    let pictures = pictures(H265, OPEN_GOP);
    // Before the counts have told, in the first group, times are what they are.
    let told = 8;
    for from in [0, 9] {
        let sent = packetized(H265, &pictures[from..], 1400, in_order);
        let units = received(&mut video("H265", ""), &sent, &[]);
        let shown: Vec<i64> = units[told..].iter().map(|u| u.pts / FRAME).collect();
        // Leading pictures that were skipped count.
        let skipped = pictures.len() - from - units.len();
        let right = SHOWN[from + skipped + told..].iter().map(|n| n - SHOWN[from]);
        let right: Vec<i64> = right.collect();
        assert_eq!(shown, right, "{from}");
    }
}

#[test]
fn decoding_order_numbers_are_refused_by_name() {
    let fmtp = Some("sprop-max-don-diff=2");
    let refused = Depacketizer::new(MediaKind::Video, "H265", 90_000, None, fmtp);
    assert!(refused.unwrap_err().0.contains("interleaved"));
}
