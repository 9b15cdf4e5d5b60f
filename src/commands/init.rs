//! `driftline init`: a configuration written from a file of examples.
//!
//! The result is text with comments, meant to be read and changed, and it passes `driftline check` as it is. Columns that
//! look like identifiers, times and empty columns are left out with a comment that says why, so that nothing is dropped in
//! silence.

use crate::config::{Config, ConfigError, ModelName};
use crate::files::names_of;
use crate::files::{Files, InferredColumn, InferredFile, InferredKind, Lateness, SourceError, TimeOrder, infer};
use detectors::panel::PanelPolicy;
use detectors::schema::ColumnKind;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Rows that are looked at.
const MOST_ROWS: u64 = 50_000;
/// More different labels than this are taken for numbers to be predicted, where they are numbers.
const MOST_CLASSES: usize = 20;

/// What the columns of the file are, as far as the user said.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownColumns {
    /// The event's id.
    pub id: Option<String>,
    /// The event's time.
    pub time: Option<String>,
    /// The label.
    pub label: Option<String>,
    /// The model's prediction.
    pub prediction: Option<String>,
    /// Scores and segments: no inputs either.
    pub others: Vec<String>,
    /// Only these are inputs; empty for all that look like some.
    pub only: Vec<String>,
    /// What these hold, whatever they look like: they are inputs.
    pub kinds: Vec<(String, ColumnKind)>,
}

impl KnownColumns {
    /// What a column is called that is no input; `None` for an input.
    fn purpose(&self, name: &str) -> Option<&'static str> {
        let named = |column: &Option<String>| column.as_deref() == Some(name);
        match () {
            () if named(&self.id) => Some("the event's id"),
            () if named(&self.time) => Some("the event's time"),
            () if named(&self.label) => Some("the label"),
            () if named(&self.prediction) => Some("the prediction"),
            () if self.others.iter().any(|other| other == name) => Some("a score or a segment"),
            () if !self.only.is_empty() && !self.only.iter().any(|only| only == name) => Some("not asked for"),
            () => None,
        }
    }

    fn named(&self) -> impl Iterator<Item = &String> {
        let others = self.others.iter().chain(&self.only).chain(self.kinds.iter().map(|(name, _)| name));
        [&self.id, &self.time, &self.label, &self.prediction].into_iter().flatten().chain(others)
    }

    /// The kind of an input that was named as one.
    fn kind(&self, column: &InferredColumn) -> Option<ColumnKind> {
        let said = self.kinds.iter().find(|(name, _)| *name == column.name).map(|(_, kind)| *kind);
        said.or_else(|| self.only.contains(&column.name).then_some(column.plain))
    }
}

/// Why no configuration could be written.
#[derive(Debug, Error)]
pub(crate) enum InitError {
    /// The file of examples cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No column is left to be an input.
    #[error("{file} has no column that could be an input: {reason}")]
    NoInputs {
        /// The file.
        file: PathBuf,
        /// Why they were left out.
        reason: String,
    },
    /// A label that has one value, or too many.
    #[error("{file}, column `{column}`: {reason}")]
    Label {
        /// The file.
        file: PathBuf,
        /// The label's column.
        column: String,
        /// Why it cannot be a label.
        reason: String,
    },
    /// The name is none for a model.
    #[error("`{name}` cannot be a model's name: use lower-case letters, digits, `-`, `_` and `.`")]
    Name {
        /// The name given.
        name: String,
    },
    /// What was written would not be accepted.
    #[error("the columns of the file make no valid configuration: {0}")]
    Invalid(#[from] ConfigError),
}

/// The text of a configuration for the model whose inputs `from` shows.
///
/// # Errors
/// When the file cannot be read, a named column is missing, no input is left, or the label cannot be one.
pub(crate) fn configuration(files: &Files, model: &str, known: &KnownColumns) -> Result<String, InitError> {
    if ModelName::new(model).is_none() {
        return Err(InitError::Name { name: model.to_owned() });
    }
    let (inferred, from) = (infer(files, MOST_ROWS)?, &files.name());
    for name in known.named() {
        find(from, &inferred, name)?;
    }
    let task = task(from, &inferred, known)?;
    let features = features(&inferred, known);
    let notes: String = inferred.notes.iter().map(|told| format!("# {told}\n")).collect();
    let windows = windows(files, known)?;
    if !features.lines().any(|line| !line.trim_start().starts_with('#')) {
        return Err(InitError::NoInputs { file: from.to_owned(), reason: features.trim().replace('\n', ";") });
    }
    let text = format!(
        "# Written by `driftline init` from {file} ({rows} rows looked at). Read it through, then: driftline check\n\
         {notes}version: 1\n\
         \n\
         log:\n  directory: driftline-data\n\
         \n\
         models:\n  {model}:\n{task}    features:\n{features}    \
         {windows}\n    \
         labels:\n      mature: {{after: 1h}}           # how long after a window its labels are all there\n      horizon: 30d\n    \
         trainer:\n      builtin: {{}}\n    \
         serving: none                    # `champion`, where driftline itself is to answer replayed rows\n",
        file = from.display(),
        rows = inferred.rows,
        model = quoted(model),
    );
    // What is written must be accepted; a column's odd name is found here, and not by the user.
    Config::parse(&text, Path::new("driftline.yaml"))?;
    Ok(text)
}

/// Lengths of windows that people think in.
const WINDOW_DAYS: [u32; 6] = [1, 2, 7, 14, 28, 91];

/// The `windows` line: days, or as many as hold the rows that a judgement needs, where times tell how many come in a day.
fn windows(files: &Files, known: &KnownColumns) -> Result<String, SourceError> {
    const ADVICE: &str = "# a window needs some hundred rows; lengthen or shorten it to your traffic";
    let line = |days: u32, why: &str| format!("{:<32} {why}", format!("windows: {{size: {days}d}}"));
    let Some(column) = &known.time else { return Ok(line(1, ADVICE)) };
    let lateness = Lateness { disorder: Duration::MAX, watermark_ms: None };
    let order = TimeOrder::of(files.open_columns(&[column])?, &files.name(), column, lateness)?;
    let Some((first_ms, last_ms)) = order.span_ms.filter(|(first_ms, last_ms)| first_ms < last_ms) else {
        return Ok(line(1, ADVICE));
    };
    let days = (last_ms - first_ms) as f64 / 86_400_000.0;
    let a_day = order.rows as f64 / days;
    let needed = PanelPolicy::default().min_rows as f64;
    // Half as many again, because some windows hold fewer than the mean.
    let enough = WINDOW_DAYS.into_iter().find(|length| f64::from(*length) * a_day >= 1.5 * needed);
    let length = enough.or(WINDOW_DAYS.last().copied()).unwrap_or(1);
    Ok(line(
        length,
        &format!("# about {:.0} rows each, of the {needed} that a judgement needs", f64::from(length) * a_day),
    ))
}

fn find<'a>(file: &Path, inferred: &'a InferredFile, name: &str) -> Result<&'a InferredColumn, SourceError> {
    inferred.columns.iter().find(|column| column.name == name).ok_or_else(|| SourceError::NoColumn {
        file: file.to_owned(),
        column: name.to_owned(),
        found: names_of(inferred.columns.iter().map(|column| &column.name)),
    })
}

