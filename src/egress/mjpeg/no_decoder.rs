//! A build without the feature `openh264`: H.264 is not decoded.

use super::plane::Picture;
use crate::media::Avc;

/// Always why not.
pub(super) fn key_frame(_avc: &Avc, _data: &[u8]) -> Result<Picture, String> {
    Err("this build of porthole has no H.264 decoder (feature `openh264`)".into())
}
