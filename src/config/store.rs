//! The configuration file, written anew: whole or not at all.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// How long another program that changes the same file is waited for.
const TURN_LIMIT: Duration = Duration::from_secs(2);

/// A file that may be written, and what stands in it. While there is one, no
/// other gateway changes that file.
pub(super) struct Stored {
    /// Locked, where its file system can: the file itself is another one after
    /// each change, and the folder stays.
    _folder: Option<File>,
    /// Where it really is: a link to it stays a link.
    path: PathBuf,
    meta: Metadata,
    pub(super) text: String,
    swap: Swap,
}

/// Has two files change places, at once.
type Swap = fn(&Path, &Path) -> Result<(), Errno>;

/// Why a file stays as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStored {
    /// It may not be written; the words say why, and the way out.
    #[error("{0}")]
    ReadOnly(String),
    /// Somebody wrote it in the meantime.
    #[error("the file changed while it was being changed")]
    Changed,
    /// The disk is full, or worse.
    #[error("{0}")]
    Failed(io::Error),
}

impl Stored {
    pub(super) fn read(path: &Path) -> Result<Self, NotStored> {
        let read_only = |why: &str| NotStored::ReadOnly(format!("{} {why}", path.display()));
        let shown = |error: &io::Error| read_only(&format!("cannot be written: {error}"));
        let real = fs::canonicalize(path).map_err(|error| shown(&error))?;
        // Kubernetes' volumes: `..data` leads to `..2026_01_01…`, and all of it
        // is exchanged at once.
        let is_volume =
            |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b"..");
        if real.components().any(is_volume) {
            return Err(read_only(
                "is a ConfigMap's or Secret's: change it there, and it is applied by itself",
            ));
        }
        let meta = fs::metadata(&real).map_err(|error| shown(&error))?;
        // For root the mode is no obstacle, but whoever set it meant something.
        if meta.mode() & 0o222 == 0 {
            return Err(read_only("is read-only: chmod u+w, or change it by hand"));
        }
        // Of the right to replace it, which is the directory's, no use is made
        // against the file's own.
        OpenOptions::new().append(true).open(&real).map_err(|error| shown(&error))?;
        let folder = turn(real.parent().unwrap_or(&real))?;
        let text = fs::read_to_string(&real).map_err(|error| shown(&error))?;
        let swap: Swap = |one, other| renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
        Ok(Self { _folder: folder, path: real, meta, text, swap })
    }

    /// `text` instead, unless somebody was faster.
    pub(super) fn replace(&self, text: &str) -> Result<(), NotStored> {
        self.replace_by(|file| file.write_all(text.as_bytes()))
    }

    fn replace_by(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), NotStored> {
        let next = self.beside();
        let done = self.write_beside(&next, write).and_then(|()| self.exchange(&next));
        if done.is_err() {
            // Nothing of it is of use; that it cannot be removed, of no harm.
            let _ = fs::remove_file(&next);
        }
        done?;
        // The new name survives a power cut once the directory is on disk.
        if let Some(folder) = self.path.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    /// Puts `next` in the file's place if that is what it was. Looking and then
    /// replacing would lose what an editor saves in between; so they change
    /// places, and what comes out is looked at, and put back if it is news.
    fn exchange(&self, next: &Path) -> Result<(), NotStored> {
        let is_as_seen = |path: &Path| {
            let now = fs::read(path).map_err(NotStored::Failed)?;
            Ok(now == self.text.as_bytes())
        };
        match (self.swap)(next, &self.path) {
            Ok(()) if is_as_seen(next)? => {
                // Whoever writes next removes it, if it cannot be now.
                let _ = fs::remove_file(next);
                Ok(())
            }
            Ok(()) => {
                fs::rename(next, &self.path).map_err(NotStored::Failed)?;
                Err(NotStored::Changed)
            }
            // File systems that cannot, such as NFS.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if is_as_seen(&self.path)? => {
                fs::rename(next, &self.path).map_err(|error| self.not_replaced(error))
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(NotStored::Changed),
            Err(error) => Err(self.not_replaced(error.into())),
        }
    }

    fn not_replaced(&self, error: io::Error) -> NotStored {
        match error.kind() {
            ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => {
                let way_out = "is a mount of its own, which cannot be replaced at once: \
                               mount the directory that it is in";
                NotStored::ReadOnly(format!("{} {way_out}", self.path.display()))
            }
            _ => NotStored::Failed(error),
        }
    }

    /// One name for all that is under way, so that a crash leaves one at most.
    fn beside(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.new"))
    }

    fn write_beside(
        &self,
        next: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), NotStored> {
        let _left_by_a_crash = fs::remove_file(next);
        let folder = |error: io::Error| {
            let way_out = "lets no file be made beside the configuration, which is how it is \
                           replaced at once; make it writable, or change the file by hand";
            let folder = next.parent().unwrap_or(next).display().to_string();
            match error.kind() {
                ErrorKind::StorageFull => NotStored::Failed(error),
                _ => NotStored::ReadOnly(format!("{folder} {way_out} ({error})")),
            }
        };
        // Nobody else's until it has the rights of the old one.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(next)
            .map_err(folder)?;
        let made = file.metadata().map_err(NotStored::Failed)?;
        if (made.uid(), made.gid()) != (self.meta.uid(), self.meta.gid()) {
            fchown(&file, Some(self.meta.uid()), Some(self.meta.gid())).map_err(|error| {
                let who = "belongs to another user, whom a new file would not belong to";
                NotStored::ReadOnly(format!("{} {who} ({error})", self.path.display()))
            })?;
        }
        let mode = Permissions::from_mode(self.meta.mode() & 0o7777);
        file.set_permissions(mode).map_err(NotStored::Failed)?;
        write(&mut file).and_then(|()| file.sync_all()).map_err(NotStored::Failed)
    }
}