/// The `task` section, from the label's values.
fn task(file: &Path, inferred: &InferredFile, known: &KnownColumns) -> Result<String, InitError> {
    let Some(name) = &known.label else {
        return Ok("    # No label column was named: mend the two classes, or choose multiclass or regression.\n    \
                   task: {type: binary, positive: \"1\", negative: \"0\"}\n"
            .to_owned());
    };
    let column = find(file, inferred, name)?;
    let refuse = |reason: String| InitError::Label { file: file.to_owned(), column: name.clone(), reason };
    let numeric = matches!(column.kind, InferredKind::Numeric | InferredKind::Identifier | InferredKind::Time(_))
        && column.examples.iter().all(|example| example.parse::<f64>().is_ok());
    match column.distinct {
        0 | 1 => Err(refuse("it has one value only: name another column, or a longer file".to_owned())),
        2 => {
            let [negative, positive] =
                [0, 1].map(|place| column.examples.get(place).map_or("", |name| class_name(name)));
            Ok(format!(
                "    task: {{type: binary, positive: {}, negative: {}}}   # exchange them if the other class is the one to find\n",
                quoted(positive),
                quoted(negative)
            ))
        }
        distinct if distinct > MOST_CLASSES && numeric => Ok("    task: {type: regression}\n".to_owned()),
        distinct if distinct > MOST_CLASSES => Err(refuse(format!("it has {distinct} values, too many for classes"))),
        _ => {
            let classes = column.examples.iter().map(|class| quoted(class_name(class))).collect::<Vec<_>>().join(", ");
            Ok(format!("    task:\n      type: multiclass\n      classes: [{classes}]\n"))
        }
    }
}

/// A class's name as events have it: a whole number without the `.0` that a data frame gives it.
fn class_name(example: &str) -> &str {
    match example.strip_suffix(".0") {
        Some(whole) if whole.parse::<i64>().is_ok() => whole,
        _ => example,
    }
}

