//! H.264 parameter sets.

use bytes::Bytes;

use super::{BadParameterSet, PixelSize};

/// H.264 parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avc {
    /// Sequence parameter set, escaped, with its NAL header.
    pub sps: Bytes,
    /// Every picture parameter set in force, likewise.
    pub pps: Vec<Bytes>,
    /// Picture size.
    pub size: PixelSize,
    /// Frames that may be decoded before, yet shown after, another one; 0
    /// where the stream has no B-frames. `None` when the SPS does not say.
    pub max_num_reorder_frames: Option<u32>,
}

impl Avc {
    /// Reads what we need from the sets.
    ///
    /// # Errors
    ///
    /// An SPS that H.264 §7.3.2.1 cannot have written, or no PPS.
    pub fn new(sps: Bytes, pps: Vec<Bytes>) -> Result<Self, BadParameterSet> {
        let _ = (sps, pps);
        todo!()
    }

    /// Codec string for `isTypeSupported`, such as `avc1.64001F`.
    ///
    /// RFC 6381 §3.3: profile, constraint flags and level, in hex, from the
    /// SPS. Raw bytes are safe to read: profile and level are never zero, so
    /// no emulation prevention byte (H.264 §7.3.1) can come this early.
    pub fn codec_string(&self) -> String {
        let [profile, flags, level] = self.profile();
        format!("avc1.{profile:02X}{flags:02X}{level:02X}")
    }

    /// `profile_idc`, constraint flags, `level_idc`: the three bytes of SDP's
    /// `profile-level-id` (RFC 6184 §8.1).
    pub fn profile(&self) -> [u8; 3] {
        [self.sps[1], self.sps[2], self.sps[3]]
    }
}
