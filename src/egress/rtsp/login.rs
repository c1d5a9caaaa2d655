//! Who a client is: the house's users by Basic login (RFC 2326 §14, RFC 7617),
//! or a token, as a password's stead or in the URL.
//!
//! Basic alone: Digest needs the password or half of it, and we keep neither.

use url::Url;

use super::message::{Method, Request, Response};
use super::session::{Session, refusal, target};
use crate::auth::{Action, Attempt, Credentials, Principal};
use crate::fault::{Code, Fault};
use crate::media::StreamName;

/// What a client is asked for; every player and recorder knows it.
const CHALLENGE: &str = r#"Basic realm="Porthole""#;

impl Session {
    /// Whether the client may have its request answered. It proves who it is
    /// with each, or goes on being who it proved to be on this connection; it
    /// cannot become somebody else.
    pub(super) async fn admit(&mut self, request: &Request) -> Result<(), Response> {
        let tells_nothing = [Method::Options, Method::NotAllowed, Method::Unknown];
        if self.deps.access.is_open() || tells_nothing.contains(&request.method) {
            return Ok(());
        }
        let url = Url::parse(&request.url).ok();
        let query = url.as_ref().and_then(Url::query).unwrap_or_default();
        let header = request.header("Authorization");
        let credentials = match Credentials::of_query(query) {
            Some(token) => Credentials::Token(token),
            None => header.map_or(Credentials::None, Credentials::of_header),
        };
        let named = target(&request.url).and_then(|target| target.stream.parse().ok());
        let begun = || self.stream().and_then(|name| name.split('/').next()?.parse().ok());
        let stream: Option<StreamName> = named.or_else(begun);
        let refused = |fault: &Fault| {
            let response = refusal(fault);
            if fault.code != Code::ViewerAuth {
                return response;
            }
            response.with("WWW-Authenticate", CHALLENGE)
        };

        let silent = matches!(credentials, Credentials::None);
        let principal = if silent && self.principal != Principal::Anonymous {
            self.principal.clone()
        } else {
            let streams: Vec<StreamName> = stream.iter().cloned().collect();
            let attempt = Attempt {
                credentials,
                address: self.peer,
                action: Action::View,
                streams: &streams,
                protocol: "rtsp",
                query,
            };
            let identified = self.deps.access.identify(&attempt).await;
            identified.map_err(|fault| refused(&fault))?
        };
        if self.principal != Principal::Anonymous && self.principal != principal {
            return Err(refused(&Code::ViewerAuth.into()));
        }
        let authorized = self.deps.access.authorize(&principal, Action::View, stream.as_ref());
        authorized.map_err(|fault| refused(&fault))?;
        self.principal = principal;
        Ok(())
    }
}
