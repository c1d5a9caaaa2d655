//! HLS as players meet it: over HTTP, judged by ffmpeg and `m3u8-rs`.
#![allow(clippy::unwrap_used, reason = "a test")]

mod hls_support;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hls_support::gateway::{FIRST, Gateway, later, pictures, seven_seconds};
use hls_support::{Audio, Clip, Spec, WALL_MS, draft, run};
use m3u8_rs::{MediaPlaylist, Playlist};
use porthole::bus::SourceState;
use porthole::egress::hls::Config;
use porthole::fault::Code;
use porthole::media::{
    ClockRate, Codec, Draft, FrameKind, Jpeg, PixelSize, Track, TrackId, Tracks,
};
use reqwest::StatusCode;

fn media(text: &str) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

/// Values of an attribute in all tags that begin with `tag`.
fn attributes<'t>(text: &'t str, tag: &str, attribute: &str) -> Vec<&'t str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(tag));
    lines
        .filter_map(|line| {
            line.split(',').find_map(|pair| pair.strip_prefix(attribute)?.strip_prefix('='))
        })
        .map(|value| value.trim_matches('"'))
        .collect()
}

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// A gateway that has published `frames` of [`seven_seconds`], and the rest.
async fn gateway_after(frames: usize) -> (Gateway, Vec<Draft>) {
    let mut gateway = Gateway::start().await;
    let mut all = seven_seconds();
    let rest = all.split_off(frames);
    gateway.publish_all(&all).await;
    (gateway, rest)
}

/// Lets a request that is under way reach the gateway and be held there.
async fn held(gateway: &Gateway, count: i64) {
    let metric = format!("porthole_hls_blocked_requests {count}");
    let deadline = tokio::time::Instant::now() + MILLIS(5_000);
    while !gateway.metrics_text().contains(&metric) {
        assert!(tokio::time::Instant::now() < deadline, "{}", gateway.metrics_text());
        tokio::time::sleep(MILLIS(5)).await;
    }
}

#[tokio::test]
async fn a_blocking_reload_returns_with_the_part_it_asks_for() {
    // 160 frames: the segment from 6 s on has no part yet.
    let (mut gateway, rest) = gateway_after(160).await;
    let open = FIRST + 3;
    let url = gateway.url(&format!("hls/media.m3u8?_HLS_msn={open}&_HLS_part=0"));
    let request = tokio::spawn(gateway.http.get(url).send());
    held(&gateway, 1).await;
    assert!(!request.is_finished());

    gateway.publish_all(&rest[..3]).await;
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.headers()["cache-control"], "max-age=18");
    let text = response.text().await.unwrap();
    assert!(text.contains(&format!("URI=\"s{open}.0.m4s\",INDEPENDENT=YES")), "{text}");
    held(&gateway, 0).await;
}

#[tokio::test]
async fn a_reload_without_a_part_waits_for_the_whole_segment() {
    let (mut gateway, rest) = gateway_after(140).await;
    let open = FIRST + 2;
    let url = gateway.url(&format!("hls/media.m3u8?_HLS_msn={open}"));
    let request = tokio::spawn(gateway.http.get(url).send());
    held(&gateway, 1).await;
    gateway.publish_all(&rest[..10]).await;
    tokio::task::yield_now().await;
    assert!(!request.is_finished(), "parts are not enough");
    gateway.publish_all(&rest[10..12]).await;
    let text = request.await.unwrap().unwrap().text().await.unwrap();
    assert!(text.contains(&format!("\ns{open}.m4s\n")), "{text}");
}

