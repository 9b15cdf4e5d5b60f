//! `driftline bench loop`: what retraining by itself is worth on streams whose labels are known.
//!
//! Each stream is learned from its first rows and gone through once, in several ways with the same trainer: frozen, retrained
//! every so many rows, retrained at the changes where these are known, with the best choice among all of these models in
//! hindsight, and by the service itself in lock-step on an embedded log. Labels come so many rows late for everyone.
//!
//! Nothing here decides anything for the service: it runs as it would in production, with the settings given or none.

mod report;
mod served;
mod strategies;
mod stream;

use super::report::machine;
use crate::cli::{BenchLoopArgs, Exit};
use crate::output::{say, say_all};
use anyhow::{Context, Result, ensure};
use report::{Report, StreamReport};
use std::time::Instant;
use strategies::Strategies;
use stream::{Stream, find_streams};

/// Goes through the streams, prints a line for each as it is done, and writes the report.
///
/// # Errors
/// When a stream cannot be read, or a training or the service fails.
pub fn bench_loop(args: &BenchLoopArgs, json: bool) -> Result<Exit> {
    let files = find_streams(&args.streams)?;
    ensure!(!files.is_empty(), "no .csv, .csv.gz or .parquet below {:?}", args.streams);
    let mut report = Report::new(machine(), args);
    if !json {
        say_all(format_args!("{}", report.head()))?;
    }
    for file in files {
        let streams = Stream::read(&file, args).with_context(|| format!("reading {}", file.display()))?;
        for stream in streams {
            let measured = measure(&stream, args).with_context(|| format!("going through {}", stream.name))?;
            if !json {
                say_all(format_args!("{}", measured.line(&args.every)))?;
            }
            report.streams.push(measured);
        }
    }
    if json {
        say(format_args!("{}", serde_json::to_string(&report)?))?;
    } else {
        say_all(format_args!("{}", report.foot()))?;
    }
    if let Some(folder) = &args.output {
        report.write(folder)?;
    }
    Ok(Exit::Done)
}

fn measure(stream: &Stream, args: &BenchLoopArgs) -> Result<StreamReport> {
    let began = Instant::now();
    let ours = served::go_through(stream, args)?;
    let served_s = began.elapsed().as_secs_f64();
    let others = Strategies::run(stream, args)?;
    Ok(StreamReport::new(stream, args, ours, others, served_s))
}
