//! Fragments of SDP (RFC 8840 §9): candidates that come later, and the
//! credentials of an ICE restart, theirs and ours.

use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::candidates;
use super::offer::{MAX_CANDIDATES, has_forbidden, is_usable_candidate};

/// What a viewer sends with PATCH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    /// `a=ice-ufrag` and `a=ice-pwd`, the first of each.
    pub(super) ufrag: Option<String>,
    pub(super) password: Option<String>,
    /// Candidates that may be tried, without `a=candidate:`.
    pub(super) candidates: Vec<String>,
    /// The first section, which stands for all that share its connection.
    media: String,
    mid: String,
}

/// The fragment cannot be used; the words say why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadFragment(&'static str);

/// RFC 8839 §5.4.
const UFRAG_LENGTH: RangeInclusive<usize> = 4..=256;
const PASSWORD_LENGTH: RangeInclusive<usize> = 22..=256;

/// A section's line and name are repeated in our reply.
const MAX_REPEATED: usize = 200;

impl Fragment {
    /// Reads the text of a PATCH.
    pub(super) fn read(text: &str) -> Result<Self, BadFragment> {
        let mut fragment = Self {
            media: "video 9 UDP/TLS/RTP/SAVPF 0".to_owned(),
            mid: "0".to_owned(),
            ..Self::default()
        };
        let mut sections = 0;
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            // RFC 8866 §5: one small letter, then `=`.
            if !matches!(line.as_bytes(), [b'a'..=b'z', b'=', ..]) || has_forbidden(line) {
                return Err(BadFragment("it is no fragment of SDP"));
            }
            let repeated = |value: &str| {
                (value.len() <= MAX_REPEATED)
                    .then(|| value.to_owned())
                    .ok_or(BadFragment("a line is too long"))
            };
            if let Some(media) = line.strip_prefix("m=") {
                sections += 1;
                if sections == 1 {
                    fragment.media = repeated(media)?;
                }
            } else if let Some(mid) = line.strip_prefix("a=mid:") {
                if sections <= 1 {
                    fragment.mid = repeated(mid)?;
                }
            } else if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                let usable = is_ice_string(value, &UFRAG_LENGTH);
                let bad = BadFragment("`a=ice-ufrag` cannot be used");
                let value = usable.then(|| value.to_owned()).ok_or(bad)?;
                fragment.ufrag.get_or_insert(value);
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                let usable = is_ice_string(value, &PASSWORD_LENGTH);
                let bad = BadFragment("`a=ice-pwd` cannot be used");
                let value = usable.then(|| value.to_owned()).ok_or(bad)?;
                fragment.password.get_or_insert(value);
            } else if let Some(candidate) = line.strip_prefix("a=candidate:")
                && is_usable_candidate(candidate)
                && fragment.candidates.len() < MAX_CANDIDATES
            {
                fragment.candidates.push(candidate.to_owned());
            }
        }
        Ok(fragment)
    }

    /// Our reply to an ICE restart: new credentials, and all our addresses.
    pub(super) fn reply(&self, ufrag: &str, password: &str, addresses: &[SocketAddr]) -> String {
        let Self { media, mid, .. } = self;
        let mut out =
            format!("m={media}\r\na=mid:{mid}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
        for candidate in candidates::lines(addresses) {
            write!(out, "{candidate}\r\n").expect("a String takes all");
        }
        out + "a=end-of-candidates\r\n"
    }
}

fn is_ice_string(value: &str, length: &RangeInclusive<usize>) -> bool {
    // RFC 8839 §5.4 has letters, digits, `+` and `/`; browsers have had more.
    let ice_char = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=#".contains(&byte);
    length.contains(&value.len()) && value.bytes().all(ice_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKLE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:left\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
        a=candidate:2 1 tcp 2122260223 192.0.2.1 9 typ host tcptype active\r\n\
        a=end-of-candidates\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:right\r\n";

    #[test]
    fn candidates_and_credentials_are_found() {
        let fragment = Fragment::read(TRICKLE).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.password.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(fragment.candidates.len(), 1, "TCP from there cannot be reached");
    }

    #[test]
    fn the_reply_is_about_the_first_section() {
        let fragment = Fragment::read(TRICKLE).unwrap();
        let reply = fragment.reply("ours", "secret", &["203.0.113.7:8189".parse().unwrap()]);
        assert_eq!(
            reply,
            "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:left\r\na=ice-ufrag:ours\r\n\
             a=ice-pwd:secret\r\na=candidate:1 1 udp 2130706431 203.0.113.7 8189 typ host\r\n\
             a=candidate:2 1 tcp 1520435199 203.0.113.7 8189 typ host tcptype passive\r\n\
             a=end-of-candidates\r\n"
        );
        assert_eq!(
            Fragment::read(&reply.replace("ours", "ourselves").replace("secret", &"s".repeat(22)))
                .unwrap()
                .mid,
            "left"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_or_left_out() {
        let credentials = |ufrag: &str, password: &str| {
            Fragment::read(&format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n"))
        };
        let password = "x".repeat(22);
        assert!(credentials("abcd", &password).is_ok());
        for (ufrag, password) in [("abc", &*password), ("ab cd", &password), ("abcd", "short")] {
            assert!(credentials(ufrag, password).is_err(), "{ufrag} {password}");
        }
        assert!(Fragment::read(&format!("m={}", "x".repeat(201))).is_err());
        for not_sdp in ["hello", "A=b", "{}", "=", "a", "a=mid:0\rm=audio"] {
            assert!(Fragment::read(not_sdp).is_err(), "{not_sdp}");
        }
        assert_eq!(Fragment::read("\r\n"), Fragment::read(""));
        let many = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(100);
        assert_eq!(Fragment::read(&many).unwrap().candidates.len(), MAX_CANDIDATES);
    }
}
