//! The multivariant playlist (§4.4.6), which `m3u8-rs` writes: one variant with
//! picture and sound together, or two where a stream has a substream.

use m3u8_rs::{MasterPlaylist, Resolution, VariantStream};

use super::playlist::Name;
use super::snapshot::Snapshot;
use crate::media::{PixelSize, Quality};

/// What the playlist says of one quality.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    quality: Quality,
    bandwidth: u64,
    average_bandwidth: u64,
    codecs: String,
    size: Option<PixelSize>,
    /// Pictures a second.
    frame_rate: Option<f64>,
    independent: bool,
}

impl Variant {
    pub(super) fn of(snapshot: &Snapshot, quality: Quality) -> Self {
        let size = snapshot.init.size;
        let interval = snapshot.targets.interval.as_secs_f64();
        Self {
            quality,
            bandwidth: snapshot.peak_rate(),
            average_bandwidth: snapshot.mean_rate().max(1),
            codecs: snapshot.init.codecs.clone(),
            size,
            frame_rate: size.map(|_| (1_000.0 / interval).round() / 1_000.0),
            independent: snapshot.independent,
        }
    }

    /// Whether a player may change from one to the other: hls.js ends where one has
    /// sound and the other does not.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        let tracks = |variant: &Self| variant.codecs.split(',').count();
        tracks(self) == tracks(other)
    }

    /// From a stream's own URL.
    fn uri(&self) -> String {
        let folder = match self.quality {
            Quality::Main => "hls",
            Quality::Sub => "hls/sub",
        };
        format!("{folder}/{}", Name::Media)
    }
}

/// The playlist's text. A player starts with the first variant.
pub(super) fn text(variants: &[Variant]) -> String {
    let stream = |variant: &Variant| VariantStream {
        uri: variant.uri(),
        bandwidth: variant.bandwidth,
        average_bandwidth: Some(variant.average_bandwidth),
        codecs: Some(variant.codecs.clone()),
        resolution: variant.size.map(|size| Resolution {
            width: u64::from(size.width),
            height: u64::from(size.height),
        }),
        frame_rate: variant.frame_rate,
        ..Default::default()
    };
    let playlist = MasterPlaylist {
        version: Some(9),
        independent_segments: variants.iter().all(|variant| variant.independent),
        variants: variants.iter().map(stream).collect(),
        ..Default::default()
    };
    let mut out = Vec::new();
    playlist.write_to(&mut out).expect("a Vec takes every write");
    String::from_utf8(out).expect("codec strings and numbers are ASCII")
}
