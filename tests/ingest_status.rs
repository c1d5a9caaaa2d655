//! What a camera's status says while the camera does odd things, and how many
//! of its connections that costs.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use std::time::{Duration, Instant, SystemTime};

use camera_support::{PATIENCE, Pulled, pull, source};
use ingest_support::{Manner, Mime, Reply, Scripted, answer, ok};
use porthole::bus::{SourceState, SourceStatus};
use porthole::fault::Code;
use porthole::ingest::Transport;
use tokio::time::{sleep, timeout};

/// A camera of that manner, and the gateway's side of it.
async fn mime(manner: Manner, transport: Transport) -> (Mime, Pulled) {
    let camera = Mime::start(manner).await;
    let mut asked = source(&camera.url("live"));
    asked.transport = transport;
    let pulled = pull(asked);
    (camera, pulled)
}

fn is_live(status: &SourceStatus) -> bool {
    status.state == SourceState::Live
}

fn has_note(status: &SourceStatus, code: Code, words: &str) -> bool {
    status.notes.iter().any(|note| note.0.code == code && note.0.detail.contains(words))
}

/// Nobody of ours is left at the camera.
async fn ends(camera: &Mime, pulled: Pulled) {
    pulled.end().await;
    let gone = timeout(PATIENCE, async {
        while camera.count().open > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(gone.await.is_ok(), "{:?} after the end", camera.count());
}

/// Whatever a camera of that manner does, it sees two of us at the most.
async fn two_at_most(manner: Manner, span: Duration, attempts: usize) {
    let (camera, pulled) = mime(manner.clone(), Transport::Auto).await;
    sleep(span).await;
    let count = camera.count();
    assert!(count.most <= 2, "{count:?} at {manner:?}");
    assert!(count.all >= attempts, "{count:?} is no flapping: {manner:?}");
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flapping_camera_never_sees_more_than_two_of_us() {
    let flaps = |hangs_up_after, answers_teardown| {
        let manner = Manner { hangs_up_after, answers_teardown, ..Manner::default() };
        two_at_most(manner, Duration::from_secs(12), 5)
    };
    // The gateway gives up on these, and is not heard when it says so.
    let broken = Manner { fails_at_sound: true, answers_teardown: false, ..Manner::default() };
    let deaf = Manner { picture: false, answers_teardown: false, ..Manner::default() };
    let locked = Manner { login: Some("eDp5"), answers_teardown: false, ..Manner::default() };
    tokio::join!(
        flaps(Some(0), true),
        flaps(Some(5), true),
        flaps(Some(5), false),
        two_at_most(broken, Duration::from_secs(12), 4),
        two_at_most(deaf, Duration::from_secs(26), 2),
        two_at_most(locked, Duration::from_secs(5), 1),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_beside_a_picture_that_cannot_be_decoded_is_not_live() {
    let (camera, pulled) =
        mime(Manner { key_frames: false, ..Manner::default() }, Transport::Tcp).await;
    sleep(Duration::from_secs(4)).await;
    let status = pulled.stream.status();
    assert_eq!((status.state, camera.playing("live")), (SourceState::Connecting, 1), "{status:?}");
    assert_eq!(pulled.metric("porthole_source_up{stream=\"camera\"}"), Some(0.0));
    camera.change(|manner| manner.key_frames = true);
    pulled.status(is_live).await;
    assert_eq!(pulled.metric("porthole_source_up{stream=\"camera\"}"), Some(1.0));
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_sound_is_a_remark_that_goes_when_it_is_heard() {
    let (camera, pulled) = mime(Manner { sound: false, ..Manner::default() }, Transport::Tcp).await;
    let begun = Instant::now();
    pulled.status(is_live).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "the picture waits for it");
    pulled.status(|status| has_note(status, Code::AudioDropped, "no sound for 10 s")).await;
    assert!(is_live(&pulled.stream.status()));
    camera.change(|manner| manner.sound = true);
    pulled.status(|status| status.notes.is_empty()).await;
    assert_eq!(camera.count().all, 1);
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_stops_is_asked_for_once_more_and_then_done_without() {
    let (camera, pulled) = mime(Manner::default(), Transport::Tcp).await;
    pulled.status(is_live).await;
    sleep(Duration::from_secs(1)).await;
    camera.change(|manner| manner.sound = false);
    let down = pulled.status(|status| status.fault.is_some()).await.fault.unwrap();
    assert!(down.code == Code::SourceNoMedia && down.detail.contains("no sound"), "{down}");
    pulled.status(|status| is_live(status) && has_note(status, Code::AudioDropped, "")).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(camera.count().all, 2, "asked for once more, not again and again");
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_later_is_named_and_not_tried_for_minutes() {
    let camera = Mime::start(Manner { login: Some("YW5uOm9sZA=="), ..Manner::default() }).await;
    let pulled = pull(source(&camera.url("live").replace("//", "//ann:old@")));
    let live = pulled.status(is_live).await;
    assert!(live.fault.is_none() && live.attempts == 0);
    camera.change(|manner| {
        (manner.login, manner.hangs_up_after) = (Some("YW5uOm5ldw=="), Some(0));
    });
    let locked = pulled
        .status(|status| status.fault.as_ref().is_some_and(|fault| fault.code == Code::SourceAuth));
    let locked = locked.await;
    assert_eq!(locked.state, SourceState::Down);
    assert!(locked.since > live.since);
    let wait = locked.next_retry.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(wait > Duration::from_secs(150), "{wait:?}");
    let before = camera.count().all;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(camera.count().all, before, "the account would be locked for its owner");
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_that_loses_is_left_for_tcp_once_and_then_put_up_with() {
    let manner = Manner { insists_on: Some("UDP"), loses_one_in: Some(40), ..Manner::default() };
    let (camera, pulled) = mime(manner.clone(), Transport::Auto).await;
    pulled.status(is_live).await;
    // It is watched for 30 s before it is given up.
    sleep(Duration::from_secs(25)).await;
    let why = pulled.status(|status| status.fault.is_some()).await.fault.unwrap();
    camera.change(|manner| manner.loses_one_in = None);
    assert!(why.code == Code::SourceLossy && why.detail.contains("UDP loses"), "{why}");
    pulled
        .status(|status| {
            is_live(status) && has_note(status, Code::SourceLossy, "the camera refuses TCP")
        })
        .await;
    assert_eq!(camera.ways(), (0, 2));
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_that_was_chosen_and_loses_is_kept_and_remarked_on() {
    let manner = Manner { loses_one_in: Some(40), ..Manner::default() };
    let (camera, pulled) = mime(manner, Transport::Udp).await;
    pulled.status(is_live).await;
    sleep(Duration::from_secs(25)).await;
    let lossy = |status: &SourceStatus| has_note(status, Code::SourceLossy, "UDP loses 2.");
    let remarked = pulled.status(lossy).await;
    assert!(is_live(&remarked) && remarked.notes[0].0.detail.contains("transport: auto"));
    // It goes with the loss; what was chosen stays.
    camera.change(|manner| manner.loses_one_in = None);
    pulled.status(|status| is_live(status) && !lossy(status)).await;
    assert_eq!(camera.ways(), (0, 1));
    ends(&camera, pulled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_hangs_up_on_each_login_is_not_asked_until_the_account_is_locked() {
    // One that says nothing instead of 401, and a busy one that does not ask.
    let locks = Scripted::start(|ask| match (ask.method.as_str(), ask.header("Authorization")) {
        ("OPTIONS", None) => ok(ask),
        (_, None) => {
            let asks = "WWW-Authenticate: Basic realm=\"cam\"\r\n";
            Reply::Send(answer(ask, "401 Unauthorized", asks, ""))
        }
        (_, Some(_)) => Reply::Close(Vec::new()),
    });
    let busy = Scripted::start(|_| Reply::Close(Vec::new()));
    let (locks, busy) = tokio::join!(locks, busy);
    let pulled =
        [&locks, &busy].map(|camera| pull(source(&camera.url().replace("//", "//ann:pw@"))));
    let is_refused = |status: &SourceStatus| {
        status.fault.as_ref().is_some_and(|fault| fault.code == Code::SourceAuth)
    };
    let refused = pulled[0].status(is_refused).await;
    assert!(refused.fault.unwrap().detail.contains("hangs up on each login"));
    let wait = refused.next_retry.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(wait > Duration::from_secs(150), "{wait:?}");
    let logins = locks.asked().iter().filter(|ask| ask.header("Authorization").is_some()).count();
    assert!((3..=4).contains(&logins), "{logins}: most accounts are locked after five");

    pulled[1].status(|status| status.attempts >= 5).await;
    let fault = pulled[1].stream.status().fault.unwrap();
    assert_eq!(fault.code, Code::SourceProtocol, "{fault}");
    for pulled in pulled {
        pulled.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_drops_udp_is_named_and_tcp_tried() {
    let dropped = Manner { insists_on: Some("UDP"), loses_one_in: Some(1), ..Manner::default() };
    let fixed = async {
        let (camera, pulled) = mime(dropped.clone(), Transport::Udp).await;
        let down = pulled.status(|status| status.fault.is_some()).await.fault.unwrap();
        assert!(down.code == Code::SourceNoMedia && down.detail.contains("firewall"), "{down}");
        ends(&camera, pulled).await;
    };
    let auto = async {
        let (camera, pulled) = mime(dropped.clone(), Transport::Auto).await;
        pulled.status(|status| status.fault.is_some()).await;
        camera.change(|manner| manner.insists_on = None);
        pulled.status(is_live).await;
        assert_eq!(camera.ways(), (1, 1));
        ends(&camera, pulled).await;
    };
    tokio::join!(fixed, auto);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_was_chosen_and_is_refused_names_the_way_out() {
    for (chosen, insists_on) in [(Transport::Tcp, "UDP"), (Transport::Udp, "TCP")] {
        let manner = Manner { insists_on: Some(insists_on), ..Manner::default() };
        let (camera, pulled) = mime(manner, chosen).await;
        let fault = pulled.status(|status| status.fault.is_some()).await.fault.unwrap();
        assert_eq!(fault.code, Code::SourceProtocol, "{fault}");
        assert!(fault.detail.contains("transport: auto"), "{fault}");
        ends(&camera, pulled).await;
    }
}
