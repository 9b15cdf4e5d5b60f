//! The trainer stage: works off retrain requests, an episode each, and carries out commands. The one writer of `models`.
//!
//! It decides from committed facts only. What it writes it knows again when it reads it back, and until then it leaves the
//! model alone; so after a crash at any point the next instance finds itself where the log says. It acts when every input
//! has been read to its end, for only then is it known what its predecessors did.
//!
//! * An episode ([`crate::episode`]) is gone through from its beginning by each instance. What it orders and what is on record
//!   already is taken from there: the same version answers, and nothing is written twice.
//! * A training is claimed by an *attempt* on record before any work. An instance that finds an attempt of another's mark
//!   knows that it was lost, and makes the next or, after as many as the policy allows, records the failure.
//! * Spans are judged in the order of `verdicts`, each with the rows that its cut holds. Neither the end of an epoch nor the
//!   length of a training matters to it, for the rows that judge begin where the training rows ended.
//! * Commands are carried out in order. A refusal goes to `retrain`, for it is no event in a model's life.
//!
//! State: none of its own. `retrain` and `models` are read from their beginning (their retention must keep everything),
//! `verdicts` from the oldest span that may still be needed, `commands` from the first that was not carried out.

mod commands;
mod heard;
mod running;
mod training;

use crate::command::Command;
use crate::lifecycle::EpisodeOutcome;
use crate::lifecycle::{LifecycleEvent, ModelEvent};
use crate::progress::RetrainEvent;
use crate::registry::{ModelRecord, ModelRegistry};
use crate::request::RetrainRequest;
use crate::trainer_deps::{TrainableModel, TrainerDeps};
use bytes::Bytes;
use detectors::verdict::MonitorEvent;
use heard::{Heard, HeardEvent};
use running::Running;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, VecDeque};
use streams::cloud_event::{CONTROL_PARTITION, decode};
use streams::log::{NewRecord, Offset, Record};
use streams::stage::{Delivery, Epoch, Input, ResumePoint, Seal, Share, Stage, StageError, StageSpec};
use streams::topics;
use training::RowsAtHand;

/// Names the instance and the number of the write, by which an instance knows its own records again.
const WRITER_HEADER: &str = "driftline-writer";
/// Names the command that a lifecycle event carries out.
pub const COMMAND_HEADER: &str = "driftline-command";

/// The stage.
pub struct TrainerStage {
    trainable: BTreeMap<String, TrainableModel>,
    trainer_deps: TrainerDeps,
    registry: ModelRegistry,
    requests: BTreeMap<String, VecDeque<RetrainRequest>>,
    heard: BTreeMap<String, VecDeque<Heard>>,
    commands: VecDeque<(Offset, Command)>,
    running: BTreeMap<String, Running>,
    at_hand: Option<RowsAtHand>,
    /// Number of the last write about each model that has not been read back.
    unread: BTreeMap<String, u64>,
    writes: u64,
    outbox: Vec<NewRecord>,
}

/// Events about one model that are to be written together, checked against the registry as each leaves it.
struct Draft {
    model: String,
    time_ms: i64,
    registry: ModelRegistry,
    events: Vec<ModelEvent>,
}

impl TrainerStage {
    /// A stage for these models.
    pub fn new(trainable: BTreeMap<String, TrainableModel>, trainer_deps: TrainerDeps) -> Self {
        Self {
            trainable,
            trainer_deps,
            registry: ModelRegistry::default(),
            requests: BTreeMap::new(),
            heard: BTreeMap::new(),
            commands: VecDeque::new(),
            running: BTreeMap::new(),
            at_hand: None,
            unread: BTreeMap::new(),
            writes: 0,
            outbox: Vec::new(),
        }
    }

    /// What the runner has to know of it.
    pub fn spec() -> StageSpec {
        let inputs = [topics::RETRAIN, topics::MODELS, topics::VERDICTS, topics::COMMANDS];
        StageSpec {
            name: "trainer".to_owned(),
            inputs: inputs.map(str::to_owned).into(),
            broadcasts: Vec::new(),
            share: Share::All,
        }
    }

