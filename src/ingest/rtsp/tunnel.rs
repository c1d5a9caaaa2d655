//! RTSP in HTTP, as QuickTime tunnels it and ONVIF (Streaming Specification
//! §5.1.2) asks of cameras: where nothing but HTTP comes through.
//!
//! One connection GETs, and the camera's side of RTSP is its endless answer;
//! another POSTs ours, in base64. A cookie says that they belong together.
//! Around it there is RTSP over TCP, which knows nothing of it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::connect::{Duplex, fault, open};
use super::http_head::{Head, MAX_HEAD};
use super::login::Door;
use crate::fault::{Code, Fault};
use crate::ingest::source::Source;

/// Tries to be let in: without a login, with one, with a renewed nonce, and
/// with the password as typed.
const MAX_TRIES: usize = 4;
/// What the POST promises to send. It never ends; this is what QuickTime says,
/// and what cameras know to ignore.
const POST_BYTES: u32 = 32_767;
/// RTSP in HTTP, either way.
const CONTENT_TYPE: &str = "application/x-rtsp-tunnelled";

/// Two connections that are one.
pub(super) struct Tunnel {
    down: Box<dyn Duplex>,
    up: Box<dyn Duplex>,
    /// What came behind the head of the GET's answer.
    early: BytesMut,
    /// Base64 that the camera has not taken yet.
    unsent: BytesMut,
    /// What the camera says about the POST; nothing, usually.
    objection: Option<BytesMut>,
}

/// Makes `down` one half of a tunnel, and a further connection to `camera` the
/// other half.
///
/// # Errors
///
/// `source.auth`, `source.not_found`, `source.busy`, and `source.protocol`
/// where nobody speaks HTTP or knows of tunnels.
pub(super) async fn dig(
    mut down: Box<dyn Duplex>,
    camera: SocketAddr,
    source: &Source,
    deadline: Instant,
) -> Result<Tunnel, Fault> {
    let broken = |error: io::Error| fault(&error, "the HTTP tunnel");
    let mut door = Door::new(source.login.clone(), source.spare_login().cloned());
    let cookie = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
    let get = format!("Accept: {CONTENT_TYPE}\r\n");
    let mut tries = 1;
    let early = loop {
        let (request, authorized) = request("GET", source, &cookie, &get, &mut door);
        down.write_all(request.as_bytes()).await.map_err(broken)?;
        down.flush().await.map_err(broken)?;
        let (head, rest) = head(&mut down).await?;
        match head.status {
            200..300 => break rest,
            401 if tries < MAX_TRIES => door.refused(&head.challenges, authorized)?,
            _ => return Err(refused("GET", &head)),
        }
        // Behind a 401 there is a page, and mostly the end.
        tries += 1;
        (down, ..) = open(&[camera], source, deadline).await?;
    };
    let (mut up, ..) = open(&[camera], source, deadline).await?;
    let post = format!(
        "Content-Type: {CONTENT_TYPE}\r\nContent-Length: {POST_BYTES}\r\n\
         Expires: Sun, 9 Jan 1972 00:00:00 GMT\r\n"
    );
    let (request, _) = request("POST", source, &cookie, &post, &mut door);
    up.write_all(request.as_bytes()).await.map_err(broken)?;
    up.flush().await.map_err(broken)?;
    let (unsent, objection) = (BytesMut::new(), Some(BytesMut::new()));
    Ok(Tunnel { down, up, early, unsent, objection })
}

/// A request for the source's path; whether it carries a login.
fn request(
    method: &str,
    source: &Source,
    cookie: &str,
    headers: &str,
    door: &mut Door,
) -> (String, bool) {
    let url = source.url();
    let mut path = url.path().to_owned();
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    if let Some(query) = url.query() {
        path.extend(["?", query]);
    }
    let authorization = door.authorize(method, &path);
    let is_authorized = authorization.is_some();
    let authorization =
        authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let (host, port) = (url.host_str().unwrap_or_default(), source.port());
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: {}\r\n\
         x-sessioncookie: {cookie}\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
         {headers}{authorization}\r\n",
        super::USER_AGENT
    );
    (request, is_authorized)
}

/// Reads the head of an answer; what came behind it.
async fn head(stream: &mut (dyn Duplex + '_)) -> Result<(Head, BytesMut), Fault> {
    let mut came = BytesMut::with_capacity(MAX_HEAD);
    loop {
        if let Some(head) = Head::take(&mut came)? {
            return Ok((head, came));
        }
        match stream.read_buf(&mut came).await {
            Ok(0) => {
                let detail = "the camera hung up on the HTTP request";
                return Err(Fault::new(Code::SourceProtocol, detail));
            }
            Ok(_) => {}
            Err(error) => return Err(fault(&error, "the HTTP tunnel")),
        }
    }
}

/// What a status other than 2xx means.
fn refused(method: &str, head: &Head) -> Fault {
    let (code, way_out) = match head.status {
        401 | 403 => (Code::SourceAuth, ""),
        404 | 405 | 501 => {
            (Code::SourceNotFound, "; it may have no RTSP in HTTP at this port, or at none")
        }
        453 | 503 => (Code::SourceBusy, ""),
        _ => (Code::SourceProtocol, ""),
    };
    Fault::new(code, format!("HTTP {method}: {} {}{way_out}", head.status, head.reason))
}

impl Tunnel {
    /// An answer to the POST is one only if it says no: then nothing that we
    /// ask is heard.
    fn poll_objection(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(said) = &mut self.objection else { return Ok(()) };
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        while let Poll::Ready(read) = Pin::new(&mut self.up).poll_read(context, &mut buffer) {
            read?;
            said.extend_from_slice(buffer.filled());
            if buffer.filled().is_empty() || said.len() > 12 {
                let said = self.objection.take().unwrap_or_default();
                let status = said.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
                if status.is_some_and(|status| !status.starts_with(b"2")) {
                    let status = String::from_utf8_lossy(status.unwrap_or_default()).into_owned();
                    return Err(io::Error::other(format!("it answers the POST with {status}")));
                }
                break;
            }
            buffer.clear();
        }
        Ok(())
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.up).poll_write(context, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_objection(context)?;
        if !self.early.is_empty() {
            let length = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.down).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tunnel {
    /// Takes all of it, once what went before is sent: base64 of each message
    /// ends with that message, as cameras expect.
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context))?;
        self.unsent = BytesMut::from(BASE64_STANDARD.encode(data).as_bytes());
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.up).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.up).poll_shutdown(context)
    }
}
