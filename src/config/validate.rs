//! From what is written to what can be acted on: the checks of [`super::raw`], one function per section.

use super::error::{Misfit, Problem, Validated, refuse};
use super::model::{
    AbsentLabel, ColumnPrivacy, CommandConfig, LabelConfig, Maturity, ModelConfig, ModelName, ScorerConfig,
    SegmentConfig, SegmentSource, TrainerConfig,
};
use super::panel::{Hysteresis, PanelSettings, Thresholds};
use super::policy::{GateSettings, RetrainSettings};
use super::raw::{
    RawAbsent, RawCommand, RawFeature, RawLabels, RawMaturity, RawModel, RawScorer, RawTask, RawTrainer, RawWindows,
    TaskKind,
};
use crate::ordered::Ordered;
use datafusion::sql::parser::DFParser;
use detectors::schema::{ColumnKind, ModelSchema, Task};
use detectors::windows::WindowSpec;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The written form of a segment that events carry themselves.
const FROM_EVENT: &str = "from_event";
/// The default of `step` as a part of the window's hop: enough points for a sequential detector to act within a window.
const STEPS_A_HOP: u32 = 20;

/// Checks one model; `folder` is what relative paths are relative to.
pub(super) fn model(name: &str, raw: RawModel, folder: &Path) -> Validated<ModelConfig> {
    let path = format!("models.{name}");
    let task = task(&path, raw.task)?;
    let (schema, privacy) = features(&path, raw.features, task)?;
    let map = raw.map;
    let windows = windows(&path, &raw.windows)?;
    check_panel(&path, &raw.panel)?;
    check_retrain(&path, &raw.retrain)?;
    check_gate(&path, &raw.gate)?;
    if let Some(map) = &map {
        check_mapped_features(&path, map, &schema)?;
    }
    Ok(ModelConfig {
        name: model_name(&path, name)?,
        segments: segments(&path, raw.segments)?,
        step: step(&path, raw.step.map(|step| step.0), &windows)?,
        windows,
        labels: labels(&path, raw.labels, &schema.task)?,
        schema,
        privacy,
        panel: raw.panel,
        retrain: raw.retrain,
        gate: raw.gate,
        trainer: raw.trainer.map(|trainer| self::trainer(&path, trainer)).transpose()?,
        scorer: scorer(&path, raw.scorer)?,
        serving: raw.serving,
        map,
        reference_file: raw.reference.file.map(|file| folder.join(file)),
        triton_repository: raw.publish.triton.map(|repository| folder.join(repository)),
    })
}

fn model_name(path: &str, name: &str) -> Validated<ModelName> {
    ModelName::new(name)
        .ok_or_else(|| Misfit { path: path.to_owned(), problem: Problem::BadName { name: name.to_owned() } })
}

fn task(path: &str, raw: RawTask) -> Validated<Task> {
    let path = format!("{path}.task");
    let name = match raw.kind {
        TaskKind::Binary => "binary",
        TaskKind::Multiclass => "multiclass",
        TaskKind::Regression => "regression",
    };
    let stray = |key: &'static str| refuse(format!("{path}.{key}"), Problem::NotOfTask { task: name, key });
    match (raw.kind, raw.positive, raw.negative, raw.classes) {
        (TaskKind::Multiclass | TaskKind::Regression, Some(_), _, _) => stray("positive"),
        (TaskKind::Multiclass | TaskKind::Regression, _, Some(_), _) => stray("negative"),
        (TaskKind::Binary | TaskKind::Regression, _, _, Some(_)) => stray("classes"),
        (TaskKind::Regression, None, None, None) => Ok(Task::Regression),
        (TaskKind::Binary, Some(positive), Some(negative), None) => {
            distinct_classes(&path, &[&negative, &positive])?;
            Ok(Task::Binary { positive, negative })
        }
        (TaskKind::Binary, positive, _, None) => {
            let key = if positive.is_none() { "positive" } else { "negative" };
            refuse(path, Problem::Needs { key, why: "a binary task names its two classes" })
        }
        (TaskKind::Multiclass, None, None, Some(classes)) => {
            distinct_classes(&format!("{path}.classes"), &classes.iter().collect::<Vec<_>>())?;
            Ok(Task::Multiclass { classes })
        }
        (TaskKind::Multiclass, None, None, None) => {
            refuse(path, Problem::Needs { key: "classes", why: "a multiclass task lists its classes" })
        }
    }
}

fn distinct_classes(path: &str, classes: &[&String]) -> Validated<()> {
    let mut sorted = classes.to_vec();
    sorted.sort();
    sorted.dedup();
    if classes.len() < 2 || sorted.len() < classes.len() || classes.iter().any(|class| class.is_empty()) {
        return refuse(path, Problem::Classes { found: format!("{classes:?}") });
    }
    Ok(())
}

