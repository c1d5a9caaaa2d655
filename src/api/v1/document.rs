//! The OpenAPI document, and the shapes in it that no route makes itself.

use std::collections::BTreeMap;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, PartialSchema, ToSchema};

use super::{config, sessions, streams};

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
        streams::add,
        streams::replace,
        streams::merge,
        streams::remove,
        sessions::list,
        sessions::end,
        config::show,
        show,
    ),
    tags(
        (name = "streams", description = "The cameras, and how each is doing"),
        (name = "sessions", description = "Who watches"),
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
        problems(&[
            ("401", "Nobody in particular asks"),
            ("403", "Somebody asks who is no administrator, or a page of another site"),
            ("421", "Asked under a name that does not lead here (DNS rebinding)"),
            ("429", "Too many wrong passwords from that address"),
        ])
    }
}

/// Why a change is not made.
pub(super) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        problems(&[
            ("400", "The body is no JSON object"),
            ("408", "The body did not come in time"),
            (
                "409",
                "It cannot be written: the detail says why (a read-only file, no file, a variable that has the last word), or there is a stream of that name already",
            ),
            ("412", "It is not what the caller has seen (If-Match, If-None-Match)"),
            ("413", "A body above 64 KiB"),
            ("415", "Another Content-Type"),
            ("422", "It is not valid: `faults` has all that is wrong"),
            ("500", "The file cannot be written, as on a full disk"),
        ])
    }
}

fn problems(all: &[(&str, &str)]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let problem = |why: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        ResponseBuilder::new()
            .description(why)
            .content("application/problem+json", content.build())
            .build()
    };
    all.iter().map(|(status, why)| ((*status).to_owned(), problem(why).into())).collect()
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
    /// Everything that is not valid.
    #[schema(nullable = false)]
    faults: Option<Vec<ProblemFault>>,
}

/// One thing that is not valid.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document is made of it; `http` makes the real one")]
pub(super) struct ProblemFault {
    /// Of the stream, such as `tls.verify`; empty for what is wrong elsewhere in the file.
    key: String,
    /// What is wrong with it.
    detail: String,
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
    /// There, and true, if a URL of it came by this API: then it is bound to
    /// `admin.source_networks`.
    #[schema(nullable = false)]
    from_api: Option<bool>,
}

/// A stream that is to be: a name, and the keys of one.
pub(super) struct NewStream;

impl ToSchema for NewStream {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        StreamKeys::schemas(schemas);
    }
}

impl PartialSchema for NewStream {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut keys)) = StreamKeys::schema() else {
            unreachable!("a struct's schema is an object");
        };
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What viewers call it."))
            .pattern(Some("^[a-z0-9-]{1,63}$"));
        keys.properties.insert("name".into(), name.into());
        keys.required.insert(0, "name".into());
        keys.description = Some("A stream that is to be.".into());
        Schema::Object(keys).into()
    }
}

/// What a stream is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document is made of it; `config` reads the real one")]
pub(super) struct StreamKeys {
    #[schema(pattern = "^rtsps?://[^/]", example = "rtsp://viewer:secret@10.0.0.5/stream1")]
    source: String,
    #[schema(pattern = "^rtsps?://[^/]", nullable = false)]
    substream: Option<String>,
    #[schema(nullable = false)]
    username: Option<String>,
    #[schema(nullable = false, write_only)]
    password: Option<String>,
    #[schema(nullable = false)]
    transport: Option<Transport>,
    #[schema(nullable = false)]
    after_loss: Option<AfterLoss>,
    #[schema(nullable = false)]
    on_demand: Option<bool>,
    #[schema(pattern = "^https?://[^/]", nullable = false)]
    snapshot_url: Option<String>,
    #[schema(nullable = false)]
    snapshot: Option<OnOff>,
    #[schema(nullable = false)]
    tls: Option<TrustKeys>,
}

/// What is to change of a stream; null takes a key away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document is made of it; `config` reads the real one")]
pub(super) struct StreamChange {
    #[schema(pattern = "^rtsps?://[^/]")]
    source: Option<String>,
    #[schema(pattern = "^rtsps?://[^/]")]
    substream: Option<String>,
    username: Option<String>,
    #[schema(write_only)]
    password: Option<String>,
    transport: Option<Transport>,
    after_loss: Option<AfterLoss>,
    on_demand: Option<bool>,
    #[schema(pattern = "^https?://[^/]")]
    snapshot_url: Option<String>,
    snapshot: Option<OnOff>,
    tls: Option<TrustChange>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Auto,
    Tcp,
    Udp,
    Http,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AfterLoss {
    Hold,
    Show,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
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

/// One of the two; `ca_file` names a file of the gateway's machine, and is
/// written by hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document is made of it")]
struct TrustKeys {
    #[schema(pattern = "^sha256:([0-9a-fA-F]{2}:?){32}$", nullable = false)]
    fingerprint: Option<String>,
    #[schema(nullable = false)]
    verify: Option<bool>,
}

/// As `TrustKeys`; null takes a key away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document is made of it")]
struct TrustChange {
    #[schema(pattern = "^sha256:([0-9a-fA-F]{2}:?){32}$")]
    fingerprint: Option<String>,
    verify: Option<bool>,
}
