//! B-frames: pictures that are not shown in the order they come. A stream that
//! has none, but says that it might or says nothing, is made to say so, or
//! decoders hold pictures back to be on the safe side, for as many pictures as
//! they could have to reorder.

use bytes::Bytes;

use super::{
    Avc, AvcSps, BitReader, BitWriter, Codec, Frame, FrameKind, MediaTime, NalUnits, PicOrder,
    Track, Tracks, escape, unescape,
};

/// Whether the parameters leave room for B-frames.
pub fn is_possible(codec: &Codec) -> bool {
    match codec {
        Codec::H264(avc) => avc.max_num_reorder_frames != Some(0),
        Codec::H265(hevc) => hevc.max_num_reorder_pics > 0,
        _ => false,
    }
}

/// Looks whether pictures come in the order in which they are shown.
#[derive(Debug, Default)]
pub struct Order {
    shown: Option<MediaTime>,
}

impl Order {
    /// Whether this frame is one of those that are shown in another order. An
    /// H.264 slice says so. H.265 encoders call slices B that refer to the past
    /// alone, so there the times must tell.
    pub fn is_surprise(&mut self, frame: &Frame) -> bool {
        let Some(track) = frame.track().filter(|track| is_possible(&track.codec)) else {
            return false;
        };
        if matches!(track.codec, Codec::H264(_)) {
            return has_b_slices(&frame.data);
        }
        let back = self.shown.is_some_and(|shown| frame.pts < shown);
        self.shown = Some(frame.pts);
        // A camera's clock may be set back between groups of pictures.
        back && frame.kind == FrameKind::Delta
    }
}

/// Whether a picture has a slice that may refer to later pictures.
fn has_b_slices(data: &[u8]) -> bool {
    NalUnits::new(data).any(is_b_slice)
}

fn is_b_slice(unit: &[u8]) -> bool {
    // §7.3.3: first_mb_in_slice, then slice_type, of which 1 and 6 are B. Both
    // take less than 12 bytes.
    let slice = |header: &u8| matches!(header & 0x1f, 1 | 2);
    if !unit.first().is_some_and(slice) {
        return false;
    }
    let start = unescape(unit.get(..12).unwrap_or(unit));
    let mut bits = BitReader::new(&start);
    let kind = bits.bits(8).and_then(|_| bits.ue()).and_then(|_| bits.ue());
    matches!(kind, Ok(1 | 6))
}

/// The parameter sets to send before a key frame of a stream without B-frames.
pub fn ordered_sets(avc: &Avc) -> Avc {
    let mut avc = avc.clone();
    if let Some(sps) = ordered(&avc.sps) {
        avc.sps = sps;
    }
    avc
}

/// The same tracks, with such parameter sets.
pub fn ordered_tracks(tracks: &Tracks) -> Tracks {
    let ordered = |track: &Track| match &track.codec {
        Codec::H264(avc) => Track { codec: Codec::H264(ordered_sets(avc)), ..track.clone() },
        _ => track.clone(),
    };
    Tracks::new(tracks.iter().map(ordered).collect())
}

/// The SPS with `max_num_reorder_frames` 0 (H.264 §E.1.1), for a stream without
/// B-frames. `None` where it says so already, or cannot be read that far.
pub fn ordered(sps: &[u8]) -> Option<Bytes> {
    let info = AvcSps::read(sps).ok()?;
    if info.pic_order == PicOrder::Decoding {
        return None;
    }
    let rbsp = unescape(sps);
    let mut bits = BitReader::new(&rbsp);
    let mut out = BitWriter::default();
    match info.vui.restriction {
        Some(at) => {
            out.copy(&mut bits, at)?;
            if bits.flag().ok()? {
                return renumbered(out, &mut bits);
            }
        }
        None => {
            out.copy(&mut bits, info.vui.present)?;
            // A VUI that breaks off cannot be completed.
            if bits.flag().unwrap_or(false) {
                return None;
            }
            out.bits(1, 1);
            // None of aspect ratio, overscan, video signal type, chroma
            // location, timing, the two HRDs and picture structure.
            out.bits(0, 8);
        }
    }
    out.bits(1, 1); // bitstream_restriction_flag
    // What §E.2.1 has a decoder infer without it, but for the reordering.
    out.bits(1, 1); // motion_vectors_over_pic_boundaries_flag
    for value in [2, 1, 16, 16, 0, info.max_num_ref_frames] {
        out.ue(value);
    }
    Some(escape(&out.finish()).into())
}

