//! Who gets in: every route without credentials, and every principal at every
//! stream by every output and method.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use porthole::app::App;
use porthole::auth::EmbedKey;
use porthole::cli::demo_camera::{self, DemoCamera};
use reqwest::{Client, Method, RequestBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Routes that need no credentials: our own files, and what orchestrators ask.
/// Whoever adds a line here says why in the commit.
const OPEN: &[&str] = &["/livez", "/readyz", "/startupz"];

const KEY: &str = "0123456789abcdef0123456789abcdef";

struct House {
    app: App,
    rtsp: String,
    _files: tempfile::TempDir,
    _cameras: Vec<DemoCamera>,
}

/// Streams `front-door` and `yard`, both live and in two qualities; users `ann`
/// (front-*), `bob` (everything) and `root` (administrator); embed tokens.
async fn house() -> House {
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("embed.key");
    fs::write(&key, KEY).unwrap();
    let rtsp = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let mut cameras = Vec::new();
    for _ in 0..4 {
        cameras.push(demo_camera::start().await.unwrap());
    }
    let hash = app_support::hash("right");
    let yaml = format!(
        "streams:\n  front-door: {{ source: \"{}\", substream: \"{}\" }}\n  \
         yard: {{ source: \"{}\", substream: \"{}\" }}\n\
         rtsp: {{ listen: \"{rtsp}\" }}\n\
         auth:\n  users:\n    - {{ name: ann, password_hash: \"{hash}\", streams: [\"front-*\"] }}\n    \
         - {{ name: bob, password_hash: \"{hash}\", streams: [\"*\"] }}\n    \
         - {{ name: root, password_hash: \"{hash}\", admin: true }}\n  \
         embed_key_file: {}\n",
        cameras[0].url,
        cameras[1].url,
        cameras[2].url,
        cameras[3].url,
        key.display(),
    );
    let app = app_support::configured(&yaml).await;
    House { app, rtsp, _files: files, _cameras: cameras }
}

fn token(stream: &str, ttl: Duration, now: SystemTime) -> String {
    let key = EmbedKey::new(KEY.as_bytes()).unwrap();
    key.mint(&[stream.parse().unwrap()], ttl, None, now)
}

/// Every pattern that the source registers, on either listener.
fn patterns() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>, dynamic: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, dynamic);
                continue;
            }
            let name = path.to_str().unwrap().to_owned();
            if !name.ends_with(".rs") || name.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
            // Others' methods of that name have nothing to do with it.
            let routes = if code.contains("Router") { code } else { "" };
            for after in routes.split(".route(").skip(1) {
                match after.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    Some((pattern, _)) => {
                        found.insert(pattern.to_owned());
                    }
                    None => dynamic.push(name.clone()),
                }
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut dynamic) = (BTreeSet::new(), Vec::new());
    walk(&root.join("src"), &mut found, &mut dynamic);
    dynamic.retain(|file| !file.ends_with("/pages.rs") && !file.contains("/pages/"));
    assert!(dynamic.is_empty(), "routes whose pattern is no literal escape the walk: {dynamic:?}");
    assert!(found.len() >= 12, "the walk found only {found:?}");
    found
}

/// A path that the pattern matches.
fn path_of(pattern: &str) -> String {
    let path = pattern.replace("{stream}", "yard").replace("{session}", &"0".repeat(32));
    let path = path.replace("{name}", "index.m3u8").replace(['{', '}', '*'], "");
    let src = if path.starts_with("/api/") || path == "/stream.html" { "?src=yard" } else { "" };
    path + src
}

#[tokio::test]
async fn every_route_without_credentials_is_401_but_for_the_list() {
    let house = house().await;
    let client = Client::new();
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let patterns = patterns();
    assert!(OPEN.iter().all(|open| patterns.contains(*open)), "the list has a route that is gone");
    for base in [house.app.viewer_address(), house.app.admin_address()] {
        for pattern in patterns.iter().map(String::as_str).chain(["/nobody/has/this", "/%2e%2e/x"])
        {
            let path = path_of(pattern);
            for method in methods {
                let method: Method = method.parse().unwrap();
                let url = format!("http://{base}{path}");
                let answer = client.request(method.clone(), &url).send().await.unwrap();
                let status = answer.status().as_u16();
                if OPEN.contains(&pattern) && base == house.app.admin_address() {
                    assert_ne!(status, 401, "{method} {url}");
                } else if !OPEN.contains(&pattern) {
                    assert_eq!(status, 401, "{method} {url}");
                    let scheme = answer.headers()["www-authenticate"].to_str().unwrap();
                    assert!(scheme.starts_with("Basic realm="), "{scheme}");
                }
            }
        }
    }
    // Our own files are the rest of the list: scripts and styles tell nothing.
    for file in ["porthole.js", "style.css"] {
        let static_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("static").join(file);
        if static_file.exists() {
            let url = format!("http://{}/{file}", house.app.viewer_address());
            assert_eq!(client.get(url).send().await.unwrap().status(), 200, "{file}");
        }
    }
    house.app.stop().await;
}

