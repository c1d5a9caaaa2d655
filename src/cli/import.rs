//! `porthole import`: go2rtc's or MediaMTX's configuration in our words.

use std::path::PathBuf;

use clap::Args;

use super::{CONFIG, DONE};
use crate::config::import;

/// Turn a go2rtc.yaml or a mediamtx.yml into a porthole.yaml.
///
/// The result goes to the standard output. Every key that is not carried over
/// is named on the standard error, with the reason. Nothing is opened to other
/// machines that was open to everybody: choose `auth` first.
#[derive(Args)]
pub(super) struct Import {
    /// The other gateway's configuration.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Import {
    pub(super) fn run(self) -> u8 {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("cannot read {}: {error}", self.file.display());
                return CONFIG;
            }
        };
        match import(&self.file, &text) {
            Ok(imported) => {
                for note in &imported.notes {
                    eprintln!("{note}");
                }
                print!("{}", imported.yaml);
                DONE
            }
            Err(faults) => {
                eprint!("{faults}");
                CONFIG
            }
        }
    }
}
