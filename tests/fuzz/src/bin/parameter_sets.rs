//! Parameter sets of H.264, H.265 and AAC: anything may be in them, and what
//! is accepted must be usable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::ingest::depacketize::AacConfig;
use porthole::media::{Avc, AvcPps, AvcSps, Hevc, HevcPps, HevcSps, MAX_PICTURE_SIDE};

fuzz_target!(|data: &[u8]| {
    // A set, then what accompanies it.
    let Some((&length, rest)) = data.split_first() else { return };
    let (first, second) = rest.split_at(usize::from(length).min(rest.len()));
    let _ = (AvcSps::read(first), AvcPps::read(second), HevcSps::read(first));
    let _ = (HevcPps::read(second), AacConfig::read(first));
    if let Ok(avc) = Avc::new(first.to_vec().into(), vec![second.to_vec().into()]) {
        assert!((1..=MAX_PICTURE_SIDE).contains(&avc.size.width));
        assert!((1..=MAX_PICTURE_SIDE).contains(&avc.size.height));
        assert!(avc.codec_string().len() == 11);
    }
    // The shortest VPS that is one.
    let vps = vec![0x40, 1, 0x0c, 1];
    if let Ok(hevc) = Hevc::new(vps.into(), first.to_vec().into(), vec![second.to_vec().into()]) {
        assert!((1..=MAX_PICTURE_SIDE).contains(&hevc.size.width));
        assert!((1..=MAX_PICTURE_SIDE).contains(&hevc.size.height));
        assert!(hevc.codec_string().starts_with("hvc1."));
    }
});
