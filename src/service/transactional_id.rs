//! The instance: what this process is called among those that append to the same log.
//!
//! Names are kept in the log's directory, each in a file that is locked while a process bears it; a process takes the first
//! that is free, and makes another where none is. So one that starts after a crash bears the name of the one that died, and
//! by it ends the transaction that was left open, which otherwise holds up every reader until the broker gives it up; and
//! processes that share a directory bear different names. A directory that is copied to another machine copies its names:
//! leave `instances` out, or the two refuse each other's appends.

use crate::service::trainer_deps::random_name;
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// The folder of names in the log's directory.
const FOLDER: &str = "instances";

/// A name that this process bears until this is dropped.
#[derive(Debug)]
pub(crate) struct TransactionalId {
    name: String,
    /// Locked; whichever way the process ends, the system lets go of it.
    _held: File,
}

impl TransactionalId {
    /// Takes the first name that no process bears.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        let folder = directory.join(FOLDER);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for number in 0_u32.. {
            let path = folder.join(number.to_string());
            let taken = Self::take_from(&path).with_context(|| format!("taking a name from {}", path.display()))?;
            if let Some(transactional_id) = taken {
                return Ok(transactional_id);
            }
        }
        anyhow::bail!("every name in {} is taken: remove those files", folder.display())
    }

    /// The name, unless another process bears it.
    fn take_from(path: &Path) -> Result<Option<Self>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut name = String::new();
        file.read_to_string(&mut name)?;
        // What was only half written when a process died has never been a name of anyone's.
        if !name.ends_with('\n') {
            name = format!("{}\n", random_name());
            file.set_len(0)?;
            std::io::Seek::rewind(&mut file)?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
        }
        Ok(Some(Self { name: name.trim_end().to_owned(), _held: file }))
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_borne_by_one_at_a_time_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = TransactionalId::take(folder.path()).unwrap();
        let second = TransactionalId::take(folder.path()).unwrap();
        assert_ne!(first.name(), second.name());
        let name = first.name().to_owned();
        drop(first);
        assert_eq!(TransactionalId::take(folder.path()).unwrap().name(), name);
    }

    #[test]
    fn half_a_name_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let name = TransactionalId::take(folder.path()).unwrap().name().to_owned();
        let file = folder.path().join(FOLDER).join("0");
        std::fs::write(&file, &name[..4]).unwrap();
        let next = TransactionalId::take(folder.path()).unwrap();
        assert!(next.name().len() == name.len() && !next.name().starts_with(&name[..4]), "{}", next.name());
    }
}
