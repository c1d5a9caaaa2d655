//! Memory that a crowd has left goes back to the system. A leaf.
//!
//! glibc keeps what is freed: an arena's pages below the last thing that is
//! still in use stay ours, however empty they are, and a thousand viewers that
//! came and went leave their megabytes for good. Asked to, it gives back every
//! page that is free; other allocators do so by themselves.
//!
//! Each thread of glibc also keeps lists of pieces it has freed, which count as
//! in use and hold the pages that they lie in, a few hundred a thread. No call
//! empties them. So each thread takes its own pieces out, by asking for as many,
//! and a thread that ends thereby frees them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
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

/// Bytes in the pieces that a thread of glibc keeps in lists (2.26 to 2.41; later
/// ones may have more), and how many it keeps of each size.
const LISTED: std::ops::RangeInclusive<usize> = 24..=1_032;
const LISTED_STEP: usize = 16;
const A_LIST: usize = 7;
/// How long a thread may be kept until all others of its runtime have come too,
/// and how long one that is busy is waited for: its pieces are not worth more.
const GATHER: Duration = Duration::from_millis(5);
const BUSY: Duration = Duration::from_millis(100);

/// So many cores share a heap. A thread has what it frees and needs again at hand
/// without it, so that few wait for each other: judged by that, since it was only
/// ever measured with one heap on two cores.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const CORES_A_HEAP: usize = 8;

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

/// Lets threads share heaps, unless the environment says how many there are. By
/// itself glibc opens up to eight a core, and what stays in use of a crowd's is
/// spread over all. To be called before there is a thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library, which no crate wraps")]
pub(crate) fn share_heaps() {
    let told = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].map(std::env::var_os);
    if told.iter().any(Option::is_some) {
        return;
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let most = libc::c_int::try_from(cores.div_ceil(CORES_A_HEAP)).unwrap_or(1);
    // SAFETY: it takes two numbers, and locks the heap while it notes them.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
}

/// Other allocators see to it by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_heaps() {}

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
/// have left, until `stop`; that of the lists of the `runtimes`' threads too.
pub(crate) async fn give_back(
    people: impl Fn() -> usize,
    runtimes: Vec<Handle>,
    stop: CancellationToken,
) {
    let runtimes: Arc<[Handle]> = runtimes.into();
    let mut crowd = Crowd::new(people());
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        if crowd.has_left(Instant::now(), people()) {
            let runtimes = Arc::clone(&runtimes);
            // It may take a while, and waits for whoever allocates.
            let _ = tokio::task::spawn_blocking(move || trim(&runtimes)).await;
        }
    }
}

