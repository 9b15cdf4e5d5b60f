//! What `driftline replay` can be asked.

use super::{ColumnArgs, ConfigArgs, ReadingArgs, duration, moment};
use crate::files::{EventTime, FileColumns, ScoreColumnsError};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// `driftline replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Files of CSV, Parquet or JSON (an object a line, or an array), gzipped or not, folders of such, or `-` for standard input;
    /// several are read one after the other
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The model that the rows belong to
    #[arg(long)]
    pub model: String,
    /// The version that answered [default: the champion]
    #[arg(long)]
    pub model_version: Option<String>,
    /// Which columns are what.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// Time of the first row, where the file has no time column
    #[arg(long, value_name = "TIME", default_value = "2020-01-01T00:00:00Z", value_parser = moment)]
    pub start: SystemTime,
    /// Time between two rows, where the file has no time column
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration, conflicts_with = "time")]
    pub interval: Duration,
    /// When labels come.
    #[command(flatten)]
    pub labels: LabelArgs,
    /// How fast event time passes: `max`, or a multiple as `60x`
    #[arg(long, value_name = "SPEED", default_value = "max", value_parser = Speed::parse)]
    pub speed: Speed,
    /// Leave the input open, so that more may follow, labels in a file of their own among it; the last windows, and all that
    /// wait for labels, then stay open too
    #[arg(long)]
    pub no_end_mark: bool,
    /// In which order the rows go: `time` sorts rows that are further out of it than `max_disorder`, `file` leaves them as they are
    #[arg(long, value_name = "time|file", default_value = "time")]
    pub order: RowOrder,
    /// Go on although most rows lie before the time that the log has come to, and will be late
    #[arg(long)]
    pub allow_late: bool,
}

/// In which order the rows of a replay go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowOrder {
    /// In that of time.
    Time,
    /// In that of the file.
    File,
}

impl ReplayArgs {
    /// The columns as they are read.
    ///
    /// # Errors
    /// When one of several score columns has no class.
    pub fn file_columns(&self) -> Result<FileColumns, ScoreColumnsError> {
        self.columns.file_columns(EventTime::synthetic(Some(self.start), Some(self.interval)))
    }
}

/// When labels come; with their rows unless told.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct LabelArgs {
    /// Labels come so many rows after their own
    #[arg(long, value_name = "ROWS")]
    pub label_delay_rows: Option<u64>,
    /// Labels come so long after their event
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub label_delay: Option<Duration>,
    /// Column of the time at which the label came
    #[arg(long, value_name = "COLUMN")]
    pub label_time: Option<String>,
}

/// How fast event time passes in a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the service takes it.
    Max,
    /// So many seconds of event time in one second.
    Times(f64),
}

impl Speed {
    /// Reads `max`, `60x` or `0.5x`.
    ///
    /// # Errors
    /// When the text is neither; the message says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
        match number.filter(|times| times.is_finite() && *times > 0.0) {
            Some(times) => Ok(Self::Times(times)),
            None => Err("write `max`, or a multiple of event time as `60x`".to_owned()),
        }
    }
}
