//! Datagrams from anybody, on the port that all WHEP viewers share.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::whep::fuzzing::datagram;

fuzz_target!(|data: &[u8]| {
    if let Some(ufrag) = datagram(data) {
        assert!(!ufrag.contains(':'));
    }
});
