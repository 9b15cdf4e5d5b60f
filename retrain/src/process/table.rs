//! The system's table of processes, as `/proc` shows it; empty where there is no `/proc`.

use super::JOB_VARIABLE;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// It has ended, and its parent has not looked.
    pub(super) has_ended: bool,
}

/// Every process that there is now.
///
/// # Errors
/// `/proc` is there and cannot be listed.
pub(super) fn all() -> io::Result<Vec<Entry>> {
    let processes = match std::fs::read_dir("/proc") {
        Ok(processes) => processes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for process in processes {
        let name = process?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends meanwhile is not there any more.
        let stat = std::fs::read(format!("/proc/{id}/stat")).unwrap_or_default();
        entries.extend(parse(id, &String::from_utf8_lossy(&stat)));
    }
    Ok(entries)
}

/// The program's name stands in brackets, and may hold anything itself.
fn parse(id: i32, stat: &str) -> Option<Entry> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = || fields.next()?.parse().ok();
    Some(Entry { id, parent: number()?, group: number()?, session: number()?, has_ended })
}

/// The job that a process was started for, itself or what started it; `None` where its environment names none, or is
/// another user's and cannot be read.
pub(super) fn job_of(id: i32) -> Option<PathBuf> {
    let environment = std::fs::read(format!("/proc/{id}/environ")).ok()?;
    let prefix = format!("{JOB_VARIABLE}=");
    let job = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_what_follows() {
        let entry = parse(7, "7 (a) S 1 (b) Z 3 5 6 0 -1");
        assert_eq!(entry, Some(Entry { id: 7, parent: 3, group: 5, session: 6, has_ended: true }));
        assert_eq!(parse(7, ""), None);
    }

    #[test]
    fn this_process_is_in_the_table() {
        let own = std::process::id() as i32;
        let found = all().unwrap().into_iter().find(|entry| entry.id == own);
        assert!(found.is_some_and(|entry| !entry.has_ended) || !std::path::Path::new("/proc").exists());
    }
}
