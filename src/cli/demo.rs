//! `porthole demo`: the gateway with a built-in camera.

use clap::Args;

use super::serve::{gateway, layers};
use super::{CONFIG, SOFTWARE, demo_camera};

/// Show a built-in camera: no camera, no network, no configuration needed.
///
/// The camera is a bundled clip, served over real RTSP on loopback and pulled
/// like any other. `PORTHOLE__…` variables apply, configuration files do not.
#[derive(Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) fn run(self) -> u8 {
        let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
            eprintln!("cannot start threads");
            return SOFTWARE;
        };
        let camera = match runtime.block_on(demo_camera::start()) {
            Ok(camera) => camera,
            Err(error) => {
                eprintln!("cannot start the demo camera: {error}");
                return SOFTWARE;
            }
        };
        let mut layers = layers(None, Vec::new());
        layers.file = None;
        layers.environment.insert("PORTHOLE__STREAMS__DEMO".into(), camera.url.clone());
        match layers.load() {
            Ok(config) => gateway(config, layers, |pages| println!("open {pages}")),
            Err(faults) => {
                eprint!("{faults}");
                CONFIG
            }
        }
    }
}
