//! AV1 in RTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::media::MediaKind;
use porthole_fuzz::{Announced, depacketize};

const TRACK: Announced = Announced { kind: MediaKind::Video, name: "av1", rate: 90_000, fmtp: "" };

fuzz_target!(|data: &[u8]| depacketize(&TRACK, data));