    fn absorb_record(&mut self, topic: &str, record: &Record, delivery: Delivery) -> Result<(), StageError> {
        match topic {
            topics::RETRAIN => {
                if let RetrainEvent::Request(request) = read(topic, record)? {
                    self.requests.entry(request.model.clone()).or_default().push_back(*request);
                }
            }
            topics::MODELS => {
                let event: ModelEvent = read(topic, record)?;
                self.registry.apply(&event).map_err(|error| unreadable(topic, record, error))?;
                self.recognise(&event.model, record);
            }
            topics::VERDICTS => {
                let event: MonitorEvent = read(topic, record)?;
                self.hear(event, record.offset, delivery);
            }
            topics::COMMANDS => self.commands.push_back((record.offset, read(topic, record)?)),
            _ => {}
        }
        Ok(())
    }

    /// Notes that the last write about a model has come back.
    fn recognise(&mut self, model: &str, record: &Record) {
        let Some(number) = self.unread.get(model) else { return };
        let mark = self.mark(*number);
        if record.header(WRITER_HEADER).is_some_and(|found| *found == mark) {
            self.unread.remove(model);
        }
    }

    fn mark(&self, number: u64) -> Bytes {
        Bytes::from(format!("{}:{number}", self.trainer_deps.claimant))
    }

    /// Remembers what an episode may have to know of a verdict.
    fn hear(&mut self, event: MonitorEvent, offset: Offset, delivery: Delivery) {
        let model = match &event {
            MonitorEvent::Verdict(verdict) => verdict.model.clone(),
            MonitorEvent::RowsMatured(matured) => matured.model.clone(),
        };
        let Some(trainable) = self.trainable.get(&model) else { return };
        let Some(event) = HeardEvent::of(event, &trainable.policy) else { return };
        let is_busy = self.registry.model(&model).is_some_and(|record| record.in_flight().is_some())
            || self.requests.get(&model).is_some_and(|waiting| !waiting.is_empty());
        let heard = self.heard.entry(model).or_default();
        heard.push_back(Heard { offset, event, is_told: delivery == Delivery::Replayed });
        heard::forget(heard, is_busy);
    }

