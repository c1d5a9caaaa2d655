//! Names we are reached under, and pages of other origins.

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::Policy;

/// The host a client asked for.
pub(super) struct Own {
    /// `None` for a client that names none, which no browser is.
    authority: Option<Authority>,
    /// What a proxy says was asked of it; no page can have its browser send it.
    forwarded: Option<Authority>,
}

impl Own {
    pub(super) fn of(parts: &Parts) -> Self {
        let headers = &parts.headers;
        let read = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        // HTTP/2 has it in the URI.
        let authority = parts.uri.authority().cloned();
        let host = || read(header::HOST).and_then(|host| host.parse().ok());
        let forwarded = read(header::HeaderName::from_static("x-forwarded-host"));
        let forwarded = forwarded.and_then(|host| host.parse().ok());
        Self { authority: authority.or_else(host), forwarded }
    }

    /// Whether the name is an address (nobody's DNS can make a page of another
    /// site have that), this machine's, or one of `hosts`.
    pub(super) fn is_ours(&self, hosts: &[String]) -> bool {
        let Some(authority) = &self.authority else { return true };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok()
            || hosts.iter().any(|name| name.eq_ignore_ascii_case(&host))
    }

    /// Whether a page of another origin asks, that `cors` does not name.
    ///
    /// The way of Go's `CrossOriginProtection`: `Sec-Fetch-Site` where the
    /// browser sends it, which no proxy changes; else `Origin` against the
    /// host. Who sends neither is no browser.
    pub(super) fn is_foreign(&self, headers: &HeaderMap, policy: &Policy) -> bool {
        let origin = headers.get(header::ORIGIN);
        if origin.is_some_and(|origin| policy.cors.iter().any(|one| one.is(origin))) {
            return false;
        }
        match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => false,
            Some(_) => true,
            None => origin.is_some_and(|origin| !self.is_origin(origin, &policy.hosts)),
        }
    }

    /// Whether a token for pages of `only` may be used by the page that asks:
    /// one of that origin, or one of ours, which `frame-ancestors` keeps in
    /// frames of that origin.
    pub(super) fn may_use(&self, headers: &HeaderMap, only: &str) -> bool {
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if matches!(site, Some(b"same-origin" | b"none")) {
            return true;
        }
        let is_frame = headers.get("sec-fetch-dest").is_some_and(|to| to == "iframe");
        let named = headers.get(header::ORIGIN).or_else(|| headers.get(header::REFERER));
        let Some(named) = named.and_then(|value| value.to_str().ok()) else {
            return is_frame || site != Some(b"cross-site");
        };
        let Ok(url) = url::Url::parse(named) else { return false };
        let origin = url.origin().ascii_serialization();
        let own = HeaderValue::from_str(&origin).is_ok_and(|own| self.is_origin(&own, &[]));
        own || origin.eq_ignore_ascii_case(only)
    }

    fn is_origin(&self, origin: &HeaderValue, hosts: &[String]) -> bool {
        let Some((scheme, host)) = origin.to_str().ok().and_then(|text| text.split_once("://"))
        else {
            return false;
        };
        // A browser leaves the scheme's port out, a proxy may write it.
        let port = if scheme == "https" { ":443" } else { ":80" };
        let plain = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
        let known = [&self.authority, &self.forwarded].into_iter().flatten();
        known.map(Authority::as_str).any(|own| plain(own) == plain(host))
            || hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Lets pages of the one origin that a token is for show a page of ours in a
/// frame, and no others but our own.
pub(super) fn frame(response: &mut Response, only: &str) {
    const DIRECTIVE: &str = "frame-ancestors ";
    let headers = response.headers_mut();
    let old = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|value| value.to_str().ok());
    let Some((before, after)) = old.and_then(|old| old.split_once(DIRECTIVE)) else { return };
    let rest = after.find(';').and_then(|end| after.get(end..)).unwrap_or_default();
    let new = format!("{before}{DIRECTIVE}'self' {only}{rest}");
    if let Ok(new) = HeaderValue::from_str(&new) {
        headers.insert(header::CONTENT_SECURITY_POLICY, new);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn own(host: &str) -> Own {
        let request = Request::builder().uri("/").header("host", host).body(()).unwrap();
        Own::of(&request.into_parts().0)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_name_that_somebody_pointed_at_this_machine_is_not_ours() {
        let hosts = ["cams.example.org".to_owned()];
        for ours in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8080",
            "192.168.1.5",
            "x.localhost",
            "localhost.",
            "Cams.Example.org:8443",
        ] {
            assert!(own(ours).is_ours(&hosts), "{ours}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "cams.example.org.evil"]
        {
            assert!(!own(foreign).is_ours(&hosts), "{foreign}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_told_from_our_own_and_from_programs() {
        let policy = Policy {
            cors: vec!["https://friend.example".parse().unwrap()],
            hosts: vec!["cams.example.org".into()],
            ..Policy::default()
        };
        for (foreign, pairs) in [
            (false, &[][..]),
            (false, &[("origin", "http://cam.lan:8080")]),
            (false, &[("origin", "https://friend.example"), ("sec-fetch-site", "cross-site")]),
            (false, &[("origin", "https://proxied.example"), ("sec-fetch-site", "same-origin")]),
            (false, &[("origin", "https://cams.example.org")]),
            (true, &[("origin", "http://evil.example")]),
            (true, &[("origin", "http://cam.lan:9090")]),
            (true, &[("origin", "null")]),
            (true, &[("sec-fetch-site", "cross-site")]),
            (true, &[("origin", "http://cam.lan:8080"), ("sec-fetch-site", "same-site")]),
        ] {
            let headers = headers(pairs);
            assert_eq!(own("cam.lan:8080").is_foreign(&headers, &policy), foreign, "{pairs:?}");
        }
    }

    #[test]
    fn a_token_for_one_origin_is_of_no_use_to_another() {
        let only = "https://a.example";
        for (may, pairs) in [
            (true, &[("origin", "https://a.example")][..]),
            (true, &[("referer", "https://a.example/page?x"), ("sec-fetch-site", "cross-site")]),
            (true, &[("origin", "http://cam.lan")]),
            (true, &[("sec-fetch-site", "same-origin")]),
            (true, &[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "iframe")]),
            (true, &[]),
            (false, &[("origin", "https://b.example")]),
            (false, &[("origin", "https://a.example.evil")]),
            (false, &[("referer", "https://b.example/?https://a.example")]),
            (false, &[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")]),
            (false, &[("origin", "null")]),
        ] {
            assert_eq!(own("cam.lan").may_use(&headers(pairs), only), may, "{pairs:?}");
        }
    }
}
