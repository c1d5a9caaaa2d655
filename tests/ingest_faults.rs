//! The camera side when the camera, or the way to it, breaks: every fault is
//! named in bounded time, survived, and nobody else's trouble.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use std::time::{Duration, Instant};

use camera_support::{Cameras, PATIENCE, Pulled, pull, source};
use ingest_support::{Fault, MOUNT, Neighbour, Relay, follow, seen_again};
use porthole::bus::{Join, SourceState};
use porthole::fault::Code;
use porthole::media::FrameKind;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Down, with a fault of one of these codes, in that time.
async fn assert_down(camera: &Pulled, within: Duration, codes: &[Code], what: &str) {
    let broken = Instant::now();
    let down = camera.status(|status| status.state == SourceState::Down).await;
    let fault = down.fault.unwrap();
    assert!(codes.contains(&fault.code), "{what}: {fault:?}");
    assert!(broken.elapsed() < within, "{what}: {:?} later", broken.elapsed());
}

/// Breaks a camera that plays, and mends it again.
async fn breaks_in_mid_stream(camera: u16, fault: Fault, within: Duration, codes: &[Code]) {
    let relay = Relay::start(camera, Fault::None);
    let mut pulled = pull(source(&relay.url(MOUNT)));
    let end = CancellationToken::new();
    let line = follow(&pulled.stream, &end);
    pulled.frames(20).await;

    relay.set(fault);
    assert_down(&pulled, within, codes, &format!("{fault:?}")).await;
    relay.set(Fault::None);
    pulled.reader = pulled.stream.subscribe("test", Join::Live);
    seen_again(&mut pulled).await;

    end.cancel();
    let frames = timeout(PATIENCE, line).await.unwrap().unwrap();
    for track in [0, 1] {
        let marks = frames.iter().filter(|f| f.track.0 == track && f.discontinuity).count();
        assert_eq!(marks, 1, "{fault:?}: track {track} says that it came back");
    }
    let back = frames.iter().position(|frame| frame.discontinuity).unwrap();
    let picture = frames[back..].iter().find(|frame| frame.kind != FrameKind::Audio).unwrap();
    assert!(picture.is_entry_point(), "{fault:?}: it comes back with a key frame");
    pulled.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_named_then_live_again_on_the_same_line() {
    let cameras = Cameras::start(&[MOUNT]);
    let neighbour = Neighbour::start(&cameras).await;
    let camera = cameras.port;
    let (soon, silence) = (Duration::from_secs(8), Duration::from_secs(20));
    let broken = &[Code::SourceProtocol][..];
    // The next attempt may have been refused by the time we look.
    let cut = &[Code::SourceProtocol, Code::SourceRefused][..];
    tokio::join!(
        breaks_in_mid_stream(camera, Fault::Reset, soon, cut),
        breaks_in_mid_stream(camera, Fault::Close, soon, cut),
        breaks_in_mid_stream(camera, Fault::Garbage, soon, broken),
        breaks_in_mid_stream(camera, Fault::WrongLength, soon, broken),
        breaks_in_mid_stream(camera, Fault::Freeze, silence, &[Code::SourceNoMedia]),
        breaks_in_mid_stream(camera, Fault::Trickle, silence, &[Code::SourceNoMedia]),
        // The watchdog is the picture's: sound alone does not feed it.
        breaks_in_mid_stream(camera, Fault::NoPicture, silence, &[Code::SourceNoMedia]),
    );
    neighbour.assert_undisturbed().await;
}

/// A camera that is broken from the first attempt, and then mends.
async fn broken_from_the_start(camera: u16, fault: Fault, within: Duration, code: Code) {
    let relay = Relay::start(camera, fault);
    let mut pulled = pull(source(&relay.url(MOUNT)));
    assert_down(&pulled, within, &[code], &format!("{fault:?}")).await;
    relay.set(Fault::None);
    seen_again(&mut pulled).await;
    pulled.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_answer_is_named_then_live() {
    let cameras = Cameras::start(&[MOUNT]);
    let neighbour = Neighbour::start(&cameras).await;
    let camera = cameras.port;
    let (soon, long) = (Duration::from_secs(10), Duration::from_secs(20));
    tokio::join!(
        broken_from_the_start(camera, Fault::Reset, soon, Code::SourceRefused),
        broken_from_the_start(camera, Fault::Freeze, soon, Code::SourceTimeout),
        broken_from_the_start(camera, Fault::Trickle, soon, Code::SourceTimeout),
        broken_from_the_start(camera, Fault::Unanswered("DESCRIBE"), soon, Code::SourceTimeout),
        broken_from_the_start(camera, Fault::Unanswered("SETUP"), long, Code::SourceTimeout),
        broken_from_the_start(camera, Fault::Unanswered("PLAY"), long, Code::SourceTimeout),
    );
    neighbour.assert_undisturbed().await;
}
