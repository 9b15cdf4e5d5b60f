//! What each command does, and how the process ends.

mod check;
mod compare;
mod dashboards;
pub(crate) mod init;
mod models;
mod onnx_engine;
pub(crate) mod reference;
pub(crate) mod remote;
mod replay;

mod run;
mod token;

use crate::bench;
use crate::cli::{BenchSubject, Command, CommandLine, Exit, InitArgs};
use crate::commands::init::{InitError, KnownColumns};
use crate::commands::remote::Unreachable;
use crate::compare::CompareError;
use crate::config::{ConfigError, WaitsTooLong};
use crate::demo;
use crate::files::{Files, ScoreColumnsError, SourceError};
use crate::one_line;
use crate::output::{note, say};
use crate::service::model::UnknownModel;
use crate::service::{StageFailedForGood, UnknownStage};
use ::dashboards::api::{OpenToAll, TlsError, TokenError};
use anyhow::{Context, Result};
use clap::Parser;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use streams::error_chain;
use streams::log::LogError;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// Reads the command line, does what it says, and tells how it went by the exit code.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    start_logging(line.global.verbose, &line.command);
    match execute(line) {
        Ok(exit) => exit.into(),
        Err(error) => {
            tracing::debug!("{error:?}");
            note(format_args!("driftline: {}", error_chain::sentence(error.as_ref())));
            exit_of(&error).into()
        }
    }
}

/// A command line that cannot be, found only when it was carried out.
#[derive(Debug, Error)]
#[error("{0}")]
struct WrongUsage(String);

fn execute(line: CommandLine) -> Result<Exit> {
    let json = line.global.json;
    match line.command {
        Command::Bench(args) => match args.subject {
            BenchSubject::Kafka(args) => bench::kafka(&args, json),
            BenchSubject::Steady(args) => bench::steady(&args, json),
            BenchSubject::Replay(args) => bench::replay(&args, json),
            BenchSubject::Loop(args) => bench::bench_loop(&args, json),
        },
        Command::Demo(args) => demo::run(&args, json),
        Command::Run(args) => run::run(&args),
        Command::Init(args) => write_configuration(&args),
        Command::Check(args) => check::check(&args, json),
        Command::Compare(args) => compare::compare(args, json),
        Command::Replay(args) => replay::replay(&args, json),
        Command::Reference(args) => reference::reference(&args, json),
        Command::Retrain(args) => models::retrain(&args, json),
        Command::Models(args) => models::models(&args, json),
        Command::Token(args) => token::token(&args, json),
        Command::Dashboards(args) => dashboards::dashboards(&args, json),
        Command::OnnxEngine(args) => onnx_engine::onnx_engine(args),
    }
}

/// Logs go to standard error; `RUST_LOG` has the last word.
fn start_logging(verbose: u8, command: &Command) {
    let level = match (verbose, command) {
        (0, Command::Demo(_)) => "error",
        // What becomes of bad rows stands in its balance, in terms of the file.
        (0, Command::Replay(_)) => "warn,driftline=info,capture::stage=error,dashboards::telemetry=error",
        (0, _) => "warn,driftline=info",
        (1, _) => "info,driftline=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let is_terminal = std::io::stderr().is_terminal();
    // A standard error that is closed is no reason to panic.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(one_line::stderr);
    subscriber.with_ansi(is_terminal).log_internal_errors(false).init();
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<StageFailedForGood>() {
        return Exit::StageFailed;
    }
    for cause in error.chain() {
        if is_usage(cause) {
            return Exit::Usage;
        }
        if cause.is::<Unreachable>() {
            return Exit::Unreachable;
        }
        if cause.downcast_ref().is_some_and(is_unusable) {
            return Exit::LogUnusable;
        }
    }
    Exit::Failed
}

fn is_unusable(error: &LogError) -> bool {
    use LogError::{InUse, Refused, Unreachable, Unusable};
    matches!(error, InUse { .. } | Unusable { .. } | Refused { .. } | Unreachable { .. })
}

fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<ConfigError>()
        || cause.is::<WaitsTooLong>()
        || cause.is::<InitError>()
        || cause.is::<CompareError>()
        || cause.is::<SourceError>()
        || cause.is::<ScoreColumnsError>()
        || cause.is::<UnknownModel>()
        || cause.is::<UnknownStage>()
        || cause.is::<OpenToAll>()
        || cause.is::<TokenError>()
        || cause.is::<TlsError>()
        || cause.is::<WrongUsage>()
}

fn write_configuration(args: &InitArgs) -> Result<Exit> {
    let columns = &args.columns;
    let scores = columns.scores.iter().map(|score| score.split_once('=').map_or(score.as_str(), |(_, column)| column));
    let segments = columns.segments.iter().map(|(_, column)| column.as_str());
    let known = KnownColumns {
        id: columns.id.clone(),
        time: columns.time.clone(),
        label: columns.label.clone(),
        prediction: columns.prediction.clone(),
        others: scores.chain(segments).map(str::to_owned).collect(),
        only: args.only.clone(),
        kinds: args.kinds.clone(),
    };
    let files = Files::new(std::slice::from_ref(&args.from), args.reading.reading())?;
    let text = init::configuration(&files, &args.model, &known)?;
    let shown = args.output.display();
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&args.output).with_context(|| {
            format!("{shown} cannot be written; an existing file is never overwritten, see --output")
        })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {shown}"))?;
    say(format_args!("wrote {shown}: read it through, then `driftline check --config {shown}`"))?;
    Ok(Exit::Done)
}
