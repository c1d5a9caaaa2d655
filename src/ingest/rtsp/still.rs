//! A camera's own still: one JPEG over HTTP, for cameras whose video we do not
//! decode.
//!
//! One request over one connection, made, trusted and logged in as those for
//! RTSP are. Nothing is followed to another place; what comes is capped, in
//! bytes and in time.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, LOCATION, USER_AGENT,
    WWW_AUTHENTICATE,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use url::Position;

use super::connect::connect;
use super::login::Door;
use crate::fault::{Code, Fault};
use crate::ingest::mask::masked;
use crate::ingest::source::{BadSource, Source, Transport};

/// Longest time for a still, its logins included; slow cameras take 2 s.
const LIMIT: Duration = Duration::from_secs(8);
/// Most bytes of one, as of a frame.
const MAX_BYTES: usize = 8 << 20;
/// Most bytes and headers before it.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// Requests for one still: the first, one with a login, one with a newer
/// nonce, one with the password as typed, and its newer nonce.
const MAX_REQUESTS: usize = 5;
/// Cameras lock accounts after a few wrong passwords.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// Where a camera gives stills of its own.
pub struct Still {
    source: Source,
    /// Until when a refused login is not tried again, and what was said.
    refused: Mutex<Option<(Instant, Fault)>>,
}

impl Clone for Still {
    fn clone(&self) -> Self {
        Self::new(self.source.clone())
    }
}

/// By where it is and how it is asked for, not by how that went.
impl PartialEq for Still {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Still {}

impl FromStr for Still {
    type Err = BadSource;

    /// An `http://` or `https://` URL, perhaps with user and password.
    fn from_str(s: &str) -> Result<Self, BadSource> {
        let wrong = "`snapshot_url` is an http:// or https:// URL";
        Source::read(s, ["http", "https"], wrong).map(Self::new)
    }
}

impl fmt::Display for Still {
    /// The URL, masked as a source's is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Still {
    fn new(source: Source) -> Self {
        Self { source, refused: Mutex::default() }
    }

    /// As [`Source::astray`].
    pub fn astray(&self) -> Option<IpAddr> {
        self.source.astray()
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.source.is_tls()
    }

    /// This still as one of the camera that `main` is: its login and trust hold
    /// here too, under the rules of [`Source::beside`].
    #[must_use]
    pub fn beside(self, main: &Source) -> Self {
        let mut source = self.source.beside(main);
        source.transport = Transport::Auto;
        Self::new(source)
    }

    /// Asks for it. A login that the camera refused is not tried again for
    /// five minutes.
    ///
    /// # Errors
    ///
    /// The camera's fault, which names `snapshot_url`.
    pub async fn fetch(&self) -> Result<Bytes, Fault> {
        let lock = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fault)) = lock().as_ref().filter(|(until, _)| *until > Instant::now()) {
            return Err(fault.clone());
        }
        let late = |_| Err(told(Code::SourceTimeout, "no JPEG within 8 s"));
        let fetched = timeout(LIMIT, self.ask()).await.unwrap_or_else(late);
        let fetched = fetched.map_err(|fault| {
            let detail = masked(&self.source, &fault.detail);
            Fault { detail, ..fault }
        });
        if let Err(fault) = &fetched
            && fault.code == Code::SourceAuth
        {
            *lock() = Some((Instant::now() + AFTER_REFUSAL, fault.clone()));
        }
        fetched
    }

    async fn ask(&self) -> Result<Bytes, Fault> {
        let mut door = Door::new(self.source.login.clone(), self.source.spare_login().cloned());
        let uri = &self.source.url()[Position::BeforePath..Position::AfterQuery];
        for _ in 0..MAX_REQUESTS {
            let login = door.authorize("GET", uri);
            let authorized = login.is_some();
            let (response, _connection) = self.request(uri, login).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                let offers = response.headers().get_all(WWW_AUTHENTICATE).iter();
                let offers: Vec<String> =
                    offers.filter_map(|offer| offer.to_str().ok().map(str::to_owned)).collect();
                door.refused(&offers, authorized)
                    .map_err(|fault| told(fault.code, fault.detail))?;
                continue;
            }
            door.accepted(true);
            return file(response).await;
        }
        Err(told(Code::SourceAuth, "it asks for a login again and again"))
    }

    /// One request over a connection of its own, which ends with its guard.
    async fn request(
        &self,
        uri: &str,
        login: Option<String>,
    ) -> Result<(Response<Incoming>, impl Drop + use<>), Fault> {
        let broken = |error: hyper::Error| told(Code::SourceProtocol, error.to_string());
        let connection = connect(&self.source, Instant::now() + LIMIT).await;
        let connection = connection.map_err(|fault| told(fault.code, fault.detail))?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
        let shaken = builder.handshake(TokioIo::new(connection.stream)).await;
        let (mut sender, driver) = shaken.map_err(broken)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // What ends it is told to whoever waits for the answer.
            let _told_there = driver.await;
        }));
        let host = &self.source.url()[Position::BeforeHost..Position::AfterPort];
        let mut request = Request::get(uri)
            .header(HOST, host)
            .header(USER_AGENT, concat!("porthole/", env!("CARGO_PKG_VERSION")));
        if let Some(login) = login {
            request = request.header(AUTHORIZATION, login);
        }
        let unfit = |_| told(Code::SourceProtocol, "no request can be made of it");
        let request = request.body(String::new()).map_err(unfit)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((response, driver))
    }
}

/// A fault of the still, and not of the camera's stream.
fn told(code: Code, detail: impl AsRef<str>) -> Fault {
    Fault::new(code, format!("`snapshot_url`: {}", detail.as_ref()))
}

/// The JPEG of an answer.
async fn file(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let status = response.status();
    let header = |name: HeaderName| text(response.headers(), &name);
    match status.as_u16() {
        200 => {}
        301..=308 => {
            // Where to may hold a password.
            let to = header(LOCATION);
            let to = to.split(['?', '@']).next().unwrap_or_default();
            let detail = format!("it leads elsewhere ({to}); give that URL");
            return Err(told(Code::SourceProtocol, detail));
        }
        403 => return Err(told(Code::SourceAuth, "403 Forbidden")),
        404 | 410 => return Err(told(Code::SourceNotFound, status.to_string())),
        429 | 503 => return Err(told(Code::SourceBusy, status.to_string())),
        _ => return Err(told(Code::SourceProtocol, format!("it answers {status}"))),
    }
    let kind = header(CONTENT_TYPE).to_ascii_lowercase();
    if !["image/jpeg", "image/jpg"].contains(&kind.split(';').next().unwrap_or_default().trim()) {
        return Err(told(Code::SourceNoMedia, format!("it is no JPEG but `{kind}`")));
    }
    let mut body = pin!(response.into_body());
    let mut file = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::as_mut(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| told(Code::SourceProtocol, error.to_string()))?;
        let data = frame.into_data().unwrap_or_default();
        if file.len() + data.len() > MAX_BYTES {
            return Err(told(Code::SourceLimit, "a JPEG above 8 MiB"));
        }
        file.extend_from_slice(&data);
    }
    if !file.starts_with(&[0xff, 0xd8]) {
        return Err(told(Code::SourceNoMedia, "it is no JPEG, although it says so"));
    }
    Ok(file.freeze())
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().chars().take(200).collect()
}
