//! `driftline check`: the configuration, what is hardly as meant in it, whether the references that it names support the
//! budgets of false alarms that it states, and whether those in an embedded log that is not in use fit the models.

use super::WrongUsage;
use crate::cli::{ConfigArgs, Exit};
use crate::config::{Config, Finding, ModelConfig, check as findings_of};
use crate::service::check_references_of;
use crate::setup::{self, ModelSetup};
use crate::table::TableSpec;
use anyhow::{Context, Result};
use detectors::panel::{FalseAlarmBudget, Support};
use detectors::reference::Origin;
use ingest::learn::learn_reference;
use serde_json::json;

/// What the reference of a model supports.
struct Supported {
    path: String,
    stated: Option<FalseAlarmBudget>,
    support: Support,
}

pub(super) fn check(args: &ConfigArgs, json: bool) -> Result<Exit> {
    let config = Config::load(&args.config)?;
    let setups = ModelSetup::of(&config)?;
    config.schemas.of_files()?;
    let mut findings = findings_of(&config);
    findings.extend(missing_references(&config));
    match check_references_of(&config, &setups)? {
        Some(misfits) => findings.extend(misfits),
        None => tracing::info!(
            "the log is in use or on a Kafka: whether its references fit the models is told at the start"
        ),
    }
    let mut supported = Vec::new();
    for model in config.models.values() {
        let setup = setup::find(&setups, model.name.as_str(), &config)?;
        supported.extend(support(model, setup)?);
    }
    if json {
        print_json(args, &config, &findings, &supported);
    } else {
        findings.iter().for_each(|finding| println!("{finding}"));
        supported.iter().for_each(|supported| println!("{}", supported.sentence()));
        println!("{}: {} model(s), {} finding(s)", args.config.display(), config.models.len(), findings.len());
    }
    match supported.iter().find(|supported| !supported.support.is_enough()) {
        Some(refused) => Err(WrongUsage(refused.refusal()).into()),
        None => Ok(Exit::Done),
    }
}

fn print_json(args: &ConfigArgs, config: &Config, findings: &[Finding], supported: &[Supported]) {
    let findings: Vec<_> = findings.iter().map(|f| json!({"path": f.path, "message": f.message})).collect();
    let budgets = supported.iter().map(|supported| {
        let Support { windows, least, .. } = supported.support;
        json!({"path": supported.path, "reference_windows": windows, "stated": supported.stated, "smallest": least})
    });
    let budgets: Vec<_> = budgets.collect();
    let models = config.models.len();
    println!("{}", json!({"file": args.config, "models": models, "findings": findings, "budgets": budgets}));
}

impl Supported {
    fn sentence(&self) -> String {
        let windows = self.support.windows;
        match self.support.least {
            Some(least) => format!(
                "{}: the reference holds {windows} windows; the smallest budget that they support is {least}",
                self.path
            ),
            None => format!("{}: the reference holds {windows} windows, which support no budget", self.path),
        }
    }

    fn refusal(&self) -> String {
        let stated = self.stated.map(|stated| stated.to_string()).unwrap_or_default();
        format!(
            "{}: `{stated}` needs a reference of {} windows, and this one holds {}: learn it from a longer time, or state a larger budget",
            self.path, self.support.needed, self.support.windows
        )
    }
}

/// What the configured reference of a model supports; `None` where there is none.
fn support(model: &ModelConfig, setup: &std::sync::Arc<ModelSetup>) -> Result<Option<Supported>> {
    let Some(reference) = model.reference.as_ref().filter(|reference| reference.file.is_file()) else {
        return Ok(None);
    };
    let at = || format!("models.{}.reference", model.name);
    let table = TableSpec { file: reference.file.clone(), columns: reference.columns.clone() };
    let rows = table.read(setup).with_context(at)?;
    // The digest of the file is part of a reference's identity, and nobody asks for that here.
    let origin = Origin::File { name: reference.file.display().to_string(), digest: String::new() };
    let learned = learn_reference(&setup.watched, "checked", &rows, origin).with_context(at)?;
    let policy = &setup.watched.panel;
    let path = format!("models.{}.panel.false_alarms", model.name);
    Ok(Some(Supported { path, stated: policy.false_alarms, support: Support::of(policy, &learned)? }))
}

/// References that a model without a version would be learned from, and that are not there.
fn missing_references(config: &Config) -> Vec<Finding> {
    let references = config.models.values().filter_map(|model| Some((&model.name, model.reference.as_ref()?)));
    let missing = references.filter(|(_, reference)| !reference.file.is_file());
    let finding = |(name, reference): (&_, &crate::config::ReferenceConfig)| Finding {
        path: format!("models.{name}.reference.file"),
        message: format!(
            "there is no file {}: without it the first `driftline run` fails; put it there, or correct the path",
            reference.file.display()
        ),
    };
    missing.map(finding).collect()
}
