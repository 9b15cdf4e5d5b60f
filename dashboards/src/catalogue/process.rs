//! What every process says of itself, under the names that Prometheus' own clients give it.

use super::{Metric, Unit, counter, gauge};

/// Processor time.
pub const PROCESS_CPU: Metric =
    counter("process_cpu_seconds_total", &[], "Processor time of this process, of the user and of the system.")
        .of(Unit::Seconds);
/// Memory in use.
pub const PROCESS_RESIDENT: Metric =
    gauge("process_resident_memory_bytes", &[], "Memory of this process that is in use.").of(Unit::Bytes);
/// Memory that is mapped.
pub const PROCESS_VIRTUAL: Metric = gauge("process_virtual_memory_bytes", &[], "Memory that this process has mapped.")
    .of(Unit::Bytes)
    .unshown("what is mapped and not in use costs nothing");
/// Open files.
pub const PROCESS_OPEN_FILES: Metric = gauge("process_open_fds", &[], "Files and connections that are open.");
/// Files that may be open.
pub const PROCESS_MOST_FILES: Metric = gauge("process_max_fds", &[], "Files and connections that may be open.");
/// When the process began.
pub const PROCESS_STARTED: Metric =
    gauge("process_start_time_seconds", &[], "When this process began.").of(Unit::Seconds);
/// Threads.
pub const PROCESS_THREADS: Metric = gauge("process_threads", &[], "Threads of this process.");
