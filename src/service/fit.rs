//! Whether the references that the log holds fit the models as they are configured.
//!
//! A configuration may change while the log and its references are of the one before. Such a model is `learning` until it has
//! a reference that fits; that is no reason to refuse the start, because events are counted and others have no part in it.

use super::ServiceContext;
use super::context::open_store;
use crate::config::{Config, Finding, LogPlace};
use crate::service::model::ModelSetup;
use crate::service::topic_reader::TopicReader;
use anyhow::Result;
use capture::references::{ReferenceCache, ReferenceRegistry};
use std::sync::Arc;
use streams::log::embedded::{EmbeddedLog, Options};
use streams::log::{Log, LogError};
use streams::topics;

/// What to do for the models whose references do not fit, in this context.
///
/// # Errors
/// When the references cannot be read.
pub fn check_references(context: &ServiceContext) -> Result<Vec<Finding>> {
    findings(Arc::clone(&context.log), Arc::clone(&context.reference_cache), &context.models)
}

/// The same of a configuration whose embedded log no one uses, as it would be found at a start; `None` where the log cannot be
/// looked at without a start: it is in use, or on a Kafka.
///
/// # Errors
/// When there is a log that cannot be read.
pub fn check_references_of(config: &Config, models: &[Arc<ModelSetup>]) -> Result<Option<Vec<Finding>>> {
    if matches!(config.log.place, LogPlace::Kafka(_)) {
        return Ok(None);
    }
    if !EmbeddedLog::is_in(&config.log.directory) {
        return Ok(Some(Vec::new()));
    }
    let log = match EmbeddedLog::open(&config.log.directory, Options::default()) {
        Err(LogError::InUse { .. }) => return Ok(None),
        log => log?,
    };
    let shelf = ReferenceCache::new(Arc::new(open_store(config)?));
    findings(log, shelf, models).map(Some)
}

fn findings(log: Arc<dyn Log>, shelf: Arc<ReferenceCache>, models: &[Arc<ModelSetup>]) -> Result<Vec<Finding>> {
    let mut book = ReferenceRegistry::new(shelf).watching(models.iter().map(|model| &model.watched));
    let mut events = match TopicReader::new(log, topics::MODELS) {
        // A log without the topic has never been started on.
        Err(LogError::NoSuchPartition { .. }) => return Ok(Vec::new()),
        events => events?,
    };
    loop {
        let records = events.read()?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            book.absorb(record)?;
        }
    }
    let of_model = |model: &Arc<ModelSetup>| {
        let message = format!("{}: until then the model is learning", book.default_misfit(model.name())?);
        Some(Finding { path: format!("models.{}", model.name()), message })
    };
    Ok(models.iter().filter_map(of_model).collect())
}
