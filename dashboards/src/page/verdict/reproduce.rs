//! From which records a verdict was made, how to get at it otherwise, and what a person can do.

use super::VerdictPage;
use crate::page::document::{Place, model_path, verdict_path};
use crate::page::parts::scrolling;
use crate::page::words;
use detectors::verdict::Verdict;
use maud::{Markup, html};

/// The section.
pub(super) fn section(page: &VerdictPage, place: Place) -> Markup {
    let verdict = &page.verdict;
    html! {
        section aria-labelledby="reproduce" {
            h2 #reproduce { "Reproduce and act" }
            dl.facts {
                div { dt { "Verdict" } dd { code { (verdict.id) } } }
                div { dt { "Reference" } dd {
                    @match &verdict.reference { Some(id) => code { (id) }, None => "none yet" }
                    @if verdict.borrowed_reference { " (the model's default: this version has none of its own)" }
                } }
            }
            @if !verdict.inputs.is_empty() { (inputs(verdict)) }
            (commands(verdict))
            @if place == Place::Service {
                p {
                    a.button href={ (model_path(&verdict.model)) "#act" } { "Retrain, promote or roll back" } " "
                    a.button href={ (verdict_path(&verdict.id)) "/report.html" } download { "Save as one file" } " "
                    a href={ "/v1" (verdict_path(&verdict.id)) } { "As JSON, counts included" }
                }
            }
        }
    }
}

fn inputs(verdict: &Verdict) -> Markup {
    let caption = "Records that hold the window's rows, from the first offset to before the second";
    let table = html! {
        table {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Topic" }
                th.number scope="col" { "Partition" }
                th.number scope="col" { "From" }
                th.number scope="col" { "To" }
            } }
            tbody { @for range in &verdict.inputs {
                tr {
                    th scope="row" { (range.topic) }
                    td.number { (range.partition) }
                    td.number { (range.from) }
                    td.number { (range.to) }
                }
            } }
        }
    };
    html! {
        (scrolling(caption, &table))
        p.note { "The archive keeps the same rows under the same offsets when the log has let them go." }
    }
}

/// Lines for a shell.
fn commands(verdict: &Verdict) -> Markup {
    let model = quoted(&verdict.model);
    let comment = quoted(&format!("verdict {}", verdict.id));
    let (from, until) = (words::timestamp(verdict.window.start_ms), words::timestamp(verdict.window.end_ms));
    html! {
        details {
            summary { "Command lines" }
            p { "Take this window as the model's new reference:" }
            pre tabindex="0" { code { "driftline reference --model " (model) " --from " (from) " --until " (until) } }
            p { "Retrain:" }
            pre tabindex="0" { code { "driftline retrain " (model) " --reason " (comment) } }
            p { "Silence this model's alerts for two hours:" }
            pre tabindex="0" { code { "amtool silence add model=" (model) " --duration=2h --comment=" (comment) } }
        }
    }
}

/// A word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
