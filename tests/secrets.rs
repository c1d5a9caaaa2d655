//! Whatever is secret is told to whom it is meant for, and to nobody else: not
//! the log at its most talkative, no answer, no metric, no list of processes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use porthole::auth::EmbedKey;
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is planted in each secret field; letters and digits, which no encoding
/// of a URL changes.
fn canary(field: &str) -> String {
    format!("Canary{field}q7Zk3vX9")
}

const FIELDS: [&str; 16] = [
    "url",
    "query",
    "password",
    "file",
    "still",
    "turn",
    "jwks",
    "callback",
    "right",
    "guess",
    "token",
    "jwt",
    "substream",
    "api",
    "added",
    "patched",
];

/// The text itself, and what base64 makes of it wherever it stands in a longer
/// one.
fn forms(secret: &str) -> Vec<String> {
    let shifted = (0..3).map(|shift| {
        let text = STANDARD.encode(format!("{}{secret}", "-".repeat(shift)));
        let first = if shift == 0 { 0 } else { 4 };
        text[first..text.len() - 4].to_owned()
    });
    std::iter::once(secret.to_owned()).chain(shifted).collect()
}

fn assert_silent(what: &str, text: &str, secrets: &[String]) {
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        if let Some(at) = text.find(&form) {
            let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
            let line: String = text[from..].lines().next().unwrap().chars().take(600).collect();
            panic!("{what} tells {form}: {line}");
        }
    }
}

/// A server that asks for a login, and then throws back all that it was told.
async fn gossip() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(throw_back(socket));
        }
    });
    address
}

