//! What people look at: the files of `static/`, embedded in the binary.
//!
//! Here: which path serves which file, and the headers that keep a page from
//! running anything but our own scripts. Not here: data (`api`), media
//! (`egress`). No page is a template: names and faults reach it as JSON and
//! are shown as text.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::bus::Registry;
use crate::fault::Code;
use crate::http::Problem;

#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "demo/*"]
struct Files;

/// Only our own files, nothing inline: a camera that puts markup in its
/// answers shows it as text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The pages' routes.
pub fn routes(registry: Arc<Registry>) -> Router {
    let mut router = Router::new()
        .route("/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route("/{stream}/", get(stream))
        .route("/{stream}", get(without_slash));
    for name in Files::iter().filter(|name| !name.ends_with(".html")) {
        let path = format!("/{name}");
        router =
            router.route(&path, get(|headers: HeaderMap| async move { file(&name, &headers) }));
    }
    router.with_state(registry)
}

async fn stream(
    State(registry): State<Arc<Registry>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let mut page = file("stream.html", &headers);
    if registry.get(&name).is_none() {
        // The page says so itself; the status is for programs.
        *page.status_mut() = StatusCode::NOT_FOUND;
    }
    page
}

/// `/{stream}` lacks the slash that makes the page's relative links right.
async fn without_slash(
    State(registry): State<Arc<Registry>>,
    Path(name): Path<String>,
) -> Response {
    match registry.get(&name) {
        // Relative, so that it works behind a proxy's path prefix.
        Some(stream) => Redirect::temporary(&format!("{}/", stream.name())).into_response(),
        None => Problem::from(Code::StreamUnknown).into_response(),
    }
}

fn file(name: &str, request: &HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata }) = Files::get(name) else {
        return Problem::from(Code::StreamUnknown).into_response();
    };
    let digest = metadata.sha256_hash();
    let tag: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{tag}\"");
    let known = request.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        data.into_owned().into_response()
    };
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, media_type(name));
    set(header::ETAG, &etag);
    // A new binary brings new files under the old names.
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
