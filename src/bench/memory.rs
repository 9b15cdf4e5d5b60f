//! What this process holds in memory, over time.

use anyhow::{Context, Result, anyhow};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const MIB: f64 = 1_048_576.0;

/// A thread that looks at the process' resident memory until it is told to stop.
pub(super) struct MemoryWatch {
    stop: Sender<()>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

/// How much it was at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Since the watch began.
    pub(super) at_s: f64,
    pub(super) resident_mib: f64,
}

impl MemoryWatch {
    pub(super) fn start() -> Result<Self> {
        let (stop, stopped) = channel();
        let started = Instant::now();
        let look = move || {
            let mut samples = Vec::new();
            loop {
                samples.push(Sample { at_s: started.elapsed().as_secs_f64(), resident_mib: resident_mib()? });
                match stopped.recv_timeout(LOOK_EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(samples),
                }
            }
        };
        let thread = std::thread::Builder::new().name("memory-watch".to_owned()).spawn(look);
        Ok(Self { stop, thread: thread.context("starting the thread that looks at the memory")? })
    }

    /// What was seen.
    pub(super) fn stop(self) -> Result<Vec<Sample>> {
        // It has ended where no one hears this, and says why.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the thread that looks at the memory panicked"))?
    }
}

/// The most of all samples.
pub(super) fn most_mib(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.resident_mib).fold(0.0, f64::max)
}

/// Mebibytes a minute by which it grows over the second half: the slope of the least squares.
pub(super) fn growth_mib_per_minute(samples: &[Sample]) -> f64 {
    let later = samples.get(samples.len() / 2..).unwrap_or_default();
    let count = later.len() as f64;
    let mean = |value: fn(&Sample) -> f64| later.iter().map(value).sum::<f64>() / count;
    let (at, resident) = (mean(|sample| sample.at_s), mean(|sample| sample.resident_mib));
    let along: f64 = later.iter().map(|sample| (sample.at_s - at) * (sample.resident_mib - resident)).sum();
    let spread: f64 = later.iter().map(|sample| (sample.at_s - at).powi(2)).sum();
    if spread > 0.0 { along / spread * 60.0 } else { 0.0 }
}

fn resident_mib() -> Result<f64> {
    let told = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status, which Linux has")?;
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc/self/status has no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().context("reading VmRSS")?;
    Ok(kib * 1024.0 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_second_half() {
        let sample = |second: i32| {
            let at_s = f64::from(second);
            let resident_mib = if second < 60 { 10.0 * at_s } else { 600.0 + 0.5 * (at_s - 60.0) };
            Sample { at_s, resident_mib }
        };
        let samples: Vec<_> = (0..120).map(sample).collect();
        assert!((growth_mib_per_minute(&samples) - 30.0).abs() < 1e-9);
        assert!((most_mib(&samples) - 629.5).abs() < 1e-9);
    }
}
