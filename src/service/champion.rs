//! The champion as a model server: it follows the registry on `models` and answers rows.

use crate::service::model::ModelSetup;
use crate::service::topic_reader::TopicReader;
use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use retrain::lifecycle::ModelEvent;
use retrain::registry::ModelRegistry;
use retrain::scorer::{ScoredVersion, Scorer};
use std::sync::Arc;
use streams::cloud_event;
use streams::log::Log;
use streams::store::{Artifacts, Store};
use streams::topics;
use tokio_util::sync::CancellationToken;

/// Answers with whichever version is champion.
pub struct Champion {
    setup: Arc<ModelSetup>,
    store: Arc<Store>,
    models: TopicReader,
    registry: ModelRegistry,
    serving: Option<(String, Box<dyn Scorer>)>,
}

impl Champion {
    /// The server of one model; it serves nothing before [`Champion::follow`].
    ///
    /// # Errors
    /// When the log has no `models` topic.
    pub fn new(setup: Arc<ModelSetup>, store: Arc<Store>, log: Arc<dyn Log>) -> Result<Self> {
        let models = TopicReader::new(log, topics::MODELS)?;
        Ok(Self { setup, store, models, registry: ModelRegistry::default(), serving: None })
    }

    /// Reads what has been committed, and takes up the champion if it is another.
    ///
    /// # Errors
    /// When the registry or the artifact cannot be read or loaded; the version that was served is served still.
    pub fn follow(&mut self) -> Result<()> {
        loop {
            let records = self.models.read()?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let event: ModelEvent = cloud_event::decode(record)?;
                self.registry.apply(&event)?;
            }
        }
        self.take_up()
    }

    fn take_up(&mut self) -> Result<()> {
        let Some(record) = self.registry.model(self.setup.name()) else { return Ok(()) };
        let Some(champion) = record.champion_version() else { return Ok(()) };
        let version = &champion.version;
        if self.version() == Some(version.version.as_str()) {
            return Ok(());
        }
        let Some((artifact, _)) = &version.artifact else { return Ok(()) };
        let what = || format!("champion {} of {}", version.version, self.setup.name());
        let bytes = Artifacts::get(self.store.as_ref(), &artifact.0).with_context(what)?;
        let scorer = self
            .setup
            .scorer(ScoredVersion::of(self.setup.name(), version), &bytes, &CancellationToken::new())
            .with_context(what)?;
        tracing::info!(model = self.setup.name(), version = version.version, "serving");
        self.serving = Some((version.version.clone(), scorer));
        Ok(())
    }

    /// The version that answers now.
    pub fn version(&self) -> Option<&str> {
        self.serving.as_ref().map(|(version, _)| version.as_str())
    }

    /// Answers the rows; `None` where there is no champion to answer.
    ///
    /// # Errors
    /// When the rows do not fit the model.
    pub fn score(&mut self, rows: &RecordBatch) -> Result<Option<RecordBatch>> {
        match &mut self.serving {
            Some((_, scorer)) => Ok(Some(scorer.score(rows)?)),
            None => Ok(None),
        }
    }
}
