//! WHEP's HTTP side: what a client is told, and when it is told no.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::time::{Duration, Instant};

use porthole::bus::{Limits, SourceState};
use porthole::egress::whep::{Config, IceServer};
use porthole::fault::{Code, Fault};
use porthole::media::{Aac, Avc, Codec, Jpeg, PixelSize};
use reqwest::{Method, Response, StatusCode};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::{Audio, Video};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whep_support::player::Player;
use whep_support::{Camera, Clip, Gateway, clip, encode, eventually, session_of, silent};

/// Status, code and detail of a problem document.
async fn problem(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["status"], status);
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("detail"))
}

/// A gateway whose stream `yard` has shown one picture of this video.
async fn gateway_showing(video: Codec, audio: Option<Codec>) -> (Gateway, Camera) {
    let gateway = Gateway::start().await;
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::showing(publisher, clip(), video, audio);
    camera.publish();
    (gateway, camera)
}

fn avc() -> Codec {
    Codec::H264(clip().avc.clone())
}

#[tokio::test]
async fn a_session_is_created_with_all_a_player_needs_to_know() {
    let ice_servers = vec![IceServer {
        urls: vec!["turn:turn.example.org?transport=udp".into()],
        username: Some("ann".into()),
        credential: Some("pa\"ss".into()),
    }];
    let gateway = Gateway::with(Config {
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: vec!["203.0.113.7:9000".into()],
        ice_servers,
        ..Config::default()
    })
    .await;
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), None);
    camera.publish();
    let (player, offer) = Player::offering(&[Video]).await;
    let endpoint = format!("{}/yard/whep", gateway.url);
    let response = player.post(&endpoint, &offer).await;
    let asked = player.http.request(Method::OPTIONS, &endpoint).send().await.unwrap();
    assert_eq!(asked.headers()["link"], response.headers()["link"]);

    assert_eq!(response.status(), StatusCode::CREATED);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/sdp");
    assert_eq!(header("accept-patch"), "application/trickle-ice-sdpfrag");
    assert_eq!(header("cache-control"), "no-store");
    assert!(header("etag").starts_with('"'));
    assert_eq!(
        header("link"),
        "<turn:turn.example.org?transport=udp>; rel=\"ice-server\"; username=\"ann\"; \
         credential=\"pa\\\"ss\"; credential-type=\"password\""
    );
    let answer = response.text().await.unwrap();
    let candidates: Vec<&str> = answer.lines().filter(|l| l.starts_with("a=candidate")).collect();
    let local = gateway.whep.local_addr().unwrap().port();
    assert!(candidates.iter().any(|c| c.contains(&format!("127.0.0.1 {local} typ host"))));
    assert!(candidates.iter().any(|c| c.contains("203.0.113.7 9000 typ host")));
    assert!(answer.contains("a=setup:passive"), "as DTLS server it connects in one round less");
}

