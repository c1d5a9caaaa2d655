//! The operator's API changes streams: in force, in the file, and nothing else.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use porthole::app::App;
use porthole::cli::demo_camera;
use porthole::config::Layers;
use reqwest::{Client, Method};
use serde_json::{Value, json};

const LISTENERS: &str = "listen: 127.0.0.1:0\nwebrtc: { listen: 127.0.0.1:0 }\n";

/// Lets cameras of tests be reached, which are on this machine.
const HERE: &str = "admin: { listen: 127.0.0.1:0, source_networks: [127.0.0.0/8] }\n";

struct House {
    folder: tempfile::TempDir,
    app: App,
}

impl House {
    async fn of(yaml: &str) -> Self {
        Self::with(&format!("{HERE}{yaml}"), BTreeMap::new()).await
    }

    async fn with(yaml: &str, environment: BTreeMap<String, String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("porthole.yaml"), format!("{LISTENERS}{yaml}")).unwrap();
        let app = start(&folder, environment).await;
        Self { folder, app }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("porthole.yaml")
    }

    /// The file, without what it begins with.
    fn file(&self) -> String {
        fs::read_to_string(self.path()).unwrap().replace(LISTENERS, "").replace(HERE, "")
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        ask(&self.url(path), method, &body, &[]).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.app.admin_address())
    }

    async fn again(self) -> Self {
        self.app.stop().await;
        let app = start(&self.folder, BTreeMap::new()).await;
        Self { folder: self.folder, app }
    }
}

async fn start(folder: &tempfile::TempDir, environment: BTreeMap<String, String>) -> App {
    let file = Some(folder.path().join("porthole.yaml"));
    let layers = Layers { file, environment, ..Layers::default() };
    let app = App::start(layers.load().unwrap_or_else(|f| panic!("{f}"))).await.unwrap();
    app.follow(layers).await;
    app
}