#[tokio::test]
async fn nothing_is_refused_without_a_word() {
    let house = house().await;
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut refused = 0;
    for base in [house.app.viewer_address(), house.app.admin_address()] {
        for pattern in patterns() {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
                let url = format!("http://{base}{}", path_of(&pattern));
                let asked = client.request(method.parse().unwrap(), &url);
                let answer = asked.basic_auth("root", Some("right")).send().await.unwrap();
                if !answer.status().is_client_error() && !answer.status().is_server_error() {
                    continue;
                }
                refused += 1;
                let status = answer.status();
                let kind = answer.headers().get("content-type").cloned();
                assert!(
                    kind.is_some_and(|kind| kind == "application/problem+json"),
                    "{method} {url}: {status}"
                );
                if status == 405 {
                    let allowed = answer.headers()["allow"].to_str().unwrap();
                    assert!(
                        !allowed.split(',').any(|one| one.trim() == method),
                        "{url}: {allowed}"
                    );
                }
                let problem: serde_json::Value = answer.json().await.unwrap();
                assert_eq!(problem["status"], status.as_u16(), "{method} {url}");
                let why = problem.get("detail").or(problem.get("hint"));
                assert!(why.is_some(), "{method} {url}: {problem}");
            }
        }
    }
    assert!(refused > 100, "{refused} refusals");
    house.app.stop().await;
}

/// A way to ask for a stream, and what one that lives answers to who may. `WS`
/// asks for a WebSocket.
const ASKS: &[(&str, &str, u16)] = &[
    ("GET", "/{s}/", 200),
    ("GET", "/{s}", 307),
    ("GET", "/{s}/embed", 200),
    ("GET", "/{s}/index.m3u8", 200),
    ("GET", "/{s}/index.m3u8?quality=sub", 200),
    ("GET", "/{s}/hls/media.m3u8", 200),
    ("HEAD", "/{s}/hls/media.m3u8", 200),
    // Windows begin at other numbers.
    ("GET", "/{s}/hls/i0.mp4", 404),
    ("GET", "/{s}/hls/sub/media.m3u8", 200),
    ("GET", "/{s}/hls/sub/i0.mp4", 404),
    ("POST", "/{s}/whep", 201),
    ("GET", "/{s}/whep", 200),
    ("OPTIONS", "/{s}/whep", 204),
    ("GET", "/{s}/whep/00000000000000000000000000000000", 404),
    ("PATCH", "/{s}/whep/00000000000000000000000000000000", 404),
    ("DELETE", "/{s}/whep/00000000000000000000000000000000", 404),
    ("GET", "/{s}/mse", 426),
    ("WS", "/{s}/mse", 101),
    ("GET", "/{s}/snapshot.jpg", 200),
    ("GET", "/{s}/snapshot.jpg?width=320&quality=sub", 200),
    ("HEAD", "/{s}/snapshot.jpg", 200),
    ("GET", "/{s}/stream.mjpeg", 200),
    ("HEAD", "/{s}/stream.mjpeg", 200),
    ("POST", "/api/webrtc?src={s}", 201),
    ("GET", "/api/frame.jpeg?src={s}", 200),
    ("GET", "/api/stream.m3u8?src={s}", 307),
    ("GET", "/api/stream.mjpeg?src={s}", 200),
    ("GET", "/api/ws?src={s}", 426),
    ("WS", "/api/ws?src={s}", 101),
    ("GET", "/stream.html?src={s}", 307),
];

/// The pattern that a path of [`ASKS`] is registered by.
fn pattern_of(path: &str) -> String {
    let path = path.split('?').next().unwrap().replace("{s}", "{stream}");
    let path = path.replace(&"0".repeat(32), "{session}");
    let object = path.rsplit_once("/hls/").map(|(before, object)| match object.split_once('/') {
        Some((sub, _)) => format!("{before}/hls/{sub}/{{name}}"),
        None => format!("{before}/hls/{{name}}"),
    });
    object.unwrap_or(path)
}

