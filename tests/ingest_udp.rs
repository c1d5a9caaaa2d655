//! The camera side over UDP through bad weather: what is lost costs what it
//! must and no more, what is overtaken or repeated costs nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod camera_support;
mod ingest_support;

use std::time::Duration;

use camera_support::{Cameras, PATIENCE, pull, source};
use ingest_support::{Fate, MOUNT, Weather, WeatherRelay, follow};
use porthole::bus::SourceState;
use porthole::ingest::Transport;
use porthole::media::FrameKind;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Weather is fair only where the relay has time: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Five pictures a second, a key frame every second, a packet or two each.
const SUBSTREAM: &str = "h264-slow";

/// 25 pictures a second, a key frame every second.
const FULL: &str = "gop-1s";

/// What the relay let through, and what came of it.
#[derive(Debug)]
struct Outcome {
    /// Pictures sent.
    sent: usize,
    /// Packets of them.
    packets: usize,
    /// Of these, those of which all packets came, and of all they refer to.
    decodable: usize,
    /// Pictures on the bus.
    shown: usize,
    /// Packets of the picture that were lost, by the gateway's count and in truth.
    lost: (f64, usize),
    /// Packets that came after a later one.
    reordered: f64,
    /// Longest time for which the relay held up a packet.
    slowest: Duration,
}

/// Pulls a camera for so long, in this weather.
async fn outcome(camera: u16, mount: &str, weather: Weather, long: Duration) -> Outcome {
    let relay = WeatherRelay::start(camera, weather).await;
    let mut source = source(&relay.url(mount));
    source.transport = Transport::Udp;
    let pulled = pull(source);
    let end = CancellationToken::new();
    let frames = follow(&pulled.stream, &end);
    pulled.status(|status| status.state == SourceState::Live).await;
    tokio::time::sleep(long).await;
    let fates = relay.picture();
    // What is on its way may still come.
    tokio::time::sleep(Duration::from_millis(300)).await;
    end.cancel();
    let frames = timeout(PATIENCE, frames).await.unwrap().unwrap();
    assert_eq!(pulled.stream.status().fault, None, "{weather:?}");
    let metric = |name: &str| {
        let line = format!(
            "porthole_source_rtp_packets_{name}_total{{media=\"video\",stream=\"camera\"}}"
        );
        pulled.metric(&line).unwrap()
    };
    let jitter = pulled.metric("porthole_source_jitter_seconds{media=\"video\",stream=\"camera\"}");
    assert!((0.0..0.5).contains(&jitter.unwrap()), "{jitter:?}");
    let lost = (metric("lost"), fates.iter().filter(|fate| fate.lost).count());
    let reordered = metric("reordered");
    pulled.end().await;

    let key = |picture: &&[Fate]| picture.iter().any(|fate| fate.key);
    let pictures: Vec<&[Fate]> = fates.chunk_by(|a, b| a.time == b.time).collect();
    // We may come between two key frames.
    let pictures = &pictures[pictures.iter().position(key).unwrap()..];
    let (mut chain, mut decodable) = (false, 0);
    for picture in pictures {
        let whole = picture.iter().all(|fate| !fate.lost || !fate.slices);
        chain = whole && (chain || key(picture));
        decodable += usize::from(chain);
    }
    let shown = frames.iter().filter(|frame| frame.kind != FrameKind::Audio).count();
    let slowest = relay.slowest();
    let packets = pictures.iter().map(|picture| picture.len()).sum();
    Outcome { sent: pictures.len(), packets, decodable, shown, lost, reordered, slowest }
}

impl Outcome {
    /// Every picture that can be decoded is shown, and no other.
    fn assert_shows_what_can_be_decoded(&self) {
        assert!(self.sent > 50, "{self:?}");
        // Those of the last 300 ms are shown, but not in the relay's list.
        let few = 10;
        assert!(self.shown + 3 >= self.decodable, "{self:?}");
        assert!(self.shown <= self.decodable + few, "{self:?}");
    }

