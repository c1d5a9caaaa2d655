//! What every stream keeps, whatever happens to a camera.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use porthole::bus::{Join, Seen, SourceState, Stream};
use porthole::media::{Frame, FrameKind};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::relay::{Fault, Relay};
use crate::camera_support::{Cameras, Pulled, pull, source};

pub const MOUNT: &str = "h264-pcma";

/// Everything a stream publishes from now until `end`, held against the bus's
/// promise: one line, whatever happens to the camera.
pub fn follow(stream: &Arc<Stream>, end: &CancellationToken) -> JoinHandle<Vec<Arc<Frame>>> {
    let mut reader = stream.subscribe("follower", Join::NewestKey);
    let end = end.clone();
    tokio::spawn(async move {
        let mut frames: Vec<Arc<Frame>> = Vec::new();
        let mut newest = HashMap::new();
        // What is out when the end comes is still looked at.
        while let Some(seen) = match end.run_until_cancelled(reader.next()).await {
            Some(seen) => seen,
            None => reader.try_next(),
        } {
            let Seen::Frame(frame) = seen else { panic!("the follower was too slow: {seen:?}") };
            if let Some(last) = frames.last() {
                assert_eq!(frame.sequence, last.sequence + 1, "a hole in the line");
            }
            if let Some(before) = newest.insert(frame.track, frame.dts) {
                assert!(frame.dts > before, "time goes back");
            }
            frames.push(frame);
        }
        frames
    })
}

/// A camera nothing happens to, and everything it gives meanwhile.
pub struct Neighbour {
    camera: Pulled,
    end: CancellationToken,
    frames: JoinHandle<Vec<Arc<Frame>>>,
}

impl Neighbour {
    pub async fn start(cameras: &Cameras) -> Self {
        let camera = pull(source(&cameras.url(MOUNT)));
        camera.status(|status| status.state == SourceState::Live).await;
        let end = CancellationToken::new();
        let frames = follow(&camera.stream, &end);
        Self { camera, end, frames }
    }

    /// It has lost nothing all the while.
    pub async fn assert_undisturbed(self) {
        self.end.cancel();
        let frames = self.frames.await.unwrap();
        let pictures: Vec<_> = frames.iter().filter(|f| f.kind != FrameKind::Audio).collect();
        assert!(pictures.len() > 50, "{} pictures", pictures.len());
        for pair in pictures.windows(2) {
            let gap = pair[1].dts.nanos() - pair[0].dts.nanos();
            assert!((39_000_000..=41_000_000).contains(&gap), "{gap} ns between pictures");
        }
        assert!(frames.iter().all(|frame| frame.lost_before == 0 && !frame.discontinuity));
        assert!(self.camera.stream.status().fault.is_none());
        self.camera.end().await;
    }
}

/// Kills the camera's connection, leaves it away for a while, brings it back;
/// how long it took to be seen again.
pub async fn kill_and_return(
    relay: &Relay,
    camera: &mut Pulled,
    fault: Fault,
    away: Duration,
) -> Duration {
    relay.set(fault);
    if fault == Fault::Freeze {
        // It lost its power; what it had open is unknown to it afterwards.
        sleep(away).await;
        relay.set(Fault::Reset);
    }
    camera.status(|status| status.state == SourceState::Down).await;
    if fault != Fault::Freeze {
        sleep(away).await;
    }
    camera.reader = camera.stream.subscribe("test", Join::Live);
    relay.set(Fault::None);
    let reachable = Instant::now();
    while camera.frame().await.kind == FrameKind::Audio {}
    let took = reachable.elapsed();
    seen_again(camera).await;
    took
}

/// What a stream's pictures were, without keeping them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    pub seen: usize,
    /// Not 40 ms behind the one before.
    pub gaps: usize,
    /// Marked as the first after a return.
    pub returns: usize,
}

/// Counts a stream's pictures from now until `end`; the numbering must have no
/// hole, and time must rise.
pub fn count(stream: &Arc<Stream>, end: &CancellationToken) -> JoinHandle<Pictures> {
    let mut reader = stream.subscribe("follower", Join::NewestKey);
    let end = end.clone();
    tokio::spawn(async move {
        let (mut pictures, mut sequence, mut last) = (Pictures::default(), None, None);
        while let Some(Some(seen)) = end.run_until_cancelled(reader.next()).await {
            let Seen::Frame(frame) = seen else { panic!("the follower was too slow: {seen:?}") };
            let before = sequence.replace(frame.sequence);
            assert!(before.is_none_or(|before| frame.sequence == before + 1), "a hole");
            if frame.kind == FrameKind::Audio {
                continue;
            }
            pictures.seen += 1;
            pictures.returns += usize::from(frame.discontinuity);
            if let Some(last) = last.replace(frame.dts.nanos()) {
                assert!(frame.dts.nanos() > last, "time goes back");
                let gap = frame.dts.nanos() - last;
                pictures.gaps += usize::from(!(39_000_000..=41_000_000).contains(&gap));
            }
        }
        pictures
    })
}

/// Live without a fault, with picture and sound from here on.
pub async fn seen_again(camera: &mut Pulled) {
    let live = camera.status(|status| status.state == SourceState::Live).await;
    assert_eq!(live.fault, None);
    let (mut picture, mut sound) = (false, false);
    while !(picture && sound) {
        let audio = camera.frame().await.kind == FrameKind::Audio;
        (picture, sound) = (picture || !audio, sound || audio);
    }
}
