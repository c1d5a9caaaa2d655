//! Whether sound goes to a viewer whose way is narrow. G.711 alone takes 90
//! kbit/s, and who watches a camera would rather see than hear it: where sound
//! would take more than its share, it is held back, so that pictures come.

use std::time::{Duration, Instant};

use super::packetizer::Packets;

/// Sound may take one part in so many of what a narrow way carries.
const SHARE: u64 = 2;

/// Its bit rate is measured over so long.
const SPAN: Duration = Duration::from_secs(1);

/// Once the way is wide again it has to stay so for this long: sound that comes
/// and goes with each attempt is worse than none.
const WIDE_FOR: Duration = Duration::from_secs(4);

/// Of RTP, SRTP, UDP and IP: more than half of what a packet of 20 ms takes.
const HEADERS: usize = 56;

/// The sound of one viewer.
#[derive(Debug, Default)]
pub(super) struct Sound {
    /// Since when, and how many bytes have come since.
    span: Option<(Instant, usize)>,
    /// Bits a second.
    rate: Option<u64>,
    held: bool,
    wide_since: Option<Instant>,
}

impl Sound {
    /// Whether it is held back.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Notes sound that has come; whether it is to be sent. `carried` is what a
    /// narrow way carries, in bits a second.
    pub(super) fn passes(&mut self, now: Instant, packets: &Packets, carried: Option<u64>) -> bool {
        self.measure(now, packets);
        match (carried, self.rate) {
            (Some(carried), Some(rate)) => {
                self.held |= rate * SHARE > carried;
                self.wide_since = None;
            }
            (None, _) if self.held => {
                let since = *self.wide_since.get_or_insert(now);
                self.held = now.saturating_duration_since(since) < WIDE_FOR;
            }
            _ => {}
        }
        !self.held
    }

    fn measure(&mut self, now: Instant, packets: &Packets) {
        let (since, bytes) = self.span.get_or_insert((now, 0));
        let waited = now.saturating_duration_since(*since);
        if waited >= SPAN {
            self.rate = Some((*bytes as f64 * 8.0 / waited.as_secs_f64()) as u64);
            (*since, *bytes) = (now, 0);
        }
        *bytes += packets.bytes() + HEADERS * packets.payloads.len();
    }
}

#[cfg(test)]
mod tests {
    use super::super::packetizer::sound;
    use super::*;

    /// PCMA of 20 ms, for so long: whether all, or none, of it passed.
    fn seconds(
        held: &mut Sound,
        now: &mut Instant,
        seconds: u32,
        carried: Option<u64>,
    ) -> Option<bool> {
        let packets = sound(160);
        let mut passed = (0..seconds * 50).map(|_| {
            *now += Duration::from_millis(20);
            held.passes(*now, &packets, carried)
        });
        let first = passed.next()?;
        passed.all(|one| one == first).then_some(first)
    }

    #[test]
    fn sound_that_would_take_most_of_a_narrow_way_is_held_back_until_that_is_wide() {
        let (mut held, mut now) = (Sound::default(), Instant::now());
        assert_eq!(seconds(&mut held, &mut now, 3, None), Some(true));
        let rate = held.rate.unwrap();
        assert!((84_000..90_000).contains(&rate), "{rate}");
        assert_eq!(seconds(&mut held, &mut now, 20, Some(64_000)), Some(false));
        assert!(held.is_held());
        // An attempt that fails is not heard.
        assert_eq!(seconds(&mut held, &mut now, 3, None), Some(false));
        assert_eq!(seconds(&mut held, &mut now, 3, Some(64_000)), Some(false));
        assert_eq!(seconds(&mut held, &mut now, 4, None), Some(false));
        assert_eq!(seconds(&mut held, &mut now, 10, None), Some(true));
        assert!(!held.is_held());
    }

    #[test]
    fn sound_that_leaves_most_of_a_narrow_way_passes() {
        let (mut held, mut now) = (Sound::default(), Instant::now());
        assert_eq!(seconds(&mut held, &mut now, 20, Some(200_000)), Some(true));
    }
}
