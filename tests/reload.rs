//! Another configuration while the gateway runs.
//!
//! `PORTHOLE_TEST_RELOADS=1000` reloads it more often than a quick test can.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use porthole::app::App;
use porthole::auth::EmbedKey;
use porthole::cli::demo_camera::{self, DemoCamera};
use porthole::config::{Config, Layers};

const LISTENERS: &str =
    "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nwebrtc: { listen: 127.0.0.1:0 }\n";

/// A configuration file that is written again and again.
struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("porthole.yaml")
    }

    fn layers(&self) -> Layers {
        Layers { file: Some(self.path()), ..Layers::default() }
    }

    /// At once, as editors and Kubernetes do it.
    fn write(&self, yaml: &str) {
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{LISTENERS}{yaml}")).unwrap();
        fs::rename(next, self.path()).unwrap();
    }

    fn load(&self) -> Config {
        self.layers().load().unwrap_or_else(|faults| panic!("{faults}"))
    }
}

async fn metrics(app: &App) -> String {
    app_support::get(&format!("http://{}/metrics", app.admin_address())).await.1
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

async fn cameras<const N: usize>() -> [DemoCamera; N] {
    let mut cameras = Vec::new();
    for _ in 0..N {
        cameras.push(demo_camera::start().await.unwrap());
    }
    cameras.try_into().ok().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_hundreds_of_reloads_only_the_stream_that_changes_knows() {
    let asked = std::env::var("PORTHOLE_TEST_RELOADS").ok();
    let reloads: u32 = asked.map_or(300, |asked| asked.parse().unwrap());
    let [one, two, three] = cameras().await;
    let file = File::new();
    let yaml = |after_loss: &str| {
        format!(
            "streams:\n  one: {}\n  two: {}\n  three: {{ source: \"{}\", after_loss: {after_loss} }}\n",
            one.url, two.url, three.url
        )
    };
    file.write(&yaml("hold"));
    let app = App::start(file.load()).await.unwrap();
    let base = format!("http://{}", app.viewer_address());
    for name in ["one", "two", "three"] {
        app_support::listed(&base, name, |stream| stream["state"] == "live").await;
    }
    let viewers =
        ["one/mse", "two/mse"].map(|path| tokio::spawn(app_support::watch(base.clone(), path)));
    let load = tokio::spawn({
        let base = base.clone();
        async move {
            loop {
                app_support::get(&format!("{base}/api/streams")).await;
                app_support::get(&format!("{base}/three/snapshot.jpg?width=160")).await;
            }
        }
    });

    for n in 0..reloads {
        file.write(&yaml(if n % 2 == 0 { "show" } else { "hold" }));
        let changes = app.apply(file.load());
        let changed: Vec<_> = changes.changed.iter().map(|name| name.as_str()).collect();
        assert_eq!(changed, ["three"]);
        assert!(changes.added.is_empty() && changes.removed.is_empty(), "{changes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app_support::listed(&base, "three", |stream| stream["state"] == "live").await;
    load.abort();

    let text = metrics(&app).await;
    let is = |series: &str, wanted: f64| assert_eq!(value(&text, series), Some(wanted), "{series}");
    is("porthole_config_reloads_total{result=\"ok\"}", f64::from(reloads));
    for name in ["one", "two"] {
        is(&format!("porthole_source_connects_total{{result=\"ok\",stream=\"{name}\"}}"), 1.0);
        let lost =
            format!("porthole_source_rtp_packets_lost_total{{media=\"video\",stream=\"{name}\"}}");
        is(&lost, 0.0);
        assert!(viewers.iter().all(|viewer| !viewer.is_finished()), "a viewer was sent away");
    }
    app.stop().await;
    for viewer in viewers {
        let times = viewer.await.unwrap();
        assert!(times.len() > 100, "{}", times.len());
        app_support::assert_whole(&times);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_new_or_renamed_plays_and_one_that_is_gone_leaves_no_trace() {
    let [one, two] = cameras().await;
    let file = File::new();
    let first = format!("streams: {{ one: \"{}\" }}\n", one.url);
    file.write(&first);
    let app = App::start(file.load()).await.unwrap();
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "one", |stream| stream["state"] == "live").await;
    let viewer = tokio::spawn(app_support::watch(base.clone(), "one/mse"));
    let (sent, connects) = (
        "porthole_sent_bytes_total{output=\"mse\",stream=\"one\"}",
        "porthole_source_connects_total{result=\"ok\",stream=\"one\"}",
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while value(&metrics(&app).await, sent).is_none_or(|bytes| bytes == 0.0) {
        assert!(Instant::now() < deadline, "nothing was sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(value(&metrics(&app).await, connects), Some(1.0));

    // The same camera under another name, and one more.
    file.write(&format!("streams: {{ uno: \"{}\", two: \"{}\" }}\n", one.url, two.url));
    let changes = app.apply(file.load());
    let words = |names: &[porthole::media::StreamName]| {
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((words(&changes.added), words(&changes.removed)), ("uno two".into(), "one".into()));
    for name in ["uno", "two"] {
        app_support::listed(&base, name, |stream| stream["state"] == "live").await;
    }
    assert_eq!(app_support::get(&format!("{base}/one/index.m3u8")).await.0, 404);
    assert_eq!(app_support::get(&format!("{base}/uno/snapshot.jpg")).await.0, 200);
    let text = metrics(&app).await;
    assert!(!viewer.await.unwrap().is_empty(), "it ended with its stream");
    assert!(!text.contains("stream=\"one\"") && text.contains("stream=\"uno\""), "{text}");
    assert_eq!(value(&text, "porthole_streams{state=\"live\"}"), Some(2.0));

    // Once its camera has let go, nothing is kept of it: names may come and go
    // for years. Were it kept, one of that name would go on with it.
    assert!(words(&app.apply(file.load()).added).is_empty());
    file.write(&first);
    app.apply(file.load());
    app_support::listed(&base, "one", |stream| stream["state"] == "live").await;
    let text = metrics(&app).await;
    assert!(!text.contains("porthole_sent_bytes_total"), "{text}");
    assert_eq!(value(&text, connects), Some(1.0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_watched_and_one_with_faults_changes_nothing() {
    let [one, two] = cameras().await;
    let file = File::new();
    let first = format!("streams:\n  one: {}\n", one.url);
    file.write(&first);
    let app = App::start(file.load()).await.unwrap();
    app.follow(file.layers()).await;
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "one", |stream| stream["state"] == "live").await;
    let counts = async |result: &str, wanted: f64| {
        let series = format!("porthole_config_reloads_total{{result=\"{result}\"}}");
        for _ in 0..200 {
            if value(&metrics(&app).await, &series) == Some(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{series} is not {wanted}:\n{}", metrics(&app).await);
    };
    let applied = "porthole_config_last_success_timestamp_seconds";
    let before = value(&metrics(&app).await, applied).unwrap();

    file.write("streams:\n  one: { source: nonsense\n");
    counts("invalid", 1.0).await;
    file.write("streams:\n  one: ftp://camera/\nlisten: nowhere\n");
    counts("invalid", 2.0).await;
    let text = metrics(&app).await;
    assert_eq!(value(&text, applied), Some(before));
    let connects = "porthole_source_connects_total{result=\"ok\",stream=\"one\"}";
    assert_eq!(value(&text, connects), Some(1.0));

    file.write(&format!("{first}  two: {}\n", two.url));
    counts("ok", 1.0).await;
    app_support::listed(&base, "two", |stream| stream["state"] == "live").await;
    let text = metrics(&app).await;
    assert!(value(&text, applied).unwrap() > before);
    assert_eq!(value(&text, connects), Some(1.0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_watch_any_more_is_sent_away_and_others_are_not() {
    let [one] = cameras().await;
    let file = File::new();
    let keys: Vec<PathBuf> = ["a", "b"].iter().map(|n| file.folder.path().join(n)).collect();
    for (path, letter) in keys.iter().zip(["a", "b"]) {
        fs::write(path, letter.repeat(32)).unwrap();
    }
    let hash = app_support::hash("right");
    let yaml = |key: &Path| {
        format!(
            "streams: {{ one: \"{}\" }}\nauth:\n  embed_key_file: {}\n  allow_from: [127.0.0.0/8]\n  \
             users: [{{ name: root, password_hash: \"{hash}\", admin: true }}]\n",
            one.url,
            key.display()
        )
    };
    file.write(&yaml(&keys[0]));
    let app = App::start(file.load()).await.unwrap();
    let base = format!("http://{}", app.viewer_address());
    app_support::listed(&base, "one", |stream| stream["state"] == "live").await;
    let key = EmbedKey::new("a".repeat(32).as_bytes()).unwrap();
    let hour = Duration::from_secs(3_600);
    let token = key.mint(&["one".parse().unwrap()], hour, None, SystemTime::now());
    let path: &'static str = format!("one/mse?token={token}").leak();
    let by_token = tokio::spawn(app_support::watch(base.clone(), path));
    let by_network = tokio::spawn(app_support::watch(base.clone(), "one/mse"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!by_token.is_finished());
    app.apply(file.load());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!by_token.is_finished(), "the same rules");

    file.write(&yaml(&keys[1]));
    app.apply(file.load());
    let times = tokio::time::timeout(Duration::from_secs(5), by_token).await.unwrap().unwrap();
    assert!(!times.is_empty());
    assert!(!by_network.is_finished());
    let refused = app_support::get(&format!("{base}/{path}")).await;
    assert_eq!(refused.0, 401);
    tokio::time::sleep(Duration::from_secs(1)).await;
    app.stop().await;
    assert!(by_network.await.unwrap().len() > times.len());
}
