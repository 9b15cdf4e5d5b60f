//! The command line: what can be asked, and nothing of how it is done.
//!
//! Times are RFC 3339, durations a number and a unit. `--json` is taken by every command; each then writes one JSON object
//! or one a line to its standard output, and nothing else. Logs and progress go to standard error.

mod bench;
mod compare;
mod dashboards;
mod replay;

pub use bench::{
    BenchArgs, BenchFormat, BenchKafkaArgs, BenchLoopArgs, BenchReplayArgs, BenchSteadyArgs, BenchSubject,
};
pub use compare::CompareArgs;
pub use dashboards::{DashboardsAction, DashboardsArgs};
pub use replay::{LabelArgs, ReplayArgs, RowOrder, Speed};

use crate::files::{EventTime, FileColumns, Reading, ScoreColumns, ScoreColumnsError};
use ::dashboards::api::Role;
use clap::{Args, Parser, Subcommand};
use detectors::schema::ColumnKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The end of `driftline --help`: what the exit codes say.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the work failed; for `demo`: the loop did not close
  2  the command line or the configuration is wrong
  3  `compare` found drift, or more odd values than the reference has; with --parity: that tool would
  4  no running driftline could be reached
  5  the log is in use by another process, cannot be used, or cannot be reached
  6  a stage failed for good, and the configuration says `stage_failure: exit`
  7  `replay` has read rows or labels that were not counted; its last lines say why";

/// How the process ends, as the long help lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The work failed, or the demo's loop did not close.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Drift was found.
    Drift = 3,
    /// No running Driftline could be reached.
    Unreachable = 4,
    /// The log is in use, cannot be used, or cannot be reached.
    LogUnusable = 5,
    /// A stage failed for good.
    StageFailed = 6,
    /// Rows or labels of a replay were not counted.
    NotCounted = 7,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Watches machine-learning models through the event log they write to.
#[derive(Debug, Parser)]
#[command(name = "driftline", version, after_long_help = EXIT_CODES, arg_required_else_help = true)]
pub struct CommandLine {
    /// What applies to every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What applies to every command.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Write JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate an emergency department, and watch, retrain and promote the model that serves it
    Demo(DemoArgs),
    /// Measure what this machine and a Kafka can do together
    Bench(BenchArgs),
    /// Run the service until SIGTERM or SIGINT
    Run(RunArgs),
    /// Write a configuration from a file of examples
    Init(InitArgs),
    /// Check a configuration
    Check(ConfigArgs),
    /// Compare the columns of two files; exits with 3 where they differ
    Compare(CompareArgs),
    /// Send the rows of a file through the service as events and labels
    Replay(ReplayArgs),
    /// Learn a model's reference from a file or from the archive
    Reference(ReferenceArgs),
    /// Ask a running driftline to retrain a model
    Retrain(RetrainArgs),
    /// Look at and change the registry of a running driftline
    Models(ModelsArgs),
    /// Make a token for the API: its line for the file of tokens goes to standard output, the token itself to standard error
    Token(TokenArgs),
    /// Rules for Prometheus and dashboards for Grafana
    Dashboards(DashboardsArgs),
    /// Answer rows with ONNX Runtime, as a child of another driftline
    #[command(hide = true)]
    OnnxEngine(OnnxEngineArgs),
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "driftline.yaml", env = "DRIFTLINE_CONFIG")]
    pub config: PathBuf,
}

/// `driftline onnx-engine`.
#[derive(Debug, Args)]
pub struct OnnxEngineArgs {
    /// A file of the library; the first that can be loaded is taken
    #[arg(long = "library", value_name = "FILE")]
    pub libraries: Vec<PathBuf>,
    /// Bytes of memory that this process may take
    #[arg(long)]
    pub memory: u64,
    /// The job file
    pub job: PathBuf,
}

/// `driftline demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the log and the artifacts go [default: a temporary folder]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Keep the log on this Kafka, in topics of the demo's own [default: in the folder]
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Run to the end and stop, instead of staying up for a look at the metrics
    #[arg(long)]
    pub once: bool,
    /// The seed of the simulation
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Where metrics and API listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464", value_parser = address)]
    pub listen: SocketAddr,
}

/// `driftline run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only these stages, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "STAGES")]
    pub stages: Vec<String>,
}

/// `driftline init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A file of CSV, Parquet or JSON (an object a line, or an array) with examples of the model's inputs, gzipped or not, a
    /// folder of such, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// How the file is read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Where the configuration goes; an existing file is never overwritten
    #[arg(long, value_name = "FILE", default_value = "driftline.yaml")]
    pub output: PathBuf,
    /// The model's name
    #[arg(long, default_value = "model")]
    pub model: String,
    /// Which columns are not inputs.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// Only this column is an input; may be repeated [default: all that look like some]
    #[arg(long = "columns", value_name = "COLUMN")]
    pub only: Vec<String>,
    /// What a column holds, whatever it looks like, as `salary=numeric`: it is an input; may be repeated
    #[arg(long = "kind", value_name = "COLUMN=KIND", value_parser = kind_of_column)]
    pub kinds: Vec<(String, ColumnKind)>,
}

