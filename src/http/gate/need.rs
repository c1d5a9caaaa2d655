//! What a route is for, by its pattern: the one table of routes and rights.

use axum::http::Method;

/// What whoever asks for a route must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Nothing: the same for everybody, and tells nothing of a camera.
    Nothing,
    /// To be somebody: the route shows what they may see.
    List,
    /// To view the stream that this path parameter names.
    View(&'a str),
    /// To view the stream that `?src=` names, as in go2rtc's URLs.
    ViewSrc,
    /// To read metrics.
    Scrape,
    /// To administrate.
    Admin,
}

impl<'a> Need<'a> {
    /// By a route's pattern; `None` is a path that no route has, which is
    /// told to those who are somebody.
    pub(super) fn of(pattern: Option<&'a str>) -> Self {
        match pattern {
            None | Some("/" | "/api/streams") => Self::List,
            Some("/livez" | "/readyz" | "/startupz") => Self::Nothing,
            Some("/metrics") => Self::Scrape,
            Some(
                "/api/webrtc" | "/api/frame.jpeg" | "/api/stream.m3u8" | "/api/stream.mjpeg"
                | "/api/stream.mp4" | "/api/ws" | "/stream.html",
            ) => Self::ViewSrc,
            Some(pattern) if pattern.starts_with("/{stream}") => Self::View("stream"),
            // Our own files, which are in every copy of the program.
            Some(pattern) if is_asset(pattern) => Self::Nothing,
            Some(_) => Self::Admin,
        }
    }
}

fn is_asset(pattern: &str) -> bool {
    let name = pattern.strip_prefix('/').unwrap_or_default();
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    !name.contains(['/', '{']) && ["js", "css", "svg", "png", "ico", "webmanifest"].contains(&kind)
}

/// Whether a request there begins to watch.
pub(super) fn begins_session(pattern: Option<&str>, method: &Method) -> bool {
    match pattern {
        Some("/{stream}/whep" | "/api/webrtc") => *method == Method::POST,
        Some(
            "/{stream}/index.m3u8"
            | "/{stream}/mse"
            | "/{stream}/stream.mjpeg"
            | "/api/stream.m3u8"
            | "/api/stream.mjpeg"
            | "/api/stream.mp4"
            | "/api/ws",
        ) => *method == Method::GET,
        _ => false,
    }
}

/// The output that a path leads to, in MediaMTX's words where it has one.
pub(super) fn protocol(path: &str) -> &'static str {
    let is = |word: &str| path.split('/').any(|part| part == word);
    if is("whep") || path == "/api/webrtc" {
        "webrtc"
    } else if is("hls") || path.ends_with(".m3u8") {
        "hls"
    } else if is("mse") || path == "/api/ws" {
        "mse"
    } else if path.ends_with("jpg") || path.ends_with("jpeg") {
        "mjpeg"
    } else {
        "http"
    }
}
