//! The balance of a replay: what became of each row that was read, from what capture says of it.
//!
//! Rows read are those that were counted, came late, were duplicates, or became dead letters by reason. What is left over
//! has been told nowhere; it is shown as such, and never added to another number. Labels have a balance of their own.

use crate::files::EncodedRows;
use crate::service::topic_reader::TopicReader;
use anyhow::{Context, Result, anyhow};
use capture::partial::{CaptureEpoch, EventCounts};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use streams::log::{Log, Offset};
use streams::topics;

/// What capture has said of a model's events and labels over some epochs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Of its inferences.
    pub events: EventCounts,
    /// Of its labels.
    pub labels: EventCounts,
    /// Inferences of any model that could not be taken, by reason.
    pub dead_events: BTreeMap<String, i64>,
    /// Labels of any model that could not be taken, by reason.
    pub dead_labels: BTreeMap<String, i64>,
}

impl Captured {
    /// What capture has said since this place in its ledger.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn since(log: &Arc<dyn Log>, from: Offset, model: &str) -> Result<Self> {
        let mut captured = Self::default();
        for epoch in epochs(log, from)? {
            for entry in epoch?.ledger {
                let is_labels = entry.to.topic == topics::LABELS;
                let (counts, dead) = match is_labels {
                    true => (&mut captured.labels, &mut captured.dead_labels),
                    false => (&mut captured.events, &mut captured.dead_events),
                };
                entry.counts.get(model).into_iter().for_each(|more| counts.add(more));
                entry.dead_letters.into_iter().for_each(|(reason, rows)| *dead.entry(reason).or_default() += rows);
            }
        }
        Ok(captured)
    }
}

/// Where capture's ledger ends now.
///
/// # Errors
/// When the log cannot be read.
pub fn end_of_ledger(log: &Arc<dyn Log>) -> Result<Offset> {
    Ok(log.bounds(topics::PARTIALS, 0)?.end)
}

/// How many of the ledger's last records tell where event time stands.
const LAST_RECORDS: Offset = 256;

/// The event time before which rows are late in any partition of the inferences, as the end of the ledger tells it; `None`
/// where nothing has been captured.
///
/// # Errors
/// When the ledger cannot be read.
pub fn watermark_ms(log: &Arc<dyn Log>) -> Result<Option<i64>> {
    let mut stands = BTreeMap::new();
    for epoch in epochs(log, end_of_ledger(log)?.saturating_sub(LAST_RECORDS))? {
        for entry in epoch?.ledger.into_iter().filter(|entry| entry.to.topic == topics::INFERENCES) {
            stands.extend(entry.watermark_ms.map(|at_ms| (entry.to.partition, at_ms)));
        }
    }
    Ok(stands.into_values().min())
}

/// The epochs of the ledger from an offset on. Counts stand in the first partition only.
fn epochs(log: &Arc<dyn Log>, from: Offset) -> Result<impl Iterator<Item = Result<CaptureEpoch>> + use<>> {
    let mut reader = TopicReader::starting_at(Arc::clone(log), topics::PARTIALS, from)?;
    let mut records = Vec::new().into_iter();
    Ok(std::iter::from_fn(move || {
        if records.len() == 0 {
            match reader.read() {
                Ok(more) => records = more.into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
        let record: streams::log::Record = records.next()?;
        let epoch = CaptureEpoch::read(&record).map_err(|reason| anyhow!(reason));
        Some(epoch.with_context(|| format!("reading record {} of {}", record.offset, topics::PARTIALS)))
    }))
}

/// What became of the rows and labels of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Rows read.
    pub read: i64,
    /// Of those, in a window.
    pub counted: i64,
    /// Behind the watermark, in no window.
    pub late: i64,
    /// With an id that had been seen.
    pub duplicates: i64,
    /// Refused, by reason.
    pub dead_letters: BTreeMap<String, i64>,
    /// Told of nowhere.
    pub unaccounted: i64,
    /// The labels of the rows, where they have some.
    pub labels: Option<LabelBalance>,
    /// The first row or label whose time cannot be read, and what it has for a time.
    pub first_untimed: Option<(u64, String)>,
}

/// What became of labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LabelBalance {
    /// Labels read.
    pub read: i64,
    /// Of those, the first of their predictions, or instead of an earlier one.
    pub matched: i64,
    /// Refused, by reason.
    pub dead_letters: BTreeMap<String, i64>,
    /// Not sent, because the time at which they came cannot be read.
    pub untimed: i64,
    /// Of no prediction that is there and still waits for its label.
    pub unmatched: i64,
}

impl Balance {
    /// Of so many rows read, which were encoded so and of which capture has said this.
    pub fn of(read: u64, encoded: &EncodedRows, captured: Captured) -> Self {
        let read = i64::try_from(read).unwrap_or(i64::MAX);
        let Captured { events, labels, dead_events, dead_labels } = captured;
        let dead: i64 = dead_events.values().sum();
        // A row that is late and a duplicate too is a duplicate.
        let late = events.late - events.late_duplicates;
        Self {
            read,
            counted: events.counted(),
            late,
            duplicates: events.duplicates,
            unaccounted: read - events.counted() - late - events.duplicates - dead,
            dead_letters: dead_events,
            labels: LabelBalance::of(encoded, labels, dead_labels),
            first_untimed: encoded.first_untimed.clone(),
        }
    }

