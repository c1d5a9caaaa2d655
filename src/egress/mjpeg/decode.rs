//! H.264 key frames to pictures. The only file that names the decoder.
//!
//! The decoder is Cisco's OpenH264, in C++ and assembly. It is shown as little
//! as a picture takes: whoever breaks it must do so with the residuals and
//! prediction of a lone intra picture. Everything before is read here, or
//! written anew:
//!
//! - sizes up to level 5.2, 4:2:0 or grey, 8 bits, no fields;
//! - the SPS written anew without VUI, with one reference frame at most: its
//!   memory is four pictures, whatever the camera asks for;
//! - PPS of that SPS, without slice groups;
//! - slices of the key frame alone, all of them intra: no code for references,
//!   reordering or scalability is reached by what they say;
//! - a new decoder for each picture: nothing is left over from another one.
//!
//! What remains cannot be stopped once begun: a thread of C++ has no way out.
//! Its work is bounded by the frame's bytes and the picture's size, both
//! capped, to some 100 ms; `Pictures` bounds how many run at once.

use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

use super::colour;
use super::plane::{Picture, Plane};
use crate::media::{Avc, AvcSps, BitReader, BitWriter, NalUnits, escape, unescape};

/// Most macroblocks of a picture: level 5.2 (H.264 table A-1), such as
/// 4,096 x 2,304. OpenH264 takes no more.
const MAX_MACROBLOCKS: u32 = 36_864;
/// Baseline, Main and High.
const PROFILES: [u8; 3] = [66, 77, 100];
const START_CODE: [u8; 4] = [0, 0, 0, 1];
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;

/// The picture of a key frame (NAL units behind their lengths), in JFIF's
/// colours, cropped, its samples square.
///
/// # Errors
///
/// Why there is none, in words.
pub(super) fn key_frame(avc: &Avc, data: &[u8]) -> Result<Picture, String> {
    let sps = AvcSps::read(&avc.sps).map_err(|error| error.to_string())?;
    check(&sps, avc.profile()[0])?;
    let mut stream = Vec::with_capacity(data.len() + 256);
    let bare = bare_sps(&avc.sps, &sps).ok_or("the SPS ends early")?;
    let plain = avc.pps.iter().filter(|pps| has_one_slice_group(pps));
    for unit in std::iter::once(&bare[..]).chain(plain.map(|pps| &pps[..])) {
        stream.extend_from_slice(&START_CODE);
        stream.extend_from_slice(unit);
    }
    let slices = NalUnits::new(data)
        .filter(|unit| matches!(unit.first().map(|header| header & 0x1f), Some(SLICE | IDR_SLICE)));
    for unit in slices {
        if !is_intra(unit) {
            return Err("its key frames refer to other pictures (gradual refresh)".into());
        }
        stream.extend_from_slice(&START_CODE);
        stream.extend_from_slice(unit);
    }

    let mut decoder = Decoder::new().map_err(|error| error.to_string())?;
    let decoded = decoder.decode(&stream).map_err(|error| format!("it cannot be decoded: {error}"));
    let decoded = decoded?.ok_or("its key frame is not a whole picture")?;
    let (width, height) = decoded.dimensions();
    if (width as u64, height as u64) != (sps.size.width.into(), sps.size.height.into()) {
        return Err(format!("its picture is {width} x {height}, unlike what its SPS says"));
    }
    let strides = decoded.strides();
    let half = (width.div_ceil(2), height.div_ceil(2));
    let chroma = |samples, stride| match sps.chroma_format {
        0 => Some(Plane::flat(half.0, half.1, 128)),
        _ => Plane::from_rows(samples, stride, half.0, half.1),
    };
    let planes = Plane::from_rows(decoded.y(), strides.0, width, height)
        .zip(chroma(decoded.u(), strides.1).zip(chroma(decoded.v(), strides.2)));
    let (luma, (blue, red)) = planes.ok_or("the decoder gave too few samples")?;
    let picture = colour::to_jfif(Picture { luma, chroma: [blue, red] }, sps.colour);
    Ok(match square(&sps) {
        Some((width, height)) => picture.scaled(width, height),
        None => picture,
    })
}

/// Whether the decoder has a picture for it.
fn check(sps: &AvcSps, profile: u8) -> Result<(), String> {
    let size = sps.size;
    if sps.macroblocks > MAX_MACROBLOCKS {
        return Err(format!("{} x {} is above H.264 level 5.2", size.width, size.height));
    }
    if !sps.frame_mbs_only {
        return Err("it is interlaced; set the camera to progressive".into());
    }
    if !PROFILES.contains(&profile) {
        return Err(format!("its H.264 profile ({profile}) is none of Baseline, Main and High"));
    }
    if sps.chroma_format > 1 || sps.bit_depth_luma != 8 || sps.bit_depth_chroma != 8 {
        return Err("its samples are not 4:2:0 of 8 bits".into());
    }
    Ok(())
}

/// The SPS as far as it matters to a lone intra picture: one reference frame
/// at most, no VUI (H.264 §7.3.2.1.1).
fn bare_sps(unit: &[u8], sps: &AvcSps) -> Option<Vec<u8>> {
    let rbsp = unescape(unit);
    let mut bits = BitReader::new(&rbsp);
    let mut out = BitWriter::default();
    out.copy(&mut bits, sps.max_num_ref_frames_at)?;
    out.ue(bits.ue().ok()?.min(1));
    let rest = sps.vui.present.checked_sub(bits.position())?;
    out.copy(&mut bits, rest)?;
    out.bits(0, 1);
    Some(escape(&out.finish()))
}

/// Slice groups (§7.3.2.2) are of no use to a camera, and code of their own in
/// a decoder.
fn has_one_slice_group(pps: &[u8]) -> bool {
    let head = unescape(pps.get(..24).unwrap_or(pps));
    let mut bits = BitReader::new(&head);
    let groups = || {
        bits.bits(8)?;
        bits.ue()?; // pic_parameter_set_id
        bits.ue()?; // seq_parameter_set_id
        bits.bits(2)?; // entropy_coding_mode_flag, bottom_field_pic_order_in_frame_present_flag
        bits.ue()
    };
    std::iter::once_with(groups).any(|groups| groups == Ok(0))
}

/// Whether all of a slice is intra: I slices (§7.3.3, table 7-6).
fn is_intra(unit: &[u8]) -> bool {
    let head = unescape(unit.get(..16).unwrap_or(unit));
    let mut bits = BitReader::new(&head);
    let kind = bits.bits(8).and_then(|_| bits.ue()).and_then(|_| bits.ue());
    matches!(kind, Ok(2 | 7))
}

/// The size in which the picture's samples are square, where they are not now.
fn square(sps: &AvcSps) -> Option<(usize, usize)> {
    let (across, down) = sps.sample_aspect?;
    let (across, down) = (usize::from(across), usize::from(down));
    // Beyond 4 to 1 it is nonsense: cameras have 16:11 at most.
    if across == down || across > 4 * down || down > 4 * across {
        return None;
    }
    let (width, height) = (sps.size.width as usize, sps.size.height as usize);
    // Always smaller: what is made up would be no sharper.
    Some(if across > down {
        (width, (height * down / across).max(1))
    } else {
        ((width * across / down).max(1), height)
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
