//! A whole gateway in this process, and what it says of its streams.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use porthole::app::App;
use porthole::config::Layers;
use serde_json::Value;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// What a WebRTC viewer of H.264 asks; one that never comes.
pub const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 107\r\nc=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff\r\n\
    a=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:107 H264/90000\r\n\
    a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

/// A gateway of this configuration's streams (YAML, indented), on ports of
/// its own, and the address of its pages.
pub async fn gateway(streams: &str) -> (App, String) {
    let app = configured(&format!("streams:\n{streams}")).await;
    let base = format!("http://{}", app.viewer_address());
    (app, base)
}

/// A gateway of this configuration (YAML), on ports of its own.
pub async fn configured(yaml: &str) -> App {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let listeners = "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n\
                     webrtc: { listen: 127.0.0.1:0 }\n";
    write!(file, "{listeners}{yaml}").unwrap();
    let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
    App::start(layers.load().unwrap_or_else(|f| panic!("{f}"))).await.unwrap()
}

/// The password's hash, for `auth.users`; quick to verify, as no real one is.
pub fn hash(password: &str) -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
    let params = Params::new(8, 1, 1, None).unwrap();
    let quick = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    quick.hash_password(password.as_bytes()).unwrap().to_string()
}

pub async fn get(url: &str) -> (u16, String) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The stream of that name, once `wanted` holds of it.
pub async fn listed(base: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let list = get(&format!("{base}/api/streams")).await.1;
        let list: Value = serde_json::from_str(&list).unwrap();
        let found = list["streams"].as_array().unwrap().iter().find(|s| s["name"] == name).cloned();
        match found {
            Some(stream) if wanted(&stream) => return stream,
            other => assert!(Instant::now() < deadline, "still {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The first URI of a playlist.
pub fn uri(playlist: &str) -> String {
    playlist.lines().find(|line| !line.starts_with('#')).unwrap().to_owned()
}

/// Plays over MSE until it is closed: the decode time of each picture's
/// fragment, in order.
pub async fn watch(base: String, path: &'static str) -> Vec<u64> {
    watch_counted(base, path, Arc::default()).await
}

/// The same; `seen` is how many there have been so far.
pub async fn watch_counted(base: String, path: &'static str, seen: Arc<AtomicUsize>) -> Vec<u64> {
    let url = format!("{}/{path}", base.replace("http", "ws"));
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text(r#"{"type":"mse","value":"avc1.640029"}"#)).await.unwrap();
    let mut times = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        // ISO 14496-12 §8.8.12: version 1, flags, 64 bits of time.
        if let Some(at) = bytes.windows(4).position(|four| four == b"tfdt") {
            let time = bytes[at + 8..at + 16].try_into().unwrap();
            times.push(u64::from_be_bytes(time));
            seen.store(times.len(), Ordering::Relaxed);
        }
    }
    times
}

/// No frame is missing among those with these times: it would double a step.
pub fn assert_whole(times: &[u64]) {
    let steps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = (steps.iter().min().unwrap(), steps.iter().max().unwrap());
    assert!(most - least < least / 2, "steps from {least} to {most}");
}
