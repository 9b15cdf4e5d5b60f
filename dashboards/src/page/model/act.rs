//! What a person can order of a model: plain forms, each with a reason that is kept.
//!
//! A form carries the champion that it was written for, so that an order given from an old page is void instead of wrong.

use crate::api;
use crate::page::document::model_path;
use crate::read_model::{ModelDetail, VersionView};
use maud::{Markup, html};
use serde::Deserialize;

/// What the forms send.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::page) struct Order {
    /// Who asks, and why.
    pub(in crate::page) reason: String,
    /// The version that becomes champion.
    pub(in crate::page) version: String,
    /// The champion on the page; empty where there was none.
    pub(in crate::page) expected_champion: String,
}

/// The order behind the last part of a form's address; `None` where there is no such form.
pub(in crate::page) fn parse_order(verb: &str, sent: Order) -> Option<api::Order> {
    let Order { version, expected_champion, .. } = sent;
    Some(match verb {
        "retrain" => api::Order::Retrain,
        "promote" => {
            let expected_champion = (!expected_champion.is_empty()).then_some(expected_champion);
            api::Order::Promote { version, expected_champion }
        }
        "rollback" => {
            let version = (!version.is_empty()).then_some(version);
            api::Order::RollBack { version, expected_champion }
        }
        "release" => api::Order::Release { expected_champion },
        _ => return None,
    })
}

/// The section.
pub(super) fn section(detail: &ModelDetail, versions: &[VersionView]) -> Markup {
    let others: Vec<&str> = versions.iter().map(|view| view.version.version.as_str()).collect();
    let others: Vec<&str> = others.into_iter().filter(|version| detail.champion.as_deref() != Some(*version)).collect();
    html! {
        section aria-labelledby="act" {
            h2 #act { "Act" }
                p.note {
                    "An order is appended to the log and answered with its id; what has become of it stands above. "
                    "The reason is kept for good."
                }
                div.forms {
                    (form(detail, "retrain", "Retrain", html! {
                        p { "Trains a challenger on the labelled rows there are; it must win its trial." }
                    }))
                    @if !others.is_empty() {
                        (form(detail, "promote", "Promote", html! {
                            p { "Makes a version champion " strong { "past the gate" } ". The reason is recorded as an override." }
                            (version_choice("promote", &others))
                        }))
                    }
                    @if detail.champion.is_some() && !others.is_empty() {
                        (form(detail, "rollback", "Roll back", html! {
                            p { "Makes the champion before this one champion again, and holds promotions until they are released." }
                        }))
                    }
                    @if detail.hold.is_some() {
                        (form(detail, "release", "Release", html! {
                            p { "Lets challengers be promoted again after the roll-back." }
                        }))
                    }
                }
        }
    }
}

fn version_choice(verb: &str, versions: &[&str]) -> Markup {
    let id = format!("{verb}-version");
    html! {
        label for=(id) { "Version" }
        select id=(id) name="version" { @for version in versions { option value=(version) { (version) } } }
    }
}

fn form(detail: &ModelDetail, verb: &str, title: &str, more: Markup) -> Markup {
    let id = format!("{verb}-reason");
    html! {
        form.card method="post" action={ (model_path(&detail.model)) "/" (verb) } {
            h3 { (title) }
            (more)
            @if verb != "retrain" {
                input type="hidden" name="expected_champion" value=(detail.champion.as_deref().unwrap_or_default());
            }
            label for=(id) { "Who asks, and why" }
            input type="text" id=(id) name="reason" required maxlength="2000" autocomplete="off";
            button type="submit" { (title) }
        }
    }
}
