//! An episode in the stage: hands it what was heard, reads the rows of each span, asks the challengers, and carries out what it
//! orders, once.

use super::heard::{Heard, HeardEvent};
use super::{Draft, TrainerStage};
use crate::cross_fit::{HELD_OUT_ERROR, LOSS_DEPENDENCE};
use crate::episode::{Candidate, Episode, Opening, Order, SpanLosses};
use crate::gate::{AnchorStanding, Pair};
use crate::lifecycle::{ArtifactFormat, CandidateKind, LifecycleEvent, ModelVersion, is_version};
use crate::losses::Loss;
use crate::progress::{EpisodeProgress, RetrainEvent, TrialProgress};
use crate::registry::{CandidateRecord, InFlight, Settlement};
use crate::request::RetrainRequest;
use crate::scorer::{ScoredVersion, Scorer};
use crate::trainer_deps::{RowSpan, TrainableModel, TrainerDeps};
use crate::trial::{TrialError, champion_losses, features, pair, rows_of_version, usual_largest_error};
use arrow::array::RecordBatch;
use detectors::schema::{ColumnKind, ModelSchema, Task};
use detectors::verdict::{Cut, RowsMatured};
use detectors::windows::Window;
use std::collections::{BTreeMap, VecDeque};
use streams::error_chain::sentence;
use streams::log::Offset;
use streams::stage::StageError;

/// Spans after which it is said how an episode stands, where nothing else happens.
const TELL_EVERY: u32 = 20;
/// Columns that a categorical feature is taken to have in a linear model.
const COLUMNS_OF_CATEGORIES: usize = 4;
/// An error beyond this many mean errors is a large one; of normal errors, 95 % are smaller.
const LARGE_ERRORS: f64 = 2.5;

/// An episode under way, with what it needs to be gone through.
pub(super) struct Running {
    request: String,
    episode: Episode,
    loss: Loss,
    scorers: BTreeMap<u32, Box<dyn Scorer>>,
    /// Offset of what it has heard last.
    heard: Option<Offset>,
    /// Event time of that.
    now_ms: i64,
    orders: VecDeque<Order>,
    quiet_spans: u32,
}

/// Why a challenger cannot be tried.
pub(super) enum Unfit {
    /// It cannot be loaded or does not answer: rejected.
    Challenger(String),
    /// The world around it failed: the stage is rebuilt.
    Infrastructure(StageError),
}

/// Whether an order has been carried out.
#[derive(PartialEq)]
pub(super) enum Progress {
    /// It is on record.
    Done,
    /// It has been written, and is to be read back first; or the process is about to stop.
    Pending,
}

/// A version whose trial is about to begin.
struct Entering {
    scorer: Box<dyn Scorer>,
    /// The mean loss that its training promised.
    promised: Option<f64>,
    /// What both sides showed on the anchor's rows, where there is an anchor.
    anchor: Option<AnchorStanding>,
}

impl TrainerStage {
    /// Goes on with an episode as far as what was heard reaches, or until something has been written.
    pub(super) fn run(&mut self, in_flight: &InFlight) -> Result<(), StageError> {
        let model = in_flight.request.model.as_str();
        if self.running.get(model).is_none_or(|running| running.request != in_flight.request.id) {
            let running = match self.begin(in_flight) {
                Ok(running) => running,
                Err(Unfit::Infrastructure(error)) => return Err(error),
                Err(Unfit::Challenger(reason)) => return self.abandon(&in_flight.request, reason),
            };
            self.running.insert(model.to_owned(), running);
        }
        let Some(mut running) = self.running.remove(model) else { return Ok(()) };
        let ran = self.go_on(&mut running, in_flight);
        self.running.insert(model.to_owned(), running);
        ran
    }

