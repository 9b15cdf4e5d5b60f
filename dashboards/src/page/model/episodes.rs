//! The episodes of a model: what was tried after a cause, and what came of it; and the causes that led to nothing.

use crate::page::document::{verdict_path, version_path};
use crate::page::parts::scrolling;
use crate::page::words;
use crate::read_model::{CandidateView, RefusedView, RequestState, RequestView};
use maud::{Markup, html};
use retrain::lifecycle::{EpisodeOutcome, TrialReport};
use retrain::request::CauseKind;

/// Episodes that are shown at once; the API has the others.
const SHOWN: usize = 10;

/// The section.
pub(super) fn section(requests: &[RequestView], refused: &[RefusedView], model: &str) -> Markup {
    html! {
        section aria-labelledby="episodes" {
            h2 #episodes { "Retraining" }
            @if requests.is_empty() { p { "No retraining was asked for." } }
            @for (place, view) in requests.iter().take(SHOWN).enumerate() { (episode(view, model, place == 0)) }
            @if requests.len() > SHOWN {
                p.note {
                    (words::counted((requests.len() - SHOWN) as i64, "earlier episode")) ": "
                    code { "/v1/models/" (model) "/requests" }
                }
            }
            @if !refused.is_empty() {
                details {
                    summary { (words::counted(refused.len() as i64, "cause")) " that led to no retraining" }
                    ul { @for view in refused { li { (refusal(view)) } } }
                }
            }
        }
    }
}

/// A cause that led to nothing, and why.
pub(in crate::page) fn refusal(view: &RefusedView) -> Markup {
    let cause = &view.cause.cause;
    html! { (words::moment(cause.time_ms)) " " (cause.kind.name()) " (" (cause.summary) "): " (view.reason) }
}

fn episode(view: &RequestView, model: &str, is_last: bool) -> Markup {
    let (request, cause) = (&view.request, &view.request.cause);
    html! {
        article.card {
            h3 { (cause_name(&cause.kind)) ", " (words::moment(request.time_ms)) }
            p {
                (state(view)) " " (words::prose(&cause.summary))
                @if !matches!(cause.kind, CauseKind::Person { .. } | CauseKind::Schedule | CauseKind::DataVolume) {
                    " (" a href=(verdict_path(&cause.id)) { "the verdict" } ")"
                }
                "."
            }
            @if let Some(reason) = &view.reason { p { "It ended: " (words::prose(reason)) "." } }
            @if let (Some(progress), true) = (&view.progress, is_last) {
                p.note {
                    (words::count(progress.rows)) " of " (words::count(progress.rows_needed)) " labelled rows since the change at "
                    (words::moment(progress.change_ms)) "."
                    @if let (Some(loss), Some(target)) = (progress.loss, progress.target) {
                        " The champion's mean loss is " (words::number(loss)) "; aimed at is " (words::number(target)) "."
                    }
                }
            }
            @if !view.candidates.is_empty() { (candidates(&view.candidates, model)) }
        }
    }
}

fn cause_name(kind: &CauseKind) -> &'static str {
    match kind {
        CauseKind::Quality => "Quality fell",
        CauseKind::FeatureDrift => "Inputs drifted",
        CauseKind::Schedule => "The schedule was due",
        CauseKind::DataVolume => "Enough new rows had come",
        CauseKind::Person { .. } => "A person asked",
    }
}

/// How an episode stands, as a word.
fn state(view: &RequestView) -> Markup {
    let (class, name) = match (view.state, view.outcome) {
        (RequestState::Ended, Some(EpisodeOutcome::Recovered)) => ("stable", "recovered"),
        (RequestState::Ended, Some(EpisodeOutcome::NoBetterModel)) => ("warning", "no better model"),
        (RequestState::Ended, Some(EpisodeOutcome::GivenUp)) => ("harm", "given up"),
        (RequestState::Ended, Some(EpisodeOutcome::Abandoned)) => ("learning", "abandoned"),
        (RequestState::Ended, None) => ("learning", "ended"),
        (RequestState::Requested, _) => ("learning", "requested"),
        (RequestState::Waiting, _) => ("learning", "waits for rows"),
        (RequestState::Training, _) => ("learning", "in training"),
        (RequestState::Trial, _) => ("learning", "on trial"),
    };
    html! { span class={ "badge " (class) } { (name) } }
}

fn candidates(candidates: &[CandidateView], model: &str) -> Markup {
    let caption = "Candidates, in the order in which they were made";
    let table = html! {
        table {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Candidate" }
                th scope="col" { "Version" }
                th scope="col" { "State" }
                th scope="col" { "Trial" }
            } }
            tbody { @for candidate in candidates {
                tr {
                    th scope="row" { (candidate.number) " " (candidate.kind.map_or("", |kind| kind.name())) }
                    td { @match &candidate.version { Some(version) => a href=(version_path(model, version)) { (version) }, None => "–" } }
                    td { (candidate_state(candidate)) }
                    td {
                        @if let Some(report) = &candidate.report { (candidate_figures(report)) }
                        @if let Some(reason) = &candidate.reason { p { (reason) } }
                    }
                }
            } }
        }
    };
    scrolling(caption, &table)
}

fn candidate_state(candidate: &CandidateView) -> String {
    use crate::read_model::CandidateState::{Failed, Promoted, Rejected, Training, Trial};
    match candidate.state {
        Training => format!("in training, attempt {}", candidate.attempts),
        Trial => "on trial".to_owned(),
        Promoted => "promoted".to_owned(),
        Rejected => "rejected".to_owned(),
        Failed => "failed".to_owned(),
    }
}

/// The figures of a trial in a sentence.
pub(in crate::page) fn candidate_figures(report: &TrialReport) -> Markup {
    html! {
        p {
            "Mean loss " (words::number(report.challenger_loss)) " against the champion's " (words::number(report.champion_loss))
            " on " (words::counted(report.rows as i64, "row")) "; evidence " (words::number(report.evidence)) " of "
            (words::number(report.evidence_needed)) " needed."
        }
        @if report.challenger_unanswered + report.champion_unanswered > 0 {
            p.note {
                "Left unanswered, each a loss of 1: " (report.challenger_unanswered) " by the challenger, "
                (report.champion_unanswered) " by the champion."
            }
        }
    }
}
