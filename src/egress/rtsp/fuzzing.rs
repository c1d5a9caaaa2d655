//! Doors for the fuzz targets in `tests/fuzz/`; not in any other build.

use bytes::BytesMut;

use super::message;

/// Reads requests as a connection does that gets `data` in pieces of `piece`
/// bytes; how many there were before one that cannot be understood.
pub fn requests(data: &[u8], piece: usize) -> usize {
    let (mut inbox, mut requests) = (BytesMut::new(), 0);
    for piece in data.chunks(piece.max(1)) {
        inbox.extend_from_slice(piece);
        loop {
            let before = inbox.len();
            match message::take(&mut inbox) {
                Ok(Some(message::Incoming::Request(request))) => {
                    requests += 1;
                    let _ = (request.header("Transport"), request.header("Session"));
                    assert!(!request.url.contains(['\r', '\n']));
                }
                Ok(Some(message::Incoming::Interleaved)) => {}
                Ok(None) => break,
                Err(bad) => {
                    let answer = message::Response::new(bad.status).bytes(None);
                    assert!(answer.ends_with(b"\r\n\r\n"));
                    return requests;
                }
            }
            assert!(inbox.len() < before, "a message takes bytes");
        }
        assert!(inbox.len() < message::MAX_MESSAGE + piece.len());
    }
    requests
}