    fn go_on(&mut self, running: &mut Running, in_flight: &InFlight) -> Result<(), StageError> {
        loop {
            while let Some(order) = running.orders.pop_front() {
                if self.carry_out(running, in_flight, &order)? == Progress::Pending {
                    running.orders.push_front(order);
                    return Ok(());
                }
            }
            let model = in_flight.request.model.as_str();
            let Some(next) = next_heard(self.heard.get(model), running.heard) else { return Ok(()) };
            running.heard = Some(next.offset);
            match next.event {
                HeardEvent::Alarm { version, change_ms } if is_champions(&running.episode, &version) => {
                    running.episode.alarm(change_ms);
                }
                HeardEvent::Fault { version, window } if is_champions(&running.episode, &version) => {
                    running.episode.fault(window);
                }
                HeardEvent::Alarm { .. } | HeardEvent::Fault { .. } => {}
                HeardEvent::Matured(span) if span.span.end_ms <= in_flight.request.matured_ms => {
                    running.orders = running.episode.recall(&span).into();
                }
                HeardEvent::Matured(span) => {
                    self.judge_span(running, in_flight, &span)?;
                    if !next.is_told {
                        self.tell_progress(running, in_flight)?;
                    }
                }
            }
        }
    }

    fn begin(&mut self, in_flight: &InFlight) -> Result<Running, Unfit> {
        let request = &in_flight.request;
        let missing = || Unfit::Challenger("the configuration names no trainer for the model".to_owned());
        let trainable = self.trainable.get(&request.model).ok_or_else(missing)?;
        let record = self.registry.model(&request.model).ok_or_else(missing)?;
        let champions: Vec<&ModelVersion> = record.champions(in_flight.tenures);
        let champion = champions.iter().find(|known| Some(&known.version) == request.champion.as_ref());
        let promised = champion.and_then(|champion| metric(champion, HELD_OUT_ERROR));
        let until = self.last_cut_before(request);
        let loss = loss_of(&mut self.trainer_deps, trainable, (request, &until), promised)?;
        let promises = champions.iter().filter_map(|known| promised_loss(known, &loss));
        let opening = Opening {
            request: request.clone(),
            number: in_flight.number,
            promotions: in_flight.promotions,
            target: promises.min_by(f64::total_cmp),
            dependence: champion.and_then(|champion| metric(champion, LOSS_DEPENDENCE)).unwrap_or(1.0),
            earlier: champions
                .iter()
                .filter(|known| known.artifact.is_some() && Some(&known.version) != request.champion.as_ref())
                .map(|known| known.version.clone())
                .collect(),
            is_recalibrable: champion.is_some_and(|champion| is_graph(champion)),
            parameters: parameters_of(&trainable.schema),
        };
        Ok(Running {
            request: request.id.clone(),
            episode: Episode::open(opening, trainable.policy.clone()),
            loss,
            scorers: BTreeMap::new(),
            heard: None,
            now_ms: request.matured_ms,
            orders: VecDeque::new(),
            quiet_spans: 0,
        })
    }

    /// The log as it stood when the last span matured that was known to whoever made the request.
    fn last_cut_before(&self, request: &RetrainRequest) -> Cut {
        let heard = self.heard.get(&request.model).into_iter().flatten().rev();
        let mut cuts = heard.filter_map(|heard| match &heard.event {
            HeardEvent::Matured(span) if span.span.end_ms <= request.matured_ms => Some(span.cut.clone()),
            _ => None,
        });
        cuts.next().unwrap_or(Cut { at_ms: request.matured_ms, positions: Vec::new() })
    }

    /// Reads the rows of a span, asks everyone on trial, and hands both sides' losses to the episode.
    fn judge_span(
        &mut self,
        running: &mut Running,
        in_flight: &InFlight,
        span: &RowsMatured,
    ) -> Result<(), StageError> {
        running.now_ms = span.span.end_ms;
        let rows = match self.rows_of_champion(running, in_flight, span) {
            Ok(rows) => rows,
            Err(Unfit::Infrastructure(error)) => return Err(error),
            Err(Unfit::Challenger(reason)) => return Err(StageError::failed("reading the rows of a trial", reason)),
        };
        let mut losses = SpanLosses::default();
        if rows.num_rows() > 0 {
            let read = champion_losses(&rows, &running.loss);
            losses.champion = read.map_err(|error| StageError::failed("reading the rows of a trial", error))?;
            let on_trial: Vec<u32> = running.episode.on_trial().map(|(number, _)| number).collect();
            for number in on_trial {
                match self.asked(running, in_flight, (number, &rows)) {
                    Ok(pairs) => drop(losses.pairs.insert(number, pairs)),
                    Err(Unfit::Infrastructure(error)) => return Err(error),
                    // A challenger that does not answer has every row of the span wrong.
                    Err(Unfit::Challenger(reason)) => {
                        tracing::warn!(model = in_flight.request.model, number, reason, "a challenger does not answer");
                        let wrong = |champion_loss: &f64| Pair {
                            champion_loss: Some(*champion_loss),
                            challenger_loss: None,
                            segments: Vec::new(),
                        };
                        losses.pairs.insert(number, losses.champion.iter().map(wrong).collect());
                    }
                }
            }
        }
        running.orders = running.episode.judge(span, &losses).into();
        running.quiet_spans = if running.orders.is_empty() { running.quiet_spans + 1 } else { TELL_EVERY };
        Ok(())
    }

