//! Which viewer a datagram is for, and the viewers there are.
//!
//! A STUN request names its receiver. Everything else is known by the address
//! it comes from, once the engine has answered a request from there, which it
//! does only where the request's integrity is proven.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::newcomers::Newcomers;
use super::socket::Arrival;
use super::stun::{self, Kind};
use crate::auth::Principal;
use crate::media::StreamName;
use crate::memory;

/// 128 random bits: who knows them owns the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionId(u128);

impl SessionId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// Enough to follow a session through the log, too little to end it.
    pub(super) fn short(self) -> String {
        format!("{:08x}", self.0 >> 96)
    }

    /// From a path segment, as [`std::fmt::Display`] writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A fan-out, by number: numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TaskId(pub(super) u64);

/// Where a session's viewer lives.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) stream: StreamName,
    pub(super) principal: Principal,
    /// The `ice-ufrag` of the viewer's offer.
    pub(super) remote_ufrag: String,
    /// Ours; also the entity tag, since an ICE restart would change it.
    pub(super) ufrag: String,
    pub(super) task: TaskId,
    /// Its viewer has been heard of.
    pub(super) heard: bool,
}

/// The tables.
#[derive(Default)]
pub(super) struct Switchboard {
    sessions: HashMap<SessionId, Session>,
    by_ufrag: HashMap<String, SessionId>,
    by_address: HashMap<SocketAddr, SessionId>,
    newcomers: Newcomers,
}

impl Switchboard {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn add(&mut self, now: Instant, id: SessionId, session: Session) {
        self.newcomers.add(now, id);
        self.by_ufrag.insert(session.ufrag.clone(), id);
        self.sessions.insert(id, session);
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            if !session.heard {
                self.newcomers.remove(id);
            }
            self.by_ufrag.remove(&session.ufrag);
            self.by_address.retain(|_, viewer| *viewer != id);
            memory::fit(&mut self.sessions);
            memory::fit(&mut self.by_ufrag);
            memory::fit(&mut self.by_address);
        }
    }

    /// The session's viewer has shown that it is there: it knows what only our
    /// answer told it.
    pub(super) fn heard(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut session.heard, true)
        {
            self.newcomers.remove(id);
        }
    }

    /// A session that has to go, and who serves it: more wait for their viewers
    /// than there is room for.
    pub(super) fn crowded_out(&mut self, now: Instant) -> Option<(SessionId, TaskId)> {
        let id = self.newcomers.crowded_out(now)?;
        Some((id, self.sessions.get(&id)?.task))
    }

    /// The session is known by another `ice-ufrag` from now on; addresses that
    /// have proven to be the viewer's stay so.
    pub(super) fn rename(&mut self, id: SessionId, ufrag: &str, remote_ufrag: &str) {
        if let Some(session) = self.sessions.get_mut(&id) {
            self.by_ufrag.remove(&session.ufrag);
            self.by_ufrag.insert(ufrag.to_owned(), id);
            ufrag.clone_into(&mut session.ufrag);
            remote_ufrag.clone_into(&mut session.remote_ufrag);
        }
    }

    /// The sessions for which `holds` is not true, and who serves them.
    pub(super) fn unlike(
        &self,
        holds: impl Fn(&Principal, &StreamName) -> bool,
    ) -> Vec<(SessionId, TaskId)> {
        let unlike = |session: &Session| !holds(&session.principal, &session.stream);
        let found = self.sessions.iter().filter(|(_, session)| unlike(session));
        found.map(|(id, session)| (*id, session.task)).collect()
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// `address` has proven to be the viewer's.
    pub(super) fn bind(&mut self, address: SocketAddr, id: SessionId) {
        if self.sessions.contains_key(&id) {
            self.by_address.insert(address, id);
        }
    }

    /// Whom a datagram is for; else why it is thrown away.
    pub(super) fn find(
        &mut self,
        arrival: Arrival<'_>,
    ) -> Result<(SessionId, TaskId), &'static str> {
        match Kind::of(arrival.data) {
            Kind::Unknown => Err("not_webrtc"),
            Kind::Stun if stun::receiver_ufrag(arrival.data).is_some() => self.named(arrival),
            Kind::Stun | Kind::Media => {
                self.seated(*self.by_address.get(&arrival.from).ok_or("no_session")?)
            }
        }
    }

    /// Whom a check names; nobody is told by the address it came from.
    pub(super) fn named(
        &mut self,
        arrival: Arrival<'_>,
    ) -> Result<(SessionId, TaskId), &'static str> {
        let check = Kind::of(arrival.data) == Kind::Stun;
        let ufrag = stun::receiver_ufrag(arrival.data).filter(|_| check).ok_or("not_webrtc")?;
        let id = *self.by_ufrag.get(ufrag).ok_or("no_session")?;
        self.heard(id);
        self.seated(id)
    }

    fn seated(&self, id: SessionId) -> Result<(SessionId, TaskId), &'static str> {
        let session = self.sessions.get(&id).ok_or("no_session")?;
        Ok((id, session.task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = SessionId::random();
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        for bad in ["", "0", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(SessionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn media_is_known_by_address_only_and_only_after_proof() {
        let (id, from) = (SessionId::random(), "192.0.2.7:5".parse().unwrap());
        let mut board = Switchboard::default();
        let session = Session {
            stream: "yard".parse().unwrap(),
            principal: Principal::Anonymous,
            remote_ufrag: "theirs".into(),
            ufrag: "ours".into(),
            task: TaskId(1),
            heard: false,
        };
        let at = Instant::now();
        board.add(at, id, session);
        let dtls = Arrival { from, to: None, at, data: &[22, 0] };
        assert_eq!(board.find(dtls).err(), Some("no_session"));
        board.bind(from, id);
        assert_eq!(board.find(dtls).map(|(id, _)| id).ok(), Some(id));
        let other = Arrival { data: b"GET / HTTP/1.1", ..dtls };
        assert_eq!(board.find(other).err(), Some("not_webrtc"));
        board.remove(id);
        assert_eq!(board.find(dtls).err(), Some("no_session"));
        assert!(board.by_ufrag.is_empty() && board.by_address.is_empty());
    }
}
