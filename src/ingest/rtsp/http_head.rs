//! The head of an HTTP answer (RFC 9112 §2), as far as a tunnel needs it; sans
//! I/O.

use bytes::BytesMut;

use crate::fault::{Code, Fault};

/// What it may measure.
pub const MAX_HEAD: usize = 8 << 10;
/// Most characters of a reason that are shown.
const MAX_REASON: usize = 80;

/// The head of an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Such as 200.
    pub status: u16,
    /// What the camera calls that, printable.
    pub reason: String,
    /// Each `WWW-Authenticate`, printable.
    pub challenges: Vec<String>,
}

impl Head {
    /// Takes it off what came so far; `None` while its end is missing.
    ///
    /// # Errors
    ///
    /// `source.protocol` for what is no HTTP, `source.limit` for a head longer
    /// than [`MAX_HEAD`].
    pub fn take(came: &mut BytesMut) -> Result<Option<Self>, Fault> {
        let protocol = |detail: &str| Err(Fault::new(Code::SourceProtocol, detail));
        if !came.iter().zip(b"HTTP/1.").all(|(a, b)| a == b) {
            return protocol(
                "what listens there does not speak HTTP; cameras do at port 80 or 443",
            );
        }
        let within = &came[..came.len().min(MAX_HEAD)];
        let Some(at) = within.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return match came.len() < MAX_HEAD {
                true => Ok(None),
                false => Err(Fault::new(Code::SourceLimit, "an HTTP head longer than 8 KiB")),
            };
        };
        let head = came.split_to(at + 4);
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
        let Some(status) = words.next().and_then(|status| status.parse().ok()) else {
            return protocol("an HTTP answer that cannot be read");
        };
        // What is answered to a challenge goes into a header of ours.
        let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        let reason = printable(words.next().unwrap_or_default());
        let challenges = lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"))
            .map(|(_, value)| printable(value.trim()))
            .collect();
        Ok(Some(Self { status, reason: reason.chars().take(MAX_REASON).collect(), challenges }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bytes: &[u8]) -> Result<Option<(Head, usize)>, Code> {
        let mut came = BytesMut::from(bytes);
        let head = Head::take(&mut came).map_err(|fault| fault.code)?;
        Ok(head.map(|head| (head, came.len())))
    }

    #[test]
    fn it_ends_at_an_empty_line_and_what_follows_stays() {
        let whole = b"HTTP/1.0 401 No\x1b way\r\nX: y\r\nwww-authenticate: Basic realm=\"a\rb\"\r\n\r\nRTSP";
        let (head, rest) = take(whole).unwrap().unwrap();
        assert_eq!((head.status, head.reason.as_str(), rest), (401, "No way", 4));
        assert_eq!(head.challenges, ["Basic realm=\"ab\""]);
        for end in 0..whole.len() - 5 {
            assert_eq!(take(&whole[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_is_no_head_or_never_ends_is_told_apart() {
        assert_eq!(take(b"RTSP/1.0 200 OK\r\n\r\n"), Err(Code::SourceProtocol));
        assert_eq!(take(b"HTTP/1.1 OK\r\n\r\n"), Err(Code::SourceProtocol));
        let endless = |length| [&b"HTTP/1.0 200 "[..], &vec![b'x'; length]].concat();
        assert_eq!(take(&endless(MAX_HEAD - 14)), Ok(None));
        assert_eq!(take(&endless(MAX_HEAD)), Err(Code::SourceLimit));
        let late = [&endless(MAX_HEAD)[..], b"\r\n\r\n"].concat();
        assert_eq!(take(&late), Err(Code::SourceLimit));
    }
}
