//! Doors for the fuzz targets in `tests/fuzz/`; not in any other build.

use std::time::{Duration, Instant};

use super::answer::{Local, Ssrcs};
use super::engine::Plan;
use super::feedback::Feedback;
use super::transport::Transport;
use super::{candidates, dtls, feedback, fragment, offer, stun};
use crate::media::{Avc, AvcSps, Codec, G711Law, MediaKind, PixelSize, reorder};

/// Reads an SDP offer, and asks of it what a session asks.
pub fn offer(text: &str) {
    let Ok(offer) = offer::Offer::read(text) else { return };
    assert!(offer.candidates.len() <= offer::MAX_CANDIDATES && !offer.ufrag.is_empty());
    assert!(offer.candidates.iter().all(|candidate| offer::is_usable_candidate(candidate)));
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let _ = (offer.wants(kind), offer.codec_names(kind));
    }
    for codec in [Codec::G711 { law: G711Law::A, channels: 1 }, Codec::Opus { channels: 2 }] {
        if let Some(found) = offer.audio(&codec, 8_000) {
            let _ = offer.rtx(found);
        }
    }
}

/// Reads what an offer says of the connection, and answers it.
pub fn negotiate(text: &str) {
    let Ok(offer) = offer::Offer::read(text) else { return };
    let avc = Codec::H264(Avc {
        sps: bytes::Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f]),
        pps: Vec::new(),
        size: PixelSize { width: 16, height: 16 },
        max_num_reorder_frames: None,
    });
    let video = offer.video(&avc).cloned();
    let rtx = video.as_ref().and_then(|codec| offer.rtx(codec)).cloned();
    let audio = offer.audio(&Codec::Opus { channels: 2 }, 48_000).cloned();
    let transport_cc = video.as_ref().and_then(|codec| offer.transport_cc(codec));
    let plan = Plan { video, rtx, audio, transport_cc, adapts: false };
    let local = Local { ufrag: "ours", password: "secret", fingerprint: "AA" };
    let answer = offer.answer(
        &local,
        &plan,
        Ssrcs { media: 1, rtx: plan.rtx.is_some().then_some(2) },
        Ssrcs { media: 3, rtx: None },
    );
    is_sdp(&answer);
    // Section by section (RFC 3264 §6), and no more than a track of a kind.
    let count = |text: &str, start: &str| text.lines().filter(|l| l.starts_with(start)).count();
    assert_eq!(count(&answer, "m="), offer.sections.len());
    let planned = usize::from(plan.video.is_some()) + usize::from(plan.audio.is_some());
    assert!(count(&answer, "a=sendonly") <= planned, "{answer}");
}

/// Reads the fragment of a PATCH, and replies to it.
pub fn fragment(text: &str) {
    let Ok(fragment) = fragment::Fragment::read(text) else { return };
    assert!(fragment.candidates.len() <= offer::MAX_CANDIDATES);
    let reply = fragment.reply("ours", "secret", &[([203, 0, 113, 7], 8189).into()]);
    is_sdp(&reply);
    assert_eq!(reply.matches("\r\nm=").count(), 0);
}

/// What we repeat of a viewer's words makes no line of its own.
fn is_sdp(text: &str) {
    let whole = |line: &str| {
        line.ends_with('\r') && line.len() > 2 && !line[..line.len() - 1].contains(['\r', '\0'])
    };
    assert!(text.ends_with('\n') && text[..text.len() - 1].split('\n').all(whole), "{text:?}");
}

/// Whether a `ClientHello` offers AES-GCM for SRTP.
pub fn hello(datagram: &[u8]) -> Option<bool> {
    dtls::offers_gcm(datagram)
}

/// Makes an SPS say that nothing is reordered: it says that then and nothing
/// else that is new, and is left alone from then on.
pub fn sps(sps: &[u8]) {
    let Some(made) = reorder::ordered(sps) else { return };
    let before = AvcSps::read(sps).expect("it was understood");
    let after = AvcSps::read(&made).expect("it is one still");
    assert_eq!(after.max_num_reorder_frames, Some(0));
    assert_eq!(
        AvcSps { max_num_reorder_frames: None, vui: before.vui, ..after },
        AvcSps { max_num_reorder_frames: None, ..before }
    );
    assert_eq!(reorder::ordered(&made), None);
    // No start code in it (H.264 §7.4.1).
    assert!(!made.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 3));
}

/// Reads decrypted RTCP: so many packets are reported lost. What is said of
/// the way is judged as well.
pub fn rtcp(datagram: &[u8]) -> usize {
    let now = Instant::now();
    let mut transport = Transport::new(now, Some(1));
    for _ in 0..2_000 {
        transport.sent(now, 1_000);
    }
    let mut lost = 0;
    for (at, feedback) in (1..).zip(feedback::read(datagram)) {
        let at = now + Duration::from_secs(at);
        let look = match feedback {
            Feedback::Nack { lost: pairs, .. } => {
                lost += pairs.len();
                None
            }
            Feedback::Transport(fates) => {
                assert!(fates.len() <= 2_048);
                transport.feedback(at, &fates)
            }
            Feedback::Estimate(carried) => transport.estimate(at, carried),
            Feedback::KeyFrameWanted | Feedback::Reception(_) => None,
        };
        // No more than was sent can have arrived, in a quarter of a second.
        assert!(look.is_none_or(|look| look.carried <= 2_000 * 1_000 * 8 * 4));
    }
    lost
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