/// How the text of files is meant.
#[derive(Debug, Clone, Default, Args)]
pub struct ReadingArgs {
    /// A text that stands for a missing value in any column; may be repeated. In columns of numbers `NA`, `null`, `?`, `-` and
    /// the like do so anyway
    #[arg(long = "na", value_name = "TEXT")]
    pub missing: Vec<String>,
    /// What separates the fields of CSV, a sign or `tab` [default: recognised among `,`, `;`, tab and `|`]
    #[arg(long, value_name = "SIGN", value_parser = delimiter)]
    pub delimiter: Option<u8>,
}

impl ReadingArgs {
    /// As files are read.
    pub fn reading(&self) -> Reading {
        Reading { delimiter: self.delimiter, missing: self.missing.clone() }
    }
}

/// What the columns of a file are, beside inputs.
#[derive(Debug, Clone, Default, Args)]
pub struct ColumnArgs {
    /// Column of the event's id [default: the file's name and the row's number]
    #[arg(long = "id", visible_alias = "id-column", value_name = "COLUMN")]
    pub id: Option<String>,
    /// Column of the event's time
    #[arg(long = "time", visible_alias = "time-column", value_name = "COLUMN")]
    pub time: Option<String>,
    /// Column of the label
    #[arg(long = "label", visible_alias = "label-column", value_name = "COLUMN")]
    pub label: Option<String>,
    /// Column of the model's prediction
    #[arg(long = "prediction", visible_alias = "prediction-column", value_name = "COLUMN")]
    pub prediction: Option<String>,
    /// Column of the model's score: of the positive class, or CLASS=COLUMN for each class
    #[arg(long = "score", visible_alias = "score-column", value_name = "[CLASS=]COLUMN")]
    pub scores: Vec<String>,
    /// Column of a segment that events carry, as DIMENSION=COLUMN
    #[arg(long = "segment", value_name = "DIMENSION=COLUMN", value_parser = pair)]
    pub segments: Vec<(String, String)>,
}

impl ColumnArgs {
    /// The columns as they are read; rows get `otherwise` as their time where no column has it.
    ///
    /// # Errors
    /// When one of several score columns has no class.
    pub fn file_columns(&self, otherwise: EventTime) -> Result<FileColumns, ScoreColumnsError> {
        Ok(FileColumns {
            id: self.id.clone(),
            time: self.time.clone().map_or(otherwise, EventTime::Column),
            label: self.label.clone(),
            prediction: self.prediction.clone(),
            scores: ScoreColumns::parse(&self.scores)?,
            segments: self.segments.clone(),
        })
    }
}

/// `driftline reference`.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The model whose reference it is
    #[arg(long)]
    pub model: String,
    /// The version it belongs to [default: the model's default reference]
    #[arg(long)]
    pub model_version: Option<String>,
    /// Learn from this file or folder, or `-` for standard input [default: `reference.file` of the configuration]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "until"])]
    pub from_file: Option<PathBuf>,
    /// How the file is read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Learn from the archive, beginning here
    #[arg(long, value_name = "TIME", requires = "until", value_parser = moment)]
    pub from: Option<SystemTime>,
    /// Learn from the archive, up to here
    #[arg(long, value_name = "TIME", requires = "from", value_parser = moment)]
    pub until: Option<SystemTime>,
    /// Which columns of the file are what.
    #[command(flatten)]
    pub columns: ColumnArgs,
}

/// Where a running Driftline is.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    /// The API of the running driftline
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:9464", env = "DRIFTLINE_URL")]
    pub url: String,
    /// A file with the token to show; else the variable DRIFTLINE_TOKEN has it, where the service asks for one
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `driftline token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose token it is: a person's or a program's name, as the audit trail will show it
    pub name: String,
    /// What it allows: read, write_events, operate or promote; may be repeated or separated by commas
    #[arg(long = "role", required = true, value_delimiter = ',', value_name = "ROLE")]
    pub roles: Vec<Role>,
}

/// `driftline retrain`.
#[derive(Debug, Args)]
pub struct RetrainArgs {
    /// The model to retrain
    pub model: String,
    /// Why; it is kept with the request
    #[arg(long)]
    pub reason: String,
    /// Where the service is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `driftline models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Where the service is.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// What about them.
    #[command(subcommand)]
    pub action: ModelsAction,
}

