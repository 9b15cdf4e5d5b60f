//! The memory that the ids of all joins of a process may take, and the place on local disk for those beyond it.
//!
//! Files here are a cache of one run of a stage: the log rebuilds them, so they are not synced, and none is read that the
//! run did not write itself. They stand in a folder of this process, which holds a lock as long as it lives; whoever opens
//! the same directory later deletes the folders of processes that are no more. Nothing is made before it is needed.
//!
//! Not promised: that memory stays under the bound to the byte. A join that holds less than its part of it does not write
//! for the sake of others, so that there are few files and not many small ones: all together may take up to twice the bound.

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Why ids that wait for labels cannot be held.
#[derive(Debug, Error)]
pub enum SpaceError {
    /// The disk is full, or the directory cannot be written.
    #[error(
        "ids that wait for labels take more than label_memory, and {path} cannot be written: {source}: nothing was dropped; free space on that disk, or raise label_memory"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is gone or damaged.
    #[error(
        "{path} with ids that wait for labels cannot be read: {source}: they are read from the log again; leave the folder to driftline, and check the disk if this comes again"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the joins of a process share.
#[derive(Debug)]
pub struct LabelSpace {
    directory: PathBuf,
    memory: u64,
    /// Bytes that the joins take in memory.
    used: AtomicU64,
    /// How many joins there are.
    shares: AtomicU64,
    /// How many folders were made.
    made: AtomicU64,
    home: Mutex<Option<Home>>,
}

/// The folder of this process.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    lock: PathBuf,
    /// Locked as long as it is open.
    _locked: File,
}

impl LabelSpace {
    /// At most about `memory` bytes, and files in this directory beyond that. Deletes what processes that ended have left
    /// there.
    pub fn new(directory: impl Into<PathBuf>, memory: u64) -> Self {
        let directory = directory.into();
        sweep(&directory);
        Self {
            directory,
            memory,
            used: AtomicU64::new(0),
            shares: AtomicU64::new(0),
            made: AtomicU64::new(0),
            home: Mutex::new(None),
        }
    }

    /// A folder that no one else has.
    fn folder(&self) -> Result<PathBuf, SpaceError> {
        let failed = |source| SpaceError::Write { path: self.directory.clone(), source };
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        let home = match home.as_mut() {
            Some(home) => home,
            None => home.insert(Home::new(&self.directory).map_err(failed)?),
        };
        let path = home.path.join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(SpaceError::Write { path, source }),
        }
    }
}

impl Home {
    fn new(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let name = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let (path, lock) = (directory.join(&name), directory.join(format!("{name}.lock")));
        let locked = File::create_new(&lock)?;
        locked.lock()?;
        Ok(Self { path, lock, _locked: locked })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What stays is swept by the next process.
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = std::fs::remove_file(&self.lock);
    }
}

/// Deletes the folders whose processes have ended. What cannot be deleted harms no one, and stays.
fn sweep(directory: &Path) {
    let Ok(files) = std::fs::read_dir(directory) else { return };
    for lock in files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "lock"))
    {
        let Ok(file) = File::open(&lock) else { continue };
        match file.try_lock() {
            Ok(()) => {
                let _ = std::fs::remove_dir_all(lock.with_extension(""));
                let _ = std::fs::remove_file(&lock);
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                tracing::warn!(path = %lock.display(), %error, "cannot tell whether this folder is in use: it stays");
            }
        }
    }
}

/// A join's part of the space.
#[derive(Debug)]
pub(super) struct SpaceShare {
    space: Arc<LabelSpace>,
    /// The bytes that others have been told of.
    told: u64,
    folder: Option<PathBuf>,
    files: u64,
}

impl SpaceShare {
    pub(super) fn new(space: &Arc<LabelSpace>) -> Self {
        space.shares.fetch_add(1, Ordering::Relaxed);
        Self { space: Arc::clone(space), told: 0, folder: None, files: 0 }
    }

    /// Takes note of the bytes that the join takes; says to how many it is to come down by writing, if it is.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        // Others are told of changes that matter to them, not of every event.
        if bytes.abs_diff(self.told) <= self.space.memory / 1_024 {
            return None;
        }
        let used = self.tell(bytes);
        let part = self.space.memory / self.space.shares.load(Ordering::Relaxed).max(1);
        (used > self.space.memory && bytes > part).then_some(bytes / 2)
    }

    /// Takes note that the join has written, and takes only so much now.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.tell(bytes);
    }

    /// Tells the others; says what all take together.
    fn tell(&mut self, bytes: u64) -> u64 {
        let told = std::mem::replace(&mut self.told, bytes);
        match bytes.checked_sub(told) {
            Some(more) => self.space.used.fetch_add(more, Ordering::Relaxed) + more,
            None => self.space.used.fetch_sub(told - bytes, Ordering::Relaxed) - (told - bytes),
        }
    }

    /// The path of a file that is not there yet.
    pub(super) fn new_file(&mut self) -> Result<PathBuf, SpaceError> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => none.insert(self.space.folder()?),
        };
        self.files += 1;
        Ok(folder.join(format!("{}.run", self.files)))
    }
}

impl Drop for SpaceShare {
    fn drop(&mut self) {
        self.space.used.fetch_sub(self.told, Ordering::Relaxed);
        self.space.shares.fetch_sub(1, Ordering::Relaxed);
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
