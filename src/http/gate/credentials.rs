//! What a request brings to prove who makes it.

use axum::http::header;
use axum::http::request::Parts;

use crate::auth::Credentials;
use crate::secret::Secret;

/// The credentials, and how they came.
pub(super) struct Brought {
    pub(super) credentials: Credentials,
    /// From `?token=`, to be carried on.
    pub(super) token_in_query: Option<Secret>,
}

impl Brought {
    pub(super) fn by(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        // A link is meant; what a browser adds by itself is not.
        if let Some(token) = Credentials::of_query(query) {
            let token_in_query = Some(token.clone());
            return Self { credentials: Credentials::Token(token), token_in_query };
        }
        let header = parts.headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let credentials = header.map_or(Credentials::None, Credentials::of_header);
        Self { credentials, token_in_query: None }
    }

    /// Whether a page must have been given them: a browser adds no token by
    /// itself, so no other page can have it sent in its stead.
    pub(super) fn is_explicit(&self) -> bool {
        matches!(self.credentials, Credentials::Token(_))
    }
}
