//! A session ends with the right it began with, over every output that lasts.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod viewer_support;

use std::time::{Duration, Instant, SystemTime};

use porthole::auth::EmbedKey;
use porthole::cli::demo_camera;
use reqwest::Client;
use viewer_support::{mjpeg, mse, rtsp};

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
        async move { mse(&base, &format!("?token={token}")).await }
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
    let query = format!("?token={short}");
    let ((pictures, why), picture_bytes, rtp_bytes, ()) = tokio::join!(
        soon("MSE", mse(&base, &query)),
        soon("MJPEG", mjpeg(&base, &query)),
        soon("RTSP", rtsp(&rtsp_address, &query)),
        soon("WHEP", whep_over),
    );
    assert!(began.elapsed() > SHORT - Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(pictures > 5 && why == "viewer.auth", "MSE: {pictures}, {why}");
    assert!(picture_bytes > 1_000 && rtp_bytes > 1_000, "{picture_bytes}, {rtp_bytes}");
    assert!(!lasting.is_finished(), "a token that lasts");
    app.stop().await;
    assert!(lasting.await.unwrap().0 > pictures);
}
