use super::super::fanout::tests::{offer, whep};
use super::super::packetizer::picture;
use super::super::switchboard::SessionId;
use super::*;

/// A viewer of H.264 to whom nothing is sent, since it never connects.
async fn viewer(now: Instant) -> Viewer {
    let whep = whep().await;
    let (offer, plan) = offer();
    let (peer, _) = Peer::answer(now, &offer, &plan).unwrap();
    let place = Place::new(Arc::clone(&whep.shared), SessionId::random());
    let mut viewer = Viewer::new(now, peer, place, 0, [Some("H.264"), None]);
    viewer.stage = Stage::Live;
    viewer
}

fn queued(viewer: &Viewer) -> Vec<u64> {
    viewer.queue.iter().map(|(packets, ..)| packets.sequence).collect()
}

#[tokio::test]
async fn viewers_that_join_share_the_packets_of_the_past() {
    let now = Instant::now();
    let mut group = Group::new(1 << 20);
    (1..=50).for_each(|sequence| group.push(&picture(sequence, sequence == 1, 1_000)));
    let (mut one, mut other) = (viewer(now).await, viewer(now).await);
    one.catch_up(&group, now);
    other.catch_up(&group, now);
    assert_eq!(queued(&one), (1..=50).collect::<Vec<u64>>());
    let mut pairs = one.queue.iter().zip(&other.queue);
    assert!(pairs.all(|(mine, theirs)| Arc::ptr_eq(&mine.0, &theirs.0)));
    // What is to be shown next comes once, and only once.
    one.offer(now, &picture(50, false, 1_000));
    one.offer(now, &picture(51, false, 1_000));
    assert_eq!(queued(&one).last_chunk(), Some(&[49, 50, 51]));
}
