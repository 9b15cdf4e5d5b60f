//! A replay into a service that runs: the events go through its API, and its metrics tell what became of them.

use super::input::Input;
use super::{bar, exit_of};
use crate::cli::Exit;
use crate::commands::WrongUsage;
use crate::commands::remote::{Credentials, Remote};
use crate::config::Config;
use crate::files::{Encoded, EncodedRecord, EncodedRows, EventEncoder, LabelRows, LabelTimes};
use crate::output::{note, say};
use crate::replay::balance::{Balance, Captured};
use anyhow::Result;
use capture::partial::EventCounts;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use streams::topics;

const NOT_ANSWERED: &str =
    "the rows have no --prediction: a running service does not answer them; stop it, and replay in lock-step";
const NO_LABEL_TIMES: &str = "a running service takes labels with their times: name the column with --time, or stop the service and replay in lock-step";

/// How long capture may take over more rows, and how often it is asked.
const CAPTURE_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Sends the events. The service's own clock ends windows, so there is no lock-step.
pub(super) fn send(input: &Input<'_>, config: &Config, json: bool) -> Result<Exit> {
    if !input.args.no_end_mark {
        note(format_args!(
            "driftline: the log is open in a running service; rows go through its API, and the last windows close when later events have come"
        ));
    }
    if input.encoder.prediction.is_none() && !input.is_labels {
        return Err(WrongUsage(NOT_ANSWERED.to_owned()).into());
    }
    let mut sending = Sending::new(Remote::new(&config.api.url(), Credentials::of(None)?)?, &input.encoder.model);
    let before = sending.captured()?;
    input.refuse_if_late(before.watermark_ms)?;
    let (rows, encoded) = sending.all(input, json)?;
    let balance = sending.balance(rows, &encoded, &before)?;
    if json {
        say(format_args!("{}", json!({"rows": rows, "sent_to": config.api.listen, "balance": balance})))?;
    } else {
        say(format_args!("sent {rows} rows to {}", config.api.url()))?;
        say(format_args!("{balance}"))?;
    }
    Ok(exit_of(&balance))
}

/// What is on its way to a service.
struct Sending<'a> {
    remote: Remote,
    model: &'a str,
    /// Events and labels that the API refused, by reason.
    refused: [BTreeMap<String, i64>; 2],
}

/// What the metrics of a service say.
#[derive(Default)]
struct Metrics {
    captured: Captured,
    watermark_ms: Option<i64>,
}

impl<'a> Sending<'a> {
    fn new(remote: Remote, model: &'a str) -> Self {
        Self { remote, model, refused: Default::default() }
    }

    /// Sends the rows; how many there were, and what became of them before they were sent.
    fn all(&mut self, input: &Input<'_>, json: bool) -> Result<(u64, EncodedRows)> {
        if input.is_labels {
            return self.labels(input);
        }
        let mut encoder = EventEncoder::new(input.encoder.clone());
        let (bar, mut rows) = (bar(json), 0);
        for batch in input.events()? {
            let batch = batch?;
            rows = batch.first_row + batch.batch.num_rows() as u64;
            self.post(encoder.encode(&batch, None)?)?;
            bar.set_position(rows);
        }
        let last = encoder.finish();
        self.post(last)?;
        bar.finish_and_clear();
        Ok((rows, encoder.rows().clone()))
    }

    fn labels(&mut self, input: &Input<'_>) -> Result<(u64, EncodedRows)> {
        let column = input.label_time().ok_or_else(|| WrongUsage(NO_LABEL_TIMES.to_owned()))?;
        let labels = LabelRows::read(&input.encoder, &LabelTimes::Column(column.to_owned()), input.files.open()?)?;
        let mut sent = 0;
        while let Some(encoded) = labels.encode(sent, crate::replay::PLAIN_CHUNK_ROWS) {
            sent += encoded.labels.iter().map(|record| u64::from(record.events)).sum::<u64>();
            self.post(encoded)?;
        }
        Ok((0, labels.rows().clone()))
    }

