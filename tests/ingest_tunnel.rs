//! RTSP in HTTP: what passes, and what is said of cameras that let it not.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use camera_support::{Cameras, Pulled, pull, source};
use ingest_support::{Front, MOUNT, Scripted, TunnelMouth, certificate, ok};
use porthole::bus::SourceState;
use porthole::fault::{Code, Fault};
use porthole::ingest::{Transport, Trust, probe};
use tokio_rustls::rustls::ALL_VERSIONS;

fn pull_by_http(url: &str) -> Pulled {
    let mut asked = source(url);
    (asked.transport, asked.tls) = (Transport::Http, Trust::Anybody);
    pull(asked)
}

async fn plays(url: &str, frames: usize) {
    let mut camera = pull_by_http(url);
    assert!(camera.frames(frames).await[0].is_entry_point());
    assert_eq!(camera.stream.status().fault, None);
    camera.end().await;
}

async fn refused(url: &str) -> Fault {
    let camera = pull_by_http(url);
    let down = camera.status(|status| status.state == SourceState::Down).await;
    camera.end().await;
    down.fault.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamers_own_tunnel_plays() {
    let cameras = Cameras::start(&[MOUNT]);
    // Longer than the interval of receiver reports, which travel in it too.
    plays(&cameras.url(MOUNT), 200).await;
    let mut asked = source(&cameras.url(MOUNT));
    asked.transport = Transport::Http;
    let probe = probe(&asked).await;
    assert_eq!((probe.transport, probe.fault), (Some(Transport::Http), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rtsp_goes_up_in_base64_and_says_goodbye_in_http_and_in_https() {
    let camera = Scripted::start(ok).await;
    let mouth = TunnelMouth::start(camera.port, |_| None).await;
    let front = Front::start(mouth.port, &certificate("camera"), ALL_VERSIONS).await;
    for (nth, url) in [("rtsp", mouth.port), ("rtsps", front.port)].into_iter().enumerate() {
        plays(&format!("{}://127.0.0.1:{}/live?channel=1", url.0, url.1), 10).await;
        camera
            .until(|asked| asked.iter().filter(|ask| ask.method == "TEARDOWN").count() > nth)
            .await;
    }
    let setup = camera.asked().into_iter().find(|ask| ask.method == "SETUP").unwrap();
    assert!(setup.header("Transport").unwrap().starts_with("RTP/AVP/TCP"), "{setup:?}");
    let heads = mouth.heads();
    let [get, post, ..] = &heads[..] else { panic!("{heads:?}") };
    assert!(get.starts_with("GET /live?channel=1 HTTP/1.0\r\n"), "{get}");
    assert!(get.contains("Accept: application/x-rtsp-tunnelled\r\n"), "{get}");
    assert!(post.starts_with("POST /live?channel=1 HTTP/1.0\r\n"), "{post}");
    assert!(post.contains("Content-Type: application/x-rtsp-tunnelled\r\n"), "{post}");
    let cookies: Vec<&str> =
        heads.iter().flat_map(|head| head.lines()).filter(|l| l.starts_with("x-session")).collect();
    assert!(cookies.len() == 4 && cookies[0] == cookies[1] && cookies[0] != cookies[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tunnel_asks_for_a_login_of_its_own() {
    let camera = Scripted::start(ok).await;
    let objects = |head: &str| {
        let (method, uri) = (head.split(' ').next().unwrap(), "uri=\"/live\"");
        let is_digest = |line: &str| line.starts_with("Authorization: Digest ");
        let known = head.lines().any(|line| is_digest(line) && line.contains(uri));
        assert!(known || method == "GET", "who was asked once need not be asked again");
        (!known).then_some(
            "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"1\"\r\n\r\n",
        )
    };
    let mouth = TunnelMouth::start(camera.port, objects).await;
    plays(&format!("rtsp://ann:pw@127.0.0.1:{}/live", mouth.port), 5).await;
    assert_eq!(mouth.heads().len(), 3);

    let fault = refused(&format!("rtsp://127.0.0.1:{}/live", mouth.port)).await;
    assert_eq!(fault.code, Code::SourceAuth, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_tunnel_is_named() {
    let camera = Scripted::start(ok).await;
    let no_tunnel = |_: &str| Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let wrong = |_: &str| Some("HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n");
    let no_post = |head: &str| head.starts_with("POST").then_some("HTTP/1.0 403 Forbidden\r\n\r\n");
    let ssh = |_: &str| Some("SSH-2.0-dropbear\r\n");
    let long =
        |_: &str| Some(Box::leak(format!("HTTP/1.0 200 {}", "x".repeat(9_000)).into()) as &str);
    let endings = [
        (TunnelMouth::start(camera.port, no_tunnel).await, Code::SourceNotFound, "no RTSP in HTTP"),
        (TunnelMouth::start(camera.port, wrong).await, Code::SourceAuth, ""),
        (TunnelMouth::start(camera.port, no_post).await, Code::SourceProtocol, "POST with 403"),
        (TunnelMouth::start(camera.port, ssh).await, Code::SourceProtocol, "not speak HTTP"),
        (TunnelMouth::start(camera.port, long).await, Code::SourceLimit, "8 KiB"),
    ];
    for (mouth, code, words) in endings {
        let fault = refused(&format!("rtsp://ann:pw@127.0.0.1:{}/live", mouth.port)).await;
        assert!(fault.code == code && fault.detail.contains(words), "{fault}");
    }
}
