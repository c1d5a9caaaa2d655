//! Another server decides, as with MediaMTX's `authHTTPAddress`: it is POSTed
//! who wants what, and says yes by a 2xx status.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::{digest, hmac};
use serde_json::json;
use url::Url;

use super::access::{Attempt, Credentials};
use crate::fetch::fetch;

/// A viewer is waiting for it.
const LIMIT: Duration = Duration::from_secs(5);
/// What it says counts for this long: a player asks several times a second.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Answers remembered.
const MOST: usize = 10_000;
/// Nobody reads its body.
const BYTES: usize = 64 << 10;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackConfig {
    /// `http://` or `https://`.
    pub url: Url,
}

/// The other server, and what it said lately.
pub(super) struct Callback {
    pub(super) config: CallbackConfig,
    key: hmac::Key,
    said: Mutex<HashMap<[u8; 32], (bool, Instant)>>,
}

impl Callback {
    pub(super) fn new(config: CallbackConfig) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        Self { config, key, said: Mutex::default() }
    }

    /// Whether `attempt` may do its action with `path` (a stream's name, or
    /// nothing). No answer is a no.
    pub(super) async fn allows(&self, attempt: &Attempt<'_>, path: &str) -> bool {
        let (user, password, token) = match &attempt.credentials {
            Credentials::None => ("", "", ""),
            Credentials::Basic { user, password } => (user.as_str(), password.expose(), ""),
            Credentials::Token(token) => ("", "", token.expose()),
        };
        let body = json!({
            "user": user,
            "password": password,
            "token": token,
            "ip": attempt.address.as_ref().map(IpAddr::to_string).unwrap_or_default(),
            "action": attempt.action.as_str(),
            "path": path,
            "protocol": attempt.protocol,
            "id": null,
            "query": attempt.query,
        });
        let body = body.to_string();
        let mut mark = [0; digest::SHA256_OUTPUT_LEN];
        mark.copy_from_slice(hmac::sign(&self.key, body.as_bytes()).as_ref());
        if let Some(said) = self.remembered(&mark) {
            return said;
        }
        let said = match fetch(&self.config.url, Some(body), LIMIT, BYTES).await {
            Ok(answer) => answer.status.is_success(),
            Err(error) => {
                tracing::warn!(%error, "auth.http gives no answer: access is refused");
                return false;
            }
        };
        let mut table = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= MOST {
            table.clear();
        }
        table.insert(mark, (said, Instant::now()));
        said
    }

    fn remembered(&self, mark: &[u8; 32]) -> Option<bool> {
        let table = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, since) = table.get(mark)?;
        (since.elapsed() < REMEMBERED).then_some(*said)
    }
}
