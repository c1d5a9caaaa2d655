//! Old segments as files, so that an hour's window takes no memory.
//!
//! One thread writes and removes for all streams; it may be slow, or the disk
//! full: nobody waits for it but whoever reads an old segment. Files are named
//! by numbers of ours, live below one folder that is emptied at start and at
//! the end, and can be read by nobody else.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::IntCounterVec;
use tracing::{info, warn};

use super::metrics::Metrics;
use super::segment::Segment;

/// What is ours in the folder that was configured.
const FOLDER: &str = "porthole-hls";
const LOCK: &str = "porthole-hls.lock";

/// A folder for segments, until it is dropped.
pub(super) struct Disk {
    folder: Arc<Path>,
    desk: Arc<Desk>,
    streams: AtomicU64,
    /// Held for as long as the folder is ours.
    _lock: File,
}

/// Writes that wait, of all streams, before more are refused: a disk that
/// hangs must not take memory. A thousand cameras' segments of two seconds.
const MOST_QUEUED: usize = 4_096;

/// Opens a file to be written. Tests have disks that are full.
type Create = Box<dyn Fn(&Path) -> io::Result<File> + Send>;

/// Neither holds a segment's bytes: what has left the window while the disk
/// was slow is not written, and takes no memory.
#[derive(Debug)]
enum Job {
    Write(Weak<Stored>),
    Remove(PathBuf),
}

/// What everybody knows of the writer.
#[derive(Debug)]
struct Desk {
    jobs: Sender<Job>,
    queued: AtomicUsize,
    stopped: AtomicBool,
    /// Segments by what became of them.
    filed: IntCounterVec,
}

impl Disk {
    /// Takes `dir`, and removes what an earlier run may have left there.
    pub(super) fn open(dir: &Path, metrics: &Metrics) -> io::Result<Self> {
        let create =
            |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Self::open_with(dir, metrics, Box::new(create))
    }

    pub(super) fn open_with(dir: &Path, metrics: &Metrics, create: Create) -> io::Result<Self> {
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("hls.dir {}: {error}", dir.display()))
        };
        let mut options = OpenOptions::new();
        let lock = options.create(true).append(true).mode(0o600).open(dir.join(LOCK));
        let lock = lock.map_err(explain)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                explain(io::Error::other("another porthole keeps its segments there"))
            }
            TryLockError::Error(error) => explain(error),
        })?;
        let folder: Arc<Path> = dir.join(FOLDER).into();
        clear(&folder).map_err(explain)?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(explain)?;

        let (jobs, queue) = channel();
        let (queued, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let desk = Arc::new(Desk { jobs, queued, stopped, filed: metrics.filed.clone() });
        // Not the desk itself: without anybody who has work, the writer ends.
        let writer =
            Writer { queue, desk: Arc::downgrade(&desk), create, health: Health::default() };
        std::thread::Builder::new().name("hls-disk".into()).spawn(move || writer.run())?;
        Ok(Self { folder, desk, streams: AtomicU64::new(0), _lock: lock })
    }

    /// Room for one stream's segments.
    pub(super) fn shelf(&self) -> Shelf {
        Shelf {
            folder: Arc::clone(&self.folder),
            desk: Arc::clone(&self.desk),
            // Not the stream's name: that is the operator's.
            stream: self.streams.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.desk.stopped.store(true, Ordering::Relaxed);
        if let Err(error) = clear(&self.folder) {
            warn!(%error, folder = %self.folder.display(), "cannot remove HLS segments");
        }
    }
}

/// Removes the folder if it is there; of a link, the link.
fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(folder),
        Ok(_) => std::fs::remove_file(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Where one stream's segments go.
#[derive(Clone)]
pub(super) struct Shelf {
    folder: Arc<Path>,
    desk: Arc<Desk>,
    stream: u64,
}

impl Shelf {
    /// Has the segment written, some time.
    pub(super) fn put(&self, segment: &Segment) -> Arc<Stored> {
        let name = format!("{}-{}.m4s", self.stream, segment.head.number);
        let stored = Arc::new(Stored {
            path: self.folder.join(name),
            state: AtomicU8::new(PENDING),
            pieces: Mutex::new(pieces(segment)),
            desk: Arc::clone(&self.desk),
        });
        stored.queue();
        stored
    }
}

fn pieces(segment: &Segment) -> Vec<Bytes> {
    segment.parts.iter().flat_map(|part| part.data.iter().cloned()).collect()
}

const PENDING: u8 = 0;
const KEPT: u8 = 1;
const FAILED: u8 = 2;

/// How far a segment's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filing {
    /// Not written yet.
    Pending,
    /// It can be read.
    Kept,
    /// It could not be written.
    Failed,
}

