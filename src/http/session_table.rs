//! The sessions there are, of every output, for who runs the gateway.
//!
//! A session tells of itself now and then; whoever reads the table waits for
//! none of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::auth::Principal;
use crate::media::{Quality, StreamName};

/// All sessions. Copies are of the same table.
#[derive(Clone, Default)]
pub struct SessionTable(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// By a number that is never used again: in the order they began.
    sessions: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    start: SessionStart,
    output: &'static str,
    since: SystemTime,
    news: SessionNews,
    end: Arc<End>,
}

type End = dyn Fn() -> bool + Send + Sync;

/// What a session is from its beginning.
#[derive(Clone, Debug)]
pub struct SessionStart {
    /// For people, logs and [`SessionTable::end`]; who knows it owns nothing.
    pub id: String,
    /// What is watched.
    pub stream: StreamName,
    /// By whom.
    pub principal: Principal,
}

/// What becomes of a session, as it last told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionNews {
    /// How far it has come, in a word: `connecting`, `connected`, `live`;
    /// `key_frames` where its way carries no more.
    pub stage: &'static str,
    /// Which view of the scene it is sent.
    pub quality: Quality,
    /// Whether that may change by itself, with what the way carries.
    pub adapts: bool,
    /// The viewer's address that media goes to.
    pub remote: Option<SocketAddr>,
    /// `udp` or `tcp`; `None` as long as there is no way.
    pub transport: Option<&'static str>,
    /// Names of the codecs it is sent.
    pub video: Option<&'static str>,
    /// See `video`.
    pub audio: Option<&'static str>,
    /// What of them it is not sent, to leave a narrow way to the rest: `sound`.
    pub held_back: Option<&'static str>,
    /// To the viewer and back.
    pub round_trip: Option<Duration>,
    /// Share of the packets that did not arrive, 0 to 1, by its last report.
    pub loss: Option<f64>,
    /// Media sent, in bits a second, over the last second or so.
    pub bit_rate: u64,
    /// What its way is believed to carry, in bits a second.
    pub estimate: Option<u64>,
    /// Media packets (for an output without packets, messages) sent so far.
    pub packets: u64,
    /// Bytes of media sent so far.
    pub bytes: u64,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// What it is from its beginning.
    pub start: SessionStart,
    /// `whep`, `mse`, …
    pub output: &'static str,
    /// When it began.
    pub since: SystemTime,
    /// What became of it.
    pub news: SessionNews,
}

/// A session's line in the table; dropping it takes the line out.
pub struct SessionLine {
    table: SessionTable,
    number: u64,
    measured: Option<(Instant, u64)>,
}

impl SessionTable {
    /// A poisoned table is whole: every change is one call on a map.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session of `output` in. `end` asks it to leave, and must not
    /// wait; it says whether it could ask.
    pub(super) fn add(
        &self,
        output: &'static str,
        start: SessionStart,
        end: impl Fn() -> bool + Send + Sync + 'static,
    ) -> SessionLine {
        let (since, news, end) = (SystemTime::now(), SessionNews::default(), Arc::new(end));
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.sessions.insert(number, Entry { start, output, since, news, end });
        SessionLine { table: self.clone(), number, measured: None }
    }

    /// Every session, the oldest first.
    pub fn list(&self) -> Vec<SessionView> {
        let table = self.table();
        let view = |entry: &Entry| SessionView {
            start: entry.start.clone(),
            output: entry.output,
            since: entry.since,
            news: entry.news.clone(),
        };
        table.sessions.values().map(view).collect()
    }

    /// What became of the session of that id, as it last told.
    pub fn news(&self, id: &str) -> Option<SessionNews> {
        let table = self.table();
        let ours = table.sessions.values().find(|entry| entry.start.id == id);
        ours.map(|entry| entry.news.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.table().sessions.len()
    }

    /// Sends the session of that id away; `false` where there is none, or it
    /// is too busy to hear.
    pub fn end(&self, id: &str) -> bool {
        // Asked without the lock: who leaves takes its line out.
        let ours = |entry: &&Entry| entry.start.id == id;
        let ends: Vec<Arc<End>> = self
            .table()
            .sessions
            .values()
            .filter(ours)
            .map(|entry| Arc::clone(&entry.end))
            .collect();
        ends.iter().filter(|end| end()).count() > 0
    }
}

impl SessionLine {
    /// What became of the session; `bit_rate` is filled in from `bytes`.
    pub fn tell(&mut self, now: Instant, change: impl FnOnce(&mut SessionNews)) {
        let mut table = self.table.table();
        let Some(entry) = table.sessions.get_mut(&self.number) else { return };
        change(&mut entry.news);
        let bytes = entry.news.bytes;
        let (since, before) = *self.measured.get_or_insert((now, bytes));
        let span = now.saturating_duration_since(since);
        if span >= Duration::from_millis(500) {
            let bits = bytes.saturating_sub(before) as f64 * 8.0;
            entry.news.bit_rate = (bits / span.as_secs_f64()) as u64;
            self.measured = Some((now, bytes));
        }
    }
}

impl Drop for SessionLine {
    fn drop(&mut self) {
        self.table.table().sessions.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn start(id: &str) -> SessionStart {
        let stream = "yard".parse().unwrap();
        SessionStart { id: id.to_owned(), stream, principal: Principal::Anonymous }
    }

    fn ids(table: &SessionTable) -> Vec<String> {
        table.list().into_iter().map(|session| session.start.id).collect()
    }

    #[test]
    fn a_session_is_listed_while_it_lasts_and_ended_by_its_id() {
        let (table, asked) = (SessionTable::default(), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&asked);
        let first = table.add("whep", start("b"), move || {
            counter.fetch_add(1, Ordering::Relaxed);
            true
        });
        let second = table.add("mse", start("a"), || false);
        assert_eq!(ids(&table), ["b", "a"]);
        assert!(table.end("b") && !table.end("a") && !table.end("c"));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        drop(first);
        assert_eq!(ids(&table), ["a"]);
        drop(second);
        assert!(!table.end("b"));
    }

    #[test]
    fn the_bit_rate_is_that_of_the_last_second() {
        let (table, now) = (SessionTable::default(), Instant::now());
        let mut line = table.add("whep", start("a"), || true);
        let mut rates = Vec::new();
        for (second, bytes) in [(0, 7_000), (1, 107_000), (2, 307_000), (12, 307_000)] {
            line.tell(now + Duration::from_secs(second), |news| news.bytes = bytes);
            rates.push(table.news("a").unwrap().bit_rate);
        }
        assert_eq!(rates, [0, 800_000, 1_600_000, 0]);
    }
}
