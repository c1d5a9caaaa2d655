//! The operator's API: what it tells, and what it changes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod viewer_support;

use std::process::Command;

use porthole::app::App;
use reqwest::Client;
use serde_json::{Value, json};
use viewer_support::{mjpeg, mse, rtsp};

async fn get(app: &App, path: &str) -> (u16, Value) {
    let (status, text) = app_support::get(&format!("http://{}{path}", app.admin_address())).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_told_with_their_configuration_and_how_they_are_doing() {
    let camera = porthole::cli::demo_camera::start().await.unwrap();
    let app = app_support::configured(&format!(
        "streams:\n  yard: {{ source: \"{}\", after_loss: show }}\n  \
         gate: rtsp://ann:s3cret@127.0.0.1:1/live?pw=s3cret\n",
        camera.url
    ))
    .await;
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "yard", |stream| stream["state"] == "live").await;
    app_support::listed(&base, "gate", |stream| stream["state"] == "down").await;

    let (status, list) = get(&app, "/api/v1/streams").await;
    assert_eq!(status, 200);
    let names: Vec<_> = list["streams"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["yard", "gate"], "as they are written");
    let (_, yard) = get(&app, "/api/v1/streams/yard").await;
    assert_eq!(
        yard["config"],
        json!({
            "source": camera.url, "transport": "auto", "after_loss": "show", "on_demand": false,
            "snapshot": "on",
        })
    );
    assert_eq!((&yard["origin"], &yard["status"]["state"]), (&json!("file"), &json!("live")));
    let (_, gate) = get(&app, "/api/v1/streams/gate").await;
    assert_eq!(gate["config"]["source"], "rtsp://ann:***@127.0.0.1:1/live?***");
    assert_eq!(gate["status"]["error"]["code"], "source.refused");

    let (status, problem) = get(&app, "/api/v1/streams/nobody").await;
    assert_eq!((status, &problem["code"]), (404, &json!("stream.unknown")));
    app.stop().await;
}

