//! From frames to RTP payloads, once per stream: every viewer of a stream is
//! sent the same bytes, only headers and keys differ.

use bytes::Bytes;

use super::narrowband::{self, Narrowband};
use crate::media::{ClockRate, Codec, Frame, FrameKind, MediaKind, WallTime, reorder};
use crate::rtp::{self, Payload};

/// Most payload bytes in a packet. With RTP header, SRTP tag, UDP and IPv6 it
/// stays below 1280, the size every IPv6 path carries (RFC 8200 §5).
pub(super) const MAX_PAYLOAD: usize = 1172;

/// Most Opus bytes sent as one packet: RFC 6716 §3.4 [R4] allows 1275 a frame,
/// and it cannot be cut.
const MAX_OPUS: usize = 1275;

/// G.711 longer than this (bytes, one is 125 µs) is cut up.
const LONG_G711: usize = 480;

/// 20 ms, what every receiver expects of G.711 (RFC 3551 §4.2).
const G711_PACKET: usize = 160;

/// Payloads of one frame.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) sequence: u64,
    pub(super) kind: MediaKind,
    /// [`Codec::name`]; a viewer takes only the one it negotiated.
    pub(super) codec: &'static str,
    /// A viewer can start here.
    pub(super) entry: bool,
    /// When to show it, on the clock of the RTP payload format.
    pub(super) ticks: i64,
    /// When it was captured.
    pub(super) wall: WallTime,
    pub(super) payloads: Vec<Payload>,
}

/// Cuts a stream's frames, one after the other.
#[derive(Default)]
pub(super) struct Packetizer {
    narrowband: Option<Narrowband>,
}

impl Packetizer {
    /// The frame's payloads; `None` for a codec that WebRTC does not carry
    /// here, and for sound that is still short of a packet.
    pub(super) fn packets(&mut self, frame: &Frame) -> Option<Packets> {
        let track = frame.track()?;
        let cut = |codec: &Codec| rtp::cut(codec, frame.kind, &frame.data, MAX_PAYLOAD);
        let ticks = |hz| Some(frame.pts.rescaled(ClockRate::new(hz)?));
        let (ticks, payloads) = match &track.codec {
            Codec::H264(avc) if frame.kind == FrameKind::Key => {
                (ticks(90_000)?, cut(&Codec::H264(reorder::ordered_sets(avc))))
            }
            Codec::H264(_) | Codec::H265(_) | Codec::Vp8(_) | Codec::Vp9(_) | Codec::Av1(_) => {
                (ticks(90_000)?, cut(&track.codec))
            }
            Codec::G711 { channels: 1, .. } | Codec::G722 => {
                (ticks(8_000)?, telephone(&frame.data))
            }
            Codec::L16 { channels } => {
                let narrowband = self.narrowband(track.rate.hz(), *channels)?;
                let (ticks, data) = narrowband.push(ticks(8_000)?, &frame.data)?;
                (ticks, telephone(&data))
            }
            Codec::Opus { .. } if frame.data.len() <= MAX_OPUS => {
                (ticks(48_000)?, cut(&track.codec))
            }
            _ => return None,
        };
        (!payloads.is_empty()).then_some(Packets {
            sequence: frame.sequence,
            kind: track.kind(),
            codec: track.codec.name(),
            entry: frame.is_entry_point(),
            ticks,
            wall: frame.wall,
            payloads,
        })
    }

    fn narrowband(&mut self, rate: u32, channels: u8) -> Option<&mut Narrowband> {
        if !self.narrowband.as_ref().is_some_and(|made| made.fits(rate, channels)) {
            let carries = narrowband::carries(rate);
            self.narrowband = carries.then(|| Narrowband::new(rate, channels));
        }
        self.narrowband.as_mut()
    }
}

impl Packets {
    /// Bytes of all payloads.
    pub(super) fn bytes(&self) -> usize {
        self.payloads.iter().map(Payload::size).sum()
    }
}

/// Some cameras send 64 or 128 ms at once, more than a browser's jitter buffer
/// likes to start with.
fn telephone(data: &Bytes) -> Vec<Payload> {
    rtp::samples(data, 1, if data.len() > LONG_G711 { G711_PACKET } else { LONG_G711 })
}

/// A picture in one packet, 40 ms after the one before.
#[cfg(test)]
pub(super) fn picture(sequence: u64, key: bool, size: usize) -> std::sync::Arc<Packets> {
    let mut payloads = rtp::samples(&vec![0x41; size].into(), 1, size);
    payloads.iter_mut().for_each(|payload| payload.marker = true);
    std::sync::Arc::new(Packets {
        sequence,
        kind: MediaKind::Video,
        codec: "H.264",
        entry: key,
        ticks: sequence as i64 * 3_600,
        wall: WallTime::from_unix_nanos(0),
        payloads,
    })
}

/// A packet of sound, for tests of those that send it.
#[cfg(test)]
pub(super) fn sound(size: usize) -> std::sync::Arc<Packets> {
    std::sync::Arc::new(Packets {
        sequence: 0,
        kind: MediaKind::Audio,
        codec: "PCMA",
        entry: true,
        ticks: 0,
        wall: WallTime::from_unix_nanos(0),
        payloads: rtp::samples(&vec![0xd5; size].into(), 1, size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_g711_is_cut_into_20_ms_and_short_is_not() {
        let times = |length| -> Vec<u32> {
            telephone(&Bytes::from(vec![0; length])).iter().map(|p| p.later).collect()
        };
        assert_eq!(times(320), [0]);
        assert_eq!(times(500), [0, 160, 320, 480]);
    }
}
