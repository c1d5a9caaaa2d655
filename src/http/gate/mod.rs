//! What stands before every route: who asks, and whether they may.
//!
//! A route needs no line of its own for it: its pattern says what it is for
//! (`need`), and a pattern that says nothing is for administrators. Here:
//! taking credentials and addresses out of requests (`credentials`, `peer`),
//! names and origins (`origin`), and tokens into what a player asks for next
//! (`carry`). Not here: the rules (`auth`).

mod carry;
mod credentials;
mod need;
mod origin;
mod peer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use axum::RequestPartsExt as _;
use axum::extract::{ConnectInfo, MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use url::form_urlencoded;

use self::credentials::Brought;
use self::need::Need;
use self::peer::Peer;
use super::{HttpMetrics, Origin, Problem, request_problem, takes_gzip};
use crate::auth::{Access, Action, Attempt, Pass, Principal};
use crate::bus::Registry;
use crate::fault::{Code, Fault};
use crate::media::StreamName;
use crate::networks::Networks;

/// What an operator may set; it may change while we run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Origins whose pages may read our answers.
    pub cors: Vec<Origin>,
    /// Names under which we are reached, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Reverse proxies whose word about a request's origin counts.
    pub proxies: Networks,
    /// Who may read metrics without credentials.
    pub scrape_from: Networks,
}

/// One listener's gate.
#[derive(Clone)]
pub struct Gate {
    /// Who may do what.
    pub access: Arc<Access>,
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// What may change.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Where refusals are counted.
    pub metrics: HttpMetrics,
    /// Whether only this machine can connect: then a name that is not ours
    /// belongs to a page that has its name point here (DNS rebinding).
    pub loopback: bool,
    /// Set once we are stopping: who is there stays, nobody new comes.
    pub draining: Arc<AtomicBool>,
}

/// Lets through whoever may; the route finds the [`Principal`], and
/// for what lasts a [`Pass`], among the request's extensions.
pub(super) async fn guard<F: Future<Output = Response>>(
    gate: &Gate,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let pattern = parts.extensions.get::<MatchedPath>().cloned();
    let pattern = pattern.as_ref().map(MatchedPath::as_str);
    let need = Need::of(pattern);
    let brought = Brought::by(&parts);
    let from_query = brought.token_in_query.clone();

    let stream = named(need, &mut parts).await;
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let asked = Asked { need, stream, peer, parts: &parts, waits: true };
    let (principal, stream) = match gate.admit(asked, brought).await {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let mut request = Request::from_parts(parts, body);
    if gate.draining.load(Ordering::Acquire) && need::begins_session(pattern, request.method()) {
        let fault = Fault::new(Code::ViewerLimit, "this gateway is stopping");
        return Problem::from(fault).into_response();
    }
    let only = principal.grant().and_then(|grant| grant.origin.clone());
    if let Some(stream) = stream {
        let pass = Pass::new(Arc::clone(&gate.access), principal.clone(), stream);
        request.extensions_mut().insert(pass);
    }
    request.extensions_mut().insert(principal);
    let packs = from_query.is_some() && takes_gzip(request.headers());
    if packs {
        // A playlist that the token goes into has to be text until then. Else the header
        // stays: routes tell Chromium's own player by it.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    if from_query.is_some() {
        // HEAD has to say how long it is then; the router takes the body away.
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
    }
    let mut response = next(request).await;
    if let Some(only) = only {
        origin::frame(&mut response, &only);
    }
    match from_query {
        Some(token) => carry::token(response, &token, packs).await,
        None => response,
    }
}

/// A refusal; boxed, since it is the rare case.
pub(super) type Refused = Box<Response>;

/// A request, as far as the gate looks at it.
struct Asked<'r> {
    need: Need<'r>,
    /// To be viewed, if it is a stream's name.
    stream: Option<StreamName>,
    /// At the other end of the connection.
    peer: Option<IpAddr>,
    parts: &'r Parts,
    /// Else there is no answer where somebody has to be asked who it is.
    waits: bool,
}

/// The stream that a request names in the place where `need` says.
async fn named(need: Need<'_>, parts: &mut Parts) -> Option<StreamName> {
    match need {
        Need::View(parameter) => {
            let params = parts.extract::<RawPathParams>().await.ok()?;
            let found = params.iter().find(|(key, _)| *key == parameter);
            found.and_then(|(_, name)| name.parse().ok())
        }
        Need::ViewSrc => {
            let query = parts.uri.query().unwrap_or_default();
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            let found = pairs.find(|(key, _)| key == "src");
            found.and_then(|(_, name)| name.parse().ok())
        }
        Need::Nothing | Need::List | Need::Scrape | Need::Admin => None,
    }
}

