//! What a viewer can play, and what it is sent: go2rtc's messages, which its
//! clients know: `{"type": "mse", "value": "avc1.640029,flac"}` is answered by
//! `{"type": "mse", "value": "video/mp4; codecs=\"…\""}`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::cmaf;
use crate::fault::{Code, Fault};
use crate::http::Problem;
use crate::media::{Codec, TrackId, Tracks};

/// A viewer's message.
#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) value: String,
}

/// Codecs a viewer says it plays, by the first word of their strings: a browser
/// that knows `avc1.640029` knows `avc1`, and its decoder is asked for the
/// exact profile by the MIME type in any case.
pub(super) struct Able(Vec<String>);

impl Able {
    /// Reads a list with commas, as viewers send it.
    pub(super) fn read(list: &str) -> Self {
        let words = list.split(',').map(|codec| family(codec.trim()).to_ascii_lowercase());
        let mut families: Vec<String> = words.filter(|word| !word.is_empty()).collect();
        families.sort();
        families.dedup();
        Self(families)
    }

    fn plays(&self, codec: &Codec) -> bool {
        let name = codec.rfc6381().unwrap_or_default();
        let alike = match family(&name) {
            // The two forms of a track; a decoder that has one has the other.
            "avc1" => ["avc1", "avc3"],
            "hvc1" => ["hvc1", "hev1"],
            other => [other, other],
        };
        self.0.iter().any(|known| alike.contains(&known.as_str()))
    }
}

/// `avc1` of `avc1.64001F`.
fn family(codec: &str) -> &str {
    codec.split('.').next().unwrap_or_default()
}

/// What of a stream goes to a viewer.
pub(super) struct Choice {
    /// For `addSourceBuffer`.
    pub(super) mime: String,
    /// The init segment.
    pub(super) init: Bytes,
    /// The tracks that are sent; a viewer gets no other track's frames.
    pub(super) sent: Vec<TrackId>,
    /// What the viewer has to do without.
    pub(super) notice: Option<Fault>,
}

/// Matches a stream's tracks with what a viewer can play.
///
/// # Errors
///
/// `codec.video_unplayable`: nobody who came for a picture wants its sound
/// alone.
pub(super) fn choose(tracks: &Tracks, able: &Able) -> Result<Choice, Fault> {
    let plays = |codec: &Codec| cmaf::carries(codec) && able.plays(codec);
    let named = |codec: &Codec| match codec.rfc6381() {
        Some(exact) => format!("{} ({exact})", codec.name()),
        None => format!("{}, which MSE cannot carry", codec.name()),
    };
    let unplayable = |codec: &Codec| {
        let known = if able.0.is_empty() { "nothing".to_owned() } else { able.0.join(", ") };
        let sends = named(codec);
        let detail = format!("the camera sends {sends}; this browser says it plays {known}");
        Fault::new(Code::VideoUnplayable, detail)
    };
    let (video, audio) = (tracks.video(), tracks.audio());
    if let Some(track) = video.filter(|track| !plays(&track.codec)) {
        return Err(unplayable(&track.codec));
    }
    let heard = audio.filter(|track| plays(&track.codec));
    if let (None, Some(track), None) = (video, audio, heard) {
        return Err(unplayable(&track.codec));
    }
    let sent: Vec<_> = video.into_iter().chain(heard).collect();
    let codecs: Vec<String> = sent.iter().filter_map(|track| track.codec.rfc6381()).collect();
    let kind = if video.is_some() { "video" } else { "audio" };
    let silent = audio.filter(|_| heard.is_none());
    Ok(Choice {
        mime: format!("{kind}/mp4; codecs=\"{}\"", codecs.join(",")),
        init: cmaf::init(&sent),
        sent: sent.iter().map(|track| track.id).collect(),
        notice: silent.map(|track| Fault::new(Code::AudioDropped, named(&track.codec))),
    })
}

