//! HTTP: listeners with limits, and how a fault looks on the wire.
//!
//! Here: accepting connections, time limits, problem documents, the session
//! metrics that outputs share.
//! Not here: any route (each output and `api` brings its own).

mod problem;
mod sessions;

pub use problem::Problem;
pub use sessions::{OutputSessions, SessionMetrics};

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 in UTC, as every time in our JSON and playlists.
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).expect("years between 0 and 9999 always format")
}
