//! nginx with files, on a port that the system picks.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::player::Recording;

pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: String,
    _home: tempfile::TempDir,
}

impl Nginx {
    /// One process, as Debian has it: `sendfile`, no log of requests; and it
    /// keeps files open, connections alive, and its peace.
    pub(crate) fn start(files: &Recording) -> Result<Self, Failure> {
        let home = tempfile::tempdir()?;
        let at = home.path().display();
        let root = home.path().join("root");
        std::fs::create_dir(&root)?;
        for (number, (playlist, part)) in files.iter().enumerate() {
            std::fs::write(root.join(format!("{number}.m3u8")), playlist)?;
            std::fs::write(root.join(format!("{number}.m4s")), part)?;
        }
        // Free a moment ago: nginx cannot be told to take any.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind}; "))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 8192; }}\n\
             http {{ {temporary} access_log off; sendfile on; tcp_nopush on;\n\
             types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }}\n\
             keepalive_requests 1000000; open_file_cache max=1000;\n\
             server {{ listen {address} backlog=4096; root {at}/root; }} }}\n"
        );
        let file = home.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let child = Command::new("/usr/sbin/nginx")
            .arg("-e")
            .arg(home.path().join("start.log"))
            .arg("-c")
            .arg(&file)
            .spawn()
            .map_err(|error| format!("nginx (apt-get install nginx-light): {error}"))?;
        let nginx = Self { child, address, _home: home };
        let began = Instant::now();
        while TcpStream::connect(&nginx.address).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err("nginx does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
