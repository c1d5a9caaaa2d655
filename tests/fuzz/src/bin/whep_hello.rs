//! The first DTLS record of a WHEP viewer, looked into before the library does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::whep::fuzzing::hello;

fuzz_target!(|data: &[u8]| {
    if hello(data).is_some() {
        assert_eq!((data[0], data[13]), (22, 1), "a handshake record with a ClientHello");
    }
});
