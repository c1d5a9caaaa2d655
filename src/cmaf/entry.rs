//! Sample entries: what a decoder is told before the first sample.

use super::boxes::{container, full, put_set, put_u16, put_u32};
use super::flac;
use crate::media::{Aac, Avc, AvcSps, Codec, Hevc, PixelSize, Track};

/// Writes the sample entry of `track`; nothing for a codec that fMP4 does not
/// carry (see [`super::carries`]).
pub(super) fn write(out: &mut Vec<u8>, track: &Track) {
    let rate = track.rate.hz();
    match &track.codec {
        Codec::H264(avc) => visual(out, b"avc1", avc.size, |out| avc_config(out, avc)),
        // `hvc1`: parameter sets here and nowhere else, as Apple wants it.
        Codec::H265(hevc) => visual(out, b"hvc1", hevc.size, |out| hevc_config(out, hevc)),
        Codec::Vp8(_) | Codec::Vp9(_) | Codec::Av1(_) | Codec::Jpeg(_) | Codec::G722 => {}
        Codec::Aac(aac) => audio(out, b"mp4a", aac.channels, aac.sample_rate, |out| esds(out, aac)),
        Codec::G711 { channels, .. } | Codec::L16 { channels } => {
            audio(out, b"fLaC", *channels, rate, |out| {
                full(out, b"dfLa", 0, 0, |out| flac::put_stream_info(out, *channels, rate));
            })
        }
        Codec::Opus { channels } => audio(out, b"Opus", *channels, 48_000, |out| {
            container(out, b"dOps", |out| opus_config(out, *channels));
        }),
    }
}

/// `VisualSampleEntry` (ISO/IEC 14496-12 §12.1.3).
fn visual(out: &mut Vec<u8>, kind: &[u8; 4], size: PixelSize, config: impl FnOnce(&mut Vec<u8>)) {
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
    container(out, kind, |out| {
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // reserved, data_reference_index
        out.extend_from_slice(&[0; 16]); // pre_defined and reserved
        put_u16(out, side(size.width));
        put_u16(out, side(size.height));
        put_u32(out, 0x0048_0000); // 72 dpi
        put_u32(out, 0x0048_0000);
        put_u32(out, 0); // reserved
        put_u16(out, 1); // frame_count per sample
        out.extend_from_slice(&[0; 32]); // compressorname
        put_u16(out, 0x0018); // depth: colour without alpha
        put_u16(out, 0xffff); // pre_defined = -1
        config(out);
    });
}

/// `AudioSampleEntry` (ISO/IEC 14496-12 §12.2.3).
fn audio(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    channels: u8,
    rate: u32,
    config: impl FnOnce(&mut Vec<u8>),
) {
    container(out, kind, |out| {
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // reserved, data_reference_index
        out.extend_from_slice(&[0; 8]); // reserved
        put_u16(out, u16::from(channels));
        put_u16(out, 16); // samplesize, by convention
        put_u32(out, 0); // pre_defined, reserved
        // 16.16; a rate that does not fit stands in the codec's own config.
        put_u32(out, u32::from(u16::try_from(rate).unwrap_or(0)) << 16);
        config(out);
    });
}

/// `avcC` (ISO/IEC 14496-15 §5.3.3.1).
fn avc_config(out: &mut Vec<u8>, avc: &Avc) {
    let [profile, flags, level] = avc.profile();
    // The count of PPS has 8 bits; no stream uses more than a few.
    let pps = &avc.pps[..avc.pps.len().min(255)];
    container(out, b"avcC", |out| {
        out.extend_from_slice(&[1, profile, flags, level]);
        out.push(0xfc | 3); // lengths of 4 bytes
        out.push(0xe0 | 1); // one SPS
        put_set(out, &avc.sps);
        out.push(pps.len() as u8);
        for set in pps {
            put_set(out, set);
        }
        // Required of High profiles; players that check it refuse the file
        // without.
        if !matches!(profile, 66 | 77 | 88) {
            // An SPS that cannot be read is taken for 8 bits 4:2:0, which is
            // what cameras send.
            let sps = AvcSps::read(&avc.sps).ok();
            let [format, luma, chroma] = sps.map_or([1, 0, 0], |sps| {
                let less_8 = |depth: u8| depth.saturating_sub(8) & 7;
                [sps.chroma_format & 3, less_8(sps.bit_depth_luma), less_8(sps.bit_depth_chroma)]
            });
            out.extend_from_slice(&[0xfc | format, 0xf8 | luma, 0xf8 | chroma, 0]);
        }
    });
}

