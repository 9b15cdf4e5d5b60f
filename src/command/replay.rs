//! `driftline replay`: the rows of a file through the service, in this process or in one that runs.

use super::WrongUsage;
use crate::cli::{Exit, ReplayArgs};
use crate::config::Config;
use crate::narrator::Narrator;
use crate::remote::Remote;
use crate::replay::{Ending, PATIENCE, Replay, ReplaySpec};
use crate::service::{Grounds, Pace, Service, ServiceOptions};
use crate::setup::{self, ModelSetup};
use crate::source::{self, EncoderSpec, EventEncoder, EventTime, LabelDelay, RowBatch, Rows};
use crate::story::{Story, Sums};
use crate::table::file_name;
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ingest::log::LogError;
use ingest::store::digest;
use std::sync::Arc;
use std::time::Duration;

const NOT_ANSWERED: &str =
    "the rows have no --prediction: a running service does not answer them; stop it, and replay in lock-step";

pub(super) fn replay(args: &ReplayArgs, json: bool) -> Result<Exit> {
    let config = Config::load(&args.config.config)?;
    let setup = Arc::clone(setup::find(&ModelSetup::of(&config)?, &args.model, &config)?);
    let encoder = encoder(args, &setup, config.partitions.get())?;
    // What is wrong with the file or the references is found before anything is written.
    let rows = source::open(&args.file)?;
    super::reference::check_files(&config)?;
    let grounds = match Grounds::open(&config) {
        Ok(grounds) => Arc::new(grounds),
        Err(error) if is_in_use(&error) => return send(args, (encoder, rows), &config, json),
        Err(error) => return Err(error),
    };
    super::reference::first_references(&grounds)?;
    let spec = spec(args, encoder);
    let mut story = Story::new(&grounds.log)?;
    let options = ServiceOptions { pace: Pace::LockStep, listen: None, stages: Vec::new() };
    let service = Service::start(Arc::clone(&grounds), &options)?;
    let bar = bar(json);
    let mut narrator = Narrator::default();
    let replayed = through((&service, &setup), spec, rows, &mut |rows| tell((&mut story, &mut narrator), rows, &bar));
    bar.finish_and_clear();
    service.shutdown()?;
    let rows = replayed?;
    report(rows, story.sums(), json)?;
    if args.columns.label.is_some() && story.sums().labelled == 0 {
        eprintln!(
            "driftline: no window of {} was judged by its labels: they came later than labels.mature allows, or fewer than \
             panel.quality.min_labelled came",
            args.model
        );
    }
    Ok(Exit::Done)
}

fn through(
    (service, setup): (&Service, &Arc<ModelSetup>),
    spec: ReplaySpec,
    rows: Rows,
    after_chunk: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut replay = Replay::new(service, setup, spec)?;
    if replay.place().finished {
        // A process that was killed after its last row may have left the stages work.
        service.wait_until_quiet(PATIENCE)?;
        bail!(
            "{} has been replayed whole: its rows are in the log; choose another log.directory to do it again",
            rows.file().display()
        );
    }
    let place = replay.run(rows, |place| after_chunk(place.rows).map(|()| true))?;
    Ok(place.rows)
}

fn spec(args: &ReplayArgs, encoder: EncoderSpec) -> ReplaySpec {
    let inputs = format!("{:?} {:?}", encoder, args.no_end_mark);
    let name = format!("{}-{}", file_name(&args.file), digest(inputs.as_bytes()).get(..12).unwrap_or_default());
    let ending = if args.no_end_mark { Ending::Open } else { Ending::Mark };
    ReplaySpec { name, encoder, speed: args.speed, ending }
}

