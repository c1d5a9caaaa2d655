//! The name a viewer calls a stream by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Stream name as written in config, URLs and metric labels.
///
/// 1 to 63 of `a-z`, `0-9` and `-`: safe in a path, a label and a file name
/// without any escaping, so no room ever needs to escape it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

/// Which view of a stream's scene: cameras offer a smaller one beside the main.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quality {
    /// What the camera does best.
    #[default]
    Main,
    /// The same scene in fewer pixels.
    Sub,
}

impl Quality {
    /// The word in URLs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Sub => "sub",
        }
    }
}

/// The text is no stream name; the message says what one looks like.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a stream name: use 1 to 63 of a-z, 0-9 and `-`, and not `api`, which is taken"
)]
pub struct BadStreamName(String);

impl StreamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the stream's second quality is called in labels and logs:
    /// `yard/sub`. Nobody can configure or ask for that name, so it is no
    /// other stream's.
    #[must_use]
    pub fn sub(&self) -> Self {
        Self(format!("{}/{}", self.viewed(), Quality::Sub.as_str()).into())
    }

    /// The stream's own name, whichever quality this is the name of.
    #[must_use]
    pub fn main(&self) -> Self {
        if self.quality() == Quality::Main { self.clone() } else { Self(self.viewed().into()) }
    }

    /// Which of the stream's qualities this is the name of.
    pub fn quality(&self) -> Quality {
        if self.0.contains('/') { Quality::Sub } else { Quality::Main }
    }

    /// What viewers call the stream, whichever quality this is the name of.
    pub fn viewed(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl FromStr for StreamName {
    type Err = BadStreamName;

    fn from_str(s: &str) -> Result<Self, BadStreamName> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        // `/api/…` belongs to the API and to go2rtc's URL forms.
        if (1..=63).contains(&s.len()) && s.bytes().all(ok) && s != "api" {
            Ok(Self(s.into()))
        } else {
            // A hostile name is quoted in logs: keep it short.
            Err(BadStreamName(s.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_quality_has_a_name_that_no_stream_can_have() {
        let yard: StreamName = "yard".parse().unwrap();
        let sub = yard.sub();
        assert_eq!((sub.as_str(), sub.viewed(), yard.viewed()), ("yard/sub", "yard", "yard"));
        assert_eq!((sub.sub(), sub.main()), (sub.clone(), yard.clone()));
        assert_eq!((sub.quality(), yard.quality()), (Quality::Sub, Quality::Main));
        assert!(sub.as_str().parse::<StreamName>().is_err());
    }

    #[test]
    fn names_that_would_need_escaping_are_refused() {
        for bad in ["", "Yard", "a b", "../etc", "<img>", "api", "a/b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
        for good in ["front-door", "camera-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<StreamName>().is_ok(), "{good}");
        }
    }
}
