use proptest::prelude::*;

use super::*;

/// What comes of bytes that arrive whole.
fn heard(bytes: &[u8]) -> Vec<String> {
    in_chunks(bytes, bytes.len().max(1)).0
}

/// What comes of bytes that arrive in chunks, and how it ended.
fn in_chunks(bytes: &[u8], chunk: usize) -> (Vec<String>, Option<Broken>) {
    let mut wire = Wire::default();
    (0..4).for_each(|channel| wire.expect(channel));
    let (mut inbox, mut all) = (BytesMut::new(), Vec::new());
    for chunk in bytes.chunks(chunk) {
        inbox.extend_from_slice(chunk);
        loop {
            match wire.next(&mut inbox) {
                Ok(Some(heard)) => all.push(told(&heard)),
                Ok(None) => break,
                Err(broken) => return (all, Some(broken)),
            }
        }
        assert!(inbox.len() <= MAX_BUFFERED, "{} bytes wait", inbox.len());
    }
    (all, None)
}

fn told(heard: &Heard) -> String {
    match heard {
        Heard::Packet { channel, payload } => format!("{channel}:{}", payload.len()),
        Heard::Answer(answer) => {
            let sequence = answer.sequence().map_or("-".to_owned(), |n| n.to_string());
            let body = String::from_utf8_lossy(&answer.body);
            format!("{} {} #{sequence} {body}", answer.status, answer.reason)
        }
        Heard::Asked(asked) => {
            format!("{} #{}", asked.method, asked.sequence.as_deref().unwrap_or("-"))
        }
    }
}

/// An interleaved RTP packet of that many bytes.
fn packet(channel: u8, length: u16) -> Vec<u8> {
    let mut packet = vec![b'$', channel];
    packet.extend(length.to_be_bytes());
    packet.extend((0..length).map(|at| if at == 0 { 0x80 } else { 0x55 }));
    packet
}

