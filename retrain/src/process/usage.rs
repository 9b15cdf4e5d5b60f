//! What a program took: time by the wall, time of processors, memory at its peak. Read from `/proc`; unknown where there is none.
//!
//! Processor time is the leader's own and that of the children that it waited for. Memory is the most that the leader alone
//! has held, as often as it is looked at.

use std::time::{Duration, Instant};

/// Ticks of `/proc`, which Linux shows in hundredths of a second whatever it counts in itself.
const TICKS_PER_SECOND: u64 = 100;

/// What a program took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From its start to its end.
    pub wall: Duration,
    /// Of all processors together.
    pub processor: Option<Duration>,
    /// The most bytes that it held.
    pub peak_memory: Option<u64>,
}

/// A program that is looked at while it runs.
#[derive(Debug)]
pub(super) struct Watched {
    id: i32,
    began: Instant,
    peak_memory: Option<u64>,
}

impl Watched {
    pub(super) fn new(id: i32) -> Self {
        Self { id, began: Instant::now(), peak_memory: None }
    }

    /// Looks at what it holds.
    pub(super) fn look(&mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        self.peak_memory = self.peak_memory.max(high_water(&status));
    }

    /// What it took, once it has ended and before it is reaped.
    pub(super) fn total(&self) -> Usage {
        let stat = std::fs::read(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        let ticks = ticks(&String::from_utf8_lossy(&stat));
        let processor = ticks.map(|ticks| Duration::from_millis(ticks.saturating_mul(1_000 / TICKS_PER_SECOND)));
        Usage { wall: self.began.elapsed(), processor, peak_memory: self.peak_memory }
    }
}

/// `VmHWM` of a process's status, in bytes.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// User and system time of a process and of the children that it waited for: fields 14 to 17 of its `stat`.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<u64> =
        rest.split_ascii_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (fields.len() == 4).then(|| fields.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_system_writes_them() {
        assert_eq!(high_water("Name:\tpython\nVmHWM:\t   12 kB\n"), Some(12 << 10));
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 5 6 70 80 20 0"), Some(161));
        assert_eq!((high_water(""), ticks("")), (None, None));
    }
}