    /// Whether every row and every label was counted.
    pub fn is_whole(&self) -> bool {
        self.counted == self.read && self.labels.as_ref().is_none_or(|labels| labels.matched == labels.read)
    }
}

impl LabelBalance {
    fn of(encoded: &EncodedRows, counts: EventCounts, dead_letters: BTreeMap<String, i64>) -> Option<Self> {
        let untimed = i64::try_from(encoded.untimed_labels).unwrap_or(i64::MAX);
        let labels = encoded.labels.saturating_add(encoded.unknown_labels);
        let read = i64::try_from(labels).unwrap_or(i64::MAX).saturating_add(untimed);
        if read == 0 {
            return None;
        }
        let dead: i64 = dead_letters.values().sum();
        // Labels of earlier may have met predictions of now.
        let matched = (counts.labelled + counts.relabelled).min(read - dead - untimed);
        Some(Self { read, matched, untimed, unmatched: read - matched - dead - untimed, dead_letters })
    }
}

/// `660 rows read = 640 counted + 20 late`; with labels a second line.
impl fmt::Display for Balance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, counted, late, duplicates, dead_letters, unaccounted, .. } = self;
        if let Some(labels) = self.labels.as_ref().filter(|_| *read == 0) {
            return labels.fmt(out);
        }
        write!(out, "{read} rows read = {counted} counted")?;
        for (rows, what) in [
            (late, "late (behind the time that the log had come to: in no window)"),
            (duplicates, "duplicates (their ids had been seen)"),
        ] {
            write_part(out, *rows, what)?;
        }
        write_dead_letters(out, dead_letters)?;
        write_part(out, *unaccounted, "of which nothing was told")?;
        if let Some((row, found)) = &self.first_untimed {
            write!(out, "; the first without a time that can be read is row {row}, with {found}")?;
        }
        self.labels.as_ref().map_or(Ok(()), |labels| write!(out, "\n{labels}"))
    }
}

/// `660 labels read = 650 matched + 10 …`.
impl fmt::Display for LabelBalance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} labels read = {} matched", self.read, self.matched)?;
        write_part(out, self.untimed, "without a time that can be read")?;
        write_dead_letters(out, &self.dead_letters)?;
        write_part(out, self.unmatched, "of no prediction that is there and still waits for its label")
    }
}

fn write_part(out: &mut fmt::Formatter<'_>, rows: i64, what: &str) -> fmt::Result {
    if rows == 0 { Ok(()) } else { write!(out, " + {rows} {what}") }
}

fn write_dead_letters(out: &mut fmt::Formatter<'_>, letters: &BTreeMap<String, i64>) -> fmt::Result {
    letters.iter().try_for_each(|(reason, rows)| write_part(out, *rows, &format!("dead letters ({reason})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(labels: u64, untimed_labels: u64) -> EncodedRows {
        EncodedRows { labels, untimed_labels, ..EncodedRows::default() }
    }

    #[test]
    fn a_balance_adds_up_and_tells_of_each_row_once() {
        let events =
            EventCounts { produced: 90, late: 20, duplicates: 10, late_duplicates: 5, ..EventCounts::default() };
        let dead_events = BTreeMap::from([("wrong_type_time".to_owned(), 7)]);
        let captured = Captured { events, dead_events, ..Captured::default() };
        let first_untimed = Some((3, "`unknown`".to_owned()));
        let balance = Balance::of(100, &EncodedRows { first_untimed, ..EncodedRows::default() }, captured);
        assert_eq!((balance.counted, balance.late, balance.duplicates, balance.unaccounted), (65, 15, 10, 3));
        assert!(!balance.is_whole());
        assert_eq!(
            balance.to_string(),
            "100 rows read = 65 counted + 15 late (behind the time that the log had come to: in no window) + 10 duplicates \
             (their ids had been seen) + 7 dead letters (wrong_type_time) + 3 of which nothing was told; the first without a \
             time that can be read is row 3, with `unknown`"
        );
    }

    #[test]
    fn labels_that_met_no_prediction_are_told_of() {
        let labels = EventCounts { labelled: 6, relabelled: 1, ..EventCounts::default() };
        let captured = Captured {
            events: EventCounts { produced: 10, ..EventCounts::default() },
            labels,
            dead_labels: BTreeMap::from([("wrong_type_label".to_owned(), 1)]),
            ..Captured::default()
        };
        let balance = Balance::of(10, &encoded(9, 1), captured.clone());
        let told = balance.to_string();
        assert!(told.starts_with("10 rows read = 10 counted\n10 labels read = 7 matched + 1 without a time"), "{told}");
        assert!(told.contains("1 dead letters (wrong_type_label)") && told.contains("1 of no prediction"), "{told}");
        assert!(!balance.is_whole());
        let whole = Balance::of(10, &encoded(7, 0), Captured { dead_labels: BTreeMap::new(), ..captured });
        assert!(whole.is_whole(), "{whole}");
    }
}
