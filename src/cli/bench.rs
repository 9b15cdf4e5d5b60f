//! The arguments of `driftline bench`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

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
    /// A service under a load that does not change: how soon windows are judged, and what memory it takes
    Steady(BenchSteadyArgs),
    /// A topic read twice: whether the verdicts are the same, and what memory that takes
    Replay(BenchReplayArgs),
    /// Streams with known labels: what retraining by itself is worth beside a schedule, known changes and hindsight
    Loop(BenchLoopArgs),
}

/// `driftline bench kafka`.
#[derive(Debug, Args)]
pub struct BenchKafkaArgs {
    /// Brokers as host:port, comma-separated; the topics that are made are deleted with the end
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Events of each measurement; a quarter of them where each is an Arrow stream of its own
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub events: u64,
    /// Only this format; may be given several times [default: all]
    #[arg(long, value_name = "FORMAT")]
    pub format: Vec<BenchFormat>,
    /// Only this many events a record; may be given several times [default: 256, 16 and 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub per_record: Vec<u64>,
    /// Partitions of each topic; capture works on each in a thread of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub partitions: u32,
    /// Spread the records over this many models
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub models: u32,
    /// Also write the figures into this folder: kafka.json, kafka.md and kafka.svg
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// `driftline bench steady`.
#[derive(Debug, Args)]
pub struct BenchSteadyArgs {
    /// Brokers as host:port, comma-separated; the topics that are made are deleted with the end
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    pub rate: u64,
    /// How long it lasts
    #[arg(long, value_name = "MINUTES", default_value_t = 30.0, value_parser = minutes)]
    pub minutes: f64,
    /// Size of the windows
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = window)]
    pub window: Duration,
    /// Events of a record
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub per_record: u64,
    /// Partitions of each topic; capture works on each in a thread of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub partitions: u32,
    /// Spread the records over this many models
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub models: u32,
    /// Bytes that a partition may hold before its oldest records are deleted
    #[arg(long, value_name = "N", default_value_t = 2_000_000_000, value_parser = clap::value_parser!(u64).range(100_000_000..))]
    pub retention_bytes: u64,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    let is_usable = (0.5..=1_440.0).contains(&minutes);
    is_usable.then_some(minutes).ok_or_else(|| "expected between half a minute and a day (1440)".to_owned())
}

fn window(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let is_usable = (Duration::from_secs(2)..=Duration::from_secs(600)).contains(&window);
    is_usable.then_some(window).ok_or_else(|| "expected between two seconds and ten minutes (10m)".to_owned())
}

/// `driftline bench replay`.
#[derive(Debug, Args)]
pub struct BenchReplayArgs {
    /// Brokers as host:port, comma-separated; the topics that are made are deleted with the end
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Events of the topic
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(100_000..=1_000_000_000))]
    pub events: u64,
    /// What they are written in
    #[arg(long, value_name = "FORMAT", default_value = "messagepack")]
    pub format: BenchFormat,
    /// Events of a record
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub per_record: u64,
    /// Partitions of each topic
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub partitions: u32,
    /// Spread the records over this many models
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub models: u32,
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

/// `driftline bench loop`.
#[derive(Debug, Clone, Args)]
pub struct BenchLoopArgs {
    /// Files (CSV, Parquet; gzipped or not), or folders of them; rows in the order of time
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub streams: Vec<PathBuf>,
    /// Column of the label; the first of these that a file has [default: y, class, target, label, or the last column]
    #[arg(long, value_name = "COLUMN")]
    pub target: Vec<String>,
    /// Columns that are not learned from
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// Rows that the first version is trained on
    #[arg(long, value_name = "ROWS", default_value_t = 2_000)]
    pub first: usize,
    /// Rows after which a label comes
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    pub label_delay_rows: usize,
    /// Rows of a window
    #[arg(long, value_name = "ROWS", default_value_t = 500)]
    pub window_rows: usize,
    /// Compare with retraining every so many rows; may be given several times
    #[arg(long, value_name = "ROWS", default_values_t = [1_000])]
    pub every: Vec<usize>,
    /// Row at which the concept changes; may be given several times [default: as `ground_truth.json` beside the file says]
    #[arg(long, value_name = "ROW")]
    pub change: Vec<usize>,
    /// JSON file with the rows of the changes: {STREAM: {"changes": [ROW, …]}}
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// YAML file with settings of the model that go before the defaults, such as `trainer` and `retrain`
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// What a training costs, in rows that are wrong
    #[arg(long, value_name = "ROWS", default_value_t = 20.0)]
    pub training_cost: f64,
    /// Go through the rows in another order instead, as a control in which nothing changes; may be given several times
    #[arg(long, value_name = "SEED")]
    pub shuffle: Vec<u64>,
    /// Also write the figures into this folder: loop.json, loop.md and loop.svg
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}
