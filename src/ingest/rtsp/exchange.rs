//! Requests and their answers (RFC 2326 §10), without I/O: numbers, session,
//! login and keep-alive of one connection.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use url::Url;

use super::USER_AGENT;
use super::login::Door;
use super::wire::{Answer, Asked};
use crate::fault::{Code, Fault};

/// RFC 2326 §12.37: without a timeout parameter.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// Keep-alives are never rarer: over UDP nothing else passes, and routers
/// forget silent connections.
const LONGEST_QUIET: Duration = Duration::from_secs(60);
/// Nor more frequent, whatever a camera asks for.
const SHORTEST_QUIET: Duration = Duration::from_secs(2);
/// Longest session id, which each request repeats. RFC 2326 §3.4 asks for eight
/// characters at least; the longest of real cameras have 40.
const MAX_SESSION_ID: usize = 1 << 10;
/// Longest number of a camera's request that is repeated to it.
const MAX_SEQUENCE: usize = 20;
/// Requests given up that are remembered.
const MAX_GIVEN_UP: usize = 8;

/// What we ask of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Options,
    Describe,
    Setup,
    Play,
    GetParameter,
    Teardown,
}

impl Method {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Setup => "SETUP",
            Self::Play => "PLAY",
            Self::GetParameter => "GET_PARAMETER",
            Self::Teardown => "TEARDOWN",
        }
    }
}

/// A request whose answer is still to come.
struct Sent {
    sequence: u32,
    method: Method,
    url: Url,
    /// Headers of its own, each with its CRLF.
    headers: String,
    authorized: bool,
}

/// What an answer means.
pub(super) enum Outcome {
    /// Of the request that was sent; whatever its status, but not 401.
    Answered(Answer),
    /// The request was put in the outbox again, with a login.
    Again,
    /// Of a request that nobody waits for any more.
    Late,
}

/// Both sides' words on one connection. One request is out at a time.
pub(super) struct Exchange {
    pub(super) door: Door,
    sequence: u32,
    sent: Option<Sent>,
    /// Numbers of requests that were given up, whose answers may still come.
    given_up: Vec<u32>,
    session: Option<String>,
    timeout: Duration,
    /// Whether the camera says that it takes GET_PARAMETER. Some close the
    /// connection on it; others end a session that is only sent OPTIONS.
    parameters: bool,
    /// What the camera calls its server.
    pub(super) server: Option<String>,
}

impl Exchange {
    pub(super) fn new(door: Door) -> Self {
        Self {
            door,
            sequence: 0,
            sent: None,
            given_up: Vec::new(),
            session: None,
            timeout: SESSION_TIMEOUT,
            parameters: false,
            server: None,
        }
    }

    /// Puts a request in the outbox. One that was not answered is given up.
    pub(super) fn ask(
        &mut self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        outbox: &mut BytesMut,
    ) {
        let mut own = String::new();
        for (name, value) in headers {
            let _ = write!(own, "{name}: {value}\r\n");
        }
        self.send(method, url.clone(), own, outbox);
    }

    fn send(&mut self, method: Method, url: Url, headers: String, outbox: &mut BytesMut) {
        self.sequence += 1;
        let (name, sequence) = (method.as_str(), self.sequence);
        let mut head = format!("{name} {url} RTSP/1.0\r\nCSeq: {sequence}\r\n");
        let authorization = self.door.authorize(name, url.as_str());
        if let Some(value) = &authorization {
            let _ = write!(head, "Authorization: {value}\r\n");
        }
        if let Some(session) = &self.session {
            let _ = write!(head, "Session: {session}\r\n");
        }
        let _ = write!(head, "{headers}User-Agent: {USER_AGENT}\r\n\r\n");
        outbox.put_slice(head.as_bytes());
        let authorized = authorization.is_some();
        if let Some(unanswered) = self.sent.take() {
            if self.given_up.len() == MAX_GIVEN_UP {
                self.given_up.remove(0);
            }
            self.given_up.push(unanswered.sequence);
        }
        self.sent = Some(Sent { sequence, method, url, headers, authorized });
    }

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// `source.auth` when the camera refuses the login for good.
    pub(super) fn hear(&mut self, answer: Answer, outbox: &mut BytesMut) -> Result<Outcome, Fault> {
        // Any other number that is wrong, or missing, can only mean the one
        // request that is out.
        let of = |number: &u32| answer.sequence() == Some(*number);
        if let Some(at) = self.given_up.iter().position(of) {
            self.given_up.remove(at);
            return Ok(Outcome::Late);
        }
        // 1xx: the answer is still to come (RFC 2326 §7.1.1).
        let Some(sent) = self.sent.take_if(|_| answer.status >= 200) else {
            return Ok(Outcome::Late);
        };
        self.learn(&answer);
        if answer.status == 401 {
            self.door.refused(&answer.challenges, sent.authorized)?;
            self.send(sent.method, sent.url, sent.headers, outbox);
            return Ok(Outcome::Again);
        }
        if sent.authorized {
            // Many answer OPTIONS to anybody.
            self.door.accepted(sent.method != Method::Options);
        }
        if sent.method == Method::Setup && (200..300).contains(&answer.status) {
            self.enter(answer.header("Session").unwrap_or_default())?;
        }
        Ok(Outcome::Answered(answer))
    }

