//! At the start: whether what waits for labels is kept for as long as it waits, by the topics as they are and the archive as
//! it is written.

use super::ServiceContext;
use crate::config::{ArchiveKept, Kept, check_horizon};
use anyhow::Result;
use capture::archive::Archive;
use capture::stage::{Capture, unarchived_column};
use std::time::Duration;
use streams::log::LogError;
use streams::stage::StageSpec;
use streams::topics;

/// Refuses a start that runs capture (`only` names the stages, none means all) with a label horizon that is longer.
///
/// # Errors
/// When there is one, or the log cannot say how long it keeps its topics.
pub(super) fn check_horizons(context: &ServiceContext, only: &[String]) -> Result<()> {
    let runs = |stage: StageSpec| only.is_empty() || only.contains(&stage.name);
    if !runs(Capture::spec()) {
        return Ok(());
    }
    let topics = topics_keep(context)?;
    // Another process may write it: then it has, or the topics still hold all there is.
    let is_written = runs(Archive::spec()) || context.log.bounds(topics::ARCHIVED, 0)?.end > 0;
    for model in &context.models {
        let archive = match unarchived_column(&model.watched, &model.source.privacy)? {
            _ if !is_written => ArchiveKept::NotRun,
            Some(column) => ArchiveKept::Lacks(column),
            None => ArchiveKept::For(context.config.archive.compaction.keep),
        };
        check_horizon(&model.watched, context.config.max_disorder, &Kept { topics, archive })?;
    }
    Ok(())
}

/// How long both inputs are kept; `None` is for good.
fn topics_keep(context: &ServiceContext) -> Result<Option<Duration>, LogError> {
    let inferences = context.log.retention(topics::INFERENCES)?.age;
    let labels = context.log.retention(topics::LABELS)?.age;
    Ok(inferences.into_iter().chain(labels).min())
}
