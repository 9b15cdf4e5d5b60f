//! `driftline replay`: the rows of files through the service, in this process or in one that runs.

mod input;
mod report;
mod send;

use crate::cli::{Exit, ReplayArgs};
use crate::config::Config;
use crate::output::note;
use crate::replay::balance::{self, Balance};
use crate::replay::event_feed::{EventFeed, Sums};
use crate::replay::reporter::Reporter;
use crate::replay::{Ending, PATIENCE, Replay, ReplayProgress, ReplaySpec};
use crate::service::model::{self, ModelSetup};
use crate::service::{Pace, Service, ServiceContext, ServiceOptions};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use input::{Input, Rows};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use streams::log::LogError;
use streams::store::digest;

pub(super) fn replay(args: &ReplayArgs, json: bool) -> Result<Exit> {
    let config = Config::load(&args.config.config)?;
    let setup = Arc::clone(model::find(&ModelSetup::of(&config)?, &args.model, &config)?);
    // What is wrong with the files or the references is found before anything is written.
    let input = Input::read(args, &setup, &config)?;
    super::reference::check_files(&config)?;
    let context = match ServiceContext::open(&config) {
        Ok(context) => Arc::new(context),
        Err(error) if is_in_use(&error) => return send::send(&input, &config, json),
        Err(error) => return Err(error),
    };
    let (balance, sums) = in_lock_step(&input, &context, (&setup, json))?;
    report::report(&balance, &sums, json)?;
    if args.columns.label.is_some() && !args.no_end_mark {
        tell_of_labels(&setup, &sums);
    }
    Ok(exit_of(&balance))
}

/// Has the stages of this process take the rows, each chunk before the next.
fn in_lock_step(
    input: &Input<'_>,
    context: &Arc<ServiceContext>,
    (setup, json): (&Arc<ModelSetup>, bool),
) -> Result<(Balance, Sums)> {
    super::reference::first_references(context)?;
    let spec = spec(input.args, input);
    if ReplayProgress::of(context.log.as_ref(), &spec.name)?.is_none() {
        input.refuse_if_late(balance::watermark_ms(&context.log)?)?;
    }
    let mut event_feed = EventFeed::new(&context.log)?;
    let options = ServiceOptions { pace: Pace::LockStep, listen: None, stages: Vec::new() };
    let service = Service::start(Arc::clone(context), &options)?;
    let bar = bar(json);
    let mut reporter = Reporter::default();
    let replayed =
        through(&service, setup, (spec, input), &mut |rows| tell((&mut event_feed, &mut reporter), rows, &bar));
    bar.finish_and_clear();
    service.shutdown()?;
    Ok((replayed?, event_feed.sums().clone()))
}

/// What a balance makes of the process' end.
fn exit_of(balance: &Balance) -> Exit {
    if balance.is_whole() { Exit::Done } else { Exit::NotCounted }
}

/// Says which labels are in no figure of quality, and why.
fn tell_of_labels(setup: &ModelSetup, sums: &Sums) {
    let (name, classes) = (setup.name(), setup.watched.schema.task.classes().join("`, `"));
    let of_no_class = format!(
        "are none of the classes of {name}, `{classes}`: see driftline_unknown_labels_total and driftline_unknown_predictions_total, and the log for the first"
    );
    let unusable = [
        (sums.invalid_labels, "labels", of_no_class.as_str()),
        (sums.invalid_predictions, "predictions", of_no_class.as_str()),
        (sums.missing_predictions, "labelled rows", "have no prediction, and none follows from their scores"),
    ];
    for (rows, what, why) in unusable.into_iter().filter(|(rows, ..)| *rows > 0) {
        note(format_args!("driftline: {rows} {what} {why}"));
    }
    if sums.labelled == 0 && unusable.iter().all(|(rows, ..)| *rows == 0) {
        note(format_args!(
            "driftline: no window of {name} was judged by its labels: they came later than labels.mature allows, or fewer than \
             panel.quality.min_labelled came"
        ));
    }
}

fn through(
    service: &Service,
    setup: &Arc<ModelSetup>,
    (spec, input): (ReplaySpec, &Input<'_>),
    after_chunk: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Balance> {
    let mut replay = Replay::new(service, setup, spec)?;
    if replay.place().finished {
        // A process that was killed after its last row may have left the stages work.
        service.wait_until_quiet(PATIENCE)?;
        bail!(
            "{} has been replayed whole ({}): its rows are in the log; choose another log.directory to do it again, or rename the \
             file if it holds other rows now",
            input.files.name().display(),
            replay.balance()?
        );
    }
    let mut go_on = |place: ReplayProgress| after_chunk(place.rows + place.labels).map(|()| true);
    match input.rows(service.context(), setup)? {
        Rows::Whole(rows) => replay.run(rows, |place, _| go_on(place))?,
        Rows::Labels(labels) => replay.run_labels(&labels, go_on)?,
    };
    replay.balance()
}

fn spec(args: &ReplayArgs, input: &Input<'_>) -> ReplaySpec {
    let encoder = input.encoder.clone();
    let inputs = format!("{:?} {:?}", encoder, args.no_end_mark);
    let name = crate::files::table::file_name(&encoder.file);
    let name = format!("{name}-{}", digest(inputs.as_bytes()).get(..12).unwrap_or_default());
    let ending = if args.no_end_mark { Ending::Open } else { Ending::Mark };
    ReplaySpec { name, encoder, speed: args.speed, ending }
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
fn tell((event_feed, reporter): (&mut EventFeed, &mut Reporter), rows: u64, bar: &ProgressBar) -> Result<()> {
    for happening in event_feed.read()? {
        if let Some(sentence) = reporter.sentence(&happening) {
            bar.suspend(|| note(format_args!("  {sentence}")));
        }
    }
    bar.set_position(rows);
    bar.set_message(
        event_feed.sums().champion.clone().map(|champion| format!("champion {champion}")).unwrap_or_default(),
    );
    Ok(())
}

/// A name that tells this file from all others of the machine.
fn identity(file: &Path) -> String {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let digest = digest(whole.as_os_str().as_encoded_bytes());
    format!("{}-{}", crate::files::table::file_name(file), digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests;
