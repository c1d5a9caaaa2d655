//! The program under measurement: started, asked, and read off `/proc`.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Clock ticks of `/proc/PID/stat`: `USER_HZ`, the same on all of Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    admin: String,
    _home: tempfile::TempDir,
}

/// What `/proc` says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) at: Instant,
    pub(crate) cpu_seconds: f64,
    /// Of which in the kernel: the sockets.
    pub(crate) kernel_seconds: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) pss_bytes: u64,
    pub(crate) context_switches: u64,
}

impl Gateway {
    /// The release binary, or the one that `PORTHOLE_BIN` names, with these
    /// streams and this section `hls`.
    pub(crate) fn start(streams: &Value, hls: &Value) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("porthole.yaml");
        let any = "127.0.0.1:0";
        // JSON is YAML.
        let config = json!({
            "listen": any, "admin": { "listen": any }, "webrtc": { "listen": any },
            "streams": streams, "hls": hls,
        });
        std::fs::write(&file, config.to_string())?;
        let program = std::env::var("PORTHOLE_BIN");
        let mut child = Command::new(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_porthole")))
            .args(["serve", "--log-format", "json", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?);
        let mut seen = String::new();
        let admin = loop {
            let start = seen.len();
            if log.read_line(&mut seen)? == 0 {
                return Err(format!("the gateway did not start: {seen}").into());
            }
            let line: Value = serde_json::from_str(&seen[start..]).unwrap_or_default();
            let admin = line.get("admin").or_else(|| line.get("fields")?.get("admin"));
            if let Some(admin) = admin.and_then(Value::as_str) {
                break admin.to_owned();
            }
        };
        // Kept open: a full pipe would stop it.
        std::thread::spawn(move || log.lines().for_each(drop));
        Ok(Self { child, admin, _home: home })
    }

    /// Sum of the samples of a metric family that have `label` in their name.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let mut socket = TcpStream::connect(&self.admin)?;
        write!(socket, "GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin)?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        let ours = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(label)
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        // Of nothing, a sum of floats would be -0.
        Ok(text.lines().filter(ours).filter_map(value).fold(0.0, |sum, value| sum + value))
    }

    /// Waits until `count` cameras are live.
    pub(crate) fn wait_for_live(&self, count: u32) -> Result<()> {
        let began = Instant::now();
        loop {
            let live = self.metric("porthole_streams", "live")?;
            if live >= f64::from(count) {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(60) {
                return Err(format!("only {live} of {count} cameras are live").into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far, and holds now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        usage(self.child.id())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What process `id` has used so far, and holds now.
pub(crate) fn usage(id: u32) -> Result<Usage> {
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}"));
    let stat = proc("stat")?;
    let at = Instant::now();
    // Behind the name, which may hold anything: state is field 3 of proc(5).
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let field = |n: usize| -> f64 {
        behind.split_whitespace().nth(n - 3).and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    let mut context_switches = 0;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        context_switches += number(&status, "voluntary_ctxt_switches")
            + number(&status, "nonvoluntary_ctxt_switches");
    }
    Ok(Usage {
        at,
        cpu_seconds: (field(14) + field(15)) / TICKS_A_SECOND,
        kernel_seconds: field(15) / TICKS_A_SECOND,
        rss_bytes: number(&proc("status")?, "VmRSS") * 1024,
        pss_bytes: number(&proc("smaps_rollup")?, "Pss") * 1024,
        context_switches,
    })
}

/// The number behind `key:` at the start of a line.
fn number(text: &str, key: &str) -> u64 {
    let value = |line: &str| {
        line.strip_prefix(key)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok()
    };
    text.lines().find_map(value).unwrap_or(0)
}
