//! From frames to RTP payloads, once per stream: every viewer of a stream is
//! sent the same bytes, only headers and keys differ.

use bytes::{BufMut, Bytes, BytesMut};

use super::reorder;
use crate::media::{Avc, ClockRate, Codec, Frame, FrameKind, MediaKind, NalUnits, WallTime};

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

/// What goes into one RTP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    /// Ticks after the frame's own time.
    pub(super) later: u32,
    /// The last packet of a picture (RFC 6184 §5.1).
    pub(super) marker: bool,
}

impl Packets {
    /// The frame's payloads; `None` for a codec WebRTC does not carry here.
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        let track = frame.track()?;
        let (hz, payloads) = match &track.codec {
            Codec::H264(avc) => {
                let avc = (frame.kind == FrameKind::Key).then_some(avc);
                (90_000, h264(avc, &frame.data))
            }
            Codec::G711 { channels: 1, .. } | Codec::G722 => (8_000, g711(&frame.data)),
            Codec::Opus { .. } => (48_000, opus(&frame.data)),
            _ => return None,
        };
        (!payloads.is_empty()).then_some(Self {
            sequence: frame.sequence,
            kind: track.kind(),
            codec: track.codec.name(),
            entry: frame.is_entry_point(),
            ticks: frame.pts.rescaled(ClockRate::new(hz)?),
            wall: frame.wall,
            payloads,
        })
    }

    /// Bytes of all payloads.
    pub(super) fn bytes(&self) -> usize {
        self.payloads.iter().map(|payload| payload.bytes.len()).sum()
    }
}

/// RFC 6184, packetization mode 1. With `avc`, its parameter sets go first:
/// a viewer that joined or lost something has only this.
fn h264(avc: Option<&Avc>, data: &[u8]) -> Vec<Payload> {
    let mut out = Cutter::with_capacity(data.len() + data.len() / 256 + 512);
    if let Some(avc) = avc {
        let rewritten = reorder::ordered(&avc.sps);
        let sps = rewritten.as_ref().unwrap_or(&avc.sps);
        out.aggregate(std::iter::once(sps).chain(&avc.pps));
    }
    for unit in NalUnits::new(data).filter(|unit| !unit.is_empty()) {
        out.unit(unit);
    }
    let mut payloads = out.payloads;
    if let Some(last) = payloads.last_mut() {
        last.marker = true;
    }
    payloads
}

/// Writes payloads one behind the other into one buffer, and hands out slices.
struct Cutter {
    buffer: BytesMut,
    payloads: Vec<Payload>,
}

impl Cutter {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(bytes),
            payloads: Vec::with_capacity(bytes / MAX_PAYLOAD + 4),
        }
    }

    fn cut(&mut self) {
        let bytes = self.buffer.split().freeze();
        self.payloads.push(Payload { bytes, later: 0, marker: false });
    }

    /// STAP-A (RFC 6184 §5.7.1) where the units fit one packet.
    fn aggregate<'a>(&mut self, units: impl Iterator<Item = &'a Bytes> + Clone) {
        let size = 1 + units.clone().map(|unit| 2 + unit.len()).sum::<usize>();
        if size > MAX_PAYLOAD {
            units.for_each(|unit| self.unit(unit));
            return;
        }
        // F is 0 and NRI the highest of the units': parameter sets have 3.
        const STAP_A: u8 = 3 << 5 | 24;
        self.buffer.put_u8(STAP_A);
        for unit in units {
            self.buffer.put_u16(unit.len() as u16);
            self.buffer.put_slice(unit);
        }
        self.cut();
    }

    /// A single NAL unit packet, or FU-A (RFC 6184 §5.8) in pieces of equal
    /// size: one that is longer than its predecessor ends a GSO run.
    fn unit(&mut self, unit: &[u8]) {
        if unit.len() <= MAX_PAYLOAD {
            self.buffer.put_slice(unit);
            self.cut();
            return;
        }
        let Some((&header, body)) = unit.split_first() else { return };
        let pieces = body.len().div_ceil(MAX_PAYLOAD - 2);
        let size = body.len().div_ceil(pieces);
        let last = body.chunks(size).len() - 1;
        for (at, piece) in body.chunks(size).enumerate() {
            const FU_A: u8 = 28;
            let (start, end) = (u8::from(at == 0) << 7, u8::from(at == last) << 6);
            self.buffer.put_u8(header & 0xe0 | FU_A);
            self.buffer.put_u8(start | end | header & 0x1f);
            self.buffer.put_slice(piece);
            self.cut();
        }
    }
}