#[tokio::test]
async fn the_urls_say_what_they_are_and_what_they_take() {
    let (gateway, _camera) = gateway_showing(avc(), None).await;
    let (player, offer) = Player::offering(&[Video]).await;
    let endpoint = url::Url::parse(&format!("{}/yard/whep", gateway.url)).unwrap();
    let created = player.post(endpoint.as_str(), &offer).await;
    let session = session_of(endpoint.as_str(), created.headers());
    let ask = async |method: Method, url: &url::Url| {
        let response = player.http.request(method, url.clone()).send().await.unwrap();
        let headers = response.headers().clone();
        let status = response.status();
        (status, headers, response)
    };
    for (url, methods) in
        [(&endpoint, "GET, HEAD, OPTIONS, POST"), (&session, "GET, HEAD, OPTIONS, PATCH, DELETE")]
    {
        let (status, headers, _) = ask(Method::OPTIONS, url).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(headers["accept-post"], "application/sdp");
        assert_eq!(headers["allow"], methods);
        let (status, headers, response) = ask(Method::PUT, url).await;
        assert_eq!(
            (status, &headers["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &methods.parse().unwrap())
        );
        assert_eq!(problem(response).await.0, 405);
    }
    let (_, headers, _) = ask(Method::OPTIONS, &session).await;
    assert_eq!(headers["accept-patch"], "application/trickle-ice-sdpfrag");
    for method in [Method::GET, Method::HEAD] {
        let (status, headers, response) = ask(method.clone(), &endpoint).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "application/sdp");
        assert_eq!(response.text().await.unwrap(), "");
        let (status, headers, _) = ask(method, &session).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(headers["etag"], created.headers()["etag"]);
    }
    for unknown in ["../garden/whep", "whep/0123"] {
        let (_, _, response) = ask(Method::GET, &endpoint.join(unknown).unwrap()).await;
        assert_eq!(problem(response).await.0, 404);
    }
}

#[tokio::test]
async fn a_session_that_was_ended_is_gone_at_once() {
    let (gateway, _camera) = gateway_showing(avc(), None).await;
    let (player, offer) = Player::offering(&[Video]).await;
    let endpoint = url::Url::parse(&format!("{}/yard/whep", gateway.url)).unwrap();
    let created = player.post(endpoint.as_str(), &offer).await;
    let session = session_of(endpoint.as_str(), created.headers());
    // In one packet: the session's task has no time to forget it in between.
    let host = session.authority().to_owned();
    let request =
        |more: &str| format!("DELETE {} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n", session.path());
    let both = request("") + &request("Connection: close\r\n");
    let mut connection = tokio::net::TcpStream::connect(&host).await.unwrap();
    connection.write_all(both.as_bytes()).await.unwrap();
    let mut answers = String::new();
    connection.read_to_string(&mut answers).await.unwrap();
    let second = answers.strip_prefix("HTTP/1.1 200 ").expect("it is ended");
    assert!(second.contains("HTTP/1.1 404 "), "{answers}");
    assert_eq!(gateway.whep.sessions(), 0);
}

#[tokio::test]
async fn an_offer_that_cannot_be_read_is_told_why() {
    let (gateway, _camera) = gateway_showing(avc(), None).await;
    let (player, offer) = Player::offering(&[Video]).await;
    let url = format!("{}/yard/whep", gateway.url);
    for (body, expected, why) in [
        ("hello".to_owned(), 400, "not SDP"),
        (offer.replace("a=ice-pwd", "a=x"), 400, "ICE credentials"),
        (offer.replace("a=mid", "a=x"), 400, ""),
        ("v=0\r\n".repeat(20_000), 413, ""),
    ] {
        let (status, code, detail) = problem(player.post(&url, &body).await).await;
        assert_eq!((status, code.as_str()), (expected, "viewer.bad_offer"));
        assert!(detail.contains(why), "{detail}");
    }
    let wrong_type = player.http.post(&url).body(offer.clone()).send().await.unwrap();
    let (status, code, _) = problem(wrong_type).await;
    assert_eq!((status, code.as_str()), (415, "viewer.bad_offer"));
    let refused = r#"porthole_session_setups_total{output="whep",result="viewer.bad_offer"}"#;
    assert_eq!(gateway.metric(refused), Some(5.0));
    assert_eq!(gateway.whep.sessions(), 0);
}

#[tokio::test]
async fn video_the_viewer_cannot_play_is_named_with_what_it_could() {
    let jpeg = Codec::Jpeg(Jpeg { size: PixelSize { width: 16, height: 16 } });
    let (gateway, _camera) = gateway_showing(jpeg, None).await;
    let (player, offer) = Player::offering(&[Video, Audio]).await;
    let url = format!("{}/yard/whep", gateway.url);
    let (status, code, detail) = problem(player.post(&url, &offer).await).await;
    assert_eq!((status, code.as_str()), (422, "codec.video_unplayable"));
    assert!(detail.starts_with("the camera sends MJPEG; the offer has VP8, "), "{detail}");

    let (gateway, _camera) = gateway_showing(avc(), None).await;
    let without = offer.replace("H264/", "H999/");
    let url = format!("{}/yard/whep", gateway.url);
    let (status, code, detail) = problem(player.post(&url, &without).await).await;
    assert_eq!((status, code.as_str()), (422, "codec.video_unplayable"));
    assert!(detail.contains("sends H.264; the offer has") && detail.contains("H999"), "{detail}");
}

#[tokio::test]
async fn b_frames_are_refused_before_connecting() {
    let clip: &'static Clip = Box::leak(Box::new(encode(&["-profile:v", "main", "-bf", "2"])));
    assert_eq!(clip.avc.max_num_reorder_frames, Some(2));
    let gateway = Gateway::start().await;
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip, None);
    (0..10).for_each(|_| camera.publish());
    let (player, offer) = Player::offering(&[Video]).await;
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (422, "codec.bframes"));
}

#[tokio::test]
async fn b_frames_announced_but_never_sent_are_no_reason_to_refuse() {
    let avc = Avc { max_num_reorder_frames: Some(2), ..clip().avc.clone() };
    let (gateway, mut camera) = gateway_showing(Codec::H264(avc), None).await;
    (0..10).for_each(|_| camera.publish());
    let (player, offer) = Player::offering(&[Video]).await;
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    assert_eq!(response.status(), 201);
}

