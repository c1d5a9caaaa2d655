//! Around the router, for what a crowd asks for.
//!
//! axum boxes and copies a good part of what a route is made of for each
//! request, and keeps the request's bytes until it is answered. A shortcut knows
//! some of the router's routes by their paths and answers the plain requests for
//! them with no more than they need. The gate, whose pages may read, and what is
//! counted are the same; whatever is not plain goes the router's way.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use futures_util::future::Either;
use hyper::body::Incoming;
use tower::ServiceExt;

use super::connection::Scheme;
use super::cors::Reader;
use super::front::Front;
use super::sent::Sent;

/// Routes that can be answered without the router.
pub trait Shortcut: Clone + Send + Sync + 'static {
    /// A request understood. It should hold nothing of the request's own bytes,
    /// so that the connection can read the next one into the same memory.
    type Ask: Send + 'static;

    /// What a request, by GET or HEAD and without a body, asks of one of the
    /// routes; `None` leaves it to the router.
    fn way<'r>(&self, parts: &'r Parts) -> Option<Way<'r, Self::Ask>>;

    /// The answer, as the router's route would give it.
    fn answer(&self, ask: Self::Ask) -> impl Future<Output = Response<Sent>> + Send + use<Self>;
}

/// Where a shortcut leads.
pub struct Way<'r, A> {
    /// The route's pattern, which begins with `/{stream}`.
    pub pattern: &'static str,
    /// The stream's name.
    pub stream: &'r str,
    /// What is asked there.
    pub ask: A,
}

/// No shortcut.
impl Shortcut for () {
    type Ask = std::convert::Infallible;

    fn way<'r>(&self, _: &'r Parts) -> Option<Way<'r, Infallible>> {
        None
    }

    fn answer(&self, ask: Infallible) -> impl Future<Output = Response<Sent>> + Send + use<> {
        async move { match ask {} }
    }
}

/// What a listener serves.
#[derive(Clone)]
pub struct Site<S = ()> {
    router: Router,
    shortcut: Option<(Arc<Front>, S)>,
}

impl From<Router> for Site {
    /// With nothing before its routes.
    fn from(router: Router) -> Self {
        Self { router, shortcut: None }
    }
}

