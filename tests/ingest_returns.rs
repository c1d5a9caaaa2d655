//! Cameras that go and come back, again and again. A process of its own: it
//! counts descriptors and tasks.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use std::time::Duration;

use camera_support::{Cameras, PATIENCE, pull, source};
use ingest_support::{Fault, MOUNT, Neighbour, Relay, follow, kill_and_return, seen_again};
use porthole::media::FrameKind;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The promise, and the camera's key-frame interval.
const RETURN_LIMIT: Duration = Duration::from_secs(3 + 2);

/// Open descriptors and live tasks.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, tokio::runtime::Handle::current().metrics().num_alive_tasks())
}

fn away() -> Duration {
    Duration::from_millis(rand::random_range(0..1_500))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_random_kills_and_returns_leave_one_line_and_nothing_behind() {
    let cameras = Cameras::start(&[MOUNT]);
    let neighbour = Neighbour::start(&cameras).await;
    let end = CancellationToken::new();
    let mut killed = Vec::new();
    for _ in 0..2 {
        let relay = Relay::start(cameras.port, Fault::None);
        let mut pulled = pull(source(&relay.url(MOUNT)));
        seen_again(&mut pulled).await;
        let line = follow(&pulled.stream, &end);
        killed.push((relay, pulled, line));
    }
    let before = held();

    let kills = [Fault::Reset, Fault::Close, Fault::Freeze, Fault::Close, Fault::Reset];
    let [(one, a, _), (other, b, _)] = &mut killed[..] else { panic!("two cameras") };
    let (first, second) = tokio::join!(
        async {
            let mut took = Vec::new();
            for fault in kills {
                took.push((fault, kill_and_return(one, a, fault, away()).await));
            }
            took
        },
        async {
            let mut took = Vec::new();
            for fault in kills.into_iter().rev() {
                took.push((fault, kill_and_return(other, b, fault, away()).await));
            }
            took
        },
    );
    for (fault, took) in first.into_iter().chain(second) {
        println!("{fault:?}: {took:?}");
        assert!(took <= RETURN_LIMIT, "{fault:?}: back after {took:?}");
    }

    // What is on its way out, such as the connection of the last session.
    let settled = timeout(PATIENCE, async {
        while held().0 > before.0 || held().1 > before.1 {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(settled.await.is_ok(), "held before: {before:?}, after: {:?}", held());

    end.cancel();
    for (_relay, pulled, line) in killed {
        let frames = timeout(PATIENCE, line).await.unwrap().unwrap();
        let marks = frames.iter().filter(|f| f.kind != FrameKind::Audio && f.discontinuity);
        assert_eq!(marks.count(), kills.len(), "each return is marked once");
        pulled.end().await;
    }
    neighbour.assert_undisturbed().await;
}
