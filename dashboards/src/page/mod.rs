//! The console: the fleet, a model, a version, a verdict, as pages that are written by the server.
//!
//! Invariants: a page needs no script and loads nothing but the service's own stylesheet; everything that is shown is escaped
//! where it is written; every number is the board's, and so the API's. The board is let go of before a page is written.
//!
//! A form is taken from a page of this service alone: browsers say where a form was sent from, and a form that comes from
//! elsewhere, or from nowhere, is refused. Who may give orders is asked by whatever guards the router.
//!
//! Deliberately absent: a session. A browser that is asked for a token shows it with every request by itself.

mod words;

mod chart;
mod document;
mod parts;

mod trouble;

mod fleet;
mod model;
mod verdict;
mod version;

mod comparison;
mod orders;

pub use comparison::{ComparedSide, ComparisonReport, comparison_report};

use crate::api::{Commands, Readiness, Services};
use crate::read_model::SharedReadModel;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use document::{Document, POLICY, Place, STYLE, STYLE_PATH};
use fleet::page as fleet_page;
use maud::html;
use model::{Choice, ModelPage};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use trouble::Health;
use verdict::VerdictPage;
use version::VersionPage;

/// What the pages stand on.
struct Console {
    read_model: SharedReadModel,
    commands: Arc<dyn Commands>,
    readiness: Readiness,
    closing: CancellationToken,
}

/// The console's routes, each with its pattern.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(services: &Services) -> Vec<(&'static str, MethodRouter<S>)> {
    let console = Arc::new(Console {
        read_model: services.read_model.clone(),
        commands: Arc::clone(&services.commands),
        readiness: Arc::clone(&services.readiness),
        closing: services.closing.clone(),
    });
    let routes = [
        ("/", get(show_fleet)),
        (STYLE_PATH, get(style)),
        ("/models/{model}", get(show_model)),
        ("/models/{model}/{order}", post(orders::take).layer(DefaultBodyLimit::max(orders::MOST_BYTES))),
        ("/models/{model}/versions/{version}", get(show_version)),
        ("/models/{model}/versions/{version}/card.html", get(save_card)),
        ("/verdicts/{id}", get(show_verdict)),
        ("/verdicts/{id}/report.html", get(save_verdict)),
    ];
    routes.into_iter().map(|(pattern, methods)| (pattern, methods.with_state(Arc::clone(&console)))).collect()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], STYLE).into_response()
}

async fn show_fleet(State(console): State<Arc<Console>>) -> Response {
    let fleet = Health::of_fleet(&console.read_model.read());
    page(StatusCode::OK, fleet_page(&fleet, &(console.readiness)()))
}

async fn show_model(
    State(console): State<Arc<Console>>,
    Path(model): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    let found = ModelPage::of(&console.read_model.read(), &model, &choice);
    let notice = choice.taken.map(|id| format!("Taken as {id}. What becomes of it stands below."));
    match found {
        Some(found) => page(StatusCode::OK, found.render(notice.as_deref())),
        None => missing(&format!("nothing is known of a model `{model}`")),
    }
}

async fn show_version(State(console): State<Arc<Console>>, Path((model, version)): Path<(String, String)>) -> Response {
    let found = VersionPage::of(&console.read_model.read(), &model, &version);
    match found {
        Some(found) => page(StatusCode::OK, found.render(Place::Service)),
        None => missing(&format!("model `{model}` has no registered version `{version}`")),
    }
}

async fn save_card(State(console): State<Arc<Console>>, Path((model, version)): Path<(String, String)>) -> Response {
    let found = VersionPage::of(&console.read_model.read(), &model, &version);
    match found {
        Some(found) => file("driftline-card.html", found.render(Place::File)),
        None => missing(&format!("model `{model}` has no registered version `{version}`")),
    }
}

async fn show_verdict(State(console): State<Arc<Console>>, Path(id): Path<String>) -> Response {
    let found = VerdictPage::of(&console.read_model.read(), &id);
    match found {
        Some(found) => page(StatusCode::OK, found.render(Place::Service)),
        None => missing_verdict(&id),
    }
}

async fn save_verdict(State(console): State<Arc<Console>>, Path(id): Path<String>) -> Response {
    let found = VerdictPage::of(&console.read_model.read(), &id);
    match found {
        Some(found) => file("driftline-verdict.html", found.render(Place::File)),
        None => missing_verdict(&id),
    }
}

fn missing_verdict(id: &str) -> Response {
    missing(&format!("no verdict `{id}` is at hand: older ones are in the topic `verdicts` and its archive"))
}

fn missing(what: &str) -> Response {
    problem(StatusCode::NOT_FOUND, "There is no such thing", what)
}

/// A page that says what went wrong.
fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = html! {
        h1 { (title) }
        p.answer { (detail) "." }
        p { a href="/" { "All models" } }
    };
    page(status, Document { title, above: Vec::new(), body }.render(Place::Service))
}

/// What browsers are told of every page. Without a referrer of its own a form would not say where it comes from.
const TOLD: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

fn page(status: StatusCode, document: String) -> Response {
    (status, TOLD, Html(document)).into_response()
}

/// A document to be kept.
fn file(name: &str, document: String) -> Response {
    let kept = [(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))];
    (kept, TOLD, Html(document)).into_response()
}

#[cfg(test)]
mod tests;
