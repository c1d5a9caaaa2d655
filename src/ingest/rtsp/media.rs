//! The media of one session, all tracks of it, by whichever way it comes.
//!
//! Here: what came on which channel or port belongs to which track; what is
//! due when. Not here: the connection itself, whose owner hands over what is
//! interleaved in it and sends the reports that belong there.

use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::receiver::{Packet, Receiver};
use super::reception::Arrivals;
use super::rtcp::{self, Reporter, SenderReport};
use super::transport::Path;
use super::udp::{Datagram, Ports};
use crate::ingest::spare::Spares;

/// Room for the datagrams that come at once: a picture's, or a part of a large
/// one's.
const LANDED: usize = 64 << 10;

thread_local! {
    /// Buffers in which nothing is in flight.
    static SPARES: Spares = const { Spares::new() };
}

/// What comes from a camera.
#[derive(Debug)]
pub(in crate::ingest) enum Item {
    /// RTP, in order.
    Packet(Packet),
    /// RTCP sender report of a section.
    Report { section: usize, report: SenderReport },
}

/// A track that was set up.
#[derive(Debug)]
struct Track {
    section: usize,
    payload_type: u8,
    path: Path,
    ports: Option<Ports>,
    receiver: Receiver,
    reporter: Reporter,
    report: Option<SenderReport>,
}

/// The tracks of a session.
#[derive(Debug, Default)]
pub(super) struct Media {
    tracks: Vec<Track>,
    /// Of what datagrams became slices; none while nothing is ready.
    landed: Option<BytesMut>,
}

impl Media {
    /// Adds a track whose SETUP was answered; `ports` where it comes by UDP,
    /// which are now opened towards the camera.
    pub(super) fn add(
        &mut self,
        section: usize,
        payload_type: u8,
        path: Path,
        mut ports: Option<Ports>,
        receiver: Receiver,
        now: Instant,
    ) {
        if let (Path::Udp { server: Some(server) }, Some(ports)) = (path, &mut ports) {
            ports.connect(server);
        }
        let reporter = Reporter::new(now);
        let track = Track { section, payload_type, path, ports, receiver, reporter, report: None };
        self.tracks.push(track);
    }

    /// Says at which RTP time each track begins, in the order they were added.
    pub(super) fn start_at(&mut self, times: &[u32]) {
        for (track, time) in self.tracks.iter_mut().zip(times) {
            track.receiver.start_at(*time);
        }
    }

    /// Takes what was interleaved in the connection. False if no track has
    /// that channel.
    pub(super) fn interleaved(&mut self, channel: u8, data: Bytes, now: Instant) -> bool {
        let payload_type = data.get(1).map(|byte| byte & 0x7f);
        let channels = |track: &Track| match track.path {
            Path::Interleaved { rtp, rtcp } => (rtp == channel, rtcp == channel),
            Path::Udp { .. } => (false, false),
        };
        let media = self.tracks.iter().filter(|track| channels(track).0).count();
        let mut known = false;
        for track in &mut self.tracks {
            match channels(track) {
                // Cameras that answer every SETUP with the same channels tell
                // tracks apart by payload type alone.
                (true, _) if media == 1 || payload_type == Some(track.payload_type) => {
                    track.receiver.push(data, now);
                    return true;
                }
                (_, true) => {
                    track.rtcp(&data, now);
                    known = true;
                }
                (rtp, _) => known |= rtp,
            }
        }
        known
    }

    /// Waits for UDP, for ever if no track comes by it. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the system takes a socket away.
    pub(super) async fn receive(&mut self) -> io::Result<()> {
        if self.tracks.iter().all(|track| track.ports.is_none()) {
            return pending().await;
        }
        // All of them each time, so that a flood on one does not drown the others.
        poll_fn(|context| {
            let now = tokio::time::Instant::now().into_std();
            let mut outcome = Poll::Pending;
            let Self { tracks, landed } = &mut *self;
            for Track { ports, receiver, report, .. } in tracks {
                let Some(ports) = ports else { continue };
                let received = ports.poll_receive(context, |datagram| match datagram {
                    Datagram::Rtp(data) => {
                        // Not before: a camera that nothing comes of holds none.
                        let landed = landed.get_or_insert_with(take_spare);
                        landed.extend_from_slice(data);
                        receiver.push(landed.split().freeze(), now);
                    }
                    Datagram::Rtcp(data) => {
                        if let Some(news) = rtcp::read(data, receiver, now) {
                            *report = Some(news);
                        }
                    }
                });
                if let Poll::Ready(received) = received {
                    received?;
                    outcome = Poll::Ready(Ok(()));
                }
            }
            outcome
        })
        .await
    }

    /// What is ready; to be asked until nothing is, before anything else.
    pub(super) fn pull(&mut self) -> Option<Item> {
        let item = self.tracks.iter_mut().find_map(|track| {
            let section = track.section;
            let report = track.report.take().map(|report| Item::Report { section, report });
            report.or_else(|| track.receiver.pull().map(Item::Packet))
        });
        if item.is_none()
            && let Some(landed) = self.landed.take()
        {
            SPARES.with(|spares| spares.give_back(landed, LANDED));
        }
        item
    }

    /// When to call [`Media::tick`], at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = |track: &Track| {
            let report = track.reporter.due();
            track.receiver.deadline().map_or(report, |waited| waited.min(report))
        };
        self.tracks.iter().map(due).min()
    }

    /// Does what is due: ends waits, sends reports by UDP. Returns one that is
    /// to be sent on that channel of the connection, if any is; call again
    /// until none is.
    pub(super) fn tick(&mut self, now: Instant) -> Option<(u8, Vec<u8>)> {
        for track in &mut self.tracks {
            track.receiver.expire(now);
            if let (Some(ports), Some((source, pairs))) =
                (&track.ports, track.receiver.missing(now))
            {
                ports.send_rtcp(&track.reporter.nack(source, &pairs));
            }
            let Some(report) = track.reporter.report(&mut track.receiver, now) else { continue };
            match (track.path, &track.ports) {
                (Path::Interleaved { rtcp, .. }, _) => return Some((rtcp, report)),
                (Path::Udp { .. }, Some(ports)) => ports.send_rtcp(&report),
                (Path::Udp { .. }, None) => {}
            }
        }
        None
    }

    /// What of a section's packets was not plain, and their jitter.
    pub(super) fn arrivals(&self, section: usize) -> Option<(Arrivals, Duration)> {
        let track = self.tracks.iter().find(|track| track.section == section)?;
        Some((track.receiver.arrivals(), track.receiver.jitter()))
    }
}

/// A buffer with room for datagrams.
fn take_spare() -> BytesMut {
    let mut buffer = SPARES.with(Spares::take);
    // Its own memory again, unless something that it held still waits.
    buffer.reserve(LANDED);
    buffer
}

impl Track {
    fn rtcp(&mut self, compound: &[u8], now: Instant) {
        if let Some(report) = rtcp::read(compound, &mut self.receiver, now) {
            self.report = Some(report);
        }
    }
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