impl Choice {
    /// Of what is sent of `tracks`, which it was chosen from.
    pub(super) fn codecs<'t>(&self, tracks: &'t Tracks) -> impl Iterator<Item = &'t Codec> + Clone {
        let sent = self.sent.clone().into_iter();
        sent.filter_map(|id| Some(&tracks.get(id)?.codec))
    }

    /// The message that comes before the init segment.
    pub(super) fn message(&self) -> String {
        let mut message = json!({ "type": "mse", "value": self.mime });
        if let Some(notice) = &self.notice {
            message["notice"] = notice.code.as_str().into();
            message["detail"] = notice.detail.as_str().into();
        }
        message.to_string()
    }
}

/// The message before a socket is closed for a fault: go2rtc's `error`, with
/// the members of a problem document beside it.
pub(super) fn refusal(problem: &Problem) -> String {
    let mut message = problem.to_json();
    let words = ["title", "detail"].map(|member| message[member].as_str().unwrap_or_default());
    message["value"] = format!("mse: {}", words.join(" ").trim_end()).into();
    message["type"] = "error".into();
    message.to_string()
}

/// The answer to a message of another kind.
pub(super) fn not_here(kind: &str) -> String {
    let kind: String = kind.chars().take(20).collect();
    json!({ "type": "error", "value": format!("{kind}: this socket has `mse` alone") }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Avc, ClockRate, PixelSize, Track};

    fn stream(sound: Option<Codec>) -> Tracks {
        let avc = Codec::H264(Avc {
            sps: Bytes::from_static(&[0x67, 0x64, 0x00, 0x1f, 0x8c]),
            pps: vec![Bytes::from_static(&[0x68, 1])],
            size: PixelSize { width: 640, height: 360 },
            max_num_reorder_frames: Some(0),
        });
        let track = |codec| Track { id: TrackId(0), rate: ClockRate::VIDEO, codec };
        Tracks::new([Some(avc), sound].into_iter().flatten().map(track).collect())
    }

    const GO2RTC: &str = "avc1.640029,avc1.64002A,hvc1.1.6.L153.B0,mp4a.40.2,mp4a.40.5,flac,opus";

    #[test]
    fn what_is_played_decides_what_is_sent() {
        let opus = stream(Some(Codec::Opus { channels: 2 }));
        let all = choose(&opus, &Able::read(GO2RTC)).ok().unwrap();
        assert_eq!(all.mime, "video/mp4; codecs=\"avc1.64001F,opus\"");
        assert_eq!((all.sent.len(), all.notice.is_some()), (2, false));

        let deaf = choose(&opus, &Able::read(" AVC3.640029 , mp4a.40.2")).ok().unwrap();
        assert_eq!(deaf.mime, "video/mp4; codecs=\"avc1.64001F\"");
        assert_eq!(deaf.sent, [TrackId(0)]);
        assert!(deaf.message().contains("codec.audio_dropped"), "{}", deaf.message());

        let g722 = choose(&stream(Some(Codec::G722)), &Able::read(GO2RTC)).ok().unwrap();
        assert!(g722.message().contains("G722, which MSE cannot carry"), "{}", g722.message());
    }

    #[test]
    fn a_picture_that_cannot_be_played_is_refused_with_both_sides() {
        let tracks = stream(Some(Codec::Opus { channels: 2 }));
        for (list, words) in [("opus,hvc1.1", "plays hvc1, opus"), ("", "plays nothing")] {
            let fault = choose(&tracks, &Able::read(list)).err().unwrap();
            assert_eq!(fault.code, Code::VideoUnplayable);
            assert!(fault.detail.contains("H.264 (avc1.64001F)"), "{fault}");
            assert!(fault.detail.contains(words), "{fault}");
            let message: serde_json::Value = serde_json::from_str(&refusal(&fault.into())).unwrap();
            assert_eq!(message["type"], "error");
            assert_eq!(message["code"], "codec.video_unplayable");
            assert!(message["value"].as_str().unwrap().starts_with("mse: This browser"));
        }
    }
}