    fn post(&mut self, encoded: Encoded) -> Result<()> {
        for (place, (path, records)) in
            [("/v1/events", encoded.events), ("/v1/labels", encoded.labels)].into_iter().enumerate()
        {
            for EncodedRecord { value, .. } in records {
                let answer = self.remote.post_messagepack(path, &value)?;
                let rejected = answer.get("rejected").and_then(Value::as_array);
                let Some(refused) = self.refused.get_mut(place) else { continue };
                for reason in rejected.into_iter().flatten().filter_map(|row| row.get("reason")?.as_str()) {
                    *refused.entry(reason.to_owned()).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// The balance, once capture has taken in what was sent, or takes in nothing more.
    fn balance(&self, rows: u64, encoded: &EncodedRows, before: &Metrics) -> Result<Balance> {
        let (mut last, mut progressed) = (None, Instant::now());
        loop {
            let mut captured = self.captured()?.captured.less(&before.captured);
            let [events, labels] = &self.refused;
            for (dead, refused) in [(&mut captured.dead_events, events), (&mut captured.dead_labels, labels)] {
                refused.iter().for_each(|(reason, rows)| *dead.entry(reason.clone()).or_default() += rows);
            }
            let balance = Balance::of(rows, encoded, captured);
            let is_told =
                balance.unaccounted <= 0 && balance.labels.as_ref().is_none_or(|labels| labels.unmatched == 0);
            if is_told || progressed.elapsed() > CAPTURE_PATIENCE {
                return Ok(balance);
            }
            if last.as_ref() != Some(&balance) {
                (last, progressed) = (Some(balance), Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn captured(&self) -> Result<Metrics> {
        Ok(Metrics::read(&self.remote.text("/metrics")?, self.model))
    }
}

impl Metrics {
    /// Reads what a page says of a model.
    fn read(page: &str, model: &str) -> Self {
        let mut metrics = Self::default();
        let Captured { events, labels, dead_events, dead_labels } = &mut metrics.captured;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, _) = series.split_once('{').unwrap_or((series, ""));
            let of_model = || label(series, "model").is_some_and(|found| found == model);
            let count = value as i64;
            match name {
                "driftline_events_total" if of_model() => events.produced = count,
                "driftline_late_events_total" if of_model() => events.late = count,
                "driftline_duplicate_events_total" if of_model() => events.duplicates = count,
                "driftline_labels_matched_total" if of_model() => labels.labelled = count,
                "driftline_labels_replaced_total" if of_model() => labels.relabelled = count,
                // A reason that nothing was wrong for is there too, with 0.
                "driftline_dead_letters_total" if count > 0 => {
                    let is_labels = label(series, "topic") == Some(topics::LABELS);
                    let dead = if is_labels { &mut *dead_labels } else { &mut *dead_events };
                    dead.insert(label(series, "reason").unwrap_or_default().to_owned(), count);
                }
                "driftline_watermark_timestamp_seconds" if label(series, "topic") == Some(topics::INFERENCES) => {
                    let at_ms = (value * 1e3) as i64;
                    metrics.watermark_ms = Some(metrics.watermark_ms.map_or(at_ms, |least: i64| least.min(at_ms)));
                }
                _ => {}
            }
        }
        metrics
    }
}

/// The value of a label of a series.
fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

impl Captured {
    /// What was said beyond what had been said before.
    fn less(mut self, before: &Self) -> Self {
        let less = |counts: EventCounts, before: &EventCounts| EventCounts {
            produced: counts.produced - before.produced,
            late: counts.late - before.late,
            duplicates: counts.duplicates - before.duplicates,
            labelled: counts.labelled - before.labelled,
            relabelled: counts.relabelled - before.relabelled,
            ..EventCounts::default()
        };
        (self.events, self.labels) = (less(self.events, &before.events), less(self.labels, &before.labels));
        for (dead, before) in
            [(&mut self.dead_events, &before.dead_events), (&mut self.dead_labels, &before.dead_labels)]
        {
            dead.iter_mut().for_each(|(reason, rows)| *rows -= before.get(reason).copied().unwrap_or(0));
            dead.retain(|_, rows| *rows != 0);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP driftline_events_total Good rows.
driftline_events_total{model=\"fare\"} 12
driftline_events_total{model=\"loan\"} 100
driftline_late_events_total{model=\"loan\"} 30
driftline_dead_letters_total{reason=\"missing_id\",topic=\"inferences\"} 3
driftline_dead_letters_total{reason=\"missing_label\",topic=\"labels\"} 2
driftline_labels_matched_total{model=\"loan\"} 7
driftline_watermark_timestamp_seconds{partition=\"0\",topic=\"inferences\"} 1700000000.5
driftline_watermark_timestamp_seconds{partition=\"1\",topic=\"inferences\"} 1600000000
driftline_watermark_timestamp_seconds{partition=\"0\",topic=\"labels\"} 5
";

    #[test]
    fn what_a_service_has_captured_is_read_from_its_metrics() {
        let now = Metrics::read(PAGE, "loan");
        assert_eq!(now.watermark_ms, Some(1_600_000_000_000));
        let before = Metrics::read("driftline_events_total{model=\"loan\"} 40\n", "loan");
        let captured = now.captured.less(&before.captured);
        assert_eq!((captured.events.produced, captured.events.late, captured.labels.labelled), (60, 30, 7));
        let balance = Balance::of(63, &EncodedRows { labels: 9, ..EncodedRows::default() }, captured);
        assert_eq!((balance.counted, balance.late, balance.unaccounted), (30, 30, 0));
        assert_eq!(balance.labels.unwrap().unmatched, 0);
    }
}
