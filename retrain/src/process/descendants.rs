//! Everything that a program starts, so that it ends with the program: children, children of children, and those in sessions
//! of their own.
//!
//! A process belongs to a run if it is in the run's cgroup, where one can be had; or in the group of the program; or if its
//! environment names the run's job; or if its parent belongs to it. And this process takes orphans in
//! (`PR_SET_CHILD_SUBREAPER`): one that has cleared its environment and begun a session of its own, be it before the program
//! was in the cgroup, is known by its new parent. Elsewhere than on Linux there is the group alone.

use super::cgroup::Cgroup;
use super::table::{self, Entry};
use super::{GRACE, LOOK_EVERY};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

/// The processes of one run.
#[derive(Debug)]
pub(super) struct Descendants {
    job: PathBuf,
    cgroup: Option<Cgroup>,
}

impl Descendants {
    /// Gets ready for a program that will be started for this job.
    pub(super) fn awaited(job: &Path) -> Self {
        Self { cgroup: Cgroup::make(job), ..Self::adopted(job) }
    }

    /// The same without a cgroup.
    pub(super) fn adopted(job: &Path) -> Self {
        adopt_orphans();
        Self { job: job.to_owned(), cgroup: None }
    }

    /// The program has been started.
    pub(super) fn begin_with(&mut self, leader: &Child) {
        if self.cgroup.as_ref().is_some_and(|cgroup| cgroup.add(leader.id()).is_err()) {
            self.cgroup = None;
        }
    }

    /// Signals the leader's group and whoever has left it.
    pub(super) fn signal(&self, leader: Pid, signal: Signal) -> io::Result<()> {
        for id in self.strays(leader)? {
            // One that has ended meanwhile needs no signal.
            let _ = kill(Pid::from_raw(id), signal);
        }
        match killpg(leader, signal) {
            // ESRCH: no one is left. EPERM: macOS says so of a group whose members have all ended.
            Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills until nothing is left but the leader, which has yet to be reaped.
    pub(super) fn kill(&self, leader: Pid) -> io::Result<()> {
        let began = Instant::now();
        loop {
            self.signal(leader, Signal::SIGKILL)?;
            let left = self.strays(leader)?;
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() >= GRACE {
                tracing::warn!(processes = ?left, "what a program started cannot be killed");
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Those that live beside the leader. Those that have ended and are this process' to reap are reaped.
    pub(super) fn strays(&self, leader: Pid) -> io::Result<Vec<i32>> {
        let table = table::all()?;
        let own = std::process::id() as i32;
        let own_session = table.iter().find(|entry| entry.id == own).map_or(0, |entry| entry.session);
        let mut belong = self.known(leader.as_raw(), &table, (own, own_session));
        // The children of those that belong do, wherever they stand in the table.
        while table.iter().any(|entry| belong.contains(&entry.parent) && belong.insert(entry.id)) {}
        belong.remove(&own);
        for entry in table.iter().filter(|entry| entry.has_ended && entry.parent == own && entry.id != leader.as_raw())
        {
            // Another run's leader is in this process' session and leads its own group.
            if entry.session != own_session || entry.group == leader.as_raw() {
                let _ = waitid(Id::Pid(Pid::from_raw(entry.id)), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
            }
        }
        let lives = |entry: &&Entry| !entry.has_ended && entry.id != leader.as_raw() && belong.contains(&entry.id);
        Ok(table.iter().filter(lives).map(|entry| entry.id).collect())
    }

    /// Those that belong by themselves.
    fn known(&self, leader: i32, table: &[Entry], (own, own_session): (i32, i32)) -> BTreeSet<i32> {
        let mut known: BTreeSet<i32> = self.cgroup.iter().flat_map(Cgroup::members).collect();
        known.insert(leader);
        for entry in table.iter().filter(|entry| entry.id != own && !entry.has_ended) {
            let is_orphan = entry.parent == own && entry.session != own_session;
            let belongs = entry.group == leader
                || match table::job_of(entry.id) {
                    Some(job) => job == self.job,
                    None => is_orphan,
                };
            if belongs {
                known.insert(entry.id);
            }
        }
        known
    }
}

/// Has orphans become children of this process, as they otherwise become those of the system's first.
fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::debug!(%error, "orphans of programs cannot be taken in");
    }
}
