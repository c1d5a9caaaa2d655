//! What clients send to the RTSP output, in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::rtsp::fuzzing::requests;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, data)) = data.split_first() else { return };
    let whole = requests(data, usize::MAX);
    assert_eq!(requests(data, usize::from(piece)), whole, "pieces change nothing");
});
