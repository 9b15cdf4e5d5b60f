//! What every alert has: a name of its own, texts, and a heading in the runbook.

use super::*;
use std::collections::BTreeSet;
use std::path::Path;

fn alerts() -> impl Iterator<Item = &'static Alert> {
    ALERTS.iter().flat_map(|(_, alerts)| *alerts)
}

fn beside_the_manifest(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn alerts_and_headings_of_the_runbook_are_the_same() {
    let runbook = beside_the_manifest("../docs/runbooks/alerts.md");
    let headings: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names: BTreeSet<_> = alerts().map(|alert| alert.name).collect();
    assert_eq!(headings, names);
    assert_eq!(names.len(), alerts().count(), "a name is used twice");
    for part in ["**What it means.**", "**Look at.**", "**Do.**"] {
        assert_eq!(runbook.matches(part).count(), names.len(), "{part}");
    }
}

#[test]
fn every_alert_says_what_it_is_about() {
    for alert in alerts() {
        assert!(alert.name.starts_with("Driftline"), "{}", alert.name);
        assert!(!alert.summary.is_empty() && alert.description.len() > 20, "{}", alert.name);
        // A value of a counter's increase is extrapolated, and no number that a person could find again.
        let is_increase = alert.expr.contains("increase(");
        assert!(!(is_increase && alert.summary.contains("$value")), "{}", alert.name);
    }
}

#[test]
fn drift_of_inputs_never_pages() {
    for alert in alerts().filter(|alert| alert.urgency == Urgency::Page) {
        assert!(!alert.expr.contains(r#"monitor="drift""#) && !alert.expr.contains("drift_score"), "{}", alert.name);
    }
}

#[test]
fn every_alert_is_tested_in_five_ways() {
    let cases = ["harm", "blind", "evidence", "retraining", "service"]
        .map(|group| beside_the_manifest(&format!("rules/tests/{group}.yaml")))
        .concat();
    for alert in alerts() {
        for way in ["fires", "does not fire", "is stale", "is missing", "starts late"] {
            let name = format!("{} {way}", alert.name);
            assert!(cases.contains(&format!("name: {name}\n")), "no case `{name}`");
        }
    }
}
