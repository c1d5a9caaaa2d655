//! Snapshots as programs and pages ask for them: over HTTP, judged by ffmpeg.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod hls_support;
mod picture_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use picture_support::{Coded, Gateway, encoded, farthest, key_frame, rgb, x264};
use porthole::bus::SourceState;
use porthole::egress::mjpeg::Source;
use porthole::fault::{Code, Fault};
use porthole::media::{ClockRate, Codec, FrameKind, G711Law};

/// An H.264 picture as most cameras send it.
fn plain() -> Coded {
    key_frame(640, 360, &x264("bt709", "tv"))
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_right_whatever_matrix_and_range_a_camera_has() {
    let mut gateway = Gateway::start().await;
    for matrix in ["bt601", "bt709"] {
        for range in ["tv", "pc"] {
            gateway.publish(&key_frame(640, 360, &x264(matrix, range)));
            for path in ["snapshot.jpg", "snapshot.jpg?width=320"] {
                let far = farthest(&gateway.picture(path).await);
                assert!(far <= 6, "{matrix} {range}, {path}: {far}");
            }
        }
    }
    // A camera that says nothing, of fewer and of more lines than television.
    for (height, matrix) in [(360, "bt601"), (720, "bt709")] {
        let told = x264(matrix, "tv");
        let (scale, _) = told.split_once(" -colorspace").unwrap();
        gateway.publish(&key_frame(1280, height, &format!("{scale} -c:v libx264 -qp 4")));
        let far = farthest(&gateway.picture("snapshot.jpg").await);
        assert!(far <= 6, "{height} lines: {far}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_cropped_squared_and_never_larger_than_the_camera_s() {
    let mut gateway = Gateway::start().await;
    let with = |args: &str| format!("{} {args}", x264("bt709", "tv"));
    // 1080 lines are coded as 1088; PAL's samples are not square.
    for (coded, wanted) in [
        (key_frame(1920, 1080, &with("-preset ultrafast")), (1920, 1080)),
        (key_frame(704, 576, &with("-aspect 16:9")), (704, 396)),
        (key_frame(640, 360, &with("-profile:v baseline")), (640, 360)),
        (key_frame(640, 362, &with("-profile:v high -bf 2 -refs 16 -slices 5")), (640, 362)),
    ] {
        gateway.publish(&coded);
        let file = gateway.picture("snapshot.jpg").await;
        let (width, height, _) = rgb(&file);
        assert_eq!((width, height), wanted);
        assert!(farthest(&file) <= 6, "{wanted:?}");
        let wide = gateway.picture("snapshot.jpg?width=8192").await;
        assert_eq!((rgb(&wide).0, rgb(&wide).1), wanted);
    }
    for (asked, wanted) in [(1, (160, 91)), (161, (240, 136)), (320, (320, 181)), (640, (640, 362))]
    {
        let (width, height, _) =
            rgb(&gateway.picture(&format!("snapshot.jpg?width={asked}")).await);
        assert_eq!((width, height), wanted, "width={asked}");
    }
    for query in ["width=0", "width=8193", "width=wide", "width=-1", "height=100"] {
        let (status, _, detail) = gateway.problem(&format!("snapshot.jpg?{query}")).await;
        assert!(status == 400 && detail.contains("width"), "{query}: {status} {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_frame_is_decoded_once_however_many_ask_and_in_whatever_widths() {
    let mut gateway = Gateway::start().await;
    let coded = plain();
    for nth in 1..=3 {
        gateway.publish(&coded);
        gateway.publish_frame(&coded, FrameKind::Delta);
        let asked = (0..100).map(|n| ["", "?width=320", "?width=160"][n % 3]);
        let paths: Vec<String> = asked.map(|query| format!("snapshot.jpg{query}")).collect();
        let files = join_all(paths.iter().map(|path| gateway.picture(path))).await;
        assert!((0..3).all(|n| files[n] == files[n + 3] && files[n] == files[n + 96]));
        assert_eq!(gateway.decoded(), f64::from(nth));
        let held = gateway.metric("porthole_buffer_bytes{pool=\"pictures\"}");
        let all = [&files[0], &files[1], &files[2]].map(|file| file.len()).iter().sum::<usize>();
        assert_eq!(held, (all + 640 * 360 * 3 / 2) as f64, "of the newest alone");
    }
    let sent = gateway.metric("porthole_sent_bytes_total{output=\"mjpeg\",stream=\"yard\"}");
    assert!(sent > 300_000.0, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_how_new_its_picture_is() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&plain());
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let head = gateway.http.head(gateway.url("snapshot.jpg")).send().await.unwrap();
    let answer = gateway.get("snapshot.jpg").await;
    for headers in [head.headers(), answer.headers()] {
        assert_eq!(headers["content-type"], "image/jpeg");
        assert_eq!(headers["age"], "2");
        assert_eq!(headers["cache-control"], "private, no-cache");
        assert!(headers["last-modified"].to_str().unwrap().ends_with(" GMT"));
        assert!(headers["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 2_000);
    }
    assert_eq!(head.headers()["last-modified"], answer.headers()["last-modified"]);
    // The same picture is not sent again, another width or picture is.
    let etag = answer.headers()["etag"].clone();
    let again = async |path: &str| {
        let request = gateway.http.get(gateway.url(path)).header("if-none-match", &etag);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(again("snapshot.jpg").await, 304);
    assert_eq!(again("snapshot.jpg?width=320").await, 200);
    gateway.publish(&plain());
    let status = gateway.http.get(gateway.url("snapshot.jpg")).header("if-none-match", &etag);
    assert_eq!(status.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_from_before_an_outage_is_not_shown_after_it() {
    let mut gateway = Gateway::start().await;
    gateway.publish(&plain());
    gateway.picture("snapshot.jpg").await;
    tokio::time::sleep(Duration::from_millis(700)).await;

    gateway.set_state(SourceState::Down, Some(Fault::new(Code::SourceRefused, "port 554")));
    let begun = Instant::now();
    let (status, code, detail) = gateway.problem("snapshot.jpg").await;
    assert_eq!((status, code.as_str(), detail.as_str()), (502, "source.refused", "port 554"));
    assert!(begun.elapsed() < Duration::from_millis(500), "nobody waits for a known failure");

    // Live again, but its first key frame is not here yet.
    gateway.set_state(SourceState::Live, None);
    let early = tokio::time::timeout(Duration::from_millis(500), gateway.get("snapshot.jpg"));
    assert!(early.await.is_err(), "an old picture was shown");
    let url = gateway.url("snapshot.jpg");
    let waiting = tokio::spawn(reqwest::get(url));
    tokio::time::sleep(Duration::from_millis(100)).await;
    gateway.publish(&plain());
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["age"].to_str().unwrap()), (200, "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_start_in_time_is_told_by_503() {
    let gateway = Gateway::start().await;
    gateway.set_state(SourceState::Connecting, None);
    let begun = Instant::now();
    let answer = gateway.get("snapshot.jpg").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(answer.text().await.unwrap().contains("stream.starting"));
    assert!((7..=10).contains(&begun.elapsed().as_secs()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_picture_can_be_made_of_is_refused_with_the_way_out() {
    let mut gateway = Gateway::start().await;
    let with = |args: &str| format!("{} {args}", x264("bt709", "tv"));
    let sound = Coded::new(Codec::G711 { law: G711Law::A, channels: 1 }, Bytes::from_static(&[1]));
    assert_eq!(sound.tracks.iter().next().unwrap().rate, ClockRate::VIDEO);
    let mut cut = plain();
    cut.data = cut.data.slice(..cut.data.len() / 2);
    let mut noise = plain();
    let mut bytes = noise.data.to_vec();
    bytes[200..].fill(0xa5);
    noise.data = bytes.into();
    let h265 = "-vf format=yuv420p -c:v libx265 -x265-params log-level=none";
    let h422 = "-vf format=yuv422p -c:v libx264";
    for (coded, words) in [
        (key_frame(640, 360, h265), "does not decode H.265 yet"),
        (key_frame(640, 360, &with("-x264-params interlaced=1")), "interlaced"),
        (key_frame(640, 360, h422), "profile (122)"),
        (sound, "sound alone"),
        (cut, "not a whole picture"),
        (noise, "decoded"),
    ] {
        gateway.publish(&coded);
        let (status, code, detail) = gateway.problem("snapshot.jpg").await;
        assert_eq!((status, code.as_str()), (422, "codec.video_unplayable"), "{detail}");
        assert!(detail.contains(words) && detail.contains("`snapshot_url`"), "{words}: {detail}");
    }
    let decoded = gateway.decoded();
    for _ in 0..10 {
        gateway.problem("snapshot.jpg").await;
    }
    assert_eq!(gateway.decoded(), decoded, "what failed is not tried again");
    // And the next one is as good as ever.
    gateway.publish(&plain());
    assert!(farthest(&gateway.picture("snapshot.jpg").await) <= 6);
    let (status, code, _) = gateway.problem("../gate/snapshot.jpg").await;
    assert_eq!((status, code.as_str()), (404, "stream.unknown"));
}

/// A JPEG camera's picture of the patches.
fn jpeg(width: usize, height: usize) -> Bytes {
    let args = "-vf scale=out_range=pc,format=yuvj422p -c:v mjpeg -q:v 2 -f mjpeg";
    encoded(width, height, args).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jpeg_camera_s_own_bytes_are_passed_on_unless_they_are_to_be_smaller() {
    let mut gateway = Gateway::start().await;
    let file = jpeg(640, 360);
    gateway.publish(&Coded::jpeg(file.clone(), 640, 360));
    assert_eq!(gateway.picture("snapshot.jpg").await, file);
    assert_eq!(gateway.decoded(), 0.0);
    let small = gateway.picture("snapshot.jpg?width=320").await;
    assert_eq!((rgb(&small).0, rgb(&small).1), (320, 180));
    assert!(farthest(&small) <= 6);
    assert_eq!(gateway.decoded(), 1.0);
    // Damaged ones are the camera's business, until they are to be read.
    gateway.publish(&Coded::jpeg(Bytes::from_static(b"\xff\xd8\xff\xd9"), 640, 360));
    assert_eq!(gateway.picture("snapshot.jpg").await.len(), 4);
    let (status, _, detail) = gateway.problem("snapshot.jpg?width=160").await;
    assert!(status == 422 && detail.contains("cannot be read"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_s_own_still_takes_the_place_of_decoding() {
    let mut gateway = Gateway::start().await;
    let (file, asked) = (jpeg(640, 360), Arc::new(AtomicUsize::new(0)));
    let (answer, counted) = (file.clone(), Arc::clone(&asked));
    let still = move || {
        let nth = counted.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone();
        let answer = async move {
            if nth == 1 { Err(Fault::new(Code::SourceAuth, "of the still")) } else { Ok(answer) }
        };
        Box::pin(answer) as futures_util::future::BoxFuture<'static, _>
    };
    let source = Source { still: Some(Arc::new(still)), decode: true };
    gateway.pictures.attach(&"yard".parse().unwrap(), source);
    // Whatever the camera sends over RTSP, or if it sends nothing at all.
    gateway.set_state(SourceState::Down, Some(Code::SourceRefused.into()));
    let all = join_all((0..50).map(|_| gateway.picture("snapshot.jpg"))).await;
    assert!(all.iter().all(|one| *one == file));
    assert_eq!(rgb(&gateway.picture("snapshot.jpg?width=160").await).0, 160);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(*gateway.stream.watch_interest().borrow(), 0, "RTSP is not needed for it");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (status, code, detail) = gateway.problem("snapshot.jpg").await;
    assert_eq!((status, code.as_str(), detail.as_str()), (502, "source.auth", "of the still"));
    // A JPEG camera's frames are as good, and there are more of them.
    gateway.set_state(SourceState::Live, None);
    let other = jpeg(320, 180);
    gateway.publish(&Coded::jpeg(other.clone(), 320, 180));
    assert_eq!(gateway.picture("snapshot.jpg").await, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decoded_where_that_is_switched_off() {
    let mut gateway = Gateway::start().await;
    gateway.pictures.attach(&"yard".parse().unwrap(), Source { still: None, decode: false });
    gateway.publish(&plain());
    let (status, code, detail) = gateway.problem("snapshot.jpg").await;
    assert_eq!((status, code.as_str()), (422, "codec.video_unplayable"));
    assert!(detail.contains("`snapshot: off`") && detail.contains("`snapshot_url`"), "{detail}");
    let file = jpeg(640, 360);
    gateway.publish(&Coded::jpeg(file.clone(), 640, 360));
    assert_eq!(gateway.picture("snapshot.jpg").await, file);
    assert_eq!(gateway.problem("snapshot.jpg?width=160").await.0, 422);
    assert_eq!(gateway.decoded(), 0.0);
}
