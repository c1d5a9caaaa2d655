//! `porthole check`: says whether a configuration is valid.

use std::path::PathBuf;

use clap::Args;

use super::serve::layers;
use super::{CONFIG, DONE};

/// Check a configuration and print all of its faults, with line and column.
#[derive(Args)]
pub(super) struct Check {
    /// Configuration file. Default: as `porthole serve`.
    #[arg(long, value_name = "FILE", env = "PORTHOLE_CONFIG")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> u8 {
        match layers(self.config, Vec::new()).load() {
            Ok(config) => {
                println!("valid: {} streams", config.streams.len());
                DONE
            }
            Err(faults) => {
                eprint!("{faults}");
                CONFIG
            }
        }
    }
}
