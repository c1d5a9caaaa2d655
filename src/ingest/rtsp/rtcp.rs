//! RTCP of one track (RFC 3550 §6): the camera's sender reports and farewells
//! in, our receiver reports out. Sans I/O; time is an argument.
//!
//! Cameras of LIVE555's family take receiver reports for a sign of life, and
//! end a UDP session that sends none.

use std::time::{Duration, Instant};

use retina::rtcp::PacketRef;

use super::receiver::Receiver;
use super::reception::Block;
use crate::media::WallTime;
use crate::rtp;

/// RTCP packet types (RFC 3550 §12.1).
const RECEIVER_REPORT: u8 = 201;
const BYE: u8 = 203;
/// Generic NACK: transport layer feedback of format 1 (RFC 4585 §6.2.1).
const GENERIC_NACK: [u8; 2] = [0x81, 205];
/// Mean time between two reports (RFC 3550 §6.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// Most packets of a compound that are read; cameras send two or three.
const MAX_PACKETS: usize = 16;

/// A sender report: this RTP time was this wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Unwrapped as [`super::receiver::Packet::timestamp`].
    pub rtp: i64,
    /// The camera's clock, which may be wrong.
    pub wall: WallTime,
}

/// Reads a compound packet: notes farewells, returns the newest report of the
/// source that `receiver` hears. What cannot be read is ignored.
pub fn read(compound: &[u8], receiver: &mut Receiver, now: Instant) -> Option<SenderReport> {
    let (mut report, mut rest) = (None, compound);
    for _ in 0..MAX_PACKETS {
        let Ok((packet, after)) = PacketRef::parse(rest) else { break };
        rest = after;
        if packet.payload_type() == BYE {
            let sources = packet.raw()[4..].chunks_exact(4).take(packet.count().into());
            for ssrc in sources.filter_map(|ssrc| ssrc.try_into().ok()) {
                receiver.bye(u32::from_be_bytes(ssrc));
            }
        }
        let Ok(Some(sent)) = packet.as_sender_report() else { continue };
        let ntp = sent.ntp_timestamp().0;
        let rtp = receiver.sender_report(sent.ssrc(), ntp, sent.rtp_timestamp(), now);
        // Zero: it has no wall clock (RFC 3550 §6.4.1).
        if let Some(rtp) = rtp.filter(|_| ntp != 0) {
            report = Some(SenderReport { rtp, wall: WallTime::from_ntp(ntp) });
        }
    }
    report
}

/// When to report to the camera, and what.
#[derive(Debug)]
pub struct Reporter {
    /// Ours.
    ssrc: u32,
    /// Ours too, and says nothing about us (RFC 7022 §4.2).
    cname: String,
    due: Instant,
}

impl Reporter {
    /// For a track that begins now.
    pub fn new(now: Instant) -> Self {
        let cname = format!("{:016x}", rand::random::<u64>());
        let mut reporter = Self { ssrc: rand::random(), cname, due: now };
        // The first after half the time (RFC 3550 §6.2).
        reporter.due = now + reporter.interval() / 2;
        reporter
    }

    /// When the next report is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The report to send now, if it is time and there is something to report.
    pub fn report(&mut self, receiver: &mut Receiver, now: Instant) -> Option<Vec<u8>> {
        if now < self.due {
            return None;
        }
        self.due = now + self.interval();
        let (source, block) = receiver.block(now)?;
        Some(self.compound(source, &block))
    }

