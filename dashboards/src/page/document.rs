//! The frame of a page: a page of the service, or a file of its own that is sent to somebody.
//!
//! A page has no script, and loads nothing but the service's own stylesheet. A file carries its style, loads nothing at all,
//! and links nowhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The stylesheet.
pub(super) const STYLE: &str = include_str!("style.css");

/// Where the stylesheet is.
pub(super) const STYLE_PATH: &str = "/console.css";

/// What a page may load.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                                 base-uri 'none'; frame-ancestors 'none'";

/// What a file may load: its own style.
const FILE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'";

/// All but what may stand in a part of a path as it is.
const IN_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a browser, from the service.
    Service,
    /// In a file.
    File,
}

impl Place {
    /// A link; in a file the text alone.
    pub(super) fn link(self, href: &str, text: &Markup) -> Markup {
        match self {
            Self::Service => html! { a href=(href) { (text) } },
            Self::File => text.clone(),
        }
    }
}

/// A document to be framed.
pub(super) struct Document<'a> {
    /// Title of the window.
    pub(super) title: &'a str,
    /// Names and addresses of the pages above it.
    pub(super) above: Vec<(String, String)>,
    /// What it says.
    pub(super) body: Markup,
}

impl Document<'_> {
    /// The whole document.
    pub(super) fn render(&self, place: Place) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – Driftline" }
                    @match place {
                        Place::Service => {
                            link rel="stylesheet" href=(STYLE_PATH);
                            // Without one, browsers ask for an icon of their own accord.
                            link rel="icon" href="data:,";
                        }
                        Place::File => {
                            meta http-equiv="Content-Security-Policy" content=(FILE_POLICY);
                            style { (PreEscaped(STYLE)) }
                        }
                    }
                }
                body {
                    @if place == Place::Service { a.skip href="#main" { "Skip to the content" } }
                    header.top { (self.navigation(place)) }
                    main #main tabindex="-1" { (self.body) }
                    footer { (footer(place)) }
                }
            }
        };
        page.into_string()
    }

    fn navigation(&self, place: Place) -> Markup {
        match place {
            Place::File => html! { p.brand { "Driftline" } },
            Place::Service => html! {
                nav aria-label="Where you are" {
                    ol {
                        li { a.brand href="/" { "Driftline" } }
                        @for (name, address) in &self.above { li { a href=(address) { (name) } } }
                    }
                }
            },
        }
    }
}

fn footer(place: Place) -> Markup {
    html! {
        p { "Times are those of events, in UTC. Driftline " (env!("CARGO_PKG_VERSION")) "." }
        @if place == Place::Service {
            p {
                "For programs: " a href="/v1/models" { "/v1/models" } ", " a href="/v1/verdicts" { "/v1/verdicts" } ", "
                a href="/metrics" { "/metrics" } ", " a href="/readyz" { "/readyz" } "."
            }
        }
    }
}

/// Address of a model's page.
pub(super) fn model_path(model: &str) -> String {
    format!("/models/{}", in_path(model))
}

/// Address of a version's page.
pub(super) fn version_path(model: &str, version: &str) -> String {
    format!("{}/versions/{}", model_path(model), in_path(version))
}

/// Address of a verdict's page.
pub(super) fn verdict_path(id: &str) -> String {
    format!("/verdicts/{}", in_path(id))
}

fn in_path(part: &str) -> String {
    utf8_percent_encode(part, &IN_PATH).to_string()
}
