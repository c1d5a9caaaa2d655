//! The RTSP session against cameras that do it their own way.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use std::time::{Duration, Instant};

use camera_support::{pull, source};
use ingest_support::{Ask, Reply, SDP, Scripted, answer, ok, packet};
use porthole::bus::SourceState;
use porthole::fault::{Code, Fault};
use porthole::ingest::{Login, Source};
use porthole::secret::Secret;

type Script = fn(&Ask) -> Reply;

/// It plays; what it was asked until it was torn down.
async fn plays(name: &str, asked: Source, camera: &Scripted) -> Vec<Ask> {
    let mut pulled = pull(asked);
    assert!(pulled.frame().await.is_entry_point(), "{name}");
    pulled.end().await;
    let asked = camera.asked();
    assert_eq!(asked.last().unwrap().method, "TEARDOWN", "{name}: its slot is given back");
    asked
}

/// It does not; why, and what it was asked.
async fn fails(asked: Source, camera: &Scripted) -> (Fault, Vec<Ask>) {
    let pulled = pull(asked);
    let down = pulled.status(|status| status.state == SourceState::Down).await;
    pulled.end().await;
    (down.fault.unwrap(), camera.asked())
}

fn methods(asked: &[Ask]) -> Vec<&str> {
    asked.iter().map(|ask| ask.method.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_asked_in_order_and_left_politely() {
    let camera = Scripted::start(ok).await;
    let asked = plays("plain", source(&camera.url()), &camera).await;
    assert_eq!(methods(&asked), ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY", "TEARDOWN"]);
    let urls: Vec<&str> = asked.iter().map(|ask| ask.url.rsplit('/').next().unwrap()).collect();
    assert_eq!(urls, ["live", "live", "track1", "track2", "live", "live"]);
    assert_eq!(asked[2].header("Session"), None);
    assert!(asked[3..].iter().all(|ask| ask.header("Session") == Some("1")));
}

/// One answer in place of a plain camera's.
fn instead(ask: &Ask, method: &str, bytes: impl FnOnce(&Ask) -> Vec<u8>) -> Reply {
    match ok(ask) {
        Reply::Play(_) if ask.method == method => Reply::Play(bytes(ask)),
        _ if ask.method == method => Reply::Send(bytes(ask)),
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_do_it_their_own_way_play() {
    let quirks: &[(&str, Script)] = &[
        ("OPTIONS is refused", |ask| instead(ask, "OPTIONS", |ask| answer(ask, "501 No", "", ""))),
        ("OPTIONS is not answered", |ask| match ask.method.as_str() {
            "OPTIONS" => Reply::Nothing,
            _ => ok(ask),
        }),
        ("a session for every track", |ask| {
            let headers = format!("Session: {};timeout=60\r\n", ask.nth + 1);
            instead(ask, "SETUP", |ask| answer(ask, "200 OK", &headers, ""))
        }),
        ("no Transport in the answer", |ask| {
            instead(ask, "SETUP", |ask| answer(ask, "200 OK", "Session: 1\r\n", ""))
        }),
        ("CRLFs between messages", |ask| {
            instead(ask, "SETUP", |ask| {
                let answer = answer(ask, "200 OK", "Session: 1\r\n", "");
                [b"\r\n\r\n".to_vec(), answer, b"\r\n".to_vec()].concat()
            })
        }),
        ("lower case, lines in LF, no reason", |ask| {
            instead(ask, "SETUP", |ask| {
                let number = ask.header("CSeq").unwrap();
                format!("RTSP/1.0 200\ncseq: {number}\nsession: 1\n\n").into_bytes()
            })
        }),
        ("always CSeq 1", |ask| match ok(ask) {
            Reply::Send(bytes) => {
                let text = String::from_utf8(bytes).unwrap();
                let number = format!("CSeq: {}\r\n", ask.header("CSeq").unwrap());
                Reply::Send(text.replace(&number, "CSeq: 1\r\n").into_bytes())
            }
            other => other,
        }),
        ("no CSeq", |ask| {
            instead(ask, "PLAY", |_| b"RTSP/1.0 200 OK\r\nSession: 1\r\n\r\n".to_vec())
        }),
        ("an answer that is still to come", |ask| {
            instead(ask, "PLAY", |ask| {
                [answer(ask, "100 Continue", "", ""), answer(ask, "200 OK", "", "")].concat()
            })
        }),
        ("rtptime is missing", |ask| {
            let info = "RTP-Info: url=track1;seq=1,url=track2\r\n";
            instead(ask, "PLAY", |ask| answer(ask, "200 OK", info, ""))
        }),
        ("it asks before it answers", |ask| {
            let asks = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nANNOUNCE rtsp://x/ RTSP/1.0\r\n\
                CSeq: 2\r\nContent-Length: 3\r\n\r\nv=0X_VENDOR * RTSP/1.0\r\nCSeq: 3\r\n\r\n";
            instead(ask, "PLAY", |ask| {
                [asks.as_bytes().to_vec(), answer(ask, "200 OK", "", "")].concat()
            })
        }),
        ("it hangs up behind the 401", |ask| match ask.method.as_str() {
            "DESCRIBE" if ask.header("Authorization").is_none() => {
                let challenge = "WWW-Authenticate: Basic realm=\"x\"\r\n";
                Reply::Close(answer(ask, "401 Unauthorized", challenge, ""))
            }
            _ => ok(ask),
        }),
    ];
    let running = quirks.iter().map(|(name, script)| async move {
        let camera = Scripted::start(*script).await;
        let url = camera.url().replace("//", "//ann:window@");
        (*name, plays(name, source(&url), &camera).await)
    });
    for (name, asked) in futures_util::future::join_all(running).await {
        match name {
            "a session for every track" => {
                assert!(asked.iter().skip(3).all(|ask| ask.header("Session") == Some("1")));
            }
            "it asks before it answers" => {
                let ours = asked.iter().filter(|ask| ask.method == "RTSP/1.0");
                let statuses: Vec<&str> = ours.map(|ask| ask.url.as_str()).collect();
                assert_eq!(statuses, ["200", "405", "501"]);
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_track_is_left_alone_and_said_to_be() {
    let camera = Scripted::start(|ask| {
        let metadata = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n\
            a=control:track3\r\nm=audio 0 RTP/AVP 0\r\na=control:track4\r\n";
        let sdp = [SDP, metadata].concat();
        let head = "Content-Type: application/sdp\r\n";
        instead(ask, "DESCRIBE", |ask| answer(ask, "200 OK", head, &sdp))
    });
    let camera = camera.await;
    let pulled = pull(source(&camera.url()));
    let live = pulled.status(|status| status.state == SourceState::Live).await;
    let note = &live.notes[0].0;
    assert_eq!(note.code, Code::TrackIgnored, "{note}");
    assert!(note.detail.contains("vnd.onvif.metadata") && note.detail.contains("pcmu"), "{note}");
    pulled.end().await;
    assert_eq!(methods(&camera.asked()).iter().filter(|method| **method == "SETUP").count(), 2);

    let asked = source(&camera.url());
    let probe = porthole::ingest::probe(&asked).await;
    assert_eq!(probe.notes[0].code, Code::TrackIgnored, "what the doctor prints as left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_come_before_the_answer_to_play_are_not_lost() {
    let camera = Scripted::start(|ask| match ask.method.as_str() {
        "PLAY" => {
            let early: Vec<u8> =
                (90..100).flat_map(|nth| packet(0, nth, 700 + usize::from(nth))).collect();
            Reply::Play([early, answer(ask, "200 OK", "Session: 1\r\n", "")].concat())
        }
        _ => ok(ask),
    })
    .await;
    let mut pulled = pull(source(&camera.url()));
    let first: Vec<usize> =
        pulled.frames(11).await.iter().map(|frame| frame.data.len() - 4).collect();
    assert_eq!(first, [790, 791, 792, 793, 794, 795, 796, 797, 798, 799, 1_000]);
    pulled.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_other_than_asked_for_are_followed() {
    let camera = Scripted::start(|ask| {
        let headers = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n";
        match (ask.method.as_str(), ask.nth) {
            // The other way round.
            ("SETUP", 0) => {
                let headers = headers.replace("0-1", "4-5");
                Reply::Send(answer(ask, "200 OK", &headers, ""))
            }
            ("PLAY", _) => {
                let pictures = (0..3).flat_map(|nth| packet(4, nth, 1_234));
                let played = answer(ask, "200 OK", "", "").into_iter().chain(pictures);
                Reply::Send(played.collect())
            }
            _ => ok(ask),
        }
    })
    .await;
    let mut pulled = pull(source(&camera.url()));
    assert_eq!(pulled.frame().await.data.len(), 1_238);
    pulled.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_path_of_the_camera_is_followed_once_and_no_other_host() {
    let moves = |ask: &Ask, to: &str| {
        let port = ask.url.split(':').nth(2).unwrap().split('/').next().unwrap();
        let to = to.replace("PORT", port);
        Reply::Send(answer(ask, "302 Moved", &format!("Location: {to}\r\n"), ""))
    };
    let once = Scripted::start(move |ask| match (ask.method.as_str(), ask.nth) {
        ("DESCRIBE", 0) => moves(ask, "rtsp://127.0.0.1:PORT/other"),
        _ => ok(ask),
    })
    .await;
    let asked = plays("moved", source(&once.url()), &once).await;
    let setup = asked.iter().find(|ask| ask.method == "SETUP").unwrap();
    assert!(setup.url.ends_with("/other/track1"), "{setup:?}");

    let circle = Scripted::start(move |ask| match ask.method.as_str() {
        "DESCRIBE" => moves(ask, &format!("rtsp://127.0.0.1:PORT/{}", ask.nth)),
        _ => ok(ask),
    })
    .await;
    let (fault, asked) = fails(source(&circle.url()), &circle).await;
    assert_eq!(
        (fault.code, methods(&asked)),
        (Code::SourceProtocol, vec!["OPTIONS", "DESCRIBE", "DESCRIBE"])
    );
    assert!(fault.detail.contains("redirects"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_name_another_host_are_asked_for_at_the_camera() {
    let camera = Scripted::start(|ask| {
        let sdp = ingest_support::SDP
            .replace("a=control:track", "a=control:rtsp://192.168.1.9:554/cam/track")
            .replace("a=control:*", "a=control:rtsp://192.168.1.9/cam/");
        match ask.method.as_str() {
            "DESCRIBE" => {
                let base = "Content-Base: rtsp://192.168.1.9/cam/\r\n";
                Reply::Send(answer(ask, "200 OK", base, &sdp))
            }
            _ => ok(ask),
        }
    })
    .await;
    let asked = plays("behind NAT", source(&camera.url()), &camera).await;
    let here = format!("rtsp://127.0.0.1:{}/", camera.port);
    assert!(asked.iter().all(|ask| ask.url.starts_with(&here)), "{asked:#?}");
    let setup = asked.iter().find(|ask| ask.method == "SETUP").unwrap();
    assert!(setup.url.ends_with("/cam/track1"), "{setup:?}");
}

/// Refuses everything that is not authorized as `right` says.
fn locked(ask: &Ask, right: impl Fn(&str) -> bool, challenges: &str) -> Reply {
    match ask.header("Authorization") {
        _ if ask.method == "RTSP/1.0" => Reply::Nothing,
        Some(given) if right(given) => ok(ask),
        _ => Reply::Send(answer(ask, "401 Unauthorized", challenges, "")),
    }
}

const BASIC: &str = "WWW-Authenticate: Basic realm=\"x\"\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_tried_decoded_then_as_typed_and_no_third_time() {
    // `ann:p@ss` and `ann:p%40ss`.
    let (decoded, typed) = ("Basic YW5uOnBAc3M=", "Basic YW5uOnAlNDBzcw==");
    for (right, tries) in
        [(decoded, vec![decoded]), (typed, vec![decoded, typed]), ("", vec![decoded, typed])]
    {
        let camera = Scripted::start(move |ask| locked(ask, |given| given == right, BASIC)).await;
        let asked = source(&camera.url().replace("//", "//ann:p%40ss@"));
        let asked = if right.is_empty() {
            let (fault, asked) = fails(asked, &camera).await;
            assert_eq!(fault.code, Code::SourceAuth);
            asked
        } else {
            plays(right, asked, &camera).await
        };
        let mut given: Vec<&str> =
            asked.iter().filter_map(|ask| ask.header("Authorization")).collect();
        given.dedup();
        assert_eq!(given, tries);
    }
    // The configured one is what it is.
    let camera = Scripted::start(|ask| locked(ask, |_| false, BASIC)).await;
    let mut asked = source(&camera.url());
    asked.login = Some(Login { username: "ann".into(), password: Secret::new("p%40ss") });
    let (_, asked) = fails(asked, &camera).await;
    let given: Vec<&str> = asked.iter().filter_map(|ask| ask.header("Authorization")).collect();
    assert_eq!(given, [typed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_hangs_up_behind_every_401_is_told_each_password_once() {
    // `ann:p@ss` and `ann:p%40ss`.
    let (decoded, typed) = ("Basic YW5uOnBAc3M=", "Basic YW5uOnAlNDBzcw==");
    for right in [typed, ""] {
        let script = move |ask: &Ask| match locked(ask, |given| given == right, BASIC) {
            Reply::Send(bytes) if bytes.starts_with(b"RTSP/1.0 401") => Reply::Close(bytes),
            other => other,
        };
        let camera = Scripted::start(script).await;
        let asked = source(&camera.url().replace("//", "//ann:p%40ss@"));
        let asked = if right.is_empty() {
            let (fault, asked) = fails(asked, &camera).await;
            assert_eq!(fault.code, Code::SourceAuth, "{fault}");
            asked
        } else {
            plays(right, asked, &camera).await
        };
        let refused = asked.iter().filter_map(|ask| ask.header("Authorization"));
        let refused: Vec<&str> = refused.filter(|given| *given != right).collect();
        let wrong = if right.is_empty() { vec![decoded, typed] } else { vec![decoded] };
        assert_eq!(refused, wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_login_is_chosen_and_its_nonce_renewed_while_it_plays() {
    // A new nonce from the first keep-alive on, and an old one is refused.
    let camera = Scripted::start(|ask| {
        let alive = ask.method == "GET_PARAMETER";
        let nonce = if alive { "second" } else { "first" };
        let challenges = format!(
            "{BASIC}WWW-Authenticate: Digest realm=\"x\", nonce=\"{nonce}\"\r\n\
             WWW-Authenticate: Digest realm=\"x\", nonce=\"{nonce}\", algorithm=\"SHA-256\", qop=\"auth\"\r\n"
        );
        let right = |given: &str| given.contains(nonce) && given.contains("algorithm=SHA-256");
        let right = |given: &str| right(given) || ask.method == "TEARDOWN";
        match locked(ask, right, &challenges) {
            Reply::Send(bytes) => {
                let text = String::from_utf8(bytes).unwrap();
                // Sessions of 4 s: kept alive every 2.
                let text = text.replace("Session: 1\r\n", "Session: 1;timeout=4\r\n");
                Reply::Send(text.replace("Public: ", "Public: GET_PARAMETER, ").into_bytes())
            }
            other => other,
        }
    })
    .await;
    let mut pulled = pull(source(&camera.url().replace("//", "//ann:window@")));
    pulled.frame().await;
    let kept = |asked: &[Ask]| asked.iter().filter(|ask| ask.method == "GET_PARAMETER").count();
    // Refused, renewed, and two with the new nonce.
    let asked = camera.until(|asked| kept(asked) >= 4).await;
    let nonces: Vec<bool> = asked
        .iter()
        .filter(|ask| ask.method == "GET_PARAMETER")
        .map(|ask| ask.header("Authorization").unwrap().contains("second"))
        .collect();
    assert_eq!(nonces[..4], [false, true, true, true]);
    assert_eq!(asked.iter().filter(|ask| ask.method == "PLAY").count(), 1, "it was not dropped");
    assert_eq!(pulled.stream.status().state, SourceState::Live);
    pulled.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_knows_only_options_is_kept_alive_by_them_until_it_forgets_us() {
    let camera = Scripted::start(|ask| match (ask.method.as_str(), ask.nth) {
        ("SETUP", _) => {
            let headers = "Session: 1;timeout=4\r\n";
            Reply::Send(answer(ask, "200 OK", headers, ""))
        }
        ("OPTIONS", 2) => Reply::Send(answer(ask, "500 Oops", "", "")),
        ("OPTIONS", 3) => Reply::Send(answer(ask, "454 Session Not Found", "", "")),
        _ => ok(ask),
    })
    .await;
    let pulled = pull(source(&camera.url()));
    let down = pulled.status(|status| status.state == SourceState::Down).await;
    let fault = down.fault.unwrap();
    assert!(fault.detail.contains("454"), "{fault}");
    let asked = camera.asked();
    assert!(asked.iter().filter(|ask| ask.method == "OPTIONS").count() >= 4);
    pulled.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_given_back_even_if_setup_is_answered_too_late_and_in_limited_time() {
    // Stopped while SETUP is out: its answer comes 300 ms later.
    let camera = Scripted::start(|ask| {
        if ask.method == "SETUP" {
            std::thread::sleep(Duration::from_millis(300));
        }
        ok(ask)
    })
    .await;
    let pulled = pull(source(&camera.url()));
    camera.until(|asked| asked.iter().any(|ask| ask.method == "SETUP")).await;
    pulled.end().await;
    let asked = camera.until(|asked| asked.iter().any(|ask| ask.method == "TEARDOWN")).await;
    assert_eq!(methods(&asked), ["OPTIONS", "DESCRIBE", "SETUP", "TEARDOWN"]);

    // TEARDOWN is not answered at all.
    let camera = Scripted::start(|ask| match ask.method.as_str() {
        "TEARDOWN" => Reply::Nothing,
        _ => ok(ask),
    })
    .await;
    let mut pulled = pull(source(&camera.url()));
    pulled.frame().await;
    let stopped = Instant::now();
    pulled.end().await;
    let took = stopped.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(camera.asked().last().unwrap().method, "TEARDOWN");
}
