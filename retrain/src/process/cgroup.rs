//! A cgroup around a program and all that it starts, where this process may make one (cgroup v2, delegated or as root).
//!
//! Nothing leaves a cgroup by itself: neither a session of its own nor a cleared environment hides a process from it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the names of Driftline's cgroups begin with.
const PREFIX: &str = "driftline-";

/// Where the one hierarchy of cgroup v2 is mounted, alone or beside those of v1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A cgroup; removed when this is dropped, if nothing is left in it.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A new one below this process' own, named after the job; `None` where that is not allowed.
    pub(super) fn make(job: &Path) -> Option<Self> {
        let of_job = job.parent()?.file_name()?.to_str()?.trim_start_matches('.');
        let path = own()?.join(format!("{PREFIX}{}-{of_job}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    /// Takes in a process, and what that will start.
    pub(super) fn add(&self, id: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), id.to_string())
    }

    /// The processes in it.
    pub(super) fn members(&self) -> Vec<i32> {
        let members = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        members.lines().filter_map(|id| id.parse().ok()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(cgroup = %self.path.display(), %error, "a cgroup is left behind");
        }
    }
}

/// Removes what earlier processes left, where nothing is in it any more.
pub(super) fn remove_empty() {
    let Some(siblings) = own().and_then(|own| fs::read_dir(own).ok()) else { return };
    for sibling in siblings.flatten() {
        if sibling.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            // The system refuses where there are processes.
            let _ = fs::remove_dir(sibling.path());
        }
    }
}

/// The directory of this process' own cgroup.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mut mounts = MOUNTS.iter().map(|mount| Path::new(mount).join(&path));
    mounts.find(|directory| directory.join("cgroup.kill").is_file() || is_root(directory))
}

/// The root of the hierarchy has no `cgroup.kill`, as it cannot be ended.
fn is_root(directory: &Path) -> bool {
    directory.join("cgroup.controllers").is_file() && directory.join("cgroup.procs").is_file()
}