fn encoder(args: &ReplayArgs, setup: &ModelSetup, partitions: u32) -> Result<EncoderSpec> {
    let columns = args.file_columns()?;
    let schema = setup.watched.schema.clone();
    let delay = &args.labels;
    let label_delay = match (delay.label_delay_rows, delay.label_delay, &delay.label_time) {
        (_, Some(delay), _) => LabelDelay::Time(delay),
        (_, _, Some(column)) => LabelDelay::Column(column.clone()),
        (rows, None, None) => LabelDelay::Rows(rows.unwrap_or(0)),
    };
    let scores = columns.scores.in_order(&schema.task)?;
    let version = args.model_version.clone().unwrap_or_else(|| "default".to_owned());
    Ok(EncoderSpec {
        file: args.file.clone(),
        model: setup.name().to_owned(),
        version,
        schema,
        renamed: setup.renamed.clone(),
        id: columns.id,
        time: columns.time,
        label: columns.label,
        label_delay,
        prediction: columns.prediction,
        scores,
        segments: columns.segments,
        partitions,
    })
}

/// To a service that runs: the events through its API. Its own clock ends windows, so there is no lock-step.
fn send(args: &ReplayArgs, (spec, batches): (EncoderSpec, Rows), config: &Config, json: bool) -> Result<Exit> {
    if !args.no_end_mark {
        eprintln!(
            "driftline: the log is open in a running service; rows go through its API, and the last windows close when later events have come"
        );
    }
    if spec.prediction.is_none() {
        return Err(WrongUsage(NOT_ANSWERED.to_owned()).into());
    }
    debug_assert!(matches!(spec.time, EventTime::Column(_) | EventTime::Synthetic { .. }));
    let remote = Remote::new(&format!("http://{}", config.api.listen));
    let mut encoder = EventEncoder::new(spec);
    let bar = bar(json);
    let mut rows = 0;
    for batch in batches {
        let batch: RowBatch = batch?;
        rows = batch.first_row + batch.batch.num_rows() as u64;
        post(&remote, encoder.encode(&batch, None)?)?;
        bar.set_position(rows);
    }
    post(&remote, encoder.finish())?;
    bar.finish_and_clear();
    if json {
        println!("{}", serde_json::json!({"rows": rows, "sent_to": config.api.listen}));
    } else {
        println!("sent {rows} rows to http://{}", config.api.listen);
    }
    Ok(Exit::Done)
}

fn post(remote: &Remote, encoded: source::Encoded) -> Result<()> {
    for record in encoded.events {
        remote.post_messagepack("/v1/events", &record.value)?;
    }
    for record in encoded.labels {
        remote.post_messagepack("/v1/labels", &record.value)?;
    }
    Ok(())
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(LogError::InUse { .. })))
}

fn bar(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} rows ({per_sec}) {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Prints what is worth telling above the progress bar.
fn tell((story, narrator): (&mut Story, &mut Narrator), rows: u64, bar: &ProgressBar) -> Result<()> {
    for happening in story.read()? {
        if let Some(sentence) = narrator.sentence(&happening) {
            bar.suspend(|| eprintln!("  {sentence}"));
        }
    }
    bar.set_position(rows);
    bar.set_message(story.sums().champion.clone().map(|champion| format!("champion {champion}")).unwrap_or_default());
    Ok(())
}

fn report(rows: u64, sums: &Sums, json: bool) -> Result<()> {
    if json {
        let mut report = serde_json::to_value(sums)?;
        if let Some(fields) = report.as_object_mut() {
            fields.insert("rows".to_owned(), rows.into());
        }
        println!("{report}");
        return Ok(());
    }
    println!(
        "{rows} rows: {} windows, {} with drift; {} changes, {} retrain requests, {} promotions, {} rejections",
        sums.windows, sums.drift_windows, sums.changes, sums.retrain_requests, sums.promotions, sums.rejections
    );
    if let Some(accuracy) = sums.accuracy {
        println!("accuracy {accuracy:.4} over {} labelled rows", sums.labelled);
    }
    if let Some(mae) = sums.mae {
        println!("mean absolute error {mae:.6} over {} labelled rows", sums.labelled);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
