//! Lost packets that are asked for again, where the camera offers that: generic
//! NACK (RFC 4585 §6.2.1), answered by the same packets again or by ones that
//! are about them (RTX, RFC 4588). Sans I/O; time is an argument.

use std::time::{Duration, Instant};

use retina::rtp::PacketHeader;

/// What was only overtaken comes by itself within this time, as a rule.
const FIRST_ASKED: Duration = Duration::from_millis(10);
/// And is asked for once more after this: a few round trips in a house.
const ASKED_AGAIN: Duration = Duration::from_millis(20);
/// How long others wait for what was asked for. A picture is held up by as
/// much, once; without it all are until the next key frame.
pub(super) const REPAIR_WAIT: Duration = Duration::from_millis(200);
/// Most numbers, and most pairs of a number and the 16 behind it, of one
/// request: more at once are no loss but an outage.
const MAX_NUMBERS: usize = 256;
const MAX_PAIRS: usize = 32;

/// What a camera offers to do about loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Its profile is RTP/AVPF.
    pub avpf: bool,
    /// It sends again what it is asked for.
    pub nack: bool,
    /// With this payload type; else as before.
    pub rtx: Option<u8>,
}

/// When a track asks.
#[derive(Debug)]
pub(super) struct Repair {
    rtx: Option<u8>,
    due: Option<Instant>,
}

impl Repair {
    /// For media of `payload_type`; `None` where nothing is sent again.
    pub(super) fn new(offer: Offer, payload_type: u8) -> Option<Self> {
        let rtx = offer.rtx.filter(|rtx| *rtx != payload_type);
        offer.nack.then_some(Self { rtx, due: None })
    }

    pub(super) fn is_rtx(&self, payload_type: u8) -> bool {
        self.rtx == Some(payload_type)
    }

    /// When it is to ask.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something is missing, or nothing.
    pub(super) fn note(&mut self, is_missing: bool, now: Instant) {
        match (is_missing, self.due) {
            (true, None) => self.due = Some(now + FIRST_ASKED),
            (false, Some(_)) => self.due = None,
            _ => {}
        }
    }

    /// The feedback control information for what is missing, if it is time.
    pub(super) fn ask(
        &mut self,
        missing: impl Iterator<Item = u64>,
        now: Instant,
    ) -> Option<Vec<(u16, u16)>> {
        self.due.filter(|due| *due <= now)?;
        let pairs = pairs(missing);
        self.due = (!pairs.is_empty()).then(|| now + ASKED_AGAIN);
        (!pairs.is_empty()).then_some(pairs)
    }
}

/// A number, and a bit for each of the 16 behind it (RFC 4585 §6.2.1).
fn pairs(missing: impl Iterator<Item = u64>) -> Vec<(u16, u16)> {
    let mut pairs: Vec<(u64, u16)> = Vec::new();
    for number in missing.take(MAX_NUMBERS) {
        let is_last = pairs.len() == MAX_PAIRS;
        match pairs.last_mut() {
            Some((first, bits)) if number - *first <= 16 => *bits |= 1 << (number - *first - 1),
            _ if is_last => break,
            _ => pairs.push((number, 0)),
        }
    }
    pairs.into_iter().map(|(first, bits)| (first as u16, bits)).collect()
}

/// The number that a packet of RTX is about, and what that one carried (RFC
/// 4588 §4).
pub(super) fn original(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (number, payload) = payload.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), payload))
}

/// The packet that was lost, as it was sent.
pub(super) fn restored(
    rtx: &PacketHeader,
    payload_type: u8,
    ssrc: u32,
    (number, payload): (u16, &[u8]),
) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + payload.len());
    packet.extend_from_slice(&[0x80, u8::from(rtx.mark()) << 7 | payload_type]);
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&rtx.timestamp().to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_in_pairs_and_never_too_many() {
        assert_eq!(pairs([70_000].into_iter()), [(4_464, 0)]);
        let some = [65_535, 65_536, 65_551, 65_552];
        assert_eq!(pairs(some.into_iter()), [(65_535, 1 | 1 << 15), (16, 0)]);
        assert_eq!(pairs((0..).step_by(100)).len(), MAX_PAIRS);
        assert_eq!(pairs(0..u64::MAX).len(), MAX_NUMBERS.div_ceil(17));
    }

    #[test]
    fn it_waits_for_what_was_overtaken_and_asks_again_until_all_is_there() {
        let now = Instant::now();
        let after = |millis| now + Duration::from_millis(millis);
        let offer = Offer { avpf: true, nack: true, rtx: Some(97) };
        let mut repair = Repair::new(offer, 96).unwrap();
        repair.note(true, now);
        repair.note(true, after(5));
        assert_eq!(repair.ask([7].into_iter(), after(9)), None);
        assert_eq!(repair.ask([7].into_iter(), after(10)), Some(vec![(7, 0)]));
        assert_eq!(repair.ask([7].into_iter(), after(29)), None);
        assert_eq!(repair.ask([7].into_iter(), after(30)), Some(vec![(7, 0)]));
        repair.note(false, after(31));
        assert_eq!((repair.due(), repair.ask([7].into_iter(), after(99))), (None, None));
    }

    #[test]
    fn media_itself_is_never_taken_for_what_is_sent_again() {
        let offer = Offer { avpf: true, nack: true, rtx: Some(96) };
        assert!(!Repair::new(offer, 96).unwrap().is_rtx(96));
        assert!(Repair::new(Offer::default(), 96).is_none());
    }
}
