//! Media: what a frame, a track and a moment are.
//!
//! Here: value types every room shares, codec parameters and NAL unit parsing.
//! Not here: I/O, clocks, tasks, locks. Nothing in this room ever waits, and
//! nothing in it trusts the bytes it reads.

mod av1;
mod codec;
mod frame;
mod h264;
mod h265;
mod nal;
mod name;
mod reference_set;
pub mod reorder;
mod time;
mod track;
mod vpx;
mod vui;

pub use av1::{Av1, Obu, ObuKind, leb128, put_leb128};
pub use codec::{Aac, Codec, G711Law, Jpeg, PixelSize};
pub use frame::{Draft, Frame, FrameKind};
pub use h264::{Avc, AvcPps, AvcSps, PicOrder, VuiPlace};
pub use h265::{Hevc, HevcPps, HevcSps};
pub use nal::{
    BadParameterSet, BitReader, BitWriter, FrameRate, MAX_PARAMETER_SET_BYTES, MAX_PICTURE_SIDE,
    NalUnits, escape, length_prefixed, unescape,
};
pub use name::{BadStreamName, Quality, StreamName};
pub use reference_set::{ReferenceSet, ReferenceSets};
pub use time::{ClockRate, MediaTime, WallTime};
pub use track::{MediaKind, Track, TrackId, Tracks};
pub use vpx::{Vp8, Vp9};
pub use vui::Colour;