    fn share(&self) -> f64 {
        self.shown.min(self.decodable) as f64 / self.sent as f64
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_costs_what_it_must_and_no_damaged_picture_is_shown() {
    let _alone = ALONE.lock().await;
    let cameras = Cameras::start(&[SUBSTREAM, MOUNT]);
    let (camera, long) = (cameras.port, Duration::from_secs(20));
    let at = async |mount, lost_percent, wanted: f64| {
        let weather = Weather { lost_percent, seed: 7, ..Weather::default() };
        let outcome = outcome(camera, mount, weather, long).await;
        println!("{mount} {lost_percent} %: {:.1} % {outcome:?}", 100.0 * outcome.share());
        outcome.assert_shows_what_can_be_decoded();
        assert!(outcome.lost.1 > 0, "{outcome:?}");
        // The gateway sees no packet after the newest, nor before the first.
        let (counted, truth) = outcome.lost;
        assert!((counted - truth as f64).abs() <= 15.0, "{outcome:?}");
        assert!(outcome.share() >= wanted, "{mount}: {outcome:?}");
    };
    tokio::join!(
        at(SUBSTREAM, 1, 0.95),
        at(SUBSTREAM, 5, 0.70),
        at(SUBSTREAM, 10, 0.40),
        // Of 110 packets from one key frame to the next, some are always lost.
        at(MOUNT, 1, 0.0),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overtaken_or_repeated_costs_nothing() {
    let _alone = ALONE.lock().await;
    let cameras = Cameras::start(&[MOUNT]);
    for attempt in 0.. {
        let weather = Weather {
            repeated_percent: 10,
            held_up: Duration::from_millis(60),
            seed: 7 + attempt,
            ..Weather::default()
        };
        let outcome = outcome(cameras.port, MOUNT, weather, Duration::from_secs(6)).await;
        println!("{outcome:?}");
        // Later than that on a busy machine, it was no fair weather.
        if outcome.slowest > Duration::from_millis(75) && attempt < 9 {
            continue;
        }
        outcome.assert_shows_what_can_be_decoded();
        assert_eq!((outcome.lost.0, outcome.decodable), (0.0, outcome.sent), "{outcome:?}");
        assert!(outcome.reordered > 30.0, "{outcome:?}");
        break;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_asked_for_again_where_the_camera_offers_that() {
    let _alone = ALONE.lock().await;
    // As many packets as 2 Mbit/s of the usual length.
    let cameras = Cameras::start(&["--repair", "--mtu", "90", FULL]);
    let (camera, long) = (cameras.port, Duration::from_secs(20));
    let at = async |lost_percent, wanted: f64| {
        let weather = Weather { lost_percent, seed: 7, ..Weather::default() };
        let outcome = outcome(camera, FULL, weather, long).await;
        let share = |pictures: usize| pictures.min(outcome.sent) as f64 / outcome.sent as f64;
        let (shown, alone) = (share(outcome.shown), share(outcome.decodable));
        println!(
            "{lost_percent} %: {:.1} %, {:.1} % if nothing were asked for; {outcome:?}",
            100.0 * shown,
            100.0 * alone
        );
        assert!(outcome.packets / outcome.sent * 25 >= 150, "{outcome:?}");
        assert!(alone < wanted, "it had no need to be repaired: {outcome:?}");
        assert!(shown >= wanted, "{outcome:?}");
    };
    tokio::join!(at(1, 0.95), at(5, 0.70), at(10, 0.40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_of_the_profile_with_feedback_alone_plays_over_tcp_too() {
    let _alone = ALONE.lock().await;
    let cameras = Cameras::start(&["--repair", FULL]);
    let camera = pull(source(&cameras.url(FULL)));
    camera.status(|status| status.state == SourceState::Live).await;
    camera.end().await;
}
