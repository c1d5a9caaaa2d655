//! JPEG files of cameras, made smaller.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::mjpeg::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::jpeg_file(data));
