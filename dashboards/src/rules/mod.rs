//! Recording and alerting rules for Prometheus, made from tables in here and checked in as `dashboards/rules/`.
//!
//! The principle is to page on harm and to explain with drift: what pages is quality that fell, a service that is down and a
//! monitor that stands still. Drift of inputs is a ticket, because by itself it says nothing of harm; so is what makes the
//! monitor blind. There is one alert for each model and cause, not for each column: its text names the columns.
//!
//! Rules take the maximum over instances, because each process of a log that is shared shows every verdict. Counters that are
//! rebuilt from the log are not trusted soon after a start: retention may have made them smaller meanwhile.

mod blind;
mod evidence;
mod harm;
mod recording;
mod retraining;
mod service;

use serde::Serialize;
use std::collections::BTreeMap;

/// The anchor of an alert's heading in the runbook is its name in lower case.
pub const RUNBOOK: &str = "docs/runbooks/alerts.md";

/// What someone is to do about an alert, and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Now: people are being harmed, or nobody would see if they were.
    Page,
    /// In working hours.
    Ticket,
    /// Nothing: it is good to know.
    Info,
}

/// An alert.
#[derive(Debug, Clone, Copy)]
pub struct Alert {
    /// Its name.
    pub name: &'static str,
    /// How urgent it is.
    pub urgency: Urgency,
    /// When it fires.
    pub expr: &'static str,
    /// How long that must last; empty for no time.
    pub lasting: &'static str,
    /// A line.
    pub summary: &'static str,
    /// What is known, and where to look.
    pub description: &'static str,
}

/// A series that rules and panels read in place of a long expression.
#[derive(Debug, Clone, Copy)]
pub struct Recording {
    /// Its name, as `level:metric:operation`.
    pub name: &'static str,
    /// What it is.
    pub expr: &'static str,
}

/// Every series that is recorded.
pub const RECORDINGS: &[Recording] = recording::ALL;

/// Alerts by group.
pub const ALERTS: &[(&str, &[Alert])] = &[
    ("driftline.harm", harm::ALL),
    ("driftline.blind", blind::ALL),
    ("driftline.evidence", evidence::ALL),
    ("driftline.retraining", retraining::ALL),
    ("driftline.service", service::ALL),
];

/// The file as Prometheus reads it.
#[derive(Debug, Serialize)]
pub struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Rule {
    Record {
        record: &'static str,
        expr: String,
    },
    Alert {
        alert: &'static str,
        expr: String,
        #[serde(rename = "for", skip_serializing_if = "str::is_empty")]
        lasting: &'static str,
        labels: BTreeMap<&'static str, &'static str>,
        annotations: BTreeMap<&'static str, String>,
    },
}

impl Urgency {
    /// The value of the label `severity`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::Info => "info",
        }
    }
}

impl RuleFile {
    /// Every rule; `runbook` is where the runbook is to be read.
    pub fn new(runbook: &str) -> Self {
        let recordings = RECORDINGS.iter().map(|rule| Rule::Record { record: rule.name, expr: one_line(rule.expr) });
        let mut groups = vec![Group { name: "driftline.recording", rules: recordings.collect() }];
        groups.extend(ALERTS.iter().map(|(name, alerts)| {
            let rules = alerts.iter().map(|alert| Rule::of(alert, runbook)).collect();
            Group { name, rules }
        }));
        Self { groups }
    }
}

impl Rule {
    fn of(alert: &Alert, runbook: &str) -> Self {
        let annotations = BTreeMap::from([
            ("summary", one_line(alert.summary)),
            ("description", one_line(alert.description)),
            ("runbook_url", format!("{runbook}#{}", alert.name.to_lowercase())),
        ]);
        Self::Alert {
            alert: alert.name,
            expr: one_line(alert.expr),
            lasting: alert.lasting,
            labels: BTreeMap::from([("severity", alert.urgency.name())]),
            annotations,
        }
    }
}

/// Text whose lines are broken for the eye only.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
