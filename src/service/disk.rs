//! How much of the disk is used and free, on a thread of its own: a folder of many files takes a while to be walked through.
//!
//! What cannot be read is left out: a file may go while it is looked at.

use crate::config::{ArtifactLocation, Config};
use anyhow::Result;
use dashboards::exporter::Exporter;
use dashboards::telemetry::DiskTelemetry;
use nix::sys::statvfs::statvfs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The most files that are counted of one part; a folder of more is bigger than is told.
const MOST_FILES: usize = 200_000;

/// The thread that looks at the disk.
pub(crate) struct DiskWatch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// A part of what Driftline keeps.
struct Part {
    name: &'static str,
    folder: PathBuf,
    /// Whether folders in it are other parts.
    is_flat: bool,
}

impl DiskWatch {
    /// Looks at the folders of a configuration, now and again.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) fn start(config: &Config, exporter: Arc<Exporter>) -> Result<Self> {
        let (parts, telemetry) = (parts(config), DiskTelemetry::new(exporter));
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
            parts.iter().for_each(|part| part.measure(&telemetry));
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                parts.iter().for_each(|part| part.measure(&telemetry));
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that looks at the disk panicked");
        }
    }
}

/// The parts that are folders of this machine.
fn parts(config: &Config) -> Vec<Part> {
    let directory = &config.log.directory;
    let within = |name| Part { name, folder: directory.join(name), is_flat: false };
    let mut parts = vec![Part { name: "log", folder: directory.clone(), is_flat: true }];
    parts.extend(["labels", "trainings"].map(within));
    if let ArtifactLocation::Directory(folder) = &config.artifacts {
        parts.push(Part { name: "artifacts", folder: folder.clone(), is_flat: false });
    }
    parts
}

impl Part {
    fn measure(&self, telemetry: &DiskTelemetry) {
        telemetry.used(self.name, bytes_in(&self.folder, self.is_flat));
        if let Ok(disk) = statvfs(&self.folder) {
            telemetry.free(self.name, disk.blocks_available().saturating_mul(disk.fragment_size()));
        }
    }
}

/// Bytes of the files in a folder and, unless it `is_flat`, in the folders in it.
fn bytes_in(folder: &Path, is_flat: bool) -> u64 {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_file() {
                (bytes, files) = (bytes + about.len(), files + 1);
            } else if about.is_dir() && !is_flat {
                folders.push(entry.path());
            }
            if files >= MOST_FILES {
                return bytes;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_folder_are_those_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("deep/b"), [0; 5]).unwrap();
        assert_eq!((bytes_in(folder.path(), true), bytes_in(folder.path(), false)), (10, 15));
        assert_eq!(bytes_in(&folder.path().join("none"), false), 0);
    }
}
