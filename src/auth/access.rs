//! The rules in force, and the two questions they answer: who is this, and may
//! they.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;
use url::form_urlencoded;

use super::Action;
use super::callback::{Callback, CallbackConfig};
use super::damping::Damping;
use super::jwt::{Jwt, JwtConfig};
use super::metrics::AuthMetrics;
use super::principal::{Grant, Principal, Proof};
use super::token::{EmbedKey, PREFIX};
use super::users::{User, Users};
use crate::fault::{Code, Fault};
use crate::media::StreamName;
use crate::networks::Networks;
use crate::secret::Secret;

/// What an operator may set. Without any of it nobody may do anything.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Users with passwords.
    pub users: Vec<User>,
    /// An identity provider.
    pub jwt: Option<JwtConfig>,
    /// Another server that decides.
    pub http: Option<CallbackConfig>,
    /// Who is there may view every stream.
    pub allow_from: Networks,
    /// What signs embed tokens.
    pub embed_key: Option<EmbedKey>,
}

/// What a request brings to prove who makes it.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user's name and password.
    Basic {
        /// Who.
        user: String,
        /// And the proof.
        password: Secret,
    },
    /// An embed token, or a JSON Web Token.
    Token(Secret),
}

impl Credentials {
    /// What an `Authorization` header says (RFC 7617, RFC 6750); nothing, if it
    /// is of a scheme that we do not know.
    pub fn of_header(text: &str) -> Self {
        let Some((scheme, rest)) = text.split_once(' ') else { return Self::None };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Token(Secret::new(rest));
        }
        let basic = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest).ok());
        let text = basic.flatten().and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => {
                Self::Basic { user: user.to_owned(), password: Secret::new(password) }
            }
            None => Self::None,
        }
    }

    /// What `?token=` in a URL's query says.
    pub fn of_query(query: &str) -> Option<Secret> {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let token = pairs.find(|(key, value)| key == "token" && !value.is_empty());
        token.map(|(_, token)| Secret::new(token))
    }
}

/// A request, as far as it matters here.
pub struct Attempt<'a> {
    /// What it brings.
    pub credentials: Credentials,
    /// Where it comes from; `None` where that is hidden, by a proxy whose word
    /// does not count.
    pub address: Option<IpAddr>,
    /// What it is for.
    pub action: Action,
    /// With which stream; for [`Action::List`] all there are.
    pub streams: &'a [StreamName],
    /// The output, for the callback.
    pub protocol: &'a str,
    /// The URL's query, for the callback.
    pub query: &'a str,
}

/// The one place that decides.
pub enum Access {
    /// Everybody may do everything: what stands behind the gate, and tests.
    Open,
    /// Rules, which may change while they are in use.
    Ruled(Ruled),
}

/// The rules in force, and who broke them lately.
pub struct Ruled {
    rules: ArcSwap<Option<InForce>>,
    /// Told when there are others.
    changes: watch::Sender<()>,
    damping: Damping,
    metrics: AuthMetrics,
}

struct InForce {
    users: Users,
    jwt: Option<Jwt>,
    callback: Option<Callback>,
    allow_from: Networks,
    embed_key: Option<EmbedKey>,
}

impl Access {
    /// Access by these rules; without any, everybody may view everything:
    /// for loopback, or `auth: none`.
    pub fn new(rules: Option<Rules>, metrics: AuthMetrics) -> Arc<Self> {
        let rules = ArcSwap::from_pointee(rules.map(InForce::from));
        let changes = watch::Sender::new(());
        let ruled = Ruled { rules, changes, damping: Damping::default(), metrics };
        Arc::new(Self::Ruled(ruled))
    }

    /// Other rules from now on; sessions that they would not let in end.
    pub fn change(&self, rules: Option<Rules>) {
        if let Self::Ruled(ruled) = self {
            ruled.rules.store(Arc::new(rules.map(InForce::from)));
            ruled.changes.send_replace(());
        }
    }

    /// To wait for other rules; `None` where there never are any.
    pub(super) fn changes(&self) -> Option<watch::Receiver<()>> {
        match self {
            Self::Open => None,
            Self::Ruled(ruled) => Some(ruled.changes.subscribe()),
        }
    }

