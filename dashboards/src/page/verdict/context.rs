//! What stands beside a verdict: faults of the same data, the same window's quality, its slices, and what was done.

use super::VerdictPage;
use crate::page::document::{Place, model_path, verdict_path};
use crate::page::fleet::sentence;
use crate::page::model::{monitor_name, quality_course, refusal};
use crate::page::parts::{coverage, scrolling};
use crate::page::words;
use crate::read_model::RequestState;
use detectors::verdict::{Finality, Monitor, Severity, Verdict};
use maud::{Markup, html};
use std::sync::Arc;

/// Slices that are listed.
const SLICES: usize = 50;

/// What was done about it, if it could be.
pub(super) fn done_about_it(page: &VerdictPage, place: Place) -> Markup {
    let verdict = &page.verdict;
    if !matches!(verdict.severity, Severity::Drift) {
        return html! {};
    }
    html! {
        section aria-labelledby="done" {
            h2 #done { "What was done about it" }
            @if page.requests.is_empty() && page.refused.is_empty() {
                p { "No retraining was asked for on account of this window. " (why_nothing(&verdict.monitor)) }
            }
            ul {
                @for view in &page.requests {
                    li {
                        "Retraining was asked for at " (words::moment(view.request.time_ms)) ": "
                        @match (&view.outcome, &view.reason) {
                            (Some(outcome), Some(reason)) => { (outcome.name().replace('_', " ")) ", " (reason) }
                            _ => (request_state(view.state)),
                        }
                        ". " (place.link(&format!("{}#episodes", model_path(&verdict.model)), &html! { "The episode" }))
                    }
                }
                @for view in &page.refused { li { "It led to no retraining: " (refusal(view)) "." } }
            }
        }
    }
}

fn why_nothing(monitor: &Monitor) -> &'static str {
    match monitor {
        Monitor::Drift => {
            "Drift explains harm and is none: it causes retraining only where the model's settings say so."
        }
        Monitor::DataQuality => "A fault of the data is mended where the data come from.",
        Monitor::Quality | Monitor::Sequential(_) => {
            "An episode may have begun with an earlier window, or it is about a version that is not the champion."
        }
    }
}

fn request_state(state: RequestState) -> &'static str {
    match state {
        RequestState::Requested => "not yet taken up",
        RequestState::Waiting => "it waits for labelled rows",
        RequestState::Training => "a challenger is in training",
        RequestState::Trial => "a challenger is on trial",
        RequestState::Ended => "ended",
    }
}

/// Faults of the same window's data: a broken feed looks like a drift.
pub(super) fn faults(page: &VerdictPage, place: Place) -> Markup {
    if page.verdict.monitor != Monitor::Drift {
        return html! {};
    }
    let is_fault = |other: &&Arc<Verdict>| {
        other.monitor == Monitor::DataQuality
            && other.segment == page.verdict.segment
            && other.tests.iter().any(|test| test.exceeded)
    };
    html! {
        @if let Some(fault) = page.beside.iter().find(is_fault) {
            section.notice aria-labelledby="faults" {
                h2 #faults { "Look here first: the data may be at fault" }
                p { (words::prose(&fault.summary)) ". This may be a broken feed, and not the world." }
                p { (place.link(&verdict_path(&fault.id), &html! { "Every finding on the data of this window" })) }
            }
        }
    }
}

/// The quality of the same window.
pub(super) fn does_it_matter(page: &VerdictPage, place: Place) -> Markup {
    if matches!(page.verdict.monitor, Monitor::Quality | Monitor::Sequential(_)) {
        return html! {};
    }
    let verdict = &page.verdict;
    let quality =
        page.beside.iter().find(|other| other.monitor == Monitor::Quality && other.segment == verdict.segment);
    html! {
        section aria-labelledby="matters" {
            h2 #matters { "Does it matter?" }
            @match (quality, page.headline()) {
                (Some(quality), Some(headline)) => {
                    p {
                        (words::badge(&quality.severity)) " "
                        @if headline.exceeded { strong { "Yes: " } } @else { "The quality of this window is like the reference's: " }
                        (headline.told()) ". "
                        (place.link(&verdict_path(&quality.id), &html! { "Its verdict" }))
                    }
                }
                (Some(quality), None) if quality.finality == Finality::Provisional => {
                    p { "Not known yet: labels are not mature. " @if let Some(coverage) = coverage(quality) { (coverage) " have come." } }
                }
                (Some(quality), None) => { p { "It cannot be told: " (words::prose(&quality.summary)) "." } }
                (None, _) => { p { "It cannot be told: no label of this window is known." } }
            }
            div.charts { (quality_course(&page.quality, Some(verdict.window.end_ms), page.marks.clone())) }
        }
    }
}

/// How the same window looks in each slice: also where it is not.
pub(super) fn slices(page: &VerdictPage, place: Place) -> Markup {
    let verdict = &page.verdict;
    let mut others: Vec<&Arc<Verdict>> = page
        .beside
        .iter()
        .filter(|other| other.monitor == verdict.monitor && other.finality == verdict.finality)
        .collect();
    if others.is_empty() || matches!(verdict.monitor, Monitor::Sequential(_)) {
        return html! {};
    }
    let lead = verdict.attribution.first().map(|part| part.column.as_str());
    others.sort_by(|a, b| strain(b, lead).total_cmp(&strain(a, lead)));
    let caption = "The same window in other slices, those that moved most first";
    let of_lead =
        lead.map_or_else(|| "Largest score ÷ threshold".to_owned(), |lead| format!("{lead}: score ÷ threshold"));
    let table = html! {
        table {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Slice" }
                th scope="col" { "State" }
                th.number scope="col" { "Rows" }
                th.number scope="col" { (of_lead) }
                th scope="col" { "In words" }
            } }
            tbody { @for other in others.iter().take(SLICES) {
                tr {
                    th scope="row" { (place.link(&verdict_path(&other.id), &html! { (words::slice(other.segment.as_ref())) })) }
                    td { (words::badge(&other.severity)) }
                    td.number { (words::count(other.rows)) }
                    td.number { (slice_strain(other, lead)) }
                    td { (words::prose(&other.summary)) }
                }
            } }
        }
    };
    html! {
        section aria-labelledby="slices" {
            h2 #slices { "Slices" }
            (scrolling(caption, &table))
        }
    }
}

fn slice_strain(verdict: &Verdict, column: Option<&str>) -> String {
    let strain = strain(verdict, column);
    if strain.is_finite() { format!("{strain:.2}") } else { "–".to_owned() }
}

/// The largest score over its threshold, of a column or of all.
fn strain(verdict: &Verdict, column: Option<&str>) -> f64 {
    let tests = verdict.tests.iter().filter(|test| column.is_none_or(|column| test.subject == column));
    tests.filter_map(words::ratio).fold(f64::NEG_INFINITY, f64::max)
}

/// Every metric that a verdict holds.
pub(super) fn metrics_table(verdict: &Verdict) -> Markup {
    if verdict.metrics.is_empty() {
        return html! { p { "No metric: " (words::prose(&sentence(verdict))) "." } };
    }
    let caption = format!("{}: every metric", monitor_name(&verdict.monitor));
    let table = html! {
        table {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Metric" }
                th.number scope="col" { "Value" }
                th.number scope="col" { "Standard error" }
            } }
            tbody { @for (name, estimate) in &verdict.metrics {
                tr {
                    th scope="row" { (name) }
                    td.number { (words::number(estimate.value)) }
                    td.number { (estimate.standard_error.map_or_else(|| "–".to_owned(), words::number)) }
                }
            } }
        }
    };
    scrolling(&caption, &table)
}
