//! Sound whose packets hold just the codec's bytes: G.711, G.722 and L16
//! (RFC 3551 §4.5) and Opus (RFC 7587).

use std::collections::VecDeque;

use bytes::Bytes;

use super::limit::Limit;
use super::{Discarded, Packet, Unit, Unsupported};
use crate::media::{Codec, FrameKind, G711Law};

/// Depacketizer: a packet is a frame.
#[derive(Debug)]
pub(super) struct PlainAudio {
    pub(super) codec: Codec,
    pub(super) ready: VecDeque<Unit>,
    pub(super) discarded: Discarded,
    lost: u32,
}

impl PlainAudio {
    /// `name` in lower case.
    pub(super) fn new(name: &str, rate: u32, channels: Option<u16>) -> Result<Self, Unsupported> {
        let codec = match (name, rate, channels) {
            ("pcma", 8_000, None | Some(1 | 2)) => {
                Codec::G711 { law: G711Law::A, channels: channels.unwrap_or(1) as u8 }
            }
            ("pcmu", 8_000, None | Some(1 | 2)) => {
                Codec::G711 { law: G711Law::Mu, channels: channels.unwrap_or(1) as u8 }
            }
            ("g722", 8_000, None | Some(1)) => Codec::G722,
            ("l16", 8_000..=192_000, None | Some(1 | 2)) => {
                Codec::L16 { channels: channels.unwrap_or(1) as u8 }
            }
            // "opus/48000/2" whatever is inside (RFC 7587 §7): a decoder makes
            // two channels of one.
            ("opus", 48_000, None | Some(1 | 2)) => {
                Codec::Opus { channels: channels.unwrap_or(2) as u8 }
            }
            _ => {
                let channels = channels.unwrap_or(1);
                return Err(Unsupported(format!("{name} at {rate} Hz with {channels} channels")));
            }
        };
        Ok(Self { codec, ready: VecDeque::new(), discarded: Discarded::default(), lost: 0 })
    }

    pub(super) fn push(&mut self, packet: Packet<'_>) -> Result<(), Limit> {
        self.lost = self.lost.saturating_add(packet.lost_before);
        // Bytes of whole samples.
        let mut whole = packet.payload.len();
        let samples = match self.codec {
            Codec::Opus { .. } => opus_samples(packet.payload),
            Codec::G711 { channels, .. } => {
                let samples = packet.payload.len() / usize::from(channels.max(1));
                u32::try_from(samples).ok().filter(|&n| n > 0)
            }
            Codec::G722 => u32::try_from(packet.payload.len()).ok().filter(|&n| n > 0),
            Codec::L16 { channels } => {
                let sample = 2 * usize::from(channels.max(1));
                whole -= whole % sample;
                u32::try_from(whole / sample).ok().filter(|&n| n > 0)
            }
            _ => None,
        };
        if samples.is_none() {
            self.discarded.malformed += 1;
            return Ok(());
        }
        self.ready.push_back(Unit {
            pts: packet.timestamp,
            dts: packet.timestamp,
            kind: FrameKind::Audio,
            data: Bytes::copy_from_slice(&packet.payload[..whole]),
            lost_before: std::mem::take(&mut self.lost),
            codec: None,
            samples,
        });
        Ok(())
    }
}

/// Samples at 48 kHz of an Opus packet (RFC 6716 §3.1, §3.2); `None` where
/// it breaks the limit of 120 ms.
fn opus_samples(packet: &[u8]) -> Option<u32> {
    let &toc = packet.first()?;
    // Table 2, in samples.
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(frame * frames).filter(|n| (1..=5760).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(timestamp: i64, payload: &[u8], lost_before: u32) -> Packet<'_> {
        Packet { timestamp, marker: false, lost_before, payload }
    }

    #[test]
    fn g722_counts_a_byte_as_a_tick_and_l16_two_a_channel() {
        let mut audio = PlainAudio::new("g722", 8_000, None).unwrap();
        audio.push(packet(0, &[1; 160], 0)).unwrap();
        assert_eq!((audio.codec.clone(), audio.ready[0].samples), (Codec::G722, Some(160)));
        let mut audio = PlainAudio::new("l16", 44_100, Some(2)).unwrap();
        // One byte too many, and one sample too few.
        audio.push(packet(0, &[1; 401], 0)).unwrap();
        audio.push(packet(100, &[1; 3], 0)).unwrap();
        assert_eq!((audio.ready.len(), audio.ready[0].samples), (1, Some(100)));
        assert_eq!((audio.ready[0].data.len(), audio.discarded.malformed), (400, 1));
        for bad in [("g722", 16_000, None), ("l16", 44_100, Some(6)), ("l16", 0, None)] {
            assert!(PlainAudio::new(bad.0, bad.1, bad.2).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_g711_packet_is_a_frame_and_tells_its_length_and_what_was_lost() {
        let mut audio = PlainAudio::new("pcma", 8_000, Some(1)).unwrap();
        audio.push(packet(0, &[], 2)).unwrap();
        audio.push(packet(160, &[0xd5; 160], 1)).unwrap();
        let unit = audio.ready.pop_front().unwrap();
        assert_eq!((unit.pts, unit.samples, unit.lost_before), (160, Some(160), 3));
        assert_eq!((unit.data.len(), unit.kind), (160, FrameKind::Audio));
        assert_eq!(audio.discarded.malformed, 1);
    }

    #[test]
    fn opus_durations_follow_table_2_of_rfc_6716() {
        let samples = |toc: u8, second: u8| opus_samples(&[toc, second]);
        assert_eq!(samples(3 << 3, 0), Some(2880), "SILK, 60 ms");
        assert_eq!(samples(13 << 3, 0), Some(960), "hybrid, 20 ms");
        assert_eq!(samples(16 << 3, 0), Some(120), "CELT, 2.5 ms");
        assert_eq!(samples(31 << 3 | 1, 0), Some(1920), "two of 20 ms");
        assert_eq!(samples(31 << 3 | 3, 6), Some(5760), "six of 20 ms");
        assert_eq!(samples(31 << 3 | 3, 7), None, "above 120 ms");
        assert_eq!(samples(3, 0), None, "no frame");
        assert_eq!(opus_samples(&[]), None);
    }

    #[test]
    fn sound_in_shapes_nobody_plays_is_refused() {
        for (name, rate, channels) in
            [("pcma", 16_000, None), ("pcmu", 8_000, Some(6)), ("opus", 8_000, None)]
        {
            assert!(PlainAudio::new(name, rate, channels).is_err(), "{name}");
        }
    }
}
