//! Whether predictions that wait for labels outlast a restart.
//!
//! Capture absorbs again what a label may still reach: from the topics, or from the archive where the topics have forgotten
//! it. One of the two must keep it for the label horizon, and before that for the disorder that is allowed and a window,
//! whose rows may be that much older than its newest. No section of the configuration can say so alone, and how long users
//! keep their own topics on a Kafka only the broker knows: the file is held against itself when it is read, and the rest at
//! the start.
//!
//! Deliberately absent: bounds in bytes, which are no time. What they delete comes from the archive too, and where it is not
//! there either, capture stops and names the offsets.

use capture::watched::WatchedModel;
use humantime::format_duration as span;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// How long inputs are kept; `None` is for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// By their topics.
    pub topics: Option<Duration>,
    /// By the archive.
    pub archive: ArchiveKept,
}

/// How long the archive keeps what waits for labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveKept {
    /// So long by event time; `None` is for good.
    For(Option<Duration>),
    /// No stage writes it.
    NotRun,
    /// It lacks the values of this column, which a segment of the model follows from.
    Lacks(String),
}

/// A label horizon that is longer than anything keeps the predictions that wait.
#[derive(Debug, Error)]
#[error(
    "predictions of {model} wait {} for their labels (a horizon of {}, a window of {}, and max_disorder {}), and are kept nowhere as long: their topics keep them {} (log.retention.age; on Kafka also the topics' own retention.ms), and the archive {archive}; shorten models.{model}.labels.horizon, or have either keep them longer", span(.horizon.saturating_add(*.window).saturating_add(*.disorder)), span(*.horizon), span(*.window), span(*.disorder), span(*.topics)
)]
pub struct WaitsTooLong {
    model: String,
    horizon: Duration,
    window: Duration,
    disorder: Duration,
    topics: Duration,
    archive: ArchiveKept,
}

impl fmt::Display for ArchiveKept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(None) => formatter.write_str("keeps them for good"),
            Self::For(Some(keep)) => write!(formatter, "{} (archive.keep)", span(*keep)),
            Self::NotRun => formatter.write_str("is not written (run the stage `archive`)"),
            Self::Lacks(column) => {
                write!(formatter, "has no values of `{column}`, which a segment follows from (privacy: profile_only)")
            }
        }
    }
}

/// Refuses a model whose predictions wait for labels longer than they are kept.
///
/// # Errors
/// When they do; the message names the settings.
pub fn check_horizon(model: &WatchedModel, disorder: Duration, kept: &Kept) -> Result<(), WaitsTooLong> {
    let (Some(labels), Some(topics)) = (&model.labels, kept.topics) else { return Ok(()) };
    let horizon = Duration::from_millis(labels.horizon_ms.unsigned_abs());
    let window = Duration::from_millis(model.windows.size_ms().unsigned_abs());
    let needed = horizon.saturating_add(window).saturating_add(disorder);
    let archive_keeps = match kept.archive {
        ArchiveKept::For(keep) => keep.is_none_or(|keep| keep >= needed),
        ArchiveKept::NotRun | ArchiveKept::Lacks(_) => false,
    };
    if topics >= needed || archive_keeps {
        return Ok(());
    }
    let (model, archive) = (model.name.to_string(), kept.archive.clone());
    Err(WaitsTooLong { model, horizon, window, disorder, topics, archive })
}
