//! The trial of a challenger, pane by pane: reads rows, asks the challenger, hands pairs to the gate, records the ruling.

use super::TrainerStage;
use crate::gate::{AnchorStanding, Ruling, Trial, TrialTerms, judge};
use crate::lifecycle::{LifecycleEvent, TrialReport};
use crate::losses::Loss;
use crate::progress::{RetrainEvent, TrialProgress};
use crate::registry::InFlight;
use crate::request::RetrainRequest;
use crate::scorer::{ScoredVersion, Scorer};
use crate::trial::{TrialError, features, pair, rows_of_version, usual_largest_error};
use crate::workshop::{Apprentice, RowSpan, Workshop};
use detectors::schema::Task;
use detectors::verdict::{Cut, PaneMatured};
use detectors::windows::Window;
use ingest::error_chain::sentence;
use ingest::stage::StageError;

/// A trial and what it is held with.
pub(super) struct Examination {
    trial: Trial,
    scorer: Box<dyn Scorer>,
    loss: Loss,
    /// Panes that end here or before have been judged.
    judged_until_ms: i64,
}

/// Whose trial it is, and the event time of what happens in it.
struct Sitting<'a> {
    request: &'a RetrainRequest,
    version: &'a str,
    time_ms: i64,
}

/// Why a challenger cannot be tried.
pub(super) enum Unfit {
    /// It cannot be loaded or does not answer: rejected.
    Challenger(String),
    /// The world around it failed: the stage is rebuilt.
    World(StageError),
}

impl TrainerStage {
    /// Judges every pane that has matured since, until there is a ruling.
    pub(super) fn examine(&mut self, in_flight: InFlight) -> Result<(), StageError> {
        let InFlight { request, challenger, .. } = in_flight;
        let Some((version, trial_from)) = challenger else { return Ok(()) };
        let model = request.model.clone();
        if !self.examinations.contains_key(&model) {
            match self.open(&request, &version, &trial_from) {
                Ok(examination) => drop(self.examinations.insert(model.clone(), examination)),
                Err(unfit) => {
                    let sitting = Sitting { request: &request, version: &version, time_ms: request.time_ms };
                    return self.turn_away(&sitting, unfit);
                }
            }
        }
        while let Some((pane, is_told)) = self.next_pane(&model, &trial_from) {
            let sitting = Sitting { request: &request, version: &version, time_ms: pane.pane.end_ms };
            match self.judge_pane(&request, &pane) {
                Ok(Ruling::NotYet(report)) if !is_told => {
                    self.tell(&sitting.progress(report))?;
                }
                Ok(Ruling::NotYet(_)) => {}
                Ok(ruling) => return self.record(&sitting, ruling),
                Err(unfit) => return self.turn_away(&sitting, unfit),
            }
        }
        Ok(())
    }

    fn next_pane(&mut self, model: &str, trial_from: &Cut) -> Option<(PaneMatured, bool)> {
        let judged_until_ms = self.examinations.get(model)?.judged_until_ms;
        let from_ms = trial_from.at_ms.max(judged_until_ms);
        let seen = self.panes.get(model)?.iter().find(|seen| seen.pane.pane.start_ms >= from_ms)?;
        Some((seen.pane.clone(), seen.is_told))
    }

    fn open(&mut self, request: &RetrainRequest, version: &str, trial_from: &Cut) -> Result<Examination, Unfit> {
        let missing = || Unfit::Challenger("its artifact or its configuration is gone".to_owned());
        let record = self.registry.model(&request.model).ok_or_else(missing)?;
        let known = &record.version(version).ok_or_else(missing)?.version;
        let apprentice = self.apprentices.get(&request.model).ok_or_else(missing)?;
        let (artifact, _) = known.artifact.as_ref().ok_or_else(missing)?;
        let bytes = self.workshop.artifacts.get(artifact);
        let bytes = bytes.map_err(|error| Unfit::World(StageError::failed("reading the challenger", error)))?;
        let mut scorer = (apprentice.scorer)(ScoredVersion::of(&request.model, known), &bytes)
            .map_err(|error| Unfit::Challenger(sentence(&error)))?;
        let loss = loss_of(&mut self.workshop, apprentice, request)?;
        let terms = TrialTerms::of(request, version, record.trials(), record.trials_won());
        let mut trial = Trial::new(terms, &apprentice.policy.gate);
        if let Some(anchor) = &apprentice.policy.gate.anchor {
            let event_time = Window { start_ms: anchor.from_ms, end_ms: anchor.until_ms };
            let span = RowSpan { model: &request.model, event_time, until: trial_from };
            let rows = self.workshop.rows.between(span).map_err(Unfit::World)?;
            let rows = rows_of_version(&rows, None)?;
            let answers = scorer.score(&features(&rows, &apprentice.schema)?);
            let answers = answers.map_err(|error| Unfit::Challenger(sentence(&error)))?;
            trial.hold_against(AnchorStanding::of(&pair(&rows, &answers, &loss)?));
        }
        Ok(Examination { trial, scorer, loss, judged_until_ms: trial_from.at_ms })
    }

