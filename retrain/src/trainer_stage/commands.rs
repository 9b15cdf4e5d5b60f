//! Carries out what people ask: checks against the registry as it stands, then events or a refusal.

use super::{COMMAND_HEADER, Draft, TrainerStage};
use crate::command::{Action, Command};
use crate::gate::{admit_first, override_gate};
use crate::lifecycle::{ArtifactId, LifecycleEvent, ModelVersion};
use crate::progress::{RefusedCommand, RetrainEvent};
use crate::registry::RegistryError;
use bytes::Bytes;
use streams::stage::StageError;

/// What a command comes to: events that were checked, or the reason of a refusal.
type Outcome = Result<Vec<LifecycleEvent>, String>;

impl TrainerStage {
    /// Carries out commands in order, up to one whose model's last write has not been read back.
    pub(super) fn carry_out_commands(&mut self) -> Result<(), StageError> {
        while let Some((_, command)) = self.commands.front().cloned() {
            if self.unread.contains_key(&command.model) {
                break;
            }
            self.commands.pop_front();
            match self.consider(&command)? {
                Ok(events) => {
                    let mut draft = self.draft(&command.model, command.time_ms);
                    events.into_iter().try_for_each(|event| draft.add(event))?;
                    let header = (COMMAND_HEADER.to_owned(), Bytes::from(command.id.clone()));
                    self.write(draft, &command.id, vec![header])?;
                }
                Err(reason) => {
                    let Command { id, model, time_ms, .. } = command;
                    let refused = RefusedCommand { command: id, model, time_ms, reason };
                    self.tell(&RetrainEvent::CommandRefused(refused))?;
                }
            }
        }
        Ok(())
    }

    fn consider(&self, command: &Command) -> Result<Outcome, StageError> {
        let Command { model, expected_champion, .. } = command;
        if let Err(error) = self.registry.expect_champion(model, expected_champion.as_deref()) {
            return Ok(Err(error.to_string()));
        }
        Ok(match &command.action {
            Action::Promote { version, past_the_gate: None } => {
                let (model, version) = (model.clone(), version.clone());
                Err(RegistryError::NotThroughTheGate { model, version }.to_string())
            }
            Action::Promote { version, past_the_gate: Some(reason) } => {
                match override_gate(model, version, expected_champion.clone(), reason) {
                    Ok(permit) => one(self.registry.promote(permit)),
                    Err(error) => Err(error.to_string()),
                }
            }
            Action::RollBack { version, reason } => one(self.registry.roll_back(model, version.as_deref(), reason)),
            Action::Release { reason } => one(self.registry.release(model, reason)),
            Action::SetReference { version, reference, artifact } => {
                one(self.registry.set_reference(model, version, (reference.clone(), artifact.clone())))
            }
            Action::Register { version, reference } => self.registration(command, version, reference.clone())?,
        })
    }

    /// The events of a version from outside; the first one becomes champion.
    fn registration(
        &self,
        command: &Command,
        version: &ModelVersion,
        reference: Option<(String, ArtifactId)>,
    ) -> Result<Outcome, StageError> {
        let Command { model, time_ms, expected_champion, .. } = command;
        let mut draft: Draft = self.draft(model, *time_ms);
        match draft.registry.register(model, version) {
            Ok(event) => draft.add(event)?,
            Err(error) => return Ok(Err(error.to_string())),
        }
        if let Some((reference, artifact)) = reference {
            let version = version.version.clone();
            draft.add(LifecycleEvent::ReferenceLearned { version, reference, artifact })?;
        }
        if expected_champion.is_none() {
            match draft.registry.promote(admit_first(model, &version.version)) {
                Ok(event) => draft.add(event)?,
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        Ok(Ok(draft.events.into_iter().map(|event| event.event).collect()))
    }
}

fn one(event: Result<LifecycleEvent, RegistryError>) -> Outcome {
    event.map(|event| vec![event]).map_err(|error| error.to_string())
}
