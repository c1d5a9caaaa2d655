//! Embed tokens: signed, expiring, for some streams and maybe one origin.
//!
//! `pt1.<payload>.<signature>`, both in URL-safe base64; the payload is JSON,
//! the signature HMAC-SHA256 over `pt1.<payload>`. Nothing is stored: another
//! key ends all tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use super::principal::{Grant, Pattern, Principal, Proof};

/// What a token of ours begins with.
pub(super) const PREFIX: &str = "pt1.";
/// Longer ones are not ours; they come in a URL.
const LONGEST: usize = 4_096;
/// Fewer characters could be guessed.
const KEY_LENGTH: usize = 32;

/// The key that signs tokens.
#[derive(Clone)]
pub struct EmbedKey {
    key: hmac::Key,
    /// Tells it from another one.
    digest: [u8; digest::SHA256_OUTPUT_LEN],
}

impl PartialEq for EmbedKey {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for EmbedKey {}

/// Not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has at least {KEY_LENGTH} characters; `openssl rand -hex 32` makes one")]
pub struct BadKey;

#[derive(Serialize, Deserialize)]
struct Payload {
    /// Tells one token from another.
    id: String,
    streams: Vec<String>,
    /// Seconds since 1970.
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

impl EmbedKey {
    /// The key in a file's content; white space around it does not count.
    ///
    /// # Errors
    ///
    /// When it is short.
    pub fn new(content: &[u8]) -> Result<Self, BadKey> {
        let content = content.trim_ascii();
        if content.len() < KEY_LENGTH {
            return Err(BadKey);
        }
        let mut mark = [0; digest::SHA256_OUTPUT_LEN];
        mark.copy_from_slice(digest::digest(&digest::SHA256, content).as_ref());
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, content), digest: mark })
    }

    /// A token for these streams, from `now` on for as long as `ttl`.
    pub fn mint(
        &self,
        streams: &[Pattern],
        ttl: Duration,
        origin: Option<&str>,
        now: SystemTime,
    ) -> String {
        let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + ttl;
        let payload = Payload {
            id: format!("{:016x}", rand::random::<u64>()),
            streams: streams.iter().map(|stream| stream.as_str().to_owned()).collect(),
            exp: until.as_secs(),
            origin: origin.map(str::to_owned),
        };
        let payload = serde_json::to_vec(&payload).expect("strings and a number");
        let signed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whom a token stands for; else what is wrong with it.
    pub(super) fn read(&self, token: &str, now: SystemTime) -> Result<Principal, &'static str> {
        const BAD: &str = "the token is not one of ours";
        if token.len() > LONGEST {
            return Err(BAD);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BAD)?;
        let payload = signed.strip_prefix(PREFIX).ok_or(BAD)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| BAD)?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).map_err(|_| BAD)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| BAD)?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| BAD)?;
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(payload.exp)).ok_or(BAD)?;
        let streams = payload.streams.iter().map(|stream| stream.parse());
        let streams = streams.collect::<Result<_, _>>().map_err(|_| BAD)?;
        let origin = payload.origin;
        let grant = Grant { streams, admin: false, until: Some(until), origin };
        if grant.is_over(now) {
            return Err("the token has expired");
        }
        Ok(Principal::known(format!("token:{}", payload.id), grant, Proof::Embed(self.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn key(text: &str) -> EmbedKey {
        EmbedKey::new(text.repeat(8).as_bytes()).unwrap()
    }

    #[test]
    fn a_token_reads_back_until_it_expires_and_under_its_own_key_alone() {
        let now = SystemTime::now();
        let streams: Vec<Pattern> = vec!["front-*".parse().unwrap()];
        let token = key("abcd").mint(&streams, HOUR, Some("https://a.example"), now);
        let principal = key("abcd").read(&token, now + HOUR / 2).unwrap();
        let grant = principal.grant().unwrap();
        assert!(grant.covers(&"front-door".parse().unwrap()) && !grant.admin);
        assert!(!grant.covers(&"yard".parse().unwrap()));
        assert_eq!(grant.origin.as_deref(), Some("https://a.example"));
        assert_eq!(key("abcd").read(&token, now + HOUR).err(), Some("the token has expired"));
        assert!(key("abce").read(&token, now).is_err());
        assert_ne!(
            principal,
            key("abcd").read(&key("abcd").mint(&[], HOUR, None, now), now).unwrap()
        );
    }

    #[test]
    fn a_token_with_any_letter_changed_is_none() {
        let now = SystemTime::now();
        let streams: Vec<Pattern> = vec!["yard".parse().unwrap()];
        let token = key("abcd").mint(&streams, HOUR, None, now);
        for at in 0..token.len() {
            let mut letters = token.clone().into_bytes();
            letters[at] = if letters[at] == b'A' { b'Q' } else { b'A' };
            let changed = String::from_utf8(letters).unwrap();
            assert!(key("abcd").read(&changed, now).is_err(), "{at}: {changed}");
            assert!(key("abcd").read(&token[..at], now).is_err(), "{at}");
        }
        assert!(key("abcd").read(&format!("{token}A"), now).is_err());
        assert!(EmbedKey::new(b" short key with white space    \n").is_err());
    }
}
