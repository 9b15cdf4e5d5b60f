//! From what is written to what can be acted on: the checks of [`super::raw`], one function per section.

use super::error::{Misfit, Problem, Validated, out_of_range, positive, refuse, refused};
use super::model::{CommandConfig, ModelConfig, ModelName, ReferenceConfig, ScorerConfig, Serving, TrainerConfig};
use super::raw::{
    RawAbsent, RawColumns, RawCommand, RawFeature, RawLabels, RawMaturity, RawModel, RawReference, RawScore, RawScorer,
    RawTask, RawTrainer, RawWindows, TaskKind,
};
use super::sequential::sequential;
use crate::config::ordered::Ordered;
use crate::files::{EventTime, FileColumns, ScoreColumns};
use capture::join::{AbsentMeans, LabelPolicy};
use capture::segments::{SegmentSource, SegmentSpec, Segmenter};
use capture::watched::{SequentialPolicy, WatchedModel};
use codec::columns::event_schema;
use codec::decode::{HashKey, Mapping, MappingError, MappingSettings, Policy, Privacy, PrivacyError};
use detectors::panel::{PanelPolicy, PolicyError as PanelError};
use detectors::schema::{ModelSchema, Task};
use detectors::spelling;
use detectors::windows::WindowSpec;
use retrain::policy::{PolicyError as RetrainError, RetrainPolicy};
use retrain::trainer::TrainingError;
use retrain::trainer::builtin::BuiltinTrainer;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The written form of a segment that events carry themselves.
const FROM_EVENT: &str = "from_event";
/// The default of `step` as a part of the pane: a sequential detector acts, and a challenger is judged, within a fiftieth of it.
const STEPS_A_PANE: i64 = 50;
/// The same where the losses of a regression are to keep a budget of false alarms: CUSUM asks for steps of many rows.
const STEPS_A_PANE_OF_CUSUM: i64 = 10;
/// Ages at which a window's labels are looked at, where it is judged as soon as they suffice.
const AGES_OF_COVERAGE: i64 = 16;

