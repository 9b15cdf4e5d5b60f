//! The stages in the order of the data, each with what builds it from the service context.
//!
//! A stage is built anew at the start of each of its runs, so that nothing of an earlier one is left. Deliberately absent:
//! starting them, which is the service's.

use super::ServiceContext;
use crate::config::Config;
use crate::service::model::decoder;
use crate::service::trainer_deps::{WorkshopParts, random_name};
use anyhow::Result;
use capture::archive::Archive;
use capture::archive::reader::ArchiveReader;
use capture::repartition::{Repartition, RepartitionSpec};
use capture::stage::{Capture, CaptureSpec};
use capture::watermark_alignment::WatermarkAlignment;
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
    context: &Arc<ServiceContext>,
    (stop, watermark_alignment): (&CancellationToken, Option<&Arc<WatermarkAlignment>>),
    only: &[String],
) -> Result<Vec<NamedStage>> {
    check_stages(only, &context.config)?;
    let mut stages: Vec<_> =
        context.config.log.repartitioned().iter().map(|topic| repartition(context, topic)).collect();
    stages.extend([
        capture(context, watermark_alignment),
        archive(context),
        monitor(context),
        controller(context),
        trainer(context, stop),
    ]);
    stages.retain(|(spec, _)| only.is_empty() || only.contains(&spec.name));
    Ok(stages)
}

fn repartition(context: &Arc<ServiceContext>, topic: &'static str) -> NamedStage {
    let context = Arc::clone(context);
    let kind = if topic == topics::LABELS { EventKind::Label } else { EventKind::Inference };
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let source = topics::source_of(topic);
        let sources = context.log.partitions(&source);
        let models = context.models.iter().map(|model| model.source.clone()).collect();
        let splitter = Splitter::new(models, Limits::default(), kind, context.partitions);
        Ok(Box::new(Repartition::new(RepartitionSpec {
            topic,
            sources: sources.map_err(|error| StageError::failed(format!("looking for {source}"), error))?,
            partitions: context.partitions,
            disorder: context.config.max_disorder,
            incarnation: random_name(),
            splitter: splitter.with_schemas(Arc::clone(&context.schemas)),
        })))
    };
    (Repartition::spec(topic), Arc::new(factory))
}

fn capture(context: &Arc<ServiceContext>, watermark_alignment: Option<&Arc<WatermarkAlignment>>) -> NamedStage {
    let (context, watermark_alignment) = (Arc::clone(context), watermark_alignment.map(Arc::clone));
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let spec = CaptureSpec {
            models: context.models.iter().map(|model| Arc::clone(&model.watched)).collect(),
            partitions: context.partitions,
            monitors: context.monitors,
            record_bytes: PARTIALS_BYTES,
            disorder: context.config.max_disorder,
            watermark_alignment: watermark_alignment.clone(),
            decoder: decoder(&context.models, &context.schemas),
            references: context.references(),
            label_space: Arc::clone(&context.label_space),
            archive: Some(ArchiveReader::new(Arc::clone(&context.log), Arc::clone(&context.store))),
        };
        let capture = Capture::new(spec).map_err(|error| StageError::failed("setting up capture", error))?;
        Ok(Box::new(capture))
    };
    (Capture::spec(), Arc::new(factory))
}

fn archive(context: &Arc<ServiceContext>) -> NamedStage {
    let context = Arc::clone(context);
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let roll = context.config.archive.roll;
        Ok(Box::new(Archive::new(decoder(&context.models, &context.schemas), roll, random_name())))
    };
    (Archive::spec(), Arc::new(factory))
}

fn monitor(context: &Arc<ServiceContext>) -> NamedStage {
    let context = Arc::clone(context);
    let factory = move || -> Result<Box<dyn Stage>, StageError> {
        let spec = MonitorSpec {
            models: context.models.iter().map(|model| Arc::clone(&model.watched)).collect(),
            partitions: context.partitions,
            disorder: context.config.max_disorder,
            references: context.references(),
        };
        Ok(Box::new(MonitorStage::new(spec)))
    };
    (MonitorStage::spec(), Arc::new(factory))
}

fn controller(context: &Arc<ServiceContext>) -> NamedStage {
    let trained = context.models.iter().filter(|model| model.trainer.is_some());
    let policies: std::collections::BTreeMap<_, _> =
        trained.map(|model| (model.name().to_owned(), model.retrain.clone())).collect();
    let factory =
        move || -> Result<Box<dyn Stage>, StageError> { Ok(Box::new(ControllerStage::new(policies.clone()))) };
    (ControllerStage::spec(), Arc::new(factory))
}

fn trainer(context: &Arc<ServiceContext>, stop: &CancellationToken) -> NamedStage {
    let parts = WorkshopParts {
        log: Arc::clone(&context.log),
        store: Arc::clone(&context.store),
        models: context.models.clone(),
        schemas: Arc::clone(&context.schemas),
        work_directory: context.work_folder.path().to_owned(),
        stop: stop.clone(),
    };
    let factory = move || -> Result<Box<dyn Stage>, StageError> { Ok(Box::new(parts.stage()?)) };
    (TrainerStage::spec(), Arc::new(factory))
}
