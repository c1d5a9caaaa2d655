//! The one catalogue of faults: what went wrong, in words, and the way out.
//!
//! Here: codes, their sentence and hint, and [`Fault`], a code with its
//! particulars. Not here: HTTP (`http::problem` maps a code to a status once)
//! or any policy. A leaf: every room may know it, it knows none.

use std::fmt;

/// A fault code of the contract; [`Code::as_str`] is what users search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`Code::sentence` says what each one means")]
pub enum Code {
    SourceDns,
    SourceRefused,
    SourceTimeout,
    SourceAuth,
    SourceNotFound,
    SourceBusy,
    SourceTls,
    SourceProtocol,
    SourceNoMedia,
    SourceNoKeyframe,
    SourceLossy,
    SourceLimit,
    SourceForbidden,
    VideoUnplayable,
    AudioDropped,
    Bframes,
    TrackIgnored,
    ViewerAuth,
    ViewerForbidden,
    ViewerBadOffer,
    ViewerIceFailed,
    ViewerSlow,
    ViewerLimit,
    StreamUnknown,
    StreamStarting,
    StreamExists,
    SessionUnknown,
    ConfigInvalid,
    ConfigReadOnly,
    ConfigChanged,
}

impl Code {
    /// Every code, in the contract's order.
    pub const ALL: [Self; 30] = [
        Self::SourceDns,
        Self::SourceRefused,
        Self::SourceTimeout,
        Self::SourceAuth,
        Self::SourceNotFound,
        Self::SourceBusy,
        Self::SourceTls,
        Self::SourceProtocol,
        Self::SourceNoMedia,
        Self::SourceNoKeyframe,
        Self::SourceLossy,
        Self::SourceLimit,
        Self::SourceForbidden,
        Self::VideoUnplayable,
        Self::AudioDropped,
        Self::Bframes,
        Self::TrackIgnored,
        Self::ViewerAuth,
        Self::ViewerForbidden,
        Self::ViewerBadOffer,
        Self::ViewerIceFailed,
        Self::ViewerSlow,
        Self::ViewerLimit,
        Self::StreamUnknown,
        Self::StreamStarting,
        Self::StreamExists,
        Self::SessionUnknown,
        Self::ConfigInvalid,
        Self::ConfigReadOnly,
        Self::ConfigChanged,
    ];

