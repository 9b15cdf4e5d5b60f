//! What is checked in is what is made; and the catalogue, the rules and the panels name the same metrics and labels.

use super::*;
use crate::catalogue::{CATALOGUE, Kind, Metric};
use crate::rules::{ALERTS, RECORDINGS};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Labels that Prometheus or a rule adds.
const ADDED: [&str; 4] = ["instance", "job", "le", "severity"];

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where an expression stands, and the expression.
fn expressions() -> Vec<(String, String)> {
    let recordings = RECORDINGS.iter().map(|rule| (rule.name.to_owned(), rule.expr.to_owned()));
    let alerts = ALERTS.iter().flat_map(|(_, alerts)| *alerts);
    // What a text asks is a query too, with its labels filled in by `printf`.
    let alerts = alerts.flat_map(|alert| {
        let asked =
            alert.description.split("query (printf \"").skip(1).filter_map(|rest| rest.split("\" $labels").next());
        let asked = asked.map(|text| text.replace("%q", "\"x\"").replace("\\\"", "\""));
        [alert.expr.to_owned()].into_iter().chain(asked).map(|expr| (alert.name.to_owned(), expr)).collect::<Vec<_>>()
    });
    let panels = BOARDS.iter().flat_map(|read_model| {
        read_model.panels.iter().flat_map(|panel| {
            panel.queries.iter().map(|query| (format!("{}: {}", read_model.title, panel.title), query.expr.to_owned()))
        })
    });
    recordings.chain(alerts).chain(panels).collect()
}

/// The words of an expression that are not in quotes, each with the sign behind it.
fn words(expr: &str) -> Vec<(String, char)> {
    let mut words = Vec::new();
    for outside in expr.split('"').step_by(2) {
        let mut word = String::new();
        for sign in outside.chars().chain([' ']) {
            if sign.is_ascii_alphanumeric() || "_:".contains(sign) {
                word.push(sign);
            } else if !word.is_empty() {
                words.push((std::mem::take(&mut word), sign));
            }
        }
    }
    words
}

fn metric_of(word: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| match metric.kind {
        Kind::Histogram(_) => {
            word.strip_prefix(metric.name).is_some_and(|rest| ["_bucket", "_sum", "_count"].contains(&rest))
        }
        _ => metric.name == word,
    })
}

fn is_of_ours(word: &str) -> bool {
    ["driftline_", "kafka_consumer_", "process_"].iter().any(|prefix| word.starts_with(prefix))
}

#[test]
fn what_is_checked_in_is_what_is_made() {
    let made = all(DEFAULT_RUNBOOK).unwrap();
    for ExportedFile { path, contents } in &made {
        let kept = std::fs::read_to_string(folder().join(path)).unwrap_or_default();
        assert!(
            kept == *contents,
            "{path} is not what is made: write it anew by `driftline dashboards export dashboards`"
        );
    }
    let kept = ["rules", "grafana"].iter().flat_map(|part| std::fs::read_dir(folder().join(part)).unwrap());
    let kept = kept.flatten().filter(|entry| entry.path().is_file()).count();
    assert_eq!(kept, made.len(), "a file is checked in that is not made any more");
}

#[test]
fn every_rule_and_panel_asks_for_metrics_of_the_catalogue() {
    for (place, expr) in expressions() {
        let asked: Vec<_> = words(&expr).into_iter().map(|(word, _)| word).collect();
        let known = |word: &String| metric_of(word).is_some() || RECORDINGS.iter().any(|rule| rule.name == word);
        let unknown: Vec<_> =
            asked.iter().filter(|word| (is_of_ours(word) || word.contains(':')) && !known(word)).collect();
        assert!(unknown.is_empty(), "{place}: {unknown:?} in {expr}");
        assert!(asked.iter().any(known), "{place} asks for none: {expr}");
    }
}

#[test]
fn every_matcher_names_a_label_that_its_metric_has() {
    for (place, expr) in expressions() {
        let mut rest = expr.as_str();
        while let Some(open) = rest.find('{') {
            let name: String =
                rest[..open].chars().rev().take_while(|c| c.is_ascii_alphanumeric() || "_:".contains(*c)).collect();
            let name: String = name.chars().rev().collect();
            let close = open + rest[open..].find('}').unwrap();
            let labels: Vec<_> = words(&rest[open..close]).into_iter().map(|(word, _)| word).collect();
            let has = |label: &String| match metric_of(&name) {
                Some(metric) => metric.labels.contains(&label.as_str()),
                None => CATALOGUE.iter().any(|metric| metric.labels.contains(&label.as_str())),
            };
            assert!(labels.iter().all(has), "{place}: {name} has not all of {labels:?}");
            rest = &rest[close..];
        }
    }
}

#[test]
fn every_grouping_names_labels_of_the_catalogue() {
    let known: BTreeSet<_> = CATALOGUE.iter().flat_map(|metric| metric.labels).copied().chain(ADDED).collect();
    for (place, expr) in expressions() {
        for keyword in ["by (", "on (", "without ("] {
            for grouped in expr.split(keyword).skip(1) {
                let labels =
                    grouped.split(')').next().unwrap().split(',').map(str::trim).filter(|label| !label.is_empty());
                let unknown: Vec<_> = labels.filter(|label| !known.contains(label)).collect();
                assert!(unknown.is_empty(), "{place}: {unknown:?}");
            }
        }
    }
}

#[test]
fn every_metric_is_in_a_rule_or_panel_or_says_why_not() {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, expr) in expressions() {
        for metric in words(&expr).iter().filter_map(|(word, _)| metric_of(word)) {
            *places.entry(metric.name).or_default() += 1;
        }
    }
    for metric in CATALOGUE {
        let is_shown = places.contains_key(metric.name);
        assert!(
            is_shown != metric.unshown.is_some(),
            "{}: shown {is_shown}, and it says {:?}",
            metric.name,
            metric.unshown
        );
    }
    println!("{} metrics; {} in rules or panels", CATALOGUE.len(), places.len());
}
