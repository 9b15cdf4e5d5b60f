//! `/models/{model}`: where its monitors stand, what its windows showed over time, what was done about it, its versions, and
//! what a person can order.

mod act;
mod episodes;
mod history;

pub(super) use act::{Order, parse_order};
pub(super) use episodes::{candidate_figures, refusal};

use super::chart::{Begin, Course as CourseChart, Point, draw_course};
use super::document::{Document, Place, model_path, verdict_path, version_path};
use super::fleet::{sentence, trouble_badge};
use super::parts::{Headline, coverage, legend, scrolling, strip};
use super::trouble::{Health, Trouble, answering};
use super::words;
use crate::read_model::{
    Course, ModelDetail, ReadModel, RefusedView, RequestView, Standing, StandingKey, VersionView, segment_name,
};
use detectors::verdict::{Monitor, Segment, Verdict};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use retrain::lifecycle::{LifecycleEvent, ModelEvent};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Windows that are drawn.
const WINDOWS: usize = 50;

/// What of a model is wanted; the page of a choice shows what is now, so that an alert can link to it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    /// A slice, as `dimension=value`; all of the traffic without it.
    segment: Option<String>,
    /// A version; the one that answers without it.
    version: Option<String>,
    /// Id of the order that led here.
    pub(super) taken: Option<String>,
}

/// Everything that the page is made of, so that the board is free again while it is written.
pub(super) struct ModelPage {
    health: Health,
    /// The slice whose windows are shown.
    segment: Option<Segment>,
    detail: ModelDetail,
    standings: Vec<(StandingKey, Standing)>,
    courses: Vec<(Monitor, Vec<Arc<Verdict>>)>,
    versions: Vec<VersionView>,
    requests: Vec<RequestView>,
}

impl ModelPage {
    /// Of a model; `None` where nothing is known of it.
    pub(super) fn of(read_model: &ReadModel, model: &str, choice: &Choice) -> Option<Self> {
        let health = Health::of_model(read_model, model)?;
        let standings = read_model.standings(model);
        let monitors: BTreeSet<Monitor> = standings.iter().map(|(key, _)| key.monitor.clone()).collect();
        let segments = standings.iter().filter_map(|(key, _)| key.segment.as_ref());
        let is_chosen = |segment: &&Segment| choice.segment.as_ref() == Some(&segment_name(Some(segment)));
        let segment = segments.into_iter().find(is_chosen).cloned();
        let course = |monitor: Monitor| {
            let wanted = Course { segment: segment.as_ref(), monitor: &monitor, until_ms: i64::MAX, limit: WINDOWS };
            let mut verdicts = read_model.course(model, &wanted);
            verdicts.retain(|verdict| choice.version.as_ref().is_none_or(|version| *version == verdict.version));
            (monitor, verdicts)
        };
        let standings = match &choice.version {
            Some(version) => standings.into_iter().filter(|(key, _)| key.version == *version).collect(),
            None => answering(standings, &health.summary),
        };
        Some(Self {
            courses: monitors.into_iter().map(course).filter(|(_, verdicts)| !verdicts.is_empty()).collect(),
            standings,
            segment: segment.clone(),
            detail: read_model.model(model)?,
            versions: read_model.versions(model)?,
            requests: read_model.requests(model)?,
            health,
        })
    }

    /// The page. `notice` is what has become of the order that led here.
    pub(super) fn render(&self, notice: Option<&str>) -> String {
        let model = &self.detail.model;
        let body = html! {
            h1 { (model) }
            @if let Some(notice) = notice { p.notice role="status" { (notice) } }
            (self.answer())
            (self.facts())
            (self.standing())
            (self.windows())
            (episodes::section(&self.requests, self.refused(), model))
            (self.versions())
            (act::section(&self.detail, &self.versions))
            (history::section(&self.detail.history, model))
        };
        Document { title: model, above: Vec::new(), body }.render(Place::Service)
    }

    fn refused(&self) -> &[RefusedView] {
        &self.detail.refused
    }

    fn answer(&self) -> Markup {
        let health = &self.health;
        html! {
            p.answer {
                (trouble_badge(health.trouble))
                @if let (Some(since_ms), true) = (health.since_ms, health.trouble < Trouble::Learning) {
                    " since " (words::moment(since_ms))
                }
                @if let Some(verdict) = &health.evidence { ": " (words::prose(&sentence(verdict))) "." }
            }
            @if let (Some(verdict), true) = (&health.evidence, health.trouble < Trouble::Learning) {
                p { a.button href=(verdict_path(&verdict.id)) { "Look at the evidence" } }
            }
            @for wait in &health.waits { p { (wait) } }
        }
    }