    /// Asks `source` to send again what those pairs name. It begins as every
    /// compound must, with a report, of nothing (RFC 4585 §3.1).
    pub(super) fn nack(&self, source: u32, pairs: &[(u16, u16)]) -> Vec<u8> {
        let mut out = vec![0x80, RECEIVER_REPORT, 0, 1];
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        rtp::write_name(self.ssrc, &self.cname, &mut out);
        out.extend_from_slice(&GENERIC_NACK);
        out.extend_from_slice(&(pairs.len() as u16 + 2).to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&source.to_be_bytes());
        for (number, behind) in pairs {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&behind.to_be_bytes());
        }
        out
    }

    /// Between half and one and a half times the mean, so that reports of many
    /// tracks do not fall together (RFC 3550 §6.3.1).
    fn interval(&self) -> Duration {
        INTERVAL.mul_f64(0.5 + rand::random::<f64>())
    }

    /// A receiver report and our name (RFC 3550 §6.1).
    fn compound(&self, source: u32, block: &Block) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&[0x81, RECEIVER_REPORT, 0, 7]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&source.to_be_bytes());
        out.push(block.fraction_lost);
        out.extend_from_slice(&block.lost.to_be_bytes()[1..]);
        for field in [block.highest, block.jitter, block.last_report, block.since_last_report] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        rtp::write_name(self.ssrc, &self.cname, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use retina::rtcp::TypedPacketRef;

    use super::super::receiver::Carrier;
    use super::*;
    use crate::media::ClockRate;

    const SECOND: Duration = Duration::from_secs(1);

    fn rtp(ssrc: u32, number: u16, time: u32) -> Bytes {
        let number = number.to_be_bytes();
        [&[0x80, 96][..], &number, &time.to_be_bytes(), &ssrc.to_be_bytes(), b"x"].concat().into()
    }

    fn receiver(now: Instant) -> Receiver {
        let mut receiver = Receiver::new(0, 96, ClockRate::VIDEO, Carrier::Ordered);
        receiver.push(rtp(7, 1, 90_000), now);
        receiver
    }

    /// A sender report of source 7: that NTP second, that RTP time.
    fn report(ntp: u32, time: u32) -> Vec<u8> {
        let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 7];
        for field in [ntp, 0, time, 1, 1] {
            report.extend_from_slice(&field.to_be_bytes());
        }
        report
    }

    #[test]
    fn sender_reports_are_read_wherever_they_stand_in_a_compound() {
        let now = Instant::now();
        let mut receiver = receiver(now);
        let expected =
            Some(SenderReport { rtp: -45_000, wall: WallTime::from_unix_nanos(1_000_000_000) });
        let sent = report(2_208_988_801, 45_000);
        let name = [0x81, 202, 0, 2, 0, 0, 0, 7, 1, 0, 0, 0];
        for compound in [&[&sent[..], &name].concat(), &[&name, &sent[..]].concat(), &sent] {
            assert_eq!(read(compound, &mut receiver, now), expected);
        }
        // A camera without a clock, one that is cut off, and no RTCP at all.
        assert_eq!(read(&report(0, 45_000), &mut receiver, now), None);
        for cut in 0..sent.len() {
            assert_eq!(read(&sent[..cut], &mut receiver, now), None);
        }
        assert_eq!(read(b"\x40garbage", &mut receiver, now), None);
    }

    #[test]
    fn after_a_bye_another_source_is_heard_at_once() {
        let now = Instant::now();
        let mut receiver = receiver(now);
        receiver.push(rtp(8, 1, 0), now);
        assert_eq!(receiver.arrivals().foreign, 1);
        let bye = [0x82, 203, 0, 2, 0, 0, 0, 9, 0, 0, 0, 7];
        read(&[&report(1, 1)[..], &bye].concat(), &mut receiver, now);
        receiver.push(rtp(8, 2, 0), now);
        assert_eq!(receiver.arrivals().foreign, 1);
    }

    #[test]
    fn reports_are_whole_rtcp_and_tell_what_was_lost() {
        let now = Instant::now();
        let mut receiver = receiver(now);
        receiver.push(rtp(7, 4, 90_000), now);
        read(&report(0x1234_5678, 1), &mut receiver, now);
        let mut reporter = Reporter::new(now);
        let later = now + 10 * SECOND;
        let compound = reporter.report(&mut receiver, later).unwrap();

        let (first, rest) = PacketRef::parse(&compound).unwrap();
        assert!(matches!(first.as_typed().unwrap(), Some(TypedPacketRef::ReceiverReport(_))));
        let (second, rest) = PacketRef::parse(rest).unwrap();
        assert_eq!((second.payload_type(), second.raw().len() % 4, rest.len()), (202, 0, 0));
        assert_eq!(first.raw()[4..8], second.raw()[4..8]);
        // Source 7, half of four lost, the highest number.
        assert_eq!(first.raw()[8..16], [0, 0, 0, 7, 128, 0, 0, 2]);
        assert_eq!(first.raw()[18..20], [0, 4]);
        assert_eq!(first.raw()[24..], [0x56, 0x78, 0, 0, 0, 10, 0, 0]);
    }

    #[test]
    fn reports_come_every_five_seconds_on_average_and_never_together() {
        let start = Instant::now();
        let mut receiver = receiver(start);
        let mut reporter = Reporter::new(start);
        assert!((SECOND * 5 / 4..=SECOND * 15 / 4).contains(&(reporter.due() - start)));
        let mut spans = Vec::new();
        for _ in 0..400 {
            let now = reporter.due();
            assert_eq!(reporter.report(&mut receiver, now - Duration::from_nanos(1)), None);
            assert!(reporter.report(&mut receiver, now).is_some());
            spans.push((reporter.due() - now).as_secs_f64());
        }
        assert!(spans.iter().all(|span| (2.5..=7.5).contains(span)));
        let mean = spans.iter().sum::<f64>() / 400.0;
        assert!((4.5..=5.5).contains(&mean), "{mean}");
    }

    #[test]
    fn before_the_first_packet_there_is_nothing_to_report() {
        let now = Instant::now();
        let mut receiver = Receiver::new(0, 96, ClockRate::VIDEO, Carrier::Ordered);
        let mut reporter = Reporter::new(now);
        assert_eq!(reporter.report(&mut receiver, now + 10 * SECOND), None);
        assert!(reporter.due() > now + 10 * SECOND);
    }
}
