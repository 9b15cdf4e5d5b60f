//! Faults on a real Kafka, while a stream runs through: whatever dies, every event is counted once.
//!
//! Each test sends a seeded stream straight into the topics, as users' programs do, brings its fault about, waits until
//! all is captured and judged, and then reads the log ([`ledger`]) and holds it, partition by partition, against a count of
//! the same records that is the test's own ([`oracle`]):
//!
//! - panes, open or closed, + late + dead letters + duplicates = produced;
//! - labelled + expired + pending = predictions;
//! - every bin of every column of every pane is the oracle's, each window is judged once and over its rows;
//! - the input ranges of the ledger meet, and the archive holds each row once.
//!
//! The quick ones run always; all of them, and those more often, where [`ALL`] names the file of their table.

mod brokers;
mod disk;
mod house;
mod ledger;
mod lifecycle;
mod load;
mod oracle;
mod processes;
mod profile;
mod records;
mod steps;
mod stream;
mod topics;

use driftline_tests::{On, kafka};
use std::io::Write;
use std::time::Duration;

/// The variable that has all faults run, and names the file that the lines of their table are added to.
const ALL: &str = "DRIFTLINE_FAULTS";

/// Whether all faults run, and not only the quick ones.
fn all() -> bool {
    std::env::var_os(ALL).is_some()
}

/// Whether a fault that is not quick is left out, which is told.
fn is_left_out() -> bool {
    let is_left_out = !all();
    if is_left_out {
        eprintln!("SKIPPED: a fault that takes long (./tests/run --faults runs it)");
    }
    is_left_out
}

/// A cluster of its own, for faults that hurt others; `None` (told) where there is no Kafka to start.
fn cluster(brokers: u16) -> Option<(kafka::Cluster, On)> {
    let cluster = kafka::Cluster::start(brokers).unwrap()?;
    let on = On::Kafka { bootstrap: cluster.bootstrap(), prefix: kafka::fresh_prefix() };
    Some((cluster, on))
}

/// A line of the table of faults.
#[derive(Debug)]
struct Line {
    fault: &'static str,
    times: u32,
    /// Rows that should have been counted and were not, and those that were counted too often.
    lost: i64,
    doubled: i64,
    /// The longest time from a fault until everything that had been sent was captured.
    recovery: Duration,
}

impl Line {
    /// Tells it.
    fn tell(&self) {
        let Self { fault, times, lost, doubled, recovery } = self;
        let line = format!("{fault}\t{times}\t{lost}\t{doubled}\t{:.1}", recovery.as_secs_f64());
        println!("fault: {line}");
        let Some(file) = std::env::var_os(ALL) else { return };
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
