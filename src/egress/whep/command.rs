//! What a fan-out is told.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::ice::Restart;
use super::link::Via;
use super::switchboard::SessionId;
use super::viewer::Viewer;

/// Commands waiting for a fan-out; beyond that datagrams are thrown away.
pub(super) const MAX_COMMANDS: usize = 4096;

/// One thing to do.
pub(super) enum Command {
    Join(SessionId, Box<Viewer>),
    Datagram {
        viewer: SessionId,
        from: SocketAddr,
        via: Via,
        /// When it came.
        at: Instant,
        data: BytesMut,
    },
    Candidates(SessionId, Vec<String>),
    Restart(SessionId, Box<Restart>),
    Leave(SessionId, &'static str),
    /// Says goodbye to everybody.
    Close,
}
