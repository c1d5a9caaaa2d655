//! The OpenAPI document, and the shapes in it that no route makes itself.

use std::collections::BTreeMap;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::{config, streams};

/// The OpenAPI 3.1 document of the admin listener's API, as JSON.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().expect("a document of ours is JSON");
    text.push('\n');
    text
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "config", operation_id = "get_openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), Refusals),
)]
pub(super) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Porthole",
        description = "Streams, sessions and configuration of a running gateway. On the admin \
                       listener, for administrators; every error is a problem document \
                       (RFC 9457) with a code."
    ),
    paths(
        streams::list,
        streams::show,
        config::show,
        show,
    ),
    tags(
        (name = "streams", description = "The cameras, and how each is doing"),
        (name = "config", description = "What is in force"),
    ),
    components(schemas(Problem)),
    modifiers(&Schemes),
    // Where there is no `auth`, whoever sits at the machine needs none.
    security((), ("basic" = []), ("bearer" = [])),
)]
struct Document;

/// How administrators prove it.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let scheme = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("basic", scheme(HttpAuthScheme::Basic));
        components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer));
    }
}

/// Refusals that every route may make.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let all = [
            ("401", "Nobody in particular asks"),
            ("403", "Somebody asks who is no administrator, or a page of another site"),
            ("421", "Asked under a name that does not lead here (DNS rebinding)"),
            ("429", "Too many wrong passwords from that address"),
        ];
        let problem = |why| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
            ResponseBuilder::new()
                .description(why)
                .content("application/problem+json", content.build())
                .build()
        };
        all.map(|(status, why)| (status.to_owned(), problem(why).into())).into()
    }
}

/// What went wrong (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document is made of it; `http` makes the real one")]
pub(super) struct Problem {
    /// `urn:porthole:` and the code, or `about:blank` for what concerns the request alone.
    #[schema(rename = "type")]
    kind: String,
    /// In one sentence.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What users search for, such as `config.invalid`.
    code: Option<String>,
    /// What to do about it.
    hint: Option<String>,
    /// What exactly.
    detail: Option<String>,
}

/// Who has the last word on a stream.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what words there are")]
pub(super) enum Origin {
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// The command line.
    Arguments,
}

/// How a stream is configured: the keys of `porthole.yaml`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document is made of it; `config` knows what the keys mean")]
pub(super) struct StreamSettings {
    /// The camera's `rtsp://` or `rtsps://` URL, its login masked.
    source: String,
    /// The same scene in fewer pixels.
    #[schema(nullable = false)]
    substream: Option<String>,
    /// How RTP travels.
    transport: Transport,
    /// `hold`: no picture until it is whole again; `show`: smeared, but moving.
    after_loss: AfterLoss,
    /// Connect with the first viewer, leave 10 s after the last.
    on_demand: bool,
    /// The camera's own still.
    #[schema(nullable = false)]
    snapshot_url: Option<String>,
    /// Whether pictures are decoded.
    snapshot: OnOff,
    /// Whose certificate is believed, with `rtsps://`.
    #[schema(nullable = false)]
    tls: Option<Trust>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what words there are")]
enum Transport {
    Auto,
    Tcp,
    Udp,
    Http,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what words there are")]
enum AfterLoss {
    Hold,
    Show,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what words there are")]
enum OnOff {
    On,
    Off,
}

/// One of the three.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document is made of it")]
struct Trust {
    /// A certificate's: `sha256:` and 64 hex digits.
    #[schema(nullable = false)]
    fingerprint: Option<String>,
    /// Authorities, masked.
    #[schema(nullable = false)]
    ca_file: Option<String>,
    /// false: anybody may listen in.
    #[schema(nullable = false)]
    verify: Option<bool>,
}