type Privacy = BTreeMap<String, ColumnPrivacy>;

fn features(path: &str, raw: Ordered<RawFeature>, task: Task) -> Validated<(ModelSchema, Privacy)> {
    let path = format!("{path}.features");
    if raw.0.is_empty() {
        return refuse(path, Problem::NoFeatures);
    }
    let mut columns = Vec::new();
    let mut privacy = BTreeMap::new();
    for (name, feature) in raw {
        let at = format!("{path}.{name}");
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return refuse(at, Problem::BadFeatureName { name });
        }
        if ingest::columns::is_reserved(&name) {
            return refuse(at, Problem::ReservedName { name });
        }
        if feature.privacy == ColumnPrivacy::Hash && feature.kind == ColumnKind::Numeric {
            return refuse(at, Problem::HashedNumber);
        }
        if feature.privacy != ColumnPrivacy::Keep {
            privacy.insert(name.clone(), feature.privacy);
        }
        columns.push((name, feature.kind));
    }
    Ok((ModelSchema::new(columns, task), privacy))
}

fn segments(path: &str, raw: Ordered<String>) -> Validated<Vec<SegmentConfig>> {
    let mut segments = Vec::new();
    for (dimension, expression) in raw {
        let at = format!("{path}.segments.{dimension}");
        if ModelName::new(&dimension).is_none() {
            return refuse(at, Problem::BadName { name: dimension });
        }
        let source = if expression.trim() == FROM_EVENT {
            SegmentSource::Event
        } else if let Err(reason) = DFParser::parse_sql_into_expr(&expression) {
            return refuse(at, Problem::Sql { expression, reason: reason.strip_backtrace() });
        } else {
            SegmentSource::Sql(expression)
        };
        segments.push(SegmentConfig { dimension, source });
    }
    Ok(segments)
}

fn windows(path: &str, raw: &RawWindows) -> Validated<WindowSpec> {
    let hop = raw.hop.unwrap_or(raw.size);
    WindowSpec::new(raw.size.0, hop.0).or_else(|problem| refuse(format!("{path}.windows"), problem))
}

fn step(path: &str, given: Option<Duration>, windows: &WindowSpec) -> Validated<Duration> {
    let hop = Duration::from_millis(windows.hop_ms().unsigned_abs());
    let step = given.unwrap_or_else(|| (hop / STEPS_A_HOP).max(Duration::from_millis(1)));
    if step.is_zero() || step > hop {
        let wanted = "longer than nothing and at most the windows' hop";
        return refuse(format!("{path}.step"), out_of_range(wanted, humantime::format_duration(step)));
    }
    // Steps are counted in whole milliseconds, like panes.
    Ok(Duration::from_millis(u64::try_from(step.as_millis()).unwrap_or(u64::MAX).max(1)))
}

fn labels(path: &str, raw: RawLabels, task: &Task) -> Validated<LabelConfig> {
    let path = format!("{path}.labels");
    positive(&format!("{path}.horizon"), raw.horizon.0)?;
    let maturity = maturity(&format!("{path}.mature"), &raw.mature)?;
    let absent = raw.absent_means.map(|absent| absent_label(&path, absent, task)).transpose()?;
    Ok(LabelConfig { maturity, horizon: raw.horizon.0, absent })
}

fn maturity(path: &str, raw: &RawMaturity) -> Validated<Maturity> {
    match (raw.after, raw.coverage, raw.at_most) {
        (None, None, None) => Ok(Maturity::After(Duration::from_secs(3600))),
        (Some(after), None, None) => Ok(Maturity::After(after.0)),
        (Some(_), Some(_), _) => refuse(path, Problem::Exclusive { one: "after", other: "coverage" }),
        (Some(_), None, Some(_)) => refuse(path, Problem::Exclusive { one: "after", other: "at_most" }),
        (None, Some(share), Some(at_most)) if share > 0.0 && share <= 1.0 => {
            Ok(Maturity::Coverage { share, at_most: at_most.0 })
        }
        (None, Some(share), Some(_)) => {
            refuse(format!("{path}.coverage"), out_of_range("a share above 0 and at most 1", share))
        }
        (None, Some(_), None) => {
            refuse(path, Problem::Needs { key: "at_most", why: "without it a window may wait for ever for its labels" })
        }
        (None, None, Some(_)) => {
            refuse(path, Problem::Needs { key: "coverage", why: "`at_most` bounds the wait for a coverage" })
        }
    }
}

