//! The init segment: `ftyp` and `moov` (ISO/IEC 14496-12 §8.2, CMAF §7.3.1).

use bytes::Bytes;
use mp4::{FixedPointU8, FixedPointU16, FourCC, FtypBox, MoovBox};

use super::boxes::{container, full, leaf, put_u32};
use super::entry;
use crate::media::{Codec, MediaKind, PixelSize, Track};

/// Whether our fMP4 carries the codec.
pub fn carries(codec: &Codec) -> bool {
    codec.rfc6381().is_some()
}

/// The init segment of `tracks`: the first gets MP4 track id 1, and so on, as
/// [`super::Run::track`] counts. Tracks that are not carried must be left out.
pub fn init(tracks: &[&Track]) -> Bytes {
    debug_assert!(tracks.iter().all(|track| carries(&track.codec)));
    let mut out = Vec::with_capacity(1024);
    // `cmfc` is for files of one track (CMAF §7.3.1).
    let brands: &[[u8; 4]] = if tracks.len() == 1 { &[*b"iso6", *b"cmfc"] } else { &[*b"iso6"] };
    let brand = |value: &[u8; 4]| FourCC { value: *value };
    leaf(
        &mut out,
        &FtypBox {
            major_brand: brand(b"iso6"),
            minor_version: 0,
            compatible_brands: brands.iter().map(brand).collect(),
        },
    );
    container(&mut out, b"moov", |out| {
        // `mp4` does not export the types of inner boxes; its defaults do.
        let mut moov = MoovBox::default();
        moov.mvhd.next_track_id = tracks.len() as u32 + 1;
        leaf(out, &moov.mvhd);
        for (track, id) in tracks.iter().zip(1..) {
            put_track(out, track, id);
        }
        // Behind every `trak`, as HLS asks of fragmented MP4.
        container(out, b"mvex", |out| {
            let mut trex = moov.mvex.unwrap_or_default().trex;
            for id in 1..=tracks.len() as u32 {
                trex.track_id = id;
                trex.default_sample_description_index = 1;
                leaf(out, &trex);
            }
        });
    });
    out.into()
}

fn put_track(out: &mut Vec<u8>, track: &Track, id: u32) {
    let mut moov = MoovBox::default();
    moov.traks.push(Default::default());
    let trak = &mut moov.traks[0];
    let (tkhd, mdia) = (&mut trak.tkhd, &mut trak.mdia);
    let kind = track.kind();

    tkhd.flags = 3; // enabled, in the presentation
    tkhd.track_id = id;
    if let Some(PixelSize { width, height }) = track.codec.pixel_size() {
        let side = |pixels: u32| FixedPointU16::new(u16::try_from(pixels).unwrap_or(u16::MAX));
        (tkhd.width, tkhd.height) = (side(width), side(height));
        tkhd.volume = FixedPointU8::new(0);
    }
    mdia.mdhd.timescale = track.rate.hz();
    let (handler, name) = match kind {
        MediaKind::Video => (b"vide", "video"),
        MediaKind::Audio => (b"soun", "audio"),
    };
    mdia.hdlr.handler_type = FourCC { value: *handler };
    mdia.hdlr.name = name.into();

    container(out, b"trak", |out| {
        leaf(out, tkhd);
        container(out, b"mdia", |out| {
            leaf(out, &mdia.mdhd);
            leaf(out, &mdia.hdlr);
            container(out, b"minf", |out| {
                let minf = &mut mdia.minf;
                match kind {
                    MediaKind::Video => {
                        let vmhd = minf.vmhd.get_or_insert_default();
                        vmhd.flags = 1; // by §12.1.2
                        leaf(out, vmhd);
                    }
                    MediaKind::Audio => leaf(out, minf.smhd.get_or_insert_default()),
                }
                leaf(out, &minf.dinf);
                container(out, b"stbl", |out| {
                    full(out, b"stsd", 0, 0, |out| {
                        put_u32(out, 1);
                        entry::write(out, track);
                    });
                    // Required, and empty in a fragmented file.
                    leaf(out, &minf.stbl.stts);
                    leaf(out, &minf.stbl.stsc);
                    leaf(out, &minf.stbl.stsz);
                    leaf(out, minf.stbl.stco.get_or_insert_default());
                });
            });
        });
    });
}
