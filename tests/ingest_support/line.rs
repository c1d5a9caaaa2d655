//! What every stream keeps, whatever happens to a camera.

use std::collections::HashMap;
use std::sync::Arc;

use porthole::bus::{Join, Seen, SourceState, Stream};
use porthole::media::{Frame, FrameKind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