/// `hvcC` (ISO/IEC 14496-15 §8.3.3.1).
fn hevc_config(out: &mut Vec<u8>, hevc: &Hevc) {
    container(out, b"hvcC", |out| {
        out.push(1);
        out.extend_from_slice(&hevc.profile_tier_level);
        put_u16(out, 0xf000); // min_spatial_segmentation_idc: unknown
        out.push(0xfc); // parallelismType: unknown
        out.push(0xfc | hevc.chroma_format & 3);
        out.push(0xf8 | hevc.bit_depth_luma.saturating_sub(8) & 7);
        out.push(0xf8 | hevc.bit_depth_chroma.saturating_sub(8) & 7);
        put_u16(out, 0); // avgFrameRate: unspecified
        // constantFrameRate 0, then layers, nesting, lengths of 4 bytes
        out.push((hevc.sub_layers & 7) << 3 | u8::from(hevc.temporal_id_nested) << 2 | 3);
        let pps: Vec<&[u8]> = hevc.pps.iter().map(|set| &set[..]).collect();
        // nal_unit_type of VPS, SPS and PPS (H.265 table 7-1).
        let arrays = [(32, vec![&hevc.vps[..]]), (33, vec![&hevc.sps[..]]), (34, pps)];
        out.push(arrays.len() as u8);
        for (kind, sets) in arrays {
            out.push(0x80 | kind); // array_completeness
            put_u16(out, sets.len() as u16);
            for set in sets {
                put_set(out, set);
            }
        }
    });
}

/// `esds` (ISO/IEC 14496-14 §5.6): descriptors of ISO/IEC 14496-1 §7.2.6.
fn esds(out: &mut Vec<u8>, aac: &Aac) {
    // AudioSpecificConfig; with a program config element at most some 60 bytes.
    let config = &aac.config[..aac.config.len().min(64)];
    let specific = descriptor(5, config);
    let mut decoder = vec![
        0x40, // objectTypeIndication: MPEG-4 audio
        0x15, // streamType audio, upStream 0, reserved 1
    ];
    decoder.extend_from_slice(&[0; 11]); // bufferSizeDB, maxBitrate, avgBitrate: unknown
    decoder.extend_from_slice(&specific);
    let mut stream = vec![0, 0, 0]; // ES_ID, flags
    stream.extend_from_slice(&descriptor(4, &decoder));
    stream.extend_from_slice(&descriptor(6, &[2])); // SLConfig: MP4
    full(out, b"esds", 0, 0, |out| out.extend_from_slice(&descriptor(3, &stream)));
}

/// Tag, length, content. Ours are all shorter than 128 bytes.
fn descriptor(tag: u8, content: &[u8]) -> Vec<u8> {
    debug_assert!(content.len() < 128, "the length takes one byte");
    let mut out = vec![tag, content.len() as u8];
    out.extend_from_slice(content);
    out
}

/// `dOps` (Opus in ISOBMFF §4.3.2). RTP does not say the pre-skip; a live
/// stream has none.
fn opus_config(out: &mut Vec<u8>, channels: u8) {
    out.extend_from_slice(&[0, channels]);
    put_u16(out, 0); // PreSkip
    put_u32(out, 48_000);
    put_u16(out, 0); // OutputGain
    out.push(0); // ChannelMappingFamily: mono or stereo
}