#[tokio::test]
async fn b_frames_that_no_parameter_set_announced_are_refused_too() {
    let clip: &'static Clip = Box::leak(Box::new(encode(&["-profile:v", "main", "-bf", "2"])));
    let gateway = Gateway::start().await;
    let (_, publisher) = gateway.stream("yard");
    let avc = silent(&clip.avc);
    assert_eq!(avc.max_num_reorder_frames, None);
    let mut camera = Camera::showing(publisher, clip, Codec::H264(avc), None);
    camera.publish();
    let (player, offer) = Player::offering(&[Video]).await;
    let url = format!("{}/yard/whep", gateway.url);
    assert_eq!(player.post(&url, &offer).await.status(), 201, "one key frame tells nothing");
    (0..10).for_each(|_| camera.publish());
    eventually("the viewer is sent away", || gateway.whep.sessions() == 0).await;
    let (status, code, _) = problem(player.post(&url, &offer).await).await;
    assert_eq!((status, code.as_str()), (422, "codec.bframes"));
}

#[tokio::test]
async fn aac_is_left_out_and_said_to_be() {
    let aac = Codec::Aac(Aac {
        config: bytes::Bytes::from_static(&[0x12, 0x10]),
        object_type: 2,
        sample_rate: 44_100,
        channels: 2,
    });
    let (gateway, _camera) = gateway_showing(avc(), Some(aac)).await;
    let (player, offer) = Player::offering(&[Video, Audio]).await;
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["porthole-notice"], "codec.audio_dropped");
    let answer = response.text().await.unwrap();
    assert!(answer.contains("m=video 9 "), "{answer}");
}

#[tokio::test]
async fn a_stream_that_is_starting_is_waited_for_and_watched_meanwhile() {
    let gateway = Gateway::start().await;
    let (stream, publisher) = gateway.stream("yard");
    // As an on-demand camera: it shows something once somebody watches.
    let mut interest = stream.watch_interest();
    let camera = tokio::spawn(async move {
        interest.wait_for(|watching| *watching > 0).await.unwrap();
        let mut camera = Camera::new(publisher, clip(), None);
        camera.publish();
        camera
    });
    let (player, offer) = Player::offering(&[Video]).await;
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    drop(camera.await.unwrap());
}

#[tokio::test]
async fn a_camera_that_is_down_is_not_waited_for() {
    let gateway = Gateway::start().await;
    let (_, publisher) = gateway.stream("yard");
    publisher.set_status(|status| {
        status.state = SourceState::Down;
        status.fault = Some(Fault::from(Code::SourceAuth));
    });
    let (player, offer) = Player::offering(&[Video]).await;
    let asked = Instant::now();
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (502, "source.auth"));
    assert!(asked.elapsed() < Duration::from_millis(2_500));
}

#[tokio::test]
async fn a_camera_that_shows_nothing_is_given_up_after_three_seconds() {
    let gateway = Gateway::start().await;
    let (stream, _publisher) = gateway.stream("yard");
    let (player, offer) = Player::offering(&[Video]).await;
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (503, "stream.starting"));
    assert_eq!(*stream.watch_interest().borrow(), 0);
}

/// A gateway whose stream `yard` holds pictures, but no key frame any more.
async fn gateway_without_key_frame() -> (Gateway, Camera) {
    let gateway = Gateway::start().await;
    let limits = Limits { bytes: 40_000, ..Limits::default() };
    let (stream, publisher) = gateway.limited("yard", limits);
    let mut camera = Camera::new(publisher, clip(), None);
    while stream.tracks().is_none() || stream.can_start() {
        camera.publish();
    }
    (gateway, camera)
}

#[tokio::test]
async fn a_key_frame_no_longer_held_is_waited_for_and_then_missed() {
    let (gateway, _camera) = gateway_without_key_frame().await;
    let (player, offer) = Player::offering(&[Video]).await;
    let asked = Instant::now();
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (502, "source.no_keyframe"));
    assert!(asked.elapsed() > Duration::from_millis(2_500), "it could still have come");
    assert_eq!(gateway.whep.sessions(), 0);
}

#[tokio::test]
async fn pictures_a_camera_has_forgotten_are_shown_to_nobody() {
    let (gateway, mut camera) = gateway_showing(avc(), None).await;
    camera.publisher.forget();
    let (player, offer) = Player::offering(&[Video]).await;
    let response = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    assert_eq!(problem(response).await.1, "stream.starting");
}

#[tokio::test]
async fn the_next_key_frame_ends_the_wait() {
    let (gateway, mut camera) = gateway_without_key_frame().await;
    let (player, offer) = Player::offering(&[Video]).await;
    let url = format!("{}/yard/whep", gateway.url);
    let stream = gateway.registry.get("yard").unwrap();
    let shown = async {
        let mut interest = stream.watch_interest();
        interest.wait_for(|watching| *watching > 0).await.unwrap();
        while !stream.can_start() {
            camera.publish();
        }
    };
    let (response, ()) = tokio::join!(player.post(&url, &offer), shown);
    assert_eq!(response.status(), 201);
}

