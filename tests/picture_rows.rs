//! Rows of pictures (Motion JPEG over HTTP) as programs read them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod hls_support;
mod picture_support;

use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use picture_support::{Coded, Gateway, Parts, key_frame, rgb, x264};
use porthole::bus::SourceState;
use porthole::fault::Code;
use porthole::media::FrameKind;
use tower::ServiceExt;

/// A JPEG camera's frame of that many bytes, told apart by its number; nobody
/// decodes it.
fn numbered(number: u32, bytes: usize) -> Coded {
    let mut file = vec![0xff, 0xd8];
    file.extend(number.to_be_bytes());
    file.resize(bytes, 7);
    Coded::jpeg(file.into(), 640, 360)
}

fn number(file: &Bytes) -> u32 {
    u32::from_be_bytes(file[2..6].try_into().unwrap())
}

const MOMENT: Duration = Duration::from_millis(20);
const VIEWERS: &str = "porthole_sessions{output=\"mjpeg\",state=\"connected\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_jpeg_camera_s_every_frame_is_passed_on_as_it_is() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&numbered(0, 5_000));
    let mut parts = Parts::new(gateway.get("stream.mjpeg").await);
    let mut before = SystemTime::now() - Duration::from_secs(1);
    for nth in 0..50 {
        let file = parts.next().await.unwrap();
        assert_eq!((number(&file), file.len()), (nth, 5_000));
        let now = SystemTime::now() + Duration::from_micros(1);
        assert!(before < parts.taken && parts.taken <= now, "{nth}: {:?}", parts.taken);
        before = parts.taken;
        gateway.publish(&numbered(nth + 1, 5_000));
    }
    assert_eq!(gateway.decoded(), 0.0);
    assert_eq!(gateway.metric(VIEWERS), 1.0);
    let sent = "porthole_sent_bytes_total{output=\"mjpeg\",stream=\"yard\"}";
    assert!(gateway.metric(sent) >= 250_000.0);
    // The first one was there before its viewer; of the last two it depends on how far
    // the connection has come.
    let took = |what: &str| {
        gateway.metric(&format!("porthole_pipeline_latency_seconds_{what}{{output=\"mjpeg\"}}"))
    };
    let (count, sum) = (took("count"), took("sum"));
    assert!((48.0..=50.0).contains(&count), "{count} pictures are said to have gone out");
    assert!(sum > 0.0 && sum / count < 0.5, "{sum} s of {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_pictures_come_than_are_asked_for() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&numbered(0, 5_000));
    let mut parts = Parts::new(gateway.get("stream.mjpeg?fps=5").await);
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(file) = parts.next().await {
            seen.push((Instant::now(), number(&file)));
        }
        seen
    });
    for nth in 1..=100 {
        tokio::time::sleep(MOMENT).await;
        gateway.publish(&numbered(nth, 5_000));
    }
    gateway.set_state(SourceState::Down, Some(Code::SourceRefused.into()));
    let seen = reader.await.unwrap();
    // Two seconds and a bit of 50 frames a second.
    assert!((8..=14).contains(&seen.len()), "{seen:?}");
    assert!(seen.windows(2).all(|two| two[1].0 - two[0].0 > Duration::from_millis(150)));
    assert!(seen.windows(2).all(|two| two[1].1 > two[0].1 + 3), "not the newest: {seen:?}");
    let (status, _, detail) = gateway.problem("stream.mjpeg?fps=0").await;
    assert!(status == 400 && detail.contains("`fps`"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_viewer_lets_pass_between_two_pictures_is_no_latency_of_ours() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&numbered(0, 5_000));
    let mut parts = Parts::new(gateway.get("stream.mjpeg?fps=1").await);
    parts.next().await.unwrap();
    for nth in 1..=2 {
        tokio::time::sleep(MOMENT).await;
        gateway.publish(&numbered(nth, 5_000));
        assert_eq!(number(&parts.next().await.unwrap()), nth, "a second later");
    }
    let took = gateway.metric("porthole_pipeline_latency_seconds_sum{output=\"mjpeg\"}");
    assert!(took > 0.0 && took < 0.5, "{took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_cameras_show_each_newest_key_frame() {
    let mut gateway = Gateway::start().await;
    let coded = key_frame(640, 360, &x264("bt709", "tv"));
    gateway.publish(&coded);
    let mut parts = Parts::new(gateway.get("stream.mjpeg?width=320").await);
    let mut also = Parts::new(gateway.get("stream.mjpeg?width=320").await);
    for nth in 1..=3 {
        let (one, other) = (parts.next().await.unwrap(), also.next().await.unwrap());
        assert_eq!((rgb(&one).0, &one), (320, &other));
        assert_eq!(gateway.decoded(), f64::from(nth), "once for both");
        for _ in 0..5 {
            gateway.publish_frame(&coded, FrameKind::Delta);
        }
        assert!(tokio::time::timeout(MOMENT * 10, parts.next()).await.is_err(), "no key frame");
        gateway.publish(&coded);
    }
    // One that cannot be decoded is passed over.
    parts.next().await.unwrap();
    let mut cut = coded.clone();
    cut.data = cut.data.slice(..cut.data.len() / 2);
    gateway.publish(&cut);
    assert!(tokio::time::timeout(MOMENT * 10, parts.next()).await.is_err(), "half a picture");
    gateway.publish(&coded);
    assert_eq!(rgb(&parts.next().await.unwrap()).0, 320);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_shown_the_newest_picture_and_queues_nothing() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&numbered(0, 200_000));
    let mut parts = Parts::new(gateway.get("stream.mjpeg").await);
    assert_eq!(number(&parts.next().await.unwrap()), 0);
    // 60 MB come while nothing is read.
    for nth in 1..=300 {
        gateway.publish(&numbered(nth, 200_000));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&300) {
        seen.push(number(&parts.next().await.unwrap()));
    }
    assert!(seen.windows(2).all(|two| two[1] > two[0]));
    // What was on its way in sockets, and then the newest.
    assert!(seen.len() < 100, "{} pictures were kept for it", seen.len());
    assert_eq!(gateway.metric("porthole_buffer_bytes{pool=\"pictures\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_ends_with_its_source_and_with_its_viewer() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&numbered(0, 5_000));
    let head = gateway.http.head(gateway.url("stream.mjpeg")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert!(head.headers()["content-type"].to_str().unwrap().starts_with("multipart/"));
    assert_eq!(head.headers()["cache-control"], "no-store");
    assert_eq!(gateway.metric(VIEWERS), 0.0, "nobody watches by HEAD");

    let mut parts = Parts::new(gateway.get("stream.mjpeg").await);
    parts.next().await.unwrap();
    let gone = Parts::new(gateway.get("stream.mjpeg").await);
    assert_eq!(gateway.metric(VIEWERS), 2.0);
    assert_eq!(*gateway.stream.watch_interest().borrow(), 2);
    drop(gone);
    let deadline = Instant::now() + Duration::from_secs(10);
    while gateway.metric(VIEWERS) > 1.0 {
        assert!(Instant::now() < deadline, "a viewer that left is still counted");
        tokio::time::sleep(MOMENT).await;
    }
    gateway.set_state(SourceState::Down, Some(Code::SourceTimeout.into()));
    assert_eq!(parts.next().await, None, "the last picture would stay as if it were now");
    assert_eq!(gateway.metric(VIEWERS), 0.0);
    assert_eq!(*gateway.stream.watch_interest().borrow(), 0);
    let ended = "porthole_session_duration_seconds_count{end=\"source\",output=\"mjpeg\"}";
    assert_eq!(gateway.metric(ended), 1.0);
    let (status, code, _) = gateway.problem("stream.mjpeg").await;
    assert_eq!((status, code.as_str()), (502, "source.timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_there_is_room_for_are_refused() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&numbered(0, 5_000));
    let ask = || {
        let request = Request::get("/yard/stream.mjpeg").body(Body::empty()).unwrap();
        gateway.router.clone().oneshot(request)
    };
    let mut open = Vec::new();
    for _ in 0..100 {
        let response = ask().await.unwrap();
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let refused = ask().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    open.pop();
    assert_eq!(ask().await.unwrap().status(), 200);
}
