//! What else could have been done with the same trainer: nothing, a line in a crontab, knowing the changes, or knowing all.

use super::stream::{Stream, TARGET};
use crate::cli::BenchLoopArgs;
use crate::service::model::ModelSetup;
use anyhow::Result;
use detectors::schema::PREDICTION;
use retrain::scorer::ScoredVersion;
use retrain::trainer::{self, TrainedModel, TrainingJob};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Rows after a change at which a model is trained where changes are known; with follow-ups at all of them.
const AFTER_CHANGE: usize = 500;
const FOLLOW_UPS: [usize; 5] = [250, 500, 1_000, 2_000, 4_000];
/// Rows among which the choice in hindsight does not change.
const BLOCK: usize = 100;
/// The version that every model here has.
const BASELINE: &str = "baseline";
/// A model of hindsight is looked at for so many blocks after it was made; later ones are no worse.
const BLOCKS_OF_A_MODEL: usize = 100;

/// What a way of going through a stream came to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub(super) loss: f64,
    pub(super) trainings: usize,
}

/// All of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Strategies {
    pub(super) frozen: Outcome,
    /// By the rows between two trainings.
    pub(super) every: BTreeMap<usize, Outcome>,
    pub(super) at_changes: Option<Outcome>,
    pub(super) with_follow_ups: Option<Outcome>,
    pub(super) hindsight: Outcome,
}

/// A training: it is made when the row `at` comes, of rows from `from` on.
type Training = (usize, usize);

/// Losses of a model on the rows from `from` on.
struct Judged {
    from: usize,
    losses: Vec<f64>,
}

/// Trains and asks, and remembers what was trained.
struct Workbench<'a> {
    stream: &'a Stream,
    args: &'a BenchLoopArgs,
    setup: ModelSetup,
    work: tempfile::TempDir,
    judged: BTreeMap<Training, Option<Judged>>,
}

impl Strategies {
    pub(super) fn run(stream: &Stream, args: &BenchLoopArgs) -> Result<Self> {
        let setup = super::served::setup(stream, args)?;
        let work = tempfile::tempdir()?;
        let mut bench = Workbench { stream, args, setup, work, judged: BTreeMap::new() };
        let ends = |at: usize| at < stream.len();
        let every = |rows: usize| (args.first + rows..stream.len()).step_by(rows).map(move |at| (at, at - rows));
        let mut by_rows = BTreeMap::new();
        for rows in &args.every {
            by_rows.insert(*rows, bench.follow(&every(*rows).collect::<Vec<_>>())?);
        }
        let mut follow_ups = Vec::new();
        for (place, change) in stream.changes.iter().enumerate() {
            let next = stream.changes.get(place + 1).copied().unwrap_or(stream.len());
            follow_ups.extend(FOLLOW_UPS.iter().map(|rows| (change + rows, *change)).filter(|(at, _)| *at < next));
        }
        let at_changes: Vec<_> =
            stream.changes.iter().map(|change| (change + AFTER_CHANGE, *change)).filter(|(at, _)| ends(*at)).collect();
        let known = !stream.changes.is_empty();
        Ok(Self {
            frozen: bench.follow(&[])?,
            at_changes: known.then(|| bench.follow(&at_changes)).transpose()?,
            with_follow_ups: known.then(|| bench.follow(&follow_ups)).transpose()?,
            every: by_rows,
            hindsight: bench.hindsight()?,
        })
    }
}

