//! Which picture of a stream is the newest, and whether it may still be shown.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::FetchStill;
use super::pictures::{Original, Pictures, no_picture};
use crate::bus::{Interest, Join, SourceState, SourceStatus, Stream};
use crate::fault::Fault;
use crate::http::Problem;
use crate::media::{Codec, Frame, FrameKind};

/// Longest wait for a first picture: a camera on demand connects within 2 s,
/// then comes its next key frame, in most every 1 to 4 s.
const FIRST_PICTURE: Duration = Duration::from_secs(8);
/// The first frame is here a moment before the source is called live.
const LIVE_SLACK: Duration = Duration::from_millis(500);

/// What keeps a camera on demand playing, where its frames are what is shown.
pub(super) fn interest(pictures: &Pictures, stream: &Arc<Stream>) -> Option<Interest> {
    fetch_still(pictures, stream).is_none().then(|| stream.watch())
}

/// The newest picture of a stream, waited for if its camera has yet to start.
/// Whoever calls holds [`interest`].
///
/// # Errors
///
/// The source's fault, `stream.starting`, `codec.video_unplayable`.
pub(super) async fn newest(
    pictures: &Arc<Pictures>,
    stream: &Arc<Stream>,
) -> Result<Original, Problem> {
    match timeout(FIRST_PICTURE, newer(pictures, stream, 0)).await {
        Ok(found) => found,
        Err(_) => Err(Problem::not_ready(stream)),
    }
}

/// The newest picture after `version`, waited for without a limit.
///
/// # Errors
///
/// As [`newest`], but for `stream.starting`.
pub(super) async fn newer(
    pictures: &Arc<Pictures>,
    stream: &Arc<Stream>,
    version: u64,
) -> Result<Original, Problem> {
    if let Some(fetch) = fetch_still(pictures, stream) {
        return Ok(pictures.stills.newer(stream.name(), version, fetch).await?);
    }
    let mut status = stream.watch_status();
    let mut reader = stream.subscribe("mjpeg", Join::Live);
    loop {
        {
            let status = status.borrow_and_update();
            match status.state {
                // Nobody waits for a failure that is known.
                SourceState::Down => return Err(Problem::not_ready(stream)),
                SourceState::Live => {
                    if let Some(why) = unfit(stream) {
                        return Err(why.into());
                    }
                    let newest = stream.newest_entry();
                    let newest = newest.filter(|frame| {
                        frame.sequence > version
                            && frame.kind == FrameKind::Key
                            && is_of_now(frame, &status)
                    });
                    if let Some(original) = newest.and_then(|frame| Original::of(stream, &frame)) {
                        return Ok(original);
                    }
                }
                SourceState::Idle | SourceState::Connecting => {}
            }
        }
        tokio::select! {
            frame = reader.next() => {
                if frame.is_none() {
                    return Err(Problem::not_ready(stream));
                }
            }
            changed = status.changed() => {
                if changed.is_err() {
                    return Err(Problem::not_ready(stream));
                }
            }
        }
    }
}

/// Whether the frame came since the source is live: what is left from before
/// an outage is no picture of now.
fn is_of_now(frame: &Frame, status: &SourceStatus) -> bool {
    match status.since.elapsed() {
        Ok(live) => frame.arrived.elapsed() <= live + LIVE_SLACK,
        // The clock was set back.
        Err(_) => true,
    }
}

/// Why no picture can be made of what the camera sends.
fn unfit(stream: &Stream) -> Option<Fault> {
    let tracks = stream.tracks()?;
    match tracks.video().map(|track| &track.codec) {
        Some(Codec::H264(_) | Codec::Jpeg(_)) => None,
        Some(other) => Some(no_picture(&format!("porthole does not decode {} yet", other.name()))),
        None => Some(no_picture("the camera sends sound alone")),
    }
}

/// How the camera is asked for its own still, if there is a way; not where
/// every frame is a JPEG.
fn fetch_still(pictures: &Pictures, stream: &Stream) -> Option<FetchStill> {
    let still = pictures.source(stream.name()).still?;
    let tracks = stream.tracks();
    let video = tracks.as_ref().and_then(|tracks| tracks.video());
    (!video.is_some_and(|video| matches!(video.codec, Codec::Jpeg(_)))).then_some(still)
}
