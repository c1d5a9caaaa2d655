//! RTSP messages (RFC 2326 §4 to §7), without I/O.

use std::fmt::Write as _;

use bytes::{Buf, BytesMut};

/// Most bytes of one request, body included: real ones stay below 2 KiB.
pub(super) const MAX_MESSAGE: usize = 64 << 10;

/// Most header lines of one request.
const MAX_HEADERS: usize = 64;

/// What a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Options,
    Describe,
    Setup,
    Play,
    GetParameter,
    SetParameter,
    Teardown,
    /// RFC 2326 knows it, this server does not do it.
    NotAllowed,
    /// Nobody knows it.
    Unknown,
}

impl Method {
    fn parse(word: &str) -> Self {
        match word {
            "OPTIONS" => Self::Options,
            "DESCRIBE" => Self::Describe,
            "SETUP" => Self::Setup,
            "PLAY" => Self::Play,
            "GET_PARAMETER" => Self::GetParameter,
            "SET_PARAMETER" => Self::SetParameter,
            "TEARDOWN" => Self::Teardown,
            "PAUSE" | "ANNOUNCE" | "RECORD" | "REDIRECT" => Self::NotAllowed,
            _ => Self::Unknown,
        }
    }
}

/// A request with what this server reads of it. Its body is not kept: no
/// method here has a use for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) cseq: u32,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of that name, in whatever case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Request(Request),
    /// An interleaved packet (§10.12), such as the client's RTCP: not ours to
    /// read, since nothing here adapts to receiver reports.
    Interleaved,
}

/// Bytes after which the connection cannot be understood any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct BadMessage {
    /// What to answer before closing.
    pub(super) status: Status,
    reason: &'static str,
}

fn bad<T>(status: Status, reason: &'static str) -> Result<T, BadMessage> {
    Err(BadMessage { status, reason })
}

/// Takes the first whole message from `inbox`; `None` while it is incomplete,
/// which `inbox` never is beyond [`MAX_MESSAGE`].
pub(super) fn take(inbox: &mut BytesMut) -> Result<Option<Incoming>, BadMessage> {
    // Some clients end a request with a line too many.
    while matches!(inbox.first(), Some(b'\r' | b'\n')) {
        inbox.advance(1);
    }
    if inbox.first() == Some(&b'$') {
        let Some(&[_, _, high, low]) = inbox.first_chunk() else { return Ok(None) };
        let length = 4 + usize::from(u16::from_be_bytes([high, low]));
        if inbox.len() < length {
            return Ok(None);
        }
        inbox.advance(length);
        return Ok(Some(Incoming::Interleaved));
    }
    let Some(head_length) = inbox.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) else {
        if inbox.len() >= MAX_MESSAGE {
            return bad(Status::TooLarge, "a request head above 64 KiB");
        }
        return Ok(None);
    };
    let Ok(head) = std::str::from_utf8(&inbox[..head_length]) else {
        return bad(Status::BadRequest, "a request head that is no text");
    };
    let (request, body_length) = parse_head(head)?;
    let length = head_length.saturating_add(body_length);
    if length > MAX_MESSAGE {
        return bad(Status::TooLarge, "a request above 64 KiB");
    }
    if inbox.len() < length {
        return Ok(None);
    }
    inbox.advance(length);
    Ok(Some(Incoming::Request(request)))
}

fn parse_head(head: &str) -> Result<(Request, usize), BadMessage> {
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(url), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return bad(Status::BadRequest, "a request line without method, URL and version");
    };
    if version != "RTSP/1.0" {
        return bad(Status::VersionNotSupported, "a version other than RTSP/1.0");
    }
    // A lone CR or LF too: what a URL says is repeated in answers.
    if head.split("\r\n").any(|line| line.contains(|c: char| c.is_control() && c != '\t')) {
        return bad(Status::BadRequest, "control characters in a request head");
    }
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return bad(Status::BadRequest, "a header line without a colon");
        };
        if headers.len() == MAX_HEADERS {
            return bad(Status::BadRequest, "more than 64 header lines");
        }
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut request =
        Request { method: Method::parse(method), url: url.to_owned(), cseq: 0, headers };
    let Some(cseq) = request.header("CSeq").and_then(|v| v.parse().ok()) else {
        return bad(Status::BadRequest, "no CSeq");
    };
    request.cseq = cseq;
    let Ok(body_length) = request.header("Content-Length").unwrap_or("0").parse() else {
        return bad(Status::BadRequest, "a Content-Length that is no number");
    };
    Ok((request, body_length))
}

