//! What `driftline compare` can be asked.

use super::{ReadingArgs, kind_of_column};
use crate::compare::parity::ParityTool;
use clap::Args;
use detectors::panel::PanelPolicy;
use detectors::schema::ColumnKind;
use detectors::statistics::Statistic;
use std::path::PathBuf;

/// `driftline compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A file of CSV, Parquet or JSON (an object a line, or an array), gzipped or not, a folder of such, or `-` for standard
    /// input, that shows what is normal
    pub reference: PathBuf,
    /// What is held against it
    pub current: PathBuf,
    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Only these columns, separated by commas, or the option repeated; a name with a comma alone or in quotes
    /// [default: all but identifiers, times and empty ones]
    #[arg(long, value_name = "COLUMNS")]
    pub columns: Vec<String>,
    /// Not these columns
    #[arg(long, value_name = "COLUMNS")]
    pub exclude: Vec<String>,
    /// These columns are numeric, whatever they look like
    #[arg(long, value_name = "COLUMNS")]
    pub numeric: Vec<String>,
    /// These columns are categorical, whatever they look like
    #[arg(long, value_name = "COLUMNS", conflicts_with = "numeric")]
    pub categorical: Vec<String>,
    /// What a column holds, whatever it looks like, as `salary=numeric`; may be repeated
    #[arg(long = "kind", value_name = "COLUMN=KIND", value_parser = kind_of_column)]
    pub kinds: Vec<(String, ColumnKind)>,
    /// Column of the model's prediction
    #[arg(long, value_name = "COLUMN")]
    pub prediction: Option<String>,
    /// Columns of the model's scores
    #[arg(long = "score", value_name = "COLUMNS")]
    pub scores: Vec<String>,
    /// Only these tests, as `psi,ks`; each is used for the columns that it is defined for
    #[arg(long, value_delimiter = ',', value_name = "TESTS", value_parser = statistic)]
    pub tests: Vec<Statistic>,
    /// The share of comparisons without drift that may find some, all columns and tests together
    #[arg(long, value_name = "SHARE", default_value_t = 0.005, value_parser = share)]
    pub budget: f64,
    /// The score below which a change does not matter, however certain [default: each test's own, mostly 0.1]
    #[arg(long, value_name = "SCORE")]
    pub min_effect: Option<f64>,
    /// Also train a classifier to tell rows of the files apart, on up to 20,000 of each; it counts as drift where its
    /// p-value is below one half of the budget (the tests then have the other) and its AUC is .55 or more (.5 and one half
    /// of --min-effect)
    #[arg(long)]
    pub domain_classifier: bool,
    /// Instead show what another tool finds with its defaults, its thresholds and its word on the whole; holds one column
    /// in memory, of 10,000,000 rows at most (then up to 1.1 GB)
    #[arg(long, value_name = "evidently|nannyml", value_parser = parity_tool,
          conflicts_with_all = ["tests", "budget", "min_effect", "domain_classifier"])]
    pub parity: Option<ParityTool>,
    /// Also write a report to this file: one HTML document with charts, that loads nothing and can be sent; an existing file is
    /// replaced
    #[arg(long, value_name = "FILE", conflicts_with = "parity")]
    pub html: Option<PathBuf>,
}

/// A statistic by its name.
fn statistic(name: &str) -> Result<Statistic, String> {
    let known = || Statistic::ALL.map(Statistic::name).join(", ");
    Statistic::ALL.into_iter().find(|statistic| statistic.name() == name).ok_or_else(|| format!("one of {}", known()))
}

fn parity_tool(name: &str) -> Result<ParityTool, String> {
    let known = || ParityTool::ALL.map(ParityTool::name).join(", ");
    ParityTool::ALL.into_iter().find(|tool| tool.name() == name).ok_or_else(|| format!("one of {}", known()))
}

fn share(text: &str) -> Result<f64, String> {
    let least = PanelPolicy::LEAST_RATE;
    let share = text.parse().ok().filter(|share| (least..=0.5).contains(share));
    share.ok_or_else(|| format!("a share between {least} and 0.5"))
}