    fn rows_of_champion(
        &mut self,
        running: &Running,
        in_flight: &InFlight,
        span: &RowsMatured,
    ) -> Result<RecordBatch, Unfit> {
        let rows = RowSpan { model: &in_flight.request.model, event_time: span.span, until: &span.cut };
        let rows = self.trainer_deps.rows.between(rows).map_err(Unfit::Infrastructure)?;
        Ok(rows_of_version(&rows, running.episode.champion())?)
    }

    fn asked(
        &self,
        running: &mut Running,
        in_flight: &InFlight,
        (number, rows): (u32, &RecordBatch),
    ) -> Result<Vec<Pair>, Unfit> {
        let gone = || Unfit::Challenger("the model is no longer configured".to_owned());
        let trainable = self.trainable.get(&in_flight.request.model).ok_or_else(gone)?;
        let scorer = running.scorers.get_mut(&number).ok_or_else(gone)?;
        let answers = scorer.score(&features(rows, &trainable.schema)?);
        let answers = answers.map_err(|error| Unfit::Challenger(sentence(&error)))?;
        Ok(pair(rows, &answers, &running.loss)?)
    }

    fn carry_out(
        &mut self,
        running: &mut Running,
        in_flight: &InFlight,
        order: &Order,
    ) -> Result<Progress, StageError> {
        let request = &in_flight.request;
        let record = |number: &u32| in_flight.candidates.get(number).cloned().unwrap_or_default();
        match order {
            Order::Make(candidate) => self.make(running, in_flight, candidate, &record(&candidate.number)),
            Order::Reject(number, why, report) => {
                running.scorers.remove(number);
                let CandidateRecord { settled, version, .. } = record(number);
                if settled.is_some() {
                    return Ok(Progress::Done);
                }
                let rejected = LifecycleEvent::ChallengerRejected {
                    request: request.id.clone(),
                    candidate: Some(*number),
                    version: version.unwrap_or_default(),
                    reason: why.to_string(),
                    report: Some(report.clone()),
                };
                self.write_at(request, running.now_ms, rejected, &format!("{number}:ruling"))
            }
            Order::Promote(number, permit) => {
                running.scorers.remove(number);
                let CandidateRecord { settled, version, .. } = record(number);
                if settled.is_some() {
                    return Ok(Progress::Done);
                }
                let event =
                    self.registry.promote(permit.clone()).unwrap_or_else(|error| LifecycleEvent::ChallengerRejected {
                        request: request.id.clone(),
                        candidate: Some(*number),
                        version: version.unwrap_or_default(),
                        reason: error.to_string(),
                        report: None,
                    });
                self.write_at(request, running.now_ms, event, &format!("{number}:ruling"))
            }
            Order::End(ending) => {
                let ended = LifecycleEvent::EpisodeEnded {
                    request: request.id.clone(),
                    outcome: ending.outcome,
                    reason: ending.reason.clone(),
                    loss: ending.loss,
                    target: running.episode.losses().1,
                };
                self.write_at(request, running.now_ms, ended, "ended")
            }
        }
    }

