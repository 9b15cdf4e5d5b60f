//! What the operating system says of this process, shown each time that the metrics are read.
//!
//! Read from `/proc/self`, as proc(5) describes it. Where that says nothing, as in a sandbox, there are no such series: what is
//! unknown is not shown.

use crate::catalogue::{
    Metric, PROCESS_CPU, PROCESS_MOST_FILES, PROCESS_OPEN_FILES, PROCESS_RESIDENT, PROCESS_STARTED, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use crate::exporter::Exporter;
use std::fs::{read_dir, read_to_string};

/// Ticks a second in which the kernel tells processor time; it is the same on every architecture that Linux still has.
const TICKS_PER_SECOND: f64 = 100.0;

/// Places in `/proc/self/stat`, counted from the first field behind the program's name.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const START_TIME: usize = 19;

/// Shows the process as it is now.
pub(crate) fn show(exporter: &Exporter) {
    let text = |path: &str| read_to_string(path).unwrap_or_default();
    let (stat, status, limits) = (text("/proc/self/stat"), text("/proc/self/status"), text("/proc/self/limits"));
    let set = |metric: &Metric, value: Option<f64>| exporter.set(metric, &[], value.unwrap_or(f64::NAN));
    set(&PROCESS_RESIDENT, number_behind(&status, "VmRSS:").map(|kib| kib * 1024.0));
    set(&PROCESS_VIRTUAL, number_behind(&status, "VmSize:").map(|kib| kib * 1024.0));
    set(&PROCESS_THREADS, number_behind(&status, "Threads:"));
    set(&PROCESS_MOST_FILES, number_behind(&limits, "Max open files"));
    set(&PROCESS_OPEN_FILES, read_dir("/proc/self/fd").ok().map(|files| files.count() as f64));
    let booted = number_behind(&text("/proc/stat"), "btime");
    set(
        &PROCESS_STARTED,
        booted.zip(ticks(&stat, START_TIME)).map(|(booted, ticks)| booted + ticks / TICKS_PER_SECOND),
    );
    if let Some((user, system)) = ticks(&stat, USER_TIME).zip(ticks(&stat, SYSTEM_TIME)) {
        exporter.raise(&PROCESS_CPU, &[], (user + system) / TICKS_PER_SECOND);
    }
}

/// The first number of the line that begins so.
fn number_behind(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// A field behind the program's name, which stands in brackets and may hold blanks and brackets of its own.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name_whatever_it_is() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1 2";
        assert_eq!((ticks(stat, USER_TIME), ticks(stat, SYSTEM_TIME)), (Some(250.0), Some(50.0)));
        assert_eq!(ticks(stat, START_TIME), Some(12_345.0));
        assert_eq!(number_behind("Max open files            1024   4096   files\n", "Max open files"), Some(1024.0));
        assert_eq!(number_behind("Max open files            unlimited   4096   files\n", "Max open files"), None);
    }
}
