//! Bytes and RTSP messages (RFC 2326 §4 to §7, §10.12), without I/O.
//!
//! Here: where a message or an interleaved packet begins and ends, and how
//! many bytes it may measure. What stands in a message's head is read by
//! `retina`'s parser, after the slips of cameras' firmware are mended.
//!
//! Promise: whatever comes, at most [`MAX_BUFFERED`] bytes wait for their end.

use bytes::{Buf, Bytes, BytesMut};
use retina::rtsp::msg::{Headers, Message};
use retina::rtsp::parse::Parser;

use crate::fault::{Code, Fault};

/// What a message may measure, body included. The longest of real cameras are
/// SDPs of 2 KiB, of NVRs 8 KiB.
const MAX_MESSAGE: usize = 64 << 10;
/// What is skipped between two messages before the stream counts as lost:
/// less than a second of video.
const MAX_STRAY: usize = 64 << 10;
/// Longest name of a method; GET_PARAMETER has 13.
const MAX_METHOD: usize = 20;
/// An interleaved packet and the four bytes before it.
const MAX_PACKET: usize = 4 + u16::MAX as usize;
/// Most bytes that can be waiting when [`Wire::next`] wants more.
pub const MAX_BUFFERED: usize = MAX_PACKET + 1;

/// What a camera sent.
#[derive(Debug)]
pub enum Heard {
    /// An interleaved packet, RTP or RTCP.
    Packet {
        /// Channel as in the Transport header.
        channel: u8,
        /// Without the four bytes before it.
        payload: Bytes,
    },
    /// An answer to a request of ours.
    Answer(Answer),
    /// A request of the camera's.
    Asked(Asked),
}

/// An answer to a request of ours.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// What the camera says about it.
    pub reason: String,
    headers: Headers,
    /// Every `WWW-Authenticate`, apart: joined by commas they could not be
    /// told from each other once a camera forgets its quotes.
    pub challenges: Vec<String>,
    /// Such as an SDP.
    pub body: Bytes,
}

impl Answer {
    /// A header's value; names do not depend on case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| &**value)
    }

    /// The number of the request it answers, if it says one.
    pub fn sequence(&self) -> Option<u32> {
        self.header("CSeq")?.parse().ok()
    }
}

/// A request of the camera's.
#[derive(Debug)]
pub struct Asked {
    /// Such as `OPTIONS`.
    pub method: String,
    /// Its number, to be repeated.
    pub sequence: Option<String>,
}

/// Why the bytes lead nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A cap.
    #[error("an RTSP message longer than 64 KiB")]
    TooLong,
    /// The very first bytes are no RTSP.
    #[error("what listens there does not speak RTSP")]
    NotRtsp,
    /// Too much between two messages.
    #[error("more than 64 KiB that are no RTSP between two messages")]
    Lost,
    /// A message whose first line or length cannot be read.
    #[error("an RTSP message that cannot be read")]
    Unreadable,
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        let code = if broken == Broken::TooLong { Code::SourceLimit } else { Code::SourceProtocol };
        Self::new(code, broken.to_string())
    }
}

/// A message's head that waits for its body.
struct Head {
    message: Message,
    challenges: Vec<String>,
    body: usize,
}

/// Cuts a camera's bytes into messages.
#[derive(Default)]
pub struct Wire {
    /// Channels we asked for, to tell a packet from chance after stray bytes.
    channels: Vec<u8>,
    /// Whether anything of it was RTSP yet.
    spoken: bool,
    /// How far the end of a head was looked for.
    scanned: usize,
    head: Option<Head>,
    /// Bytes skipped since the last message.
    stray: usize,
}

/// What the bytes at the start of the inbox are.
enum Start {
    Packet,
    Message,
    Stray,
    /// Too few to tell.
    Unclear,
}

impl Wire {
    /// From now on packets come on that channel.
    pub fn expect(&mut self, channel: u8) {
        self.channels.push(channel);
    }

