//! Stills that cameras make themselves, asked for over HTTP: good cameras, and
//! others.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod camera_support;
mod ingest_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use app_support::{gateway, get};
use ingest_support::{Manner, Mime};
use porthole::fault::Code;
use porthole::ingest::{Source, Still};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// What an answer is made of, by the request's lines.
type Answer = fn(&[String]) -> Vec<u8>;

/// A camera's web server, which counts requests; each has a connection.
struct Camera {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Camera {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    let mut request = Vec::new();
                    while let Ok(Some(line)) = lines.next_line().await
                        && !line.is_empty()
                    {
                        request.push(line);
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    let _gone = write.write_all(&answer(&request)).await;
                    if request.iter().any(|line| line.contains("/silent")) {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                    }
                });
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The smallest file that is taken for a JPEG.
const FILE: &[u8] = b"\xff\xd8still\xff\xd9";

fn ok(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A camera that asks for a login: `viewer` by Basic, whoever else by Digest.
fn guarded(request: &[String]) -> Vec<u8> {
    let header = |name: &str| {
        let found = request.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
        found.cloned().unwrap_or_default()
    };
    let login = header("authorization:");
    // viewer:window
    if login.contains("Basic dmlld2VyOndpbmRvdw==") {
        return ok("image/jpeg; charset=binary", FILE);
    }
    if login.contains("Digest") && login.contains("ann") && login.contains("uri=\"/still.jpg?a=1\"")
    {
        return ok("IMAGE/JPG", FILE);
    }
    let offer = if request[0].contains("a=1") {
        "Digest realm=\"camera\", nonce=\"abc\", qop=\"auth\", algorithm=MD5"
    } else {
        "Basic realm=\"camera\""
    };
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: ";
    format!("{answer}{offer}\r\n\r\n").into_bytes()
}

fn still(url: &str) -> Still {
    url.parse().unwrap()
}

#[tokio::test]
async fn a_still_is_fetched_with_the_camera_s_login() {
    let camera = Camera::start(guarded).await;
    let source: Source = "rtsp://viewer:window@127.0.0.1/main".parse().unwrap();
    let file = still(&camera.url("still.jpg")).beside(&source).fetch().await;
    assert_eq!(file.unwrap(), FILE);
    let own = camera.url("still.jpg?a=1").replace("//", "//ann:x@");
    assert_eq!(still(&own).beside(&source).fetch().await.unwrap(), FILE);
    // A password goes only where it was written for.
    let other: Source = "rtsp://viewer:window@127.0.0.2/main".parse().unwrap();
    let secure: Source = "rtsps://viewer:window@127.0.0.1/main".parse().unwrap();
    for source in [other, secure] {
        let fault = still(&camera.url("still.jpg")).beside(&source).fetch().await.unwrap_err();
        assert_eq!(fault.code, Code::SourceAuth);
        assert!(fault.detail.contains("none is given"), "{fault}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again_for_minutes() {
    let camera = Camera::start(guarded).await;
    let source: Source = "rtsp://viewer:door@127.0.0.1/main".parse().unwrap();
    let still = still(&camera.url("still.jpg")).beside(&source);
    for _ in 0..5 {
        let fault = still.fetch().await.unwrap_err();
        assert_eq!(fault.code, Code::SourceAuth);
        assert!(fault.detail.starts_with("`snapshot_url`"), "{fault}");
        assert!(!fault.to_string().contains("door"));
    }
    assert_eq!(camera.asked(), 2, "once without, once with the password");
}

/// A camera that does as its path says.
fn odd(request: &[String]) -> Vec<u8> {
    let path = request[0].split(' ').nth(1).unwrap();
    match path {
        "/html" => ok("text/html", b"<html>"),
        "/lie" => ok("image/jpeg", b"<html>"),
        "/missing" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/busy" => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/away" => {
            b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.9/x?pw=s3cret\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
        "/huge" => {
            let mut answer = ok("image/jpeg", &[]);
            answer = String::from_utf8(answer)
                .unwrap()
                .replace("Content-Length: 0", "Content-Length: 9000000")
                .into_bytes();
            answer.extend(FILE);
            answer.resize(answer.len() + 9_000_000, 0);
            answer
        }
        "/endless" => {
            let chunk = [&b"10000\r\n"[..], &[0xff; 0x10000], b"\r\n"].concat();
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n";
            [&head[..], &chunk.repeat(200)].concat()
        }
        "/headers" => [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 200_000]].concat(),
        "/cut" => ok("image/jpeg", FILE)[..60].to_vec(),
        "/noise" => vec![0xa5; 1_000],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn what_is_no_still_is_named_and_costs_bounded_bytes_and_time() {
    let camera = Camera::start(odd).await;
    for (path, code, words) in [
        ("html", Code::SourceNoMedia, "`text/html`"),
        ("lie", Code::SourceNoMedia, "although it says so"),
        ("missing", Code::SourceNotFound, "404"),
        ("busy", Code::SourceBusy, "503"),
        ("away", Code::SourceProtocol, "elsewhere (http://10.0.0.9/x)"),
        ("huge", Code::SourceLimit, "8 MiB"),
        ("endless", Code::SourceLimit, "8 MiB"),
        ("headers", Code::SourceProtocol, ""),
        ("cut", Code::SourceProtocol, ""),
        ("noise", Code::SourceProtocol, ""),
        ("silent", Code::SourceTimeout, "8 s"),
    ] {
        let begun = Instant::now();
        let fault = still(&camera.url(path)).fetch().await.unwrap_err();
        assert!(fault.code == code && fault.detail.contains(words), "{path}: {fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{path}");
    }
    let closed = still("http://127.0.0.1:1/").fetch().await.unwrap_err();
    assert_eq!(closed.code, Code::SourceRefused);
    for bad in ["rtsp://camera/", "ftp://camera/", "file:///etc/passwd", "http://", "x"] {
        assert!(bad.parse::<Still>().is_err(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_still_is_what_a_stream_shows() {
    let (web, rtsp) = (Camera::start(guarded).await, Mime::start(Manner::default()).await);
    let (app, base) = gateway(&format!(
        "  yard: {{ source: \"{}\", username: viewer, password: window, on_demand: true, snapshot_url: \"{}\" }}\n",
        rtsp.url("main"),
        web.url("still.jpg"),
    ))
    .await;
    let answer = reqwest::get(format!("{base}/yard/snapshot.jpg")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["age"].to_str().unwrap()), (200, "0"));
    assert_eq!(answer.bytes().await.unwrap(), FILE);
    assert_eq!(rtsp.playing("main"), 0, "RTSP is not needed for it");
    let (status, body) = get(&format!("{base}/yard/snapshot.jpg?width=100")).await;
    assert!(status == 422 && body.contains("cannot be read"), "{body}");
    app.stop().await;
}
