//! Sequence numbers of 16 bits to ones that never wrap (RFC 3550 §A.1).

/// A jump ahead by more than this is perhaps a new start (RFC 3550 §A.1).
const MAX_DROPOUT: i16 = 3_000;
/// A jump back by more than this is too; as many packets as we ever reorder.
const MAX_MISORDER: i16 = 512;
/// Numbers behind the newest of which we know whether they came.
const HISTORY: u64 = 1_024;
/// Room for numbers below the first.
const CYCLE: u64 = 1 << 16;

/// Numbers of one source.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    newest: u64,
    /// One bit for each of the last `HISTORY` numbers.
    seen: [u64; (HISTORY / 64) as usize],
}

/// Where a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Newer than all before.
    Ahead(u64),
    /// Overtaken by others.
    Behind(u64),
    Duplicate,
    /// Far ahead; a new start, or much is lost.
    FarAhead(u64),
    /// Far behind; a new start.
    FarBehind,
}

impl Sequence {
    /// Begins with the first number.
    pub(super) fn new(first: u16) -> Self {
        Self::from(CYCLE + u64::from(first))
    }

    /// Begins anew, above all numbers so far.
    pub(super) fn restarted(&self, first: u16) -> Self {
        Self::from((self.newest / CYCLE + 2) * CYCLE + u64::from(first))
    }

    fn from(newest: u64) -> Self {
        let mut sequence = Self { newest, seen: [0; (HISTORY / 64) as usize] };
        sequence.mark(newest);
        sequence
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Where a number stands; nothing is noted yet.
    pub(super) fn place(&self, number: u16) -> Place {
        let step = number.wrapping_sub(self.newest as u16) as i16;
        let at = self.newest.wrapping_add_signed(step.into());
        match step {
            0 => Place::Duplicate,
            1..=MAX_DROPOUT => Place::Ahead(at),
            _ if step > 0 => Place::FarAhead(at),
            _ if step < -MAX_MISORDER => Place::FarBehind,
            _ if self.seen[slot(at)] & bit(at) != 0 => Place::Duplicate,
            _ => Place::Behind(at),
        }
    }

    /// Notes that a number came.
    pub(super) fn take(&mut self, at: u64) {
        if at > self.newest {
            // The slots between now stand for numbers that have not come.
            for gone in self.newest + 1..=at.min(self.newest + HISTORY) {
                self.seen[slot(gone)] &= !bit(gone);
            }
            if at - self.newest > HISTORY {
                self.seen = [0; (HISTORY / 64) as usize];
            }
            self.newest = at;
        }
        self.mark(at);
    }

    fn mark(&mut self, at: u64) {
        self.seen[slot(at)] |= bit(at);
    }
}

fn slot(at: u64) -> usize {
    (at % HISTORY / 64) as usize
}

fn bit(at: u64) -> u64 {
    1 << (at % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_16_bits_wrap() {
        let mut sequence = Sequence::new(65_535);
        let Place::Ahead(next) = sequence.place(0) else { panic!("not ahead") };
        assert_eq!(next, sequence.newest() + 1);
        sequence.take(next);
        assert_eq!(sequence.place(65_534), Place::Behind(next - 2));
        assert_eq!(sequence.place(65_535), Place::Duplicate);
    }

    #[test]
    fn duplicates_are_told_from_those_that_come_late() {
        let mut sequence = Sequence::new(100);
        sequence.take(sequence.newest() + 3);
        assert_eq!(sequence.place(100), Place::Duplicate);
        assert_eq!(sequence.place(103), Place::Duplicate);
        let Place::Behind(late) = sequence.place(102) else { panic!("not behind") };
        sequence.take(late);
        assert_eq!(sequence.place(102), Place::Duplicate);
        assert_eq!(sequence.place(101), Place::Behind(late - 1));
        // The same bits, a whole history later.
        sequence.take(sequence.newest() + HISTORY + 1);
        assert_eq!(sequence.place(102 + 1024), Place::Behind(late + 1024));
        sequence.take(sequence.newest() + 2 * HISTORY);
        assert!(matches!(sequence.place(sequence.newest() as u16 - 300), Place::Behind(_)));
    }

    #[test]
    fn far_jumps_are_named() {
        let sequence = Sequence::new(20_000);
        assert!(matches!(sequence.place(23_000), Place::Ahead(_)));
        assert!(matches!(sequence.place(23_001), Place::FarAhead(_)));
        assert!(matches!(sequence.place(19_488), Place::Behind(_)));
        assert_eq!(sequence.place(19_487), Place::FarBehind);
        assert!(sequence.restarted(5).newest() > sequence.newest() + (1 << 15));
    }
}
