//! Doors for the fuzz targets in `tests/fuzz/`; not in any other build.

use super::{candidates, offer, stun};
use crate::media::{Codec, G711Law, MediaKind};

/// Reads an SDP offer, and asks of it what a session asks.
pub fn offer(text: &str) {
    let Ok(offer) = offer::Offer::read(text) else { return };
    assert!(offer.candidates <= offer::MAX_CANDIDATES && !offer.ufrag.is_empty());
    // What the engine gets is an offer that reads the same.
    let again = offer::Offer::read(&offer.sdp).expect("its own text can be read");
    assert_eq!((&again.ufrag, again.candidates), (&offer.ufrag, offer.candidates));
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let _ = (offer.wants(kind), offer.codec_names(kind));
    }
    for codec in [Codec::G711 { law: G711Law::A, channels: 1 }, Codec::Opus { channels: 2 }] {
        if let Some(found) = offer.audio(&codec) {
            let _ = offer.rtx(found);
        }
    }
}

/// Whether a trickled candidate would be tried.
pub fn candidate(text: &str) -> bool {
    offer::is_usable_candidate(text)
}

/// Puts our candidates into an answer.
pub fn answer(text: &str) -> String {
    let address = ([203, 0, 113, 7], 8189).into();
    candidates::complete(text, &[address])
}

/// Sorts a datagram of the port that all viewers share.
pub fn datagram(data: &[u8]) -> Option<&str> {
    match stun::Kind::of(data) {
        stun::Kind::Stun => stun::receiver_ufrag(data),
        stun::Kind::Media | stun::Kind::Unknown => None,
    }
}