    /// Makes a candidate, or takes from the record what came of it.
    fn make(
        &mut self,
        running: &mut Running,
        in_flight: &InFlight,
        candidate: &Candidate,
        record: &CandidateRecord,
    ) -> Result<Progress, StageError> {
        let number = candidate.number;
        if matches!(record.settled, Some(Settlement::Failed { .. })) {
            running.episode.fail(number);
            return Ok(Progress::Done);
        }
        if let Some(version) = &record.version {
            return self.enter(running, in_flight, (candidate, version));
        }
        match candidate.kind {
            CandidateKind::Refit => self.train(in_flight, candidate, record),
            CandidateKind::Recalibration => {
                let Some(champion) = running.episode.champion().map(str::to_owned) else { return Ok(Progress::Done) };
                let progress = self.recalibrate(in_flight, candidate, &champion)?;
                if progress == Progress::Done {
                    running.episode.fail(number);
                }
                Ok(progress)
            }
            CandidateKind::Earlier => {
                let entered = LifecycleEvent::ChallengerTrained {
                    request: in_flight.request.id.clone(),
                    candidate: Some(number),
                    made_of: Some(candidate.kind),
                    version: candidate.version.clone().unwrap_or_default(),
                    trial_from: candidate.until.clone(),
                };
                self.write_at(&in_flight.request, running.now_ms, entered, &format!("{number}:trained"))
            }
        }
    }

    /// Begins the trial of a version.
    fn enter(
        &mut self,
        running: &mut Running,
        in_flight: &InFlight,
        (candidate, version): (&Candidate, &str),
    ) -> Result<Progress, StageError> {
        match self.load(running, &in_flight.request, (candidate, version)) {
            Ok(Entering { scorer, promised, anchor }) => {
                running.scorers.insert(candidate.number, scorer);
                running.episode.enter(candidate.number, version, promised);
                if let Some(anchor) = anchor {
                    running.episode.hold_against(candidate.number, anchor);
                }
                Ok(Progress::Done)
            }
            Err(Unfit::Infrastructure(error)) => Err(error),
            // A program that was ended because this process ends has not failed; the next instance asks it again.
            Err(Unfit::Challenger(_)) if self.trainer_deps.stop.is_cancelled() => Ok(Progress::Pending),
            Err(Unfit::Challenger(reason)) => {
                running.episode.fail(candidate.number);
                let settled = in_flight.candidates.get(&candidate.number).and_then(|known| known.settled.as_ref());
                if settled.is_some() {
                    return Ok(Progress::Done);
                }
                let rejected = LifecycleEvent::ChallengerRejected {
                    request: in_flight.request.id.clone(),
                    candidate: Some(candidate.number),
                    version: version.to_owned(),
                    reason: format!("the challenger cannot be tried: {reason}"),
                    report: None,
                };
                self.write_at(&in_flight.request, running.now_ms, rejected, &format!("{}:ruling", candidate.number))
            }
        }
    }

    fn load(
        &mut self,
        running: &Running,
        request: &RetrainRequest,
        (candidate, version): (&Candidate, &str),
    ) -> Result<Entering, Unfit> {
        let missing = || Unfit::Challenger("its artifact or its configuration is gone".to_owned());
        let record = self.registry.model(&request.model).ok_or_else(missing)?;
        let known = &record.version(version).ok_or_else(missing)?.version;
        let trainable = self.trainable.get(&request.model).ok_or_else(missing)?;
        let (artifact, _) = known.artifact.as_ref().ok_or_else(missing)?;
        let bytes = self.trainer_deps.artifacts.get(artifact);
        let bytes =
            bytes.map_err(|error| Unfit::Infrastructure(StageError::failed("reading the challenger", error)))?;
        let scored = ScoredVersion::of(&request.model, known);
        let mut scorer = (trainable.scorer)(scored, &bytes).map_err(|error| Unfit::Challenger(sentence(&error)))?;
        let promised = promised_loss(known, &running.loss);
        let Some(anchor) = &trainable.policy.gate.anchor else {
            return Ok(Entering { scorer, promised, anchor: None });
        };
        let event_time = Window { start_ms: anchor.from_ms, end_ms: anchor.until_ms };
        let span = RowSpan { model: &request.model, event_time, until: &candidate.until };
        let rows = self.trainer_deps.rows.between(span).map_err(Unfit::Infrastructure)?;
        let rows = rows_of_version(&rows, None)?;
        let answers = scorer.score(&features(&rows, &trainable.schema)?);
        let answers = answers.map_err(|error| Unfit::Challenger(sentence(&error)))?;
        let standing = AnchorStanding::of(&pair(&rows, &answers, &running.loss)?);
        Ok(Entering { scorer, promised, anchor: Some(standing) })
    }

