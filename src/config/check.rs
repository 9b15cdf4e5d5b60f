//! Settings that work, but hardly as meant.
//!
//! A finding is no error: whoever wrote it may have a reason. `driftline check` prints them, and `driftline run` logs them
//! once at its start.

use super::validate::length;
use super::{AWAITED_EPOCH, Config, ModelConfig, ScorerConfig, Serving, TrainerConfig};
use std::fmt;
use std::time::Duration;

/// Something to look at again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Path of the setting.
    pub path: String,
    /// What may not be as meant, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Everything in the configuration that works, but hardly as meant.
pub fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(listen) = config.api.metrics_listen.filter(|listen| !listen.ip().is_loopback()) {
        let message = format!(
            "{listen} can be reached from other machines, and shows metrics and health to everyone: let a firewall or a network policy decide who that is"
        );
        findings.push(finding("api.metrics_listen", message));
    }
    for model in config.models.values() {
        check_windows(config, model, &mut findings);
        check_labels(model, &mut findings);
        check_sequential(model, &mut findings);
        check_training(model, &mut findings);
        check_privacy(config, model, &mut findings);
    }
    findings
}

fn check_windows(config: &Config, model: &ModelConfig, findings: &mut Vec<Finding>) {
    let path = format!("models.{}.windows.size", model.name);
    let size = length(model.watched.windows.size_ms());
    let hop = length(model.watched.windows.hop_ms());
    if size < config.max_disorder {
        findings.push(finding(&path, format!("windows of {} are shorter than max_disorder {}: each is judged long after it ended; lengthen the windows or allow less disorder", span(size), span(config.max_disorder))));
    }
    let awaited = config.epoch_interval.min(AWAITED_EPOCH);
    if hop < awaited {
        findings.push(finding(
            &path,
            format!(
                "a window starts every {}, oftener than the epoch of {}: shorten epoch.interval",
                span(hop),
                span(awaited)
            ),
        ));
    }
    let kept = config.log.retention.age;
    if let Some(age) = kept.filter(|age| *age < size + config.max_disorder) {
        findings.push(finding(
            "log.retention.age",
            format!(
                "records are deleted after {}, before the windows of {} can be rebuilt from them: keep them longer",
                span(age),
                model.name
            ),
        ));
    }
}

fn check_labels(model: &ModelConfig, findings: &mut Vec<Finding>) {
    let path = format!("models.{}.labels", model.name);
    let Some(labels) = &model.watched.labels else {
        if model.trainer.is_some() {
            let message = "without labels no challenger is ever trained or judged: say when they come".to_owned();
            findings.push(finding(&path, message));
        }
        return;
    };
    let (wait, horizon) = (length(labels.mature_ms()), length(labels.horizon_ms));
    if wait > horizon {
        findings.push(finding(
            &format!("{path}.mature"),
            format!(
                "labels are judged after {}, but a prediction waits for its label {} only: lengthen the horizon",
                span(wait),
                span(horizon)
            ),
        ));
    }
    let absent = labels.absent.as_ref().map(|absent| length(absent.after_ms));
    if let Some(after) = absent.filter(|after| *after > horizon) {
        findings.push(finding(
            &format!("{path}.absent_means.after"),
            format!(
                "a label is taken for absent after {}, but a prediction is forgotten after the horizon of {}",
                span(after),
                span(horizon)
            ),
        ));
    }
}

fn check_sequential(model: &ModelConfig, findings: &mut Vec<Finding>) {
    let (watched, path) = (&model.watched, format!("models.{}", model.name));
    let Some(budget) = watched.panel.false_alarms else { return };
    let uncovered = [("adwin", watched.sequential.adwin), ("page_hinkley", watched.sequential.page_hinkley)];
    for (detector, _) in uncovered.into_iter().filter(|(_, is_on)| *is_on) {
        let message = format!(
            "{detector}'s false alarms are not covered by {path}.panel.false_alarms; they come on top of its `{budget}`: turn it off, or expect more"
        );
        findings.push(finding(&format!("{path}.sequential.{detector}"), message));
    }
}

fn check_training(model: &ModelConfig, findings: &mut Vec<Finding>) {
    let path = format!("models.{}", model.name);
    let retrain = &model.retrain;
    if model.trainer.is_none()
        && (retrain.schedule.is_some() || retrain.every_labelled_rows.is_some() || retrain.on_feature_drift)
    {
        findings
            .push(finding(&format!("{path}.retrain"), "without a `trainer` the model is never retrained".to_owned()));
    }
    if matches!(model.trainer, Some(TrainerConfig::Builtin)) && !matches!(model.scorer, ScorerConfig::Onnx) {
        findings.push(finding(
            &format!("{path}.scorer"),
            "the builtin trainer writes ONNX: the command must be able to read it".to_owned(),
        ));
    }
    if model.serving == Serving::Champion && model.trainer.is_none() {
        findings.push(finding(
            &format!("{path}.serving"),
            "the champion serves, and no `trainer` can make one: register a version, or add a trainer".to_owned(),
        ));
    }
}

fn check_privacy(config: &Config, model: &ModelConfig, findings: &mut Vec<Finding>) {
    if model.needs_hash_key() && config.hash_key_file.is_none() {
        let message = format!(
            "features of {} are hashed and no file holds the key: set {} wherever driftline runs",
            model.name,
            super::HASH_KEY_VARIABLE
        );
        findings.push(finding("privacy.hash_key_file", message));
    }
}

fn finding(path: &str, message: String) -> Finding {
    Finding { path: path.to_owned(), message }
}

fn span(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}
