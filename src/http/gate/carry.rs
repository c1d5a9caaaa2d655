//! A token in a URL goes into the URLs that we answer with: a player follows
//! them without knowing of it, and no cookie is needed.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use url::form_urlencoded;

use crate::http::gzip;
use crate::secret::Secret;

/// Longest playlist; ours have some tens of kilobytes.
const PLAYLIST: usize = 4 << 20;

/// How much effort compression takes: names and a token that repeat, and each viewer has a
/// text of his own.
const EFFORT: u32 = 1;

/// `response`, with `token` in its `Location` and in a playlist's URIs; the playlist is
/// compressed then, if the client `packs`.
pub(super) async fn token(mut response: Response, token: &Secret, packs: bool) -> Response {
    let query: String = form_urlencoded::byte_serialize(token.expose().as_bytes()).collect();
    let query = format!("token={query}");
    let headers = response.headers_mut();
    if let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok())
        && let Ok(location) = HeaderValue::from_str(&with_query(location, &query))
    {
        headers.insert(header::LOCATION, location);
    }
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind != Some(b"application/vnd.apple.mpegurl") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let whole = to_bytes(body, PLAYLIST).await;
    let Some(text) = whole.ok().and_then(|bytes| String::from_utf8(bytes.into()).ok()) else {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut bytes = Bytes::from(playlist(&text, &query));
    if packs {
        bytes = gzip(&bytes, EFFORT);
        head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Response::from_parts(head, Body::from(bytes))
}

fn with_query(uri: &str, query: &str) -> String {
    // A redirect may have kept it.
    if uri.contains(query) {
        return uri.to_owned();
    }
    format!("{uri}{}{query}", if uri.contains('?') { '&' } else { '?' })
}

/// RFC 8216 §4.1: a URI is a line of its own, or a tag's `URI` attribute.
fn playlist(text: &str, query: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        if line.is_empty() || !line.starts_with('#') {
            if !line.is_empty() {
                out.push_str(&with_query(line, query));
            }
        } else if let Some((before, rest)) = line.split_once("URI=\"")
            && let Some((uri, after)) = rest.split_once('"')
        {
            out.push_str(before);
            out.push_str("URI=\"");
            out.push_str(&with_query(uri, query));
            out.push('"');
            out.push_str(after);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uri_of_a_playlist_carries_the_token_and_nothing_else_does() {
        let text = "#EXTM3U\n#EXT-X-MAP:URI=\"init-1.mp4\"\n#EXT-X-PART:DURATION=0.5,URI=\"p-1-0.m4s\",INDEPENDENT=YES\n\
                    #EXTINF:2.0,\nseg-1.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p-2-0.m4s?a=b\"\nhls/index.m3u8?quality=sub\n";
        let carried = playlist(text, "token=x%2F");
        for uri in [
            "URI=\"init-1.mp4?token=x%2F\"\n",
            "URI=\"p-1-0.m4s?token=x%2F\",INDEPENDENT=YES",
            "\nseg-1.m4s?token=x%2F\n",
            "URI=\"p-2-0.m4s?a=b&token=x%2F\"",
            "hls/index.m3u8?quality=sub&token=x%2F",
        ] {
            assert!(carried.contains(uri), "{uri}: {carried}");
        }
        assert_eq!(carried.matches("token=").count(), 5);
        assert!(carried.starts_with("#EXTM3U\n") && carried.contains("#EXTINF:2.0,\n"));
    }
}
