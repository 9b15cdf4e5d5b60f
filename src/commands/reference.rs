//! `driftline reference`: a model's reference from a file or from the archive, and its first version.

use super::WrongUsage;
use crate::cli::{Exit, ReferenceArgs};
use crate::config::{Config, ModelConfig};
use crate::files::table::{TableSpec, file_name};
use crate::files::{self, EventTime, FileColumns, Files, MappedColumns};
use crate::output::{note, say};
use crate::service::ServiceContext;
use crate::service::bootstrap::{Bootstrap, FirstVersion};
use crate::service::model::{self, ModelSetup, decoder};
use crate::service::trainer_deps::random_name;
use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use capture::history::History;
use capture::learn::learn_reference;
use codec::decode::Policy;
use detectors::reference::Origin;
use detectors::verdict::{Cut, Position};
use retrain::command::{Action, Command};
use retrain::lifecycle::ArtifactId;
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use streams::store::{Artifacts, digest};
use streams::topics;

/// The version of a model that is served elsewhere and was not given a name.
const DEFAULT_VERSION: &str = "default";

const NOTHING_TO_LEARN_FROM: &str =
    "no rows to learn from: give --from-file, or --from and --until, or configure `reference`";

/// How much work on first versions may be lost with the process. To register them one by one takes longer than to make them
/// where there are many.
const REGISTER_EVERY: Duration = Duration::from_secs(10);

/// What a reference is learned from.
enum Given {
    /// The rows of a file.
    File(RecordBatch, Origin),
    /// The rows of the archive, and of the log, in a span of event time in milliseconds.
    Archive(Range<i64>),
}

pub(super) fn reference(args: &ReferenceArgs, json: bool) -> Result<Exit> {
    let config = Config::load(&args.config.config)?;
    let setup = Arc::clone(model::find(&ModelSetup::of(&config)?, &args.model, &config)?);
    // A file is read before the log is opened: where it cannot be, nothing has been written.
    let given = match (args.from, args.until) {
        (Some(from), Some(until)) => {
            check_stored(&config, &setup)?;
            Given::Archive(millis(from)..millis(until))
        }
        _ => rows_of_file(args, &config, &setup)?,
    };
    let context = ServiceContext::open(&config)?;
    let (rows, origin) = match given {
        Given::File(rows, origin) => (rows, origin),
        Given::Archive(span_ms) => {
            let origin = Origin::Archive { from_ms: span_ms.start, until_ms: span_ms.end };
            (archived(&context, &setup, span_ms)?, origin)
        }
    };
    let told = learn(&context, &setup, args.model_version.as_deref(), (&rows, origin))?;
    if json {
        say(format_args!("{}", json!({"model": setup.name(), "rows": rows.num_rows(), "did": told})))?;
    } else {
        say(format_args!("{}: {told} ({} rows)", setup.name(), rows.num_rows()))?;
    }
    Ok(Exit::Done)
}

/// Before the first start, and before anything is written: whether the references that it learns from can be read.
pub(super) fn check_files(config: &Config) -> Result<()> {
    if config.log.directory.exists() {
        return Ok(());
    }
    for model in config.models.values() {
        let Some(reference) = &model.reference else { continue };
        files::open(&reference.file).with_context(|| format!("models.{}.reference", model.name))?;
    }
    Ok(())
}

/// Learns the references that the configuration names and that are not there yet.
pub(crate) fn first_references(context: &ServiceContext) -> Result<()> {
    if context.config().models.values().all(|model| model.reference.is_none()) {
        return Ok(());
    }
    let (mut set_up, mut made, mut registered) = (bootstrap(context)?, Vec::new(), Instant::now());
    for model in context.config().models.values() {
        let Some(reference) = &model.reference else { continue };
        let setup = context.model(model.name.as_str())?;
        if set_up.is_done(setup.name()) {
            continue;
        }
        let spec = TableSpec { file: reference.file.clone(), columns: reference.columns.clone() };
        let rows = spec.read(setup).with_context(|| format!("models.{}.reference", setup.name()))?;
        let (first, told) =
            learn_first(&set_up, setup, None, (&rows, file_origin(&Files::from(reference.file.as_path()))?))?;
        tracing::info!(model = setup.name(), rows = rows.num_rows(), "{told}");
        made.push(first);
        if registered.elapsed() > REGISTER_EVERY {
            set_up.register(std::mem::take(&mut made))?;
            registered = Instant::now();
        }
    }
    set_up.register(made)
}