    /// What any answer may tell.
    fn learn(&mut self, answer: &Answer) {
        if let Some(methods) = answer.header("Public") {
            let mut methods = methods.split([',', ' ']);
            self.parameters = methods.any(|method| method.eq_ignore_ascii_case("GET_PARAMETER"));
        }
        if let (None, Some(server)) = (&self.server, answer.header("Server")) {
            // A camera chooses these words; they go to a terminal.
            self.server = Some(server.chars().filter(|c| !c.is_control()).take(80).collect());
        }
    }

    /// `id;timeout=60`. Some cameras give every track an id of its own; the
    /// first is the one they go by.
    fn enter(&mut self, header: &str) -> Result<(), Fault> {
        let mut parts = header.split(';').map(str::trim);
        let id = parts.next().unwrap_or_default();
        if self.session.is_some() || id.is_empty() {
            return Ok(());
        }
        if id.len() > MAX_SESSION_ID {
            return Err(Fault::new(Code::SourceLimit, "a session id longer than 1 KiB"));
        }
        self.session = Some(id.to_owned());
        let timeout = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
            let named = name.trim().eq_ignore_ascii_case("timeout");
            value.trim().parse().ok().filter(|seconds| named && *seconds > 0)
        });
        self.timeout = timeout.map_or(SESSION_TIMEOUT, Duration::from_secs);
        Ok(())
    }

    /// Answers a request of the camera's politely, and does nothing else.
    pub(super) fn reply(&self, asked: &Asked, outbox: &mut BytesMut) {
        let (status, headers) = match asked.method.as_str() {
            "OPTIONS" => ("200 OK", "Public: OPTIONS\r\n"),
            // Cameras watch their side of the session with these.
            "GET_PARAMETER" | "SET_PARAMETER" => ("200 OK", ""),
            "ANNOUNCE" | "DESCRIBE" | "SETUP" | "PLAY" | "PAUSE" | "RECORD" | "TEARDOWN"
            | "REDIRECT" => ("405 Method Not Allowed", "Allow: OPTIONS\r\n"),
            _ => ("501 Not Implemented", ""),
        };
        let sequence = asked.sequence.as_deref().filter(|number| number.len() <= MAX_SEQUENCE);
        let sequence = sequence.unwrap_or("0");
        let answer = format!("RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}\r\n");
        outbox.put_slice(answer.as_bytes());
    }

    /// Whether a camera holds a session for us.
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Nothing that was asked will be answered any more.
    pub(super) fn reconnected(&mut self) {
        self.sent = None;
        self.given_up.clear();
    }

    /// Whether a request with a login is out.
    pub(super) fn is_login_unanswered(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.authorized)
    }

    /// Whether a SETUP is out, which may yet begin a session.
    pub(super) fn is_entering(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.method == Method::Setup)
    }

    /// How it is told that we still watch.
    pub(super) fn keep_alive(&self) -> Method {
        if self.parameters { Method::GetParameter } else { Method::Options }
    }

    /// How often.
    pub(super) fn keep_alive_interval(&self) -> Duration {
        (self.timeout / 2).clamp(SHORTEST_QUIET, LONGEST_QUIET)
    }

    /// Whether the camera minds what it answers to a keep-alive.
    pub(super) fn kept(&mut self, answer: &Answer) -> Result<(), Fault> {
        match answer.status {
            // Session Not Found: it has forgotten us, and will stop sending.
            454 => Err(refused(self.keep_alive(), answer)),
            // It advertised what it does not do.
            405 | 451 | 501 => {
                self.parameters = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What a status other than 2xx means.
pub(super) fn refused(method: Method, answer: &Answer) -> Fault {
    let code = match answer.status {
        401 | 403 => Code::SourceAuth,
        404 | 410 => Code::SourceNotFound,
        // Not Enough Bandwidth is what cameras say when all slots are taken.
        453 | 503 => Code::SourceBusy,
        _ => Code::SourceProtocol,
    };
    let (method, status, reason) = (method.as_str(), answer.status, &answer.reason);
    if (300..400).contains(&status) {
        let to = answer.header("Location").and_then(|to| Url::parse(to).ok());
        let host = to.as_ref().and_then(Url::host_str).unwrap_or("nowhere");
        return Fault::new(
            code,
            format!("{method}: it redirects to {host}, which is not followed"),
        );
    }
    Fault::new(code, format!("{method}: {status} {reason}"))
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
