//! The controller as a stage: feeds verdicts, causes and lifecycle events to one [`ControllerState`] per model, and writes
//! what it decides to `retrain`.
//!
//! Its snapshot is the states themselves, kept with every epoch that changed one; nothing is read again after a restart.
//! A model without a policy is watched by others and ignored here.

use crate::controller::{ControllerState, Decision, Fact};
use crate::lifecycle::ModelEvent;
use crate::policy::RetrainPolicy;
use crate::progress::RetrainEvent;
use crate::request::Cause;
use bytes::Bytes;
use detectors::verdict::MonitorEvent;
use std::collections::BTreeMap;
use streams::cloud_event::{CloudEventError, decode};
use streams::log::{NewRecord, Record};
use streams::stage::{Delivery, Epoch, Input, Seal, Share, Stage, StageError, StageSpec};
use streams::topics;

/// The stage.
pub struct ControllerStage {
    policies: BTreeMap<String, RetrainPolicy>,
    states: BTreeMap<String, ControllerState>,
    outbox: Vec<NewRecord>,
    has_changed: bool,
}

impl ControllerStage {
    /// A stage for the models that have a policy.
    pub fn new(policies: BTreeMap<String, RetrainPolicy>) -> Self {
        Self { policies, states: BTreeMap::new(), outbox: Vec::new(), has_changed: false }
    }

    /// What the runner has to know of it.
    pub fn spec() -> StageSpec {
        let inputs = [topics::VERDICTS, topics::CAUSES, topics::MODELS];
        StageSpec {
            name: "controller".to_owned(),
            inputs: inputs.map(str::to_owned).into(),
            broadcasts: Vec::new(),
            share: Share::All,
        }
    }

    fn absorb_record(&mut self, topic: &str, record: &Record) -> Result<(), CloudEventError> {
        match topic {
            topics::VERDICTS => match decode(record)? {
                MonitorEvent::RowsMatured(matured) => {
                    self.consider(&matured.model, |_| Some(Fact::of_matured(&matured)))
                }
                MonitorEvent::Verdict(verdict) => {
                    self.consider(&verdict.model, |policy| Fact::of_verdict(&verdict, policy))
                }
            },
            topics::CAUSES => {
                let cause: Cause = decode(record)?;
                self.consider(&cause.model.clone(), |_| Some(Fact::Cause { cause, version: None }))
            }
            topics::MODELS => self.consider_lifecycle(&decode(record)?),
            _ => Ok(()),
        }
    }

    fn consider(
        &mut self,
        model: &str,
        fact: impl FnOnce(&RetrainPolicy) -> Option<Fact>,
    ) -> Result<(), CloudEventError> {
        let Some(policy) = self.policies.get(model) else { return Ok(()) };
        let Some(fact) = fact(policy) else { return Ok(()) };
        let state = self.states.entry(model.to_owned()).or_insert_with(|| ControllerState::new(model));
        let decisions = state.absorb(fact, policy);
        self.write(decisions)
    }

    fn consider_lifecycle(&mut self, event: &ModelEvent) -> Result<(), CloudEventError> {
        let Some(policy) = self.policies.get(&event.model) else { return Ok(()) };
        let state = self.states.entry(event.model.clone()).or_insert_with(|| ControllerState::new(&event.model));
        let decisions = state.absorb_lifecycle(event, policy);
        self.write(decisions)
    }

    fn write(&mut self, decisions: Vec<Decision>) -> Result<(), CloudEventError> {
        self.has_changed = true;
        for decision in decisions {
            let event = match decision {
                Decision::Request(request) => RetrainEvent::Request(request),
                Decision::Ignore(refused) => RetrainEvent::Refused(refused),
            };
            self.outbox.push(event.to_record()?);
        }
        Ok(())
    }
}

