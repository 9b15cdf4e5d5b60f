//! The arguments of `driftline bench`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `driftline bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What is measured.
    #[command(subcommand)]
    pub subject: BenchSubject,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum BenchSubject {
    /// Records a second from a preloaded topic: a bare consumer beside capture, for three formats and three sizes of record
    Kafka(BenchKafkaArgs),
}

/// `driftline bench kafka`.
#[derive(Debug, Args)]
pub struct BenchKafkaArgs {
    /// Brokers as host:port, comma-separated; the topics that are made carry a prefix of their own, and stay
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Events of each measurement; a quarter of them where each has a record of its own
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub events: u64,
    /// Only this format; may be given several times [default: all]
    #[arg(long, value_name = "FORMAT")]
    pub format: Vec<BenchFormat>,
    /// Only this many events a record; may be given several times [default: 256, 16 and 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub per_record: Vec<u64>,
    /// Spread the records over this many models
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub models: u32,
    /// Also write the figures into this folder: kafka.json, kafka.md and kafka.svg
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// What a benchmark's events are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchFormat {
    /// MessagePack
    Messagepack,
    /// JSON
    Json,
    /// Arrow IPC
    Arrow,
}
