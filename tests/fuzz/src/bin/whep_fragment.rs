//! What WHEP viewers PATCH: candidates and ICE restarts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::whep::fuzzing::fragment;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        fragment(text);
    }
});
