//! What happens to a model, as events on the `models` topic: the registry is nothing but their fold.
//!
//! One writer per model appends these: the trainer. Everybody else reads. Published as CloudEvents 1.0 JSON with the type
//! `driftline.model.<kind>`.

use crate::request::RetrainRequest;
use detectors::schema::ModelSchema;
use detectors::verdict::{Cut, Estimate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a candidate is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateKind {
    /// A training on labelled rows after the change.
    Refit,
    /// The champion with its score recalibrated on them.
    Recalibration,
    /// A version that was champion before.
    Earlier,
}

impl CandidateKind {
    /// The name used in metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refit => "refit",
            Self::Recalibration => "recalibration",
            Self::Earlier => "earlier",
        }
    }
}

/// SHA-256 of an artifact's bytes in lower-case hexadecimal; its address in the object store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArtifactId(pub String);

/// How a version's artifact answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactFormat {
    /// An ONNX graph.
    Onnx,
    /// A file that the model's scorer command reads.
    Opaque,
}

/// Which records, data and code made a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The request that caused it; `None` for a version that was brought from outside or trained at set-up.
    pub request: Option<String>,
    /// The cause in a sentence.
    pub cause: String,
    /// The version that was champion then.
    pub parent: Option<String>,
    /// Digest of the frozen training rows.
    pub training_set: Option<ArtifactId>,
    /// Rows in the training set.
    pub training_rows: u64,
    /// Event time of the first training row.
    pub trained_from_ms: Option<i64>,
    /// The log up to which rows were frozen.
    pub trained_until: Option<Cut>,
    /// Source revision of the trainer, as it says itself.
    pub code_revision: Option<String>,
    /// Parameters of the training.
    pub parameters: BTreeMap<String, String>,
    /// What the trainer measured.
    pub metrics: BTreeMap<String, f64>,
    /// What a training by a program took, and what it told of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Box<TrainingRecord>>,
}

/// What a training by a program took, and what it told of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// From the program's start to its end.
    pub seconds: f64,
    /// Time of processors, of the program and the children that it waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_seconds: Option<f64>,
    /// The most bytes of memory that the program held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// The learning curve that it told, point by point, by the names that it gives its numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<BTreeMap<String, f64>>,
    /// What it ran with: packages and their versions, as it says itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
}

/// Whether a version that events report is the registry's `known` one: by its name, or by its number where a server reports
/// `1` for `v1`, as servers of model repositories do.
pub fn is_version(reported: &str, known: &str) -> bool {
    let number = |name: &str| name.strip_prefix('v').map(str::to_owned).filter(|rest| is_number(rest));
    reported == known
        || number(known).is_some_and(|number| number == reported)
        || number(reported).is_some_and(|number| number == known)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// Its name, `v1`, `v2`, … unless brought from outside.
    pub version: String,
    /// The artifact; `None` for a version that is served elsewhere and only watched.
    pub artifact: Option<(ArtifactId, ArtifactFormat)>,
    /// What it takes and gives.
    pub schema: ModelSchema,
    /// What made it.
    pub lineage: Lineage,
}

/// What the gate ruled, and from which figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// Paired rows judged.
    pub rows: u64,
    /// Mean loss of the champion on them.
    pub champion_loss: f64,
    /// Mean loss of the challenger on them.
    pub challenger_loss: f64,
    /// Of the rows, those that the champion left unanswered: each a loss of 1.
    #[serde(default)]
    pub champion_unanswered: u64,
    /// Of the rows, those that the challenger left unanswered: each a loss of 1.
    #[serde(default)]
    pub challenger_unanswered: u64,
    /// Wealth of the bet that the challenger is better.
    pub evidence: f64,
    /// Wealth at which the bet is won.
    pub evidence_needed: f64,
    /// A sentence for people.
    pub summary: String,
}