impl Gate {
    /// Lets in whoever reads of `stream`, if that can be said without waiting:
    /// `None` where it cannot, or where the answer would have to be altered.
    /// The router's way asks the same question again then.
    pub(super) fn admit_at_once(
        &self,
        parts: &Parts,
        peer: IpAddr,
        stream: &str,
    ) -> Option<Result<(), Refused>> {
        let brought = Brought::by(parts);
        if brought.token_in_query.is_some() {
            return None;
        }
        let (need, stream) = (Need::View("stream"), stream.parse().ok());
        let asked = Asked { need, stream, peer: Some(peer), parts, waits: false };
        let admitted = self.admit(asked, brought).now_or_never()?;
        Some(admitted.map(|(_principal, _stream)| ()))
    }

    async fn admit(
        &self,
        asked: Asked<'_>,
        brought: Brought,
    ) -> Result<(Principal, Option<StreamName>), Refused> {
        let Asked { need, stream, peer, parts, waits } = asked;
        let policy = self.policy.load();
        let refuse = |status, detail: &str| Box::new(request_problem(status, detail));
        let peer = Peer::of(peer, &parts.headers, &policy.proxies);
        let own = origin::Own::of(parts);
        if self.loopback && self.access.is_open() && !own.is_ours(&policy.hosts) {
            self.metrics.rejected("host");
            let detail = "this name does not lead here, as far as Porthole knows; if it should, \
                          add it to `hosts` in the configuration";
            return Err(refuse(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        if need == Need::Nothing {
            return Ok((Principal::Anonymous, None));
        }

        let action = match need {
            Need::Nothing | Need::List => Action::List,
            Need::Scrape if peer.is_in(&policy.scrape_from) => {
                return Ok((Principal::Anonymous, None));
            }
            Need::Scrape | Need::Admin => Action::Admin,
            Need::View(_) | Need::ViewSrc => Action::View,
        };
        let streams = self.streams(action, stream.as_ref());
        let explicit = brought.is_explicit();
        let has_token = brought.token_in_query.is_some();
        let attempt = Attempt {
            credentials: brought.credentials,
            address: peer.address,
            action,
            streams: &streams,
            protocol: need::protocol(parts.uri.path()),
            query: parts.uri.query().unwrap_or_default(),
        };
        let identified = match waits {
            true => self.access.identify(&attempt).await,
            false => match self.access.identify_at_once(&attempt) {
                Some(known) => Ok(known),
                None => std::future::pending().await,
            },
        };
        let asks_for = |fault| Box::new(unauthorized(fault, has_token));
        let principal = identified.map_err(asks_for)?;
        let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
            || parts.headers.contains_key(header::UPGRADE);
        let only = principal.grant().and_then(|grant| grant.origin.as_deref());
        if changes && !explicit && own.is_foreign(&parts.headers, &policy) {
            self.metrics.rejected("origin");
            let detail = "a page of another origin asked for this; `cors` names those that may";
            return Err(refuse(StatusCode::FORBIDDEN, detail));
        }
        if only.is_some_and(|only| !own.may_use(&parts.headers, only)) {
            let fault =
                Fault::new(Code::ViewerForbidden, "the token is for pages of another origin");
            return Err(Box::new(Problem::from(fault).into_response()));
        }
        // Nobody needs credentials where there are no rules, but whoever can
        // reach us must not change what we do, unless they sit at this machine.
        if need == Need::Admin && changes && self.access.is_open() && !peer.is_local() {
            let detail = "with `auth: none` the configuration is changed from this machine alone";
            let fault = Fault::new(Code::ViewerForbidden, detail);
            return Err(Box::new(Problem::from(fault).into_response()));
        }
        let authorized = self.access.authorize(&principal, action, stream.as_ref());
        authorized.map_err(asks_for)?;
        Ok((principal, stream))
    }

    /// The streams in question, for a callback that is asked one by one.
    fn streams(&self, action: Action, stream: Option<&StreamName>) -> Vec<StreamName> {
        match (action, stream) {
            (Action::View, stream) => stream.cloned().into_iter().collect(),
            _ if self.access.is_open() => Vec::new(),
            _ => self.registry.list().iter().map(|stream| stream.name().clone()).collect(),
        }
    }
}

/// 401 asks for a login; 429 for patience; 403 is final.
fn unauthorized(fault: Fault, has_token: bool) -> Response {
    let code = fault.code;
    let problem = Problem::from(fault);
    if code == Code::ViewerLimit {
        return problem.with_status(StatusCode::TOO_MANY_REQUESTS).into_response();
    }
    let mut response = problem.into_response();
    if code == Code::ViewerAuth {
        // A browser must not ask for a password where a link has run out.
        let scheme = if has_token {
            r#"Bearer realm="Porthole", error="invalid_token""#
        } else {
            r#"Basic realm="Porthole", charset="UTF-8""#
        };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

#[cfg(test)]
mod tests;
