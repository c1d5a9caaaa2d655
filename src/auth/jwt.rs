//! JSON Web Tokens of an identity provider (RFC 7519), whose keys are fetched
//! (RFC 7517).
//!
//! Only public-key algorithms: a shared secret in a key set would let whoever
//! reads it mint tokens. One crypto provider in the whole program: ring.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, decode, decode_header};
use ring::signature::{self as ring_signature, VerificationAlgorithm};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::principal::{BadPattern, Grant, Principal, Proof};
use crate::fetch::fetch;

/// Longer ones are not looked at.
const LONGEST: usize = 16 << 10;
/// A viewer is waiting for it.
const LIMIT: Duration = Duration::from_secs(5);
const BYTES: usize = 256 << 10;
/// Keys are fetched anew after this long, so that a withdrawn one ends.
const FRESH: Duration = Duration::from_secs(600);
/// How often an unknown key may send us to fetch: tokens name keys as they
/// like.
const PAUSE: Duration = Duration::from_secs(10);

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Where its keys are.
    pub jwks_url: Url,
    /// `iss`.
    pub issuer: String,
    /// `aud`: we are meant, not another service of the same provider.
    pub audience: String,
}

/// An identity provider, and its keys as of late.
pub(super) struct Jwt {
    pub(super) config: JwtConfig,
    validation: Validation,
    keys: ArcSwapOption<Keys>,
    fetching: Mutex<Option<Instant>>,
}

struct Keys {
    set: JwkSet,
    since: Instant,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    exp: u64,
    /// What the provider says about us.
    #[serde(default)]
    porthole: OurClaims,
}

#[derive(Default, Deserialize)]
struct OurClaims {
    #[serde(default)]
    streams: Vec<String>,
    #[serde(default)]
    admin: bool,
}

impl Jwt {
    pub(super) fn new(config: JwtConfig) -> Self {
        static PROVIDER: CryptoProvider = CryptoProvider {
            signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
            verifier_factory: verifier,
            key_utils: KeyUtils::new_unimplemented(),
        };
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            // Nobody else installs one.
            let _ = PROVIDER.install_default();
        });
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        Self { config, validation, keys: ArcSwapOption::empty(), fetching: Mutex::default() }
    }

    /// Whom a token stands for; else what is wrong with it.
    pub(super) async fn read(&self, token: &str) -> Result<Principal, String> {
        if token.len() > LONGEST {
            return Err("the token is too long".into());
        }
        let header = decode_header(token).map_err(|_| "the token cannot be read")?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("tokens signed with {:?} are not believed", header.alg));
        }
        let key = self.key(header.kid.as_deref()).await?;
        // The library checks one family of algorithms at a time; `verifier` sees
        // to it that the key is of the token's.
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let read = decode::<Claims>(token, &key, &validation);
        let Claims { sub, exp, porthole } = read.map_err(|error| words(&error))?.claims;
        if sub.is_empty() {
            return Err("the token names nobody (`sub`)".into());
        }
        let streams: Result<_, BadPattern> =
            porthole.streams.iter().map(|pattern| pattern.parse()).collect();
        let grant = Grant {
            streams: streams.map_err(|error| format!("porthole.streams: {error}"))?,
            admin: porthole.admin,
            // A minute's grace, as in the check just made.
            until: std::time::UNIX_EPOCH.checked_add(Duration::from_secs(exp.saturating_add(60))),
            origin: None,
        };
        Ok(Principal::known(format!("jwt:{sub}"), grant, Proof::Jwt(self.config.clone())))
    }

    /// The key of that id; a set of one needs none.
    async fn key(&self, id: Option<&str>) -> Result<DecodingKey, String> {
        let known = self.keys.load_full();
        let fresh = known.as_ref().is_some_and(|keys| keys.since.elapsed() < FRESH);
        if let Some(key) = known.as_ref().filter(|_| fresh).and_then(|keys| keys.find(id)) {
            return Ok(key);
        }
        let keys = self.fetch(known).await?;
        keys.find(id).ok_or_else(|| "the token's key is not among the provider's".to_owned())
    }

    /// The provider's keys, fetched by one request at a time and not too often.
    async fn fetch(&self, known: Option<Arc<Keys>>) -> Result<Arc<Keys>, String> {
        let mut last = self.fetching.lock().await;
        let now = self.keys.load_full();
        let others_did = |keys: &Arc<Keys>| known.as_ref().is_none_or(|k| !Arc::ptr_eq(k, keys));
        if let Some(keys) =
            now.filter(|keys| others_did(keys) || last.is_some_and(|last| last.elapsed() < PAUSE))
        {
            return Ok(keys);
        }
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return Err("the provider's keys could not be fetched a moment ago".into());
        }
        *last = Some(Instant::now());
        let fetched = match fetch(&self.config.jwks_url, None, LIMIT, BYTES).await {
            Ok(answer) if answer.status.is_success() => {
                serde_json::from_slice(&answer.body).map_err(|_| "it is no key set".to_owned())
            }
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        match fetched {
            Ok(set) => {
                let keys = Arc::new(Keys { set, since: Instant::now() });
                self.keys.store(Some(Arc::clone(&keys)));
                Ok(keys)
            }
            Err(why) => {
                tracing::warn!(why, "the keys of auth.jwt.jwks_url cannot be fetched");
                // A provider that is away for a while ends nobody's evening.
                known.ok_or_else(|| "the provider's keys cannot be fetched".to_owned())
            }
        }
    }
}

impl Keys {
    fn find(&self, id: Option<&str>) -> Option<DecodingKey> {
        let key = match id {
            Some(id) => self.set.find(id)?,
            None => match &self.set.keys[..] {
                [only] => only,
                _ => return None,
            },
        };
        DecodingKey::from_jwk(key).ok()
    }
}

fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired".into(),
        ErrorKind::ImmatureSignature => "the token is not valid yet".into(),
        ErrorKind::InvalidAudience => "the token is meant for another service (`aud`)".into(),
        ErrorKind::InvalidIssuer => "the token is of another provider (`iss`)".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no `{claim}`"),
        _ => "the token's signature is not right".into(),
    }
}

/// A signature checked by ring.
struct Check {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    // Never an RSA key's bytes as another kind's.
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Check { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let bad = |_| signature::Error::new();
        let rsa = match self.algorithm {
            Algorithm::RS256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &ring_signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &ring_signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &ring_signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::ES256 => {
                return self.raw(&ring_signature::ECDSA_P256_SHA256_FIXED, message, signature);
            }
            Algorithm::ES384 => {
                return self.raw(&ring_signature::ECDSA_P384_SHA384_FIXED, message, signature);
            }
            Algorithm::EdDSA => return self.raw(&ring_signature::ED25519, message, signature),
            _ => return Err(signature::Error::new()),
        };
        let DecodingKeyKind::RsaModulusExponent { n, e } = self.key.kind() else {
            return Err(signature::Error::new());
        };
        let key = ring_signature::RsaPublicKeyComponents { n, e };
        key.verify(rsa, message, signature).map_err(bad)
    }
}

impl Check {
    fn raw(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), signature::Error> {
        let key = self.key.try_get_as_bytes().map_err(|_| signature::Error::new())?;
        let key = ring_signature::UnparsedPublicKey::new(algorithm, key);
        key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}
