//! Passwords and keys.
//!
//! A leaf room of one type that cannot be printed: no Debug, no Display, no
//! Serialize, so that no log line, API answer or panic can hold one by chance.

/// Text that must never be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, to hand to the peer it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
