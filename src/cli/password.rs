//! `porthole password`: hashes a password for the configuration.

use std::io::{BufRead, IsTerminal, stdin};

use clap::Args;

use super::{DONE, SOFTWARE, USAGE};
use crate::auth::PasswordHash;
use crate::secret::Secret;

/// Hash a password for `auth.users`: it is read from the first line of the
/// input, so that neither the shell's history nor the list of processes has it.
#[derive(Args)]
pub(super) struct Password {}

impl Password {
    pub(super) fn run(self) -> u8 {
        let Self {} = self;
        if stdin().is_terminal() {
            eprintln!("type the password; it will be seen:");
        }
        let mut line = String::new();
        if let Err(error) = stdin().lock().read_line(&mut line) {
            eprintln!("cannot read the password: {error}");
            return SOFTWARE;
        }
        let password = line.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            eprintln!("an empty password is none");
            return USAGE;
        }
        match PasswordHash::of(&Secret::new(password)) {
            Ok(hash) => {
                println!("{hash}");
                DONE
            }
            Err(error) => {
                eprintln!("{error}");
                SOFTWARE
            }
        }
    }
}
