//! What a stream's source is doing, as every output shows it.

use std::time::SystemTime;

use crate::fault::Fault;

/// Where the source is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// On demand, and nobody watches.
    Idle,
    /// Connecting, or connected without a first frame yet.
    Connecting,
    /// Frames arrive.
    Live,
    /// Failed; waiting for the next attempt.
    Down,
}

impl SourceState {
    /// Every state, for metrics.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Connecting, Self::Live, Self::Down];

    /// The word in JSON and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Down => "down",
        }
    }
}

/// A remark that does not stop the stream, such as a track left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(pub Fault);

/// State of a source and, while it is not live, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Where it is.
    pub state: SourceState,
    /// Since when.
    pub since: SystemTime,
    /// The last failure; kept while reconnecting, cleared when live.
    pub fault: Option<Fault>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// When the next attempt is due, while `Down`.
    pub next_retry: Option<SystemTime>,
    /// Remarks on the current session.
    pub notes: Vec<Note>,
    /// The camera's URL, password masked.
    pub source: String,
}

impl SourceStatus {
    /// A source that has not been tried yet.
    pub fn new(state: SourceState, since: SystemTime, source: impl Into<String>) -> Self {
        Self {
            state,
            since,
            fault: None,
            attempts: 0,
            next_retry: None,
            notes: Vec::new(),
            source: source.into(),
        }
    }
}
