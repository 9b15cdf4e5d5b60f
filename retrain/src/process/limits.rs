//! Limits that a process takes on itself, before it does what it does not trust. They hold until its end.

use nix::sys::resource::{Resource, setrlimit};
use std::io;

/// Takes at most so many bytes of memory, in addresses, and leaves no file of a crash behind.
///
/// # Errors
/// The system refuses.
pub(crate) fn hold_at_most(memory: u64) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Not every system keeps to this one.
    #[cfg(target_os = "linux")]
    setrlimit(Resource::RLIMIT_AS, memory, memory)?;
    Ok(())
}

/// Writes no file any more; pipes are none.
///
/// # Errors
/// The system refuses.
pub(crate) fn write_no_file() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?)
}
