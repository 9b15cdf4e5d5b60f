//! The service itself on a stream, in lock-step.

use super::stream::{Stream, TARGET};
use crate::cli::{BenchLoopArgs, Speed};
use crate::config::Config;
use crate::files::table::TableSpec;
use crate::files::{EncoderSpec, EventId, EventTime, FileColumns, LabelDelay};
use crate::replay::event_feed::{EventFeed, FeedEvent};
use crate::replay::reporter::Reporter;
use crate::replay::{Ending, Replay, ReplaySpec};
use crate::service::bootstrap::Bootstrap;
use crate::service::model::ModelSetup;
use crate::service::{Pace, Service, ServiceContext, ServiceOptions};
use anyhow::{Context, Result, ensure};
use detectors::schema::{ColumnKind, PREDICTION, Task};
use retrain::lifecycle::{LifecycleEvent, PermitRecord};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Event time between two rows: long against no default of the settings, short against all of them together.
const INTERVAL: Duration = Duration::from_secs(60);
const MODEL: &str = "stream";
/// Rows by which labels may still be late.
const SLACK_ROWS: usize = 20;

/// What became of a stream.
#[derive(Debug, Default, Serialize)]
pub(super) struct Served {
    pub(super) loss: f64,
    pub(super) trainings: u64,
    pub(super) episodes: u64,
    /// Rows at which a challenger became champion.
    pub(super) promotions: Vec<usize>,
    /// Mean loss of each thousand rows.
    pub(super) losses: Vec<f64>,
}

/// Goes through a stream with a service of its own, in a directory that goes with it.
pub(super) fn go_through(stream: &Stream, args: &BenchLoopArgs) -> Result<Served> {
    let place = tempfile::tempdir()?;
    let config = config(stream, args, place.path())?;
    let context = Arc::new(ServiceContext::open(&config)?);
    let setup = Arc::clone(context.model(MODEL)?);
    let columns = FileColumns { label: Some(TARGET.to_owned()), time: time(), ..FileColumns::default() };
    let table = TableSpec { file: PathBuf::from(&stream.name), columns };
    let first = table.rows(&setup, stream.batches(0, args.first).map(Ok))?;
    let mut set_up = Bootstrap::read(&context.log, (&context.store, place.path()))?;
    let version = set_up.train(&setup, &first)?;
    set_up.register(vec![version])?;

    let mut event_feed = EventFeed::new(&context.log)?;
    let options = ServiceOptions { pace: Pace::LockStep, listen: None, stages: Vec::new() };
    let service = Service::start(Arc::clone(&context), &options)?;
    let (mut served, mut reporter) = (Served::default(), Reporter::default());
    let went = replay(&service, &setup, (stream, args), |from, answers| {
        served.losses.extend(stream.losses(from, answers));
        for happening in event_feed.read()? {
            if let Some(sentence) = reporter.sentence(&happening) {
                tracing::info!(stream = stream.name, row = from, "{sentence}");
            }
            served.note(&happening, args.first);
        }
        Ok(())
    });
    service.shutdown()?;
    went?;
    served.finish();
    (served.trainings, served.episodes) = (event_feed.sums().trainings, event_feed.sums().retrain_requests);
    ensure!(served.losses.len() * 1_000 + 1_000 > stream.len() - args.first, "the replay ended early");
    Ok(served)
}

impl Served {
    fn note(&mut self, happening: &FeedEvent, first: usize) {
        let FeedEvent::Model(event) = happening else { return };
        if let LifecycleEvent::Promoted { permit: PermitRecord::Trial { .. }, .. } = &event.event {
            // It answers from the next row on.
            self.promotions.push(first + self.losses.len());
        }
    }

    /// The losses of rows become one figure, and one for each thousand.
    fn finish(&mut self) {
        let losses = std::mem::take(&mut self.losses);
        self.loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        self.losses = losses.chunks(1_000).map(mean).collect();
    }
}

fn replay(
    service: &Service,
    setup: &Arc<ModelSetup>,
    (stream, args): (&Stream, &BenchLoopArgs),
    mut answered: impl FnMut(usize, &arrow::array::ArrayRef) -> Result<()>,
) -> Result<()> {
    let encoder = EncoderSpec {
        file: PathBuf::from(&stream.name),
        model: MODEL.to_owned(),
        version: "default".to_owned(),
        schema: stream.schema.clone(),
        renamed: setup.renamed.clone(),
        id: EventId::RowOf(MODEL.to_owned()),
        time: time(),
        label: Some(TARGET.to_owned()),
        label_delay: LabelDelay::Rows(args.label_delay_rows as u64),
        prediction: None,
        scores: Vec::new(),
        segments: Vec::new(),
        partitions: service.context().partitions,
    };
    let spec = ReplaySpec { name: MODEL.to_owned(), encoder, speed: Speed::Max, ending: Ending::Mark };
    let mut replay = Replay::new(service, setup, spec)?;
    replay.run(stream.batches(args.first, stream.len()).map(Ok), |place, answers| {
        if let Some(predictions) = answers.and_then(|answers| answers.column_by_name(PREDICTION)) {
            answered(usize::try_from(place.rows)? - predictions.len(), predictions)?;
        }
        Ok(true)
    })?;
    Ok(())
}

fn time() -> EventTime {
    EventTime::synthetic(None, Some(INTERVAL))
}

/// The model of a stream as a service would have it.
pub(super) fn setup(stream: &Stream, args: &BenchLoopArgs) -> Result<ModelSetup> {
    let place = tempfile::tempdir()?;
    let config = config(stream, args, place.path())?;
    let setup = ModelSetup::of(&config)?.into_iter().next().context("no model is configured")?;
    Ok(ModelSetup::clone(&setup))
}

fn config(stream: &Stream, args: &BenchLoopArgs, place: &Path) -> Result<Config> {
    let features = stream.schema.features().map(|feature| {
        let kind = if feature.kind == ColumnKind::Categorical { "categorical" } else { "numeric" };
        (feature.name.clone(), Value::from(kind))
    });
    let features: Map<String, Value> = features.collect();
    let task = match &stream.schema.task {
        Task::Regression => json!({"type": "regression"}),
        Task::Binary { positive, negative } => json!({"type": "binary", "positive": positive, "negative": negative}),
        Task::Multiclass { classes } => json!({"type": "multiclass", "classes": classes}),
    };
    let rows = |rows: usize| humantime::format_duration(INTERVAL * u32::try_from(rows).unwrap_or(u32::MAX)).to_string();
    let mut model = json!({
        "task": task,
        "features": features,
        "windows": {"size": rows(args.window_rows)},
        "labels": {"mature": {"after": rows(args.label_delay_rows + SLACK_ROWS)}, "horizon": rows(2 * (args.label_delay_rows + SLACK_ROWS))},
        "trainer": {"builtin": {}},
        "serving": "champion",
    });
    if let (Some(settings), Some(model)) = (&args.settings, model.as_object_mut()) {
        let text = std::fs::read_to_string(settings).with_context(|| format!("reading {}", settings.display()))?;
        let given: Map<String, Value> =
            serde_saphyr::from_str(&text).with_context(|| format!("reading {}", settings.display()))?;
        model.extend(given);
    }
    let config = json!({
        "version": 1,
        "log": {"directory": place.join("log")},
        "partitions": 2,
        "max_disorder": "1m",
        "models": {MODEL: model},
    });
    let file = place.join("driftline.yaml");
    std::fs::write(&file, serde_json::to_vec(&config)?)?;
    Ok(Config::load(&file)?)
}
