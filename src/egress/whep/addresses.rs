//! A viewer's proven addresses, and how each is reached.

use std::net::SocketAddr;
use std::sync::Arc;

use super::link::{Route, Via};

/// Addresses remembered for one viewer; a phone on the move has a few.
const MAX_ADDRESSES: usize = 8;

/// TCP connections it may have beside them: one to each of ours it knows.
const MAX_LINKS: usize = 8;

/// The table. Its connections end with it.
#[derive(Default)]
pub(super) struct Addresses {
    /// Most viewers have one. It lies with what else a picture needs.
    first: Option<Route>,
    more: Vec<Route>,
}

impl Addresses {
    /// Remembers where the viewer has proven to be; whether that is new, and
    /// there is room. What is known is reached as it last reached us: a reply
    /// from another address of ours would be thrown away (RFC 8445
    /// §7.2.5.2.1).
    pub(super) fn learn(&mut self, back: &Route) -> bool {
        let known = self.first.iter_mut().chain(&mut self.more).find(|known| known.to == back.to);
        if let Some(known) = known {
            let before = std::mem::replace(&mut known.via, back.via.clone());
            if let (Via::Tcp(old), Via::Tcp(new)) = (&before, &back.via)
                && !Arc::ptr_eq(old, new)
            {
                old.finish();
                new.prove();
            }
            return false;
        }
        let links = self.all().filter(|known| matches!(known.via, Via::Tcp(_))).count();
        let room = match &back.via {
            Via::Udp(_) => self.all().count() - links < MAX_ADDRESSES,
            Via::Tcp(_) => links < MAX_LINKS,
        };
        if room {
            if let Via::Tcp(link) = &back.via {
                link.prove();
            }
            match &self.first {
                None => self.first = Some(back.clone()),
                Some(_) => self.more.push(back.clone()),
            }
        }
        room
    }

    fn all(&self) -> impl Iterator<Item = &Route> {
        self.first.iter().chain(&self.more)
    }

    /// Whether the viewer was never heard from.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The way to an address; for one not proven yet, the kernel's.
    pub(super) fn route(&self, to: SocketAddr) -> Route {
        let known = self.all().find(|known| known.to == to);
        known.cloned().unwrap_or(Route { to, via: Via::Udp(None) })
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        for route in self.all() {
            if let Via::Tcp(link) = &route.via {
                link.finish();
            }
        }
    }
}
