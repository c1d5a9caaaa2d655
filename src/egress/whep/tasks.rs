//! The fan-outs there are, and which of them a viewer joins.
//!
//! A fan-out is a stream's viewers on one media thread. A stream few people
//! watch has one; with a crowd it gets one on every thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::command::{Command, MAX_COMMANDS};
use super::cuts::Cuts;
use super::switchboard::TaskId;
use crate::bus::Stream;
use crate::fault::Code;

/// Viewers of a stream that one thread takes before another is woken for each
/// picture too: these cost it some 3 ms of every 40.
const CROWD: usize = 200;

/// The table.
pub(super) struct Tasks {
    threads: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    fanouts: HashMap<TaskId, Entry>,
    next: u64,
}

struct Entry {
    stream: Arc<Stream>,
    thread: usize,
    commands: mpsc::Sender<Command>,
    crowd: Arc<AtomicUsize>,
    cuts: Arc<Cuts>,
}

/// What a fan-out is to do.
pub(super) struct Duty {
    pub(super) id: TaskId,
    pub(super) stream: Arc<Stream>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) cuts: Arc<Cuts>,
    /// The thread it runs on.
    pub(super) thread: usize,
}

impl Entry {
    fn viewers(&self) -> usize {
        self.crowd.load(Ordering::Relaxed)
    }

    fn serves(&self, stream: &Arc<Stream>) -> bool {
        Arc::ptr_eq(&self.stream, stream) && !self.commands.is_closed()
    }
}

impl Tasks {
    /// For so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, table: Mutex::default() }
    }

    /// A panic while the table was locked leaves it whole: every change is one
    /// call on a map.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a viewer to a fan-out of `stream`, which `start` begins on a
    /// thread where there is none to take it. `viewer` is told which it is, and
    /// what counts its crowd.
    pub(super) fn join(
        &self,
        stream: &Arc<Stream>,
        start: impl FnOnce(usize, Duty),
        viewer: impl FnOnce(TaskId, &Arc<AtomicUsize>) -> Command,
    ) -> Result<(), Code> {
        // Held until the command is in the channel: `retire` cannot come
        // between finding the fan-out and joining it.
        let mut table = self.table();
        let id = match table.choose(stream, self.threads) {
            Ok(id) => id,
            Err(thread) => {
                let duty = table.add(stream, thread);
                let id = duty.id;
                start(thread, duty);
                id
            }
        };
        let entry = table.fanouts.get(&id).expect("just chosen or added");
        let slot = entry.commands.try_reserve().map_err(|_| Code::ViewerLimit)?;
        slot.send(viewer(id, &entry.crowd));
        Ok(())
    }

    /// Tells a fan-out something, if it can take it now.
    pub(super) fn try_tell(&self, id: TaskId, command: Command) -> Result<(), &'static str> {
        let table = self.table();
        let entry = table.fanouts.get(&id).ok_or("no_session")?;
        entry.commands.try_send(command).map_err(|_| "overload")
    }

    /// Tells a fan-out something; nobody, if it has just ended.
    pub(super) async fn tell(&self, id: TaskId, command: Command) {
        let commands = self.table().fanouts.get(&id).map(|entry| entry.commands.clone());
        if let Some(commands) = commands {
            let _ = commands.send(command).await;
        }
    }

    /// Every fan-out there is.
    pub(super) fn all(&self) -> Vec<TaskId> {
        self.table().fanouts.keys().copied().collect()
    }

    /// Ends the calling fan-out's duty, unless somebody is about to join it.
    pub(super) fn retire(&self, id: TaskId, commands: &mpsc::Receiver<Command>) -> bool {
        let mut table = self.table();
        if !commands.is_empty() {
            return false;
        }
        table.fanouts.remove(&id);
        true
    }

    /// The stream has ended; whoever is about to join goes with it.
    pub(super) fn forget(&self, id: TaskId) {
        self.table().fanouts.remove(&id);
    }
}

