//! Bytes of a camera's RTSP connection in any pieces: no panic, never more
//! than one message or packet waiting, every call takes bytes or wants more.
//!
//! Input: a byte that says how long the pieces are, then the bytes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use porthole::ingest::rtsp::wire::{Heard, MAX_BUFFERED, Wire};

fuzz_target!(|data: &[u8]| {
    let Some((&piece, data)) = data.split_first() else { return };
    let mut wire = Wire::default();
    (0..4).for_each(|channel| wire.expect(channel));
    let mut inbox = BytesMut::new();
    for piece in data.chunks(usize::from(piece) * 4 + 1) {
        inbox.extend_from_slice(piece);
        loop {
            let before = inbox.len();
            match wire.next(&mut inbox) {
                Ok(None) => break,
                Ok(Some(Heard::Answer(answer))) => {
                    assert!((100..600).contains(&answer.status) && answer.body.len() <= 64 << 10);
                    let _ = (answer.sequence(), answer.header("Session"));
                }
                Ok(Some(Heard::Packet { payload, .. })) => assert!(payload.len() < before),
                Ok(Some(Heard::Asked(asked))) => {
                    // Repeated in our answer.
                    let sequence = asked.sequence.unwrap_or_default();
                    assert!(!sequence.contains(['\r', '\n']));
                }
                Err(_) => return,
            }
        }
        assert!(inbox.len() <= MAX_BUFFERED, "{} bytes wait", inbox.len());
    }
});
