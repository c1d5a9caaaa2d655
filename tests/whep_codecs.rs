//! H.265 over WHEP, which the Chromium of our tests does not decode: what comes
//! is put back together, and compared with what the encoder wrote.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::process::Command;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use porthole::bus::Publisher;
use porthole::media::{
    ClockRate, Codec, Draft, FrameKind, Hevc, MediaTime, Track, TrackId, Tracks, WallTime,
    length_prefixed,
};
use rtc::rtp::codec::h265::{H265Packet, H265Payload};
use rtc::rtp::packetizer::Depacketizer;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use whep_support::player::{Event, Player};
use whep_support::{FPS, Gateway, eventually, units};

/// Two seconds of 640x360 as x265 writes them.
struct Clip {
    tracks: Arc<Tracks>,
    hevc: Hevc,
    /// NAL units of each picture, without parameter sets.
    pictures: Vec<Vec<Bytes>>,
}

fn encode(b_frames: u8) -> Clip {
    let x265 = format!("log-level=none:aud=1:keyint=1000:scenecut=0:info=0:bframes={b_frames}");
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-t", "2"])
        .args(["-c:v", "libx265", "-preset", "ultrafast", "-b:v", "1500k", "-pix_fmt", "yuv420p"])
        .args(["-x265-params", &x265, "-f", "hevc", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (mut sets, mut pictures) = (Vec::new(), Vec::<Vec<Bytes>>::new());
    for unit in units(&out.stdout) {
        // H.265 table 7-1.
        match unit[0] >> 1 & 0x3f {
            32..=34 => sets.push(Bytes::copy_from_slice(unit)),
            35 => pictures.push(Vec::new()),
            _ => pictures.last_mut().unwrap().push(Bytes::copy_from_slice(unit)),
        }
    }
    let hevc = Hevc::new(sets[0].clone(), sets[1].clone(), vec![sets[2].clone()]).unwrap();
    let codec = Codec::H265(hevc.clone());
    let track = Track { id: TrackId(0), rate: ClockRate::VIDEO, codec };
    Clip { tracks: Arc::new(Tracks::new(vec![track])), hevc, pictures }
}

impl Clip {
    /// Publishes a picture that is shown at `shown`, in pictures.
    fn publish(&self, publisher: &mut Publisher, at: usize, shown: usize) {
        let time = |at: usize| MediaTime::new(at as i64 * 90_000 / FPS, ClockRate::VIDEO);
        publisher.publish(Draft {
            track: TrackId(0),
            tracks: Arc::clone(&self.tracks),
            pts: time(shown),
            dts: time(at.min(shown)),
            wall: WallTime::from(SystemTime::now()),
            kind: if at == 0 { FrameKind::Key } else { FrameKind::Delta },
            lost_before: 0,
            discontinuity: false,
            arrived: Instant::now(),
            data: length_prefixed(self.pictures[at].iter().map(|unit| &unit[..])),
        });
    }
}

/// Adds a packet's NAL units (RFC 7798) to `whole`, by the `rtc` crate's reading.
fn take(payload: &Bytes, partial: &mut Vec<u8>, whole: &mut Vec<Bytes>) {
    let mut packet = H265Packet::default();
    packet.depacketize(payload).unwrap();
    match packet.payload() {
        H265Payload::H265SingleNALUnitPacket(_) => whole.push(payload.clone()),
        H265Payload::H265AggregationPacket(several) => {
            whole.push(several.first_unit().unwrap().nal_unit());
            whole.extend(several.other_units().iter().map(|unit| unit.nal_unit()));
        }
        H265Payload::H265FragmentationUnitPacket(part) => {
            if part.fu_header().s() {
                *partial = vec![payload[0] & 0x81 | part.fu_header().fu_type() << 1, payload[1]];
            }
            partial.extend_from_slice(&part.payload());
            if part.fu_header().e() {
                whole.push(std::mem::take(partial).into());
            }
        }
        _ => panic!("nobody asked for one"),
    }
}

#[tokio::test]
async fn h265_comes_out_as_the_encoder_wrote_it() {
    let clip = encode(0);
    assert!(clip.pictures.len() == 50 && clip.pictures[0].iter().any(|unit| unit.len() > 2_000));
    let gateway = Gateway::start().await;
    let (_stream, mut publisher) = gateway.stream("yard");
    clip.publish(&mut publisher, 0, 0);
    let (mut player, offer) = Player::offering(&[Video]).await;
    player.play(&format!("{}/yard/whep", gateway.url), &offer).await;

    let mut wanted = vec![clip.hevc.vps.clone(), clip.hevc.sps.clone(), clip.hevc.pps[0].clone()];
    wanted.extend(clip.pictures.iter().flatten().cloned());
    let (mut partial, mut whole, mut largest) = (Vec::new(), Vec::new(), 0);
    let mut next = 1;
    while whole.len() < wanted.len() {
        let packet = |event| match event {
            Event::Rtp("video", packet) => Some(packet),
            _ => None,
        };
        let packet = player.until("a packet", packet).await;
        largest = largest.max(packet.payload.len());
        take(&packet.payload, &mut partial, &mut whole);
        if packet.header.marker && next < clip.pictures.len() {
            clip.publish(&mut publisher, next, next);
            next += 1;
        }
    }
    assert!(largest <= 1_200, "{largest}");
    assert_eq!(whole, wanted);
}

#[tokio::test]
async fn h265_with_b_frames_is_refused_by_name() {
    let clip = encode(2);
    assert!(clip.hevc.max_num_reorder_pics > 0);
    let gateway = Gateway::start().await;
    let (_stream, mut publisher) = gateway.stream("yard");
    let url = format!("{}/yard/whep", gateway.url);
    let (player, offer) = Player::offering(&[Video]).await;
    clip.publish(&mut publisher, 0, 0);
    clip.publish(&mut publisher, 1, 3);
    assert_eq!(player.post(&url, &offer).await.status(), 201, "in order so far");
    // Shown before the one before it.
    clip.publish(&mut publisher, 2, 1);
    eventually("the viewer is sent away", || gateway.whep.sessions() == 0).await;
    let answer = player.post(&url, &offer).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains(r#""code":"codec.bframes""#));
}
