//! How an object or a playlist is answered: caching, compression, ranges.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::disk::Stored;
use super::playlist::Name;
use super::snapshot::{Content, Snapshot};
use crate::http::{Sent, gzip, is_chromium_video, request_problem, takes_gzip};

/// A playlist as text, compressed when first asked for that way: a thousand
/// players that wait for it cost one compression.
#[derive(Debug)]
pub(super) struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { plain: text.into(), gzip: OnceLock::new() }
    }
}

impl Text {
    fn gzip(&self) -> Bytes {
        // Names and dates that repeat; more effort gains little.
        self.gzip.get_or_init(|| gzip(&self.plain, 4)).clone()
    }

    /// The answer to who wants that.
    pub(super) fn answer(&self, wish: &Wish, max_age: Duration) -> Response<Sent> {
        let text = if wish.gzip { self.gzip() } else { self.plain.clone() };
        let length = text.len();
        let mut response = Response::new(if wish.head { Sent::empty() } else { text.into() });
        let kind = "application/vnd.apple.mpegurl";
        let out = response.headers_mut();
        describe(out, kind, length, max_age);
        out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if wish.gzip {
            out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// What a request may ask beside its URL.
#[derive(Debug)]
pub(super) struct Wish {
    /// For headers alone.
    head: bool,
    gzip: bool,
    /// From Chromium's own player, which is answered as [`playlist::whole`] says.
    ///
    /// [`playlist::whole`]: super::playlist::whole
    pub(super) chromium: bool,
    none_match: Option<HeaderValue>,
    if_range: Option<HeaderValue>,
    range: Option<HeaderValue>,
}

impl Wish {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let named = |name| headers.get(name).cloned();
        Self {
            head: *method == Method::HEAD,
            gzip: takes_gzip(headers),
            chromium: is_chromium_video(headers),
            none_match: named(header::IF_NONE_MATCH),
            if_range: named(header::IF_RANGE),
            range: named(header::RANGE),
        }
    }
}

/// An object that never changes.
pub(super) struct Object {
    /// Unique on its host below its path, so it is the entity tag.
    pub(super) name: Name,
    pub(super) kind: &'static str,
    pub(super) content: Content,
    pub(super) max_age: Duration,
}

impl Object {
    /// The answer, and how many bytes of the object it carries.
    ///
    /// # Errors
    ///
    /// Those of the disk, where the object lies there.
    pub(super) async fn answer(self, wish: &Wish) -> io::Result<(Response<Sent>, u64)> {
        let tag = HeaderValue::try_from(format!("\"{}\"", self.name)).ok();
        let length = match &self.content {
            Content::Pieces(pieces) => pieces.iter().map(Bytes::len).sum(),
            Content::File(_, range) => (range.end - range.start) as usize,
        };
        let known = |given: &Option<HeaderValue>| given.is_some() && *given == tag;
        let (status, range) = if known(&wish.none_match) {
            (StatusCode::NOT_MODIFIED, 0..0)
        } else if wish.head || wish.if_range.is_some() && !known(&wish.if_range) {
            (StatusCode::OK, 0..length)
        } else {
            match wish.range.as_ref().and_then(|asked| part_of(asked, length)) {
                None => (StatusCode::OK, 0..length),
                Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
                Some(None) => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
            }
        };
        let sent = if wish.head { 0 } else { range.len() as u64 };
        let body = match self.content {
            _ if sent == 0 => Sent::empty(),
            Content::Pieces(pieces) => body(cut(pieces, &range)),
            Content::File(stored, place) => {
                let begin = place.start + range.start as u64;
                file_body(stored, begin..begin + range.len() as u64).await?
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        describe(headers, self.kind, range.len(), self.max_age);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.extend(tag.map(|tag| (header::ETAG, tag)));
        let shown = match status {
            StatusCode::PARTIAL_CONTENT => {
                Some(format!("bytes {}-{}/{length}", range.start, range.end - 1))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{length}")),
            _ => None,
        };
        let shown = shown.and_then(|shown| HeaderValue::try_from(shown).ok());
        headers.extend(shown.map(|shown| (header::CONTENT_RANGE, shown)));
        if status == StatusCode::NOT_MODIFIED {
            // It would be that of the object (RFC 9110 §8.6).
            headers.remove(header::CONTENT_LENGTH);
        }
        Ok((response, sent))
    }
}

/// The one range that `asked` names of `length` bytes: `Some(None)` where
/// there is no such byte. `None` for what is no such header or asks for
/// several, which a server may ignore (RFC 9110 §14.2).
fn part_of(asked: &HeaderValue, length: usize) -> Option<Option<Range<usize>>> {
    let (first, last) = asked.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    // Too large for a number is beyond the end.
    let number = |text: &str| text.parse::<usize>().unwrap_or(usize::MAX);
    let range = match (first, last) {
        ("", "") => return None,
        ("", count) => length.saturating_sub(number(count))..length,
        (first, "") => number(first)..length,
        (first, last) if number(last) < number(first) => return None,
        (first, last) => number(first)..number(last).saturating_add(1).min(length),
    };
    Some(Some(range).filter(|range| range.start < range.end))
}

/// Those bytes of the pieces; nothing is copied.
fn cut(pieces: Vec<Bytes>, range: &Range<usize>) -> Vec<Bytes> {
    let mut begins = 0;
    let part = |piece: Bytes| {
        let here = begins..begins + piece.len();
        begins = here.end;
        let start = range.start.clamp(here.start, here.end) - here.start;
        let end = range.end.clamp(here.start, here.end) - here.start;
        (start < end).then(|| piece.slice(start..end))
    };
    pieces.into_iter().filter_map(part).collect()
}

/// Most bytes of a file read at once: what a slow player has in memory.
const READ: u64 = 256 << 10;

/// Those bytes of a file, read as they are taken.
async fn file_body(stored: Arc<Stored>, range: Range<u64>) -> io::Result<Sent> {
    let file = Arc::new(blocking(move || stored.open()).await?);
    let next = move |at: u64| {
        let (file, count) = (Arc::clone(&file), READ.min(range.end.saturating_sub(at)));
        async move {
            if count == 0 {
                return Ok(None);
            }
            let read = blocking(move || {
                let mut piece = vec![0; count as usize];
                file.read_exact_at(&mut piece, at)?;
                Ok(Bytes::from(piece))
            });
            Ok::<_, io::Error>(Some((read.await?, at + count)))
        }
    };
    Ok(Body::from_stream(stream::try_unfold(range.start, next)).into())
}

/// Off the threads that serve everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn body(mut pieces: Vec<Bytes>) -> Sent {
    match (pieces.pop(), pieces.is_empty()) {
        (None, _) => Sent::empty(),
        (Some(only), true) => only.into(),
        (last, _) => {
            let pieces = pieces.into_iter().chain(last);
            Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>))).into()
        }
    }
}

fn describe(headers: &mut HeaderMap, kind: &'static str, length: usize, max_age: Duration) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, max_age_of(max_age));
}

fn max_age_of(age: Duration) -> HeaderValue {
    let value = format!("max-age={}", age.as_secs());
    HeaderValue::try_from(value).expect("a number is a header value")
}

/// 404: it never was, or is no more. Cached for one target duration (§B.1).
pub(super) fn gone(snapshot: Option<&Snapshot>) -> Response<Sent> {
    let max_age = snapshot.map(|snapshot| snapshot.targets.segment);
    mistake(StatusCode::NOT_FOUND, "This piece of the stream is not here, or no more.", max_age)
}

/// A player's mistake, in words, which may be cached for `max_age`. The fault
/// catalogue is about cameras and viewers; this is neither's.
pub(super) fn mistake(
    status: StatusCode,
    why: &'static str,
    max_age: Option<Duration>,
) -> Response<Sent> {
    let mut response = request_problem(status, why).map(Sent::from);
    if let Some(max_age) = max_age {
        response.headers_mut().insert(header::CACHE_CONTROL, max_age_of(max_age));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(length: usize) -> Object {
        let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let pieces = bytes.chunks(7).map(Bytes::copy_from_slice).collect();
        Object {
            name: Name::Segment(7),
            kind: "video/mp4",
            content: Content::Pieces(pieces),
            max_age: Duration::from_secs(18),
        }
    }

    async fn ask(headers: &[(&'static str, &'static str)]) -> (u16, String, Vec<u8>) {
        let named = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        let headers = named.collect();
        let wish = Wish::of(&Method::GET, &headers);
        let (response, sent) = object(20).answer(&wish).await.unwrap();
        let shown = response.headers().get(header::CONTENT_RANGE);
        let shown = shown.map_or("", |shown| shown.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(Body::new(response.into_body()), 100).await.unwrap();
        assert_eq!(sent, body.len() as u64);
        (status, shown, body.to_vec())
    }

    #[tokio::test]
    async fn a_single_range_is_sent_and_what_is_none_is_ignored() {
        let all: Vec<u8> = (0..20).collect();
        for (asked, range, shown) in [
            ("bytes=0-0", 0..1, "bytes 0-0/20"),
            ("bytes=6-14", 6..15, "bytes 6-14/20"),
            ("bytes=5-", 5..20, "bytes 5-19/20"),
            ("bytes=-3", 17..20, "bytes 17-19/20"),
            ("bytes=-99999999999999999999", 0..20, "bytes 0-19/20"),
            ("bytes=7-99999999999999999999", 7..20, "bytes 7-19/20"),
        ] {
            let wanted = (206, shown.to_owned(), all[range].to_vec());
            assert_eq!(ask(&[("range", asked)]).await, wanted, "{asked}");
        }
        for asked in ["bytes=0-1,5-6", "bytes=", "bytes=-", "bytes=9-3", "lines=0-3", "bytes=a-b"] {
            let wanted = (200, String::new(), all.clone());
            assert_eq!(ask(&[("range", asked)]).await, wanted, "{asked}");
        }
        for asked in ["bytes=20-", "bytes=20-30", "bytes=-0"] {
            let wanted = (416, "bytes */20".to_owned(), Vec::new());
            assert_eq!(ask(&[("range", asked)]).await, wanted, "{asked}");
        }
    }

    #[tokio::test]
    async fn an_object_that_is_known_is_not_sent_again() {
        assert_eq!(ask(&[("if-none-match", "\"s7.m4s\"")]).await.0, 304);
        assert_eq!(ask(&[("if-none-match", "\"s8.m4s\"")]).await.0, 200);
        assert_eq!(ask(&[("range", "bytes=0-1"), ("if-range", "\"s7.m4s\"")]).await.0, 206);
        assert_eq!(ask(&[("range", "bytes=0-1"), ("if-range", "\"s8.m4s\"")]).await.0, 200);
    }
}
