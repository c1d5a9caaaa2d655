//! What a viewer reports by RTCP (RFC 3550 §6.4, RFC 4585, RFC 5104).

use rtc::rtcp::Packet;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::transport_feedback::{self, Fate};

/// Most packets of one datagram that are looked at; browsers send a handful.
const MAX_PACKETS: usize = 32;

/// Of every RTCP packet (RFC 3550 §6.1).
const HEADER_BYTES: usize = 4;

/// Format and packet type of transport-wide feedback.
const TRANSPORT_FEEDBACK: (u8, u8) = (15, 205);

/// One thing reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feedback {
    /// PLI or FIR: the decoder needs a key frame.
    KeyFrameWanted,
    /// Packets of `ssrc` that did not come: the first, and a bit for each of
    /// the 16 behind it (RFC 4585 §6.2.1).
    Nack { ssrc: u32, lost: Vec<(u16, u16)> },
    /// How reception goes.
    Reception(Reception),
    /// What became of packets, by their number on the transport.
    Transport(Vec<Fate>),
    /// Bits a second that the viewer believes its way to carry (REMB,
    /// draft-alvestrand-rmcat-remb-03).
    Estimate(u64),
}

/// A report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reception {
    pub(super) ssrc: u32,
    /// Since the report before, in 256ths.
    pub(super) fraction_lost: u8,
    /// Which sender report it last got, and how long before, in 65536ths of a
    /// second.
    pub(super) last_report: u32,
    pub(super) delay: u32,
}

/// Reads a decrypted RTCP datagram, as far as it can be read.
pub(super) fn read(mut datagram: &[u8]) -> Vec<Feedback> {
    let mut found = Vec::new();
    for _ in 0..MAX_PACKETS {
        let Some((header, _)) = datagram.split_first_chunk::<HEADER_BYTES>() else { break };
        let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some((packet, rest)) = datagram.split_at_checked(HEADER_BYTES + 4 * words) else {
            break;
        };
        datagram = rest;
        if (header[0] & 0x1f, header[1]) == TRANSPORT_FEEDBACK {
            found
                .extend(transport_feedback::read(&packet[HEADER_BYTES..]).map(Feedback::Transport));
            continue;
        }
        let Ok(packets) = rtc::rtcp::packet::unmarshal(&mut &packet[..]) else { break };
        found.extend(packets.iter().flat_map(|packet| one(packet.as_ref())));
    }
    found
}

fn one(packet: &dyn Packet) -> Vec<Feedback> {
    let packet = packet.as_any();
    if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
        vec![Feedback::KeyFrameWanted]
    } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
        let lost = nack.nacks.iter().map(|pair| (pair.packet_id, pair.lost_packets)).collect();
        vec![Feedback::Nack { ssrc: nack.media_ssrc, lost }]
    } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
        report.reports.iter().map(reception).collect()
    } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
        report.reports.iter().map(reception).collect()
    } else if let Some(estimate) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
        // Never negative; what is too much for an integer, or no number, is
        // not meant.
        vec![Feedback::Estimate(estimate.bitrate as u64)]
    } else {
        Vec::new()
    }
}

fn reception(block: &ReceptionReport) -> Feedback {
    Feedback::Reception(Reception {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        last_report: block.last_sender_report,
        delay: block.delay,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVER_REPORT: [u8; 32] = [
        0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7, 64, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 2, 0xab, 0xcd,
        0xef, 0x01, 0, 1, 0, 0,
    ];
    const NACK: [u8; 16] = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 3];
    const PLI: [u8; 12] = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7];

    #[test]
    fn a_compound_of_browsers_is_understood() {
        let compound = [&RECEIVER_REPORT[..], &NACK, &PLI].concat();
        let block =
            Reception { ssrc: 7, fraction_lost: 64, last_report: 0xabcd_ef01, delay: 0x1_0000 };
        assert_eq!(
            read(&compound),
            [
                Feedback::Reception(block),
                Feedback::Nack { ssrc: 7, lost: vec![(0xffff, 3)] },
                Feedback::KeyFrameWanted,
            ]
        );
    }

    #[test]
    fn what_the_way_carries_is_read_beside_it() {
        const REMB: [u8; 24] = [
            0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0f, 0x42, 0x40,
            0, 0, 0, 7,
        ];
        const CAME: [u8; 24] =
            [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 7, 0, 9, 0, 2, 0, 0, 1, 0, 0xa0, 0, 5, 0];
        let compound = [&REMB[..], &CAME, &PLI].concat();
        let fates =
            vec![Fate { number: 9, arrived: Some(261) }, Fate { number: 10, arrived: None }];
        assert_eq!(
            read(&compound),
            [
                Feedback::Estimate(0x3_4240 << 3),
                Feedback::Transport(fates),
                Feedback::KeyFrameWanted
            ]
        );
    }

    #[test]
    fn broken_reports_say_nothing() {
        for cut in 0..NACK.len() {
            assert_eq!(read(&NACK[..cut]), []);
        }
    }
}