/// The `features` section; columns that are no inputs stand in comments.
fn features(inferred: &InferredFile, known: &KnownColumns) -> String {
    let mut text = String::new();
    for column in &inferred.columns {
        let name = quoted(&column.name);
        let said = known.kind(column);
        let left_out = match (known.purpose(&column.name), column.kind) {
            (Some(purpose), _) => Some(purpose.to_owned()),
            (None, _) if codec::columns::is_reserved(&column.name) => {
                Some("is a name of driftline's own: rename it, and map it in `map.features`".to_owned())
            }
            (None, _) if said.is_some() => None,
            (None, InferredKind::Identifier) => {
                let distinct = column.distinct;
                Some(format!(
                    "looks like an identifier ({distinct} different values); make it an input with --kind if it is one"
                ))
            }
            (None, InferredKind::Time(_)) => {
                Some("looks like a time; give it with --time if it is the event's".to_owned())
            }
            (None, InferredKind::Date) => {
                Some("looks like a date: later ones would all be unseen categories".to_owned())
            }
            (None, InferredKind::Empty) => Some("is empty".to_owned()),
            (None, InferredKind::Nested) => Some("has no plain values".to_owned()),
            _ => None,
        };
        let is_numeric = said.unwrap_or(column.plain) == ColumnKind::Numeric;
        let kind = if is_numeric { "numeric" } else { "categorical" };
        let odd = odd_values(column);
        // Writing into a string cannot fail.
        let _ = match left_out {
            Some(why) => writeln!(text, "      # {name}: left out, {why}"),
            None if !odd.is_empty() => writeln!(text, "      {name}: {kind}   # {}", odd.join(", ")),
            None => writeln!(text, "      {name}: {kind}"),
        };
    }
    text
}

/// What is to be told of the values of an input.
fn odd_values(column: &InferredColumn) -> Vec<String> {
    let mut told = Vec::new();
    if column.nulls > 0 {
        let words: Vec<_> = column.missing.iter().map(|word| format!("`{word}`")).collect();
        let words = if words.is_empty() { String::new() } else { format!(" ({} taken for one)", words.join(", ")) };
        told.push(format!("{} rows without a value{words}", column.nulls));
    }
    if column.odd > 0 {
        told.push(format!("{} rows that hold no number", column.odd));
    }
    told
}

/// A YAML scalar that is text, whatever is in it: JSON's strings are YAML's too.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn written(csv: &str, known: &KnownColumns) -> Result<String, InitError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("loans.csv");
        std::fs::write(&file, csv).unwrap();
        let text = configuration(&Files::from(file), "loans", known);
        text.map(|text| text.replace(&folder.path().display().to_string(), "…"))
    }

    fn loans() -> String {
        let mut csv = "loan,at,amount,size of \"car\",repaid,empty\n".to_owned();
        for row in 0..60 {
            csv += &format!(
                "L{row},2026-01-01 00:00:{row:02},{}.5,{},{},\n",
                row * 3,
                ["big", "small", ""][row % 3],
                ["no", "yes"][row % 2]
            );
        }
        csv
    }

    #[test]
    fn what_is_written_is_accepted_and_names_every_column() {
        let known = KnownColumns { label: Some("repaid".into()), time: Some("at".into()), ..Default::default() };
        expect![[r##"
            # Written by `driftline init` from …/loans.csv (60 rows looked at). Read it through, then: driftline check
            version: 1

            log:
              directory: driftline-data

            models:
              loans:
                task: {type: binary, positive: "yes", negative: "no"}   # exchange them if the other class is the one to find
                features:
                  # loan: left out, looks like an identifier (60 different values); make it an input with --kind if it is one
                  # at: left out, the event's time
                  amount: numeric
                  "size of \"car\"": categorical   # 20 rows without a value
                  # repaid: left out, the label
                  # empty: left out, is empty
                windows: {size: 1d}              # about 87864 rows each, of the 100 that a judgement needs
                labels:
                  mature: {after: 1h}           # how long after a window its labels are all there
                  horizon: 30d
                trainer:
                  builtin: {}
                serving: none                    # `champion`, where driftline itself is to answer replayed rows
        "##]]
            .assert_eq(&written(&loans().replace("size of \"car\"", "\"size of \"\"car\"\"\""), &known).unwrap());
    }

    #[test]
    fn a_column_that_is_not_there_or_cannot_be_a_label_is_refused() {
        let label = |name: &str| KnownColumns { label: Some(name.into()), ..Default::default() };
        for (known, expected) in [
            (label("nothing"), "no column `nothing`"),
            (label("loan"), "too many for classes"),
            (label("empty"), "one value only"),
        ] {
            let error = written(&loans().replace("size of \"car\"", "size"), &known).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn windows_hold_the_rows_that_a_judgement_needs() {
        let hourly = |hours: u64| {
            let row = |hour: u64| format!("2026-01-{:02}T{:02}:00:00Z,{}.5\n", 1 + hour / 24, hour % 24, hour * 7 % 31);
            format!("at,load\n{}", (0..hours).map(row).collect::<String>())
        };
        let known = KnownColumns { time: Some("at".into()), ..KnownColumns::default() };
        let text = written(&hourly(480), &known).unwrap();
        assert!(text.contains("windows: {size: 7d}              # about 168 rows each"), "{text}");
    }

    #[test]
    fn what_is_said_of_a_column_goes_before_what_it_looks_like() {
        let csv = loans().replace("size of \"car\"", "size");
        let known = KnownColumns {
            only: vec!["loan".into(), "amount".into()],
            kinds: vec![("amount".into(), ColumnKind::Categorical)],
            ..KnownColumns::default()
        };
        let text = written(&csv, &known).unwrap();
        assert!(
            text.contains("\n      loan: categorical\n") && text.contains("\n      amount: categorical\n"),
            "{text}"
        );
        assert!(text.contains("# size: left out, not asked for"), "{text}");
    }
}
