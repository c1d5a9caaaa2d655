//! What a request brings: JSON, and what it knows of what it changes.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value};

use super::Expected;
use crate::http::request_problem;

/// A body that is a JSON object, of one of these types: a page of another site
/// can have its browser send none of them without asking first.
pub(super) fn object(
    headers: &HeaderMap,
    body: &Bytes,
    types: &[&str],
) -> Result<Map<String, Value>, Box<Response>> {
    let refuse = |status, detail: &str| Err(Box::new(request_problem(status, detail)));
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !types.iter().any(|one| kind.eq_ignore_ascii_case(one)) {
        let detail = format!("send it as Content-Type: {}", types.join(" or "));
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => refuse(StatusCode::BAD_REQUEST, "the body is a JSON object"),
        // Not quoted: there may be a password in it.
        Err(error) => {
            let place = format!("no JSON at line {}, column {}", error.line(), error.column());
            refuse(StatusCode::BAD_REQUEST, &place)
        }
    }
}

/// The preconditions (RFC 9110 §13.1): `If-Match`, and `If-None-Match: *` for who
/// must be the first.
pub(super) fn expected(headers: &HeaderMap) -> Expected {
    let tags = |name: HeaderName| -> Option<Vec<String>> {
        let lines = headers.get_all(name);
        let text: Vec<_> = lines.iter().map(|line| line.to_str().unwrap_or_default()).collect();
        let tag = |tag: &str| tag.trim().to_owned();
        (!text.is_empty()).then(|| text.join(",").split(',').map(tag).collect())
    };
    let (these, none) = (tags(header::IF_MATCH), tags(header::IF_NONE_MATCH));
    let is = |tags: &[String], present: Option<u64>| {
        present.is_some_and(|digest| tags.iter().any(|tag| tag == "*" || *tag == etag(digest)))
    };
    Box::new(move |present| {
        these.as_ref().is_none_or(|these| is(these, present))
            && none.as_ref().is_none_or(|none| !is(none, present))
    })
}

/// The entity tag of a stream's entry.
pub(super) fn etag(digest: u64) -> String {
    format!("\"{digest:016x}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_what_the_caller_has_seen() {
        let holds = |name: &'static str, value: &str, present: Option<u64>| {
            let headers = [(HeaderName::from_static(name), value.parse().unwrap())];
            expected(&headers.into_iter().collect())(present)
        };
        let tag = etag(7);
        for (name, value, of_seven, of_eight, of_none) in [
            ("if-match", tag.clone(), true, false, false),
            ("if-match", format!("\"x\", {tag}"), true, false, false),
            ("if-match", format!("W/{tag}"), false, false, false),
            ("if-match", "*".into(), true, true, false),
            ("if-none-match", "*".into(), false, false, true),
            ("if-none-match", tag, false, true, true),
            ("x-other", "*".into(), true, true, true),
        ] {
            let held = [Some(7), Some(8), None].map(|present| holds(name, &value, present));
            assert_eq!(held, [of_seven, of_eight, of_none], "{name}: {value}");
        }
    }
}
