//! Compressed answers: whether a client takes them, and how they are made.

use std::io::Write;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Whether `Accept-Encoding` allows gzip (RFC 9110 §12.5.3).
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut codings = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    codings.any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = words
            .filter_map(|word| word.strip_prefix("q="))
            .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        named && !refused
    })
}

/// Whether what asks is the `<video>` of Chromium itself: it names what it takes as nobody
/// else does, `identity;q=1, *;q=0`, and over HTTP without TLS tells nothing else of itself
/// that caches could go by (`Vary`).
pub fn is_chromium_video(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING);
    lists.iter().any(|list| list.as_bytes().ends_with(b"identity;q=1, *;q=0"))
}

/// `plain` as gzip, by an effort of 1 to 9.
pub fn gzip(plain: &[u8], effort: u32) -> Bytes {
    let mut out = GzEncoder::new(Vec::with_capacity(1024), Compression::new(effort));
    out.write_all(plain).expect("a Vec takes every write");
    Bytes::from(out.finish().expect("a Vec takes every write"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn gzip_goes_to_whoever_names_it() {
        for (given, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5, br", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("x-gzip, identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(given));
            assert_eq!(takes_gzip(&headers), takes, "{given}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