async fn ask(url: &str, method: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
    let method: Method = method.parse().unwrap();
    let mut request = Client::new().request(method.clone(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_null() {
        let kind = if method == Method::PATCH { "merge-patch+json" } else { "json" };
        request = request.header("content-type", format!("application/{kind}"));
        request = request.body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    match status {
        204 => assert!(text.is_empty() && kind.is_none(), "{kind:?} {text}"),
        200 | 201 => assert_eq!(kind.as_deref(), Some("application/json")),
        _ => assert_eq!(kind.as_deref(), Some("application/problem+json"), "{text}"),
    }
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// The keys with faults, and what is said of them.
fn faults(problem: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fault = |fault: &Value| (text(&fault["key"]), text(&fault["detail"]));
    problem["faults"].as_array().into_iter().flatten().map(fault).collect()
}

fn keys(problem: &Value) -> String {
    faults(problem).into_keys().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_come_change_and_go_and_the_others_lose_no_frame() {
    let (one, two) = (demo_camera::start().await.unwrap(), demo_camera::start().await.unwrap());
    let yaml =
        format!("# ours\nstreams:\n  # first\n  one: {} # stays\n\nhls: {{ part: 1s }}\n", one.url);
    let house = House::of(&yaml).await;
    let base = format!("http://{}", house.app.viewer_address());
    app_support::listed(&base, "one", |stream| stream["state"] == "live").await;
    let seen = Arc::<AtomicUsize>::default();
    let watch = app_support::watch_counted(base.clone(), "one/mse", Arc::clone(&seen));
    let viewer = tokio::spawn(watch);

    let (status, added) =
        house.ask("POST", "streams", json!({ "name": "two", "source": two.url })).await;
    assert_eq!(status, 201, "{added}");
    assert_eq!(added["config"]["from_api"], true);
    let line = format!("  one: {} # stays\n", one.url);
    let lines = format!("{line}  two:\n    source: \"{}\"\n    from_api: true\n", two.url);
    let lines = lines.replace(&format!("\"{}\"", two.url), &two.url);
    assert_eq!(house.file(), yaml.replace(&line, &lines));
    // In force when the answer is here.
    assert_eq!(app_support::get(&format!("{base}/two/")).await.0, 200);
    app_support::listed(&base, "two", |stream| stream["state"] == "live").await;

    for n in 0..20 {
        let wanted = json!({ "after_loss": if n % 2 == 0 { "show" } else { "hold" } });
        let (status, changed) = house.ask("PATCH", "streams/two", wanted.clone()).await;
        assert_eq!(status, 200, "{changed}");
        assert_eq!(changed["config"]["after_loss"], wanted["after_loss"]);
    }
    app_support::listed(&base, "two", |stream| stream["state"] == "live").await;
    let (status, replaced) =
        house.ask("PUT", "streams/two", json!({ "source": two.url, "on_demand": true })).await;
    assert_eq!((status, &replaced["config"]["on_demand"]), (200, &json!(true)));
    assert_eq!(replaced["config"]["after_loss"], "hold");
    let (status, _) = house.ask("DELETE", "streams/two", Value::Null).await;
    assert_eq!(status, 204);
    assert_eq!(house.file(), yaml, "as it was before");
    assert_eq!(app_support::get(&format!("{base}/two/")).await.0, 404);
    for method in ["GET", "DELETE", "PATCH"] {
        let body = if method == "PATCH" { json!({}) } else { Value::Null };
        let (status, problem) = house.ask(method, "streams/two", body).await;
        assert_eq!((status, &problem["code"]), (404, &json!("stream.unknown")), "{method}");
    }

    let text = app_support::get(&format!("http://{}/metrics", house.app.admin_address())).await.1;
    let connects = "porthole_source_connects_total{result=\"ok\",stream=\"one\"} 1\n";
    assert!(text.contains(connects), "{text}");
    // A quick machine has done all of this within few pictures.
    let until = Instant::now() + Duration::from_secs(20);
    while seen.load(Ordering::Relaxed) <= 10 && !viewer.is_finished() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house.app.stop().await;
    let times = viewer.await.unwrap();
    assert!(times.len() > 10, "{}", times.len());
    app_support::assert_whole(&times);
}

#[tokio::test]
async fn a_patch_keeps_what_it_does_not_name_and_takes_text_as_it_stands() {
    let yaml = "streams:\n  yard:\n    source: rtsp://10.0.0.6:1/a # ${X} is no variable here\n    \
                username: ann\n    # from the vault\n    password: ${YARD_PW:s3cret}\n    on_demand: true\n";
    let house = House::of(yaml).await;
    let (status, changed) =
        house.ask("PATCH", "streams/yard", json!({ "transport": "udp", "on_demand": null })).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(changed["config"]["source"], "rtsp://ann:***@10.0.0.6:1/a");
    assert_eq!(changed["config"].get("from_api"), None, "the URL is still the file's");
    let wanted = yaml.replace("    on_demand: true\n", "    transport: udp\n");
    assert_eq!(house.file(), wanted);

    // A password that the caller does not know goes to no host that they choose.
    let elsewhere = json!({ "source": "rtsp://10.0.0.66:1/a", "on_demand": true });
    let (status, problem) = house.ask("PATCH", "streams/yard", elsewhere).await;
    assert_eq!((status, keys(&problem)), (422, "password source".to_owned()));
    assert_eq!(house.file(), wanted);
    house.app.stop().await;

    let open = "admin: { listen: 127.0.0.1:0 }\n".to_owned() + yaml;
    let house = House::with(&open, BTreeMap::new()).await;
    let elsewhere = json!({ "source": "rtsp://10.0.0.66:1/a", "on_demand": true });
    let (status, problem) = house.ask("PATCH", "streams/yard", elsewhere).await;
    assert_eq!((status, keys(&problem)), (422, "password".to_owned()));
    let own =
        json!({ "source": "rtsp://10.0.0.66:1/a", "on_demand": true, "password": "${HOME}$$x" });
    let (status, changed) = house.ask("PATCH", "streams/yard", own).await;
    assert_eq!(status, 200, "{changed}");
    assert!(house.file().contains("password: \"$${HOME}$$$$x\"\n"), "{}", house.file());
    assert!(!changed.to_string().contains("HOME"), "{changed}");
    house.app.stop().await;
}

#[tokio::test]
async fn what_is_not_valid_is_told_whole_and_changes_nothing() {
    let house = House::of("streams:\n  yard: rtsp://127.0.0.1:1/a\n").await;
    let before = house.file();
    let (status, problem) = house
        .ask(
            "POST",
            "streams",
            json!({
                "name": "gate", "source": "http://10.0.0.5/", "transport": "pigeon",
                "on_demand": "yes", "pasword": "x", "password_file": "/etc/shadow",
                "tls": { "ca_file": "/etc/passwd" }, "snapshot_url": "rtsp://u:***@x/",
            }),
        )
        .await;
    assert_eq!((status, &problem["code"]), (422, &json!("config.invalid")));
    let told = faults(&problem);
    for (key, why) in [
        ("source", "rtsp://"),
        ("transport", "auto"),
        ("on_demand", "true or false"),
        ("pasword", "did you mean `password`"),
        ("password_file", "in its configuration file alone"),
        ("tls.ca_file", "in its configuration file alone"),
        ("snapshot_url", "***"),
    ] {
        assert!(told.get(key).is_some_and(|said| said.contains(why)), "{key}: {told:?}");
    }
    for (method, path, body, status) in [
        ("POST", "streams", json!({ "name": "No Name", "source": "rtsp://10.0.0.5/" }), 422),
        ("POST", "streams", json!({ "source": "rtsp://10.0.0.5/" }), 422),
        ("POST", "streams", json!({ "name": "yard", "source": "rtsp://10.0.0.5/" }), 409),
        ("PUT", "streams/api", json!({ "source": "rtsp://10.0.0.5/" }), 422),
        ("PUT", "streams/gate", json!({}), 422),
        ("PUT", "streams/gate", json!({ "source": "rtsp://10.0.0.5/", "transport": null }), 422),
        ("PUT", "streams/gate", json!([]), 400),
        ("PATCH", "streams/yard", json!({ "source": null }), 422),
        (
            "PATCH",
            "streams/yard",
            json!({ "from_api": null, "source": "rtsp://127.0.0.2:1/" }),
            200,
        ),
    ] {
        let (got, answer) = house.ask(method, path, body.clone()).await;
        assert_eq!(got, status, "{method} {path} {body}: {answer}");
        if status != 200 {
            assert_eq!(house.file(), before, "{method} {path} {body}");
        }
    }
    house.app.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let house = House::of("streams:\n  yard: rtsp://127.0.0.1:1/a\n").await;
    let body = json!({ "name": "evil", "source": "rtsp://127.0.0.1:1/b" });
    let (url, client) = (house.url("streams"), Client::new());
    // What a form or `no-cors` can send, and what a page could that asked first.
    let form = client.post(&url).header("content-type", "text/plain").body(body.to_string());
    assert_eq!(form.send().await.unwrap().status(), 415);
    assert_eq!(client.post(&url).body(body.to_string()).send().await.unwrap().status(), 415);
    for header in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(ask(&url, "POST", &body, &[header]).await.0, 403, "{header:?}");
        assert_eq!(ask(&house.url("streams/yard"), "DELETE", &Value::Null, &[header]).await.0, 403);
    }
    assert_eq!(ask(&url, "POST", &body, &[("host", "evil.example")]).await.0, 421);
    let long =
        json!({ "name": "long", "source": format!("rtsp://127.0.0.1/{}", "x".repeat(70_000)) });
    assert_eq!(ask(&url, "POST", &long, &[]).await.0, 413);
    assert_eq!(house.file(), "streams:\n  yard: rtsp://127.0.0.1:1/a\n");
    house.app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_written_says_why() {
    let body = json!({ "name": "gate", "source": "rtsp://127.0.0.1:1/b" });
    let refused = async |house: &House, method: &str, path: &str, body: Value, why: &str| {
        let (status, problem) = house.ask(method, path, body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("config.read_only")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    };
    let yaml = "streams:\n  a: &a { source: \"rtsp://127.0.0.1:1/a\", on_demand: true }\n  b: { <<: *a, source: \"rtsp://127.0.0.1:1/b\" }\n";
    let house = House::of(yaml).await;
    refused(&house, "DELETE", "streams/a", Value::Null, "anchors").await;
    fs::set_permissions(house.path(), fs::Permissions::from_mode(0o444)).unwrap();
    refused(&house, "POST", "streams", body.clone(), "is read-only").await;
    assert_eq!(house.file(), yaml);
    house.app.stop().await;

    let variable = ("PORTHOLE__STREAMS__YARD".to_owned(), "rtsp://127.0.0.1:1/a".to_owned());
    let house = House::with(&format!("{HERE}streams: {{}}\n"), BTreeMap::from([variable])).await;
    refused(&house, "DELETE", "streams/yard", Value::Null, "PORTHOLE__STREAMS__YARD").await;
    assert_eq!(house.ask("GET", "streams/yard", Value::Null).await.1["origin"], "environment");
    // The rest of the file is still ours.
    assert_eq!(house.ask("POST", "streams", body.clone()).await.0, 201);
    house.app.stop().await;

    let layers = Layers { urls: vec!["rtsp://127.0.0.1:1/a".into()], ..Layers::default() };
    let mut config = layers.load().unwrap();
    for address in [&mut config.listen, &mut config.admin_listen, &mut config.webrtc.listen] {
        *address = ([127, 0, 0, 1], 0).into();
    }
    let app = App::start(config).await.unwrap();
    app.follow(layers).await;
    let house = House { folder: tempfile::tempdir().unwrap(), app };
    refused(&house, "POST", "streams", body, "--config").await;
    refused(&house, "DELETE", "streams/camera-1", Value::Null, "without a configuration").await;
    house.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_at_once_none_is_lost() {
    let house = House::of("streams:\n  yard: rtsp://127.0.0.1:1/a # mine\n").await;
    let post = |name: String, path: String| {
        let url = house.url("streams");
        let body = json!({ "name": name, "source": format!("rtsp://127.0.0.1:1/{path}") });
        tokio::spawn(async move { ask(&url, "POST", &body, &[]).await.0 })
    };
    let different: Vec<_> = (0..16).map(|n| post(format!("s{n}"), format!("p{n}"))).collect();
    let same: Vec<_> = (0..8).map(|n| post("same".into(), format!("q{n}"))).collect();
    for task in different {
        assert_eq!(task.await.unwrap(), 201);
    }
    let mut statuses = Vec::new();
    for task in same {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    let (_, list) = house.ask("GET", "streams", Value::Null).await;
    assert_eq!(list["streams"].as_array().unwrap().len(), 18);
    assert_eq!(house.file().matches("from_api: true").count(), 17);

    // Two who saw the same: the second is told.
    let url = house.url("streams/yard");
    let seen = Client::new().get(&url).send().await.unwrap().headers()["etag"].clone();
    let seen = seen.to_str().unwrap();
    let by = |loss: &str| json!({ "after_loss": loss });
    assert_eq!(ask(&url, "PATCH", &by("show"), &[("if-match", seen)]).await.0, 200);
    let (status, problem) = ask(&url, "PATCH", &by("hold"), &[("if-match", seen)]).await;
    assert_eq!((status, &problem["code"]), (412, &json!("config.changed")));
    let new = json!({ "source": "rtsp://127.0.0.1:1/n" });
    assert_eq!(ask(&url, "PUT", &new, &[("if-none-match", "*")]).await.0, 412);
    let url = house.url("streams/new");
    assert_eq!(ask(&url, "PUT", &new, &[("if-match", "*")]).await.0, 412);
    assert_eq!(ask(&url, "PUT", &new, &[("if-none-match", "*")]).await.0, 201);
    house.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hands_change_and_an_apis_are_both_in_force() {
    let house = House::of("streams:\n  yard: rtsp://127.0.0.1:1/a\n").await;
    let text = fs::read_to_string(house.path()).unwrap();
    // By hand, and not seen by the watch yet.
    fs::write(house.path(), format!("{text}  hand: rtsp://127.0.0.1:1/h # by hand\n")).unwrap();
    let body = json!({ "name": "gate", "source": "rtsp://127.0.0.1:1/g" });
    assert_eq!(house.ask("POST", "streams", body).await.0, 201);
    let names = async || {
        let (_, list) = house.ask("GET", "streams", Value::Null).await;
        let streams = list["streams"].as_array().unwrap().clone();
        streams.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["yard", "hand", "gate"]);
    assert!(house.file().contains("# by hand\n  gate:"), "{}", house.file());
    // A file with a fault is no ground to build on.
    fs::write(house.path(), format!("{text}hls: {{ prat: 1s }}\n")).unwrap();
    let body = json!({ "name": "door", "source": "rtsp://127.0.0.1:1/d" });
    let (status, problem) = house.ask("POST", "streams", body).await;
    assert_eq!(status, 422);
    assert!(faults(&problem)[""].contains("hls.prat"), "{problem}");
    // The watch sees what we wrote, too, and nothing comes of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(names().await, ["yard", "hand", "gate"]);
    house.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_counted_once_whoever_makes_it() {
    let house = House::of("streams:\n  yard: rtsp://127.0.0.1:1/a\n").await;
    let metrics = format!("http://{}/metrics", house.app.admin_address());
    let reloads = async || {
        let text = app_support::get(&metrics).await.1;
        let series = "porthole_config_reloads_total{result=\"ok\"} ";
        text.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse::<u32>().unwrap()
    };
    for (n, body) in [(1, json!({ "on_demand": true })), (2, json!({ "on_demand": false }))] {
        assert_eq!(house.ask("PATCH", "streams/yard", body).await.0, 200);
        assert_eq!(reloads().await, n);
        // The watch has seen the file by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(reloads().await, n, "what we wrote is no news");
    }
    let text = fs::read_to_string(house.path()).unwrap();
    fs::write(house.path(), format!("{text}  hand: rtsp://127.0.0.1:1/h\n")).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while reloads().await != 3 {
        assert!(Instant::now() < until, "{} reloads", reloads().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    house.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_apis_streams_may_lead_holds_after_a_restart() {
    let camera = demo_camera::start().await.unwrap();
    let port = camera.url.split(':').nth(2).unwrap().split('/').next().unwrap();
    let closed = "admin: { listen: 127.0.0.1:0 }\n";
    let trusted = format!("streams:\n  ours: {}\n", camera.url);
    let house = House::with(&format!("{closed}{trusted}"), BTreeMap::new()).await;
    for (host, key) in [
        ("127.0.0.1", "source"),
        ("[::1]", "source"),
        ("[::ffff:127.0.0.1]", "source"),
        ("169.254.169.254", "source"),
        ("0.0.0.0", "source"),
        ("10.0.0.5", "substream"),
        ("10.0.0.6", "snapshot_url"),
    ] {
        let mut body = json!({ "name": "ssrf", "source": format!("rtsp://{host}:1/x") });
        if key == "substream" {
            body[key] = "rtsp://169.254.169.254/".into();
        } else if key == "snapshot_url" {
            body[key] = "http://127.0.0.1:9998/metrics".into();
        }
        let (status, problem) = house.ask("POST", "streams", body).await;
        assert_eq!(status, 422, "{host}: {problem}");
        assert!(faults(&problem)[key].contains("source_networks"), "{problem}");
    }
    // A name is looked up when it is connected to.
    let body = json!({ "name": "named", "source": format!("rtsp://localhost:{port}/demo") });
    assert_eq!(house.ask("POST", "streams", body).await.0, 201);
    let is_forbidden = |stream: &Value| stream["error"]["code"] == "source.forbidden";
    let viewer = |house: &House| format!("http://{}", house.app.viewer_address());
    app_support::listed(&viewer(&house), "named", is_forbidden).await;
    app_support::listed(&viewer(&house), "ours", |stream| stream["state"] == "live").await;

    let house = house.again().await;
    app_support::listed(&viewer(&house), "named", is_forbidden).await;
    app_support::listed(&viewer(&house), "ours", |stream| stream["state"] == "live").await;

    // The operator widens it, or trusts this one.
    let open = closed.replace(" }", ", source_networks: [127.0.0.0/8, \"::1\"] }");
    let text = fs::read_to_string(house.path()).unwrap();
    fs::write(house.path(), text.replace(closed, &open)).unwrap();
    app_support::listed(&viewer(&house), "named", |stream| stream["state"] == "live").await;
    house.app.stop().await;
}

/// The program is killed while it writes, again and again: the file is always
/// one that was whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("porthole.yaml");
    let padding = format!("# {}\n", "x".repeat(100)).repeat(400);
    fs::write(
        &path,
        format!("{LISTENERS}{HERE}streams:\n  yard: rtsp://127.0.0.1:1/a\n{padding}# end\n"),
    )
    .unwrap();
    for round in 0..6 {
        let log = folder.path().join("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_porthole"))
            .args(["serve", "--config", path.to_str().unwrap()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let admin = loop {
            let text = fs::read_to_string(&log).unwrap();
            if let Some((_, rest)) = text.split_once("\"admin\":\"") {
                break rest.split('"').next().unwrap().to_owned();
            }
            assert!(child.try_wait().unwrap().is_none(), "{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let written = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&written);
        let writer = tokio::spawn(async move {
            for n in 0.. {
                let body = json!({ "after_loss": if n % 2 == 0 { "show" } else { "hold" } });
                let url = format!("http://{admin}/api/v1/streams/yard");
                let request = Client::new().patch(url).header("content-type", "application/json");
                match request.body(body.to_string()).send().await {
                    Ok(answer) => assert_eq!(answer.status(), 200),
                    Err(_) => return,
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        while written.load(Ordering::Relaxed) == 0 {
            assert!(!writer.is_finished(), "nothing was written");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(37 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        writer.await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(LISTENERS) && text.ends_with("# end\n"), "{}", text.len());
        let layers = Layers { file: Some(path.clone()), ..Layers::default() };
        assert_eq!(layers.load().unwrap().streams.len(), 1);
    }
}