    /// The next message or packet; `None` until more bytes are here.
    ///
    /// # Errors
    ///
    /// [`Broken`]: nothing can follow.
    pub fn next(&mut self, inbox: &mut BytesMut) -> Result<Option<Heard>, Broken> {
        loop {
            if let Some(head) = self.head.take_if(|head| head.body <= inbox.len()) {
                let body = inbox.split_to(head.body).freeze();
                return Ok(Some(head.heard(body)));
            }
            if self.head.is_some() || inbox.is_empty() {
                return Ok(None);
            }
            match start(inbox) {
                Start::Packet if self.stray == 0 => match packet_end(inbox) {
                    Some(end) if inbox.len() >= end => {
                        if self.cut_short(inbox, end) {
                            self.skip(inbox)?;
                            continue;
                        }
                        return Ok(Some(take_packet(inbox, end)));
                    }
                    _ => return Ok(None),
                },
                // After stray bytes a `$` may be chance.
                Start::Packet => match self.confirmed(inbox) {
                    Some(true) => {
                        self.stray = 0;
                        let end = packet_end(inbox).unwrap_or(inbox.len());
                        return Ok(Some(take_packet(inbox, end)));
                    }
                    Some(false) => self.skip(inbox)?,
                    None => return Ok(None),
                },
                Start::Message => {
                    let Some(end) = self.head_end(inbox)? else { return Ok(None) };
                    let head = read_head(&inbox[..end])?;
                    inbox.advance(end);
                    if end.saturating_add(head.body) > MAX_MESSAGE {
                        return Err(Broken::TooLong);
                    }
                    (self.head, self.scanned, self.stray, self.spoken) = (Some(head), 0, 0, true);
                }
                // Some cameras end a message, or a packet, in one CRLF too many.
                Start::Stray if matches!(inbox[0], b'\r' | b'\n') && self.stray == 0 => {
                    inbox.advance(1);
                }
                Start::Stray if !self.spoken => return Err(Broken::NotRtsp),
                Start::Stray => self.skip(inbox)?,
                Start::Unclear => return Ok(None),
            }
        }
    }

    /// Leaves out bytes up to the next that may begin something.
    fn skip(&mut self, inbox: &mut BytesMut) -> Result<(), Broken> {
        let next = inbox[1..].iter().position(|byte| matches!(byte, b'$' | b'R'));
        let stray = next.map_or(inbox.len(), |at| at + 1);
        inbox.advance(stray);
        self.stray += stray;
        if self.stray > MAX_STRAY { Err(Broken::Lost) } else { Ok(()) }
    }

    /// Whether the bytes begin a packet of ours behind which something else
    /// begins; `None` until that is here.
    fn confirmed(&self, bytes: &[u8]) -> Option<bool> {
        let [b'$', channel, _, _, first, ..] = *bytes else {
            return if bytes.len() < 5 { None } else { Some(false) };
        };
        // RTP and RTCP are of version 2 (RFC 3550 §5.1); an empty RR has 8 bytes.
        let end = packet_end(bytes)?;
        if !self.channels.contains(&channel) || first >> 6 != 2 || end < 12 {
            return Some(false);
        }
        bytes.get(end).map(|next| matches!(next, b'$' | b'R' | b'\r'))
    }

    /// Whether a packet ends in the middle of another, as when a camera whose
    /// buffers were full has dropped part of it.
    fn cut_short(&self, bytes: &[u8], end: usize) -> bool {
        let rest = &bytes[end..];
        if matches!(rest, [] | [b'\r' | b'\n', ..]) || !matches!(start(rest), Start::Stray) {
            return false;
        }
        let begins =
            |at: &usize| bytes[*at] == b'$' && self.confirmed(&bytes[*at..]) != Some(false);
        (4..end).any(|at| begins(&at))
    }

    /// Where a head ends: behind an empty line.
    fn head_end(&mut self, inbox: &[u8]) -> Result<Option<usize>, Broken> {
        let within = &inbox[..inbox.len().min(MAX_MESSAGE)];
        for at in self.scanned..within.len() {
            // Some firmware ends lines in LF alone.
            if within[at] == b'\n'
                && (within[..at].ends_with(b"\n") || within[..at].ends_with(b"\n\r"))
            {
                return Ok(Some(at + 1));
            }
        }
        self.scanned = within.len();
        if inbox.len() >= MAX_MESSAGE { Err(Broken::TooLong) } else { Ok(None) }
    }
}

