//! Just enough of STUN to see whom a datagram is for. Whether it is genuine is
//! for the engine to say.

/// What a datagram is, by its first byte (RFC 7983 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stun,
    /// DTLS, SRTP or SRTCP: of somebody we must have heard of before.
    Media,
    Unknown,
}

impl Kind {
    pub(super) fn of(datagram: &[u8]) -> Self {
        match datagram.first() {
            Some(0..=3) => Self::Stun,
            Some(20..=63 | 128..=191) => Self::Media,
            _ => Self::Unknown,
        }
    }
}

/// Class and method of a binding request (RFC 8489 §5).
const BINDING_REQUEST: [u8; 2] = [0, 1];

/// The receiver's `ice-ufrag` in a binding request: the first half of its
/// USERNAME (RFC 8445 §7.2.2). libnice repeats the request's in its answers,
/// where that half is the sender's.
pub(super) fn receiver_ufrag(datagram: &[u8]) -> Option<&str> {
    const USERNAME: u16 = 0x0006;
    if !is_request(datagram) {
        return None;
    }
    std::str::from_utf8(attribute(datagram, USERNAME)?).ok()?.split(':').next()
}

/// Whether it is a binding request, which a check is.
pub(super) fn is_request(datagram: &[u8]) -> bool {
    datagram.starts_with(&BINDING_REQUEST)
}

/// Whether a binding request names its path as the one to use (RFC 8445
/// §7.1.2).
pub(super) fn is_nomination(datagram: &[u8]) -> bool {
    const USE_CANDIDATE: u16 = 0x0025;
    is_request(datagram) && attribute(datagram, USE_CANDIDATE).is_some()
}

/// The value of an attribute (RFC 8489 §14: type, length, value padded to four
/// bytes).
fn attribute(datagram: &[u8], wanted: u16) -> Option<&[u8]> {
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let (header, mut rest) = datagram.split_first_chunk::<20>()?;
    if header[4..8] != MAGIC_COOKIE {
        return None;
    }
    while let Some(([t0, t1, l0, l1], tail)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = tail.get(..length)?;
        if u16::from_be_bytes([*t0, *t1]) == wanted {
            return Some(value);
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        out.extend([7; 12]);
        for (kind, value) in attributes {
            out.extend(kind.to_be_bytes());
            out.extend((value.len() as u16).to_be_bytes());
            out.extend_from_slice(value);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn the_receiver_is_named_before_the_colon_behind_any_attribute() {
        let datagram = request(&[(0x8022, b"other"), (6, b"ours:theirs")]);
        assert_eq!(receiver_ufrag(&datagram), Some("ours"));
        assert_eq!(Kind::of(&datagram), Kind::Stun);
        assert!(!is_nomination(&datagram));
        assert!(is_nomination(&request(&[(6, b"ours:theirs"), (0x25, b"")])));
    }

    #[test]
    fn an_answer_names_nobody_whatever_it_repeats() {
        let mut answer = request(&[(6, b"theirs:ours")]);
        answer[..2].copy_from_slice(&[1, 1]);
        assert_eq!(Kind::of(&answer), Kind::Stun);
        assert_eq!(receiver_ufrag(&answer), None);
    }

    #[test]
    fn broken_requests_name_nobody() {
        let good = request(&[(6, b"ours:theirs")]);
        for cut in 0..good.len() - 1 {
            assert_eq!(receiver_ufrag(&good[..cut]), None, "{cut}");
        }
        let mut no_cookie = good;
        no_cookie[4] = 0;
        assert_eq!(receiver_ufrag(&no_cookie), None);
        assert_eq!(receiver_ufrag(&request(&[(6, &[0xff, 0xfe])])), None);
    }
}
