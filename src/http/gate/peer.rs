//! Where a request really comes from.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::networks::Networks;

/// Whoever made a request.
pub(super) struct Peer {
    /// Its address; `None` behind a proxy whose word does not count.
    pub(super) address: Option<IpAddr>,
}

/// Headers that only a proxy writes.
const FORWARDED: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

impl Peer {
    /// The last address in `X-Forwarded-For` that is no trusted proxy's: each
    /// proxy appends whom it saw, and what stands before was written by whom
    /// we do not know.
    pub(super) fn of(connected: Option<IpAddr>, headers: &HeaderMap, trusted: &Networks) -> Self {
        let Some(connected) = connected.map(|ip| ip.to_canonical()) else {
            return Self { address: None };
        };
        if !trusted.contain(connected) {
            // It may stand for anybody: no network may be taken for granted.
            let hidden = FORWARDED.iter().any(|name| headers.contains_key(*name));
            return Self { address: (!hidden).then_some(connected) };
        }
        let values = headers.get_all("x-forwarded-for");
        let list: Vec<&str> = values
            .iter()
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .map(str::trim)
            .collect();
        let mut address = Some(connected);
        for hop in list.iter().rev() {
            let hop: Option<IpAddr> = hop.parse().ok();
            address = hop;
            if hop.is_none_or(|hop| !trusted.contain(hop)) {
                break;
            }
        }
        Self { address }
    }

    pub(super) fn is_in(&self, networks: &Networks) -> bool {
        self.address.is_some_and(|address| networks.contain(address))
    }

    /// Whether it is this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.is_some_and(|address| address.to_canonical().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_believed_only_from_those_who_are_trusted() {
        let trusted: Networks = ["10.0.0.1", "10.0.0.2"].iter().flat_map(|t| t.parse()).collect();
        let address = |connected: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let peer = Peer::of(connected.parse().ok(), &headers, &trusted);
            peer.address.map(|address| address.to_string())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(address("192.0.2.9", &[]), is("192.0.2.9"));
        assert_eq!(address("192.0.2.9", &["10.0.0.7"]), None, "a proxy nobody named");
        assert_eq!(address("10.0.0.1", &[]), is("10.0.0.1"));
        assert_eq!(address("10.0.0.1", &["192.0.2.9"]), is("192.0.2.9"));
        assert_eq!(address("::ffff:10.0.0.1", &["192.0.2.9"]), is("192.0.2.9"));
        // What the client wrote itself stands first, and does not count.
        assert_eq!(address("10.0.0.1", &["10.1.2.3, 192.0.2.9"]), is("192.0.2.9"));
        assert_eq!(address("10.0.0.1", &["10.1.2.3", "192.0.2.9, 10.0.0.2"]), is("192.0.2.9"));
        assert_eq!(address("10.0.0.1", &["192.0.2.9, nonsense"]), None);
    }
}