impl Workbench<'_> {
    /// Goes through the stream with the model of each training from its moment on, the first one before.
    fn follow(&mut self, trainings: &[Training]) -> Result<Outcome> {
        let first = (self.args.first, 0);
        let (mut loss, mut rows, mut made) = (0.0, 0, 0);
        let mut model = first;
        for (place, training) in std::iter::once(&first).chain(trainings).enumerate() {
            let until = trainings.get(place).map_or(self.stream.len(), |next| next.0.min(self.stream.len()));
            if place > 0 && self.judge(*training)?.is_some() {
                (model, made) = (*training, made + 1);
            }
            let from = training.0.min(self.stream.len());
            if let Some(judged) = self.judge(model)? {
                let losses = &judged.losses[from - judged.from..until - judged.from];
                (loss, rows) = (loss + losses.iter().sum::<f64>(), rows + losses.len());
            }
        }
        Ok(Outcome { loss: loss / rows.max(1) as f64, trainings: made })
    }

    /// The losses of a training's model on all later rows; `None` where nothing could be learned.
    fn judge(&mut self, training: Training) -> Result<Option<&Judged>> {
        if !self.judged.contains_key(&training) {
            let judged = self.train(training)?;
            self.judged.insert(training, judged);
        }
        Ok(self.judged.get(&training).and_then(Option::as_ref))
    }

    fn train(&self, (at, from): Training) -> Result<Option<Judged>> {
        let (schema, stop) = (&self.setup.watched.schema, CancellationToken::new());
        let rows = self.stream.between(from, at);
        let (parameters, directory) = (&self.setup.retrain.parameters, tempfile::tempdir_in(self.work.path())?);
        let job = TrainingJob {
            model: self.setup.name(),
            version: BASELINE,
            schema,
            rows: &rows,
            parameters,
            sample: self.setup.retrain.sample,
            work_directory: directory.path(),
        };
        let Some(of_model) = self.setup.trainer() else { return Ok(None) };
        let scorer_of = |trained: &TrainedModel| {
            let (model, version) = (self.setup.name().to_owned(), BASELINE.to_owned());
            self.setup.scorer(ScoredVersion { model, version, schema: schema.clone() }, &trained.artifact, &stop)
        };
        let Ok(trained) = trainer::train(of_model.as_ref(), &scorer_of, &job, &stop) else { return Ok(None) };
        let mut scorer = scorer_of(&trained)?;
        let mut losses = Vec::with_capacity(self.stream.len() - at);
        for batch in self.stream.batches(at, self.stream.len()) {
            let names: Vec<_> = (0..batch.batch.num_columns())
                .filter(|place| batch.batch.schema().field(*place).name() != TARGET)
                .collect();
            let answers = scorer.score(&batch.batch.project(&names)?)?;
            let Some(predictions) = answers.column_by_name(PREDICTION) else { return Ok(None) };
            losses.extend(self.stream.losses(usize::try_from(batch.first_row)?, predictions));
        }
        Ok(Some(Judged { from: at, losses }))
    }

    /// The least that losses and trainings could have come to, choosing in hindsight among all models that were made: by
    /// dynamic programming over blocks of rows, a change of model at the price of a training.
    fn hindsight(&mut self) -> Result<Outcome> {
        let first = self.args.first;
        let blocks = (self.stream.len() - first).div_ceil(BLOCK);
        let models: Vec<&Judged> = self.judged.values().flatten().collect();
        let cost = |model: &Judged, block: usize| {
            let (from, until) = (first + block * BLOCK, (first + (block + 1) * BLOCK).min(self.stream.len()));
            let is_at_hand = model.from <= from && (from - model.from) / BLOCK < BLOCKS_OF_A_MODEL;
            (is_at_hand || model.from == first)
                .then(|| model.losses[from - model.from..until - model.from].iter().sum::<f64>())
        };
        // The least so far with each model in use, and the trainings that took.
        let mut least: Vec<(f64, usize)> =
            models.iter().map(|model| (if model.from == first { 0.0 } else { f64::INFINITY }, 0)).collect();
        for block in 0..blocks {
            let best = least.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
            let changed = (best.0 + self.args.training_cost, best.1 + 1);
            for (so_far, model) in least.iter_mut().zip(&models) {
                let from = if changed.0 < so_far.0 { changed } else { *so_far };
                *so_far = cost(model, block).map_or((f64::INFINITY, 0), |loss| (from.0 + loss, from.1));
            }
        }
        let (total, trainings) = least.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
        let rows = (self.stream.len() - first) as f64;
        Ok(Outcome { loss: (total - self.args.training_cost * trainings as f64) / rows, trainings })
    }
}
