//! WHEP: WebRTC for viewers (draft-ietf-wish-whep).
//!
//! Here: the HTTP side (`routes`, `resource`, `offer`, `codec`, `answer`,
//! `fragment`), sessions (`sessions`) and who drives them: a task per stream and
//! media thread (`tasks`, `fanout`, `round`, `viewer`,
//! `programme`, `sound`, `pace`, `place`, `newcomers`),
//! frames as RTP payloads (`packetizer`, `narrowband`), the engine behind a narrow interface
//! (`engine`, with `ice`, `dtls`, `srtp`, `sender` and `feedback`), and the one UDP
//! port of all viewers (`socket`, `reader`, `switchboard`); `ahead` asks the
//! cache for what comes next.
//! Not here: cameras, transcoding, players.
//!
//! Promise: a viewer's first picture is the newest key frame there is, not the
//! camera's next one; an offer that cannot be served gets a problem that says
//! why, never a connection without a picture. A frame is cut into packets once
//! per stream, and read from the bus once per media thread, whatever the number
//! of viewers; for each of them it is sealed once, in the buffer it is sent from.

mod addresses;
mod ahead;
mod answer;
mod backlog;
mod candidates;
mod codec;
mod command;
mod cuts;
mod dtls;
mod engine;
mod estimator;
mod fanout;
mod feedback;
mod fragment;
#[cfg(fuzzing)]
pub mod fuzzing;
mod group;
mod ice;
mod ladder;
mod ledger;
mod link;
mod metrics;
mod names;
mod narrowband;
mod newcomers;
mod nomination;
mod offer;
mod pace;
mod packetizer;
mod place;
mod programme;
mod reader;
mod reminders;
mod resource;
mod round;
mod routes;
mod sender;
mod sessions;
mod shared;
mod socket;
mod sound;
mod srtp;
mod stamps;
mod stun;
mod sub;
mod switchboard;
mod tasks;
mod tcp;
mod transport;
mod transport_feedback;
mod viewer;

use std::net::{Ipv4Addr, SocketAddr};

pub use metrics::Metrics;
pub use routes::{Deps, routes};
pub use sessions::Whep;

/// Settings of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The one port of all viewers, for UDP and TCP.
    pub listen: SocketAddr,
    /// Addresses or names, each with or without a port, under which viewers
    /// reach us, beyond those of the interfaces: for NAT and containers.
    pub advertise: Vec<String>,
    /// STUN and TURN servers, passed on to viewers.
    pub ice_servers: Vec<IceServer>,
    /// Most sessions at once.
    pub max_viewers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8189),
            advertise: Vec::new(),
            ice_servers: Vec::new(),
            // Several times what the largest machine we measured can carry.
            max_viewers: 5_000,
        }
    }
}

/// A STUN or TURN server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:` or `turn:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN; every viewer gets to see it.
    pub credential: Option<String>,
}