/// A segment's file, removed when nobody can ask for it any more.
#[derive(Debug)]
pub(super) struct Stored {
    path: PathBuf,
    state: AtomicU8,
    /// What is to be written.
    pieces: Mutex<Vec<Bytes>>,
    desk: Arc<Desk>,
}

impl Stored {
    pub(super) fn filing(&self) -> Filing {
        match self.state.load(Ordering::Acquire) {
            PENDING => Filing::Pending,
            KEPT => Filing::Kept,
            _ => Filing::Failed,
        }
    }

    /// Has it written once more.
    pub(super) fn retry(self: &Arc<Self>, segment: &Segment) {
        *lock(&self.pieces) = pieces(segment);
        self.state.store(PENDING, Ordering::Relaxed);
        self.queue();
    }

    fn queue(self: &Arc<Self>) {
        let free = self.desk.queued.fetch_add(1, Ordering::Relaxed) < MOST_QUEUED;
        if !free || self.desk.jobs.send(Job::Write(Arc::downgrade(self))).is_err() {
            self.desk.queued.fetch_sub(1, Ordering::Relaxed);
            self.settle(FAILED);
        }
    }

    fn settle(&self, state: u8) {
        lock(&self.pieces).clear();
        let result = if state == KEPT { "written" } else { "failed" };
        self.desk.filed.with_label_values(&[result]).inc();
        self.state.store(state, Ordering::Release);
    }

    /// Opens the file; blocks.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // Else there is no file.
        if *self.state.get_mut() == KEPT {
            let path = std::mem::take(&mut self.path);
            // Without a writer, the folder has gone already.
            let _ = self.desk.jobs.send(Job::Remove(path));
        }
    }
}

struct Writer {
    queue: Receiver<Job>,
    desk: Weak<Desk>,
    create: Create,
    health: Health,
}

impl Writer {
    fn run(mut self) {
        while let Ok(job) = self.queue.recv() {
            let Some(desk) = self.desk.upgrade() else { return };
            // Then the folder is not ours any more.
            if desk.stopped.load(Ordering::Relaxed) {
                return;
            }
            match job {
                Job::Remove(path) => drop(std::fs::remove_file(path)),
                Job::Write(stored) => {
                    desk.queued.fetch_sub(1, Ordering::Relaxed);
                    if let Some(stored) = stored.upgrade() {
                        self.write(&stored);
                    }
                }
            }
        }
    }

    fn write(&mut self, stored: &Stored) {
        let pieces = lock(&stored.pieces).clone();
        let written = (self.create)(&stored.path).and_then(|file| fill(file, &pieces));
        if written.is_err() || stored.desk.stopped.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(&stored.path);
        }
        let news = self.health.is_news(written.is_ok(), Instant::now());
        match &written {
            Err(error) if news => {
                warn!(%error, "cannot keep HLS segments on disk: windows are shorter");
            }
            Ok(()) if news => info!("HLS segments are kept on disk again"),
            _ => {}
        }
        stored.settle(if written.is_ok() { KEPT } else { FAILED });
    }
}

/// A disk works again when nothing has failed for this long: a full one takes a segment
/// whenever older ones have gone, and each camera's next one may fail.
const WORKS_AGAIN: Duration = Duration::from_secs(60);

/// What has been said of the disk.
#[derive(Default)]
pub(super) struct Health {
    /// When a segment could not be written last, while that is not over.
    failed: Option<Instant>,
}

impl Health {
    /// Whether a segment that was `written` at `now`, or was not, is news.
    pub(super) fn is_news(&mut self, written: bool, now: Instant) -> bool {
        if !written {
            return self.failed.replace(now).is_none();
        }
        let over = |failed: Instant| now.saturating_duration_since(failed) >= WORKS_AGAIN;
        self.failed.take_if(|failed| over(*failed)).is_some()
    }
}

fn fill(mut file: File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Poison does no harm: a list of bytes is whole at all times.
fn lock(pieces: &Mutex<Vec<Bytes>>) -> MutexGuard<'_, Vec<Bytes>> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}
