//! What several pages show alike: facts, strips of windows, tables, the headline of a quality.

use super::document::{Place, verdict_path};
use super::words;
use detectors::verdict::{Estimate, Monitor, Severity, TestResult, Verdict};
use maud::{Markup, html};
use std::sync::Arc;

/// A table that scrolls sideways by itself where it does not fit, also by the keys.
pub(super) fn scrolling(name: &str, table: &Markup) -> Markup {
    html! { div.scrolls role="group" aria-label=(name) tabindex="0" { (table) } }
}

/// Windows one after the other, each a link to its verdict; the one in hand is marked.
pub(super) fn strip(verdicts: &[Arc<Verdict>], here: Option<&str>, place: Place) -> Markup {
    html! {
        ol.strip {
            @for verdict in verdicts {
                li { (window_mark(verdict, here == Some(verdict.id.as_str()), place)) }
            }
        }
    }
}

/// One window as a sign.
fn window_mark(verdict: &Verdict, is_here: bool, place: Place) -> Markup {
    let severity = &verdict.severity;
    let says = format!("{}: {}, version {}", words::span_text(verdict.window), severity.name(), verdict.version);
    let sign = html! {
        span aria-hidden="true" { (words::sign(severity)) }
        span.unseen { (says) }
    };
    let class = format!("mark {}", severity.name());
    match (place, is_here) {
        (Place::Service, false) => html! { a class=(class) href=(verdict_path(&verdict.id)) title=(says) { (sign) } },
        (_, true) => html! { span class={ (class) " here" } title=(says) aria-current="true" { (sign) } },
        (Place::File, false) => html! { span class=(class) title=(says) { (sign) } },
    }
}

/// The headline metric of a judged quality, and what it was in the reference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Headline {
    /// Name of the metric.
    pub(super) metric: String,
    /// In the window.
    pub(super) value: Estimate,
    /// In the reference.
    pub(super) baseline: f64,
    /// Where it counts as worse.
    pub(super) limit: f64,
    /// Whether it does.
    pub(super) exceeded: bool,
}

impl Headline {
    /// Of a verdict on quality; `None` where it was not judged.
    ///
    /// # Formula
    /// The test's score is `baseline − value` for a metric of which more is better (`…_drop`), and `(value − baseline) /
    /// baseline` for an error (`…_rise`); its threshold is of the same kind.
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        if verdict.monitor != Monitor::Quality {
            return None;
        }
        let test = verdict.tests.first()?;
        let value = *verdict.metrics.get(&test.subject)?;
        let (baseline, limit) = if test.test.ends_with("_rise") {
            let baseline = value.value / (1.0 + test.score);
            (baseline, baseline * (1.0 + test.threshold))
        } else {
            let baseline = value.value + test.score;
            (baseline, baseline - test.threshold)
        };
        Some(Self { metric: test.subject.clone(), value, baseline, limit, exceeded: test.exceeded })
    }

    /// `accuracy 0.71 (reference 0.84)`.
    pub(super) fn told(&self) -> String {
        format!("{} {} (reference {})", self.metric, words::number(self.value.value), words::number(self.baseline))
    }
}

/// How many of a window's rows have a label.
pub(super) fn coverage(verdict: &Verdict) -> Option<String> {
    let labelled = verdict.labelled?;
    let share = labelled as f64 / verdict.rows.max(1) as f64;
    Some(format!("{} ({} of {})", words::percent(share), words::count(labelled), words::count(verdict.rows)))
}

/// Tests in a table, those furthest beyond their thresholds first; at most so many.
pub(super) fn tests_table(tests: &[&TestResult], caption: &str, most: usize) -> Markup {
    let mut tests = tests.to_vec();
    let beyond = |test: &TestResult| words::ratio(test).unwrap_or(if test.exceeded { f64::INFINITY } else { 0.0 });
    tests.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)));
    let left_out = tests.len().saturating_sub(most);
    let table = html! {
        table {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Column" }
                th scope="col" { "Test" }
                th.number scope="col" { "Score" }
                th.number scope="col" { "Threshold" }
                th.number scope="col" { "Score ÷ threshold" }
                th.number scope="col" { "p-value" }
                th scope="col" { "Threshold from" }
            } }
            tbody { @for test in tests.iter().take(most) { (test_row(test)) } }
        }
        @if left_out > 0 { p.note { (words::counted(left_out as i64, "further test")) " within their thresholds: the JSON has them." } }
    };
    scrolling(caption, &table)
}

fn test_row(test: &TestResult) -> Markup {
    html! {
        tr class=(if test.exceeded { "exceeded" } else { "" }) {
            th scope="row" { (test.subject) }
            td { (test.test) @if test.exceeded { " " span.beyond { "▲ exceeded" } } }
            td.number { (words::number(test.score)) }
            td.number { (words::number(test.threshold)) }
            td.number { (words::ratio(test).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))) }
            td.number { (test.p_value.map_or_else(|| "–".to_owned(), words::number)) }
            td { (words::threshold_source_short(test.threshold_from)) }
        }
    }
}

/// What the signs of a strip mean.
pub(super) fn legend() -> Markup {
    let why = detectors::verdict::Why::NotInReference;
    let states =
        [Severity::Stable, Severity::Warning, Severity::Drift, Severity::Inconclusive(why), Severity::Learning];
    html! {
        p.legend {
            @for state in &states {
                span { span class={ "mark " (state.name()) } aria-hidden="true" { (words::sign(state)) } " " (state.name()) }
            }
        }
    }
}
