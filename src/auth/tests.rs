//! Who gets in, and who does not.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::fault::{Code, Fault};
use crate::media::StreamName;
use crate::secret::Secret;

fn metrics() -> AuthMetrics {
    AuthMetrics::register(&prometheus::Registry::new()).unwrap()
}

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

fn grant(pattern: &str) -> Grant {
    Grant { streams: vec![pattern.parse().unwrap()], ..Grant::default() }
}

/// A hash that takes no time, as no operator would configure it.
fn user(name: &str, password: &str, grant: Grant) -> User {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
    let quick =
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let hash = quick.hash_password(password.as_bytes()).unwrap().to_string();
    User { name: name.into(), hash: hash.parse().unwrap(), grant }
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.into(), password: Secret::new(password) }
}

/// Who `credentials` make somebody who wants to view `yard` from an address.
async fn identify(
    access: &Access,
    credentials: Credentials,
    address: &str,
) -> Result<Principal, Fault> {
    let streams = [stream("yard")];
    let attempt = Attempt {
        credentials,
        address: address.parse::<IpAddr>().ok(),
        action: Action::View,
        streams: &streams,
        protocol: "hls",
        query: "",
    };
    access.identify(&attempt).await
}

const SOMEWHERE: &str = "192.0.2.1";

#[tokio::test]
async fn a_user_gets_what_was_granted_and_nothing_else() {
    let admin = Grant { admin: true, ..Grant::default() };
    let users = vec![user("ann", "right", grant("front-*")), user("root", "toor", admin)];
    let access = Access::new(Some(Rules { users, ..Rules::default() }), metrics());
    let ann = identify(&access, basic("ann", "right"), SOMEWHERE).await.unwrap();
    let may = |who: &Principal, action, name: &str| {
        access.authorize(who, action, &stream(name)).err().map(|fault| fault.code)
    };
    assert_eq!(may(&ann, Action::View, "front-door"), None);
    assert_eq!(may(&ann, Action::List, "front-door"), None);
    assert_eq!(may(&ann, Action::View, "yard"), Some(Code::ViewerForbidden));
    assert_eq!(may(&ann, Action::Admin, "front-door"), Some(Code::ViewerForbidden));
    let root = identify(&access, basic("root", "toor"), SOMEWHERE).await.unwrap();
    assert!(
        [Action::View, Action::List, Action::Admin]
            .iter()
            .all(|a| may(&root, *a, "yard").is_none())
    );
    for action in [Action::View, Action::List, Action::Admin] {
        assert_eq!(may(&Principal::Anonymous, action, "front-door"), Some(Code::ViewerAuth));
    }
    for (name, password) in [("ann", "wrong"), ("ann", ""), ("nobody", "right"), ("Ann", "right")] {
        let refused = identify(&access, basic(name, password), SOMEWHERE).await.unwrap_err();
        assert_eq!(refused.code, Code::ViewerAuth, "{name}");
    }
    // Other rules end what the old ones gave.
    access
        .change(Some(Rules { users: vec![user("ann", "other", grant("*"))], ..Rules::default() }));
    assert!(identify(&access, basic("ann", "right"), SOMEWHERE).await.is_err());
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_known_player_behind_it_is_not() {
    let users = vec![user("ann", "right", grant("*"))];
    let access = Access::new(Some(Rules { users, ..Rules::default() }), metrics());
    assert!(identify(&access, basic("ann", "right"), SOMEWHERE).await.is_ok());
    let mut last = None;
    for guess in 0..30 {
        last = identify(&access, basic("ann", &guess.to_string()), SOMEWHERE).await.err();
    }
    assert_eq!(last.unwrap().code, Code::ViewerLimit);
    assert!(identify(&access, basic("ann", "right"), SOMEWHERE).await.is_ok(), "remembered");
    assert!(identify(&access, basic("bob", "right"), SOMEWHERE).await.is_err());
    assert!(identify(&access, basic("ann", "right"), "192.0.2.2").await.is_ok());
}

#[tokio::test]
async fn a_crowd_of_wrong_passwords_waits_in_a_short_line() {
    let users = vec![user("ann", "right", grant("*"))];
    let access = Access::new(Some(Rules { users, ..Rules::default() }), metrics());
    let addresses: Vec<String> = (0..60).map(|host| format!("192.0.2.{host}")).collect();
    let crowd = addresses.iter().map(|from| identify(&access, basic("ann", "wrong"), from));
    let refused = futures_util::future::join_all(crowd).await;
    let busy = refused.iter().filter(|r| r.as_ref().is_err_and(|f| f.code == Code::ViewerLimit));
    assert!(busy.count() >= 20, "more than 32 wait");
    assert!(identify(&access, basic("ann", "right"), SOMEWHERE).await.is_ok());
}

#[tokio::test]
async fn a_network_views_everything_and_changes_nothing() {
    let allow_from = "10.0.0.0/8".parse().unwrap();
    let access = Access::new(Some(Rules { allow_from, ..Rules::default() }), metrics());
    let near = identify(&access, Credentials::None, "10.1.2.3").await.unwrap();
    assert!(access.authorize(&near, Action::View, &stream("yard")).is_ok());
    assert!(access.authorize(&near, Action::Admin, None).is_err());
    let far = identify(&access, Credentials::None, "11.1.2.3").await.unwrap();
    assert_eq!(far, Principal::Anonymous);
    // Behind a proxy that nobody named there is no address.
    assert_eq!(identify(&access, Credentials::None, "?").await.unwrap(), Principal::Anonymous);
}

async fn server(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn a_callback_is_told_all_and_obeyed_and_its_silence_is_a_no() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let decide = move |axum::Json(body): axum::Json<Value>| {
        let seen = Arc::clone(&seen);
        async move {
            seen.fetch_add(1, Ordering::SeqCst);
            let ok = body["user"] == "ann"
                && body["password"] == "right"
                && body["path"] == "yard"
                && body["action"] == "read"
                && body["ip"] == SOMEWHERE
                && body["protocol"] == "hls";
            if ok { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
        }
    };
    let address = server(Router::new().route("/auth", post(decide))).await;
    let rules = |url: String| Rules {
        http: Some(CallbackConfig { url: url.parse().unwrap() }),
        ..Rules::default()
    };
    let access = Access::new(Some(rules(format!("http://{address}/auth"))), metrics());
    for _ in 0..5 {
        let ann = identify(&access, basic("ann", "right"), SOMEWHERE).await.unwrap();
        assert!(access.authorize(&ann, Action::View, &stream("yard")).is_ok());
        assert!(access.authorize(&ann, Action::View, &stream("gate")).is_err());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "asked once for what is asked five times a second");
    assert!(identify(&access, basic("ann", "wrong"), SOMEWHERE).await.is_err());
    assert_eq!(
        identify(&access, Credentials::None, SOMEWHERE).await.unwrap(),
        Principal::Anonymous
    );

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    access.change(Some(rules(format!("http://{nobody}/"))));
    assert!(identify(&access, basic("ann", "right"), SOMEWHERE).await.is_err());
}

/// An identity provider: its keys, which may change, and tokens it signs.
struct Provider {
    keys: Arc<ArcSwap<Value>>,
    config: JwtConfig,
    fetched: Arc<AtomicUsize>,
}

impl Provider {
    async fn new() -> Self {
        let keys = Arc::new(ArcSwap::from_pointee(json!({ "keys": [] })));
        let fetched = Arc::new(AtomicUsize::new(0));
        let (shown, counted) = (Arc::clone(&keys), Arc::clone(&fetched));
        let show = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let keys = shown.load_full();
            async move { axum::Json(Value::clone(&keys)) }
        };
        let address = server(Router::new().route("/keys", get(show))).await;
        let jwks_url = format!("http://{address}/keys").parse().unwrap();
        let config =
            JwtConfig { jwks_url, issuer: "https://id".into(), audience: "porthole".into() };
        Self { keys, config, fetched }
    }

    fn claims() -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        json!({ "iss": "https://id", "aud": "porthole", "sub": "ann", "exp": now + 600,
                "porthole": { "streams": ["yard"] } })
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Credentials {
    let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let signature = base64(sign(signed.as_bytes()));
    Credentials::Token(Secret::new(format!("{signed}.{signature}")))
}

fn ec_key(id: &str) -> (EcdsaKeyPair, Value) {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": base64(x), "y": base64(y) });
    (key, jwk)
}

#[tokio::test]
async fn a_token_of_the_provider_gets_what_it_says_and_its_keys_may_change() {
    let provider = Provider::new().await;
    let rules = Rules { jwt: Some(provider.config.clone()), ..Rules::default() };
    let access = Access::new(Some(rules), metrics());
    let random = SystemRandom::new();
    let (ec, ec_jwk) = ec_key("one");
    let sign = |bytes: &[u8]| ec.sign(&random, bytes).unwrap().as_ref().to_vec();
    provider.keys.store(Arc::new(json!({ "keys": [ec_jwk.clone()] })));
    let header = json!({ "alg": "ES256", "kid": "one" });

    let ann =
        identify(&access, token(&header, &Provider::claims(), sign), SOMEWHERE).await.unwrap();
    assert!(access.authorize(&ann, Action::View, &stream("yard")).is_ok());
    assert!(access.authorize(&ann, Action::View, &stream("gate")).is_err());
    assert!(access.authorize(&ann, Action::Admin, None).is_err());
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 1);

    let with = |key: &str, value: Value| {
        let mut claims = Provider::claims();
        claims[key] = value;
        claims
    };
    let mut addresses = (1..).map(|host| format!("198.51.100.{host}"));
    let mut refused = async |header: &Value, claims: &Value, words: &str| {
        let from = addresses.next().unwrap();
        let fault = identify(&access, token(header, claims, sign), &from).await.unwrap_err();
        assert!(fault.detail.contains(words), "{header} {claims}: {fault}");
    };
    refused(&header, &with("exp", json!(1)), "expired").await;
    refused(&header, &with("exp", json!("9999999999")), "").await;
    refused(&header, &with("nbf", json!(99_999_999_999_u64)), "not valid yet").await;
    refused(&header, &with("aud", json!("another")), "`aud`").await;
    refused(&header, &with("aud", Value::Null), "").await;
    refused(&header, &with("iss", json!("https://evil")), "`iss`").await;
    refused(&header, &with("sub", json!("")), "names nobody").await;
    refused(&json!({ "alg": "none", "kid": "one" }), &Provider::claims(), "cannot be read").await;
    refused(&json!({ "alg": "HS256", "kid": "one" }), &Provider::claims(), "HS256").await;
    refused(&json!({ "alg": "RS256", "kid": "one" }), &Provider::claims(), "").await;
    refused(&json!({ "alg": "ES256", "kid": "two" }), &Provider::claims(), "not among").await;
    assert!(provider.fetched.load(Ordering::SeqCst) <= 2, "invented key ids cost no fetches");

    // The public key as a shared secret, which a careless reader takes.
    let public = ec.public_key().as_ref().to_vec();
    let hmac = |bytes: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        ring::hmac::sign(&key, bytes).as_ref().to_vec()
    };
    let forged = token(&json!({ "alg": "HS256", "kid": "one" }), &Provider::claims(), hmac);
    assert!(identify(&access, forged, "198.51.100.200").await.is_err());
}

