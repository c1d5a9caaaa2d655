//! Pictures of real cameras (GStreamer's), by the whole gateway.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod app_support;
mod camera_support;
mod hls_support;
mod picture_support;

use std::time::{Duration, Instant};

use app_support::{gateway, get, listed};
use camera_support::Cameras;
use picture_support::{Parts, ffmpeg, rgb};

/// The smallest mean difference of a picture from a clip's key frames.
fn nearest(picture: &[u8], clip: &str) -> f64 {
    let clip = format!("{}/tests/cache/{clip}.mov", env!("CARGO_MANIFEST_DIR"));
    let args = ["-skip_frame", "nokey", "-i", &clip, "-fps_mode", "passthrough", "-map", "0:v"];
    let raw = ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"];
    let frames = ffmpeg(&[&args[..], &raw].concat(), &[]);
    let (_, _, samples) = rgb(picture);
    let difference = |frame: &[u8]| {
        let all: u64 = frame.iter().zip(&samples).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        all as f64 / samples.len() as f64
    };
    frames.chunks_exact(samples.len()).map(difference).fold(f64::MAX, f64::min)
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_of_every_codec_show_a_picture_or_say_why_not() {
    let mounts = ["h264-pcma", "bframes", "mjpeg", "h265-aac"];
    let cameras = Cameras::start(&mounts);
    let streams = mounts.map(|mount| format!("  {mount}: {}\n", cameras.url(mount)));
    let (app, base) = gateway(&streams.concat()).await;
    for mount in mounts {
        listed(&base, mount, |stream| stream["state"] == "live").await;
    }
    let picture = async |path: &str| {
        let response = reqwest::get(format!("{base}/{path}")).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap()
    };
    for (mount, size) in
        [("h264-pcma", (1280, 720)), ("bframes", (640, 360)), ("mjpeg", (640, 360))]
    {
        let file = picture(&format!("{mount}/snapshot.jpg")).await;
        let (width, height, _) = rgb(&file);
        assert_eq!((width, height), size, "{mount}");
        let far = nearest(&file, mount);
        assert!(far < 3.0, "{mount}: {far} from what was recorded");
    }
    let (status, body) = get(&format!("{base}/h265-aac/snapshot.jpg")).await;
    assert!(status == 422 && body.contains("codec.video_unplayable"), "{body}");
    assert!(body.contains("H.265") && body.contains("`snapshot_url`"), "{body}");

    // go2rtc's URLs.
    let small = picture("api/frame.jpeg?src=h264-pcma&w=320").await;
    assert_eq!(rgb(&small).0, 320);

    let row = reqwest::get(format!("{base}/api/stream.mjpeg?src=mjpeg")).await.unwrap();
    let (mut parts, begun) = (Parts::new(row), Instant::now());
    let mut last = parts.next().await.unwrap();
    for _ in 0..50 {
        let next = parts.next().await.unwrap();
        assert_ne!(next, last);
        last = next;
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert!((1.5..4.0).contains(&seconds), "50 frames of 25 a second came in {seconds} s");

    // A camera that is off has no picture, and the row ends.
    drop(cameras);
    while parts.next().await.is_some() {}
    let error = listed(&base, "mjpeg", |stream| stream["state"] == "down").await;
    let begun = Instant::now();
    let (status, body) = get(&format!("{base}/mjpeg/snapshot.jpg")).await;
    assert_eq!(status, 502, "{body}");
    assert!(body.contains("\"source."), "{error}: {body}");
    assert!(begun.elapsed() < Duration::from_millis(500));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_starts_a_camera_on_demand_which_leaves_again() {
    let cameras = Cameras::start(&["h264-pcma"]);
    let url = cameras.url("h264-pcma");
    let stream = format!("  yard: {{ source: \"{url}\", on_demand: true }}\n");
    let (app, base) = gateway(&stream).await;
    listed(&base, "yard", |yard| yard["state"] == "idle").await;
    let begun = Instant::now();
    let all = (0..20).map(|_| reqwest::get(format!("{base}/yard/snapshot.jpg")));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let metrics = get(&format!("http://{}/metrics", app.admin_address())).await.1;
    for line in [
        "porthole_mjpeg_decode_duration_seconds_count 1",
        "porthole_source_connects_total{result=\"ok\",stream=\"yard\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let left = Instant::now();
    listed(&base, "yard", |yard| yard["state"] == "idle").await;
    assert!(left.elapsed() > Duration::from_secs(8), "no hold-off");
    app.stop().await;
}
