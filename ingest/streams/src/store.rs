//! Files and content-addressed artifacts in an object store: a local directory, or S3 by URL.
//!
//! The store is written before the log's transaction that names what was written, so a file that no record names is no
//! one's. Stages run on threads of their own and call in here without async; the store brings its own small runtime.

use crate::runner::{FileError, FileStore};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::runtime::Runtime;

/// What can go wrong with the object store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The URL names no store that is known.
    #[error(
        "`{url}` is no usable object store ({reason}): give a directory, or a URL as s3://bucket/prefix with the credentials in the environment"
    )]
    Url {
        /// What was given.
        url: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The store refused or failed.
    #[error("{path}: {source}")]
    Store {
        /// The object.
        path: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// An artifact whose bytes are not those that its name promises.
    #[error("artifact {id} is damaged: its bytes have the digest {found}; restore it from a backup")]
    Damaged {
        /// The digest it is named by.
        id: String,
        /// The digest of what is there.
        found: String,
    },
    /// The local directory is on a disk that is full.
    #[error("no space left for {}: nothing of it was written; free some space", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The local directory could not be written.
    #[error("object store: {0}")]
    Io(#[from] std::io::Error),
}

impl StoreError {
    /// Whether the object itself is at fault, so that asking again gives the same; a store that does not answer passes.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Store { source: object_store::Error::NotFound { .. }, .. } => true,
            Self::Store { source: object_store::Error::PermissionDenied { .. }, .. } => true,
            Self::Store { source, .. } => is_refused(source),
            Self::Url { .. } | Self::Full { .. } | Self::Io(_) => false,
        }
    }
}

/// Whether the file system refuses what there is under a name, whoever asks.
fn is_refused(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind.is_some_and(|kind| matches!(kind, ErrorKind::PermissionDenied | ErrorKind::IsADirectory)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Bytes kept under their own digest.
pub trait Artifacts: Send + Sync {
    /// Keeps the bytes; returns their SHA-256 in lower-case hexadecimal. Keeping them twice changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    fn put(&self, bytes: Bytes) -> Result<String, StoreError>;

    /// The bytes kept under a digest.
    ///
    /// # Errors
    /// When there are none, they are damaged, or the store fails.
    fn get(&self, id: &str) -> Result<Bytes, StoreError>;
}

/// An object store with a runtime for its calls.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    local_root: Option<PathBuf>,
    runtime: Runtime,
}

impl Store {
    /// A store in a local directory, which is made if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made or used.
    pub fn in_directory(directory: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)?;
        let url = || directory.display().to_string();
        let objects = object_store::local::LocalFileSystem::new_with_prefix(directory)
            .map_err(|error| StoreError::Url { url: url(), reason: error.to_string() })?;
        Self::new(Arc::new(objects), ObjectPath::default(), Some(directory.to_owned()))
    }

    /// A store by URL: `s3://bucket/prefix`, `file:///directory`, or a plain directory. S3's credentials and region come
    /// from the environment, as its own tools read them.
    ///
    /// # Errors
    /// When the URL is not understood.
    pub fn by_url(url: &str) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::Url { url: url.to_owned(), reason };
        match url.split_once("://") {
            None => Self::in_directory(Path::new(url)),
            Some(("file", directory)) => Self::in_directory(Path::new(directory)),
            Some(("s3", rest)) => {
                let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
                let objects = object_store::aws::AmazonS3Builder::from_env()
                    .with_url(url)
                    .build()
                    .map_err(|error| refused(error.to_string()))?;
                Self::new(Arc::new(objects), ObjectPath::from(prefix), None)
            }
            Some((scheme, _)) => Err(refused(format!("the scheme {scheme} is not known"))),
        }
    }

    fn new(objects: Arc<dyn ObjectStore>, prefix: ObjectPath, local_root: Option<PathBuf>) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { objects, prefix, local_root, runtime })
    }

    /// The directory of a local store.
    pub fn local_root(&self) -> Option<&Path> {
        self.local_root.as_deref()
    }

    /// Writes an object; durable when it returns.
    ///
    /// # Errors
    /// When the store fails.
    pub fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        if let Some(root) = &self.local_root {
            let path = root.join(path);
            return write_durably(&path, &bytes).map_err(|error| match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path },
                _ => StoreError::Io(error),
            });
        }
        let object = self.object(path);
        self.runtime
            .block_on(self.objects.put(&object, PutPayload::from_bytes(bytes)))
            .map(drop)
            .map_err(|source| StoreError::Store { path: path.to_owned(), source })
    }

    /// Reads an object whole.
    ///
    /// # Errors
    /// When it is not there or the store fails.
    pub fn read(&self, path: &str) -> Result<Bytes, StoreError> {
        let object = self.object(path);
        self.runtime
            .block_on(async { self.objects.get(&object).await?.bytes().await })
            .map_err(|source| StoreError::Store { path: path.to_owned(), source })
    }

    /// Deletes an object; one that is not there is deleted already.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.runtime.block_on(self.objects.delete(&self.object(path))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(StoreError::Store { path: path.to_owned(), source }),
        }
    }

    fn object(&self, path: &str) -> ObjectPath {
        self.prefix.parts().chain(ObjectPath::from(path).parts()).collect()
    }
}

impl FileStore for Store {
    fn put(&self, path: &str, bytes: Bytes) -> Result<(), FileError> {
        self.write(path, bytes).map_err(|error| FileError { path: path.to_owned(), source: Box::new(error) })
    }
}

impl Artifacts for Store {
    fn put(&self, bytes: Bytes) -> Result<String, StoreError> {
        let id = digest(&bytes);
        self.write(&artifact_path(&id), bytes)?;
        Ok(id)
    }

    fn get(&self, id: &str) -> Result<Bytes, StoreError> {
        let bytes = self.read(&artifact_path(id))?;
        let found = digest(&bytes);
        if found == id { Ok(bytes) } else { Err(StoreError::Damaged { id: id.to_owned(), found }) }
    }
}

/// Writes beside the path, syncs, and moves into place, so that a crash leaves the whole file or none.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.partial", std::process::id()));
    let moved = write_synced(Path::new(&beside), bytes).and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = moved {
        // The next try is under another name: on a disk that is full, what each of them left would keep it full.
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    std::fs::File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// SHA-256 in lower-case hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn artifact_path(id: &str) -> String {
    let shard = id.get(..2).unwrap_or("00");
    format!("artifacts/{shard}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        // A file cannot take the place of a folder that is not empty.
        std::fs::create_dir_all(folder.path().join("taken/by")).unwrap();
        let store = Store::in_directory(folder.path()).unwrap();
        let error = store.write("taken", Bytes::from_static(b"rows")).unwrap_err();
        assert!(matches!(error, StoreError::Io(_)), "{error}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["taken"]);
    }
}
