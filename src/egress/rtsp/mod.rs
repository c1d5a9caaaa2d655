//! RTSP server: streams from the bus, republished to NVRs, VLC and ffmpeg.
//!
//! Here: RTSP 1.0 (RFC 2326) over TCP with interleaved RTP, the SDP, and when
//! packets and sender reports go out. The path of the URL is the stream's name:
//! `rtsp://gateway:8554/front-door`; its substream's is `…/front-door/sub`.
//! Not here: RTP over UDP (a UDP SETUP gets 461, and clients turn to TCP),
//! RTP/JPEG, recording, and the camera side (`ingest`).
//!
//! Promise: a client starts at the newest key frame; one that reads too
//! slowly misses pictures, resumes at a key frame and costs no other viewer
//! anything; every message, wait and connection count has a cap.
//!
//! `message` parses and writes without I/O, `sdp` is pure, `login` asks who a
//! client is, `outlet` is one track on its way to it, `session` one client,
//! `serve` the sockets.

#[cfg(fuzzing)]
pub mod fuzzing;
mod login;
mod message;
mod outlet;
mod sdp;
mod serve;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use serve::serve;

use crate::auth::Access;
use crate::bus::Registry;
use crate::http::OutputSessions;

/// What an operator may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; `None` switches the output off.
    pub listen: Option<SocketAddr>,
}

/// What the server needs from the house.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// Who may see them.
    pub access: Arc<Access>,
    /// Who plays is counted and listed here.
    pub sessions: OutputSessions,
    /// Set once we are stopping: who plays goes on, nobody new begins.
    pub draining: Arc<AtomicBool>,
}
