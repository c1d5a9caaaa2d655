//! A camera that plays: its packets in order, its sender reports, and what
//! keeps the session alive meanwhile.

use std::pin::Pin;
use std::time::Duration;

use bytes::BufMut;
use tokio::time::{Instant, Sleep, sleep_until};

use super::dialog::{Dialog, Session};
use super::exchange::Outcome;
use super::media::{Item, Media};
use super::reception::Arrivals;
use super::wire::Heard;
use crate::fault::{Code, Fault};
use crate::ingest::source::Transport;

/// A camera that is sending.
pub(in crate::ingest) struct Feed {
    session: Session,
    media: Media,
    /// How media travels; never `Auto`.
    pub(in crate::ingest) transport: Transport,
    /// When the bytes that are being read came.
    now: Instant,
    keep_alive_at: Instant,
    /// Set to `wake_at`.
    alarm: Pin<Box<Sleep>>,
    wake_at: Instant,
}

impl Feed {
    pub(super) fn new(session: Session, media: Media, transport: Transport) -> Self {
        let now = Instant::now();
        let keep_alive_at = now + session.exchange().keep_alive_interval();
        let alarm = Box::pin(sleep_until(now));
        Self { session, media, transport, now, keep_alive_at, alarm, wake_at: now }
    }

    /// What comes next; waits for ever if nothing does. Cancel safe.
    ///
    /// # Errors
    ///
    /// Whatever ends the session.
    pub(in crate::ingest) async fn next(&mut self) -> Result<Item, Fault> {
        loop {
            if let Some(item) = self.media.pull() {
                return Ok(item);
            }
            if !self.read()? {
                self.wait().await?;
            }
        }
    }

    /// What of a section's packets was not plain, and their jitter.
    pub(in crate::ingest) fn arrivals(&self, section: usize) -> Option<(Arrivals, Duration)> {
        self.media.arrivals(section)
    }

    /// Closes the connection at once, without TEARDOWN.
    pub(in crate::ingest) fn cut(self) {
        self.session.cut();
    }

    /// Takes the next message of what is here; false if there is none.
    fn read(&mut self) -> Result<bool, Fault> {
        let Dialog { link, exchange, early, .. } = self.session.dialog();
        let heard = match early.pop_front() {
            Some((channel, payload)) => Some(Heard::Packet { channel, payload }),
            None => link.heard()?,
        };
        match heard {
            None => return Ok(false),
            Some(Heard::Packet { channel, payload }) => {
                self.media.interleaved(channel, payload, self.now.into_std());
            }
            Some(Heard::Asked(asked)) => exchange.reply(&asked, &mut link.outbox),
            Some(Heard::Answer(answer)) => {
                // Only keep-alives are asked while it plays.
                if let Outcome::Answered(answer) = exchange.hear(answer, &mut link.outbox)? {
                    exchange.kept(&answer)?;
                }
            }
        }
        Ok(true)
    }

    /// Waits for bytes, or for the next thing that is due, and does that.
    async fn wait(&mut self) -> Result<(), Fault> {
        let media = self.media.deadline().map(Instant::from_std);
        let due = media.map_or(self.keep_alive_at, |media| media.min(self.keep_alive_at));
        if due != self.wake_at {
            self.wake_at = due;
            self.alarm.as_mut().reset(due);
        }
        tokio::select! {
            filled = self.session.dialog().link.fill() => filled?,
            received = self.media.receive() => {
                received.map_err(|error| Fault::new(Code::SourceProtocol, error.to_string()))?;
            }
            () = &mut self.alarm => {}
        }
        self.now = Instant::now();
        self.tick();
        Ok(())
    }

    /// Does what is due: keep-alives, receiver reports, and the end of waiting
    /// for packets that were overtaken.
    fn tick(&mut self) {
        if self.wake_at > self.now {
            return;
        }
        let Dialog { link, exchange, .. } = self.session.dialog();
        while let Some((channel, report)) = self.media.tick(self.now.into_std()) {
            link.outbox.put_slice(&[b'$', channel]);
            link.outbox.put_u16(report.len() as u16);
            link.outbox.put_slice(&report);
        }
        if self.keep_alive_at <= self.now {
            self.keep_alive_at = self.now + exchange.keep_alive_interval();
            let method = exchange.keep_alive();
            self.session.ask(method);
        }
    }
}
