//! HTTP: listeners with limits, and how a fault looks on the wire.
//!
//! Here: accepting connections, TLS, caps and time limits, the gate before
//! every route, whose pages may read, counting requests and viewers, problem
//! documents. Not here: any route (each output, `api` and `pages` bring their
//! own), access rules (`auth`).

mod activity;
mod attended;
mod compression;
mod connection;
mod cors;
mod front;
mod gate;
mod metrics;
mod offers;
mod problem;
mod quality;
mod sent;
mod serve;
mod session_table;
mod sessions;
mod shortcut;
mod slots;
mod stall;
mod tls;

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use attended::Attended;
pub use compression::{gzip, is_chromium_video, takes_gzip};
pub use connection::Scheme;
pub use cors::{BadOrigin, Origin};
pub use front::Front;
pub use gate::{Gate, Policy};
pub use metrics::HttpMetrics;
pub use problem::{Problem, no_such_method, other_method, request_problem};
pub use quality::{adapts, of_quality};
pub use sent::Sent;
pub use serve::{Listener, listen, serve};
pub use session_table::{SessionLine, SessionNews, SessionStart, SessionTable, SessionView};
pub use sessions::{Latency, OutputSessions, SessionMetrics};
pub use shortcut::{Shortcut, Site, Way};
pub use slots::Caps;
pub use tls::{BadCertificate, Tls, TlsFiles};

/// RFC 3339 in UTC, as every time in our JSON and playlists.
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).expect("years between 0 and 9999 always format")
}
