//! H.265 in RTP (RFC 7798), with SDP's parameter sets or without.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::media::MediaKind;
use porthole_fuzz::{Announced, depacketize};

const TRACK: Announced = Announced { kind: MediaKind::Video, name: "h265", rate: 90_000, fmtp: "" };

fuzz_target!(|data: &[u8]| depacketize(&TRACK, data));
