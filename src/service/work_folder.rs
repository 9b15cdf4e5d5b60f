//! Where the trainings of this process work: a folder of its own below the log's directory, empty at the start, gone in the end.
//!
//! Processes may share the directory. Each holds a lock in its folder while it lives, so whoever starts knows the folders of
//! those that are gone: it ends what still works there, and removes them with all that a training left.

use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The file that a process holds in its folder.
const HELD: &str = "held";

/// The folder of this process.
#[derive(Debug)]
pub struct WorkFolder {
    folder: TempDir,
    /// Locked; whichever way the process ends, the system lets go of it.
    _held: File,
}

impl WorkFolder {
    /// Makes one, and clears away those of processes that are gone.
    ///
    /// # Errors
    /// When the directory cannot be written, or what is left there cannot be ended.
    pub fn take(directory: &Path) -> Result<Self> {
        let what = || format!("making a folder for trainings in {}", directory.display());
        std::fs::create_dir_all(directory).with_context(what)?;
        // One process at a time: a folder that is only being made is not taken for one of the dead.
        let gate = File::open(directory).with_context(what)?;
        gate.lock().with_context(what)?;
        clear_away(directory).with_context(|| format!("clearing away earlier trainings in {}", directory.display()))?;
        let folder = tempfile::Builder::new().prefix("").tempdir_in(directory).with_context(what)?;
        let held = File::create(folder.path().join(HELD)).with_context(what)?;
        held.lock().with_context(what)?;
        Ok(Self { folder, _held: held })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn clear_away(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if is_held(&path) {
            continue;
        }
        let ended = retrain::process::sweep(&path)?;
        if ended > 0 {
            tracing::warn!(ended, "ended processes that an earlier training had left");
        }
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(&path)?,
            false => std::fs::remove_file(&path)?,
        }
    }
    Ok(())
}

fn is_held(folder: &Path) -> bool {
    let held: PathBuf = folder.join(HELD);
    File::open(held).is_ok_and(|file| file.try_lock().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn what_processes_that_are_gone_have_left_is_removed_and_what_others_work_on_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let first = WorkFolder::take(directory.path()).unwrap();
        std::fs::write(first.path().join("artifact"), "half").unwrap();
        std::fs::create_dir(directory.path().join("gone")).unwrap();
        std::fs::write(directory.path().join("gone").join("artifact"), "old").unwrap();
        std::fs::write(directory.path().join("result.json"), "of a version that had no folders").unwrap();
        let second = WorkFolder::take(directory.path()).unwrap();
        assert_eq!(entries(directory.path()), 2);
        assert_eq!(std::fs::read(first.path().join("artifact")).unwrap(), b"half");
        drop((first, second));
        assert_eq!(entries(directory.path()), 0);
    }
}
