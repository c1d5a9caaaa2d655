//! Memory that a crowd has left goes back to the system. A leaf.
//!
//! glibc keeps what is freed: an arena's pages below the last thing that is
//! still in use stay ours, however empty they are, and a thousand viewers that
//! came and went leave their megabytes for good. Asked to, it gives back every
//! page that is free; other allocators do so by themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often somebody looks whether a crowd has left.
const EVERY: Duration = Duration::from_secs(10);
/// So many people fewer are worth the milliseconds of a look through the heap:
/// each has had some ten kilobytes.
const CROWD: usize = 64;

/// Entries for which a table keeps its room.
const FEW: usize = 64;

/// Takes from a table the room of a crowd that has left it: by itself it keeps
/// as much as it ever had. To be called when something was removed.
pub(crate) fn fit<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > FEW * 4 && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len().max(FEW) * 2);
    }
}

/// Gives memory back whenever [`CROWD`] of `people` (viewers and connections)
/// have left, until `stop`.
pub(crate) async fn give_back(people: impl Fn() -> usize, stop: CancellationToken) {
    let mut most = people();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let now = people();
        most = most.max(now);
        if most - now >= CROWD {
            most = now;
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
        let mut table: HashMap<usize, [u8; 64]> = (0..10_000).map(|n| (n, [0; 64])).collect();
        for n in 0..9_990 {
            table.remove(&n);
            fit(&mut table);
            assert!(table.capacity() >= table.len());
        }
        assert!((FEW..FEW * 8).contains(&table.capacity()), "{}", table.capacity());
        assert_eq!(table.len(), 10);
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
