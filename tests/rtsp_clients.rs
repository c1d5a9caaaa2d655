//! ffmpeg and GStreamer, as NVRs use them, play what the RTSP output serves.

use std::process::{Output, Stdio};
use std::time::Duration;

use porthole::cli::demo_camera;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs a client to its end.
async fn run(program: &str, arguments: &[&str]) -> Output {
    let mut client = Command::new(program);
    client.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(Duration::from_secs(60), client.output()).await;
    ended.expect("the client ends by itself").expect("the client is installed")
}

/// What a client that succeeded printed, and what it complained about.
fn told(ended: &Output) -> (String, String) {
    assert!(ended.status.success(), "{ended:?}");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&ended.stdout), text(&ended.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffprobe_finds_the_tracks_with_their_parameters() {
    let camera = demo_camera::start().await.unwrap();
    let entries = "stream=codec_name,profile,width,height,sample_rate";
    let options = ["-v", "warning", "-rtsp_transport", "tcp", "-show_entries", entries];
    let arguments = [&options[..], &["-of", "csv=p=0", &camera.url]].concat();
    let (out, complaints) = told(&run("ffprobe", &arguments).await);
    let found: Vec<&str> = out.lines().collect();
    assert_eq!(found, ["h264,Constrained Baseline,1280,720", "pcm_alaw,unknown,8000"]);
    assert_eq!(complaints, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_decodes_every_frame_at_the_right_time() {
    let camera = demo_camera::start().await.unwrap();
    let input = ["-v", "warning", "-rtsp_transport", "tcp", "-i", &camera.url, "-t", "4"];
    let output = ["-map", "0:v", "-vsync", "passthrough", "-f", "framemd5", "-"];
    let (out, complaints) = told(&run("ffmpeg", &[&input[..], &output].concat()).await);
    let times: Vec<i64> = out
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').nth(2).unwrap().trim().parse().unwrap())
        .collect();
    assert!(times.len() >= 98, "{} pictures in 4 s\n{out}\n{complaints}", times.len());
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], times[1] - times[0], "{out}");
    }
    assert!(!complaints.contains("missed") && !complaints.contains("error"), "{complaints}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_is_told_that_udp_is_not_to_be_had() {
    let camera = demo_camera::start().await.unwrap();
    let arguments = ["-v", "error", "-rtsp_transport", "udp", &camera.url];
    let ended = run("ffprobe", &arguments).await;
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("461"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gstreamer_plays_picture_and_sound() {
    let camera = demo_camera::start().await.unwrap();
    let source = format!("location={}", camera.url);
    // Both branches end by themselves; `-v` would show each packet's caps.
    let pipeline = format!(
        "rtspsrc name=s {source} protocols=tcp \
         s. ! rtph264depay ! h264parse ! avdec_h264 ! identity eos-after=50 ! fakesink sync=false \
         s. ! rtppcmadepay ! alawdec ! identity eos-after=100 ! fakesink sync=false"
    );
    let arguments: Vec<&str> = ["-q"].into_iter().chain(pipeline.split_whitespace()).collect();
    let (_, complaints) = told(&run("gst-launch-1.0", &arguments).await);
    assert!(!complaints.contains("WARN"), "{complaints}");
}
