//! Users with passwords, kept as argon2 hashes.
//!
//! A verification takes tens of milliseconds and megabytes on purpose. So it
//! runs apart from the threads that serve viewers, few at a time; and what was
//! right a moment ago is remembered by a keyed hash, since a player asks for
//! several pieces a second.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordVerifier as _};
use ring::{digest, hmac};
use tokio::sync::Semaphore;

use super::principal::{Grant, Principal, Proof};
use crate::fault::{Code, Fault};
use crate::secret::Secret;

/// Verifications at once: 2 x 19 MiB with argon2's default parameters.
const AT_ONCE: usize = 2;
/// Verifications waiting; each takes some 30 ms.
const WAITING: usize = 32;
/// How long a right password is right without another look.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Right passwords remembered.
const MOST: usize = 1_024;
/// Most memory that a hash may ask for, in KiB.
const MEMORY: u32 = 256 << 10;

#[cfg(test)]
thread_local! {
    /// Passwords this thread has hashed to look whether they are remembered.
    pub(crate) static MARKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Somebody with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Unique.
    pub name: String,
    /// Of the password.
    pub hash: PasswordHash,
    /// What they may do.
    pub grant: Grant,
}

/// An argon2 hash in PHC form: `$argon2id$v=19$m=…`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Secret);

/// Not such a hash; the words say why, without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHash(&'static str);

impl FromStr for PasswordHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let bad = BadHash(
            "this is no argon2 hash, such as `$argon2id$v=19$…`; `porthole password` makes one",
        );
        let hash = phc::PasswordHash::new(text).map_err(|_| bad.clone())?;
        let params = argon2::Params::try_from(&hash).map_err(|_| bad.clone())?;
        if !hash.algorithm.as_str().starts_with("argon2") || hash.hash.is_none() {
            return Err(bad);
        }
        if params.m_cost() > MEMORY {
            return Err(BadHash("this hash takes more than 256 MiB to verify"));
        }
        Ok(Self(Secret::new(text)))
    }
}

impl PasswordHash {
    /// The hash of a password, with a new salt.
    ///
    /// # Errors
    ///
    /// When the system has no randomness, or the password is too long.
    pub fn of(password: &Secret) -> Result<String, BadHash> {
        use argon2::PasswordHasher as _;
        let hash = Argon2::default().hash_password(password.expose().as_bytes());
        hash.map(|hash| hash.to_string()).map_err(|_| BadHash("this cannot be hashed"))
    }

    fn is_of(&self, password: &Secret) -> bool {
        let Ok(hash) = phc::PasswordHash::new(self.0.expose()) else { return false };
        Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
    }
}

/// All users.
pub(super) struct Users {
    by_name: HashMap<String, (PasswordHash, Principal)>,
    /// Keyed, and the key never leaves: the table alone says nothing about a
    /// password.
    key: hmac::Key,
    right: Mutex<HashMap<[u8; 32], Instant>>,
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Users {
    pub(super) fn new(users: Vec<User>) -> Self {
        let user = |user: User| {
            let proof = Proof::Password(user.hash.clone());
            let principal = Principal::known(format!("user:{}", user.name), user.grant, proof);
            (user.name, (user.hash, principal))
        };
        Self {
            by_name: users.into_iter().map(user).collect(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            right: Mutex::default(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// What the user of that name, with a password of that hash, may do now.
    pub(super) fn grant(&self, principal: &str, hash: &PasswordHash) -> Option<&Grant> {
        let (now, principal) = self.by_name.get(principal.strip_prefix("user:")?)?;
        principal.grant().filter(|_| now == hash)
    }

    /// The principal, if the same was right lately. Costs no argon2.
    pub(super) fn remembered(&self, name: &str, password: &Secret) -> Option<Principal> {
        let (_, principal) = self.by_name.get(name)?;
        let mark = self.mark(name, password);
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let since = right.get(&mark)?;
        (since.elapsed() < REMEMBERED).then(|| principal.clone())
    }

    /// The principal, if the password is right. A name that nobody has takes
    /// as long as one that somebody has.
    ///
    /// # Errors
    ///
    /// `viewer.limit` when too many are being verified.
    pub(super) async fn verify(
        &self,
        name: &str,
        password: &Secret,
    ) -> Result<Option<Principal>, Fault> {
        let busy = || Fault::new(Code::ViewerLimit, "too many passwords are being verified");
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| busy())?;
        let user = self.by_name.get(name);
        let Some((hash, _)) = user.or_else(|| self.by_name.values().next()) else {
            return Ok(None);
        };
        let hash = hash.clone();
        let given = password.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash.is_of(&given)
        });
        let right = verified.await.unwrap_or(false);
        let Some((_, principal)) = user.filter(|_| right) else { return Ok(None) };
        self.remember(self.mark(name, password));
        Ok(Some(principal.clone()))
    }

    fn remember(&self, mark: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST {
            right.clear();
        }
        right.insert(mark, Instant::now());
    }

    fn mark(&self, name: &str, password: &Secret) -> [u8; 32] {
        #[cfg(test)]
        MARKS.set(MARKS.get() + 1);
        let mut mark = hmac::Context::with_key(&self.key);
        // By length: `a` with `bc` is not `ab` with `c`.
        mark.update(&name.len().to_be_bytes());
        mark.update(name.as_bytes());
        mark.update(password.expose().as_bytes());
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(mark.sign().as_ref());
        bytes
    }
}