/// Some cameras send 64 or 128 ms at once, more than a browser's jitter buffer
/// likes to start with.
fn g711(data: &Bytes) -> Vec<Payload> {
    let size = if data.len() > LONG_G711 { G711_PACKET } else { LONG_G711 };
    let starts = (0..data.len()).step_by(size);
    starts
        .map(|at| Payload {
            bytes: data.slice(at..data.len().min(at + size)),
            later: at as u32,
            marker: false,
        })
        .collect()
}

fn opus(data: &Bytes) -> Vec<Payload> {
    if data.is_empty() || data.len() > MAX_OPUS {
        return Vec::new();
    }
    vec![Payload { bytes: data.clone(), later: 0, marker: false }]
}

/// A picture in one packet, 40 ms after the one before.
#[cfg(test)]
pub(super) fn picture(sequence: u64, key: bool, size: usize) -> std::sync::Arc<Packets> {
    let payload = Payload { bytes: Bytes::from(vec![0x41; size]), later: 0, marker: true };
    std::sync::Arc::new(Packets {
        sequence,
        kind: MediaKind::Video,
        codec: "H.264",
        entry: key,
        ticks: sequence as i64 * 3_600,
        wall: WallTime::from_unix_nanos(0),
        payloads: vec![payload],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{PixelSize, length_prefixed};

    fn avc() -> Avc {
        Avc {
            sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f]),
            pps: vec![Bytes::from_static(&[0x68, 0xce])],
            size: PixelSize { width: 16, height: 16 },
            max_num_reorder_frames: Some(0),
        }
    }

    fn unit(header: u8, length: usize) -> Vec<u8> {
        std::iter::once(header).chain((1..length).map(|i| i as u8)).collect()
    }

    /// What RFC 6184 §5.6 to §5.8 tell a receiver to make of the payloads.
    fn reassemble(payloads: &[Payload]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload.bytes[0] & 0x1f {
                24 => {
                    let mut rest = &payload.bytes[1..];
                    while let [a, b, tail @ ..] = rest {
                        let (unit, tail) = tail.split_at(usize::from(*a) << 8 | usize::from(*b));
                        units.push(unit.to_vec());
                        rest = tail;
                    }
                }
                28 => {
                    let (indicator, header) = (payload.bytes[0], payload.bytes[1]);
                    if header & 0x80 != 0 {
                        units.push(vec![indicator & 0xe0 | header & 0x1f]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&payload.bytes[2..]);
                }
                _ => units.push(payload.bytes.to_vec()),
            }
        }
        units
    }

    #[test]
    fn a_receiver_gets_back_parameter_sets_and_every_unit() {
        let (small, large) = (unit(0x06, 20), unit(0x65, 100_000));
        let payloads = h264(Some(&avc()), &length_prefixed([&small[..], &large]));

        let sets = [avc().sps.to_vec(), avc().pps[0].to_vec()];
        assert_eq!(reassemble(&payloads), [&sets[..], &[small, large]].concat());
        assert_eq!(payloads[0].bytes[0] & 0x1f, 24, "parameter sets travel as one packet");
    }

    #[test]
    fn fragments_are_equal_in_size_and_fit() {
        for length in [MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 50_001] {
            let payloads = h264(None, &length_prefixed([&unit(0x41, length)[..]]));
            let sizes: Vec<usize> = payloads.iter().map(|p| p.bytes.len()).collect();
            let (last, rest) = sizes.split_last().unwrap();
            assert!(rest.iter().all(|size| *size == sizes[0]) && *last <= sizes[0], "{sizes:?}");
            assert!(sizes[0] <= MAX_PAYLOAD && sizes[0] - last < sizes.len(), "{sizes:?}");
        }
    }

    #[test]
    fn only_the_last_packet_of_a_picture_has_the_marker() {
        let payloads = h264(Some(&avc()), &length_prefixed([&unit(0x65, 5_000)[..]]));
        let (last, rest) = payloads.split_last().unwrap();
        assert!(last.marker && rest.iter().all(|p| !p.marker));
    }

    #[test]
    fn parameter_sets_too_long_for_one_packet_are_sent_apart() {
        let avc =
            Avc { pps: vec![Bytes::from(unit(0x68, 900)), Bytes::from(unit(0x68, 900))], ..avc() };
        let payloads = h264(Some(&avc), &[]);
        assert_eq!(payloads.len(), 3);
        assert_eq!(reassemble(&payloads)[1..], avc.pps[..]);
    }

    #[test]
    fn long_g711_is_cut_into_20_ms_and_short_is_not() {
        let times = |length| g711(&Bytes::from(vec![0; length])).iter().map(|p| p.later).collect();
        let short: Vec<u32> = times(320);
        let long: Vec<u32> = times(500);
        assert_eq!(short, [0]);
        assert_eq!(long, [0, 160, 320, 480]);
    }
}