/// One change in the life of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum LifecycleEvent {
    /// A version exists.
    VersionRegistered {
        /// The version.
        version: ModelVersion,
    },
    /// A reference was learned for a version.
    ReferenceLearned {
        /// The version it describes.
        version: String,
        /// Its id.
        reference: String,
        /// Where its bytes are.
        artifact: ArtifactId,
    },
    /// An episode begins: a request was taken up (see [`crate::episode`]).
    EpisodeOpened {
        /// The request.
        request: Box<RetrainRequest>,
    },
    /// A training is about to begin; counted before the work so that one that kills its process ends.
    TrainingAttempted {
        /// The request.
        request: Box<RetrainRequest>,
        /// Number of the candidate in the request's episode; `None` in records of releases that had no episodes.
        #[serde(default)]
        candidate: Option<u32>,
        /// Counted from 1.
        attempt: u32,
        /// The process's own random mark, by which it knows its attempt.
        claimant: String,
    },
    /// The training failed for good; the champion stays.
    TrainingFailed {
        /// The request.
        request: String,
        /// Number of the candidate.
        #[serde(default)]
        candidate: Option<u32>,
        /// The failure, with the last lines of the trainer's output.
        reason: String,
    },
    /// A challenger is on trial.
    ChallengerTrained {
        /// The request.
        request: String,
        /// Number of the candidate.
        #[serde(default)]
        candidate: Option<u32>,
        /// What it is made of; `None` in records of releases that had trainings alone.
        #[serde(default)]
        made_of: Option<CandidateKind>,
        /// The challenger's version. Unless it was champion before, it was registered just now.
        version: String,
        /// The log from which rows may judge it.
        trial_from: Cut,
    },
    /// A challenger lost, or its deadline passed; the champion stays.
    ChallengerRejected {
        /// The request.
        request: String,
        /// Number of the candidate.
        #[serde(default)]
        candidate: Option<u32>,
        /// The challenger.
        version: String,
        /// Why.
        reason: String,
        /// The figures, where there were rows.
        report: Option<TrialReport>,
    },
    /// An episode is over.
    EpisodeEnded {
        /// The request.
        request: String,
        /// With what outcome.
        outcome: EpisodeOutcome,
        /// A sentence for people.
        reason: String,
        /// Mean loss of the champion on its rows in the episode, where there were any.
        loss: Option<f64>,
        /// The mean loss that was aimed at.
        target: Option<f64>,
    },
    /// A version became champion.
    Promoted {
        /// The new champion.
        version: String,
        /// The one before.
        previous: Option<String>,
        /// By what right.
        permit: PermitRecord,
    },
    /// The champion went back to an earlier version.
    RolledBack {
        /// The champion from now on.
        version: String,
        /// The one that was taken back.
        previous: String,
        /// Who asked, and why.
        reason: String,
    },
    /// The hold of a roll-back is lifted: challengers are promoted again.
    Released {
        /// Who asked, and why.
        reason: String,
    },
}

/// How an episode ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpisodeOutcome {
    /// The champion is as good as a version of the model ever was.
    Recovered,
    /// More rows make no better model.
    NoBetterModel,
    /// What it may cost is spent, or what it needs did not come.
    GivenUp,
    /// A person changed the champion meanwhile.
    Abandoned,
}

impl EpisodeOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Recovered, Self::NoBetterModel, Self::GivenUp, Self::Abandoned];

    /// The name used in metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NoBetterModel => "no_better_model",
            Self::GivenUp => "given_up",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The right by which a version became champion, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum PermitRecord {
    /// The first version of a model: there was no champion to beat.
    FirstVersion,
    /// The gate's ruling on a trial.
    Trial {
        /// The request.
        request: String,
        /// Number of the candidate.
        #[serde(default)]
        candidate: Option<u32>,
        /// The figures.
        report: TrialReport,
    },
    /// A person overrode the gate.
    Override {
        /// Who, and why.
        reason: String,
    },
}

/// A lifecycle event as it stands on the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelEvent {
    /// The model.
    pub model: String,
    /// Event time of what caused it, or of the command; milliseconds since the epoch.
    pub time_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: LifecycleEvent,
    /// Metrics estimated beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub estimates: BTreeMap<String, Estimate>,
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn a_number_is_the_version_that_it_was_published_under() {
        assert!(is_version("v1", "v1") && is_version("1", "v1") && is_version("v7", "7") && is_version("blue", "blue"));
        assert!(
            !is_version("1", "v11") && !is_version("v", "") && !is_version("lue", "vlue") && !is_version("v2", "v1")
        );
    }
}
