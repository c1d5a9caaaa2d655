//! `porthole schema`: the configuration's JSON Schema.

use clap::Args;

use super::DONE;
use crate::config::SCHEMA;

/// Print the JSON Schema of porthole.yaml, for editors that complete and check
/// it while it is written.
///
/// A file's first line `# yaml-language-server: $schema=porthole.schema.json`
/// tells them where it was put.
#[derive(Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> u8 {
        let Self {} = self;
        print!("{SCHEMA}");
        DONE
    }
}