/// Checks one model; `folder` is what relative paths are relative to.
pub(super) fn model(name: &str, raw: RawModel, folder: &Path) -> Validated<ModelConfig> {
    let path = format!("models.{name}");
    let name = model_name(&path, name)?;
    let task = task(&path, raw.task)?;
    let steps = steps_a_pane(&task, &raw.panel);
    let (schema, privacy) = features(&path, raw.features, task)?;
    let windows = windows(&path, &raw.windows)?;
    let mut watched = WatchedModel {
        name: name.as_str().into(),
        step_ms: step(&path, raw.step.map(|step| step.0), (&windows, steps))?,
        windows,
        segments: segments(&path, raw.segments, &schema)?,
        labels: raw.labels.map(|labels| self::labels(&path, labels, &schema.task)).transpose()?,
        // Every policy but `keep` is in the map.
        panel: PanelPolicy { unnamed: privacy.keys().cloned().collect(), ..panel(&path, raw.panel, windows)? },
        sequential: SequentialPolicy::default(),
        schema,
    };
    watched.sequential = sequential(&path, raw.sequential, &watched)?;
    check_hashes(&path, &privacy, &watched.schema)?;
    let trainer = raw.trainer.map(|trainer| self::trainer(&path, trainer, folder)).transpose()?;
    if trainer.is_some() {
        check_trainable(&path, &privacy)?;
    }
    let retrain = retrain(&path, raw.retrain)?;
    if let Some(TrainerConfig::Builtin) = trainer {
        builtin_parameters(&path, &retrain)?;
    }
    let reference = match raw.reference {
        None => None,
        Some(reference) => Some(ReferenceConfig {
            train: trains_first(&path, &reference, trainer.as_ref(), raw.serving)?,
            columns: columns(&format!("{path}.reference.columns"), reference.columns, &watched)?,
            file: folder.join(reference.file),
        }),
    };
    Ok(ModelConfig {
        name,
        mapping: raw.map.as_ref().map(|map| mapping(&path, map, &watched)).transpose()?,
        map: raw.map,
        privacy,
        retrain,
        trainer,
        scorer: scorer(&path, raw.scorer, folder)?,
        serving: raw.serving,
        reference,
        triton_repository: raw.publish.triton.map(|repository| folder.join(repository)),
        watched: Arc::new(watched),
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
    // Classes are spelled as values are: of `True` and `1.0` the labels say `true` and `1`.
    let spelled = |class: String| spelling::of_text(&class).to_owned();
    let classes = raw.classes.map(|classes| classes.into_iter().map(spelled).collect::<Vec<_>>());
    match (raw.kind, raw.positive.map(spelled), raw.negative.map(spelled), classes) {
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

type Policies = BTreeMap<String, Policy>;

fn features(path: &str, raw: Ordered<RawFeature>, task: Task) -> Validated<(ModelSchema, Policies)> {
    let path = format!("{path}.features");
    if raw.0.is_empty() {
        return refuse(path, Problem::NoFeatures);
    }
    let mut columns = Vec::new();
    let mut policies = BTreeMap::new();
    for (name, feature) in raw {
        let at = format!("{path}.{name}");
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return refuse(at, Problem::BadFeatureName { name });
        }
        if codec::columns::is_reserved(&name) {
            return refuse(at, Problem::ReservedName { name });
        }
        if feature.privacy != Policy::Keep {
            policies.insert(name.clone(), feature.privacy);
        }
        columns.push((name, feature.kind));
    }
    Ok((ModelSchema::new(columns, task), policies))
}

/// Refuses hashes that cannot be made. The key is none that is used: whether there is one is known when it is read.
fn check_hashes(path: &str, policies: &Policies, schema: &ModelSchema) -> Validated<()> {
    match Privacy::new(policies.clone(), Some(HashKey::new(b"")), schema, &[]) {
        Ok(_) => Ok(()),
        Err(problem) => {
            let (PrivacyError::UnknownColumn { column }
            | PrivacyError::NumericHash { column }
            | PrivacyError::NoKey { column }) = &problem;
            refuse(format!("{path}.features.{column}"), problem)
        }
    }
}

/// Refuses features that a trainer would find empty.
fn check_trainable(path: &str, policies: &Policies) -> Validated<()> {
    for (name, policy) in policies {
        let policy = match policy {
            Policy::ProfileOnly => "profile_only",
            Policy::Drop => "drop",
            Policy::Keep | Policy::Hash => continue,
        };
        return refuse(format!("{path}.features.{name}"), Problem::Untrainable { policy });
    }
    Ok(())
}

fn segments(path: &str, raw: Ordered<String>, schema: &ModelSchema) -> Validated<Vec<SegmentSpec>> {
    let path = format!("{path}.segments");
    let mut segments = Vec::new();
    for (name, expression) in raw {
        if ModelName::new(&name).is_none() {
            return refuse(format!("{path}.{name}"), Problem::BadName { name });
        }
        let from_event = expression.trim() == FROM_EVENT;
        let source = if from_event { SegmentSource::FromEvent } else { SegmentSource::Expression(expression) };
        segments.push(SegmentSpec { name, source });
    }
    let carried = segments.iter().filter(|segment| segment.source == SegmentSource::FromEvent);
    let carried: Vec<_> = carried.map(|segment| segment.name.clone()).collect();
    let columns = event_schema(schema, &carried);
    for segment in &segments {
        // One at a time, so that the path of the one that is wrong is known.
        let compiled = Segmenter::new(&columns, std::slice::from_ref(segment));
        if let (Err(error), SegmentSource::Expression(expression)) = (compiled, &segment.source) {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            // The planner lists the columns there are on a line of their own.
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            let problem = Problem::Sql { expression: expression.clone(), reason };
            return refuse(format!("{path}.{}", segment.name), problem);
        }
    }
    Ok(segments)
}

fn windows(path: &str, raw: &RawWindows) -> Validated<WindowSpec> {
    let hop = raw.hop.unwrap_or(raw.size);
    WindowSpec::new(raw.size.0, hop.0).or_else(|problem| refuse(format!("{path}.windows"), problem))
}

fn steps_a_pane(task: &Task, panel: &PanelPolicy) -> i64 {
    if *task == Task::Regression && panel.false_alarms.is_some() { STEPS_A_PANE_OF_CUSUM } else { STEPS_A_PANE }
}

fn step(path: &str, given: Option<Duration>, (windows, steps): (&WindowSpec, i64)) -> Validated<i64> {
    let pane_ms = windows.pane_ms();
    let fits_ms = if pane_ms % steps == 0 { pane_ms / steps } else { pane_ms };
    let Some(step) = given else { return Ok(fits_ms) };
    let step_ms = millis(step);
    if step_ms == 0 || length(step_ms) != step || pane_ms % step_ms != 0 {
        return refuse(format!("{path}.step"), Problem::Step { step, pane: length(pane_ms), fits: length(fits_ms) });
    }
    Ok(step_ms)
}

fn labels(path: &str, raw: RawLabels, task: &Task) -> Validated<LabelPolicy> {
    let path = format!("{path}.labels");
    if raw.max_pending == 0 {
        return refuse(format!("{path}.max_pending"), out_of_range("at least 1", 0));
    }
    let (ages_ms, coverage) = maturity(&format!("{path}.mature"), &raw.mature)?;
    Ok(LabelPolicy {
        ages_ms,
        coverage,
        horizon_ms: millis(positive(&format!("{path}.horizon"), raw.horizon.0)?),
        absent: raw.absent_means.map(|absent| absent_label(&path, absent, task)).transpose()?,
        max_pending: raw.max_pending,
    })
}

/// The ages at which a window may be judged, and the coverage that lets it be judged before the last.
fn maturity(path: &str, raw: &RawMaturity) -> Validated<(Vec<i64>, Option<f64>)> {
    match (raw.after, raw.coverage, raw.at_most) {
        (None, None, None) => Ok((vec![millis(Duration::from_secs(3600))], None)),
        (Some(after), None, None) => Ok((vec![millis(after.0)], None)),
        (Some(_), Some(_), _) => refuse(path, Problem::Exclusive { one: "after", other: "coverage" }),
        (Some(_), None, Some(_)) => refuse(path, Problem::Exclusive { one: "after", other: "at_most" }),
        (None, Some(share), Some(at_most)) if share > 0.0 && share <= 1.0 => {
            let at_most = positive(&format!("{path}.at_most"), at_most.0)?;
            Ok((equal_ages(millis(at_most)), Some(share)))
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

/// Ages at equal distances up to the last one; fewer where that is only some milliseconds.
fn equal_ages(last_ms: i64) -> Vec<i64> {
    let part_of = |part: i64| last_ms / AGES_OF_COVERAGE * part + last_ms % AGES_OF_COVERAGE * part / AGES_OF_COVERAGE;
    let mut ages: Vec<_> = (1..=AGES_OF_COVERAGE).map(part_of).collect();
    ages.dedup();
    ages
}

fn absent_label(path: &str, raw: RawAbsent, task: &Task) -> Validated<AbsentMeans> {
    positive(&format!("{path}.absent_means.after"), raw.after.0)?;
    let known = match task {
        Task::Regression => raw.label.parse::<f64>().is_ok_and(f64::is_finite),
        _ => task.classes().contains(&spelling::of_text(&raw.label)),
    };
    if !known {
        let classes = format!("{:?}", task.classes());
        return refuse(format!("{path}.absent_means.label"), Problem::UnknownClass { label: raw.label, classes });
    }
    Ok(AbsentMeans { label: spelling::of_text(&raw.label).to_owned(), after_ms: millis(raw.after.0) })
}

fn panel(path: &str, panel: PanelPolicy, windows: WindowSpec) -> Validated<PanelPolicy> {
    panel.validate().and_then(|()| panel.validate_budget(windows)).map_err(|error| {
        let setting = match &error {
            PanelError::NotApplicable { setting, .. } => setting,
            PanelError::MissingThreshold { .. } => "thresholds.fixed",
            PanelError::OutOfRange { setting, .. } => setting,
            PanelError::Hysteresis { .. } => "hysteresis",
            PanelError::BudgetTooTight { .. } => "false_alarms",
        };
        refused(&format!("{path}.panel"), setting, &error)
    })?;
    Ok(panel)
}

fn retrain(path: &str, retrain: RetrainPolicy) -> Validated<RetrainPolicy> {
    retrain.validate().map_err(|error| {
        let setting = match &error {
            RetrainError::OutOfRange { field, .. } => field,
            RetrainError::Schedule { .. } => "schedule",
        };
        refused(&format!("{path}.retrain"), setting, &error)
    })?;
    Ok(retrain)
}

/// Refuses what the builtin trainer would; a program's parameters are its own affair.
fn builtin_parameters(path: &str, retrain: &RetrainPolicy) -> Validated<()> {
    BuiltinTrainer::check_parameters(&retrain.parameters).map_err(|error| {
        let path = format!("{path}.retrain.parameters");
        match &error {
            TrainingError::Parameter { name, value, expected } => {
                let reason = format!("`{value}` cannot be used: {expected}");
                Misfit { path: format!("{path}.{name}"), problem: Problem::Refused { reason } }
            }
            other => Misfit { path, problem: Problem::Refused { reason: other.to_string() } },
        }
    })
}

fn mapping(path: &str, map: &MappingSettings, watched: &WatchedModel) -> Validated<Mapping> {
    Mapping::new(map, &watched.schema, &watched.segments_from_events()).map_err(|error| {
        let setting = match &error {
            MappingError::EmptyStep { field, .. } => format!("map.{field}"),
            MappingError::UnknownFeature { feature } => format!("map.features.{feature}"),
            MappingError::UnknownSegment { dimension } => format!("map.segment.{dimension}"),
        };
        refused(path, &setting, &error)
    })
}

/// Whether the first version is trained on the reference's file.
fn trains_first(path: &str, raw: &RawReference, trainer: Option<&TrainerConfig>, serving: Serving) -> Validated<bool> {
    let path = format!("{path}.reference");
    let train = raw.train.unwrap_or(trainer.is_some() && serving == Serving::Champion);
    match (train, trainer, &raw.columns.label) {
        (true, None, _) => {
            refuse(format!("{path}.train"), Problem::Needs { key: "trainer", why: "it trains the first version" })
        }
        (true, Some(_), None) => refuse(
            format!("{path}.columns"),
            Problem::Needs {
                key: "label",
                why: "the first version is trained on the file, unless `train: false` is set",
            },
        ),
        _ => Ok(train),
    }
}

fn columns(path: &str, raw: RawColumns, watched: &WatchedModel) -> Validated<FileColumns> {
    let time = match (raw.time, raw.start, raw.interval) {
        (Some(_), Some(_), _) => return refuse(path, Problem::Exclusive { one: "time", other: "start" }),
        (Some(_), _, Some(_)) => return refuse(path, Problem::Exclusive { one: "time", other: "interval" }),
        (Some(column), None, None) => EventTime::Column(column),
        (None, start, interval) => {
            EventTime::synthetic(start.map(|start| start.0), interval.map(|interval| interval.0))
        }
    };
    let scores = match raw.score {
        None => ScoreColumns::None,
        Some(RawScore::One(column)) => ScoreColumns::One(column),
        Some(RawScore::EachClass(columns)) => ScoreColumns::EachClass(columns),
    };
    scores.in_order(&watched.schema.task).map_err(|error| refused(path, "score", &error))?;
    let carried = watched.segments_from_events();
    if let Some(dimension) = raw.segments.keys().find(|dimension| !carried.contains(*dimension)) {
        let problem = Problem::NotFromEvent { dimension: dimension.clone() };
        return refuse(format!("{path}.segments.{dimension}"), problem);
    }
    let segments = raw.segments.into_iter().collect();
    Ok(FileColumns { id: raw.id, time, label: raw.label, prediction: raw.prediction, scores, segments })
}

fn trainer(path: &str, raw: RawTrainer, folder: &Path) -> Validated<TrainerConfig> {
    Ok(match raw {
        RawTrainer::Builtin {} => TrainerConfig::Builtin,
        RawTrainer::Command(raw) => TrainerConfig::Command(command(&format!("{path}.trainer.command"), raw, folder)?),
    })
}

fn scorer(path: &str, raw: RawScorer, folder: &Path) -> Validated<ScorerConfig> {
    Ok(match raw {
        RawScorer::Onnx => ScorerConfig::Onnx,
        RawScorer::Command(raw) => ScorerConfig::Command(command(&format!("{path}.scorer.command"), raw, folder)?),
        RawScorer::StandingCommand(raw) => {
            ScorerConfig::StandingCommand(command(&format!("{path}.scorer.standing_command"), raw, folder)?)
        }
    })
}

fn command(path: &str, raw: RawCommand, folder: &Path) -> Validated<CommandConfig> {
    if raw.program.trim().is_empty() {
        return refuse(format!("{path}.program"), Problem::Needs { key: "program", why: "it names what is run" });
    }
    positive(&format!("{path}.time_limit"), raw.time_limit.0)?;
    let RawCommand { program, arguments, environment, time_limit, result_limit } = raw;
    Ok(CommandConfig {
        program,
        directory: folder.to_owned(),
        arguments,
        environment,
        time_limit: time_limit.0,
        result_limit: result_limit.0,
    })
}

/// Whole milliseconds of a length of time. A written one is far from the most there can be.
fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// The length of time of milliseconds that are not negative.
pub(super) fn length(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
