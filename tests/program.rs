//! The program as people run it: arguments, exit codes, ports, signals.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway on ports of its own, and everything it has logged.
struct Gateway {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
    pages: String,
    admin: String,
}

impl Gateway {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(&mut command(arguments))
    }

    fn start_with(command: &mut Command) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut gateway =
            Self { child, lines, log: Vec::new(), pages: String::new(), admin: String::new() };
        let started = gateway.logged(|line| line["pages"].is_string());
        gateway.pages = started["pages"].as_str().unwrap().to_owned();
        gateway.admin = format!("http://{}", started["admin"].as_str().unwrap());
        gateway
    }

    /// Waits for a log line; one that was logged before counts too.
    fn logged(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        for next in 0.. {
            if next == self.log.len() {
                let left = until.saturating_duration_since(Instant::now());
                let line = self.lines.recv_timeout(left);
                let log = || self.log.join("\n");
                self.log
                    .push(line.unwrap_or_else(|_| panic!("no such line in the log:\n{}", log())));
            }
            if let Ok(value) = serde_json::from_str::<Value>(&self.log[next])
                && wanted(&value)
            {
                return value;
            }
        }
        unreachable!("the loop only returns or panics")
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, url: &str, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = get(url).await.1;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < until, "{url} still says:\n{answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn streams(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let url = format!("{}api/streams", self.pages);
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        parse(&self.until(&url, |text| wanted(&parse(text)["streams"])).await)["streams"].take()
    }

    fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_porthole"));
    command
        .args(arguments)
        .env_clear()
        .env("PORTHOLE__LISTEN", "127.0.0.1:0")
        .env("PORTHOLE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("PORTHOLE__WEBRTC__LISTEN", "127.0.0.1:0")
        .env("PORTHOLE__RTSP__LISTEN", "127.0.0.1:0")
        // Who waits for the end has nobody who watches.
        .env("PORTHOLE__DRAIN", "0s")
        .env("RUST_LOG", "porthole=debug")
        .stdin(Stdio::null());
    command
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn config(yaml: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    file
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn a_faulty_configuration_exits_with_78_and_every_fault() {
    let file = config("streams:\n  Bad: rtsp://a/\n  gate: ftp://b/\nhsl: {}\n");
    for verb in ["check", "serve"] {
        let output = command(&[verb, "--config", file.path().to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{verb}");
        let text = String::from_utf8(output.stderr).unwrap();
        for place in [":2:3: ", ":3:9: ", ":4:1: "] {
            assert!(text.contains(place), "{verb} does not name {place}:\n{text}");
        }
    }
}

#[test]
fn wrong_arguments_exit_with_2_and_no_camera_with_78() {
    assert_eq!(command(&["serve", "--no-such"]).output().unwrap().status.code(), Some(2));
    let empty = config("");
    let arguments = ["serve", "--config", empty.path().to_str().unwrap()];
    let output = command(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("porthole demo"));
}

#[test]
fn a_port_that_is_taken_is_named_with_exit_70() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken_udp = socket.local_addr().unwrap().to_string();
    for key in ["LISTEN", "ADMIN__LISTEN", "WEBRTC__LISTEN", "RTSP__LISTEN"] {
        let address = if key.starts_with("WEBRTC") { &taken_udp } else { &address };
        let mut serve = command(&["serve", "rtsp://127.0.0.1:1/"]);
        let output = serve.env(format!("PORTHOLE__{key}"), address).output().unwrap();
        assert_eq!(output.status.code(), Some(70), "{key}");
        let text = String::from_utf8_lossy(&output.stderr);
        let name = key.to_ascii_lowercase().replace("__", ".");
        assert!(text.contains(&format!("{address} ({name})")), "{key}: {text}");
    }
}

#[tokio::test]
async fn an_unreachable_camera_is_reported_everywhere_and_its_password_nowhere() {
    let url = format!("rtsp://ann:s3cr3t-canary@127.0.0.1:{}/live?pw=s3cr3t-canary", closed_port());
    let mut gateway = Gateway::start(&["serve", &url]);

    let streams =
        gateway.streams(|streams| streams[0]["error"]["attempts"].as_u64() >= Some(2)).await;
    assert_eq!(streams[0]["state"], "down");
    assert_eq!(streams[0]["error"]["code"], "source.refused");
    assert!(streams[0]["error"]["next_retry"].is_string());
    assert!(streams[0]["source"].as_str().unwrap().contains("ann:***@127.0.0.1"));

    let metrics = format!("{}/metrics", gateway.admin);
    let refused = "porthole_source_connects_total{result=\"source.refused\",stream=\"camera-1\"}";
    let metrics = gateway.until(&metrics, |text| text.contains(refused)).await;
    assert!(metrics.contains("porthole_streams{state=\"down\"} 1"), "{metrics}");
    assert!(metrics.contains("porthole_source_up{stream=\"camera-1\"} 0"), "{metrics}");

    let (status, playlist) = get(&format!("{}camera-1/index.m3u8", gateway.pages)).await;
    assert_eq!(status, 502);
    assert!(playlist.contains("source.refused"), "{playlist}");

    gateway.logged(|line| line["code"] == "source.refused");
    assert!(gateway.terminate().success());
    gateway.log.extend(gateway.lines.iter());
    let log = gateway.log.join("\n");
    assert_eq!(log.matches("source.refused").count(), 1, "once per change:\n{log}");
    for text in [&log, &metrics, &streams.to_string(), &playlist] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[tokio::test]
async fn the_demo_camera_is_pulled_over_rtsp_and_ends_cleanly_on_sigterm() {
    let mut gateway = Gateway::start(&["demo"]);
    let streams = gateway.streams(|streams| streams[0]["state"] == "live").await;
    assert_eq!(streams[0]["name"], "demo");
    assert_eq!(streams[0]["tracks"][0]["codec"], "H.264");
    assert_eq!(streams[0]["tracks"][1]["codec"], "PCMA");

    for (path, wanted) in [("/livez", "ok"), ("/readyz", "ok"), ("/startupz", "ok")] {
        assert_eq!(get(&format!("{}{path}", gateway.admin)).await, (200, format!("{wanted}\n")));
    }
    let metrics = format!("{}/metrics", gateway.admin);
    let frames = "porthole_source_frames_total{media=\"audio\",stream=\"demo\"}";
    gateway.until(&metrics, |text| text.contains(frames)).await;

    let (status, page) = get(&gateway.pages).await;
    assert!(status == 200 && page.contains("<html"), "{page}");
    let (status, problem) = get(&format!("{}nobody/index.m3u8", gateway.pages)).await;
    assert!(status == 404 && problem.contains("stream.unknown"), "{problem}");

    let started = Instant::now();
    assert!(gateway.terminate().success());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn sigterm_tears_the_camera_down() {
    // One gateway is the other's camera.
    let mut camera = Gateway::start(&["demo"]);
    camera.streams(|streams| streams[0]["state"] == "live").await;
    let address = camera.logged(|line| line["rtsp"].is_string())["rtsp"].clone();
    let mut gateway =
        Gateway::start(&["serve", &format!("rtsp://{}/demo", address.as_str().unwrap())]);
    gateway.streams(|streams| streams[0]["state"] == "live").await;
    assert!(gateway.terminate().success());
    camera.logged(|line| line["method"] == "Teardown");
}

#[tokio::test]
async fn a_token_and_a_password_made_on_the_command_line_let_in_and_nothing_else_does() {
    let key = config("0123456789abcdef0123456789abcdef\n");
    let mut hashing = command(&["password"]);
    let hashing = hashing.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut hashing = hashing.unwrap();
    hashing.stdin.take().unwrap().write_all(b"open sesame\n").unwrap();
    let hash = String::from_utf8(hashing.wait_with_output().unwrap().stdout).unwrap();
    let yaml = format!(
        "streams: {{ yard: \"rtsp://127.0.0.1:{port}/a\", gate: \"rtsp://127.0.0.1:{port}/b\" }}\n\
         auth:\n  embed_key_file: {}\n  users: [{{ name: ann, password_hash: '{}', streams: [gate] }}]\n",
        key.path().display(),
        hash.trim(),
        port = closed_port(),
    );
    let file = config(&yaml);
    let file = file.path().to_str().unwrap();
    let minted = command(&["token", "--stream", "yard", "--ttl", "5m", "--config", file]).output();
    let token = String::from_utf8(minted.unwrap().stdout).unwrap();
    let gateway = Gateway::start(&["serve", "--config", file]);
    let client = reqwest::Client::new();
    let status = async |path: &str, login: bool| {
        let request = client.get(format!("{}{path}", gateway.pages));
        let request = if login { request.basic_auth("ann", Some("open sesame")) } else { request };
        request.send().await.unwrap().status().as_u16()
    };
    let token = token.trim();
    assert_eq!(status(&format!("yard/?token={token}"), false).await, 200);
    assert_eq!(status(&format!("gate/?token={token}"), false).await, 403);
    assert_eq!(status("gate/", true).await, 200);
    assert_eq!(status("yard/", true).await, 403);
    assert_eq!(status("yard/", false).await, 401);

    let endless = command(&["token", "--stream", "yard", "--ttl", "1000000d", "--config", file]);
    assert_eq!({ endless }.output().unwrap().status.code(), Some(2));
}

#[tokio::test]
async fn after_sigterm_who_watches_goes_on_and_nobody_new_is_let_in() {
    let mut camera = Gateway::start(&["demo"]);
    camera.streams(|streams| streams[0]["state"] == "live").await;
    let address = camera.logged(|line| line["rtsp"].is_string())["rtsp"].clone();
    let url = format!("rtsp://{}/demo", address.as_str().unwrap());
    let grace = Duration::from_secs(4);
    let mut serve = command(&["serve", &url]);
    let mut gateway = Gateway::start_with(serve.env("PORTHOLE__DRAIN", "4s"));
    gateway.streams(|streams| streams[0]["state"] == "live").await;
    let stream = format!("{}camera-1", gateway.pages);
    let mut watching = reqwest::get(format!("{stream}/stream.mjpeg")).await.unwrap();
    assert!(watching.chunk().await.unwrap().is_some());

    let told = Instant::now();
    gateway.signal("-TERM");
    let ready = format!("{}/readyz", gateway.admin);
    while get(&ready).await.0 == 200 {
        assert!(told.elapsed() < Duration::from_millis(500), "still ready");
    }
    assert_eq!(get(&ready).await, (503, "stopping\n".to_owned()));
    assert_eq!(get(&format!("{}/livez", gateway.admin)).await.0, 200);
    for path in ["index.m3u8", "stream.mjpeg", "mse"] {
        let refused = reqwest::get(format!("{stream}/{path}")).await.unwrap();
        assert_eq!(refused.status(), 503, "{path}");
        assert!(refused.headers().contains_key("retry-after"), "{path}");
    }
    let offer = reqwest::Client::new().post(format!("{stream}/whep")).body("v=0");
    assert_eq!(offer.send().await.unwrap().status(), 503);

    let mut last = told;
    while let Ok(Some(_)) = watching.chunk().await {
        last = Instant::now();
    }
    assert!(last - told > grace / 2, "the last picture came {:?} after it", last - told);
    assert!(gateway.ended().success());
    assert!((grace..grace * 3).contains(&told.elapsed()), "{:?}", told.elapsed());
    camera.logged(|line| line["method"] == "Teardown");
}

#[test]
fn another_gateways_configuration_becomes_ours() {
    let other = config("api:\n  listen: :1984\nstreams:\n  Yard: rtsp://10.0.0.6/\nffmpeg: {}\n");
    let done = command(&["import", other.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    let said = String::from_utf8(done.stderr).unwrap();
    let name = other.path().display();
    assert!(said.contains(&format!("{name}:2:11: api.listen: ")), "{said}");
    assert!(said.contains(&format!("{name}:4:3: streams.Yard: ")), "{said}");
    assert!(said.contains(&format!("{name}:5:1: ffmpeg: not carried over: ")), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");

    let ours = config(&String::from_utf8(done.stdout).unwrap());
    let done = command(&["check", "--config", ours.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "valid: 1 streams\n");

    let neither = config("cameras: {}\n");
    for (file, code) in [(neither.path(), 78), ("/no/such/file".as_ref(), 78), ("--".as_ref(), 2)] {
        let done = command(&["import", file.to_str().unwrap()]).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}", file.display());
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{}", file.display());
    }
}
