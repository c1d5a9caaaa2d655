//! The way out to a viewer: from which of our addresses, or over which TCP
//! connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Most bytes that wait for a viewer who reads slowly, over those the kernel
/// holds. Media waits elsewhere, where all viewers share it, once half of them
/// are taken.
const MAX_PENDING: usize = 64 << 10;

/// How long a goodbye may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How an address of a viewer's is reached.
#[derive(Clone, Debug)]
pub(super) enum Via {
    /// From this address of ours; `None` lets the kernel choose.
    Udp(Option<IpAddr>),
    Tcp(Arc<Link>),
}

impl Via {
    /// The word for it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Tcp(_) => "tcp",
        }
    }
}

/// Where to, and how.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) to: SocketAddr,
    pub(super) via: Via,
}

/// The sending side of a TCP connection (RFC 4571: each datagram behind its
/// length). Whoever sends never waits.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    pending: Mutex<BytesMut>,
    /// Something waits for the viewer to read.
    waiting: Notify,
    proven: CancellationToken,
    over: CancellationToken,
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            pending: Mutex::default(),
            waiting: Notify::new(),
            proven: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, BytesMut> {
        // What a panic leaves is bytes still.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes of media may be queued now.
    pub(super) fn room(&self) -> usize {
        (MAX_PENDING / 2).saturating_sub(self.pending().len())
    }

    /// Queues a datagram; `false` when it does not fit.
    pub(super) fn queue(&self, datagram: &[u8]) -> bool {
        let mut pending = self.pending();
        let Ok(length) = u16::try_from(datagram.len()) else { return false };
        if pending.len() + 2 + datagram.len() > MAX_PENDING || self.over.is_cancelled() {
            return false;
        }
        pending.put_u16(length);
        pending.put_slice(datagram);
        true
    }

    /// Sends what the kernel takes; the connection's task sends the rest.
    pub(super) fn flush(&self) {
        let mut pending = self.pending();
        while !pending.is_empty() {
            match self.stream.try_write(&pending) {
                Ok(sent) => pending.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.waiting.notify_one();
                }
                Err(_) => {
                    pending.clear();
                    return self.over.cancel();
                }
            }
        }
    }

    /// Sends, as the viewer reads, what [`Link::flush`] could not. Never ends
    /// by itself.
    pub(super) async fn drain(&self) {
        loop {
            self.waiting.notified().await;
            if self.stream.writable().await.is_err() {
                return self.over.cancelled().await;
            }
            self.flush();
        }
    }

    /// What the viewer has sent, into `buffer`; 0 when it has said its last.
    pub(super) async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// A check that came over it has proven to be a viewer's.
    pub(super) fn prove(&self) {
        self.proven.cancel();
    }

    /// Waits for [`Link::prove`].
    pub(super) async fn proof(&self) {
        self.proven.cancelled().await;
    }

    /// Its viewer has gone: it ends once what is pending is out, or soon.
    pub(super) fn finish(&self) {
        self.over.cancel();
    }

    /// Waits for [`Link::finish`], and for the last words.
    pub(super) async fn finished(&self) {
        self.over.cancelled().await;
        let out = async {
            while !self.pending().is_empty() && self.stream.writable().await.is_ok() {
                self.flush();
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, out).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn pair() -> (Arc<Link>, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Arc::new(Link::new(listener.accept().await.unwrap().0)), theirs)
    }

    #[tokio::test]
    async fn datagrams_arrive_behind_their_length_and_the_last_ones_too() {
        let (link, mut theirs) = pair().await;
        assert!(link.queue(b"one") && link.queue(b"three"));
        link.flush();
        assert!(link.queue(b"bye"));
        link.finish();
        link.finished().await;
        assert!(!link.queue(b"too late"));
        drop(link);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"\0\x03one\0\x05three\0\x03bye");
    }

    #[tokio::test]
    async fn one_who_does_not_read_holds_no_more_than_the_limit() {
        let (link, mut theirs) = pair().await;
        let mut queued = 0_usize;
        while link.queue(&[7; 1200]) {
            link.flush();
            queued += 1202;
        }
        assert_eq!(link.room(), 0);
        assert!(
            link.pending().len() <= MAX_PENDING && link.pending().capacity() <= 2 * MAX_PENDING
        );
        // All that was taken comes, once it reads.
        let reader = tokio::spawn(async move {
            let mut got = vec![0; queued];
            theirs.read_exact(&mut got).await.map(|_| ())
        });
        tokio::select! {
            () = link.drain() => unreachable!("it never ends"),
            read = reader => read.unwrap().unwrap(),
        }
        assert!(link.room() > 0);
    }
}
