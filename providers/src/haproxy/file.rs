//! The map file: changed as a whole, on disk before it counts, and by one writer at a time.
//!
//! HAProxy reads it when it starts or reloads. Several rollouts may keep keys in one file, so a
//! change locks the directory. A change that was overtaken by a later one of the same rollout is
//! dropped, even where it waits in a thread that nobody listens to any more.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The longest a map file may be.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a file was not changed.
#[derive(Debug)]
pub(super) struct FileFault {
    /// What follows from it.
    pub(super) kind: FaultKind,
    /// What is wrong, with the path and the remedy.
    pub(super) message: String,
}

/// What follows from a fault of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// It may go well the next time.
    Passing,
    /// Trying again is useless until a person did something.
    NeedsPerson,
    /// A newer rollback is in it.
    Overruled,
}

/// A map file, and the order of our changes to it.
#[derive(Clone, Debug)]
pub(super) struct MapFile {
    path: PathBuf,
    latest: Arc<AtomicU64>,
}

/// A place in the order of changes; a later one overtakes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn(u64);

// === impl MapFile ===

impl MapFile {
    /// Names a file; touches nothing.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, latest: Arc::default() }
    }

    /// Takes a turn, and so overtakes every change begun before.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.latest.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Reads the file.
    pub(super) fn read(&self) -> Result<Vec<u8>, FileFault> {
        let long = fs::metadata(&self.path).map_err(|error| self.fault("read", &error))?.len();
        if long > FILE_BYTES_MAX {
            let message = format!("{}: {long} bytes are too long for a map", self.path.display());
            return Err(FileFault { kind: FaultKind::NeedsPerson, message });
        }
        fs::read(&self.path).map_err(|error| self.fault("read", &error))
    }

    /// Changes the file: `edit` gets its bytes and returns the new ones, or why not. A result that
    /// equals what is there writes nothing.
    pub(super) fn change(
        &self,
        turn: Turn,
        patience: Duration,
        edit: impl FnOnce(&[u8]) -> Result<Vec<u8>, FileFault>,
    ) -> Result<(), FileFault> {
        let real = fs::canonicalize(&self.path).map_err(|error| self.fault("find", &error))?;
        let directory = self.lock(&real, patience)?;
        let old = self.read()?;
        let new = edit(&old)?;
        if new != old && !self.overtaken(turn) {
            self.replace(&real, &directory, &new, turn)
                .map_err(|error| self.fault("write", &error))?;
        }
        Ok(())
    }

    /// Proves that the file could be replaced, by making and removing a neighbour.
    pub(super) fn prove_writable(&self, patience: Duration) -> Result<(), FileFault> {
        let real = fs::canonicalize(&self.path).map_err(|error| self.fault("find", &error))?;
        let _directory = self.lock(&real, patience)?;
        let neighbour = neighbour(&real);
        create(&neighbour)
            .and_then(|_file| fs::remove_file(&neighbour))
            .map_err(|error| self.fault("write", &error))
    }

    fn overtaken(&self, turn: Turn) -> bool {
        self.latest.load(Ordering::SeqCst) != turn.0
    }

    /// Holds the directory, which other engines and other rollouts lock too, until it is dropped.
    fn lock(&self, real: &Path, patience: Duration) -> Result<File, FileFault> {
        let begin = Instant::now();
        let directory = real.parent().unwrap_or_else(|| Path::new("/"));
        let directory = File::open(directory).map_err(|error| self.fault("lock", &error))?;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(directory),
                Err(TryLockError::Error(error)) => return Err(self.fault("lock", &error)),
                Err(TryLockError::WouldBlock) if begin.elapsed() < patience => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "its directory is locked");
                    return Err(self.fault("lock", &error));
                }
            }
        }
    }

    /// Writes a neighbour and moves it over the file, each step on disk before the next.
    fn replace(&self, real: &Path, directory: &File, new: &[u8], turn: Turn) -> io::Result<()> {
        let old = fs::metadata(real)?;
        let neighbour = neighbour(real);
        let mut file = create(&neighbour)?;
        let written = (|| {
            file.write_all(new)?;
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
            // Where the engine is not root the owner becomes ours; the mode still lets others read.
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
            file.sync_all()?;
            if self.overtaken(turn) {
                fs::remove_file(&neighbour)
            } else {
                fs::rename(&neighbour, real)
            }
        })();
        if written.is_err() {
            let _ = fs::remove_file(&neighbour);
        }
        written.and_then(|()| directory.sync_all())
    }

    fn fault(&self, doing: &str, error: &io::Error) -> FileFault {
        let path = self.path.display();
        let (kind, remedy) = if error.kind() == io::ErrorKind::NotFound {
            (
                FaultKind::NeedsPerson,
                "; make it as `haldane haproxy snippet` shows, and reload haproxy",
            )
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            (
                FaultKind::NeedsPerson,
                "; the engine's user must be able to write the file's directory",
            )
        } else {
            (FaultKind::Passing, "")
        };
        FileFault { kind, message: format!("cannot {doing} map file {path}: {error}{remedy}") }
    }
}

fn neighbour(real: &Path) -> PathBuf {
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    real.with_file_name(format!(".{name}.haldane"))
}

/// Makes a new file; one that a crash left behind is in nobody's use while the directory is locked.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn file(text: &str) -> (tempfile::TempDir, MapFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("share.map");
        fs::write(&path, text).unwrap();
        (directory, MapFile::new(path))
    }

    #[test]
    fn a_change_keeps_the_mode_and_leaves_nothing_behind() {
        let (directory, map) = file("a 1\n");
        fs::set_permissions(&map.path, fs::Permissions::from_mode(0o640)).unwrap();
        map.change(map.turn(), PATIENCE, |_| Ok(b"a 2\n".to_vec())).unwrap();
        assert_eq!(fs::read(&map.path).unwrap(), b"a 2\n");
        assert_eq!(fs::metadata(&map.path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_overtaken_change_is_dropped() {
        let (_directory, map) = file("a 1\n");
        let raising = map.turn();
        let lowering = map.turn();
        map.change(lowering, PATIENCE, |_| Ok(b"a 0\n".to_vec())).unwrap();
        map.change(raising, PATIENCE, |_| Ok(b"a 9\n".to_vec())).unwrap();
        assert_eq!(fs::read(&map.path).unwrap(), b"a 0\n");
    }

    #[test]
    fn a_locked_directory_ends_the_patience() {
        let (directory, map) = file("a 1\n");
        let holder = File::open(directory.path()).unwrap();
        holder.lock().unwrap();
        let patience = Duration::from_millis(30);
        let fault = map.change(map.turn(), patience, |_| Ok(Vec::new())).unwrap_err();
        assert!(
            fault.kind == FaultKind::Passing && fault.message.contains("locked"),
            "{}",
            fault.message
        );
    }

    #[test]
    fn a_link_stays_a_link() {
        let (directory, map) = file("a 1\n");
        let link = directory.path().join("link.map");
        std::os::unix::fs::symlink(&map.path, &link).unwrap();
        let through = MapFile::new(link.clone());
        through.change(through.turn(), PATIENCE, |_| Ok(b"a 3\n".to_vec())).unwrap();
        assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        assert_eq!(fs::read(&map.path).unwrap(), b"a 3\n");
    }

    #[test]
    fn a_missing_file_names_the_remedy() {
        let fault = MapFile::new("/nowhere/share.map".into()).read().unwrap_err();
        assert!(
            fault.kind == FaultKind::NeedsPerson
                && fault.message.contains("haldane haproxy snippet")
        );
    }
}
