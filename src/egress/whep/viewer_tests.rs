use super::super::Whep;
use super::super::fanout::tests::{logged, offer, whep};
use super::super::packetizer::picture;
use super::super::switchboard::SessionId;
use super::*;
use crate::auth::Principal;
use crate::egress::whep::group::Group;
use crate::http::SessionStart;
use crate::media::StreamName;

/// A viewer of H.264 to whom nothing is sent, since it never connects.
async fn viewer(now: Instant) -> Viewer {
    place_in(&whep().await, now)
}

fn place_in(whep: &Arc<Whep>, now: Instant) -> Viewer {
    let (offer, plan) = offer();
    let (peer, _) = Peer::answer(now, &whep.shared.identity, &offer, &plan).unwrap();
    let (id, stream): (_, StreamName) = (SessionId::random(), "yard".parse().unwrap());
    let start =
        SessionStart { id: id.short(), stream: stream.clone(), principal: Principal::Anonymous };
    let line = whep.shared.metrics.sessions.list(start, || false);
    let told = ["203.0.113.7:8189", "[2001:db8::7]:8189"].map(|told| told.parse().unwrap());
    let shared = Arc::clone(&whep.shared);
    let place = Place::new(shared, id, stream, &Arc::default(), told.to_vec(), line);
    let mut viewer = Viewer::new(now, peer, place, 0, [Some("H.264"), None], false);
    viewer.stage = Stage::Live;
    viewer
}

fn queued(viewer: &Viewer) -> Vec<u64> {
    viewer.programme.packets().map(|packets| packets.sequence).collect()
}

#[tokio::test]
async fn viewers_that_join_share_the_packets_of_the_past() {
    let now = Instant::now();
    let mut group = Group::new(1 << 20);
    (1..=50).for_each(|sequence| group.push(&picture(sequence, sequence == 1, 1_000)));
    let (mut one, mut other) = (viewer(now).await, viewer(now).await);
    one.programme.catch_up(&group, now);
    other.programme.catch_up(&group, now);
    assert_eq!(queued(&one), (1..=50).collect::<Vec<u64>>());
    let shared = |(mine, theirs)| Arc::ptr_eq(mine, theirs);
    assert!(one.programme.packets().zip(other.programme.packets()).all(shared));
    // What is to be shown next comes once, and only once.
    one.offer(now, Quality::Main, &picture(50, false, 1_000));
    one.offer(now, Quality::Main, &picture(51, false, 1_000));
    assert_eq!(queued(&one).last_chunk(), Some(&[49, 50, 51]));
}

#[tokio::test]
async fn what_came_before_a_camera_went_is_shown_again_once_at_the_most() {
    let now = Instant::now();
    let mut group = Group::new(1 << 20);
    (1..=50).for_each(|sequence| group.push(&picture(sequence, sequence == 1, 1_000)));
    let mut viewer = viewer(now).await;
    for (asked, wanted) in [50, 100, 100, 100].into_iter().enumerate() {
        viewer.programme.catch_up(&group, now);
        assert_eq!(queued(&viewer).len(), wanted, "asked {asked} times");
    }
    // It is back.
    group.push(&picture(51, false, 1_000));
    viewer.offer(now, Quality::Main, &picture(51, false, 1_000));
    viewer.programme.catch_up(&group, now);
    assert_eq!(queued(&viewer).len(), 101 + 51);
}

#[tokio::test]
async fn a_viewer_too_slow_goes_on_at_the_next_key_frame() {
    let (whep, now) = (whep().await, Instant::now());
    let mut late = place_in(&whep, now);
    late.offer(now, Quality::Main, &picture(1, true, 1_000));
    late.offer(now + Duration::from_secs(2), Quality::Main, &picture(2, false, 1_000));
    assert_eq!(queued(&late), [1, 2]);
    let now = now + Duration::from_secs(4);
    late.offer(now, Quality::Main, &picture(3, false, 1_000));
    late.offer(now, Quality::Main, &picture(4, false, 1_000));
    assert_eq!(queued(&late), [0u64; 0]);
    late.offer(now, Quality::Main, &picture(5, true, 1_000));
    late.offer(now, Quality::Main, &picture(6, false, 1_000));
    assert_eq!(queued(&late), [5, 6]);

    let mut large = place_in(&whep, now);
    (1..=9).for_each(|sequence| {
        large.offer(now, Quality::Main, &picture(sequence, sequence == 1, 1 << 20))
    });
    assert_eq!(queued(&large).len(), 9);
    large.offer(now, Quality::Main, &picture(10, false, 1 << 20));
    large.offer(now, Quality::Main, &picture(11, true, 1 << 20));
    assert_eq!(queued(&large), [11]);
    let lost = whep.shared.metrics.discards("viewer_behind");
    assert_eq!(lost, 2 + 9);
}

#[tokio::test]
async fn a_large_group_to_start_with_is_no_delay() {
    let now = Instant::now();
    let mut group = Group::new(32 << 20);
    (1..=20).for_each(|sequence| group.push(&picture(sequence, sequence == 1, 1 << 20)));
    let mut viewer = viewer(now).await;
    viewer.programme.catch_up(&group, now);
    viewer.offer(now, Quality::Main, &picture(21, false, 1_000));
    assert_eq!(queued(&viewer).len(), 21);
}

#[tokio::test]
async fn one_that_is_never_heard_from_is_counted_so() {
    let (whep, now) = (whep().await, Instant::now());
    let mut viewer = place_in(&whep, now);
    viewer.stage = Stage::Connecting;
    let (groups, mut outbox) = (Groups { main: Group::new(0), sub: None }, Outbox::default());
    // Somebody waits for what it does next: no chore.
    let connecting = viewer.settle(now, &groups, &mut outbox);
    assert!(matches!(connecting, Health::Due(Times { timer: Some(_), chore: None })));
    let late = now + SETUP_TIMEOUT;
    assert_eq!(viewer.settle(late, &groups, &mut outbox), Health::Over("ice_failed"));
    let told = logged(|| {
        viewer.close(late, "ice_failed", &mut outbox);
    });
    for said in ["WARN", "unheard", "tried=203.0.113.7:8189 [2001:db8::7]:8189", "webrtc.advertise"]
    {
        assert!(told.contains(said), "{said:?} is not in {told}");
    }
    let counted = ["unheard", "no_path", "dtls"].map(|at| whep.shared.metrics.ice_failures(at));
    assert_eq!(counted, [1, 0, 0]);
}

/// One whose connection is full, and whose pictures are thrown away every so
/// often: how it is after so many times.
async fn after_drops(times: u64, every: Duration) -> Health {
    let (whep, start) = (whep().await, Instant::now());
    let mut viewer = place_in(&whep, start);
    viewer.full = true;
    // An offer that finds the one before too old empties the queue.
    for time in 0..=times {
        let now = start + every * u32::try_from(time).unwrap();
        viewer.offer(now, Quality::Main, &picture(time + 1, true, 1_000));
    }
    let (groups, mut outbox) = (Groups { main: Group::new(0), sub: None }, Outbox::default());
    viewer.settle(start, &groups, &mut outbox)
}

#[tokio::test]
async fn a_line_that_drops_pictures_again_and_again_is_let_go() {
    let soon = Duration::from_secs(4);
    assert!(matches!(after_drops(u64::from(MAX_DROPS) - 1, soon).await, Health::Due(_)));
    assert_eq!(after_drops(u64::from(MAX_DROPS), soon).await, Health::Over("slow"));
    // Now and then is no reason.
    let seldom = DROPS_WITHIN / 2;
    assert!(matches!(after_drops(20, seldom).await, Health::Due(_)));
}
