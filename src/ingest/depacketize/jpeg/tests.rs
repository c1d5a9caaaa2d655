use super::*;

/// `testsrc2` at 160x120, 4:2:0, by ffmpeg 5.1 with `-huffman default`.
const FFMPEG: &[u8] = include_bytes!("../testdata/ffmpeg_420.jpg");
/// `videotestsrc` at 160x120, 4:2:0, quality 30, by libjpeg through GStreamer.
const LIBJPEG_Q30: &[u8] = include_bytes!("../testdata/gst_q30.jpg");

/// Segments by marker, and the scan with its end marker.
fn parts(file: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let (mut segments, mut rest) = (Vec::new(), &file[2..]);
    loop {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        segments.push((rest[1], &rest[4..2 + length]));
        let marker = rest[1];
        rest = &rest[2 + length..];
        if marker == 0xda {
            return (segments, rest);
        }
    }
}

fn segments(file: &[u8], marker: u8) -> Vec<&[u8]> {
    parts(file).0.into_iter().filter(|(m, _)| *m == marker).map(|(_, data)| data).collect()
}

/// A scan in packets of at most 500 bytes of it, behind `extra` headers in
/// the first.
fn packets(scan: &[u8], kind: u8, q: u8, extra: &[u8]) -> Vec<Vec<u8>> {
    let packet = |(n, part): (usize, &[u8])| {
        let [_, o0, o1, o2] = ((n * 500) as u32).to_be_bytes();
        let head = [0, o0, o1, o2, kind, q, 160 / 8, 120 / 8];
        [&head[..], if n == 0 { extra } else { &[] }, part].concat()
    };
    scan.chunks(500).enumerate().map(packet).collect()
}

fn push(jpeg: &mut RtpJpeg, timestamp: i64, payloads: &[Vec<u8>], lost: Option<usize>) {
    let mut lost_before = 0;
    for (i, payload) in payloads.iter().enumerate() {
        if lost == Some(i) {
            lost_before = 1;
            continue;
        }
        let marker = i + 1 == payloads.len();
        jpeg.push(Packet { timestamp, marker, lost_before, payload }).unwrap();
        lost_before = 0;
    }
}

#[test]
fn a_picture_of_libjpeg_comes_back_with_its_own_quantizers_from_q_alone() {
    let (_, scan) = parts(LIBJPEG_Q30);
    let mut jpeg = RtpJpeg::default();
    push(&mut jpeg, 7, &packets(scan, 1, 30, &[]), None);
    let unit = jpeg.ready.pop_front().unwrap();
    for marker in [0xdb, 0xc0] {
        assert_eq!(segments(&unit.data, marker), segments(LIBJPEG_Q30, marker), "{marker:x}");
    }
    // libjpeg writes a DHT per table.
    let tables = |file| {
        let mut all = segments(file, 0xc4).concat();
        all.sort_unstable();
        all
    };
    assert_eq!(tables(&unit.data), tables(LIBJPEG_Q30));
    assert_eq!(parts(&unit.data).1, scan);
    assert_eq!((unit.pts, unit.kind), (7, FrameKind::Key));
    let size = PixelSize { width: 160, height: 120 };
    assert_eq!(unit.codec, Some(Codec::Jpeg(Jpeg { size })));
}

#[test]
fn in_band_quantizers_are_used_and_remembered_below_q_255() {
    let (_, scan) = parts(FFMPEG);
    let table = &segments(FFMPEG, 0xdb)[0][1..];
    let extra = [&[0, 0, 0, 64], table].concat();
    for q in [200, 255] {
        let mut jpeg = RtpJpeg::default();
        push(&mut jpeg, 0, &packets(scan, 1, q, &extra), None);
        let unit = jpeg.ready.pop_front().unwrap();
        let quantizers = segments(&unit.data, 0xdb);
        assert!(quantizers.iter().all(|q| &q[1..] == table) && quantizers.len() == 2);
        assert_eq!(parts(&unit.data).1, scan);
        // Without tables: the ones sent before, which Q 255 forbids.
        push(&mut jpeg, 1, &packets(scan, 1, q, &[0; 4]), None);
        assert_eq!(jpeg.ready.pop_front().is_some(), q == 200);
    }
}

#[test]
fn restart_intervals_and_a_missing_end_are_restored() {
    let (_, scan) = parts(LIBJPEG_Q30);
    let cut = &scan[..scan.len() - 2];
    let packets: Vec<Vec<u8>> = packets(cut, 65, 30, &[])
        .into_iter()
        .map(|p| [&p[..8], &[0, 10, 0xff, 0xff], &p[8..]].concat())
        .collect();
    let mut jpeg = RtpJpeg::default();
    push(&mut jpeg, 0, &packets, None);
    let unit = jpeg.ready.pop_front().unwrap();
    assert_eq!(segments(&unit.data, 0xdd), [&[0, 10]]);
    assert_eq!(parts(&unit.data).1, scan);
}

#[test]
fn a_picture_with_a_hole_is_dropped_reported_or_not() {
    let (_, scan) = parts(FFMPEG);
    let packets = packets(scan, 1, 50, &[]);
    assert!(packets.len() > 3);
    for hole in 0..packets.len() - 1 {
        let mut jpeg = RtpJpeg::default();
        push(&mut jpeg, 0, &packets, Some(hole));
        push(&mut jpeg, 1, &packets, None);
        assert_eq!(jpeg.ready.len(), 1, "{hole}");
        assert_eq!((jpeg.ready[0].pts, jpeg.ready[0].lost_before), (1, 1));
        assert_eq!(jpeg.discarded.damaged, 1, "{hole}");

        let mut unreported = packets.clone();
        unreported.remove(hole);
        let mut jpeg = RtpJpeg::default();
        push(&mut jpeg, 0, &unreported, None);
        assert!(jpeg.ready.is_empty(), "{hole}");
    }
}

#[test]
fn a_picture_whose_marker_is_lost_is_dropped_unless_it_ends_as_it_should() {
    let (_, scan) = parts(FFMPEG);
    let packets = packets(scan, 1, 50, &[]);
    let unmarked = |jpeg: &mut RtpJpeg, timestamp, payloads: &[Vec<u8>]| {
        for payload in payloads {
            jpeg.push(Packet { timestamp, marker: false, lost_before: 0, payload }).unwrap();
        }
    };
    let mut jpeg = RtpJpeg::default();
    unmarked(&mut jpeg, 0, &packets);
    unmarked(&mut jpeg, 1, &packets[..packets.len() - 1]);
    unmarked(&mut jpeg, 2, &packets);
    assert_eq!(jpeg.ready.iter().map(|u| u.pts).collect::<Vec<_>>(), [0]);
    assert_eq!(jpeg.discarded.damaged, 1);
}

#[test]
fn types_and_sizes_that_rfc_2435_does_not_give_are_counted() {
    let mut jpeg = RtpJpeg::default();
    for payload in [
        &[0; 7][..],
        &[0, 0, 0, 0, 2, 50, 20, 15, 1],
        &[0, 0, 0, 0, 1, 50, 0, 15, 1],
        &[0, 0, 0, 0, 1, 0, 20, 15, 1],
        &[0, 0, 0, 0, 1, 100, 20, 15, 1],
        &[0, 0, 0, 0, 64, 50, 20, 15, 1],
        &[0, 0, 0, 0, 1, 128, 20, 15, 0, 0, 0, 64, 1],
    ] {
        jpeg.push(Packet { timestamp: 0, marker: true, lost_before: 0, payload }).unwrap();
    }
    assert_eq!(jpeg.discarded.malformed, 7);
    assert!(jpeg.ready.is_empty());
}
