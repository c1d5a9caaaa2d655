//! How well the way to a viewer carries what it is sent, judged from the
//! viewer's reports. No I/O, no clock.
//!
//! By transport-wide feedback: a way that is too narrow lets a queue stand in
//! front of it, so that the quickest packet of half a second is late and
//! later than before, or loses packets because that queue is full. A queue
//! that a key frame makes and that empties again is none, nor is the loss of a
//! radio link. Without that feedback the viewer's own estimate (REMB) tells,
//! or the loss in its receiver reports.

use std::time::{Duration, Instant};

use super::transport_feedback::Fate;

/// How long one look takes, and how long where most packets are lost: that is
/// seen sooner.
const LOOK: Duration = Duration::from_millis(500);
const SHORT_LOOK: Duration = Duration::from_millis(250);

/// Packets whose fate may be told later: 1 s at 10 Mbit/s.
const REMEMBERED: usize = 1024;

/// A look that saw fewer packets than this says nothing; fewer lost ones are
/// chance.
const ENOUGH: u32 = 4;
const NO_CHANCE: u32 = 8;

/// Delay beyond the quickest packet's that is a queue, in units of 250 µs:
/// 60 ms. A scheduler or a radio link holds packets back by 20 to 30.
const QUEUE: i32 = 240;
/// By how much it grows from one look to the next, or is too much by itself:
/// 10 ms and 500 ms.
const GROWTH: i32 = 40;
const LONG_QUEUE: i32 = 2_000;
/// What a way that carries less than half of what it is sent shows beside its
/// queue: that grows by more than half a look, or is full and loses so much.
const HALF_GROWTH: i32 = 1_000;
const HALF_LOSS: f64 = 0.4;
/// Below this the queue is as good as empty: 20 ms.
const NO_QUEUE: i32 = 80;

/// Loss beside a queue that says it is full; loss that is too much by itself,
/// since no repair keeps up with it; and loss that any way may have.
const FULL_LOSS: f64 = 0.02;
const MUCH_LOSS: f64 = 0.2;
const SOME_LOSS: f64 = 0.05;

/// The quickest packet is one of the last one to two of these: clocks drift,
/// and ways change.
const QUICKEST_OF: Duration = Duration::from_secs(30);

/// What half a second showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) state: State,
    /// Bits a second that arrived, or that the viewer says would.
    pub(super) carried: u64,
}

/// How a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Carries what it is sent, and did not lose or delay much of it.
    Clear,
    /// Not bad enough to do something about it.
    Fair,
    /// Does not carry what it is sent.
    Strained,
    /// Carries less than half of it.
    Choked,
}

/// A packet on its way.
#[derive(Clone, Copy, Default)]
struct Departure {
    number: u16,
    /// 0 once its fate is known.
    bytes: u16,
    /// In units of 250 µs.
    at: u32,
}

/// One way's judge.
pub(super) struct Estimator {
    origin: Instant,
    departures: Box<[Departure]>,
    look: Tally,
    looked: Instant,
    /// Of the first packet: from its departure to its arrival, by two clocks.
    offset: Option<u32>,
    /// The least delay of the span under way, and of the one before.
    quickest: [i32; 2],
    quickest_since: Instant,
    /// The queue of the last look.
    queue: i32,
    /// All bytes sent, and how many at the last look.
    sent: [u64; 2],
    /// The viewer tells more than receiver reports do.
    told: bool,
}

/// What came of the packets since the last look.
#[derive(Clone, Copy)]
struct Tally {
    arrived: u32,
    lost: u32,
    bytes: u64,
    least: i32,
    /// When the first and the last of them came.
    span: Option<[u32; 2]>,
}

const NOTHING: Tally = Tally { arrived: 0, lost: 0, bytes: 0, least: i32::MAX, span: None };

impl Estimator {
    /// One for a viewer whose feedback tells of every packet remembers some
    /// of them.
    pub(super) fn new(now: Instant, every_packet: bool) -> Self {
        let remembered = if every_packet { REMEMBERED } else { 0 };
        Self {
            origin: now,
            departures: vec![Departure::default(); remembered].into(),
            look: NOTHING,
            looked: now,
            offset: None,
            quickest: [i32::MAX; 2],
            quickest_since: now,
            queue: 0,
            sent: [0; 2],
            told: every_packet,
        }
    }

