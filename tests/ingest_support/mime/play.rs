//! What the camera sends: the demo clip, cut into RTP, in real time.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::Manner;

/// H.264 byte stream, 25 pictures a second, a slice each, a key frame in 50.
const CLIP: &[u8] = include_bytes!("../../../static/demo/camera.h264");

/// The clip's parameter sets and pictures.
pub(super) struct Clip {
    pub(super) sets: [&'static [u8]; 2],
    pictures: Vec<&'static [u8]>,
}

pub(super) fn clip() -> &'static Clip {
    static CUT: OnceLock<Clip> = OnceLock::new();
    CUT.get_or_init(|| {
        let mut clip = Clip { sets: [&[], &[]], pictures: Vec::new() };
        let starts: Vec<usize> =
            (0..CLIP.len() - 3).filter(|&at| CLIP[at..].starts_with(&[0, 0, 1])).collect();
        for (i, &start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(CLIP.len());
            let unit = &CLIP[start + 3..end];
            let length = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            match unit[0] & 0x1f {
                7 => clip.sets[0] = &unit[..length],
                8 => clip.sets[1] = &unit[..length],
                1 | 5 => clip.pictures.push(&unit[..length]),
                _ => {}
            }
        }
        assert_eq!(clip.pictures.len(), 250);
        clip
    })
}

/// Where a track's packets go.
#[derive(Clone)]
pub(super) enum Way {
    Interleaved(u8),
    Udp(Arc<UdpSocket>, SocketAddr),
}

/// Sends pictures and sound in real time, until the connection goes.
pub(super) async fn play(
    ways: [Option<Way>; 2],
    out: mpsc::Sender<Vec<u8>>,
    manners: watch::Receiver<Manner>,
) {
    let mut tracks = [Track::new(96, 1), Track::new(8, 3)];
    let mut ticks = tokio::time::interval(Duration::from_millis(40));
    static SWITCHED_ON: OnceLock<Instant> = OnceLock::new();
    let age = SWITCHED_ON.get_or_init(Instant::now).elapsed().as_millis() / 40;
    let first = if manners.borrow().begins_between { age as usize } else { 0 };
    for nth in first.. {
        ticks.tick().await;
        let manner = manners.borrow().clone();
        if manner.hangs_up_after.is_some_and(|pictures| nth - first >= pictures) {
            return;
        }
        let mut packets = Vec::new();
        let picture = clip().pictures[nth % clip().pictures.len()];
        if manner.picture && (manner.key_frames || picture[0] & 0x1f != 5) {
            tracks[0].picture(picture, (nth * 3_600) as u32, &mut packets);
        }
        if manner.sound {
            for half in 0..2 {
                tracks[1].packet(&[0xd5; 160], (nth * 320 + half * 160) as u32, false, |packet| {
                    packets.push((1, packet));
                });
            }
        }
        for (track, packet) in packets {
            let sequence = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            match &ways[track] {
                Some(Way::Interleaved(channel)) => {
                    let mut framed = vec![b'$', *channel];
                    framed.extend((packet.len() as u16).to_be_bytes());
                    framed.extend(packet);
                    if out.send(framed).await.is_err() {
                        return;
                    }
                }
                Some(Way::Udp(socket, to))
                    if manner.loses_one_in.is_none_or(|n| sequence % n != 0) =>
                {
                    let _ = socket.send_to(&packet, to).await;
                }
                Some(Way::Udp(..)) | None => {}
            }
        }
    }
}

struct Track {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
}

impl Track {
    fn new(payload_type: u8, ssrc: u32) -> Self {
        Self { payload_type, ssrc, sequence: 0 }
    }

    fn packet(&mut self, payload: &[u8], time: u32, marker: bool, mut out: impl FnMut(Vec<u8>)) {
        let mut packet = vec![0x80, self.payload_type | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(time.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        out(packet);
    }

    /// A slice, in fragments where it is long (RFC 6184 §5.8).
    fn picture(&mut self, slice: &[u8], time: u32, out: &mut Vec<(usize, Vec<u8>)>) {
        if slice.len() <= 1_400 {
            return self.packet(slice, time, true, |packet| out.push((0, packet)));
        }
        let pieces: Vec<&[u8]> = slice[1..].chunks(1_400).collect();
        for (i, piece) in pieces.iter().enumerate() {
            let last = i + 1 == pieces.len();
            let flags = u8::from(i == 0) << 7 | u8::from(last) << 6 | slice[0] & 0x1f;
            let payload = [&[slice[0] & 0xe0 | 28, flags], *piece].concat();
            self.packet(&payload, time, last, |packet| out.push((0, packet)));
        }
    }
}
