//! A session ends with the right it began with, over every output that lasts.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;

use std::time::{Duration, Instant, SystemTime};

use futures_util::{SinkExt, StreamExt};
use porthole::auth::EmbedKey;
use porthole::cli::demo_camera;
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// How long the short tokens last: sessions are up well before, and nobody has
/// given up yet on the WebRTC viewer that never comes.
const SHORT: Duration = Duration::from_secs(5);
/// Longest a session may go on beyond that.
const GRACE: Duration = Duration::from_secs(5);

fn token(ttl: Duration) -> String {
    let key = EmbedKey::new(KEY.as_bytes()).unwrap();
    key.mint(&["yard".parse().unwrap()], ttl, None, SystemTime::now())
}

/// Plays over MSE until it is closed: pictures seen, and why it ended.
async fn mse(base: &str, token: &str) -> (usize, String) {
    let url = format!("{}/yard/mse?token={token}", base.replace("http", "ws"));
    let (mut socket, _) = connect_async(url).await.unwrap();
    let plays = r#"{"type":"mse","value":"avc1.640029,avc1.64002A,mp4a.40.2,flac,opus"}"#;
    socket.send(Message::text(plays)).await.unwrap();
    let mut pictures = 0;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(_) => pictures += 1,
            Message::Close(Some(close)) => return (pictures, close.reason.to_string()),
            _ => {}
        }
    }
    (pictures, String::new())
}

/// Reads pictures until the end: their bytes.
async fn mjpeg(base: &str, token: &str) -> usize {
    let url = format!("{base}/yard/stream.mjpeg?token={token}");
    let mut answer = Client::new().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes += chunk.len();
    }
    bytes
}

/// Plays over RTSP until the connection is closed: bytes read while playing.
async fn rtsp(address: &str, token: &str) -> usize {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut session = String::new();
    let mut buffer = vec![0; 64 << 10];
    for (cseq, (method, path)) in
        [("DESCRIBE", "yard"), ("SETUP", "yard/trackID=0"), ("PLAY", "yard")].iter().enumerate()
    {
        let request = format!(
            "{method} rtsp://{address}/{path}?token={token} RTSP/1.0\r\nCSeq: {cseq}\r\n{session}\
             Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let read = socket.read(&mut buffer).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(answer.starts_with("RTSP/1.0 200"), "{method}: {answer}");
        if let Some(line) = answer.lines().find(|line| line.starts_with("Session: ")) {
            session = format!("{}\r\n", line.split(';').next().unwrap());
        }
    }
    let mut bytes = 0;
    loop {
        match socket.read(&mut buffer).await.unwrap() {
            0 => return bytes,
            read => bytes += read,
        }
    }
}

async fn soon<T>(output: &str, session: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(SHORT + GRACE, session).await;
    ended.unwrap_or_else(|_| panic!("{output} goes on"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playing_session_ends_with_its_token_and_one_beside_it_goes_on() {
    let camera = demo_camera::start().await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("embed.key");
    std::fs::write(&key, KEY).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rtsp_address = free.local_addr().unwrap().to_string();
    drop(free);
    let app = app_support::configured(&format!(
        "streams: {{ yard: \"{}\" }}\nrtsp: {{ listen: \"{rtsp_address}\" }}\n\
         auth:\n  embed_key_file: {}\n  allow_from: [127.0.0.0/8]\n  \
         users: [{{ name: root, password_hash: \"{}\", admin: true }}]\n",
        camera.url,
        key.display(),
        app_support::hash("right"),
    ))
    .await;
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "yard", |stream| stream["state"] == "live").await;

    let lasting = tokio::spawn({
        let (base, token) = (base.clone(), token(Duration::from_secs(3_600)));
        async move { mse(&base, &token).await }
    });
    let (began, short) = (Instant::now(), token(SHORT));
    let offer = Client::new()
        .post(format!("{base}/yard/whep?token={short}"))
        .header("content-type", "application/sdp")
        .body(app_support::OFFER);
    let answer = offer.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let session = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(session.ends_with(&format!("?token={short}")), "{session}");

    let whep_over = async {
        let metrics = format!("http://{}/metrics", app.admin_address());
        let wanted = "porthole_session_duration_seconds_count{end=\"expired\",output=\"whep\"} 1\n";
        loop {
            let scrape = Client::new().get(&metrics).basic_auth("root", Some("right"));
            if scrape.send().await.unwrap().text().await.unwrap().contains(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ((pictures, why), picture_bytes, rtp_bytes, ()) = tokio::join!(
        soon("MSE", mse(&base, &short)),
        soon("MJPEG", mjpeg(&base, &short)),
        soon("RTSP", rtsp(&rtsp_address, &short)),
        soon("WHEP", whep_over),
    );
    assert!(began.elapsed() > SHORT - Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(pictures > 5 && why == "viewer.auth", "MSE: {pictures}, {why}");
    assert!(picture_bytes > 1_000 && rtp_bytes > 1_000, "{picture_bytes}, {rtp_bytes}");
    assert!(!lasting.is_finished(), "a token that lasts");
    app.stop().await;
    assert!(lasting.await.unwrap().0 > pictures);
}