    /// Whether somebody who was let in to view `stream` may go on with it.
    pub fn may_stay(&self, principal: &Principal, stream: &StreamName) -> bool {
        let Self::Ruled(ruled) = self else { return true };
        let rules = ruled.rules.load();
        let Some(rules) = &**rules else { return true };
        let Principal::Known(identity) = principal else { return false };
        let (mut grant, now) = (&identity.grant, SystemTime::now());
        let stands = match &identity.proof {
            Proof::Password(hash) => match rules.users.grant(&identity.name, hash) {
                Some(granted) => {
                    grant = granted;
                    true
                }
                None => false,
            },
            Proof::Network(address) => rules.allow_from.contain(*address),
            Proof::Embed(key) => rules.embed_key.as_ref() == Some(key),
            Proof::Jwt(config) => rules.jwt.as_ref().is_some_and(|jwt| jwt.config == *config),
            Proof::Callback(config) => {
                rules.callback.as_ref().is_some_and(|callback| callback.config == *config)
            }
        };
        stands && grant.covers(stream) && !grant.is_over(now)
    }

    /// Forgets who was wrong lately.
    pub fn forgive(&self) {
        if let Self::Ruled(ruled) = self {
            ruled.damping.forgive();
        }
    }

    /// Whether everybody may view everything.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Ruled(ruled) => ruled.rules.load().is_none(),
        }
    }

    /// Who makes a request, if that can be said with nobody to ask and no password
    /// to work on; else only [`Access::identify`] can say it.
    pub fn identify_at_once(&self, attempt: &Attempt<'_>) -> Option<Principal> {
        let Self::Ruled(ruled) = self else { return Some(Principal::Anonymous) };
        let rules = ruled.rules.load();
        let Some(rules) = &**rules else { return Some(Principal::Anonymous) };
        match &attempt.credentials {
            Credentials::None if rules.callback.is_some() => rules.by_network(attempt),
            Credentials::None => Some(rules.by_network(attempt).unwrap_or(Principal::Anonymous)),
            Credentials::Basic { user, password } => rules.users.remembered(user, password),
            Credentials::Token(_) => None,
        }
    }

    /// Who makes a request. Anonymous is who brought nothing; what may be done
    /// is for [`Access::authorize`] to say.
    ///
    /// # Errors
    ///
    /// `viewer.auth` where the credentials are wrong, `viewer.limit` where they
    /// cannot be looked at now.
    pub async fn identify(&self, attempt: &Attempt<'_>) -> Result<Principal, Fault> {
        if let Some(known) = self.identify_at_once(attempt) {
            return Ok(known);
        }
        let Self::Ruled(ruled) = self else { return Ok(Principal::Anonymous) };
        let rules = ruled.rules.load_full();
        let Some(rules) = &*rules else { return Ok(Principal::Anonymous) };
        let now = Instant::now();
        let proves = !matches!(attempt.credentials, Credentials::None);
        if let Some(address) = attempt.address.filter(|_| proves)
            && !ruled.damping.hears(address, now)
        {
            ruled.metrics.failed("damped");
            let detail = "too many wrong passwords or tokens from this address; wait a minute";
            return Err(Fault::new(Code::ViewerLimit, detail));
        }
        let identified = match &attempt.credentials {
            Credentials::None => {
                let allowed = rules.by_callback(attempt, "").await;
                return Ok(allowed.unwrap_or(Principal::Anonymous));
            }
            Credentials::Basic { user, password } => {
                rules.by_password(attempt, user, password).await?
            }
            Credentials::Token(token) => rules.by_token(attempt, token).await,
        };
        identified.map_err(|(kind, why)| {
            ruled.metrics.failed(kind);
            if let Some(address) = attempt.address {
                ruled.damping.failed(address, now);
            }
            tracing::info!(kind, why, address = ?attempt.address, "access refused");
            Fault::new(Code::ViewerAuth, why)
        })
    }

    /// Whether `principal` may do `action`, to view `stream`.
    ///
    /// # Errors
    ///
    /// `viewer.auth` for nobody in particular, `viewer.forbidden` for who may
    /// not.
    pub fn authorize<'a>(
        &self,
        principal: &Principal,
        action: Action,
        stream: impl Into<Option<&'a StreamName>>,
    ) -> Result<(), Fault> {
        let Self::Ruled(ruled) = self else { return Ok(()) };
        if ruled.rules.load().is_none() {
            return Ok(());
        }
        let Some(grant) = principal.grant() else { return Err(Code::ViewerAuth.into()) };
        if grant.is_over(SystemTime::now()) {
            return Err(Fault::new(Code::ViewerAuth, "the token has expired"));
        }
        let may = match (action, stream.into()) {
            (Action::View, Some(stream)) => grant.covers(stream),
            // A name that no stream can have: there is nothing to see.
            (Action::View, None) | (Action::List, _) => true,
            (Action::Admin, _) => grant.admin,
        };
        if may {
            return Ok(());
        }
        ruled.metrics.failed("forbidden");
        Err(Code::ViewerForbidden.into())
    }
}

