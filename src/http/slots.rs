//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory;
use crate::networks::{Networks, household};

/// Caps of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Connections at once; each costs about 20 kB.
    pub connections: usize,
    /// Connections at once from one address (IPv6: one /64, which is one
    /// household).
    pub per_address: usize,
    /// Addresses that stand for many: reverse proxies, and this machine.
    pub crowds: Networks,
}

impl Default for Caps {
    /// A browser holds six connections to one host; an office behind one
    /// address has dozens of them.
    fn default() -> Self {
        Self { connections: 4_096, per_address: 256, crowds: Networks::loopback() }
    }
}

/// Who is connected.
pub(super) struct Slots {
    caps: Caps,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Never holds a zero, so never more entries than connections.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, given back when it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    counted: Option<IpAddr>,
}

impl Slots {
    pub(super) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, taken: Mutex::default() })
    }

    /// A place for one more connection from `address`; else the reason for the
    /// metric.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, &'static str> {
        let counted = (!self.caps.crowds.contain(address)).then(|| household(address));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.caps.connections {
            return Err("connections");
        }
        if let Some(address) = counted {
            let own = taken.by_address.entry(address).or_default();
            if *own >= self.caps.per_address {
                return Err("connections_per_address");
            }
            *own += 1;
        }
        taken.all += 1;
        Ok(Slot { slots: Arc::clone(self), counted })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(address) = self.counted
            && let Some(own) = taken.by_address.get_mut(&address)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&address);
                memory::fit(&mut taken.by_address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(connections: usize, per_address: usize) -> Arc<Slots> {
        let crowds = Networks::loopback();
        Slots::new(Caps { connections, per_address, crowds })
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let slots = slots(5, 2);
        let take = |address: &str| slots.take(address.parse().unwrap());
        let first = take("192.0.2.1").ok().unwrap();
        // The same address, as a dual-stack socket shows it.
        let _second = take("::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(take("192.0.2.1").err(), Some("connections_per_address"));
        drop(first);
        let _again = take("192.0.2.1").ok().unwrap();
        // Addresses of one household are one.
        let _v6 = [take("2001:db8::1").ok().unwrap(), take("2001:db8::2").ok().unwrap()];
        assert_eq!(take("2001:db8::ffff:3").err(), Some("connections_per_address"));
        let _other = take("2001:db8:0:1::1").ok().unwrap();
        assert_eq!(take("198.51.100.1").err(), Some("connections"));
    }

    #[test]
    fn a_proxy_stands_for_many_and_nothing_is_kept_of_those_who_left() {
        let slots = slots(100, 1);
        let held: Vec<_> = (0..50).map(|_| slots.take([127, 0, 0, 1].into())).collect();
        assert!(held.iter().all(Result::is_ok));
        drop(held);
        for host in 0..200 {
            drop(slots.take([192, 0, 2, host].into()));
        }
        let taken = slots.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.by_address.is_empty());
    }
}
