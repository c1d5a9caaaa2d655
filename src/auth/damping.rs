//! Guessing, slowed down: an address that was wrong too often is not heard for
//! a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::networks::household;

/// Wrong passwords from one address within [`WINDOW`]. A household with an old
/// password in three players stays below it for a while; 600 guesses an hour
/// find no password worth the name.
const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered; at some 50 bytes each.
const ADDRESSES: usize = 10_000;

/// Who was wrong lately.
#[derive(Default)]
pub(super) struct Damping(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Damping {
    fn table(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether credentials from `address` may be looked at.
    pub(super) fn hears(&self, address: IpAddr, now: Instant) -> bool {
        let table = self.table();
        let failures = table.get(&household(address));
        failures.is_none_or(|f| f.count < FAILURES || now.duration_since(f.since) >= WINDOW)
    }

    /// Everybody is heard again.
    pub(super) fn forgive(&self) {
        self.table().clear();
    }

    /// Credentials from `address` were wrong.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut table = self.table();
        if table.len() >= ADDRESSES {
            table.retain(|_, failures| now.duration_since(failures.since) < WINDOW);
            // So many at once are one party; its earlier guesses are forgiven
            // rather than our memory given to it.
            if table.len() >= ADDRESSES {
                table.clear();
            }
        }
        let failures = table.entry(household(address)).or_insert(Failures { count: 0, since: now });
        if now.duration_since(failures.since) >= WINDOW {
            *failures = Failures { count: 0, since: now };
        }
        failures.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_guesses_is_not_heard_for_a_minute_and_others_are() {
        let (damping, now) = (Damping::default(), Instant::now());
        let guesser: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..FAILURES {
            assert!(damping.hears(guesser, now));
            damping.failed(guesser, now);
        }
        assert!(!damping.hears(guesser, now));
        assert!(!damping.hears("2001:db8::2".parse().unwrap(), now), "the same household");
        assert!(damping.hears("2001:db9::1".parse().unwrap(), now));
        assert!(damping.hears(guesser, now + WINDOW));
        damping.failed(guesser, now + WINDOW);
        assert!(damping.hears(guesser, now + WINDOW), "a new minute");
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let (damping, now) = (Damping::default(), Instant::now());
        for address in 0..30_000_u32 {
            damping.failed(IpAddr::V4(address.into()), now);
        }
        assert!(damping.table().len() <= ADDRESSES);
    }
}
