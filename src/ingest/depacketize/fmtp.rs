//! Format parameters of SDP (`a=fmtp`, RFC 8866 §6.15).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Cameras leave the padding out, or write bits into it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `name=value` pairs, separated by semicolons.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fmtp<'a>(&'a str);

impl<'a> Fmtp<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.trim();
        // With the payload type still in front, as in the SDP line.
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        Self(if rest.len() < text.len() && rest.starts_with(' ') { rest } else { text })
    }

    /// The value of a parameter, whose name has no case (RFC 6184 §8.1).
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }

    /// A decimal parameter.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// Binary values in base64, separated by commas; what cannot be read is
    /// left out, since in-band values may make up for it.
    pub(super) fn base64_list(&self, name: &str) -> Vec<Vec<u8>> {
        let list = self.get(name).unwrap_or_default();
        list.split(',').filter_map(|item| LENIENT.decode(item.trim()).ok()).collect()
    }

    /// A binary value in hexadecimal.
    pub(super) fn hex(&self, name: &str) -> Option<Vec<u8>> {
        let text = self.get(name)?.as_bytes();
        let digit = |b: u8| char::from(b).to_digit(16);
        let byte = |pair: &[u8]| match *pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        };
        text.chunks(2).map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_whatever_their_case_and_spacing() {
        let fmtp = Fmtp::new("96 Packetization-Mode=1; sprop=Zw==,!!,aA ;config=1190; bad");
        assert_eq!(fmtp.number("packetization-mode"), Some(1));
        assert_eq!(fmtp.base64_list("sprop"), [vec![0x67], vec![0x68]]);
        assert_eq!(fmtp.hex("CONFIG"), Some(vec![0x11, 0x90]));
        assert_eq!(fmtp.get("bad"), None);
        assert_eq!(Fmtp::new("").get("x"), None);
        assert_eq!(Fmtp::new("config=119").hex("config"), None);
    }
}
