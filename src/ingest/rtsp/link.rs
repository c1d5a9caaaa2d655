//! One connection to a camera: bytes in, cut into messages, and bytes out.
//!
//! This is the hot path: a hundred cameras of 2 Mbit/s are 18,000 packets a
//! second. One read takes all there is, and the packets in it are slices of
//! one buffer; a connection with nothing in flight holds no buffer at all.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::{Connection, Duplex, fault};
use super::wire::{Heard, Wire};
use crate::fault::{Code, Fault};
use crate::ingest::spare::Spares;

/// Most bytes of one read.
const READ: usize = 64 << 10;
/// Most bytes that wait for a camera to take them; it is sent a few hundred
/// bytes every few seconds.
const MAX_UNSENT: usize = 64 << 10;

thread_local! {
    /// Where bytes land before it is known how many there are: one for each
    /// thread instead of one for each camera.
    static LANDING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
    /// Buffers in which nothing is in flight.
    static SPARES: Spares = const { Spares::new() };
}

pub(super) struct Link {
    stream: Box<dyn Duplex>,
    pub(super) wire: Wire,
    /// What came and was not cut into messages yet; none while nothing waits.
    inbox: Option<BytesMut>,
    /// Requests and receiver reports that are not sent yet.
    pub(super) outbox: BytesMut,
    /// Whether bytes may still wait inside of the stream, as TLS's records do.
    unflushed: bool,
    /// Whether the camera has hung up.
    closed: bool,
    /// The camera, for people.
    peer: String,
}

impl Link {
    pub(super) fn new(connection: Connection) -> Self {
        let Connection { stream, peer, .. } = connection;
        Self {
            stream,
            wire: Wire::default(),
            inbox: None,
            outbox: BytesMut::new(),
            unflushed: false,
            closed: false,
            peer: peer.to_string(),
        }
    }

    /// Whether the camera has hung up.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The next message among the bytes that are here.
    pub(super) fn heard(&mut self) -> Result<Option<Heard>, Fault> {
        let Some(inbox) = &mut self.inbox else { return Ok(None) };
        let heard = self.wire.next(inbox)?;
        if heard.is_none()
            && inbox.is_empty()
            && let Some(empty) = self.inbox.take()
        {
            SPARES.with(|spares| spares.give_back(empty, READ));
        }
        Ok(heard)
    }

    /// Sends what there is to send, until more bytes are here. Cancel safe.
    ///
    /// # Errors
    ///
    /// `source.protocol` at the end of the stream, whatever the system says.
    pub(super) async fn fill(&mut self) -> Result<(), Fault> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// As [`Link::fill`].
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if let Poll::Ready(Err(error)) = self.poll_send(context) {
            return Poll::Ready(Err(self.broken(&error)));
        }
        if self.outbox.len() > MAX_UNSENT {
            let detail = "the camera takes none of our requests";
            return Poll::Ready(Err(Fault::new(Code::SourceProtocol, detail)));
        }
        match ready!(self.poll_read(context)) {
            Ok(0) => {
                self.closed = true;
                let detail = "the camera ended the connection";
                Poll::Ready(Err(Fault::new(Code::SourceProtocol, detail)))
            }
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.broken(&error))),
        }
    }

    fn broken(&mut self, error: &io::Error) -> Fault {
        self.closed = true;
        fault(error, &self.peer)
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outbox))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(sent);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            (self.unflushed, self.outbox) = (false, BytesMut::new());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        LANDING.with_borrow_mut(|landing| {
            let mut buffer = ReadBuf::new(landing);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.inbox.get_or_insert_with(take_spare).extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }
}

/// A buffer with room for a read.
fn take_spare() -> BytesMut {
    let mut buffer = SPARES.with(Spares::take);
    // Its own memory again, unless something that it held still waits.
    buffer.reserve(READ);
    buffer
}
