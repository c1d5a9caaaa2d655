//! Files that may change under us; SIGHUP says that they have.
//!
//! They are looked at, not listened for: inotify says nothing of network and
//! overlay mounts, and loses a file that is replaced by a symbolic link, as
//! Kubernetes does it. A look costs microseconds.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Enough of a file to tell that it is not the one it was.
type Stamp = Option<(i64, i64, u64, u64)>;

/// Some files, and how they looked last.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    hangups: Option<Signal>,
}

impl Watch {
    /// What changes from now on counts.
    pub(super) async fn new(files: Vec<PathBuf>) -> Self {
        let seen = look(&files).await;
        Self { files, seen, hangups: signal(SignalKind::hangup()).ok() }
    }

    /// These files from now on; of those that were watched before, a change
    /// that nobody was told of yet still counts.
    pub(super) async fn follow(&mut self, files: Vec<PathBuf>) {
        let mut seen = look(&files).await;
        for (file, stamp) in files.iter().zip(&mut seen) {
            if let Some(at) = self.files.iter().position(|known| known == file) {
                *stamp = self.seen[at];
            }
        }
        (self.files, self.seen) = (files, seen);
    }

    /// Returns on SIGHUP, or once some file has changed, and has been left alone
    /// for a moment: it may be written in several steps, or in step with others.
    ///
    /// Cancel safe.
    pub(super) async fn changed(&mut self) {
        let Self { files, seen, hangups } = self;
        let hangup = async {
            match hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = differ(files, seen) => {}
            _ = hangup => {}
        }
    }
}

/// Returns once `files` do not look as `seen`, twice in the same way.
async fn differ(files: &[PathBuf], seen: &mut Vec<Stamp>) {
    let mut before = seen.clone();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = look(files).await;
        if now != *seen && now == before {
            *seen = now;
            return;
        }
        before = now;
    }
}

async fn look(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |meta: Metadata| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino());
    let mut stamps = Vec::with_capacity(files.len());
    for file in files {
        stamps.push(tokio::fs::metadata(file).await.ok().map(stamp));
    }
    stamps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_written_anew_or_swapped_by_a_link_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("one"), "a").unwrap();
        std::fs::write(at("two"), "b").unwrap();
        std::os::unix::fs::symlink(at("one"), at("link")).unwrap();
        let mut watch = Watch::new(vec![at("link"), at("missing")]).await;
        let still = tokio::time::timeout(EVERY * 5 / 2, watch.changed()).await;
        assert!(still.is_err(), "nothing has changed");

        let soon = EVERY * 10;
        std::fs::write(at("one"), "longer").unwrap();
        assert!(tokio::time::timeout(soon, watch.changed()).await.is_ok(), "written anew");
        std::os::unix::fs::symlink(at("two"), at("next")).unwrap();
        std::fs::rename(at("next"), at("link")).unwrap();
        assert!(tokio::time::timeout(soon, watch.changed()).await.is_ok(), "swapped");
        std::fs::write(at("missing"), "").unwrap();
        assert!(tokio::time::timeout(soon, watch.changed()).await.is_ok(), "came to be");
    }
}
