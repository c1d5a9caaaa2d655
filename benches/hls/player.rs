//! A player that throws away what it gets: as cheap as can be, since it runs
//! beside what it measures.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::Failure;

/// Requests answered, and bytes in their bodies.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<(AtomicU64, AtomicU64)>);

impl Counts {
    pub(crate) fn now(&self) -> (u64, u64) {
        (self.0.0.load(Ordering::Relaxed), self.0.1.load(Ordering::Relaxed))
    }

    fn add(&self, bytes: usize) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A playlist, and the part that was new in it.
type Step = (Vec<u8>, Vec<u8>);

/// What one player got, in order.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Step>>>);

impl Heard {
    fn push(&self, playlist: Vec<u8>, part: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((playlist, part));
    }

    /// So far.
    pub(crate) fn take(&self) -> Recording {
        Recording(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What was heard.
pub(crate) struct Recording(Vec<Step>);

impl Recording {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Step> {
        self.0.iter()
    }

    /// Time between two parts, as the last playlist has it.
    pub(crate) fn interval(&self) -> Duration {
        let last = self.0.last().map(|(playlist, _)| String::from_utf8_lossy(playlist));
        let text = last.unwrap_or_default();
        let lengths = text.split("EXT-X-PART:DURATION=").skip(1);
        let lengths: Vec<f64> =
            lengths.filter_map(|rest| rest.split(',').next()?.parse().ok()).collect();
        Duration::from_secs_f64(lengths.iter().sum::<f64>() / lengths.len().max(1) as f64)
    }
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    socket: TcpStream,
    host: String,
    /// What has come of the answer: head and body.
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, host: address.to_owned(), buffer: vec![0; 16 << 10] })
    }

    /// The body of what is at `path`.
    pub(crate) async fn get(&mut self, path: &str) -> Result<&[u8], Failure> {
        let mut body = self.ask(path).await?;
        if body.is_none() {
            // A machine with too much to do: the camera was late, or is not seen
            // to be there yet.
            body = self.ask(path).await?;
        }
        let body = body.ok_or_else(|| format!("{path}: 503, twice"))?;
        Ok(&self.buffer[body])
    }

    /// Where the body of what is at `path` stands in the buffer; `None` after 503.
    async fn ask(&mut self, path: &str) -> Result<Option<Range<usize>>, Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.socket.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        let (status, body, end) = loop {
            filled += self.read(filled).await?;
            let head = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(head) = head {
                let (status, length) = status_and_length(path, &self.buffer[..head])?;
                break (status, head + 4, head + 4 + length);
            }
        };
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        while filled < end {
            filled += self.read(filled).await?;
        }
        Ok((status == 200).then_some(body..end))
    }

    async fn read(&mut self, at: usize) -> Result<usize, Failure> {
        match self.socket.read(&mut self.buffer[at..]).await? {
            0 => Err("the server hung up".into()),
            read => Ok(read),
        }
    }
}

/// Status and `Content-Length` of an answer, which is good or 503.
fn status_and_length(path: &str, head: &[u8]) -> Result<(u16, usize), Failure> {
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let status = head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.filter(|status| [200, 503].contains(status));
    let status = status.ok_or_else(|| format!("{path}: {head}"))?;
    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next());
    Ok((status, length.ok_or("no Content-Length")?.trim().parse()?))
}

/// Follows the gateway's playlist by blocking reloads.
pub(crate) async fn follow(
    mut connection: Connection,
    counts: Counts,
    heard: Option<Heard>,
) -> Result<(), Failure> {
    let mut hint = None;
    loop {
        let path = match &hint {
            None => "/camera-1/hls/media.m3u8".to_owned(),
            Some((segment, part)) => {
                format!("/camera-1/hls/media.m3u8?_HLS_msn={segment}&_HLS_part={part}")
            }
        };
        let body = connection.get(&path).await?;
        counts.add(body.len());
        let text = std::str::from_utf8(body)?;
        let part = text.rsplit("EXT-X-PART:").next().and_then(uri).ok_or("no part")?;
        let next = text.rsplit("TYPE=PART").next().and_then(uri).ok_or("no hint")?;
        let (segment, number) = next.trim_start_matches('s').split_once('.').ok_or("no number")?;
        let number = number.trim_end_matches(".m4s");
        let path = format!("/camera-1/hls/{part}");
        let known = hint.replace((segment.to_owned(), number.to_owned())).is_some();
        let playlist = heard.as_ref().filter(|_| known).map(|_| body.to_vec());
        let body = connection.get(&path).await?;
        counts.add(body.len());
        if let (Some(heard), Some(playlist)) = (&heard, playlist) {
            heard.push(playlist, body.to_vec());
        }
    }
}

/// The first `URI` behind a tag's name.
fn uri(tag: &str) -> Option<&str> {
    tag.split("URI=\"").nth(1)?.split('"').next()
}

/// With each tick, fetches the next of so many playlists and its part.
pub(crate) async fn repeat(
    mut connection: Connection,
    counts: Counts,
    mut ticks: watch::Receiver<usize>,
    files: usize,
) -> Result<(), Failure> {
    loop {
        ticks.changed().await?;
        let number = *ticks.borrow_and_update() % files;
        for path in [format!("/{number}.m3u8"), format!("/{number}.m4s")] {
            let bytes = connection.get(&path).await?.len();
            counts.add(bytes);
        }
    }
}
