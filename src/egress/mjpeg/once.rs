//! Work that is done once, however many ask for its result at once or later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Results by key, each of its newest version, as many as fit in a number of
/// bytes: those not asked for longest leave first.
pub(super) struct Once<K, V> {
    kept: Mutex<Kept<K, V>>,
    most_bytes: usize,
}

struct Kept<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    /// Counts requests: the clock of `Entry::used`.
    now: u64,
}

struct Entry<V> {
    version: u64,
    /// Filled when the work is done; its sender gone without: it panicked.
    result: watch::Receiver<Option<V>>,
    /// 0 while under way.
    bytes: usize,
    used: u64,
}

impl<K, V> Once<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(most_bytes: usize) -> Arc<Self> {
        let kept = Kept { entries: HashMap::new(), bytes: 0, now: 0 };
        Arc::new(Self { kept: Mutex::new(kept), most_bytes })
    }

    /// The result of `work` for `key` in this version or a newer one; done in a
    /// task of its own, so that it is neither lost nor begun again where
    /// somebody who waits for it leaves. `weigh` tells the result's bytes.
    /// `None`: it panicked.
    pub(super) async fn get<F>(
        self: &Arc<Self>,
        key: K,
        version: u64,
        weigh: fn(&V) -> usize,
        work: impl FnOnce() -> F,
    ) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut result = {
            let mut kept = self.lock();
            kept.now += 1;
            let now = kept.now;
            match kept.entries.get_mut(&key) {
                Some(entry) if entry.version >= version => {
                    entry.used = now;
                    entry.result.clone()
                }
                _ => {
                    let (sender, result) = watch::channel(None);
                    let entry = Entry { version, result: result.clone(), bytes: 0, used: now };
                    let old = kept.entries.insert(key.clone(), entry);
                    kept.bytes -= old.map_or(0, |old| old.bytes);
                    let (this, work) = (Arc::clone(self), work());
                    tokio::spawn(async move {
                        let value = work.await;
                        this.keep(&key, version, weigh(&value));
                        sender.send_replace(Some(value));
                    });
                    result
                }
            }
        };
        let done = result.wait_for(Option::is_some).await.ok()?;
        done.clone()
    }

    /// Bytes of the results that are kept, and the most there may be.
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.lock().bytes, self.most_bytes)
    }

    /// Notes what a result weighs, and makes room for it.
    fn keep(&self, key: &K, version: u64, bytes: usize) {
        let mut kept = self.lock();
        let Kept { entries, bytes: held, .. } = &mut *kept;
        match entries.get_mut(key) {
            Some(entry) if entry.version == version => entry.bytes = bytes,
            // Overtaken by a newer version.
            _ => return,
        }
        *held += bytes;
        while *held > self.most_bytes {
            let done = entries.iter().filter(|(_, entry)| entry.bytes > 0);
            let Some(oldest) = done.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
            else {
                break;
            };
            *held -= entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
    }

    /// Poison does no harm: nothing in here panics half-way.
    fn lock(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// A cache of texts, which counts the work it causes.
    struct Counted {
        once: Arc<Once<&'static str, String>>,
        begun: Arc<AtomicUsize>,
    }

    impl Counted {
        fn new(most_bytes: usize) -> Self {
            Self { once: Once::new(most_bytes), begun: Arc::default() }
        }

        async fn get(&self, key: &'static str, version: u64) -> Option<String> {
            let begun = Arc::clone(&self.begun);
            let work = || async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(key != "panics");
                format!("{key} {version}")
            };
            self.once.get(key, version, String::len, work).await
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_who_ask_cause_one_piece_of_work_for_each_version() {
        let counted = Counted::new(1_000);
        for version in 1..=3 {
            let all = (0..1_000).map(|_| counted.get("yard", version));
            let all = futures_util::future::join_all(all).await;
            assert!(all.iter().all(|one| one.as_deref() == Some(&*format!("yard {version}"))));
            assert_eq!(counted.begun(), version as usize);
        }
        // Who comes late with an older one gets the newer.
        assert_eq!(counted.get("yard", 2).await.unwrap(), "yard 3");
        assert_eq!((counted.begun(), counted.once.bytes()), (3, (6, 1_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_neither_stops_the_work_nor_begins_it_again() {
        let counted = Counted::new(1_000);
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, counted.get("yard", 1)).await.is_err());
        assert_eq!(counted.get("yard", 1).await.unwrap(), "yard 1");
        assert_eq!(counted.begun(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_asked_for_longest_leaves_when_room_is_short() {
        let counted = Counted::new(14);
        for key in ["yard", "gate", "yard", "door"] {
            counted.get(key, 1).await.unwrap();
        }
        assert_eq!((counted.begun(), counted.once.bytes().0), (3, 12));
        counted.get("yard", 1).await.unwrap();
        assert_eq!(counted.begun(), 3, "the yard was asked for again, so it stays");
        counted.get("gate", 1).await.unwrap();
        assert_eq!(counted.begun(), 4);
        // A result that is too large for all is given, but not kept.
        let tight = Counted::new(3);
        assert_eq!(tight.get("yard", 1).await.unwrap(), "yard 1");
        assert_eq!(tight.once.bytes().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_is_told_and_not_tried_again_for_its_version() {
        let counted = Counted::new(1_000);
        assert_eq!(counted.get("panics", 1).await, None);
        assert_eq!(counted.get("panics", 1).await, None);
        assert_eq!(counted.begun(), 1);
    }
}