    fn facts(&self) -> Markup {
        let captured = self.health.summary.captured;
        let quality = self.health.quality.as_deref().and_then(Headline::of);
        let labels = self.health.coverage.as_deref().and_then(coverage);
        html! {
            dl.facts {
                div { dt { "Champion" } dd { (self.champion()) } }
                div { dt { "Quality" } dd { (quality.map_or_else(|| "not judged".to_owned(), |headline| headline.told())) } }
                div { dt { "Labels of the last window" } dd { (labels.unwrap_or_else(|| "none".to_owned())) } }
                div { dt { "Rows captured" } dd {
                    (words::count(captured.rows as i64)) ", of them " (words::count(captured.late as i64)) " late and "
                    (words::count(captured.duplicates as i64)) " sent again"
                } }
            }
        }
    }

    fn champion(&self) -> Markup {
        let model = &self.detail.model;
        html! {
            @match &self.detail.champion {
                None => "none was promoted",
                Some(version) => {
                    a href=(version_path(model, version)) { (version) }
                    @if let Some(since_ms) = self.health.champion_since_ms { " since " (words::moment(since_ms)) }
                }
            }
        }
    }

    /// Monitors by slices, of the version that answers.
    fn standing(&self) -> Markup {
        let mut slices: BTreeMap<Option<&Segment>, BTreeMap<&Monitor, &Standing>> = BTreeMap::new();
        for (key, standing) in &self.standings {
            slices.entry(key.segment.as_ref()).or_default().insert(&key.monitor, standing);
        }
        let monitors: BTreeSet<&Monitor> = self.standings.iter().map(|(key, _)| &key.monitor).collect();
        let caption = "What each monitor says of each slice";
        let slice_link = |segment: Option<&Segment>| match segment {
            None => format!("{}#windows", model_path(&self.detail.model)),
            Some(_) => {
                let name = utf8_percent_encode(&segment_name(segment), NON_ALPHANUMERIC).to_string();
                format!("{}?segment={name}#windows", model_path(&self.detail.model))
            }
        };
        let table = html! {
            table {
                caption { (caption) }
                thead { tr {
                    th scope="col" { "Slice" }
                    @for monitor in &monitors { th scope="col" { (monitor_name(monitor)) } }
                } }
                tbody {
                    @for (segment, of_slice) in &slices {
                        tr {
                            th scope="row" { a href=(slice_link(*segment)) { (words::slice(*segment)) } }
                            @for monitor in &monitors {
                                td { @match of_slice.get(*monitor) { Some(standing) => (standing_cell(standing)), None => "–" } }
                            }
                        }
                    }
                }
            }
        };
        html! {
            section aria-labelledby="monitors" {
                h2 #monitors { "Monitors" }
                @if slices.is_empty() { p { "No window has closed yet." } } @else { (scrolling(caption, &table)) }
            }
        }
    }

    fn windows(&self) -> Markup {
        html! {
            section aria-labelledby="windows" {
                h2 #windows { "Windows" }
                p.note {
                    "The last windows of " strong { (words::slice(self.segment.as_ref())) }
                    ", the latest on the right. Each sign leads to its verdict."
                }
                @for (monitor, verdicts) in &self.courses {
                    h3 { (monitor_name(monitor)) }
                    (strip(verdicts, None, Place::Service))
                }
                (legend())
                div.charts { (self.quality_chart()) (self.drift_chart()) (self.rows_chart()) }
            }
        }
    }

    fn course_of(&self, wanted: &Monitor) -> &[Arc<Verdict>] {
        let found = self.courses.iter().find(|(monitor, _)| monitor == wanted);
        found.map(|(_, verdicts)| verdicts.as_slice()).unwrap_or_default()
    }

    fn quality_chart(&self) -> Markup {
        quality_course(self.course_of(&Monitor::Quality), None, champions(&self.detail.history))
    }

    fn drift_chart(&self) -> Markup {
        let verdicts = self.course_of(&Monitor::Drift);
        let worst = |verdict: &Arc<Verdict>| verdict.tests.iter().filter_map(words::ratio).fold(None, most);
        let points = verdicts.iter().map(|verdict| Point {
            at_ms: verdict.window.end_ms,
            value: worst(verdict),
            error: 0.0,
            is_beyond: verdict.tests.iter().any(|test| test.exceeded),
        });
        let course = CourseChart {
            label: format!("Largest score of drift over its threshold in the last {} windows.", verdicts.len()),
            points: points.collect(),
            level: Some((1.0, "threshold")),
            marks: champions(&self.detail.history),
            here_ms: None,
            begin: Begin::Zero,
        };
        figure("Drift: the largest score ÷ its threshold", &course)
    }

    fn rows_chart(&self) -> Markup {
        let verdicts = self.course_of(&Monitor::Drift);
        rows_chart(format!("Rows in each of the last {} windows.", verdicts.len()), verdicts)
    }

