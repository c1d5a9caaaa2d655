//! A whole gateway in this process, and what it says of its streams.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

use std::io::Write;
use std::time::{Duration, Instant};

use porthole::app::App;
use porthole::config::Layers;
use serde_json::Value;

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
