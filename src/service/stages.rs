//! The stages in the order of the data, each with what builds it from the grounds that it stands on.
//!
//! A stage is built anew at the start of each of its lives, so that nothing of an earlier one is left. Deliberately absent:
//! starting them, which is the service's.

use super::Grounds;
use crate::config::Config;
use crate::setup::decoder;
use crate::workshop::{WorkshopParts, random_name};
use anyhow::Result;
use capture::archive::Archive;
use capture::archive::reader::ArchiveReader;
use capture::catch_up::CatchUp;
use capture::repartition::{Repartition, RepartitionSpec};
use capture::stage::{Capture, CaptureSpec};
use codec::decode::{EventKind, Limits, Splitter};
use monitor::{MonitorSpec, MonitorStage};
use retrain::controller_stage::ControllerStage;
use retrain::trainer_stage::TrainerStage;
use std::sync::Arc;
use streams::runner::StageFactory;
use streams::stage::{Stage, StageError, StageSpec};
use streams::topics;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The most bytes of partials in one record: half of what a Kafka that Driftline has set up takes.
const PARTIALS_BYTES: usize = 8 << 20;

/// A stage that there is not; kept apart because it decides the exit code.
#[derive(Debug, Error)]
#[error("no stage `{stage}`: the stages are {known}")]
pub struct UnknownStage {
    stage: String,
    known: String,
}

/// Refuses names that no stage of the configuration has.
///
/// # Errors
/// When there is one; the message names the stages.
pub fn check_stages(names: &[String], config: &Config) -> Result<(), UnknownStage> {
    let repartitions = config.log.repartitioned().iter().map(|topic| Repartition::spec(topic));
    let specs = [Capture::spec(), Archive::spec(), MonitorStage::spec(), ControllerStage::spec(), TrainerStage::spec()];
    let known: Vec<_> = repartitions.chain(specs).map(|spec| spec.name).collect();
    match names.iter().find(|name| !known.contains(name)) {
        Some(unknown) => Err(UnknownStage { stage: unknown.clone(), known: known.join(", ") }),
        None => Ok(()),
    }
}

/// A stage's name and inputs, and what builds it.
type NamedStage = (StageSpec, StageFactory);

/// The stages of these names; without names, all of them.
pub(super) fn stages(
    grounds: &Arc<Grounds>,
    (stop, catch_up): (&CancellationToken, Option<&Arc<CatchUp>>),
    only: &[String],
) -> Result<Vec<NamedStage>> {
    check_stages(only, &grounds.config)?;
    let mut stages: Vec<_> =
        grounds.config.log.repartitioned().iter().map(|topic| repartition(grounds, topic)).collect();
    stages.extend([
        capture(grounds, catch_up),
        archive(grounds),
        monitor(grounds),
        controller(grounds),
        trainer(grounds, stop),
    ]);
    stages.retain(|(spec, _)| only.is_empty() || only.contains(&spec.name));
    Ok(stages)
}

fn repartition(grounds: &Arc<Grounds>, topic: &'static str) -> NamedStage {
    let grounds = Arc::clone(grounds);
    let kind = if topic == topics::LABELS { EventKind::Label } else { EventKind::Inference };
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let source = topics::source_of(topic);
        let sources = grounds.log.partitions(&source);
        let models = grounds.models.iter().map(|model| model.source.clone()).collect();
        let splitter = Splitter::new(models, Limits::default(), kind, grounds.partitions);
        Ok(Box::new(Repartition::new(RepartitionSpec {
            topic,
            sources: sources.map_err(|error| StageError::failed(format!("looking for {source}"), error))?,
            partitions: grounds.partitions,
            disorder: grounds.config.max_disorder,
            life: random_name(),
            splitter: splitter.with_schemas(Arc::clone(&grounds.schemas)),
        })))
    };
    (Repartition::spec(topic), Arc::new(factory))
}

fn capture(grounds: &Arc<Grounds>, catch_up: Option<&Arc<CatchUp>>) -> NamedStage {
    let (grounds, catch_up) = (Arc::clone(grounds), catch_up.map(Arc::clone));
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let spec = CaptureSpec {
            models: grounds.models.iter().map(|model| Arc::clone(&model.watched)).collect(),
            partitions: grounds.partitions,
            monitors: grounds.monitors,
            record_bytes: PARTIALS_BYTES,
            disorder: grounds.config.max_disorder,
            catch_up: catch_up.clone(),
            decoder: decoder(&grounds.models, &grounds.schemas),
            references: grounds.references(),
            label_space: Arc::clone(&grounds.label_space),
            archive: Some(ArchiveReader::new(Arc::clone(&grounds.log), Arc::clone(&grounds.store))),
        };
        let capture = Capture::new(spec).map_err(|error| StageError::failed("setting up capture", error))?;
        Ok(Box::new(capture))
    };
    (Capture::spec(), Arc::new(factory))
}

fn archive(grounds: &Arc<Grounds>) -> NamedStage {
    let grounds = Arc::clone(grounds);
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let roll = grounds.config.archive.roll;
        Ok(Box::new(Archive::new(decoder(&grounds.models, &grounds.schemas), roll, random_name())))
    };
    (Archive::spec(), Arc::new(factory))
}

fn monitor(grounds: &Arc<Grounds>) -> NamedStage {
    let grounds = Arc::clone(grounds);
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let spec = MonitorSpec {
            models: grounds.models.iter().map(|model| Arc::clone(&model.watched)).collect(),
            partitions: grounds.partitions,
            disorder: grounds.config.max_disorder,
            references: grounds.references(),
        };
        Ok(Box::new(MonitorStage::new(spec)))
    };
    (MonitorStage::spec(), Arc::new(factory))
}

fn controller(grounds: &Arc<Grounds>) -> NamedStage {
    let trained = grounds.models.iter().filter(|model| model.trainer.is_some());
    let policies: std::collections::BTreeMap<_, _> =
        trained.map(|model| (model.name().to_owned(), model.retrain.clone())).collect();
    let factory =
        move || -> Result<Box<dyn Stage>, StageError> { Ok(Box::new(ControllerStage::new(policies.clone()))) };
    (ControllerStage::spec(), Arc::new(factory))
}

fn trainer(grounds: &Arc<Grounds>, stop: &CancellationToken) -> NamedStage {
    let parts = WorkshopParts {
        log: Arc::clone(&grounds.log),
        store: Arc::clone(&grounds.store),
        models: grounds.models.clone(),
        schemas: Arc::clone(&grounds.schemas),
        work_directory: grounds.work_folder.path().to_owned(),
        stop: stop.clone(),
    };
    let factory = move || -> Result<Box<dyn Stage>, StageError> { Ok(Box::new(parts.stage()?)) };
    (TrainerStage::spec(), Arc::new(factory))
}