/// What kind of credentials failed, and why.
type Refused = (&'static str, String);

impl From<Rules> for InForce {
    fn from(rules: Rules) -> Self {
        Self {
            users: Users::new(rules.users),
            jwt: rules.jwt.map(Jwt::new),
            callback: rules.http.map(Callback::new),
            allow_from: rules.allow_from,
            embed_key: rules.embed_key,
        }
    }
}

impl InForce {
    /// Who may view because of where they are.
    fn by_network(&self, attempt: &Attempt<'_>) -> Option<Principal> {
        let address = attempt.address.filter(|ip| self.allow_from.contain(*ip))?;
        let proof = Proof::Network(address);
        (attempt.action != Action::Admin)
            .then(|| Principal::known("network", Grant::every_stream(), proof))
    }

    async fn by_password(
        &self,
        attempt: &Attempt<'_>,
        user: &str,
        password: &Secret,
    ) -> Result<Result<Principal, Refused>, Fault> {
        if !self.users.has(user)
            && let Some(callback) = &self.callback
        {
            let allowed = self.ask(callback, attempt, user).await;
            return Ok(allowed.ok_or_else(|| ("callback", "auth.http says no".into())));
        }
        let verified = self.users.verify(user, password).await?;
        Ok(verified.ok_or_else(|| ("password", "the user name or password is wrong".into())))
    }

    async fn by_token(&self, attempt: &Attempt<'_>, token: &Secret) -> Result<Principal, Refused> {
        let text = token.expose();
        if text.starts_with(PREFIX) {
            let key = self.embed_key.as_ref();
            let key = key.ok_or_else(|| ("token", "no embed key is configured".to_owned()))?;
            return key.read(text, SystemTime::now()).map_err(|why| ("token", why.to_owned()));
        }
        if let Some(jwt) = &self.jwt {
            return jwt.read(text).await.map_err(|why| ("jwt", why));
        }
        let allowed = self.by_callback(attempt, "token").await;
        allowed.ok_or_else(|| ("token", "this token is not known here".into()))
    }

    async fn by_callback(&self, attempt: &Attempt<'_>, name: &str) -> Option<Principal> {
        self.ask(self.callback.as_ref()?, attempt, name).await
    }

    /// What the callback allows, as a grant for just that. A list is asked for
    /// stream by stream.
    async fn ask(
        &self,
        callback: &Callback,
        attempt: &Attempt<'_>,
        name: &str,
    ) -> Option<Principal> {
        let mut grant = Grant::default();
        let proof = Proof::Callback(callback.config.clone());
        let known = |grant| Principal::known(format!("http:{name}"), grant, proof);
        if attempt.action == Action::Admin {
            grant.admin = callback.allows(attempt, "").await;
            return grant.admin.then(|| known(grant));
        }
        for stream in attempt.streams {
            let view = Attempt {
                credentials: attempt.credentials.clone(),
                action: Action::View,
                ..*attempt
            };
            if callback.allows(&view, stream.as_str()).await {
                grant.streams.extend(stream.as_str().parse());
            }
        }
        let some = !grant.streams.is_empty();
        some.then(|| known(grant))
    }
}