/// Learns what is missing: the first version with its reference, or a reference for a version that is there.
fn learn(
    context: &ServiceContext,
    setup: &Arc<ModelSetup>,
    version: Option<&str>,
    (rows, origin): (&RecordBatch, Origin),
) -> Result<String> {
    let mut set_up = bootstrap(context)?;
    let Some(champion) = set_up.champion(setup.name()) else {
        let (first, told) = learn_first(&set_up, setup, version, (rows, origin))?;
        set_up.register(vec![first])?;
        return Ok(told);
    };
    let Some(version) = version else {
        bail!("{} has a champion: name the version whose reference this is with --model-version", setup.name());
    };
    let reference = learn_reference(&setup.watched, version, rows, origin)?;
    let artifact = ArtifactId(context.store.put(reference.to_bytes()?.into())?);
    let action = Action::SetReference { version: version.to_owned(), reference: reference.id().to_owned(), artifact };
    let command = Command {
        id: random_name(),
        model: setup.name().to_owned(),
        time_ms: crate::service::commands::now_ms(),
        expected_champion: Some(champion.to_owned()),
        action,
    };
    context.log.append(&[command.to_record()?])?;
    Ok(format!("learned a reference for version {version}; the service takes it up when it runs"))
}

/// Makes the first version of a model, and learns its reference.
fn learn_first(
    set_up: &Bootstrap<'_>,
    setup: &Arc<ModelSetup>,
    version: Option<&str>,
    (rows, origin): (&RecordBatch, Origin),
) -> Result<(FirstVersion, String)> {
    if version.is_none() && setup.trainer.is_some() && setup.serving == crate::config::Serving::Champion {
        let told = "trained the first version and learned its reference".to_owned();
        return Ok((set_up.train(setup, rows)?, told));
    }
    let version = version.unwrap_or(DEFAULT_VERSION);
    let first = set_up.observe(setup, version, (rows, origin))?;
    Ok((first, format!("learned the reference of version {version}")))
}

fn rows_of_file(args: &ReferenceArgs, config: &Config, setup: &Arc<ModelSetup>) -> Result<Given> {
    let model = configured(config, setup);
    let configured = model.and_then(|model| model.reference.as_ref());
    let (file, columns) = match (&args.from_file, configured) {
        (Some(file), configured) => {
            let given = args.columns.file_columns(EventTime::default())?;
            let columns = if given == FileColumns::default() { configured.map(|c| c.columns.clone()) } else { None };
            (file.clone(), columns.unwrap_or(given))
        }
        (None, Some(reference)) => (reference.file.clone(), reference.columns.clone()),
        (None, None) => return Err(WrongUsage(NOTHING_TO_LEARN_FROM.to_owned()).into()),
    };
    let files = Files::new(std::slice::from_ref(&file), args.reading.reading())?;
    let opened = files.open()?;
    let mapped = model.map(|model| MappedColumns::of(model, opened.schema())).unwrap_or_default();
    let told = opened.notes().iter().chain(&mapped.told);
    told.for_each(|told| note(format_args!("driftline: {}: {told}", opened.file().display())));
    let setup = &ModelSetup { renamed: mapped.renamed, ..ModelSetup::clone(setup) };
    let rows = TableSpec { file: files.name(), columns: columns.or(&mapped.columns) }.rows(setup, opened)?;
    Ok(Given::File(rows, file_origin(&files)?))
}

fn configured<'a>(config: &'a Config, setup: &ModelSetup) -> Option<&'a ModelConfig> {
    config.models.values().find(|model| model.name.as_str() == setup.name())
}

/// Refuses to learn from rows that lack values because of their privacy.
fn check_stored(config: &Config, setup: &ModelSetup) -> Result<()> {
    let privacy = configured(config, setup).map(|model| &model.privacy);
    let unstored = privacy.into_iter().flatten().find(|(_, policy)| **policy == Policy::ProfileOnly);
    if let Some((feature, _)) = unstored {
        bail!("no values of `{feature}` are stored (privacy: profile_only): learn the reference with --from-file");
    }
    Ok(())
}

/// Every row of the log and the archive with event time in the span.
pub(super) fn archived(context: &ServiceContext, setup: &Arc<ModelSetup>, span_ms: Range<i64>) -> Result<RecordBatch> {
    let mut positions = Vec::new();
    for topic in [topics::INFERENCES, topics::LABELS] {
        for partition in 0..context.partitions {
            let offset = context.log.bounds(topic, partition)?.end;
            positions.push(Position { topic: topic.to_owned(), partition, offset });
        }
    }
    let models = vec![Arc::clone(&setup.watched)];
    let decoder = decoder(std::slice::from_ref(setup), &context.schemas);
    let mut history = History::new(Arc::clone(&context.log), Arc::clone(&context.store), models, decoder);
    Ok(history.rows(setup.name(), &Cut { at_ms: span_ms.end, positions }, span_ms)?)
}

fn file_origin(files: &Files) -> Result<Origin> {
    let mut digests = Vec::new();
    for file in files.paths()? {
        let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        digests.push(digest(&bytes));
    }
    // That of one file is its own.
    let whole = if let [only] = digests.as_slice() { only.clone() } else { digest(digests.concat().as_bytes()) };
    Ok(Origin::File { name: file_name(&files.name()), digest: whole })
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What first versions are made with, in this context.
fn bootstrap(context: &ServiceContext) -> Result<Bootstrap<'_>> {
    Bootstrap::read(&context.log, (&context.store, context.work_folder.path()))
}