fn absent_label(path: &str, raw: RawAbsent, task: &Task) -> Validated<AbsentLabel> {
    positive(&format!("{path}.absent_means.after"), raw.after.0)?;
    let known = match task {
        Task::Regression => raw.label.parse::<f64>().is_ok_and(f64::is_finite),
        _ => task.classes().contains(&raw.label.as_str()),
    };
    if !known {
        let classes = format!("{:?}", task.classes());
        return refuse(format!("{path}.absent_means.label"), Problem::UnknownClass { label: raw.label, classes });
    }
    Ok(AbsentLabel { label: raw.label, after: raw.after.0 })
}

fn check_panel(path: &str, panel: &PanelSettings) -> Validated<()> {
    let path = format!("{path}.panel");
    let Hysteresis { windows, of } = panel.hysteresis;
    if windows == 0 || windows > of {
        let found = format!("{windows} of {of}");
        return refuse(format!("{path}.hysteresis"), out_of_range("`windows` of at least 1 and at most `of`", found));
    }
    if let Thresholds::Fixed(thresholds) = &panel.thresholds {
        for (test, threshold) in thresholds {
            if !threshold.is_finite() || *threshold <= 0.0 {
                return refuse(format!("{path}.thresholds.fixed.{test}"), out_of_range("a number above 0", threshold));
            }
        }
    }
    Ok(())
}

fn check_retrain(path: &str, retrain: &RetrainSettings) -> Validated<()> {
    let path = format!("{path}.retrain");
    positive(&format!("{path}.deadline"), retrain.deadline)?;
    let counts = [
        ("min_labelled_rows", retrain.min_labelled_rows),
        ("budget_per_day", retrain.budget_per_day.into()),
        ("max_attempts", retrain.max_attempts.into()),
        ("data_volume", retrain.data_volume.unwrap_or(1)),
    ];
    for (key, count) in counts {
        if count == 0 {
            return refuse(format!("{path}.{key}"), out_of_range("at least 1", count));
        }
    }
    Ok(())
}

fn check_gate(path: &str, gate: &GateSettings) -> Validated<()> {
    let path = format!("{path}.gate");
    if !(gate.alpha > 0.0 && gate.alpha < 1.0) {
        return refuse(format!("{path}.alpha"), out_of_range("a probability above 0 and below 1", gate.alpha));
    }
    if !(0.0..1.0).contains(&gate.segment_margin) {
        return refuse(
            format!("{path}.segment_margin"),
            out_of_range("a share from 0 to less than 1", gate.segment_margin),
        );
    }
    Ok(())
}

fn check_mapped_features(path: &str, map: &super::mapping::Mapping, schema: &ModelSchema) -> Validated<()> {
    for (name, _) in &map.features.0 {
        if !schema.features().any(|feature| feature.name == *name) {
            let features = schema.features().map(|feature| feature.name.as_str()).collect::<Vec<_>>().join(", ");
            let problem = Problem::UnknownFeature { name: name.clone(), features };
            return refuse(format!("{path}.map.features.{name}"), problem);
        }
    }
    Ok(())
}

fn trainer(path: &str, raw: RawTrainer) -> Validated<TrainerConfig> {
    Ok(match raw {
        RawTrainer::Builtin { parameters } => TrainerConfig::Builtin { parameters },
        RawTrainer::Command(raw) => TrainerConfig::Command(command(&format!("{path}.trainer.command"), raw)?),
    })
}

fn scorer(path: &str, raw: RawScorer) -> Validated<ScorerConfig> {
    Ok(match raw {
        RawScorer::Onnx => ScorerConfig::Onnx,
        RawScorer::Command(raw) => ScorerConfig::Command(command(&format!("{path}.scorer.command"), raw)?),
    })
}

fn command(path: &str, raw: RawCommand) -> Validated<CommandConfig> {
    if raw.program.trim().is_empty() {
        return refuse(format!("{path}.program"), Problem::Needs { key: "program", why: "it names what is run" });
    }
    positive(&format!("{path}.time_limit"), raw.time_limit.0)?;
    let RawCommand { program, arguments, environment, time_limit } = raw;
    Ok(CommandConfig { program, arguments, environment, time_limit: time_limit.0 })
}

/// Refuses a length of time that is no time.
pub(super) fn positive(path: &str, value: Duration) -> Validated<Duration> {
    if value.is_zero() {
        return refuse(path, out_of_range("longer than nothing", humantime::format_duration(value)));
    }
    Ok(value)
}

/// A number that is not in its range.
pub(super) fn out_of_range(wanted: &'static str, found: impl ToString) -> Problem {
    Problem::OutOfRange { wanted, found: found.to_string() }
}
