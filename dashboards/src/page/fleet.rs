//! `/`: every model, those that need somebody to look first.

use super::document::{Document, Place, model_path, verdict_path, version_path};
use super::parts::{Headline, coverage, scrolling};
use super::trouble::{Health, Trouble};
use super::words;
use crate::api::NotReady;
use detectors::verdict::Verdict;
use maud::{Markup, html};

/// Models that have a row of their own; of the others there is a list.
const ROWS: usize = 200;

/// The page.
pub(super) fn page(fleet: &[Health], not_ready: &[NotReady]) -> String {
    let body = html! {
        h1 { "Models" }
        (answer(fleet))
        (not_ready_notice(not_ready))
        @if !fleet.is_empty() { (table(fleet)) }
    };
    Document { title: "Models", above: Vec::new(), body }.render(Place::Service)
}

/// The first line: how many need somebody, and of what.
fn answer(fleet: &[Health]) -> Markup {
    if fleet.is_empty() {
        return html! { p.answer { "No model is configured and none was heard of." } };
    }
    let needs = fleet.iter().filter(|health| health.trouble < Trouble::Warning).count();
    html! {
        p.answer {
            @if needs == 0 { "No model needs you." } @else {
                strong { (needs) " of " (words::counted(fleet.len() as i64, "model")) }
                @if needs == 1 { " needs you." } @else { " need you." }
            }
        }
        ul.tally {
            @for trouble in Trouble::ALL {
                @let count = fleet.iter().filter(|health| health.trouble == trouble).count();
                @if count > 0 { li { (trouble_badge(trouble)) " " (count) } }
            }
        }
    }
}

fn not_ready_notice(reasons: &[NotReady]) -> Markup {
    html! {
        @if !reasons.is_empty() {
            section.notice aria-label="The service is not ready" {
                p { strong { "The service is not ready: what is shown may be behind." } }
                ul { @for reason in reasons { li { (reason.part) ": " (reason.reason) } } }
            }
        }
    }
}

/// A trouble as a word with its sign.
pub(super) fn trouble_badge(trouble: Trouble) -> Markup {
    html! { span class={ "badge " (trouble.class()) } { span aria-hidden="true" { (trouble.sign()) } " " (trouble.name()) } }
}

fn table(fleet: &[Health]) -> Markup {
    let table = html! {
        table.fleet {
            caption { "Models by what is the matter, worst first" }
            thead { tr {
                th scope="col" { "Model" }
                th scope="col" { "State" }
                th scope="col" { "Quality" }
                th scope="col" { "Labels" }
                th scope="col" { "Champion" }
                th scope="col" { "Under way" }
            } }
            tbody { @for health in fleet.iter().take(ROWS) { (row(health)) } }
        }
    };
    html! {
        (scrolling("Models", &table))
        @if fleet.len() > ROWS {
            details {
                summary { (words::counted((fleet.len() - ROWS) as i64, "further model")) }
                ul { @for health in fleet.iter().skip(ROWS) {
                    li { a href=(model_path(&health.summary.model)) { (health.summary.model) } " " (health.trouble.name()) }
                } }
            }
        }
    }
}

fn row(health: &Health) -> Markup {
    let model = &health.summary.model;
    html! {
        tr {
            th scope="row" { a href=(model_path(model)) { (model) } }
            td { (state(health)) }
            td data-label="Quality" { (quality(health)) }
            td data-label="Labels" {
                @match health.coverage.as_deref().and_then(coverage) {
                    Some(coverage) => (coverage),
                    None => span.none { "none" },
                }
            }
            td data-label="Champion" { (champion(health)) }
            td data-label="Under way" {
                @if health.waits.is_empty() { span.none { "nothing" } }
                @for wait in &health.waits { p { (wait) } }
            }
        }
    }
}

fn state(health: &Health) -> Markup {
    html! {
        p {
            (trouble_badge(health.trouble))
            @if let (Some(since_ms), true) = (health.since_ms, health.trouble < Trouble::Learning) { " since " (words::moment(since_ms)) }
        }
        @if let Some(verdict) = &health.evidence {
            p.why {
                @if health.trouble < Trouble::Learning { a href=(verdict_path(&verdict.id)) { (words::prose(&sentence(verdict))) } }
                @else { (words::prose(&sentence(verdict))) }
            }
        }
    }
}

/// What a verdict says, with the slice where it is one.
pub(super) fn sentence(verdict: &Verdict) -> String {
    let summary = match verdict.summary.as_str() {
        "" => "there is no reference yet",
        summary => summary,
    };
    match &verdict.segment {
        None => summary.to_owned(),
        Some(_) => format!("{}: {summary}", words::slice(verdict.segment.as_ref())),
    }
}

fn quality(health: &Health) -> Markup {
    let headline = health.quality.as_deref().and_then(Headline::of);
    html! {
        @match headline {
            None => span.none { "not judged" },
            Some(headline) => {
                (headline.metric) " " strong { (words::number(headline.value.value)) }
                @if let Some(error) = headline.value.standard_error { span.none { " ± " (words::number(1.96 * error)) } }
                br;
                span.none { "reference " (words::number(headline.baseline)) }
            }
        }
    }
}

fn champion(health: &Health) -> Markup {
    let model = &health.summary.model;
    html! {
        @match &health.summary.champion {
            None => span.none { "none" },
            Some(version) => {
                a href=(version_path(model, version)) { (version) }
                @if let (Some(since_ms), Some(last_ms)) = (health.champion_since_ms, health.last_window_ms) {
                    @if last_ms > since_ms { br; span.none { "for " (words::length(last_ms - since_ms)) } }
                }
            }
        }
    }
}
