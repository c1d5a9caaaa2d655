//! AAC in LATM (RFC 6416), with the config in SDP or in-band.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::media::MediaKind;
use porthole_fuzz::{Announced, depacketize};

const TRACK: Announced =
    Announced { kind: MediaKind::Audio, name: "mp4a-latm", rate: 16_000, fmtp: "" };

fuzz_target!(|data: &[u8]| depacketize(&TRACK, data));