    /// The code as the contract spells it.
    pub fn as_str(self) -> &'static str {
        self.entry().0
    }

    /// What happened, in one plain sentence.
    pub fn sentence(self) -> &'static str {
        self.entry().1
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        self.entry().2
    }

    /// Code, sentence, hint.
    fn entry(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::SourceDns => (
                "source.dns",
                "The camera's host name cannot be resolved.",
                "Check the spelling, or use the camera's IP address.",
            ),
            Self::SourceRefused => (
                "source.refused",
                "The camera refuses the connection.",
                "Check that it is switched on, that RTSP is enabled in it, and the port (usually 554).",
            ),
            Self::SourceTimeout => (
                "source.timeout",
                "The camera does not answer.",
                "Check its power and network, and that this machine can reach it.",
            ),
            Self::SourceAuth => (
                "source.auth",
                "The camera refuses the user name or password.",
                "Correct them; the next try waits minutes, since cameras lock accounts after several.",
            ),
            Self::SourceNotFound => (
                "source.not_found",
                "The camera knows no stream at this path.",
                "Look up the RTSP path of this camera model.",
            ),
            Self::SourceBusy => (
                "source.busy",
                "The camera accepts no more viewers.",
                "Close other programs that show it; most cameras allow two to four connections.",
            ),
            Self::SourceTls => (
                "source.tls",
                "No trusted TLS connection to the camera can be made.",
                "The detail says why; a certificate of the camera's own is trusted by its fingerprint in the stream's `tls`.",
            ),
            Self::SourceProtocol => (
                "source.protocol",
                "The camera sent something that is not valid RTSP or RTP.",
                "Update its firmware, or try `transport: tcp` or `udp`; the detail names the message.",
            ),
            Self::SourceNoMedia => (
                "source.no_media",
                "The camera is connected but sends no picture or sound.",
                "Check that the stream is enabled in the camera, and whether a firewall drops UDP.",
            ),
            Self::SourceNoKeyframe => (
                "source.no_keyframe",
                "The camera sends video without key frames.",
                "Set a key-frame (I-frame) interval of 1 to 4 seconds in the camera.",
            ),
            Self::SourceLossy => (
                "source.lossy",
                "Packets are lost between the camera and the gateway, so the picture halts now and then.",
                "Set `transport: auto` or `tcp`, or look after the line; Wi-Fi is the usual one.",
            ),
            Self::SourceLimit => (
                "source.limit",
                "The camera sent more than a safe gateway accepts, and was disconnected.",
                "The detail names the limit; lower the camera's bit rate or key-frame interval.",
            ),
            Self::SourceForbidden => (
                "source.forbidden",
                "This stream came by the API, and leads where such streams may not.",
                "Name the camera's network in `admin.source_networks`, or write the stream into the configuration file by hand.",
            ),
            Self::VideoUnplayable => (
                "codec.video_unplayable",
                "This browser cannot play the camera's video in this way.",
                "Try another way to watch, another browser, or set the camera to H.264.",
            ),
            Self::AudioDropped => (
                "codec.audio_dropped",
                "The camera's sound cannot be carried in this way; the picture plays without it.",
                "Set the camera's audio to G.711 (PCMA or PCMU) for WebRTC, or watch over MSE or HLS.",
            ),
            Self::Bframes => (
                "codec.bframes",
                "The camera's video has B-frames, which WebRTC cannot show.",
                "Set the camera's H.264 profile to Baseline or switch B-frames off, or watch over MSE or HLS.",
            ),
            Self::TrackIgnored => (
                "codec.track_ignored",
                "The camera offers more than one picture and one sound; the rest is left out.",
                "Nothing is wrong; metadata can be switched off in the camera.",
            ),
            Self::ViewerAuth => (
                "viewer.auth",
                "You are not signed in.",
                "Sign in, or use a link with a valid token.",
            ),
            Self::ViewerForbidden => (
                "viewer.forbidden",
                "You may not see this stream.",
                "Ask whoever runs this gateway for access.",
            ),
            Self::ViewerBadOffer => (
                "viewer.bad_offer",
                "What the viewer says it can play cannot be read.",
                "For WebRTC, POST an SDP offer with Content-Type application/sdp; for MSE, send the codecs as JSON.",
            ),
            Self::ViewerIceFailed => (
                "viewer.ice_failed",
                "No network path to the gateway works for WebRTC.",
                "Open the WebRTC port (UDP), or name the reachable address in `webrtc.advertise`.",
            ),
            Self::ViewerSlow => (
                "viewer.slow",
                "The connection is too slow for this stream.",
                "Choose a smaller stream, or move closer to the access point.",
            ),
            Self::ViewerLimit => {
                ("viewer.limit", "Too many viewers are connected.", "Try again in a moment.")
            }
            Self::StreamUnknown => (
                "stream.unknown",
                "There is no stream of that name.",
                "`/` lists the streams of this gateway.",
            ),
            Self::StreamStarting => (
                "stream.starting",
                "The stream is starting: the camera's first picture is not here yet.",
                "Try again in a few seconds.",
            ),
            Self::StreamExists => (
                "stream.exists",
                "There is a stream of that name already.",
                "PUT replaces it, PATCH changes it.",
            ),
            Self::SessionUnknown => (
                "session.unknown",
                "There is no session of that id.",
                "It has ended; `/api/v1/sessions` lists those there are.",
            ),
            Self::ConfigReadOnly => (
                "config.read_only",
                "The configuration cannot be changed from here.",
                "The detail says why, and where it can be.",
            ),
            Self::ConfigChanged => (
                "config.changed",
                "The configuration is not what you have seen any more.",
                "Read it again, and repeat the change if it is still wanted.",
            ),
            Self::ConfigInvalid => (
                "config.invalid",
                "The configuration is not valid.",
                "`porthole check` prints every fault with its line.",
            ),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault with its particulars. Never holds a password: whoever builds one
/// masks URLs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub code: Code,
    /// What exactly: the library's or the peer's words. May be empty.
    pub detail: String,
}

impl Fault {
    /// A fault of `code`; `detail` is cut at 500 characters and stripped of
    /// control characters, since part of it may come from a hostile peer.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if let Some((cut, _)) = detail.char_indices().nth(500) {
            detail.truncate(cut);
        }
        detail.retain(|c| !c.is_control());
        Self { code, detail }
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self::new(code, "")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.sentence())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_and_has_a_sentence_and_a_hint() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.sentence().ends_with('.'), "{code}");
            assert!(code.hint().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn a_hostile_detail_is_cut() {
        assert_eq!(Fault::new(Code::SourceProtocol, "ä".repeat(9_999)).detail.chars().count(), 500);
        // What a camera calls its codec goes to a terminal.
        let fault = Fault::new(Code::SourceNoMedia, "only: \u{1b}[2Jh264\r\n\u{9b}x");
        assert!(!fault.detail.contains(char::is_control), "{:?}", fault.detail);
    }
}
