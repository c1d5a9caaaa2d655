//! Where log lines go: standard error, as text or JSON.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::panics;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

/// Starts logging; `RUST_LOG` chooses what, `info` and above by default.
///
/// Libraries speak only when asked: theirs are words of their own trade, and
/// what matters of them reaches the user as a fault of the catalogue.
pub(super) fn start(format: Option<Format>) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off,porthole=info"));
    let text = stderr().is_terminal();
    let format = format.unwrap_or(if text { Format::Text } else { Format::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        Format::Text => builder.with_target(false).with_ansi(text).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a second call can fail, and then the first one's format stands.
    let _ = started;
    panics::to_the_log();
}
