//! What happened, read from the log as it happens: verdicts, requests and the lives of models, as sums and as sentences.

use crate::service::topic_reader::TopicReader;
use anyhow::Result;
use detectors::quality::Quality;
use detectors::verdict::{Finality, Monitor, MonitorEvent, Severity, Verdict};
use retrain::lifecycle::CandidateKind;
use retrain::lifecycle::{LifecycleEvent, ModelEvent};
use retrain::progress::RetrainEvent;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use streams::cloud_event;
use streams::log::Log;
use streams::topics;

/// Sums over what happened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sums {
    /// Windows judged for drift, all of the traffic.
    pub windows: u64,
    /// Of those, with drift.
    pub drift_windows: u64,
    /// Of those, that could not be judged.
    pub unjudged_windows: u64,
    /// Why the first of them could not.
    pub unjudged_because: Option<String>,
    /// Changes that sequential detectors found.
    pub changes: u64,
    /// Retrain requests; each opens an episode.
    pub retrain_requests: u64,
    /// Trainings that made a challenger.
    pub trainings: u64,
    /// Challengers that became champion.
    pub promotions: u64,
    /// Challengers that were rejected.
    pub rejections: u64,
    /// Trainings that failed.
    pub failures: u64,
    /// The champion now.
    pub champion: Option<String>,
    /// Labelled rows of windows judged for quality.
    pub labelled: i64,
    /// Accuracy over them, for a classifier.
    pub accuracy: Option<f64>,
    /// Mean absolute error over them, for a regression.
    pub mae: Option<f64>,
    /// Labels of windows judged for quality that are none of the model's classes.
    pub invalid_labels: u64,
    /// Predictions of those windows' labelled rows that are none of the model's classes.
    pub invalid_predictions: u64,
    /// Labelled rows of those windows without a prediction.
    pub missing_predictions: u64,
}

/// Something worth telling.
#[derive(Debug, Clone)]
pub enum FeedEvent {
    /// A final verdict.
    Verdict(Box<Verdict>),
    /// A change of the registry.
    Model(Box<ModelEvent>),
    /// What the controller or a trial says.
    Retrain(Box<RetrainEvent>),
}

/// Reads what happens.
pub struct EventFeed {
    verdicts: TopicReader,
    retrain: TopicReader,
    models: TopicReader,
    sums: Sums,
    /// The headline metric of each window, weighted by its labelled rows.
    headline: f64,
    matured: BTreeSet<String>,
}

impl EventFeed {
    /// The feed from the beginning of the log.
    ///
    /// # Errors
    /// When a topic does not exist.
    pub fn new(log: &Arc<dyn Log>) -> Result<Self> {
        let reader = |topic| TopicReader::new(Arc::clone(log), topic);
        Ok(Self {
            verdicts: reader(topics::VERDICTS)?,
            retrain: reader(topics::RETRAIN)?,
            models: reader(topics::MODELS)?,
            sums: Sums::default(),
            headline: 0.0,
            matured: BTreeSet::new(),
        })
    }

    /// What has happened since the last call: verdicts, then requests, then models.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(&mut self) -> Result<Vec<FeedEvent>> {
        let mut happened = Vec::new();
        for record in read_all(&mut self.verdicts)? {
            if let MonitorEvent::Verdict(verdict) = cloud_event::decode(&record)? {
                self.add_verdict(&verdict);
                happened.push(FeedEvent::Verdict(verdict));
            }
        }
        for record in read_all(&mut self.retrain)? {
            let event: RetrainEvent = cloud_event::decode(&record)?;
            self.sums.retrain_requests += u64::from(matches!(event, RetrainEvent::Request(_)));
            happened.push(FeedEvent::Retrain(Box::new(event)));
        }
        for record in read_all(&mut self.models)? {
            let event: ModelEvent = cloud_event::decode(&record)?;
            self.add_model(&event);
            happened.push(FeedEvent::Model(Box::new(event)));
        }
        Ok(happened)
    }

    /// The sums so far.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    fn add_verdict(&mut self, verdict: &Verdict) {
        if verdict.segment.is_some() || verdict.finality == Finality::Provisional {
            return;
        }
        match verdict.monitor {
            Monitor::Drift => {
                self.sums.windows += 1;
                self.sums.drift_windows += u64::from(verdict.severity == Severity::Drift);
                if matches!(verdict.severity, Severity::Inconclusive(_) | Severity::Learning) {
                    self.sums.unjudged_windows += 1;
                    let because = || match verdict.severity {
                        Severity::Learning => "there is no reference yet".to_owned(),
                        _ => verdict.summary.clone(),
                    };
                    self.sums.unjudged_because.get_or_insert_with(because);
                }
            }
            Monitor::Sequential(_) => self.sums.changes += u64::from(verdict.severity == Severity::Drift),
            Monitor::Quality if self.matured.insert(verdict.id.clone()) => self.add_quality(verdict),
            Monitor::Quality | Monitor::DataQuality => {}
        }
    }

    fn add_quality(&mut self, verdict: &Verdict) {
        let counts = [
            (Quality::INVALID_LABELS, &mut self.sums.invalid_labels),
            (Quality::INVALID_PREDICTIONS, &mut self.sums.invalid_predictions),
            (Quality::MISSING_PREDICTIONS, &mut self.sums.missing_predictions),
        ];
        for (name, sum) in counts {
            *sum += verdict.metrics.get(name).map_or(0, |count| count.value as u64);
        }
        let Some(labelled) = verdict.labelled else { return };
        for (name, of_all) in [("accuracy", &mut self.sums.accuracy), ("mae", &mut self.sums.mae)] {
            let Some(of_window) = verdict.metrics.get(name) else { continue };
            self.headline += of_window.value * labelled as f64;
            self.sums.labelled += labelled;
            *of_all = Some(self.headline / self.sums.labelled as f64);
        }
    }

    fn add_model(&mut self, event: &ModelEvent) {
        match &event.event {
            LifecycleEvent::Promoted { version, previous, .. } => {
                self.sums.promotions += u64::from(previous.is_some());
                self.sums.champion = Some(version.clone());
            }
            LifecycleEvent::RolledBack { version, .. } => self.sums.champion = Some(version.clone()),
            LifecycleEvent::ChallengerTrained { made_of: None | Some(CandidateKind::Refit), .. } => {
                self.sums.trainings += 1;
            }
            LifecycleEvent::ChallengerRejected { .. } => self.sums.rejections += 1,
            LifecycleEvent::TrainingFailed { .. } => self.sums.failures += 1,
            _ => {}
        }
    }
}

fn read_all(reader: &mut TopicReader) -> Result<Vec<streams::log::Record>> {
    let mut all = Vec::new();
    loop {
        let records = reader.read()?;
        if records.is_empty() {
            return Ok(all);
        }
        all.extend(records);
    }
}
