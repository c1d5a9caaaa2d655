//! Lists of networks, as `10.0.0.0/8` or `2001:db8::/32`. A leaf room: who may come in,
//! and where we go, is asked in several.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Networks that something is said of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is an address, or one with a prefix, such as 10.0.0.0/8")]
pub struct BadNetwork;

impl Networks {
    /// This machine.
    pub fn loopback() -> Self {
        Self(vec![IpNet::new_assert([127, 0, 0, 0].into(), 8), IpAddr::from(LOOPBACK).into()])
    }

    /// Whether `address` is in one of them. An IPv4 address that a dual-stack
    /// socket shows as IPv6 is the IPv4 address it stands for.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each as it would be written.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        self.0.extend(&others.0);
        self
    }
}

/// `::1`.
const LOOPBACK: [u16; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

impl FromStr for Networks {
    type Err = BadNetwork;

    /// One network, or one address.
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse().or_else(|_| address()).map_err(|_| BadNetwork)?;
        Ok(Self(vec![network]))
    }
}

impl FromIterator<Self> for Networks {
    fn from_iter<T: IntoIterator<Item = Self>>(lists: T) -> Self {
        Self(lists.into_iter().flat_map(|list| list.0).collect())
    }
}

/// What one party has at its disposal: an IPv4 address, or an IPv6 /64.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_however_it_is_spelt() {
        let list: Networks =
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].iter().flat_map(|s| s.parse()).collect();
        for inside in ["10.255.0.1", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:ffff::1"] {
            assert!(list.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "::ffff:192.0.2.8", "2001:db9::", "::1", "::"] {
            assert!(!list.contain(outside.parse().unwrap()), "{outside}");
        }
        assert!(Networks::loopback().contain("::ffff:127.9.9.9".parse().unwrap()));
        assert!(Networks::loopback().contain("::1".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0", "host", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }
}
