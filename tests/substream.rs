//! A second quality of a stream: pulled while somebody watches it, chosen by
//! word on every output, and never quietly replaced.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod camera_support;
mod ingest_support;
mod whep_support;

use app_support::{gateway, get, listed, uri};
use ingest_support::{Manner, Mime};
use porthole::app::Exit;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::{Audio, Video};
use serde_json::Value;
use whep_support::player::{Event, Player};
use whep_support::session_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_substream_is_pulled_while_watched_and_chosen_by_word() {
    let camera = Mime::start(Manner::default()).await;
    let lone = Mime::start(Manner::default()).await;
    let (app, base) = gateway(&format!(
        "  yard: {{ source: \"{}\", substream: \"{}\" }}\n  gate: {}\n",
        camera.url("main"),
        camera.url("sub"),
        lone.url("live")
    ))
    .await;
    let yard = listed(&base, "yard", |yard| yard["state"] == "live").await;
    assert_eq!(yard["substream"]["state"], "idle", "{yard}");
    assert!(yard["substream"]["source"].as_str().unwrap().ends_with("/sub"), "{yard}");
    let gate = listed(&base, "gate", |gate| gate["state"] == "live").await;
    assert!(gate.get("substream").is_none(), "{gate}");
    assert_eq!((camera.playing("main"), camera.playing("sub")), (1, 0));

    // What there is not is said, never replaced.
    for (path, words) in [
        ("gate/index.m3u8?quality=sub", "gate has no substream"),
        ("yard/index.m3u8?quality=hd", "`hd` is no quality"),
        ("gate/hls/sub/media.m3u8", "gate has no substream"),
    ] {
        let (status, body) = get(&format!("{base}/{path}")).await;
        assert!(status == 404 && body.contains("stream.unknown") && body.contains(words), "{body}");
    }
    let (mut player, offer) = Player::offering(&[Video]).await;
    let refused = player.post(&format!("{base}/gate/whep?quality=sub"), &offer).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(camera.playing("sub"), 0, "nobody has watched it yet");

    // WebRTC.
    let post = format!("{base}/yard/whep?quality=sub");
    let session = session_of(&post, &player.play(&post, &offer).await);
    player.until("a picture", |event| matches!(event, Event::Rtp("video", _)).then_some(())).await;
    assert_eq!((camera.playing("main"), camera.playing("sub")), (1, 1));
    let yard = listed(&base, "yard", |yard| yard["substream"]["state"] == "live").await;
    assert_eq!(yard["substream"]["tracks"][0]["width"], 1280, "{yard}");

    // HLS, which it is kept by from here on.
    let (status, index) = get(&format!("{base}/yard/index.m3u8?quality=sub")).await;
    assert_eq!((status, uri(&index).starts_with("hls/sub/")), (200, true), "{index}");
    let deleted = reqwest::Client::new().delete(session).send().await;
    assert_eq!(deleted.unwrap().status(), 200, "the session is the stream's, whatever its quality");
    let media = format!("{base}/yard/{}", uri(&index));
    let (status, playlist) = get(&media).await;
    assert_eq!(status, 200, "{playlist}");
    let object = format!("{}/{}", media.rsplit_once('/').unwrap().0, uri(&playlist));
    assert_eq!(reqwest::get(&object).await.unwrap().status(), 200, "{object}");
    let main = uri(&get(&format!("{base}/yard/index.m3u8")).await.1);
    assert!(main.starts_with("hls/") && !main.starts_with("hls/sub/"), "{main}");

    let metrics = get(&format!("http://{}/metrics", app.admin_address())).await.1;
    assert!(metrics.contains("porthole_source_up{stream=\"yard/sub\"} 1"), "{metrics}");
    for stream in ["yard", "yard/sub"] {
        let label = format!("stream=\"{stream}\"");
        let series = metrics.lines().filter(|line| line.contains(&label)).count();
        assert!((10..=30).contains(&series), "{stream} has {series} series");
    }

    // Left alone, it goes; the main stream stays.
    listed(&base, "yard", |yard| yard["substream"]["state"] == "idle").await;
    assert_eq!((camera.playing("main"), camera.playing("sub")), (1, 0));
    assert_eq!(camera.count().most, 2, "one session for each URL");
    assert_eq!(app.stop().await, Exit::Clean);
    assert_eq!((camera.count().open, lone.count().open), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_substream_that_fails_says_why_and_leaves_the_main_stream_alone() {
    let (main, sub) = (
        Mime::start(Manner::default()).await,
        Mime::start(Manner { login: Some("c29tZWJvZHk6ZWxzZQ=="), ..Manner::default() }).await,
    );
    let (app, base) = gateway(&format!(
        "  yard:\n    source: {}\n    substream: {}\n    username: ann\n    password: pw\n",
        main.url("main"),
        sub.url("sub")
    ))
    .await;
    listed(&base, "yard", |yard| yard["state"] == "live").await;
    let (status, body) = get(&format!("{base}/yard/index.m3u8?quality=sub")).await;
    assert!(matches!(status, 502 | 503), "{body}");
    let yard = listed(&base, "yard", |yard| yard["substream"]["state"] == "down").await;
    assert_eq!(yard["substream"]["error"]["code"], "source.auth", "{yard}");
    assert_eq!((&yard["state"], &yard["error"]), (&"live".into(), &Value::Null), "{yard}");
    let (status, body) = get(&format!("{base}/yard/index.m3u8?quality=sub")).await;
    assert!(status == 502 && body.contains("source.auth"), "{body}");
    assert_eq!(app.stop().await, Exit::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_announced_and_never_comes_keeps_no_viewer_waiting() {
    let camera = Mime::start(Manner { sound: false, ..Manner::default() }).await;
    let (app, base) = gateway(&format!("  mute: {}\n", camera.url("live"))).await;
    listed(&base, "mute", |mute| mute["state"] == "live").await;

    let asked = std::time::Instant::now();
    let (mut player, offer) = Player::offering(&[Video, Audio]).await;
    player.play(&format!("{base}/mute/whep"), &offer).await;
    player.until("a picture", |event| matches!(event, Event::Rtp("video", _)).then_some(())).await;
    assert!(asked.elapsed().as_secs() < 3, "{:?}", asked.elapsed());

    // A key frame every 2 s: the first segment is there after two of them.
    let (status, index) = get(&format!("{base}/mute/index.m3u8")).await;
    let (status, index) =
        if status == 503 { get(&format!("{base}/mute/index.m3u8")).await } else { (status, index) };
    assert_eq!(status, 200, "{index}");
    assert!(index.contains("CODECS=\"avc1.42C01F\""), "only what comes is promised: {index}");

    let mute = listed(&base, "mute", |mute| mute["notes"][0]["code"] != Value::Null).await;
    assert_eq!(
        (&mute["state"], &mute["notes"][0]["code"]),
        (&"live".into(), &"codec.audio_dropped".into())
    );
    assert_eq!(camera.count().all, 1, "a good picture is not given up for it");
    assert_eq!(app.stop().await, Exit::Clean);
}
