//! `porthole serve`: runs the gateway.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use tracing::{error, info};

use super::{CONFIG, DONE, SOFTWARE};
use crate::app::{App, Exit};
use crate::config::{Config, Layers, default_file};

/// Run the gateway.
///
/// Cameras come from the command line, the configuration file, or both. Stop
/// it with Ctrl-C or SIGTERM: cameras are told goodbye and it exits with 0.
#[derive(Args)]
pub(super) struct Serve {
    /// Cameras to show, as rtsp://user:password@host/path; they become the
    /// streams camera-1, camera-2, …
    #[arg(value_name = "RTSP_URL")]
    urls: Vec<String>,

    /// Configuration file. Default: ./porthole.yaml, then
    /// /etc/porthole/porthole.yaml, if there is one.
    #[arg(long, value_name = "FILE", env = "PORTHOLE_CONFIG")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> u8 {
        let layers = layers(self.config, self.urls);
        let config = match layers.load() {
            Ok(config) => config,
            Err(faults) => {
                eprint!("{faults}");
                return CONFIG;
            }
        };
        if config.streams.is_empty() {
            eprintln!(
                "no camera is configured: give its URL (porthole serve rtsp://…), write a \
                 porthole.yaml, or try `porthole demo`"
            );
            return CONFIG;
        }
        gateway(config, layers, |_| {})
    }
}

/// The layers of this process.
pub(super) fn layers(file: Option<PathBuf>, urls: Vec<String>) -> Layers {
    // Bare URLs are a whole configuration: a file must be asked for then.
    let file = file.or_else(|| urls.is_empty().then(default_file).flatten());
    // A variable that is no text is none of ours.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Layers { file, environment: std::env::vars_os().filter_map(text).collect(), urls }
}

/// Runs the gateway until a signal ends it, and applies what `layers` become. `started` is told the address of
/// the pages.
pub(super) fn gateway(config: Config, layers: Layers, started: impl FnOnce(&str)) -> u8 {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        eprintln!("cannot start threads");
        return SOFTWARE;
    };
    runtime.block_on(async {
        let app = match App::start(config).await {
            Ok(app) => app,
            Err(error) => {
                error!("{error}");
                return SOFTWARE;
            }
        };
        // Whoever reads the line below may change the configuration.
        app.follow(layers).await;
        let pages = app.pages();
        info!(pages, admin = %app.admin_address(), "porthole {}", env!("CARGO_PKG_VERSION"));
        started(&pages);
        match app.run_until_signal().await {
            Exit::Clean => DONE,
            Exit::Forced => SOFTWARE,
        }
    })
}