    fn versions(&self) -> Markup {
        let model = &self.detail.model;
        let caption = "Versions, the newest first";
        let table = html! {
            table {
                caption { (caption) }
                thead { tr {
                    th scope="col" { "Version" }
                    th scope="col" { "Role" }
                    th scope="col" { "Registered" }
                    th scope="col" { "Made of" }
                    th scope="col" { "Cause" }
                } }
                tbody { @for view in &self.versions {
                    @let version = &view.version;
                    tr {
                        th scope="row" { a href=(version_path(model, &version.version)) { (version.version) } }
                        td { (view.role.unwrap_or("–")) }
                        td { (words::moment(view.registered_ms)) }
                        td { (words::counted(version.lineage.training_rows as i64, "row")) }
                        td { (version.lineage.cause) }
                    }
                } }
            }
        };
        html! {
            section aria-labelledby="versions" {
                h2 #versions { "Versions" }
                @if self.versions.is_empty() { p { "None is registered: events are judged under the versions that they name." } }
                @else { (scrolling(caption, &table)) }
            }
        }
    }
}

fn most(before: Option<f64>, value: f64) -> Option<f64> {
    Some(before.map_or(value, |before| before.max(value)))
}

fn standing_cell(standing: &Standing) -> Markup {
    let shown = standing.judged.as_ref().unwrap_or(&standing.last);
    html! {
        a.quiet href=(verdict_path(&shown.id)) { (words::badge(&shown.severity)) }
        @if let Some(since_ms) = standing.since_ms { br; span.none { "since " (words::moment(since_ms)) } }
        @if standing.is_blind() && standing.judged.is_some() {
            br; a href=(verdict_path(&standing.last.id)) { "? the last window cannot be judged" }
        }
    }
}

/// A monitor's name for people.
pub(super) fn monitor_name(monitor: &Monitor) -> String {
    match monitor {
        Monitor::Drift => "Drift".to_owned(),
        Monitor::DataQuality => "Data quality".to_owned(),
        Monitor::Quality => "Quality".to_owned(),
        Monitor::Sequential(name) => name.clone(),
    }
}

/// When which version became champion.
pub(super) fn champions(history: &[ModelEvent]) -> Vec<(i64, String)> {
    let became = |event: &ModelEvent| match &event.event {
        LifecycleEvent::Promoted { version, .. } | LifecycleEvent::RolledBack { version, .. } => {
            Some((event.time_ms, version.clone()))
        }
        _ => None,
    };
    history.iter().rev().filter_map(became).collect()
}

/// The headline metric over time, with its reference and twice its standard error.
pub(super) fn quality_course(verdicts: &[Arc<Verdict>], here_ms: Option<i64>, marks: Vec<(i64, String)>) -> Markup {
    let Some(last) = verdicts.iter().rev().find_map(|verdict| Headline::of(verdict)) else { return html! {} };
    let points = verdicts.iter().map(|verdict| {
        let headline = Headline::of(verdict).filter(|headline| headline.metric == last.metric);
        Point {
            at_ms: verdict.window.end_ms,
            value: headline.as_ref().map(|headline| headline.value.value),
            error: headline.as_ref().and_then(|headline| headline.value.standard_error).unwrap_or_default() * 1.96,
            is_beyond: headline.is_some_and(|headline| headline.exceeded),
        }
    });
    let course = CourseChart {
        label: format!(
            "{} in the last {} windows; the reference has {}.",
            last.metric,
            verdicts.len(),
            words::number(last.baseline)
        ),
        points: points.collect(),
        level: Some((last.baseline, "reference")),
        marks,
        here_ms,
        begin: Begin::Least,
    };
    figure(&format!("Quality: {}, with its 95 % interval", last.metric), &course)
}

/// How many rows each of these windows has, drawn over time.
pub(super) fn rows_chart(label: String, verdicts: &[Arc<Verdict>]) -> Markup {
    let points = verdicts.iter().map(|verdict| Point {
        at_ms: verdict.window.end_ms,
        value: Some(verdict.rows as f64),
        error: 0.0,
        is_beyond: false,
    });
    let course = CourseChart {
        label,
        points: points.collect(),
        level: None,
        marks: Vec::new(),
        here_ms: None,
        begin: Begin::Zero,
    };
    figure("Rows in a window", &course)
}

/// A chart of a course with its numbers.
pub(super) fn figure(caption: &str, course: &CourseChart) -> Markup {
    if course.points.is_empty() {
        return html! {};
    }
    html! {
        figure {
            figcaption { (caption) }
            (draw_course(course))
            details {
                summary { "Numbers" }
                (scrolling(caption, &numbers(caption, course)))
            }
        }
    }
}

fn numbers(caption: &str, course: &CourseChart) -> Markup {
    html! {
        table {
            caption { (caption) }
            thead { tr { th scope="col" { "Window until" } th.number scope="col" { "Value" } th scope="col" { "" span.unseen { "Finding" } } } }
            tbody { @for point in course.points.iter().rev() {
                tr {
                    th scope="row" { (words::moment(point.at_ms)) }
                    td.number {
                        (point.value.map_or_else(|| "–".to_owned(), words::number))
                        @if point.error > 0.0 { " ± " (words::number(point.error)) }
                    }
                    td { @if point.value.is_none() { "cannot be judged" } @else if point.is_beyond { span.beyond { "▲ exceeded" } } }
                }
            } }
        }
    }
}