impl<S: Shortcut> Site<S> {
    pub(super) fn new(router: Router, front: Arc<Front>, shortcut: S) -> Self {
        Self { router, shortcut: Some((front, shortcut)) }
    }

    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        scheme: Scheme,
    ) -> impl Future<Output = Response<Sent>> + Send + use<S> {
        let (mut parts, body) = request.into_parts();
        if body.is_end_stream()
            && let Some(answer) = self.short(&parts, peer)
        {
            return Either::Left(answer);
        }
        parts.extensions.insert(ConnectInfo(peer));
        parts.extensions.insert(scheme);
        let request = Request::from_parts(parts, Body::new(body));
        let answer = self.router.clone().oneshot(request);
        Either::Right(async move {
            match answer.await {
                Ok(response) => response.map(Sent::from),
                Err(never) => match never {},
            }
        })
    }

    /// The answer by the shortcut.
    fn short(
        &self,
        parts: &Parts,
        peer: SocketAddr,
    ) -> Option<impl Future<Output = Response<Sent>> + Send + use<S>> {
        let (front, shortcut) = self.shortcut.as_ref()?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return None;
        }
        let Way { pattern, stream, ask } = shortcut.way(parts)?;
        let (method, started) = (parts.method.clone(), Instant::now());
        let admitted = front.gate.admit_at_once(parts, peer.ip(), stream)?;
        let reader = front.crosses.then(|| Reader::of(&front.gate.policy, &parts.headers));
        let answer = admitted.map(|()| shortcut.answer(ask));
        let front = Arc::clone(front);
        Some(async move {
            let mut response = match answer {
                Ok(answer) => answer.await,
                Err(refused) => refused.map(Sent::from),
            };
            if let Some(reader) = reader {
                reader.tell(response.headers_mut());
            }
            front.gate.metrics.answered(pattern, &method, response.status(), started);
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{StatusCode, header};
    use axum::routing::get;

    use super::*;
    use crate::auth::{
        Access, Action, Attempt, AuthMetrics, Credentials, EmbedKey, Grant, MARKS, Rules, User,
    };
    use crate::bus::Registry;
    use crate::http::{Gate, HttpMetrics};

    const ROUTE: &str = "/{stream}/hls/{name}";

    /// Answers `new.m4s` by itself; the router's routes say `routed`.
    #[derive(Clone)]
    struct New;

    impl Shortcut for New {
        type Ask = ();

        fn way<'r>(&self, parts: &'r Parts) -> Option<Way<'r, ()>> {
            let stream = parts.uri.path().strip_prefix('/')?.strip_suffix("/hls/new.m4s")?;
            Some(Way { pattern: ROUTE, stream, ask: () })
        }

        fn answer(&self, (): ()) -> impl Future<Output = Response<Sent>> + Send + use<> {
            std::future::ready(Response::new(Sent::empty()))
        }
    }

    fn site(rules: Option<Rules>) -> (Site<New>, HttpMetrics) {
        let registry = prometheus::Registry::new();
        let metrics = HttpMetrics::register(&registry).unwrap();
        let gate = Gate {
            access: Access::new(rules, AuthMetrics::register(&registry).unwrap()),
            registry: Arc::new(Registry::new()),
            policy: Arc::default(),
            metrics: metrics.clone(),
            loopback: true,
            draining: Arc::default(),
        };
        let router = Router::new().route(ROUTE, get(async || "routed"));
        (Front::of_viewers(gate).before_both(router, New), metrics)
    }

    fn short(site: &Site<New>, request: axum::http::request::Builder) -> Option<StatusCode> {
        let parts = request.body(()).unwrap().into_parts().0;
        let answer = site.short(&parts, ([127, 0, 0, 1], 1).into())?;
        let answer = futures_util::FutureExt::now_or_never(answer).unwrap();
        Some(answer.status())
    }

    #[test]
    fn the_gate_stands_before_a_shortcut_and_its_answers_are_counted() {
        let ask = |path: &str| Request::builder().uri(path).header(header::HOST, "127.0.0.1");
        let (open, metrics) = site(None);
        assert_eq!(short(&open, ask("/yard/hls/new.m4s")), Some(StatusCode::OK));
        assert_eq!(short(&open, ask("/yard/hls/old.m4s")), None);
        assert_eq!(short(&open, ask("/yard/hls/new.m4s").method("POST")), None);
        // A page whose name was made to point here.
        let foreign = Request::builder().uri("/yard/hls/new.m4s").header(header::HOST, "evil");
        assert_eq!(short(&open, foreign), Some(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(metrics.answers(ROUTE, "GET", "2xx"), 1);
        assert_eq!(metrics.answers(ROUTE, "GET", "4xx"), 1);

        let key = EmbedKey::new(&[b'k'; 32]).unwrap();
        let (ruled, metrics) = site(Some(Rules { embed_key: Some(key), ..Rules::default() }));
        assert_eq!(short(&ruled, ask("/yard/hls/new.m4s")), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(metrics.answers(ROUTE, "GET", "4xx"), 1);
        // A token is to be carried on, and one in a header may have to be asked
        // for elsewhere: neither is for a shortcut.
        assert_eq!(short(&ruled, ask("/yard/hls/new.m4s?token=x")), None);
        let bearer = ask("/yard/hls/new.m4s").header(header::AUTHORIZATION, "Bearer x");
        assert_eq!(short(&ruled, bearer), None);
    }

    #[tokio::test]
    async fn a_password_is_for_a_shortcut_once_it_is_known_and_is_looked_up_once() {
        use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
        let quick = Params::new(8, 1, 1, None).unwrap();
        let quick = Argon2::new(Algorithm::Argon2id, Version::V0x13, quick);
        let hash = quick.hash_password(b"right").unwrap().to_string().parse().unwrap();
        let grant = Grant { streams: vec!["yard".parse().unwrap()], ..Grant::default() };
        let users = vec![User { name: "ann".into(), hash, grant }];
        let (site, _) = site(Some(Rules { users, ..Rules::default() }));
        // ann:right, ann:wrong
        let ask = |stream: &str, login: &str| {
            let request = Request::builder().uri(format!("/{stream}/hls/new.m4s"));
            let request = request.header(header::HOST, "127.0.0.1");
            short(&site, request.header(header::AUTHORIZATION, format!("Basic {login}")))
        };
        assert_eq!(ask("yard", "YW5uOnJpZ2h0"), None);

        let (front, _) = site.shortcut.as_ref().unwrap();
        let attempt = Attempt {
            credentials: Credentials::of_header("Basic YW5uOnJpZ2h0"),
            address: None,
            action: Action::View,
            streams: &[],
            protocol: "hls",
            query: "",
        };
        assert!(front.gate.access.identify(&attempt).await.is_ok());
        let before = MARKS.get();
        assert_eq!(ask("yard", "YW5uOnJpZ2h0"), Some(StatusCode::OK));
        assert_eq!(MARKS.get() - before, 1);
        assert_eq!(ask("front", "YW5uOnJpZ2h0"), Some(StatusCode::FORBIDDEN));
        assert_eq!(ask("yard", "YW5uOndyb25n"), None);
    }
}
