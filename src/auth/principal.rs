//! Who somebody is, and what they were granted.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use super::callback::CallbackConfig;
use super::jwt::JwtConfig;
use super::token::EmbedKey;
use super::users::PasswordHash;
use crate::media::StreamName;

/// Whoever makes a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody in particular.
    Anonymous,
    /// Somebody who proved to be it.
    Known(Arc<Identity>),
}

/// Somebody. Equal to who has the same name, since a grant may change while a
/// session lasts; a session belongs to the name.
#[derive(Clone, Debug)]
pub struct Identity {
    /// How they proved it and who they are: `user:ann`.
    pub name: String,
    /// What they may do.
    pub grant: Grant,
    /// What it rests on.
    pub proof: Proof,
}

/// What somebody was known by. Once it is not in force any more, nothing that
/// rests on it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The password of this hash.
    Password(PasswordHash),
    /// Where they are.
    Network(IpAddr),
    /// A token signed with it.
    Embed(EmbedKey),
    /// A token of this provider.
    Jwt(JwtConfig),
    /// This server's word.
    Callback(CallbackConfig),
}

impl fmt::Debug for Proof {
    /// Its kind: the rest may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "password",
            Self::Network(_) => "network",
            Self::Embed(_) => "embed",
            Self::Jwt(_) => "jwt",
            Self::Callback(_) => "callback",
        })
    }
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Streams that may be viewed.
    pub streams: Vec<Pattern>,
    /// Whether everything may be viewed, and the configuration changed.
    pub admin: bool,
    /// Nothing any more from then on.
    pub until: Option<SystemTime>,
    /// The one other origin whose pages may use it.
    pub origin: Option<String>,
}

impl Principal {
    /// Somebody of that name.
    pub fn known(name: impl Into<String>, grant: Grant, proof: Proof) -> Self {
        Self::Known(Arc::new(Identity { name: name.into(), grant, proof }))
    }

    /// What they were granted.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(&identity.grant),
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Grant {
    /// Every stream, and nothing else.
    pub fn every_stream() -> Self {
        Self { streams: vec![Pattern("*".into())], ..Self::default() }
    }

    /// Whether `stream` is among them, in either quality.
    pub fn covers(&self, stream: &StreamName) -> bool {
        self.admin || self.streams.iter().any(|pattern| pattern.matches(stream.viewed()))
    }

    /// Whether it has come to its end.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Streams by name, where `*` stands for any number of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// The text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("streams are named by a-z, 0-9 and `-`, and by `*` for any of them, such as `front-*`")]
pub struct BadPattern;

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'*';
        let ok = (1..=63).contains(&text.len()) && text.bytes().all(known);
        if ok { Ok(Self(text.into())) } else { Err(BadPattern) }
    }
}

impl Pattern {
    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let mut pieces: Vec<&str> = rest.split('*').collect();
        let last = pieces.pop().unwrap_or_default();
        // The leftmost place for each piece leaves most for those after it.
        for piece in pieces {
            let Some(at) = name.find(piece) else { return false };
            name = name.get(at + piece.len()..).unwrap_or_default();
        }
        name.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_what_it_says_and_no_more() {
        for (pattern, name, matches) in [
            ("yard", "yard", true),
            ("yard", "yard-2", false),
            ("yard", "back-yard", false),
            ("front-*", "front-door", true),
            ("front-*", "front-", true),
            ("front-*", "front", false),
            ("*", "anything", true),
            ("*-door", "front-door", true),
            ("*-door", "front-door-2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(name), matches, "{pattern} {name}");
        }
        for bad in ["", "Yard", "a/b", "a?", "../x", "yard/sub"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grant_covers_both_qualities_of_a_stream() {
        let grant = Grant { streams: vec!["yard".parse().unwrap()], ..Grant::default() };
        let yard: StreamName = "yard".parse().unwrap();
        assert!(grant.covers(&yard) && grant.covers(&yard.sub()));
        assert!(!grant.covers(&"gate".parse().unwrap()));
    }
}
