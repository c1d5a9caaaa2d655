//! Access: who may do what with which stream.
//!
//! Here: principals and what they are granted, the ways to become one
//! (`users`, `jwt`, `callback`, `token`, networks), guessing slowed down
//! (`damping`), and the one [`Access::authorize`] that stands before every
//! route of every output, and the [`Pass`] that ends what it let in. Not here: HTTP (`http::gate` takes credentials out of
//! requests and calls us), sessions, routes.
//!
//! Promise: without a rule nobody gets anything; a wrong password costs the
//! house one bounded piece of work, never a thread of a viewer's; no secret
//! leaves this room.

mod access;
mod callback;
mod damping;
mod jwt;
mod metrics;
mod pass;
mod principal;
mod token;
mod users;

pub use access::{Access, Attempt, Credentials, Ruled, Rules};
pub use callback::CallbackConfig;
pub use jwt::JwtConfig;
pub use metrics::AuthMetrics;
pub use pass::Pass;
pub use principal::{BadPattern, Grant, Identity, Pattern, Principal, Proof};
pub use token::{BadKey, EmbedKey};
#[cfg(test)]
pub(crate) use users::MARKS;
pub use users::{BadHash, PasswordHash, User};

/// What a principal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// See and hear a stream, in whatever way.
    View,
    /// See pages that show only what else may be seen.
    List,
    /// Read metrics, read and change the configuration.
    Admin,
}

impl Action {
    /// The word for it in the callback, as MediaMTX says it.
    fn as_str(self) -> &'static str {
        match self {
            Self::View => "read",
            Self::List => "list",
            Self::Admin => "api",
        }
    }
}

#[cfg(test)]
mod tests;
