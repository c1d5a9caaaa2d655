//! `porthole token`: mints an embed token.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::serve::layers;
use super::{CONFIG, DONE};
use crate::auth::Pattern;
use crate::http::Origin;

/// Mint an embed token: a link with `?token=` shows the streams it names, until
/// it expires, to whoever has it.
///
/// It is signed with the configuration's `auth.embed_key_file`; another key
/// there ends all tokens.
#[derive(Args)]
pub(super) struct Token {
    /// Streams it shows; `*` stands for any characters, as in `front-*`.
    #[arg(long = "stream", value_name = "NAME", required = true, num_args = 1..)]
    streams: Vec<Pattern>,

    /// How long it is valid: 30m, 12h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time_to_live)]
    ttl: Duration,

    /// The one origin whose pages may use it, such as https://example.org.
    #[arg(long, value_name = "URL")]
    origin: Option<Origin>,

    /// Configuration file. Default: as `porthole serve`.
    #[arg(long, value_name = "FILE", env = "PORTHOLE_CONFIG")]
    config: Option<PathBuf>,
}

impl Token {
    pub(super) fn run(self) -> u8 {
        let config = match layers(self.config, Vec::new()).load() {
            Ok(config) => config,
            Err(faults) => {
                eprint!("{faults}");
                return CONFIG;
            }
        };
        let Some(key) = config.access.and_then(|rules| rules.embed_key) else {
            eprintln!(
                "no key to sign with: make one (openssl rand -hex 32 > embed.key) and name it in \
                 the configuration, `auth: {{ embed_key_file: embed.key }}`"
            );
            return CONFIG;
        };
        let origin = self.origin.as_ref().map(Origin::as_str).filter(|origin| *origin != "*");
        println!("{}", key.mint(&self.streams, self.ttl, origin, SystemTime::now()));
        DONE
    }
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a time such as 30m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| bad())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or_else(bad)?;
    // Longer, and it is a password that nobody can change.
    if seconds > 10 * 365 * 86_400 {
        return Err("a token lasts ten years at the most".into());
    }
    Ok(Duration::from_secs(seconds))
}