#[tokio::test]
async fn a_viewer_makes_us_check_sixteen_addresses_however_often_it_asks() {
    let (gateway, _camera) = gateway_showing(avc(), None).await;
    let (player, offer) = Player::offering(&[Video]).await;
    let post = format!("{}/yard/whep", gateway.url);
    let created = player.post(&post, &offer).await;
    let session = session_of(&post, created.headers());
    let mut targets = Vec::new();
    for _ in 0..30 {
        targets.push(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
    }
    for target in &targets {
        let port = target.local_addr().unwrap().port();
        let line = format!("a=candidate:{port} 1 udp 2130706431 127.0.0.1 {port} typ host\r\n");
        let request = player.http.patch(session.clone()).body(line);
        let request = request.header("content-type", "application/trickle-ice-sdpfrag");
        let request = request.header("if-match", &created.headers()["etag"]);
        assert_eq!(request.send().await.unwrap().status(), 204);
    }
    let checked = || {
        let hit = |target: &&tokio::net::UdpSocket| target.try_peek_sender().is_ok();
        targets.iter().filter(hit).count()
    };
    let mine = offer.lines().filter(|line| line.starts_with("a=candidate:")).count();
    eventually("the first are checked", || checked() >= 16 - mine).await;
    // Longer than the way from one check to the next.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(checked(), 16 - mine);
}

#[tokio::test]
async fn a_name_nobody_gave_is_unknown_and_makes_no_series() {
    let gateway = Gateway::start().await;
    let (player, offer) = Player::offering(&[Video]).await;
    let response = player.post(&format!("{}/no-such/whep", gateway.url), &offer).await;
    assert_eq!(problem(response).await, (404, "stream.unknown".into(), String::new()));
    let text = prometheus::TextEncoder::new().encode_to_string(&gateway.metrics.gather()).unwrap();
    assert!(!text.contains("no-such"), "{text}");
}

#[tokio::test]
async fn candidates_and_ice_restarts_follow_the_rules_of_etags() {
    let (gateway, _camera) = gateway_showing(avc(), None).await;
    let (player, offer) = Player::offering(&[Video]).await;
    let post = format!("{}/yard/whep", gateway.url);
    let created = player.post(&post, &offer).await;
    let etag = created.headers()["etag"].to_str().unwrap().to_owned();
    let session = session_of(&post, created.headers());
    let ufrag = offer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();
    let patch = |kind: &str, tag: Option<&str>, ufrag: &str| {
        let body = format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdef01234567\r\nm=video 9 X 0\r\n\
             a=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
        );
        let mut request = player.http.patch(session.clone()).header("content-type", kind);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        request.body(body).send()
    };
    let fragment = "application/trickle-ice-sdpfrag";
    let (tag, other) = (Some(&*etag), Some("\"other\""));
    for (kind, tag, ufrag, status) in [
        (fragment, tag, ufrag, 204),
        (fragment, Some("*"), ufrag, 204),
        (fragment, None, ufrag, 428),
        (fragment, other, ufrag, 412),
        (fragment, tag, "restarted", 412),
        (fragment, Some("*"), "no spaces", 400),
        ("application/sdp", tag, ufrag, 415),
    ] {
        let answered = patch(kind, tag, ufrag).await.unwrap().status();
        assert_eq!(answered, status, "{kind} {tag:?} {ufrag}");
    }

    let restarted = patch(fragment, Some("*"), "restarted").await.unwrap();
    assert_eq!(restarted.status(), 200);
    assert_eq!(restarted.headers()["content-type"], fragment);
    let new = restarted.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(new, etag);
    let reply = restarted.text().await.unwrap();
    for line in ["m=video 9 X 0", "a=mid:0", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"] {
        assert!(reply.lines().any(|text| text.starts_with(line)), "no {line} in {reply}");
    }
    assert_eq!(patch(fragment, Some(&etag), "restarted").await.unwrap().status(), 412);
    assert_eq!(patch(fragment, Some(&new), "restarted").await.unwrap().status(), 204);

    let elsewhere = session.as_str().replace("/yard/", "/garden/");
    assert_eq!(player.http.delete(elsewhere).send().await.unwrap().status(), 404);
    assert_eq!(gateway.whep.sessions(), 1, "a session belongs to its stream");
}

#[tokio::test]
async fn a_full_house_says_so() {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), max_viewers: 1, ..Config::default() };
    let gateway = Gateway::with(config).await;
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), None);
    camera.publish();
    let (player, offer) = Player::offering(&[Video]).await;
    let url = format!("{}/yard/whep", gateway.url);
    assert_eq!(player.post(&url, &offer).await.status(), 201);
    assert_eq!(problem(player.post(&url, &offer).await).await.1, "viewer.limit");
}
