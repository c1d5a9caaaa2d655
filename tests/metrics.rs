//! What `/metrics` of a whole gateway with viewers shows, and what nobody can
//! make it show by asking for things.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod metrics_support;
mod table_support;
mod whep_support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use app_support::{configured, get, listed, uri};
use futures_util::{StreamExt, stream};
use metrics_support::{CONTRACT, Scrape, names, routes};
use porthole::app::App;
use porthole::cli::demo_camera;
use reqwest::{Client, Method};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::{Audio, Video};
use table_support::Document;
use whep_support::player::{Event, Player};
use whep_support::session_of;

/// Families that show nothing before what they count has happened: a series
/// for each reason would be five more about every stream; nobody is refused
/// where there is no `auth`.
const SILENT: &[&str] = &["porthole_auth_failures_total", "porthole_source_frames_discarded_total"];

/// Most series that are about one stream, and that are about none.
const PER_STREAM: usize = 30;
const FIXED: usize = 600;

struct Watched {
    app: App,
    base: String,
    metrics: String,
    _camera: demo_camera::DemoCamera,
}

/// A gateway with the demo camera, once it is live.
async fn house() -> Watched {
    let camera = demo_camera::start().await.unwrap();
    let app = configured(&format!("streams: {{ demo: '{}' }}\n", camera.url)).await;
    let base = format!("http://{}", app.viewer_address());
    let metrics = format!("http://{}/metrics", app.admin_address());
    listed(&base, "demo", |stream| stream["state"] == "live").await;
    Watched { app, base, metrics, _camera: camera }
}

impl Watched {
    async fn scrape(&self) -> Scrape {
        Scrape::parse(&get(&self.metrics).await.1)
    }

