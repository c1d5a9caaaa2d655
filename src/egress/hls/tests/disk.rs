//! Windows on disks that are full, slow or hang. What the bytes are like that
//! come back is for `tests/hls_disk.rs`.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Show;
use crate::egress::hls::disk::{Disk, Filing, Health, Stored};
use crate::egress::hls::snapshot::Snapshot;
use crate::egress::hls::store::Store;
use crate::egress::hls::{Config, Metrics};

const WINDOW: usize = 40;

fn show(disk: &Disk) -> Show {
    let window = Duration::from_secs(2 * WINDOW as u64);
    let config = Config { window: Some(window), ..Config::default() };
    let mut show = Show::camera();
    show.store = Store::new(&config, Some(disk.shelf()));
    show
}

impl Show {
    /// Segments of two seconds, each filed before the next one comes.
    fn play_filed(&mut self, segments: std::ops::Range<i64>) {
        for n in segments {
            self.play(n * 50..(n + 1) * 50);
            // The first ones are a lesson.
            let Some(now) = self.snapshot.clone() else { continue };
            filed(&now);
            let text = self.text();
            let newest = now.segments.last().expect("one is complete");
            assert!(!newest.filed && newest.held() > 0, "the live edge is in memory: {text}");
            assert!(now.listed().len() >= 4.min(n as usize), "three targets stay: {text}");
        }
    }
}

fn filed(now: &Snapshot) {
    let begun = Instant::now();
    let pending = |stored: &Arc<Stored>| stored.filing() == Filing::Pending;
    while now.segments.iter().filter_map(|segment| segment.stored.as_ref()).any(pending) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the disk hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_the_window_until_it_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let room = Arc::new(AtomicUsize::new(20));
    let most = Arc::clone(&room);
    let create = move |path: &Path| {
        let files = std::fs::read_dir(path.parent().unwrap())?.count();
        // Every write to it fails with ENOSPC.
        let full = files >= most.load(Ordering::Relaxed);
        File::options().write(true).create(!full).open(if full {
            Path::new("/dev/full")
        } else {
            path
        })
    };
    let metrics = Metrics::unregistered();
    let failed = metrics.filed.with_label_values(&["failed"]);
    let disk = Disk::open_with(dir.path(), &metrics, Box::new(create)).unwrap();
    let mut show = show(&disk);
    show.play_filed(0..18);
    assert_eq!(failed.get(), 0, "there is room");
    show.play_filed(18..20);
    let held = show.store.bytes();
    for n in 20..70 {
        show.play_filed(n..n + 1);
        let listed = show.now().listed().len();
        assert!((10..=24).contains(&listed), "as much as there is room for: {listed}");
        assert!(show.store.bytes() <= held * 5 / 4, "{held} {}", show.store.bytes());
    }
    assert!(failed.get() > 10, "it is full: {}", failed.get());
    room.store(1_000, Ordering::Relaxed);
    let before = failed.get();
    show.play_filed(70..130);
    assert_eq!(failed.get(), before, "there is room again");
    assert_eq!(show.now().listed().len(), WINDOW, "the whole window");
    assert!(show.store.bytes() <= held * 5 / 4, "{held} {}", show.store.bytes());
}

#[test]
fn a_disk_that_hangs_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (go, wait) = channel::<()>();
    let create = move |path: &Path| {
        let _ = wait.recv();
        File::create_new(path)
    };
    let disk = Disk::open_with(dir.path(), &Metrics::unregistered(), Box::new(create)).unwrap();
    let mut show = show(&disk);
    let mut files: Vec<Weak<Stored>> = Vec::new();
    for n in 0..60 {
        show.play(n * 50..(n + 1) * 50);
        if let Some(newest) = show.snapshot.as_ref().and_then(|now| now.segments.last()) {
            files.push(newest.stored.as_ref().map(Arc::downgrade).unwrap());
        }
    }
    assert!((4..16).contains(&show.now().listed().len()), "{}", show.text());
    // One is being written for all that time.
    let kept = files.iter().filter(|file| file.strong_count() > 0).count();
    assert!(kept <= show.now().segments.len() + 1, "{kept} of {}", files.len());
    drop(go);
    show.play_filed(60..120);
    assert_eq!(show.now().listed().len(), WINDOW, "the whole window");
}

#[test]
fn a_disk_that_stays_full_is_told_of_once() {
    let (mut health, began) = (Health::default(), Instant::now());
    let at = |seconds| began + Duration::from_secs(seconds);
    assert!(!health.is_news(true, began));
    // Full, it takes four of five.
    for n in 0..200 {
        assert_eq!(health.is_news(n % 5 != 0, at(n * 2)), n == 0, "{n}");
    }
    assert!(!health.is_news(true, at(449)));
    assert!(health.is_news(true, at(450)), "nothing has failed for a minute");
    assert!(!health.is_news(true, at(452)));
    assert!(health.is_news(false, at(454)));
}
