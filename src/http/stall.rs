//! A connection that takes no bytes for too long is over: a viewer that reads
//! nothing would hold what it was to be sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;

/// How long a client may take not one byte of what is written to it. Its own
/// system takes megabytes for it before that.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// `S`, whose writes fail once one has waited for [`WRITE_LIMIT`].
pub(super) struct Impatient<S> {
    inner: S,
    limit: Pin<Box<Sleep>>,
    /// Told when a write waits, and when it does no more.
    activity: Arc<Activity>,
    waiting: bool,
}

impl<S> Impatient<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, limit: Box::pin(sleep(WRITE_LIMIT)), activity, waiting: false }
    }

    /// What `outcome` becomes once time is up.
    fn judge<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.waiting {
                self.waiting = false;
                self.activity.waits(false);
            }
            return outcome;
        }
        if !self.waiting {
            self.waiting = true;
            self.activity.waits(true);
            self.limit.as_mut().reset(Instant::now() + WRITE_LIMIT);
        }
        ready!(self.limit.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no data")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.judge(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.judge(outcome, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_left_and_a_slow_one_is_not() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Impatient::new(near, Arc::new(Activity::new()));
        let begun = Instant::now();
        let slow = async {
            let mut byte = [0];
            for _ in 0..64 {
                tokio::time::sleep(WRITE_LIMIT / 2).await;
                far.read_exact(&mut byte).await.unwrap();
            }
        };
        let sent = [0; 128];
        let (sent, ()) = tokio::join!(near.write_all(&sent), slow);
        assert!(sent.is_ok(), "it took a byte in time, every time");
        assert!(begun.elapsed() > WRITE_LIMIT * 30);
        let begun = Instant::now();
        let error = near.write_all(&[0; 128]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), WRITE_LIMIT.as_secs());
    }
}
