//! Which output plays which camera in which browser.

use crate::ingest::{Probe, Seen};
use crate::media::{Codec, MediaKind};

/// Browsers, in the order of the table's columns.
pub(super) const BROWSERS: [&str; 4] = ["Chrome", "Firefox", "Safari", "iOS"];

/// Outputs, in the order of the table's rows.
pub(super) const OUTPUTS: [&str; 4] = ["WebRTC", "HLS", "MSE", "MJPEG"];

/// Whether a camera plays somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) plays: bool,
    /// What is missing, or what to know; may be empty.
    pub(super) reason: String,
}

fn yes(reason: impl Into<String>) -> Verdict {
    Verdict { plays: true, reason: reason.into() }
}

fn no(reason: impl Into<String>) -> Verdict {
    Verdict { plays: false, reason: reason.into() }
}

/// The verdict on one output in one browser.
pub(super) fn verdict(probe: &Probe, output: &str, browser: &str) -> Verdict {
    let track = |kind| probe.tracks.iter().find(|track| track.kind == kind && track.frames > 0);
    let (video, audio) = (track(MediaKind::Video), track(MediaKind::Audio));
    if video.is_none() && audio.is_none() {
        return no("nothing was received");
    }
    match output {
        "WebRTC" => web_rtc(video, audio, browser),
        "HLS" => hls(video, browser),
        "MSE" => mse(video, browser),
        _ => pictures(video),
    }
}

fn web_rtc(video: Option<&Seen>, audio: Option<&Seen>, browser: &str) -> Verdict {
    match video.and_then(|video| video.codec.as_ref().map(|codec| (video, codec))) {
        Some((video, Codec::H264(_) | Codec::H265(_))) if video.reordered => {
            no("B-frames: switch them off in the camera, or set its profile to Baseline")
        }
        Some((_, Codec::H265(_))) if browser == "Firefox" => {
            no("H.265: set the camera to H.264, or name its H.264 stream as `substream`")
        }
        Some((_, Codec::H265(_))) if browser == "Chrome" => {
            yes("only where the computer's graphics chip decodes H.265")
        }
        Some((_, Codec::Av1(_))) if matches!(browser, "Safari" | "iOS") => {
            yes("only where the device decodes AV1")
        }
        Some((_, Codec::Jpeg(_))) => {
            no("MJPEG: set the camera to H.264, or name its H.264 stream as `substream`")
        }
        Some(_) => match audio.and_then(|audio| audio.codec.as_ref()) {
            Some(Codec::Aac(_)) => yes("without sound: no AAC in WebRTC; G.711 would play"),
            _ => yes(""),
        },
        None if video.is_some() => no("the camera sends no parameter sets"),
        None => yes("sound only"),
    }
}

fn mse(video: Option<&Seen>, browser: &str) -> Verdict {
    match video.map(|video| video.codec.as_ref()) {
        Some(None) => no("the camera sends no parameter sets"),
        Some(Some(codec @ (Codec::Jpeg(_) | Codec::Vp8(_) | Codec::Vp9(_) | Codec::Av1(_)))) => {
            no(format!("{}: set the camera to H.264", codec.name()))
        }
        Some(Some(Codec::H265(_))) if matches!(browser, "Chrome" | "Firefox") => {
            yes("only where the computer's graphics chip decodes H.265")
        }
        _ if browser == "iOS" => yes("from iOS 17.1 on"),
        _ => yes(""),
    }
}

/// What [`crate::egress::mjpeg`] can make pictures of.
fn pictures(video: Option<&Seen>) -> Verdict {
    match video.map(|video| video.codec.as_ref()) {
        Some(Some(Codec::Jpeg(_))) => yes(""),
        Some(Some(Codec::H264(_))) => yes("key frames alone, without sound"),
        Some(Some(codec)) => {
            let name = codec.name();
            no(format!("{name} is not decoded here: name the camera's own still, `snapshot_url`"))
        }
        Some(None) => no("the camera sends no parameter sets"),
        None => no("there is no picture"),
    }
}

/// A segment begins at a key frame.
fn has_rare_key_frames(video: &Seen) -> bool {
    video.keyframe_interval.is_none_or(|seconds| seconds > 6.0)
}

fn hls(video: Option<&Seen>, browser: &str) -> Verdict {
    match video.and_then(|video| video.codec.as_ref()) {
        Some(codec @ (Codec::Jpeg(_) | Codec::Vp8(_) | Codec::Vp9(_) | Codec::Av1(_))) => {
            no(format!("{}: set the camera to H.264", codec.name()))
        }
        Some(Codec::H265(_)) => match browser {
            "Safari" | "iOS" => yes(""),
            "Chrome" => no("H.265 plays only where the computer's graphics chip decodes it"),
            _ => no("H.265: set the camera to H.264"),
        },
        _ if browser == "Firefox" => no("Firefox plays HLS only with a script such as hls.js"),
        Some(_) if video.is_some_and(has_rare_key_frames) => {
            yes("starts late: set a key-frame (I-frame) interval of 1 to 4 s in the camera")
        }
        _ => yes(""),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{Avc, Jpeg, PixelSize};

    fn seen(codec: Codec, reordered: bool) -> Seen {
        Seen {
            kind: codec.kind(),
            codec: Some(codec),
            frames: 10,
            bytes: 1,
            seconds: 1.0,
            keyframe_interval: None,
            reordered,
            packets: 10,
            lost: 0,
            discarded: 0,
            bad_times: 0,
        }
    }

    fn probe(tracks: Vec<Seen>) -> Probe {
        Probe {
            login_schemes: Vec::new(),
            server: None,
            transport: None,
            tracks,
            notes: Vec::new(),
            clock_offset: None,
            fault: None,
        }
    }

    fn plays(probe: &Probe) -> Vec<&'static str> {
        let plays = |output: &&str| {
            let verdicts = BROWSERS.map(|browser| verdict(probe, output, browser));
            assert!(verdicts.iter().all(|v| v.plays || !v.reason.is_empty()), "{verdicts:?}");
            verdicts.iter().any(|verdict| verdict.plays)
        };
        OUTPUTS.into_iter().filter(plays).collect()
    }

    #[test]
    fn a_jpeg_camera_plays_as_pictures_alone_and_the_reason_names_it() {
        let size = PixelSize { width: 1, height: 1 };
        let probe = probe(vec![seen(Codec::Jpeg(Jpeg { size }), false)]);
        assert_eq!(plays(&probe), ["MJPEG"]);
        assert!(verdict(&probe, "MSE", "Chrome").reason.contains("MJPEG"));
    }

    #[test]
    fn b_frames_play_everywhere_but_in_webrtc() {
        let sps = &[0x67, 66, 0, 30, 0xda, 0x02, 0x80, 0xbf, 0xe5];
        let pps = vec![Bytes::from_static(&[0x68, 0xce, 0x38, 0x80])];
        let h264 = Codec::H264(Avc::new(Bytes::from_static(sps), pps).unwrap());
        assert_eq!(plays(&probe(vec![seen(h264.clone(), true)])), ["HLS", "MSE", "MJPEG"]);
        assert_eq!(plays(&probe(vec![seen(h264, false)])), OUTPUTS);
    }

    #[test]
    fn sound_alone_plays() {
        let probe = probe(vec![seen(Codec::Opus { channels: 2 }, false)]);
        assert!(verdict(&probe, "WebRTC", "Chrome").plays);
        assert!(verdict(&probe, "HLS", "Safari").plays);
        assert!(!verdict(&probe, "HLS", "Firefox").plays);
        assert_eq!(plays(&probe), ["WebRTC", "HLS", "MSE"]);
    }
}