    fn judge_pane(&mut self, request: &RetrainRequest, pane: &PaneMatured) -> Result<Ruling, Unfit> {
        let gone = || Unfit::Challenger("the model is no longer configured".to_owned());
        let apprentice = self.apprentices.get(&request.model).ok_or_else(gone)?;
        let examination = self.examinations.get_mut(&request.model).ok_or_else(gone)?;
        let span = RowSpan { model: &request.model, event_time: pane.pane, until: &pane.cut };
        let rows = self.workshop.rows.between(span).map_err(Unfit::World)?;
        let rows = rows_of_version(&rows, request.champion.as_deref())?;
        if rows.num_rows() > 0 {
            let answers = examination.scorer.score(&features(&rows, &apprentice.schema)?);
            let answers = answers.map_err(|error| Unfit::Challenger(sentence(&error)))?;
            for pair in pair(&rows, &answers, &examination.loss)? {
                examination.trial.observe(&pair);
            }
        }
        examination.judged_until_ms = pane.pane.end_ms;
        examination.trial.advance_to(pane.pane.end_ms);
        Ok(judge(&apprentice.policy.gate, &examination.trial))
    }

    /// Writes what the gate ruled.
    fn record(&mut self, sitting: &Sitting<'_>, ruling: Ruling) -> Result<(), StageError> {
        let request = sitting.request;
        self.examinations.remove(&request.model);
        let mut draft = self.draft(&request.model, sitting.time_ms);
        match ruling {
            Ruling::NotYet(_) => return Ok(()),
            Ruling::Reject(why, report) => draft.add(sitting.rejected(why.to_string(), Some(report)))?,
            Ruling::Promote(permit) => match draft.registry.promote(permit) {
                Ok(event) => draft.add(event)?,
                Err(error) => draft.add(sitting.rejected(error.to_string(), None))?,
            },
        }
        self.write(draft, &format!("{}:ruling", request.id), Vec::new())
    }

    fn turn_away(&mut self, sitting: &Sitting<'_>, unfit: Unfit) -> Result<(), StageError> {
        let reason = match unfit {
            Unfit::World(error) => return Err(error),
            // A program that was ended because this process ends has not failed; the next instance asks it again.
            Unfit::Challenger(_) if self.workshop.stop.is_cancelled() => return Ok(()),
            Unfit::Challenger(reason) => format!("the challenger cannot be tried: {reason}"),
        };
        let request = sitting.request;
        self.examinations.remove(&request.model);
        let mut draft = self.draft(&request.model, sitting.time_ms);
        draft.add(sitting.rejected(reason, None))?;
        self.write(draft, &format!("{}:ruling", request.id), Vec::new())
    }
}

impl Sitting<'_> {
    fn rejected(&self, reason: String, report: Option<TrialReport>) -> LifecycleEvent {
        let (request, version) = (self.request.id.clone(), self.version.to_owned());
        LifecycleEvent::ChallengerRejected { request, version, reason, report }
    }

    fn progress(&self, report: TrialReport) -> RetrainEvent {
        RetrainEvent::Trial(TrialProgress {
            request: self.request.id.clone(),
            model: self.request.model.clone(),
            version: self.version.to_owned(),
            time_ms: self.time_ms,
            report,
        })
    }
}

/// The loss of the model's task. For a regression its scale comes from the policy or from the training rows, which are
/// frozen before the trial begins, as the bet demands.
fn loss_of(workshop: &mut Workshop, apprentice: &Apprentice, request: &RetrainRequest) -> Result<Loss, Unfit> {
    let task = &apprentice.schema.task;
    let largest_error = match (task, apprentice.policy.gate.largest_error) {
        (Task::Regression, None) => {
            let event_time = Window { start_ms: request.train_from_ms, end_ms: request.train_until.at_ms };
            let span = RowSpan { model: &request.model, event_time, until: &request.train_until };
            let rows = workshop.rows.between(span).map_err(Unfit::World)?;
            usual_largest_error(&rows_of_version(&rows, request.champion.as_deref())?)?
        }
        (_, configured) => configured.unwrap_or(1.0),
    };
    Ok(Loss::of(task, largest_error))
}

impl From<TrialError> for Unfit {
    fn from(error: TrialError) -> Self {
        Self::Challenger(sentence(&error))
    }
}
