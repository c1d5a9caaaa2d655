//! CMAF: fragmented MP4 as Media Source Extensions and HLS take it.
//!
//! Here: the init segment, `moof`+`mdat` fragments, sample entries, and G.711
//! and L16 made into FLAC, since no browser takes those in MP4.
//! Not here: when to cut (`egress::hls`), how to send, any clock.
//!
//! The only importer of `mp4`, whose interface shows through nowhere: its leaf
//! boxes are right, its containers (`moov`, `mvex`, `traf`) and sample entries
//! are not, so those are framed here (`mp4` 0.14.0).
//!
//! Promise: a frame's payload is copied once, into the `mdat` it is sent in; by
//! [`pieces`] not at all, unless it is small.

mod boxes;
mod entry;
mod flac;
mod fragment;
mod init;

pub use fragment::{Run, Sample, fragment, pieces};
pub use init::{carries, init};

use bytes::Bytes;

use self::flac::Pcm;
use crate::media::{Codec, Track};

/// `payload` of a frame of `track` as the container stores it: G.711 and
/// L16 become FLAC frames, all else stays as it is (and is not copied).
///
/// `position` is the frame's place on its track in samples; it ends up in the
/// FLAC frame header and nowhere else.
pub fn sample_data(track: &Track, position: u64, payload: &Bytes) -> Bytes {
    match track.codec {
        Codec::G711 { law, channels } => {
            flac::frame(&Pcm::G711(law, payload), channels, track.rate.hz(), position)
        }
        Codec::L16 { channels } => {
            flac::frame(&Pcm::L16(payload), channels, track.rate.hz(), position)
        }
        _ => payload.clone(),
    }
}

/// The parameter sets of a picture in H.264, each behind its length like any
/// unit of a frame, for [`Run::sets`]; of other codecs none.
///
/// The sample entry has them, and `avc1` wants them there alone (ISO/IEC
/// 14496-15 §5.3.3). But who reads one init segment and then all segments as
/// one file, as ffmpeg does, knows a later picture only by what stands in front
/// of it; and every muxer that copies a camera's H.264 leaves them there. Of
/// `hvc1` nobody does: Apple wants them in the sample entry.
pub fn parameter_sets(track: &Track) -> Bytes {
    let Codec::H264(avc) = &track.codec else { return Bytes::new() };
    let mut out = Vec::new();
    for set in std::iter::once(&avc.sps).chain(&avc.pps) {
        out.extend_from_slice(&(set.len() as u32).to_be_bytes());
        out.extend_from_slice(set);
    }
    out.into()
}

#[cfg(test)]
mod tests;
