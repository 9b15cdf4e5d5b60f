//! One model as the service runs it: what is watched, how it is decoded, and what trains and answers.

use crate::config::{Config, HASH_KEY_VARIABLE, ModelConfig, OnnxRuntimeConfig, ScorerConfig, Serving, TrainerConfig};
use crate::files::typed::Wanted;
use anyhow::{Context, Result};
use capture::watched::WatchedModel;
use codec::decode::{Decoder, HashKey, Limits, Source};
use codec::schemas::Schemas;
use dashboards::dashboard::ModelFacts;
use detectors::schema::ColumnSchema;
use retrain::policy::RetrainPolicy;
use retrain::process::CommandSpec;
use retrain::scorer::command::CommandScorer;
use retrain::scorer::onnx::{Library, OnnxRuntime};
use retrain::scorer::standing::StandingScorer;
use retrain::scorer::{ScoredVersion, Scorer, ScoringError};
use retrain::trainer::Trainer;
use retrain::trainer::builtin::BuiltinTrainer;
use retrain::trainer::command::CommandTrainer;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// What trains a model's challengers.
#[derive(Debug, Clone)]
pub enum TrainerKind {
    /// Driftline's own regressions.
    Builtin,
    /// A program.
    Command(CommandSpec),
}

/// What answers for a model's versions.
#[derive(Debug, Clone)]
pub enum ScorerKind {
    /// A builtin model's own numbers, or ONNX Runtime in a process of its own.
    Onnx(Arc<OnnxRuntime>),
    /// A program, whatever the artifact's format, started for each batch.
    Command(CommandSpec),
    /// A program that stays up.
    StandingCommand(CommandSpec),
}

/// A model with everything that its stages need.
#[derive(Debug, Clone)]
pub struct ModelSetup {
    /// What capture and monitor know of it.
    pub watched: Arc<WatchedModel>,
    /// How its records are decoded.
    pub source: Source,
    /// The column of each feature that does not stand under its own name in files.
    pub renamed: BTreeMap<String, String>,
    /// When it is retrained, and what a challenger must show.
    pub retrain: RetrainPolicy,
    /// What trains challengers; `None` watches the model only.
    pub trainer: Option<TrainerKind>,
    /// What answers.
    pub scorer: ScorerKind,
    /// Whether Driftline answers for the champion.
    pub serving: Serving,
    /// Triton model repository that follows the champion.
    pub triton: Option<PathBuf>,
}

impl ModelSetup {
    /// The setups of every configured model.
    ///
    /// # Errors
    /// When a hash key is missing, or a model cannot be decoded as configured.
    pub fn of(config: &Config) -> Result<Vec<Arc<Self>>> {
        let key = config.hash_key(std::env::var_os(HASH_KEY_VARIABLE))?;
        let one = |model: &ModelConfig| Ok(Arc::new(Self::of_model(model, &config.onnxruntime, key.clone())?));
        config.models.values().map(one).collect()
    }

    fn of_model(
        model: &ModelConfig,
        onnxruntime: &OnnxRuntimeConfig,
        key: Option<HashKey>,
    ) -> Result<Self, anyhow::Error> {
        let trainer = match &model.trainer {
            None => None,
            Some(TrainerConfig::Builtin) => Some(TrainerKind::Builtin),
            Some(TrainerConfig::Command(command)) => Some(TrainerKind::Command(command.spec()?)),
        };
        let scorer = match &model.scorer {
            ScorerConfig::Onnx => ScorerKind::Onnx(Arc::new(engine(onnxruntime, trainer.as_ref())?)),
            ScorerConfig::Command(command) => ScorerKind::Command(command.spec()?),
            ScorerConfig::StandingCommand(command) => ScorerKind::StandingCommand(command.spec()?),
        };
        let source = model.source(key).with_context(|| format!("model {}", model.name))?;
        Ok(Self {
            watched: model.watched(),
            source,
            renamed: model.renamed_features(),
            retrain: model.retrain.clone(),
            trainer,
            scorer,
            serving: model.serving,
            triton: model.triton_repository.clone(),
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.watched.name
    }

    /// What its metrics begin with; events may be so far out of order.
    pub fn facts(&self, disorder: Duration) -> ModelFacts {
        let millis = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let watched = &self.watched;
        ModelFacts {
            name: self.name().to_owned(),
            window: millis(watched.windows.size_ms()),
            hop: millis(watched.windows.hop_ms()),
            labels_mature: watched.judged_at_ms().last().copied().map(millis),
            disorder,
            retrains: self.trainer.is_some(),
            publishes: self.triton.is_some(),
        }
    }

    /// A feature as a file has it.
    pub fn wanted(&self, feature: &ColumnSchema) -> Wanted {
        let from = self.renamed.get(&feature.name).unwrap_or(&feature.name);
        Wanted { from: from.clone(), name: feature.name.clone(), kind: feature.kind }
    }

    /// What trains it.
    pub fn trainer(&self) -> Option<Box<dyn Trainer>> {
        match self.trainer.as_ref()? {
            TrainerKind::Builtin => Some(Box::new(BuiltinTrainer)),
            TrainerKind::Command(command) => Some(Box::new(CommandTrainer { command: command.clone() })),
        }
    }

    /// What answers for a version.
    ///
    /// # Errors
    /// When the artifact cannot be loaded.
    pub fn scorer(
        &self,
        version: ScoredVersion,
        artifact: &[u8],
        stop: &CancellationToken,
    ) -> Result<Box<dyn Scorer>, ScoringError> {
        Ok(match &self.scorer {
            ScorerKind::Onnx(engine) => engine.scorer(version, artifact, stop)?,
            ScorerKind::Command(program) => {
                Box::new(CommandScorer::new(program.clone(), version, artifact, stop.clone())?)
            }
            ScorerKind::StandingCommand(program) => {
                Box::new(StandingScorer::new(program.clone(), version, artifact, stop.clone())?)
            }
        })
    }
}

/// ONNX Runtime in children of this binary.
fn engine(config: &OnnxRuntimeConfig, trainer: Option<&TrainerKind>) -> Result<OnnxRuntime> {
    let binary = std::env::current_exe()
        .context("finding this program's own file, of which ONNX Runtime's processes are made")?;
    let trainer = match trainer {
        Some(TrainerKind::Command(command)) => Some(command.clone()),
        Some(TrainerKind::Builtin) | None => None,
    };
    let library = Library { named: config.library.clone(), trainer };
    Ok(OnnxRuntime::new(binary, library, config.limits))
}

/// A decoder for the records of these models, written with these schemas.
pub fn decoder(models: &[Arc<ModelSetup>], schemas: &Arc<Schemas>) -> Decoder {
    let sources = models.iter().map(|model| model.source.clone()).collect();
    Decoder::new(sources, Limits::default()).with_schemas(Arc::clone(schemas))
}

/// A model that is not configured; kept apart because it decides the exit code.
#[derive(Debug, Error)]
#[error("no model `{model}` in {file}: it is one of {known}")]
pub struct UnknownModel {
    model: String,
    file: PathBuf,
    known: String,
}

/// The setup of the model of that name.
///
/// # Errors
/// When there is no such model; the message names those that there are.
pub fn find<'a>(
    models: &'a [Arc<ModelSetup>],
    name: &str,
    config: &Config,
) -> Result<&'a Arc<ModelSetup>, UnknownModel> {
    models.iter().find(|model| model.name() == name).ok_or_else(|| {
        let known: Vec<_> = models.iter().map(|model| model.name()).collect();
        UnknownModel { model: name.to_owned(), file: config.file.clone(), known: known.join(", ") }
    })
}
