//! Whole-system flows through the binary, on the embedded log and on a real Kafka; and what the log on Kafka promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is tests")]

mod bad_inputs;
mod browser;
mod command_line;
mod dashboards;
mod demo;
mod faults;
mod forgotten;
mod guarded;
mod kafka_log;
mod kill;
mod models;
mod publishing;
mod repartition;
mod schemas;
mod sea_losing;
mod secured;
mod stalls;
mod trainings;
mod windows_oracle;

/// The driftline under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_driftline-under-test");

/// A folder of the shared streams; `None` (told) where they are not at hand, which fails where they are required.
pub(crate) fn shared(name: &str) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("DRIFTLINE_SHARED").map(std::path::PathBuf::from);
    let found = folder.map(|folder| folder.join(name)).filter(|folder| folder.exists());
    if found.is_none() {
        assert!(std::env::var_os("DRIFTLINE_REQUIRE_SHARED").is_none(), "{name} is required and not there");
        eprintln!("SKIPPED: no {name} under DRIFTLINE_SHARED");
    }
    found
}