/// The rest of an SPS whose restriction names a number: 0 instead.
fn renumbered(mut out: BitWriter, bits: &mut BitReader<'_>) -> Option<Bytes> {
    out.bits(1, 1); // bitstream_restriction_flag
    out.copy(bits, 1)?; // motion_vectors_over_pic_boundaries_flag
    // Two denominators, two lengths of motion vectors: 0 to 16 each (§E.2.1).
    for _ in 0..4 {
        out.ue(bits.ue().ok().filter(|value| *value <= 16)?);
    }
    if bits.ue().ok()? == 0 {
        return None;
    }
    out.ue(0);
    // Frames to hold, 0 to 16.
    out.ue(bits.ue().ok().filter(|value| *value <= 16)?);
    Some(escape(&out.finish()).into())
}

#[cfg(test)]
mod tests {
    use super::super::length_prefixed;
    use super::*;

    /// What x264 makes of some pictures (Annex B).
    fn encode(profile: &[&str]) -> Vec<u8> {
        let out = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-t", "1"])
            .args(["-c:v", "libx264", "-pix_fmt", "yuv420p"])
            .args(profile)
            .args(["-f", "h264", "-"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    fn units(stream: &[u8]) -> Vec<&[u8]> {
        let starts: Vec<usize> =
            (3..stream.len()).filter(|&at| stream[at - 3..at] == [0, 0, 1]).collect();
        let ends = starts.iter().skip(1).map(|next| next - 3).chain([stream.len()]);
        let unit = |(start, end): (&usize, usize)| {
            let unit = &stream[*start..end];
            &unit[..=unit.iter().rposition(|byte| *byte != 0).unwrap()]
        };
        starts.iter().zip(ends).map(unit).collect()
    }

    /// The SPS that x264 writes, and whether it used B-frames.
    fn x264(profile: &[&str]) -> (Vec<u8>, bool) {
        let stream = encode(profile);
        let units = units(&stream);
        let sps = units.iter().find(|unit| unit[0] & 0x1f == 7).unwrap().to_vec();
        (sps, has_b_slices(&length_prefixed(units)))
    }

    /// A hash of the pictures that a decoder makes of a stream.
    fn decoded(stream: &[u8]) -> String {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut decoder = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "h264", "-i", "-", "-f", "md5", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        decoder.stdin.take().unwrap().write_all(stream).unwrap();
        let out = decoder.wait_with_output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The same without the VUI's end, or without a VUI.
    fn silent(sps: &[u8], whole_vui: bool) -> Vec<u8> {
        let vui = AvcSps::read(sps).unwrap().vui;
        let rbsp = unescape(sps);
        let mut out = BitWriter::default();
        let end = if whole_vui { vui.present } else { vui.restriction.unwrap() };
        out.copy(&mut BitReader::new(&rbsp), end).unwrap();
        out.bits(0, 1);
        escape(&out.finish())
    }

    #[test]
    fn b_frames_are_found_and_their_absence_too() {
        assert!(x264(&["-profile:v", "main", "-bf", "2"]).1);
        assert!(!x264(&["-profile:v", "main", "-bf", "0"]).1);
        assert!(!has_b_slices(&[0, 0, 0, 9, 0x41]));
    }

    #[test]
    fn a_silent_sps_is_made_to_say_that_nothing_is_reordered() {
        let (sps, _) = x264(&["-profile:v", "high", "-bf", "2"]);
        for whole_vui in [true, false] {
            let silent = silent(&sps, whole_vui);
            let before = AvcSps::read(&silent).unwrap();
            assert_eq!(before.max_num_reorder_frames, None);
            let after = AvcSps::read(&ordered(&silent).unwrap()).unwrap();
            assert_eq!(after.max_num_reorder_frames, Some(0));
            // Nothing else changes.
            let vui = before.vui;
            assert_eq!(
                AvcSps { max_num_reorder_frames: None, vui, ..after },
                before,
                "whole_vui {whole_vui}"
            );
        }
    }

    #[test]
    fn one_whose_vui_breaks_off_is_left_as_it_is() {
        let (sps, _) = x264(&["-profile:v", "high", "-bf", "2"]);
        let present = AvcSps::read(&sps).unwrap().vui.present;
        let cut = escape(&unescape(&sps)[..present / 8 + 2]);
        let info = AvcSps::read(&cut).unwrap();
        assert_eq!((info.vui.present, info.vui.restriction), (present, None));
        assert_eq!(ordered(&cut), None);
    }

    #[test]
    fn odd_ones_too_and_a_decoder_makes_the_same_pictures_of_them() {
        let signal = "sar=4/3:overscan=show:colorprim=bt709:transfer=bt709:colormatrix=bt709:\
            fullrange=on:chromaloc=1:videoformat=pal";
        for odd in [
            &["-profile:v", "main"][..],
            &["-profile:v", "high10", "-pix_fmt", "yuv420p10le"],
            &["-profile:v", "high422", "-pix_fmt", "yuv422p"],
            &["-profile:v", "high444", "-pix_fmt", "yuv444p"],
            &["-s", "66x50"],
            &["-x264-params", "interlaced=1"],
            &["-x264-params", "cqm=jvt"],
            &["-x264-params", "nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500"],
            &["-x264-params", signal],
        ] {
            // One picture: x264 leaves room for B-frames, and has none.
            let stream = encode(&[&["-frames:v", "1", "-bf", "2"], odd].concat());
            let wanted = decoded(&stream);
            let written = units(&stream);
            let sps = *written.iter().find(|unit| unit[0] & 0x1f == 7).unwrap();
            let info = AvcSps::read(sps).unwrap();
            for before in [sps.to_vec(), silent(sps, true), silent(sps, false)] {
                let after = ordered(&before).unwrap_or_else(|| panic!("{odd:?}"));
                let read = AvcSps::read(&after).unwrap();
                assert_eq!((read.max_num_reorder_frames, read.size), (Some(0), info.size));
                let swap = |unit: &&[u8]| if unit == &sps { after.to_vec() } else { unit.to_vec() };
                let swapped: Vec<u8> = written
                    .iter()
                    .flat_map(|unit| [vec![0, 0, 0, 1], swap(unit)].concat())
                    .collect();
                assert_eq!(decoded(&swapped), wanted, "{odd:?}");
            }
        }
    }

    #[test]
    fn one_that_announces_more_than_it_does_is_corrected() {
        let (sps, _) = x264(&["-profile:v", "high", "-bf", "2"]);
        let before = AvcSps::read(&sps).unwrap();
        assert_eq!(before.max_num_reorder_frames, Some(2));
        let after = ordered(&sps).unwrap();
        let read = AvcSps::read(&after).unwrap();
        assert_eq!(AvcSps { max_num_reorder_frames: Some(2), ..read.clone() }, before);
        assert_eq!(read.max_num_reorder_frames, Some(0));
        assert_eq!(ordered(&after), None);
        for end in 0..sps.len() {
            let _must_not_panic = ordered(&sps[..end]);
        }
    }

    #[test]
    fn one_that_speaks_or_is_broken_stays_as_it_is() {
        let (sps, _) = x264(&["-profile:v", "main", "-bf", "0"]);
        assert_eq!(ordered(&sps), None);
        for end in 0..sps.len() {
            let _must_not_panic = ordered(&sps[..end]);
        }
    }
}