impl Stage for ControllerStage {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError> {
        let states = rmp_serde::from_slice(snapshot);
        self.states = states.map_err(|error| StageError::failed("reading the controller's snapshot", error))?;
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        // The snapshot holds everything up to the committed offset, so nothing is ever replayed.
        let Input::Records { topic, partition, records, delivery: Delivery::Live } = input else { return Ok(()) };
        for record in records {
            self.absorb_record(topic, record).map_err(|error| StageError::Unreadable {
                topic: topic.to_owned(),
                partition,
                offset: record.offset,
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }

    fn seal(&mut self, _reason: Seal) -> Result<Option<Epoch>, StageError> {
        let snapshot = if std::mem::take(&mut self.has_changed) {
            let bytes = rmp_serde::to_vec_named(&self.states);
            Some(Bytes::from(bytes.map_err(|error| StageError::failed("writing the controller's snapshot", error))?))
        } else {
            None
        };
        Ok(Some(Epoch { records: std::mem::take(&mut self.outbox), snapshot, ..Epoch::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{LifecycleEvent, PermitRecord};
    use crate::request::CauseKind;
    use detectors::verdict::{Cut, RowsMatured};
    use detectors::windows::Window;
    use streams::cloud_event::{Attributes, encode};

    fn as_read(offset: i64, record: NewRecord) -> (String, Record) {
        let NewRecord { topic, key, value, headers, .. } = record;
        (topic, Record { offset, append_time_ms: 0, key, value, headers: headers.into() })
    }

    fn log() -> Vec<(String, Record)> {
        let attributes = Attributes { id: "id", source: "/test", kind: "test", subject: "m", time_ms: 0 };
        let event =
            LifecycleEvent::Promoted { version: "v1".into(), previous: None, permit: PermitRecord::FirstVersion };
        let promoted = ModelEvent { model: "m".into(), time_ms: 0, event, estimates: BTreeMap::new() };
        let mut records = vec![promoted.to_record("first").unwrap()];
        for pane in 0..12 {
            let span = Window { start_ms: pane * 1000, end_ms: (pane + 1) * 1000 };
            let cut = Cut { at_ms: span.end_ms, positions: Vec::new() };
            let event = RowsMatured { model: "m".into(), span, labelled: 100, cut };
            records.push(encode(topics::VERDICTS, attributes, &MonitorEvent::RowsMatured(event)).unwrap());
            if pane == 3 {
                let cause = Cause {
                    id: "ann".into(),
                    model: "m".into(),
                    kind: CauseKind::Person { reason: "ann asks".into() },
                    time_ms: 4000,
                    change_point_ms: Some(2000),
                    summary: "asked".into(),
                };
                records.push(encode(topics::CAUSES, attributes, &cause).unwrap());
            }
        }
        records.into_iter().enumerate().map(|(offset, record)| as_read(offset as i64, record)).collect()
    }

    /// Runs the log with an epoch, and a restart from its snapshot, after every `epoch` records.
    fn run(epoch: usize) -> Vec<RetrainEvent> {
        let policies = || BTreeMap::from([("m".to_owned(), RetrainPolicy::default())]);
        let (mut snapshot, mut written) = (None, Vec::new());
        for records in log().chunks(epoch) {
            let mut stage = ControllerStage::new(policies());
            snapshot.iter().for_each(|bytes: &Bytes| stage.restore(bytes).unwrap());
            for (topic, record) in records {
                let records = std::slice::from_ref(record);
                stage.absorb(Input::Records { topic, partition: 0, records, delivery: Delivery::Live }).unwrap();
            }
            let sealed = stage.seal(Seal::Due).unwrap().unwrap();
            snapshot = sealed.snapshot.or(snapshot);
            written.extend(sealed.records.into_iter().map(|record| decode(&as_read(0, record).1).unwrap()));
        }
        written
    }

    #[test]
    fn the_same_log_gives_the_same_records_however_it_is_cut_into_epochs() {
        let whole = run(100);
        assert!(matches!(whole.as_slice(), [RetrainEvent::Request(request)] if request.matured_ms == 4000));
        for epoch in 1..7 {
            assert_eq!(run(epoch), whole, "epochs of {epoch} records");
        }
    }
}
