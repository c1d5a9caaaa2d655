//! The answer's SDP (RFC 8829 §5.3, RFC 3264 §6).

use std::fmt::Write;

use super::codec::Offered;
use super::engine::Plan;
use super::offer::{Offer, Section, TRANSPORT_CC};
use crate::media::MediaKind;

/// Our side.
pub(super) struct Local<'a> {
    pub(super) ufrag: &'a str,
    pub(super) password: &'a str,
    pub(super) fingerprint: &'a str,
}

/// SSRCs of one track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ssrcs {
    pub(super) media: u32,
    pub(super) rtx: Option<u32>,
}

impl Offer {
    /// The section that gets the track of a kind: the first that receives it.
    /// Without BUNDLE a second section would need a connection of its own.
    fn section_of(&self, kind: MediaKind, plan: &Plan) -> Option<usize> {
        let planned = match kind {
            MediaKind::Video => plan.video.is_some(),
            MediaKind::Audio => plan.audio.is_some() && (self.bundled || plan.video.is_none()),
        };
        let fits = |section: &Section| section.kind == Some(kind) && section.receives;
        self.sections.iter().position(fits).filter(|_| planned)
    }

    /// Feedback that tells what the way carries: of every packet, or as the
    /// viewer's own estimate.
    const REPORTED: &str = "transport-cc";
    const ESTIMATED: &str = "goog-remb";

    /// The number of the header extension under which the viewer reports on
    /// every packet of `codec`, if it would.
    pub(super) fn transport_cc(&self, codec: &Offered) -> Option<u8> {
        let section = self.receiving(MediaKind::Video)?;
        section.transport_cc.filter(|_| section.gives(codec, Self::REPORTED))
    }

    /// Writes the answer, without candidates.
    pub(super) fn answer(
        &self,
        local: &Local<'_>,
        plan: &Plan,
        video: Ssrcs,
        audio: Ssrcs,
    ) -> String {
        let live = [MediaKind::Video, MediaKind::Audio].map(|kind| self.section_of(kind, plan));
        let mut out = String::with_capacity(2048);
        let mut line = |text: std::fmt::Arguments<'_>| {
            write!(out, "{text}\r\n").expect("a String takes all");
        };
        let session = rand::random::<u64>() >> 1;
        line(format_args!("v=0"));
        line(format_args!("o=- {session} 1 IN IP4 127.0.0.1"));
        line(format_args!("s=-"));
        line(format_args!("t=0 0"));
        if self.bundled {
            let mids = self.sections.iter().enumerate();
            let mids = mids.filter(|(at, _)| live.contains(&Some(*at)));
            let mids: String = mids.map(|(_, section)| format!(" {}", section.mid)).collect();
            line(format_args!("a=group:BUNDLE{mids}"));
        }
        // One stream id for both tracks, so that a player keeps them in step.
        line(format_args!("a=msid-semantic: WMS porthole"));
        for (at, section) in self.sections.iter().enumerate() {
            let kind = section.kind.filter(|_| live.contains(&Some(at)));
            let Section { media, protocol, format, .. } = section;
            let Some(kind) = kind else {
                line(format_args!("m={media} 0 {protocol} {format}"));
                line(format_args!("c=IN IP4 0.0.0.0"));
                section.mid_line().into_iter().for_each(|mid| line(format_args!("{mid}")));
                line(format_args!("a=inactive"));
                continue;
            };
            let (codec, rtx, ssrcs) = match kind {
                MediaKind::Video => (&plan.video, &plan.rtx, video),
                MediaKind::Audio => (&plan.audio, &None, audio),
            };
            let codecs: Vec<&Offered> = codec.iter().chain(rtx).collect();
            let formats: String =
                codecs.iter().map(|codec| format!(" {}", codec.payload_type)).collect();
            line(format_args!("m={media} 9 {protocol}{formats}"));
            line(format_args!("c=IN IP4 0.0.0.0"));
            section.mid_line().into_iter().for_each(|mid| line(format_args!("{mid}")));
            line(format_args!("a=sendonly"));
            line(format_args!("a=ice-ufrag:{}", local.ufrag));
            line(format_args!("a=ice-pwd:{}", local.password));
            line(format_args!("a=fingerprint:sha-256 {}", local.fingerprint));
            let setup = if self.passive { "active" } else { "passive" };
            line(format_args!("a=setup:{setup}"));
            line(format_args!("a=rtcp-mux"));
            if self.bundled {
                // WHEP, SDP Bundle.
                line(format_args!("a=rtcp-mux-only"));
            }
            line(format_args!("a=rtcp-rsize"));
            let numbered = plan.transport_cc.filter(|_| kind == MediaKind::Video);
            if let Some(number) = numbered {
                line(format_args!("a=extmap:{number} {TRANSPORT_CC}"));
            }
            for codec in codecs {
                let estimate = (kind == MediaKind::Video).then_some(if numbered.is_some() {
                    Self::REPORTED
                } else {
                    Self::ESTIMATED
                });
                section.codec(codec, estimate, &mut line);
            }
            line(format_args!("a=msid:porthole {}", kind.as_str()));
            let Ssrcs { media, rtx } = ssrcs;
            if let Some(rtx) = rtx {
                line(format_args!("a=ssrc-group:FID {media} {rtx}"));
            }
            for ssrc in std::iter::once(media).chain(rtx) {
                line(format_args!("a=ssrc:{ssrc} cname:{CNAME}"));
                line(format_args!("a=ssrc:{ssrc} msid:porthole {}", kind.as_str()));
            }
        }
        out
    }
}

/// The same for all tracks, which a player is to keep in step (RFC 8834 §4.9).
pub(super) const CNAME: &str = "porthole";

impl Section {
    fn mid_line(&self) -> Option<String> {
        (!self.mid.is_empty()).then(|| format!("a=mid:{}", self.mid))
    }

    /// A codec as it was offered, with the feedback we heed (RFC 4585 §4.2).
    fn codec(
        &self,
        codec: &Offered,
        estimate: Option<&str>,
        line: &mut impl FnMut(std::fmt::Arguments<'_>),
    ) {
        const HEEDED: [&str; 3] = ["nack", "nack pli", "ccm fir"];
        let Offered { payload_type, name, clock_rate, channels, fmtp } = codec;
        match channels {
            0 => line(format_args!("a=rtpmap:{payload_type} {name}/{clock_rate}")),
            _ => line(format_args!("a=rtpmap:{payload_type} {name}/{clock_rate}/{channels}")),
        }
        if !fmtp.is_empty() {
            line(format_args!("a=fmtp:{payload_type} {fmtp}"));
        }
        for heeded in HEEDED.into_iter().chain(estimate) {
            // About a retransmission nothing is asked (RFC 4588 §6.3).
            if name != "rtx" && self.gives(codec, heeded) {
                line(format_args!("a=rtcp-fb:{payload_type} {heeded}"));
            }
        }
    }

    /// Whether the viewer offers this feedback on `codec`.
    fn gives(&self, codec: &Offered, feedback: &str) -> bool {
        let offered = |(of, what): &(String, String)| {
            what == feedback && (of == "*" || *of == codec.payload_type.to_string())
        };
        self.feedback.iter().any(offered)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
