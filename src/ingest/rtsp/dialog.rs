//! Requests to a camera over one connection, each in limited time; and the
//! goodbye, however a session ends.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use url::Url;

use super::exchange::{Exchange, Method, Outcome};
use super::link::Link;
use super::wire::{Answer, Heard};
use crate::fault::{Code, Fault};

/// How long a camera may take over TEARDOWN.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(2);
/// Packets, and bytes of them, kept while an answer is awaited: cameras send
/// the first picture before they answer PLAY.
const EARLY_PACKETS: usize = 4_096;
const EARLY_BYTES: usize = 4 << 20;
/// Bytes of packets after which no answer is expected any more. The fastest
/// cameras send 100 Mbit/s; a TEARDOWN's answer stands behind what is on its way.
const FLOOD_BYTES: usize = 32 << 20;

/// A connection on which requests are made.
pub(super) struct Dialog {
    pub(super) link: Link,
    pub(super) exchange: Exchange,
    /// Packets that came while an answer was awaited, by channel.
    pub(super) early: VecDeque<(u8, Bytes)>,
    early_bytes: usize,
    /// Whether the last request was sent once more, with a login.
    pub(super) asked_again: bool,
}

impl Dialog {
    pub(super) fn new(link: Link, exchange: Exchange) -> Self {
        Self { link, exchange, early: VecDeque::new(), early_bytes: 0, asked_again: false }
    }

    /// Goes on over a new connection, as somebody who knows the challenge.
    pub(super) fn reconnect(&mut self, link: Link) {
        (self.link, self.asked_again) = (link, false);
        self.exchange.reconnected();
    }

    /// Whether the camera has hung up instead of answering a request with a
    /// login.
    pub(super) fn is_login_hung_up(&self) -> bool {
        self.link.is_closed() && self.exchange.is_login_unanswered()
    }

    /// The answer to a request, whatever its status, but never 401.
    ///
    /// # Errors
    ///
    /// `source.timeout`, `source.auth`, and what ends the connection.
    pub(super) async fn request(
        &mut self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Answer, Fault> {
        self.exchange.ask(method, url, headers, &mut self.link.outbox);
        self.asked_again = false;
        match timeout(limit, self.answer()).await {
            Ok(answer) => answer,
            Err(_) => {
                let detail = format!("no answer to {}", method.as_str());
                Err(Fault::new(Code::SourceTimeout, detail))
            }
        }
    }

    async fn answer(&mut self) -> Result<Answer, Fault> {
        let mut flood = 0;
        loop {
            while let Some(heard) = self.link.heard()? {
                match heard {
                    Heard::Answer(answer) => match self.hear(answer)? {
                        Outcome::Answered(answer) => return Ok(answer),
                        Outcome::Again => self.asked_again = true,
                        Outcome::Late => {}
                    },
                    Heard::Asked(asked) => self.exchange.reply(&asked, &mut self.link.outbox),
                    Heard::Packet { channel, payload } => {
                        flood += payload.len();
                        self.keep(channel, &payload);
                    }
                }
                if flood > FLOOD_BYTES {
                    let detail = "32 MiB of packets instead of an answer";
                    return Err(Fault::new(Code::SourceLimit, detail));
                }
            }
            self.link.fill().await?;
        }
    }

    /// What an answer means.
    pub(super) fn hear(&mut self, answer: Answer) -> Result<Outcome, Fault> {
        self.exchange.hear(answer, &mut self.link.outbox)
    }

    fn keep(&mut self, channel: u8, payload: &Bytes) {
        let bytes = self.early_bytes + payload.len();
        if self.early.len() < EARLY_PACKETS && bytes <= EARLY_BYTES {
            // A copy: a slice would hold on to the buffer of a whole read.
            self.early.push_back((channel, Bytes::copy_from_slice(payload)));
            self.early_bytes = bytes;
        }
    }
}

/// A camera's session. Dropped, it says TEARDOWN in a task of its own: cameras
/// have two to four slots, and keep those of clients that just go.
pub(super) struct Session {
    dialog: Option<Dialog>,
    /// What TEARDOWN names.
    url: Url,
    farewells: TaskTracker,
}

impl Session {
    pub(super) fn new(dialog: Dialog, url: Url, farewells: TaskTracker) -> Self {
        Self { dialog: Some(dialog), url, farewells }
    }

    pub(super) fn dialog(&mut self) -> &mut Dialog {
        self.dialog.as_mut().expect("there until it is cut or dropped")
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.dialog.as_ref().expect("there until it is cut or dropped").exchange
    }

    /// Puts a request about the whole session in the outbox.
    pub(super) fn ask(&mut self, method: Method) {
        if let Some(Dialog { link, exchange, .. }) = &mut self.dialog {
            exchange.ask(method, &self.url, &[], &mut link.outbox);
        }
    }

    /// What the whole session is called.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Closes the connection at once, without TEARDOWN: nothing more is read
    /// from a camera that floods us.
    pub(super) fn cut(mut self) {
        self.dialog = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut dialog) = self.dialog.take() else { return };
        if !dialog.exchange.has_session() && !dialog.exchange.is_entering() {
            return;
        }
        // None when the whole program ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let url = self.url.clone();
        let farewell = async move {
            if dialog.exchange.is_entering() {
                // The slot is ours as soon as SETUP is answered.
                dialog.answer().await?;
            }
            dialog.request(Method::Teardown, &url, &[], TEARDOWN_LIMIT).await
        };
        self.farewells.spawn_on(timeout(TEARDOWN_LIMIT, farewell), &runtime);
    }
}
