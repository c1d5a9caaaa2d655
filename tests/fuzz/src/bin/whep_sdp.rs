//! Offers and candidates of WHEP viewers, and answers on their way out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::egress::whep::fuzzing::{answer, candidate, offer};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    offer(text);
    answer(text);
    for line in text.lines() {
        let _ = candidate(line);
    }
});
