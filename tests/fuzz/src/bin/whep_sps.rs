//! An SPS that WHEP makes say that no picture is reordered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::whep::fuzzing::sps;

fuzz_target!(|data: &[u8]| sps(data));
