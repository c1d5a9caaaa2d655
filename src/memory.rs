//! Memory that a crowd has left goes back to the system. A leaf.
//!
//! glibc keeps what is freed: an arena's pages below the last thing that is
//! still in use stay ours, however empty they are, and a thousand viewers that
//! came and went leave their megabytes for good. Asked to, it gives back every
//! page that is free; other allocators do so by themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often somebody looks how many there are: a crowd need not stay for long.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks through the heap.
const EVERY: Duration = Duration::from_secs(10);
/// Once more so long after a crowd, for those who leave behind it one by one.
const LATER: Duration = Duration::from_secs(30);
/// So many people fewer are worth the milliseconds of a look through the heap:
/// each has had some ten kilobytes.
const CROWD: usize = 64;

/// Room that a table keeps, in bytes.
const ROOM: usize = 16 << 10;

/// Takes from a table the room of a crowd that has left it: by itself it keeps
/// as much as it ever had. To be called when something was removed.
pub(crate) fn fit<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    let room = table.capacity() * size_of::<(K, V)>();
    if room > ROOM && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
}

/// When memory is to be given back.
struct Crowd {
    most: usize,
    last: Option<Instant>,
    again: Option<Instant>,
}

impl Crowd {
    fn new(people: usize) -> Self {
        Self { most: people, last: None, again: None }
    }

    /// Whether it is time, with so many `people` there `now`.
    fn has_left(&mut self, now: Instant, people: usize) -> bool {
        self.most = self.most.max(people);
        let crowd = self.most - people >= CROWD;
        let rested = self.last.is_none_or(|last| now >= last + EVERY);
        let again = self.again.is_some_and(|again| now >= again);
        let due = crowd && rested || again;
        if due {
            self.again = crowd.then_some(now + LATER);
            (self.most, self.last) = (people, Some(now));
        }
        due
    }
}

/// Gives memory back whenever [`CROWD`] of `people` (viewers and connections)
/// have left, until `stop`.
pub(crate) async fn give_back(people: impl Fn() -> usize, stop: CancellationToken) {
    let mut crowd = Crowd::new(people());
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        if crowd.has_left(Instant::now(), people()) {
            // It may take a while, and waits for whoever allocates.
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library, which no crate wraps")]
fn trim() {
    // SAFETY: it takes a number, and locks each arena while it is in it.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Kilobytes of our own in RAM.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_table_keeps_room_for_those_that_are_left() {
        // Of a size as viewers have.
        let mut table: HashMap<usize, [u8; 2_000]> = (0..1_000).map(|n| (n, [0; 2_000])).collect();
        for n in 0..990 {
            table.remove(&n);
            fit(&mut table);
            assert!(table.capacity() >= table.len());
        }
        assert!(table.capacity() < 64, "{}", table.capacity());
        assert_eq!(table.len(), 10);
    }

    #[test]
    fn a_crowd_of_seconds_is_seen_and_so_are_those_who_leave_behind_it() {
        let began = Instant::now();
        let mut crowd = Crowd::new(3);
        let there = |second| match second {
            0..5 => 3,
            5..8 => 3 + CROWD * 2,
            8..20 => 2 + CROWD,
            _ => 3,
        };
        let due = |second: &u64| {
            crowd.has_left(began + LOOK * u32::try_from(*second).unwrap(), there(*second))
        };
        let seen: Vec<u64> = (0..100).filter(due).collect();
        // As the first leave, and half a minute later: too few have left since
        // then to be a crowd.
        assert_eq!(seen, [8, 38]);
        // One that goes on for long is no reason to do nothing else.
        let mut crowd = Crowd::new(0);
        let due = |second: &u64| {
            let people = if second.is_multiple_of(2) { CROWD * 4 } else { 0 };
            crowd.has_left(began + LOOK * u32::try_from(*second).unwrap(), people)
        };
        assert_eq!((0..60).filter(due).count(), 6);
    }

    #[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), ignore = "glibc's alone")]
    #[tokio::test(start_paused = true)]
    async fn what_a_crowd_had_goes_back_however_much_of_it_lies_between_what_stays() {
        const PIECE: usize = 4 << 10;
        let people = Arc::new(AtomicUsize::new(CROWD));
        let (stop, counted) = (CancellationToken::new(), Arc::clone(&people));
        let task = tokio::spawn(give_back(move || counted.load(Ordering::Relaxed), stop.clone()));
        tokio::task::yield_now().await;
        let before = resident();
        let mut crowd: Vec<_> = (0..256 << 20 >> 12).map(|_| vec![1_u8; PIECE]).collect();
        let mut nth = 0;
        crowd.retain(|_| {
            nth += 1;
            nth % 64 == 0
        });
        tokio::time::sleep(EVERY * 2).await;
        let kept = resident().saturating_sub(before);
        assert!(kept > 128 << 10, "nothing to give back: {kept} kB");

        people.store(0, Ordering::Relaxed);
        tokio::time::sleep(EVERY * 2).await;
        stop.cancel();
        task.await.unwrap();
        let left = resident().saturating_sub(before);
        assert!(left < kept / 3, "{left} of {kept} kB are still ours");
        drop(crowd);
    }
}
