//! Faults as `application/problem+json` (RFC 9457), with the one mapping from
//! fault code to status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::bus::{SourceState, SourceStatus, Stream};
use crate::fault::{Code, Fault};

/// A fault on its way to a client.
#[derive(Clone, Debug)]
pub struct Problem {
    fault: Fault,
    /// Boxed: a problem is the `Err` of every handler.
    source: Option<Box<SourceStatus>>,
}

impl Problem {
    /// The status that every response with this code has.
    pub fn status(code: Code) -> StatusCode {
        match code {
            Code::ViewerBadOffer => StatusCode::BAD_REQUEST,
            Code::ViewerAuth => StatusCode::UNAUTHORIZED,
            Code::ViewerForbidden => StatusCode::FORBIDDEN,
            Code::StreamUnknown => StatusCode::NOT_FOUND,
            Code::VideoUnplayable | Code::AudioDropped | Code::Bframes => {
                StatusCode::NOT_ACCEPTABLE
            }
            Code::ConfigInvalid => StatusCode::UNPROCESSABLE_ENTITY,
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
            | Code::SourceLimit => StatusCode::BAD_GATEWAY,
        }
    }

    /// What kind of fault it is.
    pub fn code(&self) -> Code {
        self.fault.code
    }

    /// Why `stream` has nothing to show right now: its source's fault if it
    /// has one, else that it is starting.
    pub fn not_ready(stream: &Stream) -> Self {
        let source = stream.status();
        let fault = match (&source.fault, source.state) {
            (Some(fault), SourceState::Down | SourceState::Connecting) => fault.clone(),
            _ => Code::StreamStarting.into(),
        };
        Self { fault, source: Some(source.into()) }
    }

    /// The document's members.
    fn body(&self) -> serde_json::Value {
        let code = self.fault.code;
        let mut body = json!({
            "type": format!("urn:porthole:{code}"),
            "title": code.sentence(),
            "status": Self::status(code).as_u16(),
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
        body
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self { fault, source: None }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Fault::from(code).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = Self::status(self.fault.code);
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
