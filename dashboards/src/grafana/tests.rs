//! The rules of Grafana's own linter that can be held here, under its names, and what a dashboard must have to be read.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn files() -> Vec<(&'static ReadModel, Value)> {
    BOARDS
        .iter()
        .map(|read_model| (read_model, serde_json::to_value(DashboardFile::new(read_model)).unwrap()))
        .collect()
}

fn panels() -> impl Iterator<Item = &'static Panel> {
    BOARDS.iter().flat_map(|read_model| read_model.panels)
}

#[test]
fn template_datasource_rule() {
    for (read_model, file) in files() {
        let list = file["templating"]["list"].as_array().unwrap();
        assert!(
            list.iter().any(|one| one["type"] == "datasource" && one["query"] == "prometheus"),
            "{}",
            read_model.uid
        );
        let sources = file.to_string().matches(r#""uid":"${datasource}""#).count();
        let targets: usize = read_model.panels.iter().map(|panel| panel.queries.len() + 1).sum();
        assert!(sources >= targets, "{}: a panel or target has another data source", read_model.uid);
    }
}

#[test]
fn template_on_time_change_reload_rule() {
    for (read_model, file) in files() {
        let queries = file["templating"]["list"].as_array().unwrap().iter().filter(|one| one["type"] == "query");
        queries.for_each(|variable| assert_eq!(variable["refresh"], 2, "{}", read_model.uid));
    }
}

#[test]
fn uneditable_dashboard_rule() {
    files().iter().for_each(|(read_model, file)| assert_eq!(file["editable"], false, "{}", read_model.uid));
}

#[test]
fn panel_title_description_rule() {
    for panel in panels() {
        assert!(!panel.title.is_empty() && panel.description.ends_with('.'), "{}", panel.title);
    }
}

#[test]
fn panel_units_rule() {
    // Ids of Grafana's units.
    let known = ["short", "s", "percentunit", "bytes", "cps", "reqps"];
    panels().for_each(|panel| assert!(known.contains(&panel.unit), "{}: {}", panel.title, panel.unit));
}

#[test]
fn target_rate_interval_rule_and_target_counter_agg_rule() {
    for panel in panels() {
        for query in panel.queries {
            let counters = query.expr.matches("_total").count() + query.expr.matches("_bucket").count();
            let rated = query.expr.matches("rate(").count() + query.expr.matches("increase(").count();
            assert_eq!(counters, rated, "{}: a counter stands without rate or increase: {}", panel.title, query.expr);
            let intervals = query.expr.matches("[$__rate_interval]").count();
            assert_eq!(query.expr.matches("rate(").count(), intervals, "{}: {}", panel.title, query.expr);
        }
    }
}

#[test]
fn target_job_instance_and_template_rule() {
    for (read_model, file) in files() {
        let variables = file["templating"]["list"].as_array().unwrap();
        let names: BTreeSet<_> = variables.iter().filter_map(|one| one["name"].as_str()).collect();
        for query in read_model.panels.iter().flat_map(|panel| panel.queries) {
            for used in query.expr.split('$').skip(1) {
                let name: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let is_known = names.contains(name.as_str()) || ["__rate_interval", "__range"].contains(&name.as_str());
                assert!(is_known, "{}: ${name} is no variable", read_model.uid);
            }
        }
    }
}

#[test]
fn ids_are_unique_and_panels_do_not_overlap() {
    let uids: BTreeSet<_> = BOARDS.iter().map(|read_model| read_model.uid).collect();
    assert_eq!(uids.len(), BOARDS.len());
    for (read_model, file) in files() {
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in file["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", read_model.uid);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(w > 0 && x + w <= 24, "{}: {}", read_model.uid, panel["title"]);
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{}: {} lies on another", read_model.uid, panel["title"]);
            }
        }
    }
}

#[test]
fn a_legend_names_labels_that_its_query_groups_by() {
    for panel in panels() {
        for query in panel.queries {
            for label in query.legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                // A plain selector keeps every label of its metric.
                let is_plain = !query.expr.contains(" by (");
                assert!(is_plain || query.expr.contains(label), "{}: {label}", panel.title);
            }
        }
    }
}
