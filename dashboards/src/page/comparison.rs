//! The report of `driftline compare`: one file, from the parts that a verdict's page is made of.

use super::document::{Document, Place};
use super::parts::tests_table;
use super::verdict::{Evidence, column_cards, columns_note};
use super::words;
use detectors::panel::{Judgement, Outcome};
use detectors::verdict::{Attribution, TestResult};
use maud::{Markup, html};

/// Tests that are listed; `--json` has all.
const TESTS: usize = 150;

/// A file that was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedSide {
    /// Its path, as it was given.
    pub name: String,
    /// Its rows.
    pub rows: i64,
}

/// What came out of a comparison of two files.
#[derive(Debug, Clone)]
pub struct ComparisonReport<'a> {
    /// What is normal.
    pub reference: ComparedSide,
    /// What was held against it.
    pub current: ComparedSide,
    /// Whether any column is distributed otherwise.
    pub drift: &'a Judgement,
    /// Whether there are more odd values.
    pub data_quality: &'a Judgement,
    /// The columns that were compared.
    pub columns: usize,
    /// Findings beyond the tests, and what was guessed or left out; a sentence each.
    pub notes: Vec<String>,
}

/// The report as one HTML document that loads nothing.
pub fn comparison_report(report: &ComparisonReport<'_>) -> String {
    let attribution: Vec<&Attribution> = report.drift.attribution.iter().collect();
    let evidence = Evidence { tests: &report.drift.tests, course: &[], marks: &[], here_ms: None };
    let body = html! {
        h1 { "Comparison of two files" }
        (answer(report))
        (sides(report))
        @if !report.notes.is_empty() { ul { @for note in &report.notes { li { (words::prose(note)) } } } }
        (faults(report.data_quality))
        @if !attribution.is_empty() {
            section aria-labelledby="columns" {
                h2 #columns { "What moved" }
                (columns_note(&report.drift.attribution))
                (column_cards(&attribution, evidence, Place::File))
            }
        }
        (tests("drift", "Tests of distributions", report.drift))
        (tests("data", "Tests of odd values", report.data_quality))
    };
    Document { title: "Comparison", above: Vec::new(), body }.render(Place::File)
}

fn answer(report: &ComparisonReport<'_>) -> Markup {
    let (class, sign, word) = match report.drift.outcome {
        Outcome::Exceeded => ("drift", "▲", "drift"),
        Outcome::Within => ("stable", "●", "no drift"),
        Outcome::Inconclusive(_) => ("inconclusive", "?", "no judgement"),
    };
    html! {
        p.answer {
            span class={ "badge " (class) } { span aria-hidden="true" { (sign) } " " (word) } ": " (words::prose(&report.drift.summary)) ". "
            "Odd values: " (words::prose(&report.data_quality.summary)) "."
        }
    }
}

fn sides(report: &ComparisonReport<'_>) -> Markup {
    html! {
        dl.facts {
            div { dt { "Reference" } dd { (report.reference.name) ", " (words::counted(report.reference.rows, "row")) } }
            div { dt { "Current" } dd { (report.current.name) ", " (words::counted(report.current.rows, "row")) } }
            div { dt { "Columns compared" } dd { (report.columns) } }
        }
    }
}

fn faults(data_quality: &Judgement) -> Markup {
    let exceeded: Vec<&TestResult> = data_quality.tests.iter().filter(|test| test.exceeded).collect();
    html! {
        @if !exceeded.is_empty() {
            section.notice aria-labelledby="faults" {
                h2 #faults { "Look here first: the data may be at fault" }
                p { (words::prose(&data_quality.summary)) ". This may be a broken feed, and not the world." }
                ul { @for test in exceeded.iter().take(20) {
                    li { (test.test) " of " (test.subject) ": " (words::number(test.score)) ", limit " (words::number(test.threshold)) }
                } }
            }
        }
    }
}

fn tests(id: &str, caption: &str, judgement: &Judgement) -> Markup {
    let all: Vec<&TestResult> = judgement.tests.iter().collect();
    html! {
        @if !all.is_empty() {
            section aria-labelledby=(id) {
                h2 id=(id) { (caption) }
                details {
                    summary { (words::counted(all.len() as i64, "test")) }
                    (tests_table(&all, &format!("{caption}, those furthest beyond their thresholds first"), TESTS))
                }
            }
        }
    }
}
