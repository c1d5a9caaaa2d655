//! What people look at: the files of `static/`, embedded in the binary.
//!
//! Here: which path serves which file, compressed once, and the headers that
//! keep a page from running anything but our own scripts. Not here: data
//! (`api`), media (`egress`). No page is a template: names and faults reach it
//! as JSON and are shown as text.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use crate::bus::Registry;
use crate::fault::Code;
use crate::http::{Origin, Problem, gzip, takes_gzip};

#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "demo/*"]
struct Files;

/// What an operator may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Sites whose pages may show `/{stream}/embed` in a frame, beside our own.
    pub frame_ancestors: Vec<Origin>,
}

/// Only our own files, nothing inline: a camera that puts markup in its
/// answers shows it as text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// What the routes need.
#[derive(Clone)]
struct Deps {
    registry: Arc<Registry>,
    /// Of the page that is made for frames.
    embed_policy: HeaderValue,
}

/// The pages' routes.
pub fn routes(registry: Arc<Registry>, config: &Config) -> Router {
    let sites = config.frame_ancestors.iter().map(Origin::as_str);
    let embed_policy = [POLICY].into_iter().chain(sites).collect::<Vec<_>>().join(" ");
    let embed_policy = embed_policy.parse().expect("origins are visible ASCII");
    let mut router = Router::new()
        .route("/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route("/{stream}/", get(stream))
        .route("/{stream}/embed", get(embed))
        .route("/{stream}", get(without_slash));
    for name in Files::iter().filter(|name| !name.ends_with(".html")) {
        let path = format!("/{name}");
        router =
            router.route(&path, get(|headers: HeaderMap| async move { file(&name, &headers) }));
    }
    router.with_state(Deps { registry, embed_policy })
}

async fn stream(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    of_stream("stream.html", &deps, &name, &headers)
}

async fn embed(State(deps): State<Deps>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let mut page = of_stream("embed.html", &deps, &name, &headers);
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, deps.embed_policy);
    page
}

fn of_stream(page: &str, deps: &Deps, name: &str, headers: &HeaderMap) -> Response {
    let mut page = file(page, headers);
    if deps.registry.get(name).is_none() {
        // The page says so itself; the status is for programs.
        *page.status_mut() = StatusCode::NOT_FOUND;
    }
    page
}

/// `/{stream}` lacks the slash that makes the page's relative links right.
async fn without_slash(State(deps): State<Deps>, Path(name): Path<String>) -> Response {
    match deps.registry.get(&name) {
        // Relative, so that it works behind a proxy's path prefix.
        Some(stream) => Redirect::temporary(&format!("{}/", stream.name())).into_response(),
        None => Problem::from(Code::StreamUnknown).into_response(),
    }
}

/// A file in the forms it is sent in.
struct Asset {
    plain: Bytes,
    gzip: Bytes,
    /// Weak: both forms have the same.
    etag: String,
}

impl Asset {
    fn read(name: &str) -> Option<Self> {
        let file = Files::get(name)?;
        let digest = file.metadata.sha256_hash();
        let tag: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            gzip: gzip(&file.data, 9),
            plain: file.data.into_owned().into(),
            etag: format!("W/\"{tag}\""),
        })
    }
}

/// A file; compressed when it is first asked for, and then kept. While this
/// program is worked on the files are read each time, as they are then.
fn asset(name: &str) -> Option<Arc<Asset>> {
    static ASSETS: LazyLock<BTreeMap<String, Arc<Asset>>> = LazyLock::new(|| {
        let read = |name: &str| Some((name.to_owned(), Arc::new(Asset::read(name)?)));
        Files::iter().filter_map(|name| read(&name)).collect()
    });
    if cfg!(debug_assertions) {
        return Asset::read(name).map(Arc::new);
    }
    ASSETS.get(name).cloned()
}

fn file(name: &str, request: &HeaderMap) -> Response {
    let Some(asset) = asset(name) else {
        return Problem::from(Code::StreamUnknown).into_response();
    };
    let known = request.get(header::IF_NONE_MATCH);
    let gzip = takes_gzip(request);
    let mut response = if known.is_some_and(|known| known.as_bytes() == asset.etag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if gzip {
        asset.gzip.clone().into_response()
    } else {
        asset.plain.clone().into_response()
    };
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if gzip {
        set(header::CONTENT_ENCODING, "gzip");
    }
    set(header::VARY, "Accept-Encoding");
    set(header::CONTENT_TYPE, media_type(name));
    set(header::ETAG, &asset.etag);
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::SystemTime;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::bus::{BusMetrics, Limits, SourceState, SourceStatus, Stream};

    /// Of all pages' files together, compressed.
    const MOST_BYTES: usize = 60_000;

    async fn get(
        config: &Config,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, Bytes) {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera/");
        let (limits, metrics) = (Limits::default(), BusMetrics::unregistered());
        let registry = Arc::new(Registry::new());
        registry.insert(Stream::new("yard".parse().unwrap(), limits, status, metrics).0);
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = routes(registry, config).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, to_bytes(body, 1 << 20).await.unwrap())
    }

    #[tokio::test]
    async fn all_files_together_are_small_and_unpack_to_themselves() {
        let mut sum = 0;
        for name in Files::iter().filter(|name| !name.ends_with(".html")) {
            let path = format!("/{name}");
            let config = Config::default();
            let accept = [("accept-encoding", "br;q=1, GZIP ; q=0.5")];
            let (_, headers, packed) = get(&config, &path, &accept).await;
            assert_eq!(headers["content-encoding"], "gzip", "{name}");
            let (_, headers, plain) = get(&config, &path, &[("accept-encoding", "gzip;q=0")]).await;
            assert!(!headers.contains_key("content-encoding"), "{name}");
            assert_eq!(headers["vary"], "Accept-Encoding");
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert_eq!(plain, unpacked, "{name}");
            let known = headers["etag"].to_str().unwrap();
            let (status, _, body) = get(&config, &path, &[("if-none-match", known)]).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{name}");
            sum += packed.len();
        }
        for page in ["index.html", "stream.html", "embed.html"] {
            sum += Asset::read(page).unwrap().gzip.len();
        }
        assert!((10_000..MOST_BYTES).contains(&sum), "{sum} bytes");
    }

    #[tokio::test]
    async fn only_listed_sites_may_frame_the_embed_page_and_no_other() {
        let listed = Config { frame_ancestors: vec!["https://example.org".parse().unwrap()] };
        for (config, path, ancestors) in [
            (Config::default(), "/yard/embed", "frame-ancestors 'self'"),
            (listed.clone(), "/yard/embed", "frame-ancestors 'self' https://example.org"),
            (listed.clone(), "/yard/", "frame-ancestors 'self'"),
            (listed, "/", "frame-ancestors 'self'"),
        ] {
            let (status, headers, _) = get(&config, path, &[]).await;
            assert_eq!(status, StatusCode::OK);
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(policy.ends_with(ancestors), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
        }
        let (status, ..) = get(&Config::default(), "/nowhere/embed", &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}