async fn throw_back(mut socket: TcpStream) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let header = |name: &str| {
            let line = request.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let version = if request.contains("RTSP/1.0") { "RTSP/1.0" } else { "HTTP/1.1" };
        let (cseq, login) = (header("CSeq:"), header("Authorization:"));
        let told = request.replace(['\r', '\n'], " ");
        let answer = if version == "RTSP/1.0" && login.is_empty() {
            format!(
                "{version} 401 Who\r\nCSeq: {cseq}\r\nWWW-Authenticate: Basic realm=\"cam\"\r\nContent-Length: 0\r\n\r\n"
            )
        } else {
            format!(
                "{version} 403 {told}\r\nCSeq: {cseq}\r\nServer: {told}\r\nContent-Length: {}\r\n\r\n{told}",
                told.len()
            )
        };
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct Gateway {
    child: Child,
    log: std::path::PathBuf,
}

impl Gateway {
    fn start(config: &Path, log: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_porthole"))
            .args(["serve", "--config", config.to_str().unwrap()])
            .env_clear()
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log: log.to_owned() }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The first line of the log that has it.
    async fn logged(&self, words: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(Instant::now() < until, "{words} is not in the log");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_no_log_no_answer_and_no_metric() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("embed.key"), "0123456789abcdef0123456789abcdef").unwrap();
    fs::write(at("password"), canary("file")).unwrap();
    let rtsp = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let (gossip, hash) = (gossip().await, app_support::hash(&canary("right")));
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\ndrain: 0s\nrtsp: {{ listen: \"{rtsp}\" }}\n\
         webrtc:\n  listen: 127.0.0.1:0\n  ice_servers: [{{ urls: [\"turn:127.0.0.1\"], username: u, credential: {turn} }}]\n\
         streams:\n  one: \"rtsp://ann:{url}@{gossip}/one?password={query}\"\n  \
         two: {{ source: \"rtsp://{gossip}/two\", username: ann, password: {password}, \
         substream: \"rtsp://bob:{substream}@{gossip}/sub\", snapshot_url: \"http://ann:{still}@{gossip}/still?pw={still}\" }}\n  \
         three: {{ source: \"rtsp://{gossip}/three\", username: ann, password_file: {file} }}\n\
         auth:\n  embed_key_file: {key}\n  users: [{{ name: root, password_hash: \"{hash}\", admin: true }}]\n  \
         jwt: {{ jwks_url: \"http://u:{jwks}@{gossip}/keys?key={jwks}\", issuer: i, audience: a }}\n  \
         http: {{ url: \"http://u:{callback}@{gossip}/auth?key={callback}\" }}\n",
        turn = canary("turn"),
        url = canary("url"),
        query = canary("query"),
        password = canary("password"),
        substream = canary("substream"),
        still = canary("still"),
        file = at("password").display(),
        key = at("embed.key").display(),
        jwks = canary("jwks"),
        callback = canary("callback"),
    );
    fs::write(at("porthole.yaml"), &yaml).unwrap();
    let gateway = Gateway::start(&at("porthole.yaml"), &at("log"));
    let started: serde_json::Value =
        serde_json::from_str(&gateway.logged("\"pages\":").await).unwrap();
    let pages = started["pages"].as_str().unwrap().to_owned();
    let admin = format!("http://{}/", started["admin"].as_str().unwrap());

    let key = EmbedKey::new(b"0123456789abcdef0123456789abcdef").unwrap();
    let hour = Duration::from_secs(3_600);
    let token = key.mint(&["*".parse().unwrap()], hour, None, SystemTime::now());
    let secrets: Vec<String> = FIELDS.iter().map(|field| canary(field)).collect();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let mut secret_or_token = secrets.clone();
    secret_or_token.extend([signature, hash.rsplit('$').next().unwrap().to_owned()]);

    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let jwt =
        format!("{}.{}.{}", STANDARD.encode(r#"{"alg":"RS256","kid":"k"}"#), canary("jwt"), "AAAA");
    let paths = [
        "",
        "api/streams",
        "one",
        "one/",
        "one/embed",
        "one/index.m3u8",
        "two/index.m3u8?quality=sub",
        "two/snapshot.jpg",
        "three/stream.mjpeg",
        "two/mse",
        "two/whep",
        "api/frame.jpeg?src=two",
        "porthole.js",
        "no/such/path",
        "metrics",
        "livez",
        "api/v1/streams",
        "api/v1/streams/one",
        "api/v1/streams/two",
        "api/v1/streams/api-1",
        "api/v1/sessions",
        "api/v1/config",
        "openapi.json",
    ];
    // What is given to the API is told to the file alone.
    let api = async |method: &str, path: &str, body: String| {
        let url = format!("{admin}api/v1/{path}");
        let request = client.request(method.parse().unwrap(), &url);
        let request = request.basic_auth("root", Some(canary("right")));
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let head = format!("{:?}", answer.headers());
        let text = format!("{head}\n{}", answer.text().await.unwrap());
        assert_silent(&format!("{method} {url}"), &text, &secret_or_token);
        status
    };
    let named = |name: &str, host: &str| {
        let source = format!("rtsp://bob:{}@{host}/x?pw={0}", canary("added"));
        format!(
            "{{\"name\":\"{name}\",\"source\":\"{source}\",\"password\":\"{}\"}}",
            canary("api")
        )
    };
    // In force, out of bounds, taken, not valid, and no JSON at all.
    assert_eq!(api("POST", "streams", named("api-1", "192.0.2.1")).await, 201);
    assert_eq!(api("POST", "streams", named("api-2", "127.0.0.1")).await, 422);
    assert_eq!(api("POST", "streams", named("api-1", "192.0.2.1")).await, 409);
    assert_eq!(api("POST", "streams", named("api-3", "[")).await, 422);
    assert_eq!(api("POST", "streams", named("api-4", "\n")).await, 400);
    let patch = format!("{{\"password\":[\"{}\"]}}", canary("patched"));
    assert_eq!(api("PATCH", "streams/two", patch).await, 422);
    let patch = format!("{{\"password\":\"{}\"}}", canary("patched"));
    assert_eq!(api("PATCH", "streams/two", patch).await, 200);
    assert!(fs::read_to_string(at("porthole.yaml")).unwrap().contains(&canary("api")));
    for base in [&pages, &admin] {
        for path in paths {
            let sign = if path.contains('?') { '&' } else { '?' };
            let url = format!("{base}{path}");
            let guess = format!("{url}{sign}token={}", canary("token"));
            for request in [
                client.get(&url).basic_auth("root", Some(canary("right"))),
                client.get(&url).basic_auth("root", Some(canary("guess"))),
                client.get(&url).bearer_auth(&jwt),
                client.get(&guess),
            ] {
                let answer = request.send().await.unwrap();
                let head = format!("{:?}", answer.headers());
                let text = format!("{head}\n{}", answer.text().await.unwrap());
                assert_silent(&url, &text, &secret_or_token);
            }
            // What it opens may carry it on, but nobody may note it.
            drop(client.get(format!("{url}{sign}token={token}")).send().await.unwrap());
        }
    }
    let mut recorder = TcpStream::connect(rtsp).await.unwrap();
    let login = STANDARD.encode(format!("root:{}", canary("guess")));
    let request = format!(
        "DESCRIBE rtsp://{rtsp}/one?token={} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic {login}\r\n\r\n",
        canary("token")
    );
    recorder.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = recorder.read(&mut answer).await.unwrap();
    assert_silent("RTSP", &String::from_utf8_lossy(&answer[..read]), &secrets);

    // Read again; then with faults, beside what is secret.
    gateway.signal("-HUP");
    gateway.logged("the configuration is in force").await;
    fs::write(
        at("porthole.yaml"),
        yaml.replace("transport", "x").replace("listen: 127", "lisen: 127"),
    )
    .unwrap();
    gateway.signal("-HUP");
    gateway.logged("the old one stays in force").await;
    let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", gateway.child.id())).unwrap();
    assert_silent("the list of processes", &cmdline, &secrets);
    gateway.signal("-TERM");
    gateway.logged("stopping").await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let log = gateway.log();
    let told = |words: &str| assert!(log.contains(words), "{words} is not in the log:\n{log}");
    ["\"level\":\"DEBUG\"", "source.auth", "access refused"].into_iter().for_each(told);
    assert_silent("the log", &log, &secret_or_token);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_nothing_that_a_camera_was_told() {
    let gossip = gossip().await;
    let url = format!("rtsp://ann:{}@{gossip}/one?password={}", canary("url"), canary("query"));
    let secrets = ["url", "query"].map(canary);
    for format in [&[][..], &["--json"]] {
        let mut doctor = tokio::process::Command::new(env!("CARGO_BIN_EXE_porthole"));
        doctor.arg("doctor").arg(&url).args(format).env_clear().env("RUST_LOG", "trace");
        let output = doctor.output().await.unwrap();
        assert_eq!(output.status.code(), Some(69));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.contains("***") && text.contains("DESCRIBE"), "{text}");
        assert_silent("the doctor", &text, &secrets);
    }
}

#[test]
fn a_fault_does_not_quote_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("short.key");
    fs::write(&key, canary("file")).unwrap();
    let secrets: Vec<String> = FIELDS.iter().map(|field| canary(field)).collect();
    for (yaml, faults) in [
        (format!("streams: {{ a: \"http://ann:{}@cam/x\" }}", canary("url")), 1),
        (format!("streams: {{ a: \"rtsp://ann:x#{}@cam/x\" }}", canary("url")), 1),
        (format!("streams: {{ a: \"{}\" }}", canary("url")), 1),
        (
            format!(
                "streams: {{ a: {{ source: \"rtsp://c/\", password: [{}] }} }}",
                canary("password")
            ),
            1,
        ),
        (
            format!(
                "streams: {{ a: {{ source: \"rtsp://c/\", snapshot_url: \"ftp://u:{}@c/\" }} }}",
                canary("still")
            ),
            1,
        ),
        (format!("auth: {{ users: [{{ name: a, password_hash: {} }}] }}", canary("right")), 1),
        (
            format!(
                "auth: {{ jwt: {{ jwks_url: \"ftp://u:{}@x/\", issuer: i, audience: a }} }}",
                canary("jwks")
            ),
            1,
        ),
        (format!("auth: {{ http: {{ url: \"{}\" }} }}", canary("callback")), 1),
        (format!("auth: {{ embed_key_file: {} }}", key.display()), 1),
        // Cut short while it is written.
        (
            format!(
                "streams:\n  a:\n    source: rtsp://c/\n    password: \"{}\n",
                canary("password")
            ),
            1,
        ),
        (
            format!("streams:\n  a:\n    password: {}\n   source: rtsp://c/\n", canary("password")),
            1,
        ),
        (
            format!(
                "streams:\n  a: rtsp://u:{}@c/\n  a: rtsp://u:{}@d/\n",
                canary("url"),
                canary("url")
            ),
            1,
        ),
    ] {
        let file = folder.path().join("porthole.yaml");
        fs::write(&file, &yaml).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_porthole"));
        check
            .args(["check", "--config", file.to_str().unwrap()])
            .env_clear()
            .env("RUST_LOG", "trace");
        let output = check.output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{yaml}");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.lines().count() >= faults, "{yaml}");
        assert_silent(&format!("the fault of {yaml}"), &text, &secrets);
    }
}