fn answer(headers: &str) -> Answer {
    let text = format!("RTSP/1.0 200 OK\r\n{headers}\r\n");
    match Wire::default().next(&mut BytesMut::from(text.as_bytes())) {
        Ok(Some(Heard::Answer(answer))) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_and_packets_come_out_as_they_went_in_however_they_are_cut() {
    let mut bytes = b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 5\r\n\r\nv=0\r\n".to_vec();
    bytes.extend(packet(0, 1_400));
    bytes.extend(b"\r\n");
    bytes.extend(packet(3, 28));
    bytes.extend(b"OPTIONS rtsp://gateway/ RTSP/1.0\r\nCSeq: 9\r\n\r\n");
    bytes.extend(b"SET_PARAMETER /relative RTSP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    bytes.extend(packet(1, 0));
    bytes.extend(packet(1, 65_535));
    let expected =
        ["200 OK #3 v=0\r\n", "0:1400", "3:28", "OPTIONS #9", "SET_PARAMETER #-", "1:0", "1:65535"];
    for chunk in [1, 2, 3, 7, 64, 1_000, bytes.len()] {
        assert_eq!(in_chunks(&bytes, chunk), (expected.map(str::to_owned).to_vec(), None));
    }
}

#[test]
fn slips_of_firmware_are_understood() {
    for (camera, head, expected) in [
        ("lines in LF", "RTSP/1.0 200 OK\nCSeq: 2\n\n", "200 OK #2 "),
        ("no reason", "RTSP/1.0 200\r\nCSeq: 2\r\n\r\n", "200  #2 "),
        ("lower case", "RTSP/1.0 401 Unauthorized\r\ncseq: 2\r\n\r\n", "401 Unauthorized #2 "),
        ("Longse, blanks at the end", "RTSP/1.0 200 OK\r\nCSeq: 2 \r\n\r\n", "200 OK #2 "),
        ("an empty header", "RTSP/1.0 200 OK\r\nPublic:\r\nCSeq: 2\r\n\r\n", "200 OK #2 "),
        ("no header at all", "RTSP/1.0 200 OK\r\nwhat\r\nCSeq : 2\r\n\r\n", "200 OK #2 "),
        ("another version", "RTSP/2.0 454 Session Not Found\r\n\r\n", "454 Session Not Found #- "),
        (
            "a length twice",
            "RTSP/1.0 200 OK\r\nContent-Length: 1\r\nContent-length: 1\r\n\r\nx",
            "200 OK #- x",
        ),
        ("Latin-1", "RTSP/1.0 200 d\u{e9}j\u{e0}\r\nCSeq: 2\r\n\r\n", "200 d?j? #2 "),
        ("CRLFs before it", "\r\n\r\n\nRTSP/1.0 200 OK\r\n\r\n", "200 OK #- "),
    ] {
        assert_eq!(heard(head.as_bytes()), [expected], "{camera}");
    }
}

#[test]
fn a_folded_header_is_one_and_two_challenges_are_two() {
    let told = answer("Public: OPTIONS,\r\n\tPLAY\r\nSession:  1;timeout=30\r\n");
    assert_eq!(told.header("public"), Some("OPTIONS, PLAY"));
    assert_eq!(told.header("SESSION"), Some("1;timeout=30"));
    let told = answer("WWW-Authenticate: Digest a=b\r\nwww-authenticate: Basic realm=x\r\n");
    assert_eq!(told.challenges, ["Digest a=b", "Basic realm=x"]);
}

#[test]
fn a_message_over_the_cap_ends_it_before_more_is_buffered() {
    let line = b"RTSP/1.0 200 OK\r\nX: ".iter().copied().chain(std::iter::repeat(b'x'));
    let lines = b"RTSP/1.0 200 OK\r\n".iter().copied().chain(b"X: y\r\n".iter().copied().cycle());
    for endless in [line.take(200_000).collect(), lines.take(200_000).collect::<Vec<u8>>()] {
        assert_eq!(in_chunks(&endless, 1_000), (vec![], Some(Broken::TooLong)));
    }
    for length in ["65500", "4294967296", "18446744073709551615", "99999999999999999999999"] {
        let head = format!("RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let (heard, broken) = in_chunks(head.as_bytes(), 7);
        assert_eq!((heard, broken), (vec![], Some(Broken::TooLong)), "{length}");
    }
    let head = "RTSP/1.0 200 OK\r\nContent-Length: 65000\r\n\r\n".to_owned() + &"x".repeat(65_000);
    assert_eq!(heard(head.as_bytes()).len(), 1, "the longest that is allowed");
    assert_eq!(Fault::from(Broken::TooLong).code, Code::SourceLimit);
}

#[test]
fn what_never_was_rtsp_is_named_at_once() {
    for other in ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 ftp ready\r\n", "\u{1}\u{2}", "ssh-2.0"]
    {
        assert_eq!(in_chunks(other.as_bytes(), 1).1, Some(Broken::NotRtsp), "{other:?}");
    }
    for unreadable in ["RTSP/1.0 OK\r\n\r\n", "RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"] {
        assert_eq!(in_chunks(unreadable.as_bytes(), 1).1, Some(Broken::Unreadable));
    }
}

const OK: &[u8] = b"RTSP/1.0 200 OK\r\n\r\n";

#[test]
fn stray_bytes_cost_no_packet_behind_them() {
    // Among them what could be taken for a packet, or for an answer.
    let junk = [&[0xa5; 5_000][..], b"$\x00\x01\x00", &[0xa5; 600], b"$\x09\x00\x10R$"].concat();
    let bytes = [OK, &packet(0, 100), &junk, &packet(0, 200), &packet(2, 300), OK].concat();
    for chunk in [1, 100, bytes.len()] {
        let (all, broken) = in_chunks(&bytes, chunk);
        assert_eq!(
            (&all[1..], broken),
            (&["0:100", "0:200", "2:300", "200 OK #- "].map(str::to_owned)[..], None)
        );
    }
}

#[test]
fn a_packet_that_lost_its_end_is_left_out_and_the_next_is_whole() {
    // A camera whose buffers were full: 1,400 bytes announced, 700 sent.
    let cut = &packet(0, 1_400)[..704];
    let bytes = [OK, cut, &packet(0, 200), &packet(1, 1_000), &packet(0, 300), OK].concat();
    assert_eq!(heard(&bytes)[1..], ["0:200", "1:1000", "0:300", "200 OK #- "]);
}

#[test]
fn a_camera_that_only_sends_junk_is_given_up() {
    let bytes = [OK, &packet(0, 100), &vec![0xa5; 70_000]].concat();
    let (all, broken) = in_chunks(&bytes, 1_000);
    assert_eq!((all.len(), broken), (2, Some(Broken::Lost)));
    // Packets of a wrong length, each of them, as the fault relay sends them.
    let mut wrong = packet(0, 1_000);
    wrong[2] ^= 1;
    let bytes = [OK.to_vec(), wrong.repeat(200)].concat();
    let (all, broken) = in_chunks(&bytes, 4_096);
    assert_eq!(broken, Some(Broken::Lost), "{all:?}");
}

#[test]
fn bytes_that_may_each_begin_a_message_are_looked_at_once() {
    // Each looked at as far as the capitals go would be 1,800 million looks.
    let bytes = [OK, &packet(0, 100), b"~", &[b'R'; 60_000], &packet(0, 200), OK].concat();
    let began = std::time::Instant::now();
    assert_eq!(heard(&bytes)[1..], ["0:100", "0:200", "200 OK #- "]);
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_are_bounded_and_mean_the_same(
        pieces in prop::collection::vec(prop_oneof![
            Just(b"RTSP/1.0 200 OK\r\n".to_vec()),
            Just(b"CSeq: 1\r\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            (0..5_u8, 0..400_u16).prop_map(|(channel, length)| packet(channel, length)),
            prop::collection::vec(any::<u8>(), 0..40),
        ], 0..40),
        chunk in 1..300_usize,
    ) {
        let bytes = pieces.concat();
        // How a packet without an end is judged depends on what is here of the
        // next; messages do not.
        let answers = |(all, _): (Vec<String>, _)| all.iter().filter(|one| one.starts_with("200")).count();
        if !bytes.contains(&b'$') {
            prop_assert_eq!(answers(in_chunks(&bytes, chunk)), answers(in_chunks(&bytes, bytes.len().max(1))));
        } else {
            in_chunks(&bytes, chunk);
        }
    }
}
