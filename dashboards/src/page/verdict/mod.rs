//! `/verdicts/{id}`: what was found in one window, and the evidence; as a page, and as a file that can be sent.
//!
//! The first line is the answer, in the words of the API and the metrics. What may be a broken feed comes before what has
//! drifted, and whether it matters comes before details.

mod columns;
mod context;
mod reproduce;

pub(super) use columns::{Evidence, column_cards, columns_note};

use super::document::{Document, Place, model_path, version_path};
use super::fleet::sentence;
use super::model::{champions, monitor_name, quality_course};
use super::parts::{Headline, coverage, legend, strip, tests_table};
use super::words;
use crate::read_model::{Course, ReadModel, RefusedView, RequestView};
use detectors::schema::{ModelSchema, Role};
use detectors::verdict::{Finality, Monitor, Severity, TestResult, Verdict};
use maud::{Markup, html};
use std::sync::Arc;

/// Windows that are drawn.
const WINDOWS: usize = 50;
/// Of those, how many are shown as signs.
const SIGNS: usize = 12;
/// Tests that are listed; the API has all.
const TESTS: usize = 200;

/// Everything that the page is made of, so that the board is free again while it is written.
pub(super) struct VerdictPage {
    verdict: Arc<Verdict>,
    /// The same monitor's windows on the same slice, by time; this one is among them unless it is provisional.
    course: Vec<Arc<Verdict>>,
    /// Other verdicts on the same window and version.
    beside: Vec<Arc<Verdict>>,
    /// Windows of quality, where this is none.
    quality: Vec<Arc<Verdict>>,
    marks: Vec<(i64, String)>,
    requests: Vec<RequestView>,
    refused: Vec<RefusedView>,
    schema: Option<ModelSchema>,
}

impl VerdictPage {
    /// Of the verdict with this id; `None` where it is not at hand.
    pub(super) fn of(read_model: &ReadModel, id: &str) -> Option<Self> {
        let verdict = read_model.verdict(id)?;
        let length_ms = verdict.window.end_ms.saturating_sub(verdict.window.start_ms);
        let until_ms = verdict.window.end_ms.saturating_add(length_ms.saturating_mul(SIGNS as i64 / 2));
        let course = |monitor: &Monitor, segment| {
            read_model.course(&verdict.model, &Course { segment, monitor, until_ms, limit: WINDOWS })
        };
        let versions = read_model.versions(&verdict.model).unwrap_or_default();
        let version = versions.into_iter().find(|view| view.version.version == verdict.version);
        let (requests, refused) = read_model.acted_upon(&verdict.model, id);
        Some(Self {
            course: course(&verdict.monitor, verdict.segment.as_ref()),
            quality: course(&Monitor::Quality, verdict.segment.as_ref()),
            beside: read_model.beside(&verdict),
            marks: champions(&read_model.model(&verdict.model).map(|detail| detail.history).unwrap_or_default()),
            schema: version.map(|view| view.version.schema),
            requests,
            refused,
            verdict,
        })
    }

    /// The page, or the file.
    pub(super) fn render(&self, place: Place) -> String {
        let verdict = &self.verdict;
        let title = format!("{}: {}", monitor_name(&verdict.monitor), verdict.model);
        let above = vec![
            (verdict.model.clone(), model_path(&verdict.model)),
            (verdict.version.clone(), version_path(&verdict.model, &verdict.version)),
        ];
        let body = html! {
            h1 { (title) }
            (self.answer())
            (self.facts(place))
            (self.recent(place))
            (context::done_about_it(self, place))
            (context::faults(self, place))
            (self.findings(place))
            (context::does_it_matter(self, place))
            (context::slices(self, place))
            (self.tests())
            (reproduce::section(self, place))
        };
        Document { title: &title, above, body }.render(place)
    }

    fn answer(&self) -> Markup {
        let verdict = &self.verdict;
        let is_clean = !verdict.tests.is_empty() && verdict.tests.iter().all(|test| !test.exceeded);
        html! {
            p.answer {
                (words::badge(&verdict.severity))
                @if matches!(verdict.severity, Severity::Drift | Severity::Warning) {
                    @if let Some(first) = self.since() { " since " (words::moment(first.window.end_ms)) }
                }
                ": " (words::prose(&sentence(verdict))) "."
            }
            @if matches!(verdict.severity, Severity::Inconclusive(_)) {
                p { "This window cannot be judged. It is no sign that all is well." }
            }
            @if verdict.severity == Severity::Drift && is_clean {
                p { "No test of this window itself is beyond its threshold: the state holds until enough windows in a row are clean." }
            }
            @if verdict.finality == Finality::Provisional {
                p { "Provisional: its labels are not mature, and what is known so far is a biased sample. It causes nothing." }
            }
        }
    }