    /// Bytes went out; with transport-wide feedback as the packet `number`.
    pub(super) fn sent(&mut self, now: Instant, number: u16, bytes: usize) {
        self.sent[0] += bytes as u64;
        if self.departures.is_empty() {
            return;
        }
        let at = (now.saturating_duration_since(self.origin).as_micros() / 250) as u32;
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX).max(1);
        self.departures[usize::from(number) % REMEMBERED] = Departure { number, bytes, at };
    }

    /// Transport-wide feedback has come.
    pub(super) fn feedback(&mut self, now: Instant, fates: &[Fate]) -> Option<Look> {
        for fate in fates {
            self.note(fate);
        }
        let waited = now.saturating_duration_since(self.looked);
        let Tally { arrived, lost, bytes, least, span } = self.look;
        let most_lost = lost > arrived && lost >= 2 * NO_CHANCE;
        let look = if most_lost { SHORT_LOOK } else { LOOK };
        if waited < look || arrived + lost < ENOUGH {
            return None;
        }
        if now.saturating_duration_since(self.quickest_since) >= QUICKEST_OF {
            self.quickest = [i32::MAX, self.quickest[0]];
            self.quickest_since = now;
        }
        self.quickest[0] = self.quickest[0].min(least);
        let base = self.quickest[0].min(self.quickest[1]);
        let before = self.queue;
        // Without an arrival nothing is known of it.
        self.queue = if arrived > 0 { least.saturating_sub(base) } else { before };
        let loss = f64::from(lost) / f64::from(arrived + lost);
        let growth = self.queue.saturating_sub(before);
        let stands =
            self.queue > QUEUE && (growth > GROWTH || loss > FULL_LOSS || self.queue > LONG_QUEUE);
        let state = if stands && (growth > HALF_GROWTH || loss > HALF_LOSS) {
            State::Choked
        } else if stands || (loss > MUCH_LOSS && lost >= NO_CHANCE) {
            State::Strained
        } else if self.queue < NO_QUEUE && loss < SOME_LOSS {
            State::Clear
        } else {
            State::Fair
        };
        // By the viewer's clock, or reports that come in lumps would mislead.
        let units = span.map_or(0, |[first, last]| last.wrapping_sub(first));
        let seconds = (f64::from(units) / 4_000.0).max(SHORT_LOOK.as_secs_f64());
        (self.look, self.looked) = (NOTHING, now);
        Some(Look { state, carried: (bytes as f64 * 8.0 / seconds) as u64 })
    }

    fn note(&mut self, fate: &Fate) {
        let Some(slot) = self.departures.get_mut(usize::from(fate.number) % REMEMBERED) else {
            return;
        };
        if slot.number != fate.number || slot.bytes == 0 {
            return;
        }
        let Departure { bytes, at, .. } = *slot;
        let Some(arrived) = fate.arrived else {
            self.look.lost += 1;
            return;
        };
        // What is told lost may still come, but comes once.
        slot.bytes = 0;
        let offset = *self.offset.get_or_insert(arrived.wrapping_sub(at));
        let delay = arrived.wrapping_sub(at).wrapping_sub(offset) as i32;
        let look = &mut self.look;
        look.arrived += 1;
        look.bytes += u64::from(bytes);
        look.least = look.least.min(delay);
        let [first, _] = *look.span.get_or_insert([arrived; 2]);
        look.span = Some([first, arrived]);
    }

    /// The viewer says what its way carries.
    pub(super) fn remb(&mut self, now: Instant, carried: u64) -> Option<Look> {
        if !self.departures.is_empty() {
            return None;
        }
        self.told = true;
        let rate = self.rate(now)?;
        // A viewer believes in half as much again as it gets, at most.
        let state = if carried < rate / 10 * 9 { State::Strained } else { State::Clear };
        Some(Look { state, carried })
    }

    /// A receiver report has come, with a share of packets that did not.
    pub(super) fn reception(&mut self, now: Instant, loss: f64) -> Option<Look> {
        if self.told {
            return None;
        }
        let rate = self.rate(now)?;
        let state = match loss {
            loss if loss > MUCH_LOSS => State::Strained,
            loss if loss > SOME_LOSS => State::Fair,
            _ => State::Clear,
        };
        Some(Look { state, carried: (rate as f64 * (1.0 - loss.clamp(0.0, 1.0))) as u64 })
    }

    /// Bits a second sent since the last look; `None` if that was just now.
    fn rate(&mut self, now: Instant) -> Option<u64> {
        let waited = now.saturating_duration_since(self.looked);
        if waited < LOOK {
            return None;
        }
        let bits = (self.sent[0] - self.sent[1]) as f64 * 8.0;
        (self.looked, self.sent[1]) = (now, self.sent[0]);
        Some((bits / waited.as_secs_f64()) as u64)
    }
}

#[cfg(test)]
#[path = "estimator_tests.rs"]
mod tests;