/// Status codes of RFC 2326 §7.1.1 that this server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    NotAllowed,
    TooLarge,
    UnsupportedMedia,
    SessionNotFound,
    NotValidInState,
    AggregateNotAllowed,
    UnsupportedTransport,
    NotImplemented,
    Unavailable,
    VersionNotSupported,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => "401 Unauthorized",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "413 Request Entity Too Large",
            Self::UnsupportedMedia => "415 Unsupported Media Type",
            Self::SessionNotFound => "454 Session Not Found",
            Self::NotValidInState => "455 Method Not Valid in This State",
            Self::AggregateNotAllowed => "460 Only Aggregate Operation Allowed",
            Self::UnsupportedTransport => "461 Unsupported Transport",
            Self::NotImplemented => "501 Not Implemented",
            Self::Unavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 RTSP Version Not Supported",
        }
    }
}

/// A response on its way out. Header values are ours or were parsed from a
/// line, so none can hold a line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: Status,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    pub(super) fn new(status: Status) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn with_body(self, content_type: &'static str, body: String) -> Self {
        Self { body, ..self.with("Content-Type", content_type) }
    }

    #[cfg(test)]
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// The bytes to send, in answer to request `cseq` (`None` where it could
    /// not be read).
    pub(super) fn bytes(&self, cseq: Option<u32>) -> Vec<u8> {
        let mut text = format!("RTSP/1.0 {}\r\n", self.status.line());
        let mut header = |name: &str, value: &dyn std::fmt::Display| {
            write!(text, "{name}: {value}\r\n").expect("writing to a string never fails");
        };
        if let Some(cseq) = cseq {
            header("CSeq", &cseq);
        }
        header("Server", &concat!("porthole/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            header(name, value);
        }
        if !self.body.is_empty() {
            header("Content-Length", &self.body.len());
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(bytes: &[u8]) -> Result<Vec<Incoming>, BadMessage> {
        let mut inbox = BytesMut::from(bytes);
        std::iter::from_fn(|| take(&mut inbox).transpose()).collect()
    }

    #[test]
    fn requests_and_interleaved_packets_share_one_connection() {
        let bytes = b"OPTIONS rtsp://h/a RTSP/1.0\r\ncseq: 7\r\n\r\n\
            $\x01\x00\x03abc\
            SET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 8\r\nContent-Length: 2\r\n\r\nhi";
        let got = take_all(bytes).unwrap();
        let [Incoming::Request(first), Incoming::Interleaved, Incoming::Request(last)] = &got[..]
        else {
            panic!("{got:?}")
        };
        assert_eq!(
            (first.method, first.cseq, first.url.as_str()),
            (Method::Options, 7, "rtsp://h/a")
        );
        assert_eq!((last.method, last.cseq), (Method::SetParameter, 8));
    }

    #[test]
    fn an_incomplete_message_waits_at_every_length() {
        let bytes = b"PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 8\r\nContent-Length: 2\r\n\r\nhi";
        for length in 0..bytes.len() {
            assert_eq!(take_all(&bytes[..length]), Ok(vec![]), "{length}");
        }
        assert_eq!(take_all(bytes).unwrap().len(), 1);
        assert_eq!(take_all(b"$\x01\xff\xff..."), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_a_request_is_refused_by_status() {
        let refused = |bytes: &[u8]| take_all(bytes).unwrap_err().status;
        assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"), Status::VersionNotSupported);
        assert_eq!(refused(b"PLAY rtsp://h/a RTSP/1.0\r\n\r\n"), Status::BadRequest);
        assert_eq!(refused(b"\xff\xfe\r\n\r\n"), Status::BadRequest);
        assert_eq!(
            refused(b"PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nno colon\r\n\r\n"),
            Status::BadRequest
        );
        // A lone line break would end a line of the answer that repeats it.
        for split in [
            &b"PLAY rtsp://h/a\nX:y RTSP/1.0\r\nCSeq: 1\r\n\r\n"[..],
            b"PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nSession: a\rX:y\r\n\r\n",
        ] {
            assert_eq!(refused(split), Status::BadRequest);
        }
        assert_eq!(refused(&vec![b'a'; MAX_MESSAGE]), Status::TooLarge);
        let long = b"PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\n";
        assert_eq!(refused(long), Status::TooLarge);
        let negative = b"PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n";
        assert_eq!(refused(negative), Status::BadRequest);
    }

    #[test]
    fn a_response_carries_cseq_and_the_length_of_its_body() {
        let response = Response::new(Status::NotFound).with_body("text/plain", "ä".into());
        let text = String::from_utf8(response.bytes(Some(3))).unwrap();
        assert!(
            text.starts_with("RTSP/1.0 404 Not Found\r\nCSeq: 3\r\nServer: porthole/"),
            "{text}"
        );
        assert!(text.ends_with("Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nä"), "{text}");
    }
}
