//! The head of an HTTP answer, where RTSP is tunnelled in HTTP: the same in
//! whatever pieces it comes, bounded, and no challenge breaks a header of ours.
//!
//! Input: a 16-bit length of the first piece, then all of them.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use porthole::ingest::Login;
use porthole::ingest::rtsp::http_head::{Head, MAX_HEAD};
use porthole::ingest::rtsp::login::Door;
use porthole::secret::Secret;

fuzz_target!(|data: &[u8]| {
    let Some((length, data)) = data.split_first_chunk::<2>() else { return };
    let first = usize::from(u16::from_be_bytes(*length)).min(data.len());
    let mut whole = BytesMut::from(data);
    let at_once = Head::take(&mut whole);
    let mut pieces = BytesMut::from(&data[..first]);
    let begun = Head::take(&mut pieces);
    let later = if matches!(begun, Ok(None)) {
        pieces.extend_from_slice(&data[first..]);
        Head::take(&mut pieces)
    } else {
        pieces.extend_from_slice(&data[first..]);
        begun
    };
    assert_eq!(at_once, later);
    let head = match at_once {
        Err(_) => return,
        Ok(None) => return assert!(data.len() < MAX_HEAD),
        Ok(Some(head)) => head,
    };
    assert_eq!(whole, pieces);
    assert!(data.len() - whole.len() <= MAX_HEAD);
    assert!(head.reason.chars().count() <= 80 && !head.reason.contains(char::is_control));
    let login = Login { username: "ann".into(), password: Secret::new("door-pass") };
    let mut door = Door::new(Some(login), None);
    if door.refused(&head.challenges, false).is_ok()
        && let Some(given) = door.authorize("GET", "/live?a=b")
    {
        assert!(!given.contains(char::is_control), "{given:?}");
    }
});
