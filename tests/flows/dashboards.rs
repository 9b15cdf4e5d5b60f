//! Rules and dashboards are true of a running service: Prometheus takes every rule, and every panel has data or says why not.

use dashboards::grafana::{BOARDS, Query};
use driftline_tests::prometheus::{Prometheus, Server};
use driftline_tests::{On, Workplace};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the demo says where its metrics are, and when it has come to its end.
const METRICS: &str = "Metrics at http://";
const ENDED: &str = "False alarms before the shift";

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/rules")
}

#[test]
fn every_alert_fires_and_does_not_as_its_cases_say() {
    let Some(prometheus) = Prometheus::found().unwrap() else { return };
    let file = rules().join("driftline.rules.yaml");
    println!("{}", prometheus.tool(&["check", "rules", &file.display().to_string()], "").unwrap());
    let cases: Vec<_> = std::fs::read_dir(rules().join("tests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let cases: Vec<_> = cases.iter().map(|path| path.display().to_string()).collect();
    let arguments: Vec<_> = ["test", "rules"].into_iter().chain(cases.iter().map(String::as_str)).collect();
    println!("{}", prometheus.tool(&arguments, "").unwrap());
}

#[test]
fn every_panel_and_rule_works_on_a_prometheus_that_watches_the_demo() {
    let Some(prometheus) = Prometheus::found().unwrap() else { return };
    let since_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let place = Workplace::new(crate::BINARY, "", On::Embedded).unwrap();
    let (demo, mut said) = start_demo(&place);
    let target = said.find_map(|line| Some(line.strip_prefix(METRICS)?.strip_suffix("/metrics")?.to_owned())).unwrap();
    let server = prometheus.serve(&target, &rules().join("driftline.rules.yaml")).unwrap();
    assert!(said.any(|line| line.contains(ENDED)), "the demo did not come to its end");
    let page = ureq::get(format!("http://{target}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    println!("promtool check metrics: {:?}", prometheus.tool(&["check", "metrics"], &page).unwrap());
    let ended_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let recorded = format!("timestamp(model:driftline_events:rate10m) > {ended_s}");
    let is_recorded = |server: &Server| Ok(server.series(&recorded, since_s)?.pop());
    server.until("rules are evaluated on what the demo came to", is_recorded).unwrap();
    rules_are_healthy(&server);
    panels_have_data(&server, since_s);
    drop(demo);
}

/// A demo that is killed when it is dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_demo(place: &Workplace) -> (Demo, impl Iterator<Item = String> + use<>) {
    let mut command = place.command(&["demo", "--dir", "demo", "--listen", "127.0.0.1:0"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    (Demo(process), said)
}

fn rules_are_healthy(server: &Server) {
    let evaluated = |server: &Server| {
        let rules = server.rules()?;
        let is_done = rules.iter().all(|rule| rule["health"] != "unknown");
        Ok((is_done && !rules.is_empty()).then_some(rules))
    };
    let rules = server.until("every rule is evaluated", evaluated).unwrap();
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    println!("{} rules are healthy", rules.len());
}

fn panels_have_data(server: &Server, since_s: f64) {
    let (mut with_data, mut without) = (0, Vec::new());
    for read_model in BOARDS {
        for query in read_model.panels.iter().flat_map(|panel| panel.queries) {
            match has_data(server, query, since_s) {
                true => with_data += 1,
                false => without.push((read_model.title, query.expr, query.empty_when)),
            }
        }
    }
    println!("{with_data} queries of panels have data; without: {without:#?}");
    let unexplained: Vec<_> = without.iter().filter(|(_, _, empty_when)| empty_when.is_empty()).collect();
    assert!(unexplained.is_empty(), "no data, and no reason given: {unexplained:#?}");
}

/// Whether a query has had a finite value, its variables filled in as Grafana would.
fn has_data(server: &Server, query: &Query, since_s: f64) -> bool {
    let filled = [("$__rate_interval", "30s"), ("$__range", "2m"), ("$model", MODEL), ("$version", ".*")]
        .iter()
        .fold(query.expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value));
    let series = server.series(&filled, since_s).unwrap();
    let finite =
        |value: &Value| value[1].as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite);
    series.iter().filter_map(|one| one["values"].as_array()).flatten().any(finite)
}

/// The demo's model.
const MODEL: &str = "bed";