impl Table {
    /// The fan-out with most room; else the thread to begin another on.
    fn choose(&self, stream: &Arc<Stream>, threads: usize) -> Result<TaskId, usize> {
        let ours = || self.fanouts.iter().filter(|(_, entry)| entry.serves(stream));
        let free = ours().min_by_key(|(_, entry)| entry.viewers());
        if let Some((id, entry)) = free
            && (entry.viewers() < CROWD || ours().count() >= threads)
        {
            return Ok(*id);
        }
        let load = |thread: &usize| -> usize {
            let there = self.fanouts.values().filter(|entry| entry.thread == *thread);
            there.map(Entry::viewers).sum()
        };
        let without = |thread: &usize| ours().all(|(_, entry)| entry.thread != *thread);
        Err((0..threads).filter(without).min_by_key(load).unwrap_or(0))
    }

    fn add(&mut self, stream: &Arc<Stream>, thread: usize) -> Duty {
        let shared = self.fanouts.values().find(|entry| entry.serves(stream));
        let cuts = shared.map_or_else(Arc::default, |entry| Arc::clone(&entry.cuts));
        self.next += 1;
        let id = TaskId(self.next);
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let entry = Entry {
            stream: Arc::clone(stream),
            thread,
            commands: sender,
            crowd: Arc::default(),
            cuts: Arc::clone(&cuts),
        };
        self.fanouts.insert(id, entry);
        Duty { id, stream: Arc::clone(stream), commands, cuts, thread }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::bus::{BusMetrics, Limits, Publisher, SourceState, SourceStatus};

    fn stream(name: &str) -> (Arc<Stream>, Publisher) {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera");
        Stream::new(name.parse().unwrap(), Limits::default(), status, BusMetrics::unregistered())
    }

    /// Where each of so many viewers lands: the thread, where it is woken for
    /// them.
    fn seat(tasks: &Tasks, stream: &Arc<Stream>, viewers: usize, kept: &mut Vec<Duty>) {
        for _ in 0..viewers {
            let start = |_, duty| kept.push(duty);
            let joined = tasks.join(stream, start, |_, crowd| {
                crowd.fetch_add(1, Ordering::Relaxed);
                Command::Close
            });
            joined.unwrap();
        }
    }

    fn crowds(tasks: &Tasks, stream: &Arc<Stream>) -> Vec<(usize, usize)> {
        let table = tasks.table();
        let ours = table.fanouts.values().filter(|entry| entry.serves(stream));
        let mut crowds: Vec<_> = ours.map(|entry| (entry.thread, entry.viewers())).collect();
        crowds.sort_unstable();
        crowds
    }

    #[test]
    fn a_crowd_is_spread_over_the_threads_and_a_few_are_not() {
        let (tasks, mut kept) = (Tasks::new(2), Vec::new());
        let ((yard, _a), (door, _b)) = (stream("yard"), stream("door"));
        seat(&tasks, &yard, CROWD, &mut kept);
        assert_eq!(crowds(&tasks, &yard), [(0, CROWD)]);
        seat(&tasks, &door, 1, &mut kept);
        assert_eq!(crowds(&tasks, &door), [(1, 1)], "the other thread has less to do");
        seat(&tasks, &yard, CROWD + 20, &mut kept);
        assert_eq!(crowds(&tasks, &yard), [(0, CROWD + 10), (1, CROWD + 10)]);
        // Frames are cut once for both.
        let of_yard: Vec<_> = kept.iter().filter(|d| Arc::ptr_eq(&d.stream, &yard)).collect();
        assert!(Arc::ptr_eq(&of_yard[0].cuts, &of_yard[1].cuts));
    }

    #[test]
    fn nobody_joins_a_fan_out_that_has_retired() {
        let (tasks, mut kept) = (Tasks::new(1), Vec::new());
        let (yard, _publisher) = stream("yard");
        seat(&tasks, &yard, 1, &mut kept);
        assert!(!tasks.retire(kept[0].id, &kept[0].commands), "somebody is about to join");
        kept[0].commands.try_recv().ok().unwrap();
        assert!(tasks.retire(kept[0].id, &kept[0].commands));
        seat(&tasks, &yard, 1, &mut kept);
        assert_ne!(kept[0].id, kept[1].id);
        assert_eq!(tasks.try_tell(kept[0].id, Command::Close), Err("no_session"));
    }
}
