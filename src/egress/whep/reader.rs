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

/// Longest wait for a picture: one of a camera that shows 25 a second comes
/// before.
const GATHER: Duration = Duration::from_millis(50);

/// The same for a crowd of which somebody connects or has lost packets: a
/// repair, and each step of a handshake, may come that much later.
const GATHER_URGENT: Duration = Duration::from_millis(2);

/// Datagrams that came within this of asking are a crowd's.
const CROWDED: Duration = Duration::from_millis(1);

/// Messages gathered before they are read, not to overflow the kernel's buffer:
/// it holds some 250 if the system allows us no more than it usually does.
const MANY: u32 = 100;

/// The task.
pub(super) async fn run(shared: Arc<Shared>, tasks: Arc<Tasks>) {
    let mut inbox = shared.socket.inbox();
    let (mut crowded, mut gather) = (false, GATHER);
    loop {
        let began = Instant::now();
        let read = async {
            if shared.is_urgent() || shared.board().len() == 0 {
                if crowded {
                    tokio::time::sleep(GATHER_URGENT).await;
                }
                let asked = Instant::now();
                shared.socket.readable().await?;
                crowded = asked.elapsed() < CROWDED;
            } else {
                shared.lull(gather).await;
            }
            drain(&shared, &tasks, &mut inbox).await
        };
        match read.await {
            Ok(messages) => gather = (began.elapsed() * MANY / messages.max(1)).min(GATHER),
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