    /// Lets one viewer watch over WebRTC and one over HLS, and leave.
    async fn watch(&self) {
        let (mut player, offer) = Player::offering(&[Video, Audio]).await;
        let url = format!("{}/demo/whep", self.base);
        let session = session_of(&url, &player.play(&url, &offer).await);
        let picture = |event| matches!(event, Event::Rtp("video", _)).then_some(());
        player.until("a packet of the picture", picture).await;

        let playlist = format!("{}/demo/{}", self.base, uri(&self.text("demo/index.m3u8").await));
        let media = get(&playlist).await.1;
        let part = media.lines().find_map(|line| line.split("URI=\"").nth(1)?.split('"').next());
        let part = format!("{}/{}", playlist.rsplit_once('/').unwrap().0, part.unwrap());
        assert_eq!(get(&part).await.0, 200, "{media}");

        // Receiver reports come every few seconds.
        let reported = || async {
            self.scrape().await.value("porthole_webrtc_remote_loss_ratio_count").unwrap() > 0.0
        };
        for _ in 0..200 {
            if reported().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let left = Client::new().delete(session).send().await.unwrap();
        assert!(left.status().is_success(), "{left:?}");
    }

    async fn text(&self, path: &str) -> String {
        get(&format!("{}/{path}", self.base)).await.1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_family_is_the_contracts_in_name_type_and_labels() {
    let house = house().await;
    house.watch().await;
    let scrape = house.scrape().await;
    for output in ["whep", "hls"] {
        let latency = |what: &str| {
            let name = format!("porthole_pipeline_latency_seconds_{what}{{output=\"{output}\"}}");
            scrape.value(&name).unwrap()
        };
        let mean = latency("sum") / latency("count");
        assert!(mean > 0.0 && mean < 1.0, "{output}: {mean}");
    }

    for (name, kind, labels) in CONTRACT {
        let Some(family) = scrape.families.get(*name) else {
            assert!(SILENT.contains(name), "{name} is missing:\n{}", scrape.text);
            continue;
        };
        assert_eq!(family.kind, *kind, "type of {name}");
        assert!(family.help.len() > 10, "{name} does not say what it is");
        for series in &family.series {
            let found: BTreeSet<&str> = series.labels.keys().map(String::as_str).collect();
            assert_eq!(found, labels.iter().copied().collect(), "labels of {name}");
        }
    }
    for name in scrape.families.keys() {
        assert!(name.starts_with("porthole_") || name.starts_with("process_"), "{name}");
    }
    for series in scrape.series() {
        for (label, value) in &series.labels {
            let personal = ["viewer", "address", "peer", "url", "ip", "session", "user"];
            assert!(!personal.contains(&label.as_str()), "{label} in a label");
            assert!(!value.contains("://") && !value.contains("127.0.0.1"), "{label}={value}");
        }
    }
    house.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploy_metrics_md_names_every_family_with_its_labels_and_no_other() {
    let house = house().await;
    house.watch().await;
    let scrape = house.scrape().await;
    house.app.stop().await;
    let document = Document::open("deploy/metrics.md");

    let mut rows = BTreeMap::new();
    for (name, kind, labels) in CONTRACT {
        // A family that shows nothing yet says nothing of itself either.
        let row = document.written.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        let help = row.and_then(|row| row.rsplit(" | ").next()?.strip_suffix(" |"));
        assert!(SILENT.contains(name) || scrape.families.contains_key(*name), "{name}");
        let labels = labels.iter().copied().collect::<BTreeSet<_>>();
        rows.insert(*name, (*kind, labels, help.unwrap_or("?")));
    }
    for (name, family) in &scrape.families {
        let labels = family.series.iter().flat_map(|series| series.labels.keys());
        let labels = labels.map(String::as_str).collect();
        rows.insert(name, (family.kind.as_str(), labels, family.help.as_str()));
    }
    let row = |(name, (kind, labels, help)): (&str, (&str, BTreeSet<&str>, &str))| {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
    };
    let rows: String = rows.into_iter().map(row).collect();
    document.assert_rows(&rows);
    assert!(!rows.contains("| ? |"), "{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_invented_names_create_no_series() {
    let house = house().await;
    let client = Client::new();
    let base = &house.base;
    let ask = |form: usize, name: String| {
        let (method, path) = form_of(form, &name);
        let request = client.request(method, format!("{base}{path}"));
        let request = request.header("content-type", "application/sdp").body("v=0\r\n");
        async move { request.send().await.unwrap().status() }
    };
    // Every form once: a route that was never asked for has no series yet.
    for form in 0..FORMS {
        ask(form, "nobody".into()).await;
    }
    house.scrape().await;
    let before = house.scrape().await.names();
    let asked = stream::iter(names().take(10_000).enumerate())
        .map(|(i, name)| ask(i % FORMS, name))
        .buffer_unordered(32)
        .filter(|status| std::future::ready(!status.is_success()))
        .count();
    let refused = tokio::time::timeout(Duration::from_secs(300), asked).await.unwrap();
    assert!(refused > 5_000, "only {refused} of the names were refused");
    let after = house.scrape().await.names();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{} new series, such as {:?}", new.len(), &new[..new.len().min(5)]);
    house.app.stop().await;
}

const FORMS: usize = 12;

/// A request that has `name` in it.
fn form_of(form: usize, name: &str) -> (Method, String) {
    match form {
        0 => (Method::GET, format!("/{name}/")),
        1 => (Method::GET, format!("/{name}")),
        2 => (Method::POST, format!("/{name}/whep")),
        3 => (Method::PATCH, format!("/demo/whep/{name}")),
        4 => (Method::DELETE, format!("/{name}/whep/{name}")),
        5 => (Method::GET, format!("/{name}/index.m3u8")),
        6 => (Method::GET, format!("/{name}/hls/media.m3u8")),
        7 => (Method::GET, format!("/demo/hls/{name}")),
        8 => (Method::GET, format!("/{name}/{name}/{name}/{name}")),
        9 => (Method::GET, format!("/api/{name}")),
        10 => (Method::GET, format!("/api/streams?src={name}")),
        _ => (Method::from_bytes(&name.as_bytes()[..3]).unwrap(), "/demo/index.m3u8".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asked_with_every_method_stays_within_the_bounds() {
    let house = house().await;
    house.watch().await;
    let client = Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
    let found = routes();
    assert!(found.len() > 10, "the search found only {found:?}");
    let admin = house.metrics.trim_end_matches("/metrics");
    for route in &found {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
        {
            for stream in ["demo", "nobody"] {
                let path = route.replace("{stream}", stream).replace(['{', '}', '*'], "");
                for listener in [&house.base, admin] {
                    let method = Method::from_bytes(method.as_bytes()).unwrap();
                    // Some answers are without end, or held until media come.
                    let _ = client.request(method, format!("{listener}{path}")).send().await;
                }
            }
        }
    }
    let scrape = house.scrape().await;
    let (about_it, fixed): (Vec<_>, Vec<_>) =
        scrape.series().partition(|series| series.labels.contains_key("stream"));
    println!("{} series about the stream, {} fixed", about_it.len(), fixed.len());
    assert!(about_it.len() <= PER_STREAM, "{} series: {about_it:#?}", about_it.len());
    assert!(fixed.len() <= FIXED, "{} series:\n{}", fixed.len(), scrape.text);
    house.app.stop().await;
}