impl Head {
    fn heard(self, body: Bytes) -> Heard {
        match self.message {
            Message::Response(response) => Heard::Answer(Answer {
                status: response.status_code.as_u16(),
                reason: response.reason_phrase,
                headers: response.headers,
                challenges: self.challenges,
                body,
            }),
            Message::Request(request) => Heard::Asked(Asked {
                method: request.method.to_string(),
                sequence: request.headers.get("CSeq").map(|value| value.to_string()),
            }),
            Message::Data(data) => Heard::Packet { channel: data.channel_id, payload: body },
        }
    }
}

fn start(bytes: &[u8]) -> Start {
    if bytes[0] == b'$' {
        return Start::Packet;
    }
    // A method, or `RTSP/1.0`. No further than that: each of many capitals in
    // a row may be asked about.
    let bytes = &bytes[..bytes.len().min(MAX_METHOD + 1)];
    let word = bytes.iter().position(|byte| !(byte.is_ascii_uppercase() || *byte == b'_'));
    match word {
        Some(4) if bytes[..5] == *b"RTSP/" => Start::Message,
        Some(4..=MAX_METHOD) if word.is_some_and(|end| bytes[end] == b' ') => Start::Message,
        None if bytes.len() <= MAX_METHOD => Start::Unclear,
        _ => Start::Stray,
    }
}

fn packet_end(bytes: &[u8]) -> Option<usize> {
    let length = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    Some(4 + usize::from(length))
}

fn take_packet(inbox: &mut BytesMut, end: usize) -> Heard {
    let channel = inbox[1];
    let mut packet = inbox.split_to(end);
    packet.advance(4);
    Heard::Packet { channel, payload: packet.freeze() }
}

/// Reads a whole head, ending in an empty line.
fn read_head(bytes: &[u8]) -> Result<Head, Broken> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let mut tidy = first_line(lines.next().unwrap_or_default()).ok_or(Broken::Unreadable)?;
    let (mut body, mut challenges) = (0, Vec::new());
    for (name, value) in headers(lines) {
        if name.eq_ignore_ascii_case("content-length") {
            // Kept from the parser: some cameras send it twice.
            body = length(&value).ok_or(Broken::Unreadable)?;
        } else if name.eq_ignore_ascii_case("www-authenticate") {
            challenges.push(value);
        } else {
            tidy.extend([name, ": ", &value, "\r\n"]);
        }
    }
    tidy.push_str("\r\n");
    match Parser::default().feed(&mut tidy.as_bytes()) {
        Ok(Some((message, _))) => Ok(Head { message, challenges, body }),
        _ => Err(Broken::Unreadable),
    }
}

/// A `Content-Length`; one of too many digits is the longest there is.
fn length(value: &str) -> Option<usize> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(usize::MAX))
}

/// A message's first line as RFC 2326 §6.1 and §7.1 write it.
fn first_line(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    if first.starts_with("RTSP/") {
        // Some say 1.1 or 2.0, leave the reason out, or put it in Latin-1.
        let (status, reason) = (words.next()?, words.collect::<Vec<_>>().join(" "));
        return Some(format!("RTSP/1.0 {status} {}\r\n", printable(&reason)));
    }
    // What it is asked about does not matter: no request of a camera's is heeded.
    Some(format!("{first} * RTSP/1.0\r\n"))
}

/// Names and values that the parser takes; lines that are no headers are left
/// out, folded ones joined (RFC 2326 §15.1).
fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, String)> {
    let mut headers: Vec<(&str, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.extend([" ", &printable(line)]);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim_end();
            let token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if !name.is_empty() && name.chars().all(token) {
                headers.push((name, printable(value)));
            }
        }
    }
    headers.retain(|(_, value)| !value.is_empty());
    headers
}

/// Without blanks around it, and with `?` for what is not printable.
fn printable(text: &str) -> String {
    let mend = |c: char| match c {
        '\t' => ' ',
        ' ' | '!'..='~' => c,
        _ => '?',
    };
    text.trim().chars().map(mend).collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
