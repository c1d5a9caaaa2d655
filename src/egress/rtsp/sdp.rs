//! What a stream consists of, as SDP (RFC 8866).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::media::{Codec, G711Law, StreamName, Track, Tracks};
use crate::rtp;

/// RTP payload type of a track: static where RFC 3551 table 4 has one, else
/// dynamic by position.
pub(super) fn payload_type(track: &Track) -> u8 {
    match track.codec {
        Codec::G711 { law, channels: 1 } if track.rate.hz() == 8000 => match law {
            G711Law::Mu => 0,
            G711Law::A => 8,
        },
        Codec::G722 if track.rate.hz() == 8000 => 9,
        _ => 96 + track.id.0 % 32,
    }
}

/// The description of `stream`; `None` where a track's codec cannot be carried.
pub(super) fn describe(stream: &StreamName, tracks: &Tracks) -> Option<String> {
    let mut sdp = format!(
        "v=0\r\n\
         o=- 0 0 IN IP4 0.0.0.0\r\n\
         s={stream}\r\n\
         c=IN IP4 0.0.0.0\r\n\
         t=0 0\r\n\
         a=control:*\r\n\
         a=range:npt=now-\r\n"
    );
    for track in tracks.iter() {
        if !rtp::carries(&track.codec) {
            return None;
        }
        media(&mut sdp, track).expect("writing to a string never fails");
    }
    Some(sdp)
}

fn media(sdp: &mut String, track: &Track) -> std::fmt::Result {
    let (pt, hz) = (payload_type(track), track.rate.hz());
    write!(sdp, "m={} 0 RTP/AVP {pt}\r\n", track.kind().as_str())?;
    match &track.codec {
        Codec::H264(avc) => {
            let [profile, flags, level] = avc.profile();
            let sets: Vec<_> =
                std::iter::once(&avc.sps).chain(&avc.pps).map(|set| BASE64.encode(set)).collect();
            write!(
                sdp,
                "a=rtpmap:{pt} H264/{hz}\r\n\
                 a=fmtp:{pt} packetization-mode=1;profile-level-id={profile:02X}{flags:02X}{level:02X};\
                 sprop-parameter-sets={}\r\n",
                sets.join(",")
            )?;
        }
        Codec::H265(hevc) => {
            let pps: Vec<_> = hevc.pps.iter().map(|set| BASE64.encode(set)).collect();
            write!(
                sdp,
                "a=rtpmap:{pt} H265/{hz}\r\n\
                 a=fmtp:{pt} sprop-vps={};sprop-sps={};sprop-pps={}\r\n",
                BASE64.encode(&hevc.vps),
                BASE64.encode(&hevc.sps),
                pps.join(",")
            )?;
        }
        Codec::Vp8(_) => write!(sdp, "a=rtpmap:{pt} VP8/{hz}\r\n")?,
        Codec::Vp9(vp9) => {
            let profile = vp9.profile;
            write!(sdp, "a=rtpmap:{pt} VP9/{hz}\r\na=fmtp:{pt} profile-id={profile}\r\n")?;
        }
        Codec::Av1(av1) => {
            let profile = av1.profile;
            write!(sdp, "a=rtpmap:{pt} AV1/{hz}\r\na=fmtp:{pt} profile={profile}\r\n")?;
        }
        Codec::Aac(aac) => {
            write!(sdp, "a=rtpmap:{pt} mpeg4-generic/{hz}/{}\r\n", aac.channels)?;
            write!(
                sdp,
                "a=fmtp:{pt} streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;\
                 indexlength=3;indexdeltalength=3;config="
            )?;
            for byte in &aac.config {
                write!(sdp, "{byte:02x}")?;
            }
            sdp.push_str("\r\n");
        }
        Codec::G711 { law, channels } => {
            let name = match law {
                G711Law::A => "PCMA",
                G711Law::Mu => "PCMU",
            };
            write!(sdp, "a=rtpmap:{pt} {name}/{hz}")?;
            if *channels > 1 {
                write!(sdp, "/{channels}")?;
            }
            sdp.push_str("\r\n");
        }
        Codec::G722 => write!(sdp, "a=rtpmap:{pt} G722/{hz}\r\n")?,
        Codec::L16 { channels } => write!(sdp, "a=rtpmap:{pt} L16/{hz}/{channels}\r\n")?,
        Codec::Opus { channels } => {
            // RFC 7587 §7: always `/48000/2`; what is really sent, in fmtp.
            let stereo = u8::from(*channels > 1);
            write!(sdp, "a=rtpmap:{pt} opus/{hz}/2\r\na=fmtp:{pt} sprop-stereo={stereo}\r\n")?;
        }
        Codec::Jpeg(_) => {}
    }
    write!(sdp, "a=control:trackID={}\r\n", track.id.0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{Aac, Avc, ClockRate, Jpeg, PixelSize, TrackId};

    const SIZE: PixelSize = PixelSize { width: 640, height: 360 };

    fn track(hz: u32, codec: Codec) -> Track {
        Track { id: TrackId(0), rate: ClockRate::new(hz).unwrap(), codec }
    }

    #[test]
    fn h264_and_sound_are_described_with_all_a_decoder_needs() {
        let tracks = Tracks::new(vec![
            track(
                90_000,
                Codec::H264(Avc {
                    sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f]),
                    pps: vec![Bytes::from_static(&[0x68, 1, 2])],
                    size: SIZE,
                    max_num_reorder_frames: None,
                }),
            ),
            track(8_000, Codec::G711 { law: G711Law::A, channels: 1 }),
            track(
                44_100,
                Codec::Aac(Aac {
                    config: Bytes::from_static(&[0x12, 0x10]),
                    object_type: 2,
                    sample_rate: 44_100,
                    channels: 2,
                }),
            ),
            track(48_000, Codec::Opus { channels: 2 }),
            track(8_000, Codec::G722),
            track(44_100, Codec::L16 { channels: 2 }),
        ]);
        let sdp = describe(&"yard".parse().unwrap(), &tracks).unwrap();
        for line in [
            "s=yard",
            "m=video 0 RTP/AVP 96",
            "a=fmtp:96 packetization-mode=1;profile-level-id=42C01F;sprop-parameter-sets=Z0LAHw==,aAEC",
            "m=audio 0 RTP/AVP 8",
            "a=rtpmap:8 PCMA/8000",
            "a=control:trackID=1",
            "a=rtpmap:98 mpeg4-generic/44100/2",
            "a=rtpmap:99 opus/48000/2",
            "a=rtpmap:9 G722/8000",
            "a=rtpmap:101 L16/44100/2",
        ] {
            assert!(sdp.lines().any(|l| l == line), "{line} is not in\n{sdp}");
        }
        assert!(sdp.contains("indexdeltalength=3;config=1210\r\n"), "{sdp}");
    }

    #[test]
    fn a_track_that_cannot_be_carried_is_refused_not_left_out() {
        let tracks = Tracks::new(vec![track(90_000, Codec::Jpeg(Jpeg { size: SIZE }))]);
        assert_eq!(describe(&"yard".parse().unwrap(), &tracks), None);
    }
}
