//! The columns that take part in a drift: how much each, what of it moved, against what threshold, and over time.

use crate::page::chart::{Begin, Course, Point, bars, draw_distribution, draw_excess};
use crate::page::document::Place;
use crate::page::model::figure;
use crate::page::parts::scrolling;
use crate::page::words;
use detectors::verdict::{Attribution, Distribution, Quantiles, TestResult, Verdict};
use maud::{Markup, html};
use std::sync::Arc;

/// Columns that are shown.
const MOST: usize = 12;

/// What stands beside a column.
#[derive(Clone, Copy)]
pub(in crate::page) struct Evidence<'a> {
    /// Every test of the window.
    pub(in crate::page) tests: &'a [TestResult],
    /// The windows before and after; none where there are none.
    pub(in crate::page) course: &'a [Arc<Verdict>],
    /// When which version became champion.
    pub(in crate::page) marks: &'a [(i64, String)],
    /// End of this window.
    pub(in crate::page) here_ms: Option<i64>,
}

/// The way to each column, with its part of all.
pub(in crate::page) fn columns_note(attribution: &[Attribution]) -> Markup {
    html! {
        ol.jumps { @for part in attribution.iter().take(MOST) {
            li { a href={ "#" (anchor(&part.column)) } { (part.column) } " " span.none { (words::percent(part.contribution)) } }
        } }
        @if attribution.len() > MOST { p.note { "And " (words::counted((attribution.len() - MOST) as i64, "further column")) " with less." } }
    }
}

/// The columns, the largest contribution first.
pub(in crate::page) fn column_cards(parts: &[&Attribution], evidence: Evidence<'_>, place: Place) -> Markup {
    html! { @for part in parts.iter().take(MOST) { (card(part, evidence, place)) } }
}

fn card(part: &Attribution, evidence: Evidence<'_>, place: Place) -> Markup {
    let mut tests: Vec<&TestResult> = evidence.tests.iter().filter(|test| test.subject == part.column).collect();
    tests.sort_by(|a, b| words::ratio(b).unwrap_or_default().total_cmp(&words::ratio(a).unwrap_or_default()));
    html! {
        article.card id=(anchor(&part.column)) tabindex="-1" {
            h3 { (part.column) }
            p { (moved(part)) }
            @for test in &tests { (against_threshold(test)) }
            div.charts {
                @if let Some(distribution) = &part.distribution { (distribution_figure(&part.column, distribution)) }
                @if let Some(test) = tests.first() { (over_time(test, evidence)) }
            }
            @if place == Place::Service && part.distribution.is_none() {
                p.note { "Its counts are not in the verdict: those of the first twelve columns are, since this release." }
            }
        }
    }
}

/// How a column moved, in words.
fn moved(part: &Attribution) -> Markup {
    html! {
        strong { (words::percent(part.moved_share)) " of rows moved" }
        @if let Some(towards) = &part.towards { ", towards " (words::prose(towards)) }
        @if let Some(segment) = &part.segment { ", mostly in " (words::slice(Some(segment))) }
        ". It is " (words::percent(part.contribution)) " of all that is unusual in this window."
    }
}

fn against_threshold(test: &TestResult) -> Markup {
    html! {
        div.test {
            p {
                strong { (test.test) } " " (words::number(test.score)) " against " (words::number(test.threshold))
                @if test.exceeded { " " span.beyond { "▲ exceeded" } }
                br; span.none { "Threshold: " (words::prose(words::threshold_source(test.threshold_from))) "." }
            }
            @if let Some(ratio) = words::ratio(test) { (draw_excess(ratio)) }
        }
    }
}

fn distribution_figure(column: &str, distribution: &Distribution) -> Markup {
    let caption = format!("Rows of {column}: reference and window");
    html! {
        figure {
            figcaption {
                "Share of rows: " span.key.outline { "reference" } " " span.key.now { "window" } " "
                span.key.more { "more than in the reference" }
            }
            (draw_distribution(column, distribution))
            (quantiles(distribution))
            details {
                summary { "Numbers" }
                (scrolling(&caption, &numbers(&caption, distribution)))
            }
        }
    }
}

fn numbers(caption: &str, distribution: &Distribution) -> Markup {
    html! {
        table {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Place" }
                th.number scope="col" { "Reference" }
                th.number scope="col" { "Window" }
                th.number scope="col" { "Difference" }
                th.number scope="col" { "Rows of the window" }
            } }
            tbody { @for bar in bars(distribution) {
                tr {
                    th scope="row" { (bar.name) }
                    td.number { (words::percent(bar.reference)) }
                    td.number { (words::percent(bar.now)) }
                    td.number { (format!("{:+.1}", 100.0 * (bar.now - bar.reference))) }
                    td.number { (words::count(bar.rows)) }
                }
            } }
        }
    }
}

fn quantiles(distribution: &Distribution) -> Markup {
    let told = |found: &Quantiles| {
        format!("{} · {} · {}", words::number(found.p5), words::number(found.p50), words::number(found.p95))
    };
    html! {
        @if let (Some(before), Some(now)) = (&distribution.reference_quantiles, &distribution.quantiles) {
            p.note { "5 %, half and 95 % of its numbers are below: reference " (told(before)) ", window " strong { (told(now)) } "." }
        }
    }
}

/// The largest test's score over its threshold in the windows before and after.
fn over_time(test: &TestResult, evidence: Evidence<'_>) -> Markup {
    if evidence.course.len() < 2 {
        return html! {};
    }
    let points = evidence.course.iter().map(|verdict| {
        let same = |other: &&TestResult| other.subject == test.subject && other.test == test.test;
        let found = verdict.tests.iter().find(same);
        Point {
            at_ms: verdict.window.end_ms,
            value: found.and_then(words::ratio),
            error: 0.0,
            is_beyond: found.is_some_and(|found| found.exceeded),
        }
    });
    let course = Course {
        label: format!(
            "{} of {} over its threshold in {} windows; it is {} in this one.",
            test.test,
            test.subject,
            evidence.course.len(),
            words::ratio(test).map_or_else(|| "unknown".to_owned(), words::number)
        ),
        points: points.collect(),
        level: Some((1.0, "threshold")),
        marks: evidence.marks.to_vec(),
        here_ms: evidence.here_ms,
        begin: Begin::Zero,
    };
    figure(&format!("{} of {} ÷ its threshold, over time", test.test, test.subject), &course)
}

/// A name for a place on the page, of any column's name.
fn anchor(column: &str) -> String {
    let letters = column.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        other => format!("_{other:02x}"),
    });
    format!("column-{}", letters.collect::<String>())
}
