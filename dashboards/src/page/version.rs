//! `/models/{model}/versions/{version}`: what made a version, what its trial showed, and by what right it was promoted; as a
//! page, and as a model card in one file.

use super::document::{Document, Place, model_path, verdict_path, version_path};
use super::model::{candidate_figures, monitor_name, quality_course, rows_chart};
use super::parts::{legend, scrolling, strip};
use super::words;
use crate::read_model::{CandidateView, Course, ReadModel, RequestView, VersionView};
use detectors::schema::{ColumnKind, ModelSchema, Role, Task};
use detectors::verdict::{Monitor, Verdict};
use maud::{Markup, html};
use retrain::lifecycle::{LifecycleEvent, Lineage, ModelEvent, PermitRecord, is_version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Windows that are drawn.
const WINDOWS: usize = 50;

/// Columns that are listed.
const COLUMNS: usize = 300;

/// Everything that the page is made of.
pub(super) struct VersionPage {
    model: String,
    view: VersionView,
    /// The candidate that it was, with its request.
    trial: Option<(RequestView, CandidateView)>,
    history: Vec<ModelEvent>,
    courses: Vec<(Monitor, Vec<Arc<Verdict>>)>,
}

impl VersionPage {
    /// Of a version; `None` where nothing is known of it.
    pub(super) fn of(read_model: &ReadModel, model: &str, version: &str) -> Option<Self> {
        let view = read_model.versions(model)?.into_iter().find(|view| view.version.version == version)?;
        let requests = read_model.requests(model).unwrap_or_default();
        let trial = requests.into_iter().find_map(|request| {
            let candidate =
                request.candidates.iter().find(|candidate| candidate.version.as_deref() == Some(version))?;
            let candidate = candidate.clone();
            Some((request, candidate))
        });
        let course = |monitor: Monitor| {
            let wanted = Course { segment: None, monitor: &monitor, until_ms: i64::MAX, limit: usize::MAX };
            let mut verdicts = read_model.course(model, &wanted);
            verdicts.retain(|verdict| is_version(&verdict.version, version));
            let verdicts = verdicts.split_off(verdicts.len().saturating_sub(WINDOWS));
            (monitor, verdicts)
        };
        let courses = [Monitor::Quality, Monitor::Drift, Monitor::DataQuality].map(course);
        Some(Self {
            model: model.to_owned(),
            trial,
            history: read_model.model(model).map(|detail| detail.history).unwrap_or_default(),
            courses: courses.into_iter().filter(|(_, verdicts)| !verdicts.is_empty()).collect(),
            view,
        })
    }

    /// The page, or the card.
    pub(super) fn render(&self, place: Place) -> String {
        let version = &self.view.version;
        let title = format!("{} {}", self.model, version.version);
        let body = html! {
            h1 { (title) }
            p.answer { (self.answer()) }
            @if place == Place::Service {
                p { a.button href={ (version_path(&self.model, &version.version)) "/card.html" } download { "Save as a model card" } }
            }
            (self.lineage(place))
            (self.trial(place))
            (self.windows(place))
            (schema(&version.schema))
        };
        let above = vec![(self.model.clone(), model_path(&self.model))];
        Document { title: &title, above, body }.render(place)
    }

    fn answer(&self) -> Markup {
        let version = &self.view.version.version;
        let promoted = self.history.iter().find_map(|event| match &event.event {
            LifecycleEvent::Promoted { version: promoted, permit, .. } if promoted == version => {
                Some((event.time_ms, permit))
            }
            _ => None,
        });
        html! {
            @match self.view.role { Some(role) => strong { (role) }, None => "Neither champion nor challenger" }
            ", registered " (words::moment(self.view.registered_ms)) ". "
            @match promoted {
                Some((at_ms, permit)) => { "It became champion at " (words::moment(at_ms)) " " (right(permit)) "." }
                None => { "It was not promoted, as far as the history on this page reaches." }
            }
        }
    }

    fn lineage(&self, place: Place) -> Markup {
        let (version, lineage) = (&self.view.version, &self.view.version.lineage);
        html! {
            section aria-labelledby="lineage" {
                h2 #lineage { "What made it" }
                dl.facts {
                    div { dt { "Cause" } dd { (lineage.cause) } }
                    div { dt { "Champion then" } dd {
                        @match &lineage.parent {
                            Some(parent) => (place.link(&version_path(&self.model, parent), &html! { (parent) })),
                            None => "none",
                        }
                    } }
                    div { dt { "Trained on" } dd { (training(lineage)) } }
                    div { dt { "Code" } dd { (lineage.code_revision.as_deref().unwrap_or("not told")) } }
                    div { dt { "Reference" } dd { @match &self.view.reference { Some(id) => code { (id) }, None => "none of its own" } } }
                    div { dt { "Artifact" } dd {
                        @match &version.artifact { Some((id, _)) => code { (id.0) }, None => "served elsewhere, and only watched" }
                    } }
                    @if let Some(digest) = &lineage.training_set { div { dt { "Training rows, frozen" } dd { code { (digest.0) } } } }
                }
                (named_values("Parameters of the training", &lineage.parameters))
                (named_values("What the trainer measured", &measured(lineage)))
                (self.cut())
            }
        }
    }

    /// The offsets up to which rows were frozen.
    fn cut(&self) -> Markup {
        let Some(cut) = &self.view.version.lineage.trained_until else { return html! {} };
        let caption = "The log up to which training rows were frozen";
        let table = html! {
            table {
                caption { (caption) }
                thead { tr { th scope="col" { "Topic" } th.number scope="col" { "Partition" } th.number scope="col" { "Offset" } } }
                tbody { @for position in &cut.positions {
                    tr { th scope="row" { (position.topic) } td.number { (position.partition) } td.number { (position.offset) } }
                } }
            }
        };
        html! { details { summary { "Offsets" } (scrolling(caption, &table)) } }
    }

    fn trial(&self, place: Place) -> Markup {
        html! {
            section aria-labelledby="trial" {
                h2 #trial { "Trial and ruling" }
                @match &self.trial {
                    None => { p { "It was in no trial that is still remembered." } }
                    Some((request, candidate)) => {
                        p {
                            "Candidate " (candidate.number) " of the episode that began at " (words::moment(request.request.time_ms)) ": "
                            (words::prose(&request.request.cause.summary)) ". "
                            @if place == Place::Service && !matches!(request.request.cause.kind, retrain::request::CauseKind::Person { .. }) {
                                a href=(verdict_path(&request.request.cause.id)) { "Its cause" } "."
                            }
                        }
                        @match &candidate.report {
                            Some(report) => {
                                (candidate_figures(report))
                                p { (report.summary) }
                                (losses(report.champion_loss, report.challenger_loss))
                            }
                            None => { p { "There are no figures yet." } }
                        }
                        @if let Some(reason) = &candidate.reason { p { "The ruling: " (reason) "." } }
                    }
                }
            }
        }
    }

    fn windows(&self, place: Place) -> Markup {
        html! {
            @if !self.courses.is_empty() {
                section aria-labelledby="windows" {
                    h2 #windows { "Its windows" }
                    @for (monitor, verdicts) in &self.courses {
                        h3 { (monitor_name(monitor)) }
                        (strip(verdicts, None, place))
                    }
                    (legend())
                    @for (monitor, verdicts) in &self.courses {
                        @if *monitor == Monitor::Quality { div.charts { (quality_course(verdicts, None, Vec::new())) (rows_chart(format!("Rows in each of its last {} windows.", verdicts.len()), verdicts)) } }
                    }
                }
            }
        }
    }
}

fn training(lineage: &Lineage) -> Markup {
    html! {
        (words::counted(lineage.training_rows as i64, "row"))
        @if let Some(from_ms) = lineage.trained_from_ms { " from " (words::moment(from_ms)) }
        @if let Some(cut) = &lineage.trained_until { " until " (words::moment(cut.at_ms)) }
    }
}

fn right(permit: &PermitRecord) -> Markup {
    html! {
        @match permit {
            PermitRecord::FirstVersion => "as the model's first version",
            PermitRecord::Trial { report, .. } => { "because it won its trial: " (report.summary) }
            PermitRecord::Override { reason } => { strong { "past the gate" } ": " (reason) }
        }
    }
}

/// Both sides' losses in a table.
fn losses(champion: f64, challenger: f64) -> Markup {
    html! {
        table.small {
            caption { "Mean loss on the trial's rows; less is better" }
            thead { tr { th scope="col" { "Side" } th.number scope="col" { "Mean loss" } } }
            tbody {
                tr { th scope="row" { "This version" } td.number { (words::number(challenger)) } }
                tr { th scope="row" { "The champion then" } td.number { (words::number(champion)) } }
            }
        }
    }
}

fn measured(lineage: &Lineage) -> BTreeMap<String, String> {
    lineage.metrics.iter().map(|(name, value)| (name.clone(), words::number(*value))).collect()
}

fn named_values(caption: &str, values: &BTreeMap<String, String>) -> Markup {
    html! {
        @if !values.is_empty() {
            (scrolling(caption, &html! {
                table.small {
                    caption { (caption) }
                    thead { tr { th scope="col" { "Name" } th.number scope="col" { "Value" } } }
                    tbody { @for (name, value) in values { tr { th scope="row" { (name) } td.number { (value) } } } }
                }
            }))
        }
    }
}

fn schema(schema: &ModelSchema) -> Markup {
    let caption = "Columns";
    let table = html! {
        table.small {
            caption { (caption) }
            thead { tr { th scope="col" { "Column" } th scope="col" { "Role" } th scope="col" { "Kind" } } }
            tbody { @for column in schema.columns.iter().take(COLUMNS) {
                tr {
                    th scope="row" { (column.name) }
                    td { (match column.role { Role::Feature => "feature", Role::Prediction => "prediction", Role::Score => "score" }) }
                    td { (match column.kind { ColumnKind::Numeric => "numeric", ColumnKind::Categorical => "categorical" }) }
                }
            } }
        }
    };
    html! {
        section aria-labelledby="schema" {
            h2 #schema { "What it takes and gives" }
            p { (task(&schema.task)) }
            @if schema.columns.len() > COLUMNS { p.note { (words::counted((schema.columns.len() - COLUMNS) as i64, "further column")) "." } }
            details { summary { (words::counted(schema.columns.len() as i64, "column")) } (scrolling(caption, &table)) }
        }
    }
}

fn task(task: &Task) -> String {
    match task {
        Task::Binary { positive, negative } => format!("It tells {positive} from {negative}."),
        Task::Multiclass { classes } => format!("It tells {} classes apart: {}.", classes.len(), classes.join(", ")),
        Task::Regression => "It predicts a number.".to_owned(),
    }
}