#[tokio::test]
async fn chromiums_own_player_is_told_of_a_segment_more_than_there_was() {
    let ask = |gateway: &Gateway| {
        let request = gateway.http.get(gateway.url("hls/media.m3u8"));
        // As it asks (156), but without gzip.
        request.header("accept-encoding", "identity;q=1, *;q=0").send()
    };
    let (mut gateway, rest) = gateway_after(140).await;
    let request = tokio::spawn(ask(&gateway));
    held(&gateway, 1).await;
    assert!(gateway.text("").await.contains("#EXT-X-PART:"), "others do not wait");
    gateway.publish_all(&rest[..10]).await;
    tokio::task::yield_now().await;
    assert!(!request.is_finished(), "parts are not enough");
    gateway.publish_all(&rest[10..12]).await;
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.headers()["cache-control"], "max-age=0");
    let text = answer.text().await.unwrap();
    assert!(text.contains(&format!("\ns{}.m4s\n", FIRST + 2)) && !text.contains("PART"), "{text}");

    // It begins with three, however long they take to come.
    let (mut gateway, rest) = gateway_after(60).await;
    let request = tokio::spawn(ask(&gateway));
    held(&gateway, 1).await;
    gateway.publish_all(&rest[..60]).await;
    tokio::time::sleep(MILLIS(100)).await;
    assert!(!request.is_finished(), "two are not enough");
    gateway.publish_all(&rest[60..]).await;
    let text = request.await.unwrap().unwrap().text().await.unwrap();
    assert_eq!(text.matches("#EXTINF").count(), 3, "{text}");

    // Where it leaves a segment for later, it needs no news.
    let config = Config { always: true, segment: MILLIS(6_000), ..Config::default() };
    let mut gateway = Gateway::start_with(config).await;
    gateway.publish_all(&pictures(900, 50)).await;
    let answer = tokio::time::timeout(MILLIS(5_000), ask(&gateway)).await.unwrap().unwrap();
    assert!(answer.text().await.unwrap().matches("#EXTINF:6.0").count() > 3);
}

#[tokio::test]
async fn the_hinted_part_is_held_and_then_sent_whole_and_no_other() {
    let (mut gateway, rest) = gateway_after(160).await;
    let text = gateway.text("").await;
    let hints = attributes(&text, "#EXT-X-PRELOAD-HINT:", "URI");
    let open = FIRST + 3;
    assert_eq!(hints, [format!("s{open}.0.m4s")]);
    let request = tokio::spawn(gateway.http.get(gateway.url(&format!("hls/{}", hints[0]))).send());
    held(&gateway, 1).await;
    for unhinted in [format!("s{open}.1.m4s"), format!("s{open}.m4s"), format!("i{open}.mp4")] {
        let response = gateway.get(&format!("hls/{unhinted}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{unhinted}");
        assert_eq!(response.headers()["cache-control"], "max-age=3");
    }
    gateway.publish_all(&rest[..3]).await;
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.headers()["content-type"], "video/mp4");
    let length = response.content_length().unwrap();
    let part = response.bytes().await.unwrap();
    assert_eq!(part.len() as u64, length);
    assert_eq!(part, gateway.bytes(hints[0]).await, "the same once it is listed");
}

