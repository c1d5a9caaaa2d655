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

#[cfg(test)]
mod tests;