/// Whoever brings a route to a stream brings a line of [`ASKS`].
#[test]
fn every_route_to_a_stream_is_asked_for() {
    let asked: BTreeSet<String> = ASKS.iter().map(|(_, path, _)| pattern_of(path)).collect();
    let lists =
        ["/", "/api/streams", "/metrics", "/livez", "/readyz", "/startupz", "/openapi.json"];
    let no_stream =
        |pattern: &String| lists.contains(&pattern.as_str()) || pattern.starts_with("/api/v1/");
    let patterns = patterns().into_iter().filter(|pattern| !no_stream(pattern));
    let escaped: Vec<String> = patterns.filter(|pattern| !asked.contains(pattern)).collect();
    assert!(escaped.is_empty(), "{escaped:?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// May ask: then the answer is the route's own.
    In,
    Forbidden,
    Unauthorized,
}

use Verdict::{Forbidden, In, Unauthorized};

impl Verdict {
    /// The status that tells of it, where the route's own is `own`.
    fn status(self, own: u16) -> u16 {
        match self {
            In => own,
            Forbidden => 403,
            Unauthorized => 401,
        }
    }
}

#[derive(Clone)]
enum Proof {
    None,
    Login(&'static str, &'static str),
    Bearer(String),
    Query(String),
}

impl Proof {
    fn on(&self, client: &Client, method: &str, url: &str) -> RequestBuilder {
        let request = |url: &str| match method {
            "POST" => {
                let post = client.post(url).header("content-type", "application/sdp");
                post.body(app_support::OFFER)
            }
            "WS" => [
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ]
            .into_iter()
            .fold(client.get(url), |request, (name, value)| request.header(name, value)),
            _ => client.request(method.parse().unwrap(), url),
        };
        match self {
            Self::None => request(url),
            Self::Login(user, password) => request(url).basic_auth(user, Some(password)),
            Self::Bearer(token) => request(url).bearer_auth(token),
            Self::Query(token) => {
                let sign = if url.contains('?') { '&' } else { '?' };
                request(&format!("{url}{sign}token={token}"))
            }
        }
    }
}

/// Each principal, how it proves itself, and what it gets of `front-door`,
/// `yard`, a stream that there is not, the lists, and the admin listener.
fn principals() -> Vec<(&'static str, Proof, [Verdict; 5])> {
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
    let nothing = [Unauthorized; 5];
    vec![
        ("nobody", Proof::None, nothing),
        ("wrong password", Proof::Login("ann", "wrong"), nothing),
        ("unknown user", Proof::Login("eve", "right"), nothing),
        ("ann", Proof::Login("ann", "right"), [In, Forbidden, Forbidden, In, Forbidden]),
        ("bob", Proof::Login("bob", "right"), [In, In, In, In, Forbidden]),
        ("root", Proof::Login("root", "right"), [In; 5]),
        (
            "token",
            Proof::Query(token("yard", hour, now)),
            [Forbidden, In, Forbidden, In, Forbidden],
        ),
        (
            "bearer",
            Proof::Bearer(token("yard", hour, now)),
            [Forbidden, In, Forbidden, In, Forbidden],
        ),
        ("expired", Proof::Query(token("yard", hour, now - hour * 2)), nothing),
        ("invented", Proof::Bearer("pt1.e30.AAAA".into()), nothing),
    ]
}

const STREAMS: [&str; 3] = ["front-door", "yard", "nowhere"];

#[tokio::test(flavor = "multi_thread")]
async fn every_principal_at_every_stream_by_every_output_and_method() {
    let house = house().await;
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let (viewer, admin) = (house.app.viewer_address(), house.app.admin_address());
    house.live().await;
    let mut cells = 0;
    let mut wrong = Vec::new();
    for (who, proof, wanted) in principals() {
        let mut ask = async |base, method: &str, path: &str, verdict: Verdict, own: u16| {
            // Guesses are damped, which is not what is asked here.
            house.app.forgive();
            let request = proof.on(&client, method, &format!("http://{base}{path}"));
            let status = request.send().await.unwrap().status().as_u16();
            if status != verdict.status(own) {
                wrong.push(format!(
                    "{who}: {method} {path} is {status}, not {}",
                    verdict.status(own)
                ));
            }
            cells += 1;
        };
        for (stream, verdict) in STREAMS.into_iter().zip(wanted) {
            for (method, path, own) in ASKS {
                let own = if stream == "nowhere" { unknown(method, path) } else { *own };
                ask(viewer, method, &path.replace("{s}", stream), verdict, own).await;
            }
        }
        for (path, own) in [("/", 200), ("/api/streams", 200), ("/no/such/path", 404)] {
            ask(viewer, "GET", path, wanted[3], own).await;
        }
        for path in [
            "/metrics",
            "/openapi.json",
            "/api/v1/streams",
            "/api/v1/streams/yard",
            "/api/v1/config",
        ] {
            ask(admin, "GET", path, wanted[4], 200).await;
        }
        ask(admin, "GET", "/no/such/path", wanted[4].max_admin(), 404).await;

        if wanted[3] == In {
            let list =
                proof.on(&client, "GET", &format!("http://{viewer}/api/streams")).send().await;
            let list: serde_json::Value = list.unwrap().json().await.unwrap();
            let listed = |name| {
                list["streams"].as_array().unwrap().iter().any(|stream| stream["name"] == name)
            };
            assert_eq!(listed("front-door"), wanted[0] == In, "{who}: {list}");
            assert_eq!(listed("yard"), wanted[1] == In, "{who}: {list}");
        }
        for (stream, verdict) in STREAMS.into_iter().zip(wanted) {
            for path in [stream.to_owned(), format!("{stream}/sub")] {
                for (method, track) in [("DESCRIBE", ""), ("SETUP", "/trackID=0")] {
                    house.app.forgive();
                    let own = if stream == "nowhere" { 404 } else { 200 };
                    let path = format!("{path}{track}");
                    let status = rtsp(&house.rtsp, method, &path, &proof).await;
                    let wanted = verdict.status(own);
                    if status != wanted {
                        wrong
                            .push(format!("{who}: {method} rtsp {path} is {status}, not {wanted}"));
                    }
                    cells += 1;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 1_000, "only {cells} cells");
    house.app.stop().await;
}

/// What a stream that is not there answers to who may see every stream.
fn unknown(method: &str, path: &str) -> u16 {
    match (method, path) {
        ("OPTIONS", _) => 204,
        // They only lead to where nothing is.
        (_, "/api/stream.m3u8?src={s}" | "/stream.html?src={s}") => 307,
        _ => 404,
    }
}

impl House {
    /// Waits until both streams have pictures, in both qualities.
    async fn live(&self) {
        let (_, proof, _) = principals().into_iter().find(|(who, ..)| *who == "root").unwrap();
        let client = Client::new();
        for stream in ["front-door", "yard"] {
            for query in ["", "?quality=sub"] {
                let url =
                    format!("http://{}/{stream}/index.m3u8{query}", self.app.viewer_address());
                let until = std::time::Instant::now() + Duration::from_secs(40);
                loop {
                    let status = proof.on(&client, "GET", &url).send().await.unwrap().status();
                    if status == 200 {
                        break;
                    }
                    assert!(std::time::Instant::now() < until, "{url} is {status}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Verdict {
    /// A path that the admin listener does not have is told to who is somebody.
    fn max_admin(self) -> Self {
        if self == Forbidden { In } else { self }
    }
}

/// The status of an RTSP request.
async fn rtsp(address: &str, method: &str, path: &str, proof: &Proof) -> u16 {
    use base64::Engine as _;
    let (header, query) = match proof {
        Proof::None => (String::new(), String::new()),
        Proof::Login(user, password) => {
            let login =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            (format!("Authorization: Basic {login}\r\n"), String::new())
        }
        Proof::Bearer(token) => (format!("Authorization: Bearer {token}\r\n"), String::new()),
        Proof::Query(token) => (String::new(), format!("?token={token}")),
    };
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} rtsp://{address}/{path}{query} RTSP/1.0\r\nCSeq: 1\r\n{header}\
         Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_plays_in_a_browser_which_takes_compressed_answers() {
    let camera = porthole::cli::demo_camera::start().await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("embed.key");
    fs::write(&key, KEY).unwrap();
    let app = app_support::configured(&format!(
        "streams: {{ yard: \"{}\" }}\nauth: {{ embed_key_file: {}, allow_from: [127.0.0.0/8] }}\n",
        camera.url,
        key.display(),
    ))
    .await;
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "yard", |stream| stream["state"] == "live").await;
    let token = token("yard", Duration::from_secs(3_600), SystemTime::now());
    for (list, next) in [("index.m3u8", "hls/media.m3u8"), ("hls/media.m3u8", ".m4s")] {
        let url = format!("{base}/yard/{list}?token={token}");
        let answer = Client::new().get(&url).header("accept-encoding", "gzip, br").send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "{list}");
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{list}");
        let packed = answer.bytes().await.unwrap();
        let mut text = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(&packed[..]);
        std::io::Read::read_to_string(&mut unpacked, &mut text).unwrap();
        assert!(text.contains(&format!("{next}?token={token}")), "{list}: {text}");
    }
    let url = format!("{base}/yard/index.m3u8?token={token}");
    let whole = Client::new().get(&url).send().await.unwrap().text().await.unwrap();
    let head = Client::new().head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string().as_str());
    assert_eq!(head.bytes().await.unwrap().len(), 0);
    app.stop().await;
}
