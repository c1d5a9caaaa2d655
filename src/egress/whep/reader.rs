//! Reading the socket of all viewers: when, and for whom a datagram is.
//!
//! A wake-up costs 15 to 40 µs, as much as sending a picture to several viewers,
//! and a crowd's reports and checks would be one each. Where nobody waits for an
//! answer they are read when a picture has gone out and the thread is awake
//! anyway. Datagrams say when they came, so nothing is measured wrong by that.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_udp::BATCH_SIZE;

use super::command::Command;
use super::link::Via;
use super::shared::Shared;
use super::socket::{Arrival, Inbox};
use super::tasks::Tasks;

/// So many viewers are no crowd: what they send is read as it comes, so that
/// what is lost on the way is sent again in the same moment.
const FEW: usize = 16;

/// Longest wait for a picture: one of a camera that shows 25 a second comes
/// before. What a crowd's viewer has lost may be sent again that much later,
/// where nobody had lost anything for a while.
const GATHER: Duration = Duration::from_millis(50);

/// The same while pictures come, which end the wait: only once they stop it is
/// this long, once. The runtime wakes the thread for a timer not only when it is
/// due, but also at the last 64 ms mark of its clock before, which for a shorter
/// wait comes before the next picture more often than not.
const GATHER_SHOWING: Duration = Duration::from_millis(150);

/// The same for a crowd of which somebody connects or has lost packets: a
/// repair, and each step of a handshake, may come that much later.
const GATHER_URGENT: Duration = Duration::from_millis(2);

/// Datagrams that came within this of asking are a crowd's.
const CROWDED: Duration = Duration::from_millis(1);

/// Messages gathered before they are read, not to overflow the kernel's buffer:
/// it holds some 250 if the system allows us no more than it usually does.
const MANY: u32 = 100;

/// What one waits for before the socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Somebody to send something, after a rest.
    Datagram(Duration),
    /// A picture to have gone out, or somebody to be in a hurry, but no longer.
    Lull(Duration),
}

/// When the socket is read: no clock, no I/O.
#[derive(Debug)]
struct Rhythm {
    crowded: bool,
    /// The last lull ended before its time.
    showing: bool,
    /// So long until [`MANY`] messages have come.
    gather: Duration,
}

impl Rhythm {
    fn new() -> Self {
        Self { crowded: false, showing: false, gather: Duration::MAX }
    }

    fn wait(&self, viewers: usize, urgent: bool) -> Wait {
        match urgent || viewers <= FEW {
            true if self.crowded => Wait::Datagram(GATHER_URGENT),
            true => Wait::Datagram(Duration::ZERO),
            false if self.showing => Wait::Lull(self.gather.min(GATHER_SHOWING)),
            false => Wait::Lull(self.gather.min(GATHER)),
        }
    }

    /// A datagram was there so long after one asked.
    fn came(&mut self, after: Duration) {
        self.crowded = after < CROWDED;
    }

    /// A lull is over, `early` with a picture.
    fn lulled(&mut self, early: bool) {
        self.showing = early;
    }

    /// So many messages had come since the last reading.
    fn read(&mut self, since: Duration, messages: u32) {
        self.gather = since.saturating_mul(MANY) / messages.max(1);
    }
}

/// The task.
pub(super) async fn run(shared: Arc<Shared>, tasks: Arc<Tasks>) {
    let mut inbox = shared.socket.inbox();
    let mut rhythm = Rhythm::new();
    loop {
        let began = Instant::now();
        let wait = rhythm.wait(shared.board().len(), shared.is_urgent());
        let read = async {
            match wait {
                Wait::Datagram(rest) => {
                    if !rest.is_zero() {
                        tokio::time::sleep(rest).await;
                    }
                    let asked = Instant::now();
                    shared.socket.readable().await?;
                    rhythm.came(asked.elapsed());
                }
                Wait::Lull(longest) => rhythm.lulled(shared.lull(longest).await),
            }
            drain(&shared, &tasks, &mut inbox).await
        };
        match read.await {
            Ok(messages) => rhythm.read(began.elapsed(), messages),
            Err(error) => {
                // A viewer's port that is closed, for one; never a reason to stop.
                tracing::debug!(%error, "receiving on the WebRTC port");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// Finds the viewers of all datagrams that have come; returns how many messages
/// these were.
async fn drain(shared: &Shared, tasks: &Tasks, inbox: &mut Inbox) -> io::Result<u32> {
    let mut all = 0;
    loop {
        let messages = shared.socket.receive(inbox, |arrival| deliver(shared, tasks, arrival))?;
        all += messages as u32;
        if messages < BATCH_SIZE {
            return Ok(all);
        }
        // The fan-outs, on this thread too, take what they were told.
        tokio::task::yield_now().await;
    }
}

fn deliver(shared: &Shared, tasks: &Tasks, arrival: Arrival<'_>) {
    let Arrival { from, at, data, .. } = arrival;
    let found = shared.board().find(arrival);
    let told = found.and_then(|(viewer, task)| {
        let (via, data) = (Via::Udp(arrival.to), BytesMut::from(data));
        tasks.try_tell(task, Command::Datagram { viewer, from, via, at, data })
    });
    if let Err(reason) = told {
        shared.metrics.discarded(reason, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_few_viewers_send_is_read_as_it_comes() {
        let rhythm = Rhythm::new();
        for viewers in [0, 1, FEW] {
            assert_eq!(rhythm.wait(viewers, false), Wait::Datagram(Duration::ZERO), "{viewers}");
        }
    }

    #[test]
    fn a_crowd_is_read_with_the_pictures_until_somebody_is_in_a_hurry() {
        let rhythm = Rhythm::new();
        assert_eq!(rhythm.wait(FEW + 1, false), Wait::Lull(GATHER));
        assert_eq!(rhythm.wait(FEW + 1, true), Wait::Datagram(Duration::ZERO));
    }

    #[test]
    fn a_crowd_that_never_pauses_is_left_a_moment_to_gather() {
        let mut rhythm = Rhythm::new();
        rhythm.came(CROWDED / 2);
        assert_eq!(rhythm.wait(200, true), Wait::Datagram(GATHER_URGENT));
        assert_eq!(rhythm.wait(FEW, false), Wait::Datagram(GATHER_URGENT));
        rhythm.came(CROWDED);
        assert_eq!(rhythm.wait(200, true), Wait::Datagram(Duration::ZERO));
    }

    #[test]
    fn a_lull_ends_before_the_kernels_buffer_is_full() {
        let mut rhythm = Rhythm::new();
        // 10,000 messages a second, some 250 of which fit.
        rhythm.read(Duration::from_millis(20), 200);
        assert_eq!(rhythm.wait(1_000, false), Wait::Lull(Duration::from_millis(10)));
        rhythm.read(Duration::from_millis(20), 0);
        assert_eq!(rhythm.wait(1_000, false), Wait::Lull(GATHER));
        // While pictures come, too.
        rhythm.lulled(true);
        rhythm.read(Duration::from_millis(40), 400);
        assert_eq!(rhythm.wait(1_000, false), Wait::Lull(Duration::from_millis(10)));
    }

    #[test]
    fn a_lull_is_longer_where_the_one_before_ended_with_a_picture() {
        let mut rhythm = Rhythm::new();
        rhythm.lulled(true);
        assert_eq!(rhythm.wait(FEW + 1, false), Wait::Lull(GATHER_SHOWING));
        rhythm.lulled(false);
        assert_eq!(rhythm.wait(FEW + 1, false), Wait::Lull(GATHER));
    }
}