    /// Writes an event of the episode's, at its event time.
    pub(super) fn write_at(
        &mut self,
        request: &RetrainRequest,
        time_ms: i64,
        event: LifecycleEvent,
        step: &str,
    ) -> Result<Progress, StageError> {
        let mut draft: Draft = self.draft(&request.model, time_ms);
        draft.add(event)?;
        self.write(draft, &format!("{}:{step}", request.id), Vec::new())?;
        Ok(Progress::Pending)
    }

    fn tell_progress(&mut self, running: &mut Running, in_flight: &InFlight) -> Result<(), StageError> {
        if running.quiet_spans < TELL_EVERY {
            return Ok(());
        }
        running.quiet_spans = 0;
        let Some(trainable) = self.trainable.get(&in_flight.request.model) else { return Ok(()) };
        let (episode, gate) = (&running.episode, &trainable.policy.gate);
        let trials = episode.trials().map(|(candidate, trial)| TrialProgress {
            candidate: candidate.number,
            kind: candidate.kind,
            version: trial.terms().challenger.clone(),
            report: trial.report(gate),
        });
        let ((rows, rows_needed), (loss, target)) = (episode.rows(), episode.losses());
        let progress = EpisodeProgress {
            request: in_flight.request.id.clone(),
            model: in_flight.request.model.clone(),
            time_ms: running.now_ms,
            change_ms: episode.change_ms(),
            rows,
            rows_needed,
            loss,
            target,
            trials: trials.collect(),
        };
        self.tell(&RetrainEvent::Episode(Box::new(progress)))
    }
}

fn is_champions(episode: &Episode, version: &str) -> bool {
    episode.champion().is_some_and(|champion| is_version(version, champion))
}

fn next_heard(heard: Option<&VecDeque<Heard>>, after: Option<Offset>) -> Option<Heard> {
    let heard = heard?;
    let place = heard.partition_point(|heard| after.is_some_and(|after| heard.offset <= after));
    heard.get(place).cloned()
}

fn metric(version: &ModelVersion, name: &str) -> Option<f64> {
    version.lineage.metrics.get(name).copied().filter(|value| value.is_finite())
}

/// The mean loss that a version's training promised.
fn promised_loss(version: &ModelVersion, loss: &Loss) -> Option<f64> {
    metric(version, HELD_OUT_ERROR).map(|error| loss.of_mean_error(error))
}

fn is_graph(version: &ModelVersion) -> bool {
    matches!(version.artifact, Some((_, ArtifactFormat::Onnx)))
}

/// Parameters of a linear model of this schema, about.
fn parameters_of(schema: &ModelSchema) -> usize {
    let columns = schema.features().map(|feature| match feature.kind {
        ColumnKind::Categorical => COLUMNS_OF_CATEGORIES,
        _ => 1,
    });
    let outputs = match &schema.task {
        Task::Multiclass { .. } => schema.task.classes().len(),
        Task::Binary { .. } | Task::Regression => 1,
    };
    (columns.sum::<usize>() + 1) * outputs
}

/// The loss of the model's task. For a regression its scale comes from the policy, or from rows of the champion that were
/// known when the episode began, or from what it promised: all of them frozen before the first trial, as the bet demands.
fn loss_of(
    trainer_deps: &mut TrainerDeps,
    trainable: &TrainableModel,
    (request, until): (&RetrainRequest, &Cut),
    promised: Option<f64>,
) -> Result<Loss, Unfit> {
    let task = &trainable.schema.task;
    let largest_error = match (task, trainable.policy.gate.largest_error, promised) {
        (Task::Regression, None, Some(promised)) if promised > 0.0 => LARGE_ERRORS * promised,
        (Task::Regression, None, _) => {
            let event_time = Window { start_ms: request.train_from_ms, end_ms: request.matured_ms };
            let span = RowSpan { model: &request.model, event_time, until };
            let rows = trainer_deps.rows.between(span).map_err(Unfit::Infrastructure)?;
            usual_largest_error(&rows_of_version(&rows, request.champion.as_deref())?)?
        }
        (_, configured, _) => configured.unwrap_or(1.0),
    };
    Ok(Loss::of(task, largest_error))
}

impl From<TrialError> for Unfit {
    fn from(error: TrialError) -> Self {
        Self::Challenger(sentence(&error))
    }
}
