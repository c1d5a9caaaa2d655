//! Faults as `application/problem+json` (RFC 9457), with the one mapping from
//! fault code to status; and problems of a request alone.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::bus::{SourceState, SourceStatus, Stream};
use crate::fault::{Code, Fault};

/// A fault on its way to a client.
#[derive(Clone, Debug)]
pub struct Problem {
    fault: Fault,
    /// Where HTTP has a more precise one than [`Problem::status`].
    status: Option<StatusCode>,
    /// Boxed: a problem is the `Err` of every handler.
    source: Option<Box<SourceStatus>>,
    /// Keys, and what is wrong with each.
    faults: Vec<(String, String)>,
}

impl Problem {
    /// The status of responses with this code.
    pub fn status(code: Code) -> StatusCode {
        match code {
            Code::ViewerBadOffer => StatusCode::BAD_REQUEST,
            Code::ViewerAuth => StatusCode::UNAUTHORIZED,
            Code::ViewerForbidden => StatusCode::FORBIDDEN,
            Code::StreamUnknown | Code::SessionUnknown => StatusCode::NOT_FOUND,
            Code::StreamExists | Code::ConfigReadOnly | Code::ConfigChanged => StatusCode::CONFLICT,
            // Not 406, which to a WHEP player is a counter-offer (WHEP, Server
            // Sends Counter-Offer).
            Code::VideoUnplayable
            | Code::AudioDropped
            | Code::Bframes
            | Code::TrackIgnored
            | Code::ConfigInvalid => StatusCode::UNPROCESSABLE_ENTITY,
            Code::ViewerIceFailed | Code::ViewerSlow => StatusCode::GONE,
            Code::ViewerLimit | Code::StreamStarting => StatusCode::SERVICE_UNAVAILABLE,
            Code::SourceDns
            | Code::SourceRefused
            | Code::SourceTimeout
            | Code::SourceAuth
            | Code::SourceNotFound
            | Code::SourceBusy
            | Code::SourceTls
            | Code::SourceProtocol
            | Code::SourceNoMedia
            | Code::SourceNoKeyframe
            | Code::SourceLossy
            | Code::SourceLimit
            | Code::SourceForbidden => StatusCode::BAD_GATEWAY,
        }
    }

    /// What kind of fault it is.
    pub fn code(&self) -> Code {
        self.fault.code
    }

    /// The same fault, for which HTTP has this status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The same fault, which is these.
    #[must_use]
    pub fn with_faults(self, faults: Vec<(String, String)>) -> Self {
        Self { faults, ..self }
    }

    fn own_status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| Self::status(self.fault.code))
    }

    /// Why `stream` has nothing to show right now: its source's fault if it
    /// has one, else that it is starting.
    pub fn not_ready(stream: &Stream) -> Self {
        let source = stream.status();
        let fault = match (&source.fault, source.state) {
            (Some(fault), SourceState::Down | SourceState::Connecting) => fault.clone(),
            _ => Code::StreamStarting.into(),
        };
        Self { fault, status: None, source: Some(source.into()), faults: Vec::new() }
    }

    /// The document's members, for outputs that send them elsewhere than in a
    /// response's body.
    pub fn to_json(&self) -> serde_json::Value {
        let code = self.fault.code;
        let mut body = json!({
            "type": format!("urn:porthole:{code}"),
            "title": code.sentence(),
            "status": self.own_status().as_u16(),
            "code": code.as_str(),
            "hint": code.hint(),
        });
        if !self.fault.detail.is_empty() {
            body["detail"] = self.fault.detail.as_str().into();
        }
        if let Some(source) = &self.source {
            body["since"] = super::rfc3339(source.since).into();
            body["attempts"] = source.attempts.into();
            body["next_retry"] = source.next_retry.map(super::rfc3339).into();
            body["source"] = source.source.as_str().into();
        }
        let fault = |(key, detail): &(String, String)| json!({ "key": key, "detail": detail });
        if !self.faults.is_empty() {
            body["faults"] = self.faults.iter().map(fault).collect();
        }
        body
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self { fault, status: None, source: None, faults: Vec::new() }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Fault::from(code).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = document(self.own_status(), &self.to_json());
        let pause = match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => "2",
            StatusCode::TOO_MANY_REQUESTS => "60",
            _ => return response,
        };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(pause));
        response
    }
}

/// A problem of the request alone, so not in the catalogue of faults (RFC 9457
/// §4.2.1).
pub fn request_problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason();
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    document(status, &body)
}

/// A method that a URL does not have; the router adds those there are (`Allow`).
pub async fn other_method() -> Response {
    request_problem(StatusCode::METHOD_NOT_ALLOWED, "`Allow` names the methods there are here")
}

/// A method that a URL does not have; it has those in `allow`.
pub fn no_such_method(allow: &'static str) -> Response {
    let detail = format!("here there are {allow}");
    let mut response = request_problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn document(status: StatusCode, body: &serde_json::Value) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}
