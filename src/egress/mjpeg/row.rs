//! A row of pictures: `multipart/x-mixed-replace`, as browsers show it in an
//! `<img>`.
//!
//! Nothing is queued for a viewer: the next picture is looked for when its
//! connection takes more bytes, and it is the newest then.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{self, Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Pictures;
use super::newest::newer;
use super::pictures::{Original, Width};
use crate::auth::Pass;
use crate::bus::Stream;
use crate::http::Attended;
use crate::media::WallTime;

/// What stands between parts; no JPEG holds it behind a line's end.
pub(super) const BOUNDARY: &str = "porthole-picture";

/// One viewer's row.
pub(super) struct Row {
    pictures: Arc<Pictures>,
    stream: Arc<Stream>,
    width: Option<Width>,
    /// Least time between two pictures.
    pace: Duration,
    /// How long the viewer may see them.
    pass: Option<Pass>,
}

/// A picture as it is sent.
pub(super) struct Shown {
    pub(super) version: u64,
    /// When the camera took it.
    pub(super) wall: WallTime,
    /// When it was here.
    pub(super) arrived: time::Instant,
    pub(super) file: Bytes,
}

/// A row with a viewer.
pub(super) struct Watched {
    row: Row,
    attended: Attended,
    asked_to_leave: CancellationToken,
}

impl Shown {
    pub(super) fn new(original: &Original, file: Bytes) -> Self {
        let Original { version, wall, arrived, .. } = *original;
        Self { version, wall, arrived, file }
    }
}

impl Row {
    pub(super) fn new(
        pictures: Arc<Pictures>,
        stream: Arc<Stream>,
        width: Option<Width>,
        pace: Duration,
        pass: Option<Pass>,
    ) -> Self {
        Self { pictures, stream, width, pace, pass }
    }

    /// The row as this viewer sees it.
    pub(super) fn watched(self, attended: Attended) -> Watched {
        Watched { row: self, asked_to_leave: attended.asked_to_leave(), attended }
    }

    /// Returns once the viewer may see no more of them.
    async fn expired(&self) {
        match &self.pass {
            Some(pass) => pass.over().await,
            None => std::future::pending().await,
        }
    }

    /// The newest picture after `version` that can be shown. `None` once the
    /// source has failed: the last picture would stay as if it were now.
    async fn next(&self, mut version: u64) -> Option<Shown> {
        loop {
            let original = newer(&self.pictures, &self.stream, version).await.ok()?;
            version = original.version;
            // One that cannot be decoded is passed over.
            if let Ok(file) = self.pictures.file(&original, self.width).await {
                return Some(Shown::new(&original, file));
            }
        }
    }
}

impl Watched {
    /// The body that begins with this picture; `held` is let go with it.
    pub(super) fn body(mut self, first: Shown, held: impl Send + 'static) -> Body {
        let version = first.version;
        self.attended.sent(first.file.len());
        let opening = Bytes::from(format!("--{BOUNDARY}\r\n"));
        let first = part(first);
        let due = Instant::now() + self.row.pace;
        let rest = stream::unfold(
            (self, held, version, due, None),
            |(mut row, held, version, due, before)| async move {
                // Who asks for more has taken all of the one before.
                if let Some(begun) = before {
                    row.attended.gone_out(begun);
                }
                let next = async {
                    sleep_until(due).await;
                    row.row.next(version).await.ok_or("source")
                };
                let next = tokio::select! {
                    next = next => next,
                    () = row.row.expired() => Err("expired"),
                    () = row.asked_to_leave.cancelled() => Err("ended"),
                };
                let next = match next {
                    Ok(next) => next,
                    Err(why) => {
                        row.attended.end_with(why);
                        return None;
                    }
                };
                row.attended.sent(next.file.len());
                // A viewer that wants fewer pictures has kept it waiting itself.
                let begun = next.arrived.max(due.into_std());
                let due = Instant::now() + row.row.pace;
                let version = next.version;
                Some((part(next), (row, held, version, due, Some(begun))))
            },
        );
        let parts = stream::iter([first]).chain(rest).flat_map(stream::iter);
        Body::from_stream(stream::iter([opening]).chain(parts).map(Ok::<_, Infallible>))
    }
}

/// A part, with the boundary behind it: browsers show a picture when they meet
/// the next boundary, and that must not wait for the next picture. `X-Timestamp`
/// is mjpg-streamer's word for when it was taken, in Unix seconds.
fn part(Shown { wall, file, .. }: Shown) -> [Bytes; 3] {
    let length = file.len();
    let micros = wall.unix_nanos() / 1_000;
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let head = format!(
        "Content-Type: image/jpeg\r\nContent-Length: {length}\r\nX-Timestamp: {seconds}.{micros:06}\r\n\r\n"
    );
    [head.into(), file, Bytes::from(format!("\r\n--{BOUNDARY}\r\n"))]
}