/// The folder, locked against other gateways that change a file in it; `None`
/// where its file system has no locks.
fn turn(folder: &Path) -> Result<Option<File>, NotStored> {
    let Ok(folder) = File::open(folder) else { return Ok(None) };
    let until = Instant::now() + TURN_LIMIT;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(NotStored::Changed);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_rights_and_a_link_to_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.yaml"), folder.path().join("link.yaml"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real.yaml", &link).unwrap();
        fs::write(folder.path().join(".real.yaml.new"), "left by a crash").unwrap();

        let stored = Stored::read(&link).unwrap();
        assert_eq!(stored.text, "old");
        stored.replace("new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["link.yaml", "real.yaml"]);
    }

    #[test]
    fn a_full_disk_and_a_hand_that_was_faster_leave_the_file_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("porthole.yaml");
        fs::write(&path, "old").unwrap();
        let full = Stored::read(&path).unwrap().replace_by(|file| {
            file.write_all(b"hal")?;
            Err(ErrorKind::StorageFull.into())
        });
        assert!(matches!(full, Err(NotStored::Failed(_))), "{full:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");

        let stored = Stored::read(&path).unwrap();
        let raced = stored.replace_by(|file| {
            fs::write(&path, "by hand")?;
            file.write_all(b"new")
        });
        assert!(matches!(raced, Err(NotStored::Changed)), "{raced:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "by hand");
        assert_eq!(names(folder.path()), ["porthole.yaml"]);
    }

    #[test]
    fn where_files_cannot_change_places_as_on_nfs_one_replaces_the_other() {
        const SWAPS: [Swap; 3] =
            [|_, _| Err(Errno::INVAL), |_, _| Err(Errno::NOSYS), |_, _| Err(Errno::NOTSUP)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("porthole.yaml");
        for swap in SWAPS {
            fs::write(&path, "old").unwrap();
            let stored = Stored { swap, ..Stored::read(&path).unwrap() };
            stored.replace("new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");

            let raced = Stored { swap, text: "old".into(), ..stored }.replace("newer");
            assert!(matches!(raced, Err(NotStored::Changed)), "{raced:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            assert_eq!(names(folder.path()), ["porthole.yaml"]);
        }
        // What another error means is not left to luck.
        let stored = Stored { swap: |_, _| Err(Errno::BUSY), ..Stored::read(&path).unwrap() };
        let mounted = stored.replace("newer").unwrap_err();
        assert!(matches!(&mounted, NotStored::ReadOnly(why) if why.contains("mount")), "{mounted}");
        let broken = Stored { swap: |_, _| Err(Errno::IO), ..stored }.replace("newer");
        assert!(matches!(broken, Err(NotStored::Failed(_))), "{broken:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["porthole.yaml"]);
    }

    #[test]
    fn of_gateways_that_add_to_one_file_at_once_each_finds_what_the_others_did() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("porthole.yaml");
        fs::write(&path, "").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let stored = Stored::read(&path).unwrap();
                        stored.replace(&format!("{}x", stored.text)).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "x".repeat(32));

        let _held = Stored::read(&path).unwrap();
        let late = Stored::read(&path).err();
        assert!(matches!(late, Some(NotStored::Changed)), "{late:?}");
    }

    #[test]
    fn what_may_not_be_written_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("fixed.yaml"), "x").unwrap();
        fs::set_permissions(at("fixed.yaml"), Permissions::from_mode(0o444)).unwrap();
        fs::create_dir(at("..2026_01_01")).unwrap();
        fs::write(at("..2026_01_01").join("map.yaml"), "x").unwrap();
        symlink("..2026_01_01", at("..data")).unwrap();
        symlink("..data/map.yaml", at("map.yaml")).unwrap();
        for (name, why) in
            [("fixed.yaml", "read-only"), ("map.yaml", "ConfigMap"), ("none.yaml", "cannot")]
        {
            let refused = Stored::read(&at(name)).err().unwrap().to_string();
            assert!(refused.contains(why) && refused.contains(name), "{refused}");
        }
    }
}
