//! What WHEP viewers report by RTCP, behind the decryption.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::whep::fuzzing::rtcp;

fuzz_target!(|data: &[u8]| {
    // Four bytes of a NACK name a packet and 16 behind it.
    assert!(rtcp(data) <= data.len() / 4);
});
