//! Transport-wide feedback: which packets came, and when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//!
//! Read here and not by the library, which makes several vectors of each of
//! the ten reports a second that a browser sends.

/// Most packets of one report that are looked at; browsers report some 30.
const MAX_PACKETS: usize = 2048;

/// Behind the RTCP header: two SSRCs, then what [`read`] takes apart.
const SSRCS: usize = 8;

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// Its number on the transport.
    pub(super) number: u16,
    /// When it came, by the viewer's clock, in units of 250 µs that wrap.
    /// `None` if it has not come.
    pub(super) arrived: Option<u32>,
}

/// Reads the body of a report, behind its RTCP header; `None` if it breaks off.
pub(super) fn read(body: &[u8]) -> Option<Vec<Fate>> {
    let (head, mut rest) = body.get(SSRCS..)?.split_first_chunk::<8>()?;
    let [n0, n1, c0, c1, r0, r1, r2, _report] = *head;
    let (first, count) = (u16::from_be_bytes([n0, n1]), u16::from_be_bytes([c0, c1]));
    let count = usize::from(count);
    if count > MAX_PACKETS {
        return None;
    }
    let mut symbols = Vec::with_capacity(count);
    while symbols.len() < count {
        let (chunk, behind) = rest.split_first_chunk::<2>()?;
        rest = behind;
        let chunk = u16::from_be_bytes(*chunk);
        let left = count - symbols.len();
        match chunk >> 14 {
            // §3.1.3: a run of one symbol.
            0 | 1 => {
                let run = usize::from(chunk & 0x1fff).min(left);
                if run == 0 {
                    return None;
                }
                symbols.extend(std::iter::repeat_n((chunk >> 13 & 3) as u8, run));
            }
            // §3.1.4: 14 symbols of one bit, or 7 of two.
            2 => symbols.extend((0..14.min(left)).map(|at| (chunk >> (13 - at) & 1) as u8)),
            _ => symbols.extend((0..7.min(left)).map(|at| (chunk >> (12 - 2 * at) & 3) as u8)),
        }
    }
    // In units of 64 ms.
    let mut clock = u32::from_be_bytes([r0, r1, r2, 0]);
    let mut fates = Vec::with_capacity(count);
    for (at, symbol) in (0_u16..).zip(symbols) {
        let arrived = match symbol {
            1 => {
                let (delta, behind) = rest.split_first()?;
                rest = behind;
                clock = clock.wrapping_add(u32::from(*delta));
                Some(clock)
            }
            2 => {
                let (delta, behind) = rest.split_first_chunk::<2>()?;
                rest = behind;
                clock = clock.wrapping_add_signed(i32::from(i16::from_be_bytes(*delta)));
                Some(clock)
            }
            // Not received; or received at an unknown time, which tells
            // neither of loss nor of delay.
            3 => continue,
            _ => None,
        };
        fates.push(Fate { number: first.wrapping_add(at), arrived });
    }
    Some(fates)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
        PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk,
        SymbolSizeTypeTcc, SymbolTypeTcc, TransportLayerCc,
    };
    use rtc::shared::marshal::Marshal;

    use super::*;

    const UNIT_US: i64 = 250;

    #[test]
    fn the_drafts_example_of_a_run_and_of_a_vector() {
        let body = [
            0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0, 9, 0, 0, 3, 7, // head
            0x20, 2, // two received, small delta
            0xd2, 0x40, // 01 00 10 01 00 00 00
            4, 8, 1, 0xff, 0xfe, 2, 0, 0,
        ];
        let fates = read(&body).unwrap();
        let base = 3 * 256;
        let came = [Some(4), Some(12), Some(13), None, Some(11), Some(13), None, None, None];
        let numbers = (0..9).map(|at| 0xffff_u16.wrapping_add(at));
        let wanted: Vec<Fate> = numbers
            .zip(came)
            .map(|(number, at)| Fate { number, arrived: at.map(|at| base + at) })
            .collect();
        assert_eq!(fates, wanted);
        for cut in 0..26 {
            assert_eq!(read(&body[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_report_of_too_much_or_of_nothing_is_not_read() {
        let mut body = vec![0; 8];
        body.extend([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend([0x1f, 0xff].repeat(9));
        assert_eq!(read(&body), None);
        // A run of no length would never end.
        assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), None);
    }

    proptest! {
        /// What another implementation writes is read as it was meant.
        #[test]
        fn what_the_library_writes_is_understood(
            first in any::<u16>(),
            deltas in prop::collection::vec(prop::option::of(-300_i64..300), 1..60),
            runs in any::<bool>(),
        ) {
            let symbol = |delta: &Option<i64>| match delta {
                None => SymbolTypeTcc::PacketNotReceived,
                Some(0..=255) => SymbolTypeTcc::PacketReceivedSmallDelta,
                Some(_) => SymbolTypeTcc::PacketReceivedLargeDelta,
            };
            let symbols: Vec<SymbolTypeTcc> = deltas.iter().map(symbol).collect();
            let chunks = if runs {
                let run = |symbol: &SymbolTypeTcc| PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                    type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                    packet_status_symbol: *symbol,
                    run_length: 1,
                });
                symbols.iter().map(run).collect()
            } else {
                let vector = |part: &[SymbolTypeTcc]| {
                    let mut symbol_list = part.to_vec();
                    symbol_list.resize(7, SymbolTypeTcc::PacketNotReceived);
                    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                        type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                        symbol_size: SymbolSizeTypeTcc::TwoBit,
                        symbol_list,
                    })
                };
                symbols.chunks(7).map(vector).collect()
            };
            let recv_deltas = symbols.iter().zip(&deltas).filter_map(|(symbol, delta)| {
                delta.map(|delta| RecvDelta { type_tcc_packet: *symbol, delta: delta * UNIT_US })
            });
            let report = TransportLayerCc {
                base_sequence_number: first,
                packet_status_count: deltas.len() as u16,
                reference_time: 0x00ab_cdef,
                packet_chunks: chunks,
                recv_deltas: recv_deltas.collect(),
                ..TransportLayerCc::default()
            };
            let fates = read(&report.marshal().unwrap()[4..]).unwrap();
            let mut clock = 0xabcd_ef00_u32;
            for (at, delta) in deltas.iter().enumerate() {
                let arrived = delta.map(|delta| {
                    clock = clock.wrapping_add_signed(delta as i32);
                    clock
                });
                let number = first.wrapping_add(at as u16);
                prop_assert_eq!(fates[at], Fate { number, arrived });
            }
            prop_assert_eq!(fates.len(), deltas.len());
        }

        #[test]
        fn no_bytes_make_it_panic_or_say_much(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&body).is_none_or(|fates| fates.len() <= MAX_PACKETS));
        }
    }
}