/// What `driftline models` can do.
#[derive(Debug, Subcommand)]
pub enum ModelsAction {
    /// Every model with its champion
    List,
    /// One model: its versions, their lineage and history
    Show {
        /// The model
        model: String,
    },
    /// Write a version's model card: what made it, its trial, its windows
    Card {
        /// The model
        model: String,
        /// The version
        version: String,
        /// Where it goes: one HTML document that loads nothing; an existing file is replaced
        #[arg(long, value_name = "FILE")]
        html: PathBuf,
    },
    /// Make a version the champion; it must pass the gate, or the reason is recorded as an override
    Promote {
        /// The model
        model: String,
        /// The version that becomes champion
        version: String,
        /// The champion it replaces; refused when another has become champion meanwhile
        #[arg(long, value_name = "VERSION")]
        expect: Option<String>,
        /// Promote past the gate, for this reason
        #[arg(long = "override", value_name = "REASON")]
        overriding: Option<String>,
    },
    /// Make the previous champion the champion again
    Rollback {
        /// The model
        model: String,
        /// The champion that is taken back; refused when another has become champion meanwhile
        #[arg(long, value_name = "VERSION")]
        expect: Option<String>,
        /// Why; it is kept in the history, and holds promotions until `release`
        #[arg(long)]
        reason: String,
    },
    /// Promote challengers again after a roll-back
    Release {
        /// The model
        model: String,
        /// The champion now; refused when another has become champion meanwhile
        #[arg(long, value_name = "VERSION")]
        expect: Option<String>,
        /// Why; it is kept in the history
        #[arg(long)]
        reason: String,
    },
}

/// Reads `COLUMN=numeric` or `COLUMN=categorical`.
fn kind_of_column(text: &str) -> Result<(String, ColumnKind), String> {
    match text.rsplit_once('=') {
        Some((column, "numeric")) => Ok((column.to_owned(), ColumnKind::Numeric)),
        Some((column, "categorical")) => Ok((column.to_owned(), ColumnKind::Categorical)),
        _ => Err("write it as COLUMN=numeric or COLUMN=categorical".to_owned()),
    }
}

/// Reads `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as DIMENSION=COLUMN".to_owned()),
    }
}

/// Reads a moment in RFC 3339, UTC where no zone is given.
fn moment(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text).map_err(|reason| format!("{reason}: write it as `2026-01-31T08:00:00Z`"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let advice = "write a number and a unit, as `90s`, `1h` or `7d`";
    humantime::parse_duration(text).map_err(|reason| format!("{reason}: {advice}"))
}

/// One sign, as a byte.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if matches!(text, "tab" | "\\t") => Ok(b'\t'),
        [sign] if !sign.is_ascii_alphanumeric() => Ok(*sign),
        _ => Err("write one sign, as `;`, or `tab`".to_owned()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, as `127.0.0.1:9464`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_documented_line_is_understood() {
        for line in [
            "driftline demo --once --json --seed 3 --dir d --listen 127.0.0.1:0",
            "driftline run --config c.yaml --stages capture,monitor -vv",
            "driftline init --from f.csv.gz --label class --prediction p --time t",
            "driftline check --config c.yaml --json",
            "driftline compare a.csv b.parquet --tests psi,wasserstein --budget 0.01 --exclude id,at --json",
            "driftline compare a.csv b.csv --domain-classifier --min-effect 0.2",
            "driftline compare a.csv b.csv --parity nannyml --columns age",
            "driftline replay f.csv --config c.yaml --model m --label-column class --label-delay-rows 100 --interval 1s --start 2026-01-01T00:00:00Z --speed 60x --no-end-mark",
            "driftline replay f.parquet --model m --time-column at --score a=p_a --score b=p_b --segment ward=ward --label-delay 2h",
            "driftline reference --model m --from-file f.jsonl.gz",
            "driftline reference --model m --from 2026-01-01T00:00:00Z --until 2026-02-01T00:00:00Z",
            "driftline retrain m --reason new-ward --url http://127.0.0.1:1",
            "driftline models --json list",
            "driftline models list --url http://127.0.0.1:1",
            "driftline compare a.csv b.csv --html report.html",
            "driftline models card m v2 --html card.html",
            "driftline models promote m v2 --expect v1",
            "driftline models rollback m --reason slow",
            "driftline models release m --reason mended --token-file t",
            "driftline token ann --role read,operate --role promote",
            "driftline dashboards export d --runbook https://wiki.example/driftline",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "driftline",
            "driftline replay f.csv --model m --label-delay 2h --label-delay-rows 3",
            "driftline replay f.csv --model m --speed fast",
            "driftline compare a.csv b.csv --tests psi,sorcery",
            "driftline compare a.csv b.csv --parity alibi",
            "driftline compare a.csv b.csv --parity evidently --tests psi",
            "driftline compare a.csv b.csv --parity evidently --budget 0.01",
            "driftline compare a.csv b.csv --parity evidently --min-effect 0.2",
            "driftline compare a.csv b.csv --parity evidently --domain-classifier",
            "driftline reference --model m --from 2026-01-01T00:00:00Z",
            "driftline reference --model m --from-file f --from 2026-01-01T00:00:00Z --until 2026-01-02T00:00:00Z",
            "driftline retrain m",
            "driftline token ann",
            "driftline token ann --role root",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
