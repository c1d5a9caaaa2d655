//! Where a source may lead.
//!
//! Who writes the configuration file can reach what the gateway reaches; who
//! may only name a URL by the API should not come to this machine's own
//! services, or to a cloud's metadata, by way of us. What counts is the address
//! that is connected to, not a name's: names change what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::networks::Networks;

/// Addresses that a source may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator wrote the URL.
    #[default]
    Anywhere,
    /// Any that a camera has: private networks too, but neither this machine,
    /// nor its link, nor groups, nor a cloud's metadata.
    Cameras,
    /// Those of these networks, and no others.
    Only(Networks),
}

/// Metadata services outside of link-local networks: AWS over IPv6, Alibaba,
/// Azure's wire server, Oracle.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

impl Reach {
    /// Whether a source may have `address`.
    pub fn allows(&self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Only(networks) => networks.contain(address),
            Self::Cameras => is_cameras(address) && !is_ours(address),
        }
    }
}

fn is_cameras(address: IpAddr) -> bool {
    if METADATA.contains(&address.to_canonical()) {
        return false;
    }
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // RFC 1122 §3.2.1.3: 0.0.0.0/8 is this host, or its network.
            let is_this = v4.octets()[0] == 0 || v4.is_loopback();
            // RFC 1112 §4: 240.0.0.0/4 and broadcast are nobody's.
            let is_nobody = v4.is_multicast() || v4.octets()[0] >= 240;
            !(is_this || v4.is_link_local() || is_nobody)
        }
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_cameras(v4.into()),
            None => {
                let is_site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
                !(v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_unicast_link_local()
                    || is_site_local
                    || v6.is_multicast())
            }
        },
    }
}

/// The IPv4 address behind one that leads there by translation.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4-compatible (RFC 4291 §2.5.5.1); :: and ::1 are none.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        // NAT64 (RFC 6052 §2.1, RFC 8215) and 6to4 (RFC 3056 §2).
        [0x64, 0xff9b, _, _, _, _, high, low] | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

/// Whether this machine has it itself: a service that listens everywhere can be
/// reached there.
fn is_ours(address: IpAddr) -> bool {
    let ours = if_addrs::get_if_addrs().unwrap_or_default();
    ours.iter().any(|interface| interface.ip() == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_live_in_private_and_public_networks_and_nowhere_else() {
        for camera in [
            "192.168.1.64",
            "10.20.30.40",
            "172.16.0.9",
            "100.64.0.1",
            "203.0.113.5",
            "fd12:3456::1",
            "2001:db8::5",
            "::ffff:192.168.1.64",
            "64:ff9b::c0a8:140",
        ] {
            assert!(Reach::Cameras.allows(camera.parse().unwrap()), "{camera}");
        }
        for other in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(!Reach::Cameras.allows(other.parse().unwrap()), "{other}");
            assert!(Reach::Anywhere.allows(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn this_machines_own_addresses_are_no_cameras() {
        for interface in if_addrs::get_if_addrs().unwrap() {
            assert!(!Reach::Cameras.allows(interface.ip()), "{}", interface.ip());
        }
    }

    #[test]
    fn a_list_says_it_all() {
        let only = Reach::Only("127.0.0.0/8".parse().unwrap());
        assert!(only.allows("127.0.0.1".parse().unwrap()));
        assert!(only.allows("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!only.allows("192.168.1.64".parse().unwrap()));
    }
}
