//! AAC in RTP (RFC 3640), by whatever header lengths SDP gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::media::MediaKind;
use porthole_fuzz::{Announced, depacketize};

const TRACK: Announced = Announced {
    kind: MediaKind::Audio,
    name: "mpeg4-generic",
    rate: 16_000,
    fmtp: "mode=AAC-hbr;config=1408",
};

fuzz_target!(|data: &[u8]| depacketize(&TRACK, data));
