//! VP9 in RTP (RFC 9628).
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::media::MediaKind;
use porthole_fuzz::{Announced, depacketize};

const TRACK: Announced = Announced { kind: MediaKind::Video, name: "vp9", rate: 90_000, fmtp: "" };

fuzz_target!(|data: &[u8]| depacketize(&TRACK, data));
