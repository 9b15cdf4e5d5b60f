//! What can be wrong with a configuration file, and where.
//!
//! Every message names the file, the line and the path of the setting, and says how to mend it. A validator reports a
//! [`Problem`] with its path; the line is found afterwards in the text, so that validation needs no positions.

use codec::decode::PrivacyError;
use detectors::windows::WindowSpecError;
use humantime::format_duration;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error(
        "cannot read the configuration {file}: {source}; name an existing file with --config, or write one with `driftline init`"
    )]
    Unreadable {
        /// The file asked for.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A setting that cannot be.
    #[error("{file}:{line}: {}{problem}", at(.path))]
    Invalid {
        /// The configuration file.
        file: PathBuf,
        /// Line of the setting, from 1; 0 where the text gives none.
        line: u64,
        /// Path of the setting, as `models.fraud.windows.size`; empty for the file as a whole.
        path: String,
        /// What is wrong with it.
        #[source]
        problem: Problem,
    },
    /// A column is to be hashed, and there is no usable key to hash it with.
    #[error("{file}: {reason}: put at least {least} random bytes into a file named by privacy.hash_key_file, or set {variable}", least = super::LEAST_KEY_BYTES, variable = super::HASH_KEY_VARIABLE)]
    HashKey {
        /// The configuration file.
        file: PathBuf,
        /// What is missing or wrong; never the key itself.
        reason: String,
    },
    /// A schema that cannot be used, or a registry that cannot be asked.
    #[error("{file}: {path}: {reason}")]
    Schemas {
        /// The configuration file.
        file: PathBuf,
        /// Path of the section that names it.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret that cannot be read.
    #[error("{file}: {path}: {reason}")]
    Secret {
        /// The configuration file.
        file: PathBuf,
        /// Path of the section that names it.
        path: String,
        /// What is missing or wrong; never the secret itself.
        reason: String,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

/// What is wrong with one setting.
#[derive(Debug, Error, PartialEq)]
pub enum Problem {
    /// The text is not YAML, a key is unknown or missing, or a value has the wrong type.
    #[error("{0}")]
    Text(String),
    /// No models to watch.
    #[error("no model is configured: add at least one under `models`, as `driftline init --from FILE` writes it")]
    NoModels,
    /// A name that cannot be a label, a folder and a part of a URL at once.
    #[error(
        "`{name}` cannot be a name: use 1 to 63 lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
    )]
    BadName {
        /// The name given.
        name: String,
    },
    /// A feature without a name, or with control characters in it.
    #[error("a feature needs a name of visible characters: got {name:?}")]
    BadFeatureName {
        /// The name given.
        name: String,
    },
    /// A feature called like a column of Driftline's own.
    #[error(
        "`{name}` is a column of driftline's own: rename the feature, and bring the old name to the new one in `map.features`"
    )]
    ReservedName {
        /// The name given.
        name: String,
    },
    /// A model without features.
    #[error("a model needs at least one feature")]
    NoFeatures,
    /// A number below or above what makes sense.
    #[error("must be {wanted}, got {found}")]
    OutOfRange {
        /// The allowed range in words.
        wanted: &'static str,
        /// What was given.
        found: String,
    },
    /// Settings of one kind of task given for another.
    #[error("a {task} task takes no `{key}`: remove it, or change `task.type`")]
    NotOfTask {
        /// The type of task.
        task: &'static str,
        /// The key that does not belong to it.
        key: &'static str,
    },
    /// A setting that this one needs.
    #[error("`{key}` is missing: {why}")]
    Needs {
        /// The missing key.
        key: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// The classes of a task.
    #[error("classes must be at least two, all different and not empty: got {found}")]
    Classes {
        /// What was given.
        found: String,
    },
    /// A label that is none of the task's classes.
    #[error("`{label}` is none of the classes {classes}")]
    UnknownClass {
        /// The label given.
        label: String,
        /// The classes there are.
        classes: String,
    },
    /// Two settings of which only one may be given.
    #[error("`{one}` and `{other}` exclude each other: keep one")]
    Exclusive {
        /// The first.
        one: &'static str,
        /// The second.
        other: &'static str,
    },
    /// A feature without stored values in a model that is trained on what is stored.
    #[error(
        "`privacy: {policy}` leaves no values to train on: keep or hash the feature, or remove the model's `trainer`"
    )]
    Untrainable {
        /// The feature's policy.
        policy: &'static str,
    },
    /// A hash that cannot be made of the column.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// A setting that the part of the program refuses which acts on it, in its words.
    #[error("{reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// Steps that panes are not made of.
    #[error(
        "steps of {} do not divide the panes of {}, the common divisor of the windows' size and hop: choose a whole part of a pane, as {}", format_duration(*.step), format_duration(*.pane), format_duration(*.fits)
    )]
    Step {
        /// The step given.
        step: Duration,
        /// The windows' pane.
        pane: Duration,
        /// A step that fits.
        fits: Duration,
    },
    /// An SQL expression that cannot be parsed, or names a column that is not there.
    #[error(
        "`{expression}` cannot be a segment ({reason}): write an SQL expression over the features, as `CASE WHEN age < 65 THEN 'young' ELSE 'old' END`, or `from_event`"
    )]
    Sql {
        /// The expression given.
        expression: String,
        /// What the planner said.
        reason: String,
    },
    /// A column of the file for a dimension that events do not carry.
    #[error("`{dimension}` is no segment that events carry: add it to the model's segments as `from_event`")]
    NotFromEvent {
        /// The dimension.
        dimension: String,
    },
    /// Windows that cannot be.
    #[error(transparent)]
    Windows(#[from] WindowSpecError),
    /// A place for artifacts that is neither a directory nor a supported URL.
    #[error("`{url}` is neither a directory nor an s3:// URL")]
    ArtifactUrl {
        /// What was given.
        url: String,
    },
}

/// A problem and the path of the setting that has it.
#[derive(Debug, PartialEq)]
pub(super) struct Misfit {
    /// Path of the setting.
    pub(super) path: String,
    /// What is wrong.
    pub(super) problem: Problem,
}

/// The result of a validator.
pub(super) type Validated<T> = Result<T, Misfit>;

/// A problem at a path.
pub(super) fn refuse<T>(path: impl Into<String>, problem: impl Into<Problem>) -> Validated<T> {
    Err(Misfit { path: path.into(), problem: problem.into() })
}

/// What another part of the program says of one of its settings, at the setting's path.
///
/// Its message may begin with the setting's name, which the path says already.
pub(super) fn refused(section: &str, setting: &str, error: &impl Display) -> Misfit {
    let message = error.to_string();
    let reason = message.strip_prefix(setting).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&message).to_owned();
    Misfit { path: format!("{section}.{setting}"), problem: Problem::Refused { reason } }
}

/// A number that is not in its range.
pub(super) fn out_of_range(wanted: &'static str, found: impl ToString) -> Problem {
    Problem::OutOfRange { wanted, found: found.to_string() }
}

/// Refuses a length of time that is no time.
pub(super) fn positive(path: &str, value: Duration) -> Validated<Duration> {
    if value.is_zero() {
        return refuse(path, out_of_range("longer than nothing", humantime::format_duration(value)));
    }
    Ok(value)
}