/// Gives back what is free, that of the lists of the `runtimes`' threads too.
fn trim(runtimes: &[Handle]) {
    let lists = lists_of(runtimes);
    // A list of its own goes with the thread. Where there is none to be had, what
    // this one's lists take stays.
    let freed = thread::Builder::new().name("free".into()).spawn(move || drop(lists));
    let _ = freed.map(thread::JoinHandle::join);
    give_back_pages();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library, which no crate wraps")]
fn give_back_pages() {
    // SAFETY: it takes a number, and locks each arena while it is in it.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back_pages() {}

/// What the lists of the runtimes' threads hold. To be called by none of these.
fn lists_of(runtimes: &[Handle]) -> Vec<Vec<u8>> {
    let (give, given) = mpsc::channel();
    for runtime in runtimes {
        each_thread_gives(runtime, GATHER, &give, own_lists);
    }
    drop(give);
    let begun = std::time::Instant::now();
    let next = || given.recv_timeout(BUSY.saturating_sub(begun.elapsed())).ok();
    std::iter::from_fn(next).flatten().collect()
}

/// Has each thread of a runtime give what it has. Where one is not here within
/// `gather`, another may give twice in its place.
fn each_thread_gives<T: Send + 'static>(
    runtime: &Handle,
    gather: Duration,
    give: &mpsc::Sender<T>,
    own: fn() -> T,
) {
    let workers = runtime.metrics().num_workers();
    let gate = Arc::new(Gate { missing: Mutex::new(workers), changed: Condvar::new() });
    for _ in 0..workers {
        let (give, gate) = (give.clone(), Arc::clone(&gate));
        runtime.spawn(async move {
            let _ = give.send(own());
            gate.pass(gather);
        });
    }
}

/// As many pieces as this thread's lists may hold: what they hold, and for the
/// rest what is free anyway.
fn own_lists() -> Vec<Vec<u8>> {
    let sizes = LISTED.step_by(LISTED_STEP);
    sizes.flat_map(|size| (0..A_LIST).map(move |_| Vec::with_capacity(size))).collect()
}

/// Keeps a thread until the others are here, so that each takes one task alone.
struct Gate {
    missing: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self, gather: Duration) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing = missing.saturating_sub(1);
        self.changed.notify_all();
        let _ = self.changed.wait_timeout_while(missing, gather, |missing| *missing > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
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

    #[test]
    fn each_thread_of_a_runtime_gives_and_none_waits_for_ever() {
        const WORKERS: usize = 3;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).build().unwrap();
        let own = || thread::current().id();
        for _ in 0..50 {
            let (give, given) = mpsc::channel();
            each_thread_gives(runtime.handle(), Duration::from_secs(60), &give, own);
            drop(give);
            assert_eq!(given.iter().collect::<HashSet<_>>().len(), WORKERS);
        }

        // One that is busy is not waited for: the others go on without it.
        let (let_go, busy) = mpsc::channel::<()>();
        runtime.spawn(async move { busy.recv() });
        let (give, given) = mpsc::channel();
        each_thread_gives(runtime.handle(), Duration::from_millis(1), &give, own);
        drop(give);
        assert_eq!(given.iter().count(), WORKERS);
        drop(let_go);
    }

    #[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), ignore = "glibc's alone")]
    #[test]
    fn what_threads_keep_in_their_lists_is_taken_from_each() {
        const WORKERS: usize = 3;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).build().unwrap();
        let alone = crate::threads::Threads::start("alone", 1).unwrap();
        let runtimes = [runtime.handle().clone(), alone.get(0).clone()];
        // Each thread frees two pieces of a size that is rare.
        let (tell, told) = mpsc::channel();
        for (handle, count) in runtimes.iter().zip([WORKERS, 1]) {
            let all_here = Arc::new(Barrier::new(count));
            for _ in 0..count {
                let (tell, all_here) = (tell.clone(), Arc::clone(&all_here));
                handle.spawn(async move {
                    let pieces = [(); 2].map(|()| Vec::<u8>::with_capacity(904));
                    tell.send(pieces.each_ref().map(|piece| piece.as_ptr() as usize)).unwrap();
                    drop(pieces);
                    all_here.wait();
                });
            }
        }
        drop(tell);
        let freed: Vec<usize> = told.iter().flatten().collect();
        assert_eq!(freed.len(), (WORKERS + 1) * 2);

        // A thread that does not come in time keeps its own until the next look.
        let mut missing = freed.clone();
        for _ in 0..100 {
            let taken: HashSet<usize> =
                lists_of(&runtimes).iter().map(|piece| piece.as_ptr() as usize).collect();
            missing.retain(|piece| !taken.contains(piece));
        }
        assert!(missing.is_empty(), "{missing:x?} of {freed:x?}");
    }

    #[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), ignore = "glibc's alone")]
    #[tokio::test(start_paused = true)]
    async fn what_a_crowd_had_goes_back_however_much_of_it_lies_between_what_stays() {
        const PIECE: usize = 4 << 10;
        let people = Arc::new(AtomicUsize::new(CROWD));
        let (stop, counted) = (CancellationToken::new(), Arc::clone(&people));
        let task = tokio::spawn(give_back(
            move || counted.load(Ordering::Relaxed),
            Vec::new(),
            stop.clone(),
        ));
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
