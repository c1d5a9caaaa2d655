//! Sound whose packets hold the codec's bytes and no more; the first byte of
//! the input picks the codec.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::media::MediaKind;
use porthole_fuzz::{Announced, depacketize};

const CODECS: [(&str, u32); 5] =
    [("pcmu", 8_000), ("pcma", 8_000), ("opus", 48_000), ("g722", 8_000), ("l16", 44_100)];

fuzz_target!(|data: &[u8]| {
    let Some((&pick, data)) = data.split_first() else { return };
    let (name, rate) = CODECS[usize::from(pick) % CODECS.len()];
    depacketize(&Announced { kind: MediaKind::Audio, name, rate, fmtp: "" }, data);
});