#[tokio::test]
async fn directives_that_make_no_sense_are_400_and_old_ones_are_not() {
    let (gateway, _) = gateway_after(160).await;
    let open = FIRST + 3;
    for query in [
        "_HLS_part=0".into(),
        "_HLS_msn=x".into(),
        format!("_HLS_msn={open}&_HLS_part=-1"),
        format!("_HLS_msn={}", open + 2),
        format!("_HLS_msn={open}&_HLS_part=7"),
        format!("_HLS_msn={}", u64::MAX),
    ] {
        let response = gateway.get(&format!("hls/media.m3u8?{query}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(!response.text().await.unwrap().is_empty());
    }
    gateway.text("?_HLS_msn=7&_HLS_part=9").await;
    gateway.text("?token=abc&_HLS_skip=YES").await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_waits_in_vain_ends_with_503_after_three_targets() {
    let (gateway, _) = gateway_after(160).await;
    let began = tokio::time::Instant::now();
    let response = gateway.get(&format!("hls/media.m3u8?_HLS_msn={}", FIRST + 3)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!((9..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(response.text().await.unwrap().contains("stream.starting"));
}

#[tokio::test]
async fn a_held_request_goes_with_its_client() {
    let (gateway, _) = gateway_after(160).await;
    let open = FIRST + 3;
    for held_back in [format!("media.m3u8?_HLS_msn={open}"), format!("s{open}.0.m4s")] {
        let url = gateway.url(&format!("hls/{held_back}"));
        let request = tokio::spawn(gateway.http.get(url).send());
        held(&gateway, 1).await;
        request.abort();
        held(&gateway, 0).await;
    }
}

#[tokio::test]
async fn head_waits_for_what_get_waits_for_and_a_range_of_a_hint_is_of_the_whole() {
    let (mut gateway, rest) = gateway_after(160).await;
    let open = FIRST + 3;
    let part = gateway.url(&format!("hls/s{open}.0.m4s"));
    let list = gateway.url(&format!("hls/media.m3u8?_HLS_msn={open}&_HLS_part=0"));
    let range = gateway.http.get(&part).header("range", "bytes=100-");
    let asked = [gateway.http.head(&part), gateway.http.head(&list), range];
    let asked = asked.map(|request| tokio::spawn(request.send()));
    held(&gateway, 3).await;
    gateway.publish_all(&rest[..3]).await;
    let whole = gateway.bytes(&format!("s{open}.0.m4s")).await;
    let text = gateway.text(&format!("?_HLS_msn={open}&_HLS_part=0")).await;
    for (request, length) in asked.into_iter().zip([whole.len(), text.len(), whole.len() - 100]) {
        let answer = request.await.unwrap().unwrap();
        assert!(answer.status().is_success());
        assert_eq!(answer.headers()["content-length"], length.to_string().as_str());
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            assert_eq!(answer.bytes().await.unwrap(), whole[100..]);
        } else {
            assert!(answer.bytes().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn an_ended_stream_ignores_directives_and_wakes_who_waits() {
    let (mut gateway, _) = gateway_after(160).await;
    let url = gateway.url(&format!("hls/media.m3u8?_HLS_msn={}", FIRST + 4));
    let request = tokio::spawn(gateway.http.get(url).send());
    held(&gateway, 1).await;
    gateway.end().await;
    let text = request.await.unwrap().unwrap().text().await.unwrap();
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    gateway.text("?_HLS_msn=99999999999999&_HLS_part=x").await;
}

#[tokio::test]
async fn head_says_what_get_would_and_an_unknown_stream_is_named() {
    let (gateway, _) = gateway_after(160).await;
    for path in ["index.m3u8", "hls/media.m3u8", &format!("hls/s{FIRST}.m4s")] {
        let get = gateway.get(path).await;
        let head = gateway.http.head(gateway.url(path)).send().await.unwrap();
        for name in ["content-length", "content-type", "cache-control"] {
            assert_eq!(get.headers()[name], head.headers()[name], "{path}");
        }
        assert!(head.bytes().await.unwrap().is_empty());
    }
    let unknown = gateway.http.get(format!("{}/barn/index.m3u8", gateway.base)).send().await;
    let unknown = unknown.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(unknown.text().await.unwrap().contains("stream.unknown"));
}

#[tokio::test]
async fn playlists_are_compressed_for_whoever_takes_that() {
    let (gateway, _) = gateway_after(160).await;
    for path in ["index.m3u8", "hls/media.m3u8"] {
        let plain = gateway.get(path).await;
        assert_eq!(plain.headers()["vary"], "Accept-Encoding");
        assert!(!plain.headers().contains_key("content-encoding"), "{path}");
        let request = gateway.http.get(gateway.url(path)).header("accept-encoding", "br, gzip");
        let packed = request.send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        assert_eq!(packed.headers()["cache-control"], plain.headers()["cache-control"]);
        let length = packed.content_length().unwrap();
        let packed = packed.bytes().await.unwrap();
        assert_eq!(packed.len() as u64, length);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain.text().await.unwrap(), "{path}");
    }
    // Media is compressed already.
    let url = gateway.url(&format!("hls/s{FIRST}.m4s"));
    let segment = gateway.http.get(url).header("accept-encoding", "gzip").send().await.unwrap();
    assert!(!segment.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn a_range_of_a_segment_is_sent_alone() {
    let (gateway, _) = gateway_after(160).await;
    let name = format!("s{FIRST}.m4s");
    let whole = gateway.bytes(&name).await;
    let url = gateway.url(&format!("hls/{name}"));
    let request = gateway.http.get(url).header("range", "bytes=1000-1099");
    let part = request.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 1000-1099/{}", whole.len()));
    assert_eq!(part.bytes().await.unwrap(), whole[1000..1100]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_yet_says_so_after_three_seconds() {
    let gateway = Gateway::start().await;
    let began = tokio::time::Instant::now();
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!((3..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(response.text().await.unwrap().contains("stream.starting"));
}

#[tokio::test(start_paused = true)]
async fn a_known_failure_is_told_at_once() {
    let gateway = Gateway::start().await;
    gateway.publisher.as_ref().unwrap().set_status(|status| {
        status.state = SourceState::Down;
        status.fault = Some(Code::SourceAuth.into());
    });
    let began = tokio::time::Instant::now();
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(began.elapsed() < MILLIS(1_000));
    assert!(response.text().await.unwrap().contains("source.auth"));
}

#[tokio::test(start_paused = true)]
async fn a_window_from_before_the_camera_went_idle_is_dropped() {
    let (mut gateway, _) = gateway_after(160).await;
    gateway.publisher.as_mut().unwrap().forget();
    gateway.set_state(SourceState::Idle);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.hls.buffer_bytes(), 0);
    let began = tokio::time::Instant::now();
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!((3..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(gateway.get(&format!("hls/s{FIRST}.m4s")).await.status(), StatusCode::NOT_FOUND);

    // An hour later the camera is wanted again.
    gateway.set_state(SourceState::Live);
    let mut later = later(seven_seconds(), 3_600);
    later[0].discontinuity = true;
    gateway.publish_all(&later).await;
    assert_eq!(gateway.get("index.m3u8").await.status(), StatusCode::OK);
    let text = gateway.text("").await;
    assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", FIRST + 36_000)), "{text}");
    assert!(!text.contains("#EXT-X-DISCONTINUITY\n"), "nothing old is left: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_player_that_comes_while_the_camera_is_away_is_not_given_what_is_left() {
    let (gateway, _) = gateway_after(160).await;
    gateway.set_state(SourceState::Connecting);
    let began = tokio::time::Instant::now();
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!((3..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    gateway.text("").await; // a player that stayed
}

#[tokio::test]
async fn a_player_that_comes_before_the_camera_is_back_waits_for_it() {
    let (mut gateway, _) = gateway_after(160).await;
    let mut back = later(seven_seconds(), 20);
    back[0].discontinuity = true;
    gateway.set_state(SourceState::Connecting);
    let mut interest = gateway.stream.watch_interest();
    let request = tokio::spawn(gateway.http.get(gateway.url("index.m3u8")).send());
    interest.wait_for(|viewers| *viewers > 0).await.unwrap();
    assert!(!request.is_finished());
    gateway.publish_all(&back).await;
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_a_camera_sent_last_is_there_as_soon_as_it_is_away() {
    let (gateway, _) = gateway_after(155).await;
    let before = gateway.text("").await;
    let began = tokio::time::Instant::now();
    gateway.set_state(SourceState::Down);
    let hint = before.lines().last().unwrap().split('"').nth(1).unwrap();
    assert_eq!(gateway.get(&format!("hls/{hint}")).await.status(), StatusCode::OK);
    assert!(began.elapsed() < MILLIS(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn while_the_camera_is_away_players_that_wait_are_shown_a_gap() {
    let (gateway, _) = gateway_after(160).await;
    let next = FIRST + 4;
    gateway.set_state(SourceState::Down);
    let began = tokio::time::Instant::now();
    let text = gateway.text(&format!("?_HLS_msn={next}")).await;
    assert!((2..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(text.contains(&format!("\n#EXT-X-GAP\n#EXTINF:2.000000,\ns{next}.m4s\n")), "{text}");
    let gone = gateway.get(&format!("hls/s{next}.m4s")).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    // It ends with half the window; who waits then is told why.
    tokio::time::sleep(MILLIS(60_000)).await;
    let text = gateway.text("").await;
    assert_eq!(text.matches("#EXT-X-GAP").count(), 15, "{text}");
    let waited = gateway.get(&format!("hls/media.m3u8?_HLS_msn={}", next + 15)).await;
    assert_eq!(waited.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn mjpeg_is_refused_by_name() {
    let mut gateway = Gateway::start().await;
    let size = PixelSize { width: 640, height: 360 };
    let codec = Codec::Jpeg(Jpeg { size });
    let track = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec };
    let tracks = Arc::new(Tracks::new(vec![track]));
    gateway.publish_all(&[draft(&tracks, 0, 0, 0, FrameKind::Key, Bytes::new())]).await;
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body = response.text().await.unwrap();
    assert!(body.contains("codec.video_unplayable") && body.contains("MJPEG"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_player_keeps_an_on_demand_camera_for_ten_seconds() {
    let (gateway, _) = gateway_after(160).await;
    let interest = gateway.stream.watch_interest();
    assert_eq!(*interest.borrow(), 0);
    gateway.text("").await;
    assert_eq!(*interest.borrow(), 1);
    tokio::time::sleep(MILLIS(6_000)).await;
    gateway.text("").await;
    tokio::time::sleep(MILLIS(9_000)).await;
    assert_eq!(*interest.borrow(), 1, "each request counts anew, all players once");
    tokio::time::sleep(MILLIS(2_000)).await;
    assert_eq!(*interest.borrow(), 0);
}

#[tokio::test]
async fn a_detached_stream_is_gone_with_its_bytes() {
    let (gateway, _) = gateway_after(160).await;
    assert!(gateway.hls.buffer_bytes() > 161 * 64);
    gateway.hls.detach(gateway.stream.name());
    assert_eq!(gateway.hls.buffer_bytes(), 0);
    let response = gateway.get("index.m3u8").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn bytes_held_are_shown_beside_those_of_the_bus() {
    let (gateway, _) = gateway_after(160).await;
    let text = gateway.metrics_text();
    let held = gateway.hls.buffer_bytes();
    for line in [
        format!("porthole_buffer_bytes{{pool=\"hls\"}} {held}"),
        "porthole_buffer_bytes{pool=\"bus\"} ".to_owned(),
        format!("porthole_buffer_limit_bytes{{pool=\"hls\"}} {}", 256 << 20),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert_eq!(text.matches("# TYPE porthole_buffer_bytes gauge").count(), 1, "{text}");
}

#[tokio::test]
async fn only_bytes_that_were_sent_count_as_sent() {
    let (gateway, _) = gateway_after(160).await;
    let name = format!("s{FIRST}.m4s");
    let head = gateway.http.head(gateway.url(&format!("hls/{name}"))).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let length = gateway.bytes(&name).await.len();
    let line = format!("porthole_sent_bytes_total{{output=\"hls\",stream=\"yard\"}} {length}\n");
    assert!(gateway.metrics_text().contains(&line), "{line}: {}", gateway.metrics_text());
}

const H264: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 50 -sc_threshold 0";
const B_FRAMES: &str =
    "-c:v libx264 -preset veryfast -profile:v high -bf 3 -b_strategy 0 -g 50 -sc_threshold 0";
const H265: &str = "-c:v libx265 -preset ultrafast -g 50 -tag:v hvc1 -x265-params \
                    log-level=error:scenecut=0:keyint=50";

/// Plays a whole clip, fetches all of it and lets ffmpeg decode it.
async fn carries_every_frame(video: &str, audio: Audio, codecs: &str) {
    let clip = Clip::make(&Spec { video, audio, seconds: 9, fps: 25, size: "320x180" });
    let mut gateway = Gateway::start().await;
    gateway.publish_all(&clip.frames).await;
    gateway.end().await;

    let index = gateway.get("index.m3u8").await.text().await.unwrap();
    let (_, Playlist::MasterPlaylist(index)) = m3u8_rs::parse_playlist(index.as_bytes()).unwrap()
    else {
        panic!("{index}");
    };
    let variant = &index.variants[0];
    assert_eq!(variant.uri, "hls/media.m3u8");
    assert_eq!(variant.codecs.as_deref(), Some(codecs));
    assert_eq!(variant.resolution.map(|r| (r.width, r.height)), Some((320, 180)));
    assert_eq!(variant.frame_rate, Some(25.0));

    let text = gateway.text("").await;
    let playlist = media(&text);
    assert!(gateway.hls.buffer_bytes() > 0);
    assert!(playlist.end_list && playlist.segments.len() >= 4, "{text}");
    let map = playlist.segments[0].map.as_ref().unwrap();
    let mut file = gateway.bytes(&map.uri).await.to_vec();
    let mut peak = 0;
    for segment in &playlist.segments {
        let whole = gateway.bytes(&segment.uri).await;
        let stem = segment.uri.strip_suffix(".m4s").unwrap();
        let parts = attributes(&text, "#EXT-X-PART:", "URI");
        let mut joined = Vec::new();
        for part in parts.iter().filter(|part| part.starts_with(&format!("{stem}."))) {
            joined.extend_from_slice(&gateway.bytes(part).await);
        }
        // Old segments list no parts any more.
        assert!(joined.is_empty() || joined == whole, "{stem} is exactly its parts");
        peak = peak.max((whole.len() as f64 * 8.0 / f64::from(segment.duration)) as u64);
        file.extend_from_slice(&whole);
    }
    assert!(variant.bandwidth >= peak, "BANDWIDTH is a peak");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.mp4").to_str().unwrap().to_owned();
    std::fs::write(&path, file).unwrap();
    assert_eq!(run("ffmpeg", &["-v", "error", "-i", &path, "-f", "null", "-"]), "");
    let count = |stream: &str| {
        let mut args = vec!["-v", "error", "-count_frames", "-select_streams", stream];
        args.extend(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", &path]);
        run("ffprobe", &args).trim().parse::<usize>().unwrap_or(0)
    };
    assert_eq!(count("v"), clip.video_frames());
    let heard = count("a");
    // Sound that begins after the last picture stays out.
    assert!(heard <= clip.audio_frames() && heard + 8 >= clip.audio_frames(), "{heard}");
    let length = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
            &path,
        ],
    );
    let times: Vec<f64> =
        length.lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect();
    let (first, last) = (times[0], times.iter().copied().fold(0.0, f64::max));
    assert!((last - first - 8.96).abs() < 0.002, "{first} {last}");
    assert!((first - WALL_MS as f64 / 1_000.0).abs() < 0.2, "media time is wall time: {first}");
}

#[tokio::test]
async fn h264_and_aac_come_out_as_they_went_in() {
    carries_every_frame(H264, Audio::Aac, "avc1.42C00C,mp4a.40.2").await;
}

#[tokio::test]
async fn b_frames_and_g711_as_flac_come_out_as_they_went_in() {
    carries_every_frame(B_FRAMES, Audio::Alaw, "avc1.64000C,fLaC").await;
    carries_every_frame(H264, Audio::Mulaw, "avc1.42C00C,fLaC").await;
}

#[tokio::test]
async fn h265_is_hvc1() {
    carries_every_frame(H265, Audio::None, "hvc1.1.6.L60.90").await;
}
