//! The gateway, showing the camera.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::Failure;
use crate::camera::Camera;

pub(crate) struct Gateway {
    child: Child,
    /// Where to post offers.
    pub(crate) url: String,
}

impl Gateway {
    /// The release binary, or the one that `PORTHOLE_BIN` names.
    pub(crate) fn start(camera: &Camera) -> Result<Self, Failure> {
        let program = std::env::var("PORTHOLE_BIN");
        let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_porthole").to_owned());
        let mut child = Command::new(program)
            .args(["serve", &camera.url, "--log-format", "json"])
            .env("PORTHOLE__LISTEN", "127.0.0.1:0")
            .env("PORTHOLE__ADMIN__LISTEN", "127.0.0.1:0")
            .env("PORTHOLE__WEBRTC__LISTEN", "127.0.0.1:0")
            .env("RUST_LOG", "porthole=info")
            .env("PORTHOLE__RTSP__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let mut gateway = Self { child, url: String::new() };
        while gateway.url.is_empty() {
            let line = lines.next().ok_or("the gateway has ended")??;
            let pages = serde_json::from_str::<Value>(&line).ok();
            if let Some(pages) = pages.as_ref().and_then(|line| line["pages"].as_str()) {
                gateway.url = format!("{pages}camera-1/whep");
            }
        }
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(gateway)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