    /// The first of the windows without a break that amount to the same as this one; those that could not be judged are
    /// passed over.
    fn since(&self) -> Option<&Arc<Verdict>> {
        let before = self.course.iter().rev().filter(|verdict| verdict.window.end_ms <= self.verdict.window.end_ms);
        let judged = before.filter(|verdict| !matches!(verdict.severity, Severity::Inconclusive(_)));
        let of_version = judged.filter(|verdict| verdict.version == self.verdict.version);
        of_version.take_while(|verdict| verdict.severity == self.verdict.severity).last()
    }

    fn facts(&self, place: Place) -> Markup {
        let verdict = &self.verdict;
        html! {
            dl.facts {
                div { dt { "Window" } dd { (words::span(verdict.window)) } }
                div { dt { "Model and version" } dd {
                    (place.link(&model_path(&verdict.model), &html! { (verdict.model) })) " "
                    (place.link(&version_path(&verdict.model, &verdict.version), &html! { (verdict.version) }))
                } }
                div { dt { "Slice" } dd { (words::slice(verdict.segment.as_ref())) } }
                div { dt { "Rows" } dd { (words::count(verdict.rows)) } }
                @if let Some(coverage) = coverage(verdict) { div { dt { "Labelled" } dd { (coverage) } } }
                @if let Some(change_ms) = verdict.change_point_ms { div { dt { "Change began" } dd { (words::moment(change_ms)) } } }
            }
        }
    }

    /// The windows before and after, and what the signs mean.
    fn recent(&self, place: Place) -> Markup {
        let verdicts = self.course.get(self.course.len().saturating_sub(SIGNS)..).unwrap_or_default();
        html! {
            @if !verdicts.is_empty() {
                section aria-labelledby="recent" {
                    h2 #recent { "This window among its neighbours" }
                    (strip(verdicts, Some(&self.verdict.id), place))
                    (legend())
                }
            }
        }
    }

    fn findings(&self, place: Place) -> Markup {
        let verdict = &self.verdict;
        match &verdict.monitor {
            Monitor::Drift => self.columns(place),
            Monitor::Quality => html! {
                section aria-labelledby="quality" {
                    h2 #quality { "Quality" }
                    div.charts { (quality_course(&self.course, Some(verdict.window.end_ms), self.marks.clone())) }
                    (context::metrics_table(verdict))
                }
            },
            Monitor::DataQuality => html! {},
            Monitor::Sequential(_) => context::metrics_table(verdict),
        }
    }

    fn columns(&self, place: Place) -> Markup {
        let (features, outputs): (Vec<_>, Vec<_>) =
            self.verdict.attribution.iter().partition(|part| self.is_feature(&part.column));
        html! {
            @if !self.verdict.attribution.is_empty() {
                section aria-labelledby="columns" {
                    h2 #columns { "What moved" }
                    (columns_note(&self.verdict.attribution))
                    (column_cards(&features, self.evidence(), place))
                }
                @if !outputs.is_empty() {
                    section aria-labelledby="outputs" {
                        h2 #outputs { "What follows" }
                        p.note { "What the model gives moves when its inputs do: these are consequences, unless nothing above moved." }
                        (column_cards(&outputs, self.evidence(), place))
                    }
                }
            }
        }
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            tests: &self.verdict.tests,
            course: &self.course,
            marks: &self.marks,
            here_ms: Some(self.verdict.window.end_ms),
        }
    }

    /// By the schema of the version, or else by the names that outputs have everywhere.
    fn is_feature(&self, column: &str) -> bool {
        let schema = self.schema.as_ref().and_then(|schema| schema.columns.iter().find(|known| known.name == column));
        match schema {
            Some(known) => known.role == Role::Feature,
            None => column != "prediction" && column != "score" && !column.starts_with("score."),
        }
    }

    fn tests(&self) -> Markup {
        let tests: Vec<&TestResult> = self.verdict.tests.iter().collect();
        if tests.is_empty() {
            return html! {};
        }
        let exceeded = tests.iter().filter(|test| test.exceeded).count() as i64;
        let (all, within) = (words::counted(tests.len() as i64, "test"), tests.len() as i64 - exceeded);
        let is_data_quality = self.verdict.monitor == Monitor::DataQuality;
        html! {
            section aria-labelledby="tests" {
                h2 #tests { "Tests" }
                p {
                    (all) " of this window: " strong { (words::count(exceeded)) " beyond" } " their thresholds, " (words::count(within)) " within. "
                    @if self.verdict.monitor == Monitor::Drift {
                        "With so many tests some would exceed by chance: learned thresholds are set for all of them together, "
                        "so that the model keeps to its budget of false alarms, and a drift asks for several windows."
                    }
                }
                details open[is_data_quality && exceeded > 0] {
                    summary { "Every test" }
                    (tests_table(&tests, "Tests, those furthest beyond their thresholds first", TESTS))
                }
            }
        }
    }

    fn headline(&self) -> Option<Headline> {
        let quality =
            self.beside.iter().find(|other| other.monitor == Monitor::Quality && other.segment == self.verdict.segment);
        quality.and_then(|quality| Headline::of(quality))
    }
}
