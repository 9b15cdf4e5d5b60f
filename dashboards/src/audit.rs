//! The audit trail: who asked for what, why, from where, and what became of it.
//!
//! Each command that is taken, and each that is refused to someone who is known, is a record of the `audit` topic, appended
//! with the command itself. What became of a command that was taken is told elsewhere in the log: by the trainer, which
//! carries it out or refuses it, and by the controller. [`Trail`] is the fold of all of these, and bounded. Topics are read
//! apart, so an outcome may come before the command that it is about.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

/// Entries that are at hand; older ones are in the topic.
const ENTRIES_KEPT: usize = 2_000;
/// Outcomes that are at hand: also of what a clock or a verdict brought about.
const OUTCOMES_KEPT: usize = 8_000;

/// Something that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The command's id; of what was refused, one of its own.
    pub id: String,
    /// When it was asked for, milliseconds since the epoch.
    pub time_ms: i64,
    /// The name of the token that was shown; `None` where there are no tokens.
    pub by: Option<String>,
    /// The address that it came from.
    pub from: Option<String>,
    /// What was asked for, as `promote`; of what was refused before it was read, method and path.
    pub what: String,
    /// The model, where it is about one.
    pub model: Option<String>,
    /// The version, where it is about one.
    pub version: Option<String>,
    /// The champion that was expected.
    pub expected_champion: Option<String>,
    /// Why, as it was given.
    pub reason: Option<String>,
    /// Why it was refused at once; `None` where it was taken.
    pub refused: Option<String>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Nothing yet: it waits for the one that carries it out, for an episode to end, or for a first champion.
    Pending,
    /// It was carried out.
    CarriedOut,
    /// It was refused.
    Refused,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out; what that came to.
    CarriedOut(String),
    /// It was refused, for a reason.
    Refused(String),
}

/// An entry with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandView {
    /// What was asked for.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// What became of it.
    pub state: CommandState,
    /// The same in words.
    pub outcome: String,
}

/// What was asked for lately, and what became of it.
#[derive(Debug, Default)]
pub struct Trail {
    entries: VecDeque<AuditEntry>,
    outcomes: BTreeMap<String, Outcome>,
    /// Ids of the outcomes in the order in which they came.
    order: VecDeque<String>,
}

impl Trail {
    /// Takes in something that was asked for.
    pub fn record(&mut self, entry: AuditEntry) {
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_KEPT {
            self.entries.pop_front();
        }
    }

    /// Takes in how a command ended.
    pub fn ended(&mut self, command: &str, outcome: Outcome) {
        if self.outcomes.insert(command.to_owned(), outcome).is_none() {
            self.order.push_back(command.to_owned());
        }
        while self.order.len() > OUTCOMES_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.outcomes.remove(&oldest);
            }
        }
    }

    /// What became of a command, if it is still at hand.
    pub fn command(&self, id: &str) -> Option<CommandView> {
        self.entries.iter().rev().find(|entry| entry.id == id).map(|entry| self.view(entry))
    }

    /// The last commands about a model, newest first.
    pub fn of_model(&self, model: &str, most: usize) -> Vec<CommandView> {
        let about = |entry: &&AuditEntry| entry.model.as_deref() == Some(model);
        self.entries.iter().rev().filter(about).take(most).map(|entry| self.view(entry)).collect()
    }

    /// Everything that is at hand, newest first.
    pub fn all(&self) -> Vec<CommandView> {
        self.entries.iter().rev().map(|entry| self.view(entry)).collect()
    }

    fn view(&self, entry: &AuditEntry) -> CommandView {
        let (state, outcome) = match (&entry.refused, self.outcomes.get(&entry.id)) {
            (Some(why), _) | (None, Some(Outcome::Refused(why))) => (CommandState::Refused, why.clone()),
            (None, Some(Outcome::CarriedOut(what))) => (CommandState::CarriedOut, what.clone()),
            (None, None) => (CommandState::Pending, PENDING.to_owned()),
        };
        CommandView { entry: entry.clone(), state, outcome }
    }
}

const PENDING: &str = "it was taken and has not been acted upon: that waits for a stage that is behind, for an episode to end, or for the model's first champion";

/// A trail that one thread writes and many requests read.
#[derive(Debug, Clone, Default)]
pub struct SharedTrail(Arc<RwLock<Trail>>);

impl SharedTrail {
    /// Reads the trail as it stands; a writer that panicked leaves at worst one entry out.
    pub fn read<T>(&self, read: impl FnOnce(&Trail) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the trail.
    pub fn write(&self, change: impl FnOnce(&mut Trail)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> AuditEntry {
        AuditEntry { id: id.to_owned(), model: Some("bed".to_owned()), ..AuditEntry::default() }
    }

    #[test]
    fn a_command_is_told_with_its_outcome_whichever_is_read_first() {
        let mut trail = Trail::default();
        trail.ended("early", Outcome::Refused("the champion is v2".to_owned()));
        for id in ["early", "late", "never"] {
            trail.record(entry(id));
        }
        trail.ended("late", Outcome::CarriedOut("v2 is the champion".to_owned()));
        let state = |id: &str| trail.command(id).map(|view| view.state);
        assert_eq!(state("early"), Some(CommandState::Refused));
        assert_eq!(state("late"), Some(CommandState::CarriedOut));
        assert_eq!((state("never"), state("unheard")), (Some(CommandState::Pending), None));
        let newest: Vec<_> = trail.of_model("bed", 2).into_iter().map(|view| view.entry.id).collect();
        assert_eq!(newest, ["never", "late"]);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut trail = Trail::default();
        for number in 0..OUTCOMES_KEPT + ENTRIES_KEPT {
            trail.record(entry(&number.to_string()));
            trail.ended(&number.to_string(), Outcome::CarriedOut(String::new()));
        }
        assert_eq!(
            (trail.entries.len(), trail.outcomes.len(), trail.order.len()),
            (ENTRIES_KEPT, OUTCOMES_KEPT, OUTCOMES_KEPT)
        );
    }
}
