//! `porthole healthcheck`: asks the running instance, for containers without
//! a shell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::serve::layers;
use super::{CONFIG, DONE};

/// Not ready, or not there.
const NOT_READY: u8 = 1;
const LIMIT: Duration = Duration::from_secs(3);

/// Exit with 0 when the running instance is ready.
#[derive(Args)]
pub(super) struct Healthcheck {
    /// Configuration file of that instance. Default: as `porthole serve`.
    #[arg(long, value_name = "FILE", env = "PORTHOLE_CONFIG")]
    config: Option<PathBuf>,
}

impl Healthcheck {
    pub(super) fn run(self) -> u8 {
        let admin = match layers(self.config, Vec::new()).load() {
            Ok(config) => config.admin_listen,
            Err(faults) => {
                eprint!("{faults}");
                return CONFIG;
            }
        };
        match ready(admin) {
            Ok(true) => DONE,
            Ok(false) => {
                eprintln!("not ready");
                NOT_READY
            }
            Err(error) => {
                eprintln!("cannot ask {admin}: {error}");
                NOT_READY
            }
        }
    }
}

fn ready(mut admin: SocketAddr) -> std::io::Result<bool> {
    if admin.ip().is_unspecified() {
        admin.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect_timeout(&admin, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}
