//! H.264 key frames to pictures: what we let through to the decoder, and what
//! that makes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::mjpeg::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::key_frame(data));
