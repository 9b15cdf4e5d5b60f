//! What people ask of a model's registry, on the `commands` topic.
//!
//! A command names the champion it expects, so that one that was given on an outdated view is refused rather than carried
//! out on something else. The API and the command line append commands; the trainer stage, the one writer of `models`,
//! carries them out or refuses them on `retrain`, in order.

use crate::lifecycle::{ArtifactId, ModelVersion};
use serde::{Deserialize, Serialize};
use streams::cloud_event::{Attributes, CloudEventError, encode};
use streams::log::NewRecord;
use streams::topics;

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Unique; given by the adapter that took it in.
    pub id: String,
    /// The model.
    pub model: String,
    /// When it was given, milliseconds since the epoch.
    pub time_ms: i64,
    /// The champion that the asker saw; `None` for a model that has none yet.
    pub expected_champion: Option<String>,
    /// What is asked.
    pub action: Action,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// Make a registered version champion.
    Promote {
        /// The version.
        version: String,
        /// Who asks and why the gate is to be passed by. Without it the gate must have let the version pass.
        past_the_gate: Option<String>,
    },
    /// Go back to a version that was champion before.
    RollBack {
        /// The version; `None` for the champion before this one.
        version: Option<String>,
        /// Who asks, and why.
        reason: String,
    },
    /// Lift the hold of a roll-back, so that challengers are promoted again.
    Release {
        /// Who asks, and why.
        reason: String,
    },
    /// Register a version from outside. The first version of a model becomes its champion.
    Register {
        /// The version.
        version: Box<ModelVersion>,
        /// Its reference, as id and where its bytes are, if it brings one.
        reference: Option<(String, ArtifactId)>,
    },
    /// Give a registered version another reference.
    SetReference {
        /// The version.
        version: String,
        /// Id of the reference.
        reference: String,
        /// Where its bytes are.
        artifact: ArtifactId,
    },
}

impl Command {
    /// The record that holds it.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_record(&self) -> Result<NewRecord, CloudEventError> {
        let attributes = Attributes {
            id: &self.id,
            source: "/driftline/api",
            kind: "driftline.command",
            subject: &self.model,
            time_ms: self.time_ms,
        };
        encode(topics::COMMANDS, attributes, self)
    }
}