#[tokio::test]
async fn a_rotated_key_is_fetched_and_ed25519_is_known() {
    let provider = Provider::new().await;
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64(key.public_key()) });
    let (_, other) = ec_key("other");
    provider.keys.store(Arc::new(json!({ "keys": [other, jwk] })));
    let rules = Rules { jwt: Some(provider.config.clone()), ..Rules::default() };
    let access = Access::new(Some(rules), metrics());
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let sign = |bytes: &[u8]| key.sign(bytes).as_ref().to_vec();
    let ann = token(&header, &Provider::claims(), sign);
    assert!(identify(&access, ann, SOMEWHERE).await.is_ok());
    let forged = token(&header, &Provider::claims(), |_| vec![0; 64]);
    assert!(identify(&access, forged, SOMEWHERE).await.is_err());
}

#[tokio::test]
async fn an_embed_token_needs_its_key() {
    let embed_key = EmbedKey::new(&[b'k'; 32]).unwrap();
    let streams = ["yard".parse().unwrap()];
    let hour = Duration::from_secs(3_600);
    let minted = embed_key.mint(&streams, hour, None, SystemTime::now());
    let old = embed_key.mint(&streams, hour, None, SystemTime::now() - hour * 2);
    let rules = Rules { embed_key: Some(embed_key), ..Rules::default() };
    let access = Access::new(Some(rules), metrics());
    let given = |token: &str| Credentials::Token(Secret::new(token));
    let viewer = identify(&access, given(&minted), SOMEWHERE).await.unwrap();
    assert!(access.authorize(&viewer, Action::View, &stream("yard")).is_ok());
    assert!(access.authorize(&viewer, Action::View, &stream("gate")).is_err());
    let expired = identify(&access, given(&old), SOMEWHERE).await.unwrap_err();
    assert!(expired.detail.contains("expired"), "{expired}");
    access.change(Some(Rules { allow_from: "10.0.0.1".parse().unwrap(), ..Rules::default() }));
    assert!(identify(&access, given(&minted), SOMEWHERE).await.is_err());
}
