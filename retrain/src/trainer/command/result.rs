//! The result file of a program, taken for what it says and not for how it says it.
//!
//! Only the artifact's format has to be right. A training may have taken hours: a metric that is no number, as Python's
//! writer spells them (`NaN`, `Infinity`), costs that metric, and a parameter may be of any type. What is left out is told.
//! Names and texts stand in the registry for good, so they are kept short and free of control characters.

use crate::lifecycle::ArtifactFormat;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use streams::outside::plain;

/// The most bytes that a result file may have.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// The most metrics, and the most parameters, that are kept.
const MOST_ENTRIES: usize = 256;
/// The most bytes of a name, and of a text.
const MOST_NAME: usize = 200;
const MOST_TEXT: usize = 2_000;
/// The most lines of the environment that are kept.
const MOST_PACKAGES: usize = 1_000;

/// What the program says of its training.
#[derive(Debug, PartialEq)]
pub(super) struct TrainingResult {
    pub(super) artifact_format: ArtifactFormat,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) code_revision: Option<String>,
    pub(super) sample: Option<PathBuf>,
    pub(super) environment: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResult {
    artifact_format: ArtifactFormat,
    #[serde(default)]
    metrics: BTreeMap<String, Value>,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
    #[serde(default)]
    code_revision: Value,
    sample: Option<PathBuf>,
    #[serde(default)]
    environment: Vec<Value>,
}

/// Reads the text of a result file.
///
/// # Errors
/// It is no JSON, or a field is missing or unknown; the text names it.
pub(super) fn parse(bytes: &[u8]) -> Result<TrainingResult, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let text = without_odd_numbers(text);
    let raw: RawResult = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text))
        .map_err(|error| match error.inner().to_string() {
            // The field is in the message already.
            message if message.contains(" field `") => message,
            message => format!("{}: {message}", error.path()),
        })
        .map_err(|error| plain(&error, MOST_TEXT))?;
    let RawResult { artifact_format, metrics, parameters, code_revision, sample, environment } = raw;
    Ok(TrainingResult {
        artifact_format,
        metrics: kept("metrics", metrics, |value| value.as_f64()),
        parameters: kept("parameters", parameters, text_of),
        code_revision: text_of(&code_revision),
        sample,
        environment: environment.iter().take(MOST_PACKAGES).filter_map(text_of).collect(),
    })
}

/// The entries that can be used, under names that can be shown.
fn kept<T>(field: &str, entries: BTreeMap<String, Value>, usable: impl Fn(&Value) -> Option<T>) -> BTreeMap<String, T> {
    let mut kept = BTreeMap::new();
    for (name, value) in entries {
        let name = plain(&name, MOST_NAME);
        match usable(&value) {
            Some(value) if kept.len() < MOST_ENTRIES => drop(kept.insert(name, value)),
            Some(_) => tracing::warn!(field, name, most = MOST_ENTRIES, "left out of a training's result: too many"),
            None => tracing::warn!(field, name, "left out of a training's result: it has no value"),
        }
    }
    kept
}

/// A value as text; `None` of null.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(plain(text, MOST_TEXT)),
        other => Some(plain(&other.to_string(), MOST_TEXT)),
    }
}

/// The text with null in place of the numbers that JSON does not have.
fn without_odd_numbers(text: &str) -> String {
    let mut strict = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(character) = rest.chars().next() {
        let odd = ["NaN", "Infinity", "-Infinity"].into_iter().find(|odd| !in_string && rest.starts_with(odd));
        let mut taken = odd.map_or(character.len_utf8(), str::len);
        if character == '\\' {
            // What it escapes ends no string.
            taken += rest.chars().nth(1).map_or(0, char::len_utf8);
        }
        in_string ^= character == '"';
        let (first, after) = rest.split_at(taken);
        strict.push_str(if odd.is_some() { "null" } else { first });
        rest = after;
    }
    strict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_is_no_number_costs_that_metric() {
        let text = r#"{"artifact_format": "opaque", "metrics": {"auc": NaN, "lift": -Infinity, "NaN": 0.5, "f1": null,
            "note": "good", "a \"NaN": Infinity, "rows": 400}, "code_revision": "NaN \\"}"#;
        let result = parse(text.as_bytes()).unwrap();
        assert_eq!(result.metrics, BTreeMap::from([("NaN".to_owned(), 0.5), ("rows".to_owned(), 400.0)]));
        assert_eq!(result.code_revision.as_deref(), Some("NaN \\"));
    }

    #[test]
    fn parameters_of_any_type_are_taken_as_their_text() {
        let text = r#"{"artifact_format": "onnx", "sample": "s", "parameters": {"depth": 4, "rate": 0.1, "warm": true,
            "loss": "log", "none": null, "layers": [8, 4]}}"#;
        let used = parse(text.as_bytes()).unwrap().parameters;
        let used: Vec<_> = used.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(used, ["depth=4", "layers=[8,4]", "loss=log", "rate=0.1", "warm=true"]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field_in_few_words() {
        let told = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(told(r#"{"artifact_format": "pickle"}"#).starts_with("artifact_format: unknown variant `pickle`"));
        assert!(told(r#"{"artifact_format": "onnx", "metrics": [1]}"#).starts_with("metrics: invalid type: sequence"));
        let long = format!(r#"{{"artifact_format": "onnx", "{}\u001b[2J": 1}}"#, "x".repeat(100_000));
        assert!(told(&long).len() < 2_100 && told(&long).starts_with("unknown field `xxx"), "{}", told(&long).len());
    }

    #[test]
    fn names_and_texts_are_kept_short_and_plain() {
        let many: Vec<_> = (0..1_000).map(|number| format!(r#""m{number}": {number}"#)).collect();
        let long = "y".repeat(10_000);
        let text = format!(
            r#"{{"artifact_format": "onnx", "metrics": {{{}}}, "parameters": {{"\u001b[31m{long}": "{long}\n"}}}}"#,
            many.join(",")
        );
        let result = parse(text.as_bytes()).unwrap();
        assert_eq!(result.metrics.len(), MOST_ENTRIES);
        let (name, value) = result.parameters.iter().next().unwrap();
        assert!(name.len() < 300 && name.starts_with("\\u{1b}[31myyy") && value.len() < 2_100, "{name}");
    }
}