#[tokio::test]
async fn the_configuration_is_told_by_its_keys_with_defaults_and_without_secrets() {
    let hash = app_support::hash("s3cret");
    let app = app_support::configured(&format!(
        "streams: {{ gate: \"rtsp://ann:s3cret@127.0.0.1:1/live\" }}\nhls: {{ part: 200ms }}\n\
         auth:\n  users: [{{ name: root, password_hash: \"{hash}\", admin: true }}]\n  \
         http: {{ url: \"http://u:s3cret@127.0.0.1:1/?key=s3cret\" }}\n\
         traces: {{ endpoint: \"http://s3cret@127.0.0.1:1/\" }}\n"
    ))
    .await;
    let url = format!("http://{}/api/v1/config", app.admin_address());
    let answer = Client::new().get(&url).basic_auth("root", Some("s3cret")).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("s3cret") && !text.contains("$argon2"), "{text}");
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["hls"]["part"], "200ms");
    assert_eq!(config["hls"]["window"], "60s");
    assert_eq!(config["auth"]["users"][0]["name"], "root");
    assert_eq!(config["streams"]["gate"]["source"], "rtsp://ann:***@127.0.0.1:1/live");

    // Every section that a file may have and that has a default, by its name.
    let schema: Value = serde_json::from_str(porthole::config::SCHEMA).unwrap();
    let optional = ["tls", "snapshot"];
    for (key, section) in schema["properties"].as_object().unwrap() {
        assert!(optional.contains(&key.as_str()) || !config[key].is_null(), "{key} is not told");
        for below in section["properties"].as_object().into_iter().flatten() {
            let told = config[key].as_object().is_some_and(|told| told.contains_key(below.0));
            let optional = ["auth", "tls"].contains(&key.as_str());
            assert!(told || optional, "{key}.{} is not told", below.0);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_program_prints_the_document_that_the_gateway_answers() {
    let app = app_support::configured("streams: {}\n").await;
    let (status, answered) = get(&app, "/openapi.json").await;
    let printed = Command::new(env!("CARGO_BIN_EXE_porthole")).arg("openapi").output().unwrap();
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), answered);
    assert_eq!(answered["openapi"], "3.1.0");

    // No link in it leads nowhere.
    let text = answered.to_string();
    for link in text.split("\"#/").skip(1) {
        let pointer = format!("/{}", link.split('"').next().unwrap());
        assert!(answered.pointer(&pointer).is_some(), "{pointer}");
    }
    // Every route of the API is in it, and each with the methods it has.
    let client = Client::new();
    for (path, item) in answered["paths"].as_object().unwrap() {
        let path = path.replace("{stream}", "nobody").replace("{session}", &"0".repeat(32));
        let url = format!("http://{}{path}", app.admin_address());
        let answer = client.request(reqwest::Method::TRACE, &url).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap().replace(", HEAD", "");
        let mut allowed: Vec<String> = allowed.split(", ").map(str::to_ascii_lowercase).collect();
        allowed.sort();
        let mut described: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        described.retain(|key| key != "parameters");
        described.sort();
        assert_eq!(allowed, described, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_listed_and_sent_away() {
    let camera = porthole::cli::demo_camera::start().await.unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rtsp_address = free.local_addr().unwrap().to_string();
    drop(free);
    let app = app_support::configured(&format!(
        "streams: {{ yard: \"{}\" }}\nrtsp: {{ listen: \"{rtsp_address}\" }}\n",
        camera.url
    ))
    .await;
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "yard", |stream| stream["state"] == "live").await;
    assert_eq!(get(&app, "/api/v1/sessions").await, (200, json!({ "sessions": [] })));

    let client = Client::new();
    let offer = client.post(format!("{base}/yard/whep")).header("content-type", "application/sdp");
    let answer = offer.body(app_support::OFFER).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let sessions = async |wanted: usize| {
        for _ in 0..100 {
            let (_, list) = get(&app, "/api/v1/sessions").await;
            let sessions = list["sessions"].as_array().unwrap().clone();
            if sessions.len() == wanted {
                return sessions;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("there are never {wanted} sessions");
    };
    let session = sessions(1).await.remove(0);
    assert_eq!((&session["stream"], &session["output"]), (&json!("yard"), &json!("whep")));
    assert_eq!((&session["quality"], &session["principal"]), (&json!("main"), &Value::Null));
    let id = session["id"].as_str().unwrap();
    let end = async |id: &str| {
        let url = format!("http://{}/api/v1/sessions/{id}", app.admin_address());
        client.delete(url).send().await.unwrap()
    };
    assert_eq!(end(id).await.status(), 204);
    sessions(0).await;
    let gone = end(id).await;
    assert_eq!(gone.status(), 404);
    let problem: Value = serde_json::from_str(&gone.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "session.unknown");

    // Each other output that lasts.
    let outputs = async {
        let ((pictures, why), picture_bytes, rtp_bytes) =
            tokio::join!(mse(&base, ""), mjpeg(&base, ""), rtsp(&rtsp_address, ""));
        assert!(pictures > 5 && why == "ended", "MSE: {pictures}, {why}");
        assert!(picture_bytes > 1_000 && rtp_bytes > 1_000, "{picture_bytes}, {rtp_bytes}");
    };
    let sent_away = async {
        // They are told once a second.
        let told = async {
            loop {
                let list = sessions(3).await;
                if list.iter().all(|session| session["bit_rate"].as_u64() > Some(1_000)) {
                    return list;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let limit = std::time::Duration::from_secs(30);
        let list = tokio::time::timeout(limit, told).await.expect("some session is never told of");
        let mut found: Vec<_> = list
            .iter()
            .map(|s| ["output", "video", "audio", "stage", "transport"].map(|key| s[key].clone()))
            .collect();
        found.sort_by_key(|row| row[0].to_string());
        let row = |output, video, audio: Option<&str>| {
            [json!(output), json!(video), json!(audio), json!("live"), json!("tcp")]
        };
        assert_eq!(
            found,
            [
                row("mjpeg", "JPEG", None),
                row("mse", "H.264", Some("PCMA")),
                row("rtsp", "H.264", None),
            ]
        );
        for session in list {
            assert!(session["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{session}");
            assert_eq!(end(session["id"].as_str().unwrap()).await.status(), 204);
        }
        sessions(0).await;
    };
    tokio::join!(outputs, sent_away);
    let (_, text) = app_support::get(&format!("http://{}/metrics", app.admin_address())).await;
    for output in ["mjpeg", "mse", "rtsp"] {
        let line = format!(
            "porthole_session_duration_seconds_count{{end=\"ended\",output=\"{output}\"}} 1\n"
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
    app.stop().await;
}