    /// Does for each model the one thing that is next, unless its last write has not come back.
    fn act(&mut self) -> Result<(), StageError> {
        self.carry_out_commands()?;
        let models: Vec<String> = self.trainable.keys().cloned().collect();
        for model in models {
            if !self.unread.contains_key(&model) {
                self.advance(&model)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, model: &str) -> Result<(), StageError> {
        let record = self.registry.model(model);
        let champion = record.and_then(ModelRecord::champion).map(str::to_owned);
        let Some(in_flight) = record.and_then(ModelRecord::in_flight).cloned() else {
            return self.open_next(model, champion);
        };
        if in_flight.number == 0 {
            return self.abandon(&in_flight.request, "a release without episodes had begun it".to_owned());
        }
        if in_flight.expected_champion() != champion.as_deref() {
            let champion = name_of(champion.as_deref());
            let reason = format!("the champion became {champion} by a person's command meanwhile");
            return self.abandon(&in_flight.request, reason);
        }
        self.run(&in_flight)
    }

    /// Takes up the oldest request that has not ended.
    fn open_next(&mut self, model: &str, champion: Option<String>) -> Result<(), StageError> {
        self.running.remove(model);
        let Some(waiting) = self.requests.get_mut(model) else { return Ok(()) };
        while let Some(request) = waiting.pop_front() {
            if self.registry.model(model).is_some_and(|record| record.settlement(&request.id).is_some()) {
                continue;
            }
            // It stays in line until its opening has been read back and has put it in flight.
            waiting.push_front(request.clone());
            if request.champion != champion {
                let reason = format!("the champion is {} by now", name_of(champion.as_deref()));
                return self.abandon(&request, reason);
            }
            let opened = LifecycleEvent::EpisodeOpened { request: Box::new(request.clone()) };
            return self.write_one(&request, opened, "opened");
        }
        Ok(())
    }

    /// Ends an episode, or a request before it was one, whose champion is another by now.
    fn abandon(&mut self, request: &RetrainRequest, reason: String) -> Result<(), StageError> {
        self.running.remove(&request.model);
        let outcome = EpisodeOutcome::Abandoned;
        let ended =
            LifecycleEvent::EpisodeEnded { request: request.id.clone(), outcome, reason, loss: None, target: None };
        self.write_one(request, ended, "void")
    }

    fn write_one(&mut self, request: &RetrainRequest, event: LifecycleEvent, step: &str) -> Result<(), StageError> {
        let mut draft = self.draft(&request.model, request.time_ms);
        draft.add(event)?;
        self.write(draft, &format!("{}:{step}", request.id), Vec::new())
    }

    fn draft(&self, model: &str, time_ms: i64) -> Draft {
        Draft { model: model.to_owned(), time_ms, registry: self.registry.clone(), events: Vec::new() }
    }

    /// Puts a draft in the outbox and leaves the model alone until it has been read back.
    fn write(&mut self, draft: Draft, id: &str, headers: Vec<(String, Bytes)>) -> Result<(), StageError> {
        for (place, event) in draft.events.iter().enumerate() {
            let written = event.to_record(&format!("{id}:{place}"));
            let mut record = written.map_err(|error| StageError::failed("writing a lifecycle event", error))?;
            self.writes += 1;
            record.headers.push((WRITER_HEADER.to_owned(), self.mark(self.writes)));
            record.headers.extend(headers.clone());
            self.outbox.push(record);
            self.unread.insert(draft.model.clone(), self.writes);
        }
        Ok(())
    }

    fn tell(&mut self, event: &RetrainEvent) -> Result<(), StageError> {
        let record = event.to_record().map_err(|error| StageError::failed("writing progress", error))?;
        self.outbox.push(record);
        Ok(())
    }

    fn resume_points(&self) -> Vec<ResumePoint> {
        let oldest_heard = self.heard.values().filter_map(|heard| heard.front()).map(|heard| heard.offset).min();
        let first_command = self.commands.front().map(|(offset, _)| *offset);
        let from_start = [(topics::RETRAIN, Some(0)), (topics::MODELS, Some(0))];
        let points =
            from_start.into_iter().chain([(topics::VERDICTS, oldest_heard), (topics::COMMANDS, first_command)]);
        points
            .filter_map(|(topic, offset)| {
                Some(ResumePoint { topic: topic.to_owned(), partition: CONTROL_PARTITION, offset: offset? })
            })
            .collect()
    }
}

impl Draft {
    fn add(&mut self, event: LifecycleEvent) -> Result<(), StageError> {
        let event = ModelEvent { model: self.model.clone(), time_ms: self.time_ms, event, estimates: BTreeMap::new() };
        let applied = self.registry.apply(&event);
        applied.map_err(|error| StageError::failed(format!("what is next for model {}", self.model), error))?;
        self.events.push(event);
        Ok(())
    }
}

impl Stage for TrainerStage {
    /// There is nothing to restore: everything is read again.
    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), StageError> {
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        match input {
            Input::Records { topic, records, delivery, .. } => {
                records.iter().try_for_each(|record| self.absorb_record(topic, record, delivery))
            }
            Input::Idle { .. } => Ok(()),
            Input::CaughtUp => self.act(),
        }
    }

    fn seal(&mut self, _reason: Seal) -> Result<Option<Epoch>, StageError> {
        let records = std::mem::take(&mut self.outbox);
        Ok(Some(Epoch { records, resume_from: self.resume_points(), ..Epoch::default() }))
    }
}

fn read<T: DeserializeOwned>(topic: &str, record: &Record) -> Result<T, StageError> {
    decode(record).map_err(|error| unreadable(topic, record, error))
}

fn unreadable(topic: &str, record: &Record, reason: impl std::fmt::Display) -> StageError {
    StageError::Unreadable {
        topic: topic.to_owned(),
        partition: CONTROL_PARTITION,
        offset: record.offset,
        reason: reason.to_string(),
    }
}

fn name_of(champion: Option<&str>) -> &str {
    champion.unwrap_or("none")
}

#[cfg(test)]
mod tests;
