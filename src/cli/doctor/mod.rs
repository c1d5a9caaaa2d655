//! `porthole doctor`: why does my camera not play?

mod report;
mod verdict;

use std::io::IsTerminal;

use clap::Args;

use super::{DONE, SOFTWARE, USAGE};
use crate::ingest::{Source, Transport, probe};

/// The source cannot be reached.
const UNREACHABLE: u8 = 69;

/// Connect to a camera once, look for a few seconds, and report.
///
/// Says whether it can be reached and how it asks for a login, what it offers
/// and really sends, and where that plays, with the way out where it does not.
#[derive(Args)]
pub(super) struct Doctor {
    /// The camera, as rtsp://user:password@host/path.
    #[arg(value_name = "RTSP_URL")]
    url: String,

    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,

    /// How media should travel: auto, tcp, udp or http.
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    transport: String,
}

impl Doctor {
    pub(super) fn run(self) -> u8 {
        let parsed = self.url.parse::<Source>();
        let (mut source, transport) = match (parsed, self.transport.parse::<Transport>()) {
            (Ok(source), Ok(transport)) => (source, transport),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("{error}");
                return USAGE;
            }
        };
        source.transport = transport;
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            eprintln!("cannot start");
            return SOFTWARE;
        };
        if std::io::stderr().is_terminal() {
            eprintln!("looking at {source} for some seconds …");
        }
        let probe = runtime.block_on(probe(&source));
        if self.json {
            println!("{}", report::json(&source, &probe));
        } else {
            print!("{}", report::text(&source, &probe));
        }
        let nothing_came = probe.tracks.iter().all(|track| track.packets == 0);
        if probe.fault.is_some() && nothing_came { UNREACHABLE } else { DONE }
    }
}
