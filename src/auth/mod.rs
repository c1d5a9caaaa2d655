//! Access: who may do what with which stream.
//!
//! Here: principals, actions and the one [`Access::authorize`] that every
//! route calls on every request. Not here: HTTP, sessions, routes.

use crate::fault::Fault;
use crate::media::StreamName;

/// Whoever makes a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody in particular.
    Anonymous,
}

/// What a principal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See and hear the stream, in whatever way.
    View,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone may view everything: loopback only, or `auth: none`.
    Open,
}

impl Access {
    /// Whether `principal` may do `action` with `stream`.
    ///
    /// # Errors
    ///
    /// `viewer.auth` or `viewer.forbidden`.
    pub fn authorize(
        &self,
        principal: &Principal,
        action: Action,
        stream: &StreamName,
    ) -> Result<(), Fault> {
        let _ = stream;
        match (self, principal, action) {
            (Self::Open, Principal::Anonymous, Action::View) => Ok(()),
        }
    }
}
