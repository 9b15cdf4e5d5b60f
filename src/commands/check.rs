//! `driftline check`: the configuration, what is hardly as meant in it, whether the references that it names support the
//! budgets of false alarms that it states, and whether those in an embedded log that is not in use fit the models.

use super::WrongUsage;
use crate::cli::{ConfigArgs, Exit};
use crate::config::{Config, Finding, ModelConfig, check as findings_of};
use crate::files::EventTime;
use crate::files::table::TableSpec;
use crate::output::say;
use crate::service::model::{self, ModelSetup};
use crate::service::{check_api, check_references_of};
use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use capture::learn::learn_reference;
use codec::columns::EVENT_TIME;
use detectors::panel::{FalseAlarmBudget, Support};
use detectors::reference::Origin;
use detectors::windows::floor_to;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    check_api(&config)?;
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
        let setup = model::find(&setups, model.name.as_str(), &config)?;
        let Some(rows) = rows_of_reference(model, setup)? else { continue };
        findings.extend(too_few_rows(model, &rows));
        supported.push(support(model, (setup, &rows))?);
    }
    if json {
        print_json(args, &config, &findings, &supported)?;
    } else {
        findings.iter().try_for_each(|finding| say(format_args!("{finding}")))?;
        supported.iter().flat_map(Supported::sentences).try_for_each(|sentence| say(format_args!("{sentence}")))?;
        say(format_args!(
            "{}: {} model(s), {} finding(s)",
            args.config.display(),
            config.models.len(),
            findings.len()
        ))?;
    }
    match supported.iter().find(|supported| !supported.support.is_enough()) {
        Some(refused) => Err(WrongUsage(refused.refusal()).into()),
        None => Ok(Exit::Done),
    }
}

fn print_json(args: &ConfigArgs, config: &Config, findings: &[Finding], supported: &[Supported]) -> Result<()> {
    let findings: Vec<_> = findings.iter().map(|f| json!({"path": f.path, "message": f.message})).collect();
    let budgets = supported.iter().map(|supported| {
        let Support { windows, least, out_of_reach, .. } = &supported.support;
        json!({
            "path": supported.path,
            "reference_windows": windows,
            "stated": supported.stated,
            "smallest": least,
            "out_of_reach": out_of_reach,
        })
    });
    let budgets: Vec<_> = budgets.collect();
    let models = config.models.len();
    say(format_args!("{}", json!({"file": args.config, "models": models, "findings": findings, "budgets": budgets})))
}

impl Supported {
    fn sentences(&self) -> Vec<String> {
        let blind = self.support.out_of_reach.iter().map(|test| {
            format!(
                "{}: `{}` cannot be judged: windows of the reference differ so much among themselves that the threshold of {} is {:.2}, which no window reaches; learn it from a longer time, or segment it by what makes them differ",
                self.path, test.subject, test.test, test.threshold
            )
        });
        [self.budget()].into_iter().chain(blind).collect()
    }

    fn budget(&self) -> String {
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

/// The rows of a model's configured reference; `None` where there is none.
fn rows_of_reference(model: &ModelConfig, setup: &ModelSetup) -> Result<Option<RecordBatch>> {
    let Some(reference) = model.reference.as_ref().filter(|reference| reference.file.exists()) else {
        return Ok(None);
    };
    let table = TableSpec { file: reference.file.clone(), columns: reference.columns.clone() };
    let rows = table.read(setup).with_context(|| format!("models.{}.reference", model.name))?;
    Ok(Some(rows))
}

/// What the reference of a model supports.
fn support(model: &ModelConfig, (setup, rows): (&Arc<ModelSetup>, &RecordBatch)) -> Result<Supported> {
    // Name and digest of the file are part of a reference's identity, and nobody asks for that here.
    let origin = Origin::File { name: String::new(), digest: String::new() };
    let learned = learn_reference(&setup.watched, "checked", rows, origin);
    let learned = learned.with_context(|| format!("models.{}.reference", model.name))?;
    let policy = &setup.watched.panel;
    let path = format!("models.{}.panel.false_alarms", model.name);
    Ok(Supported { path, stated: policy.false_alarms, support: Support::of(policy, &learned)? })
}

/// Windows that mostly hold fewer rows than a judgement needs, if those to come are like the reference's.
fn too_few_rows(model: &ModelConfig, rows: &RecordBatch) -> Option<Finding> {
    let watched = model.watched();
    // Times that were made up say nothing of the traffic.
    let is_timed = model.reference.as_ref().is_some_and(|it| matches!(it.columns.time, EventTime::Column(_)));
    let times = rows.column_by_name(EVENT_TIME).filter(|_| is_timed)?.as_primitive_opt::<Int64Type>()?;
    let mut windows: BTreeMap<i64, i64> = BTreeMap::new();
    let window_of = |time_ms: i64| floor_to(time_ms, watched.windows.size_ms());
    times.iter().flatten().for_each(|time_ms| *windows.entry(window_of(time_ms)).or_default() += 1);
    let mut held: Vec<i64> = windows.into_values().collect();
    held.sort_unstable();
    let (median, needed) = (*held.get(held.len() / 2)?, watched.panel.min_rows);
    (median < needed).then(|| Finding {
        path: format!("models.{}.windows.size", model.name),
        message: format!(
            "half of the reference's windows hold {median} rows or fewer, and a judgement needs {needed}: such windows are \
             inconclusive; lengthen them, or lower panel.min_rows"
        ),
    })
}

/// References that a model without a version would be learned from, and that are not there.
fn missing_references(config: &Config) -> Vec<Finding> {
    let references = config.models.values().filter_map(|model| Some((&model.name, model.reference.as_ref()?)));
    let missing = references.filter(|(_, reference)| !reference.file.exists());
    let finding = |(name, reference): (&_, &crate::config::ReferenceConfig)| Finding {
        path: format!("models.{name}.reference.file"),
        message: format!(
            "there is no file {}: without it the first `driftline run` fails; put it there, or correct the path",
            reference.file.display()
        ),
    };
    missing.map(finding).collect()
}
