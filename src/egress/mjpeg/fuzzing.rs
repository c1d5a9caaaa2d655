//! The doors that cameras' bytes come in by, for `tests/fuzz/`.

use super::{decode, jpeg};
use crate::media::{Avc, length_prefixed};

/// An SPS and a PPS, each behind its 8-bit length, then slices, each behind its
/// 16-bit one: decoded and made smaller, or refused.
pub fn key_frame(data: &[u8]) {
    let set = |data: &'_ [u8]| {
        let (&length, rest) = data.split_first()?;
        let (set, rest) = rest.split_at_checked(length.into())?;
        Some((set.to_vec(), rest.to_vec()))
    };
    let Some((sps, rest)) = set(data) else { return };
    let Some((pps, mut rest)) = set(&rest) else { return };
    let Ok(avc) = Avc::new(sps.into(), vec![pps.into()]) else { return };
    let mut slices = Vec::new();
    while let [l0, l1, ..] = *rest {
        let end = (2 + usize::from(u16::from_be_bytes([l0, l1]))).min(rest.len());
        slices.push(rest[2..end].to_vec());
        rest.drain(..end);
    }
    if let Ok(picture) = decode::key_frame(&avc, &length_prefixed(slices.iter().map(|s| &s[..]))) {
        assert!(picture.luma.width <= avc.size.width as usize);
        assert!(picture.luma.height <= avc.size.height as usize);
        let (width, height) = picture.size_within(Some(160));
        jpeg::encode(&picture.scaled(width, height)).expect("a small picture");
    }
}

/// A JPEG camera's file: read and made smaller, or refused.
pub fn jpeg_file(data: &[u8]) {
    if let Ok(picture) = jpeg::decode(data) {
        let (width, height) = picture.size_within(Some(160));
        jpeg::encode(&picture.scaled(width, height)).expect("a small picture");
    }
}
