//! Champions are published by a running service, follow promotions and rollbacks, and one that cannot be published disturbs
//! neither the others nor the service.

use driftline_tests::{On, Running, Sent, Workplace};
use serde_json::{Value, json};
use std::fmt::Write;

/// No gate rules on so few rows: people promote.
const CONFIGURATION: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: 1
epoch: {interval: 100ms}
idle_after: 1s
max_disorder: 10s
models:
  barred:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {age: numeric}
    windows: {size: 1m}
    labels: {mature: {after: 1m}, horizon: 1d}
    panel: {min_rows: 5}
    retrain: {min_labelled_rows: 20, gate: {min_rows: 100000}}
    trainer: {builtin: {}}
    serving: champion
    reference: {file: examples.csv, columns: {label: y, time: at}}
    publish: {triton: barred}
  loan:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {age: numeric}
    windows: {size: 1m}
    labels: {mature: {after: 1m}, horizon: 1d}
    panel: {min_rows: 5}
    retrain: {min_labelled_rows: 20, gate: {min_rows: 100000}}
    trainer: {builtin: {}}
    serving: champion
    reference: {file: examples.csv, columns: {label: y, time: at}}
    publish: {triton: served}
";
const START_MS: i64 = 1_767_571_200_000;

#[test]
fn a_running_service_publishes_champions_and_one_that_cannot_be_published_disturbs_nothing() {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, On::Embedded).unwrap();
    place.write("examples.csv", &examples()).unwrap();
    place.write("barred", "a file where the repository should be").unwrap();
    let mut service = place.start().unwrap();
    until_served(&place, &mut service, ("served/loan", 1));
    assert!(place.path().join("served/loan/1/model.onnx").is_file());

    let failed = |service: &Running| {
        let failed = service.metric("driftline_publications_total", &[("model", "barred"), ("outcome", "failed")])?;
        Ok((failed >= 2.0).then_some(()))
    };
    service.until("the barred model is tried again", failed).unwrap();
    let told = service.heard().iter().filter(|line| line.contains("cannot be published")).collect::<Vec<_>>();
    assert!(matches!(told.as_slice(), [once] if once.contains("barred")), "{told:?}");

    send_labelled_rows(&service);
    service.until("the labels are mature", labels_are_mature).unwrap();
    command(&service, "retrain", &json!({"reason": "ann: younger rows"}));
    service.until("a second version is there", second_version).unwrap();
    let promotion = json!({"version": "v2", "expected_champion": "v1", "reason": "ann: it is younger"});
    command(&service, "promote", &promotion);
    until_served(&place, &mut service, ("served/loan", 2));
    command(&service, "rollback", &json!({"expected_champion": "v2", "reason": "ann: on second thoughts"}));
    until_served(&place, &mut service, ("served/loan", 1));

    std::fs::remove_file(place.path().join("barred")).unwrap();
    until_served(&place, &mut service, ("barred/barred", 1));
    assert_eq!(service.get("/readyz").unwrap().status, 200);
    service.stop().unwrap();
}

fn examples() -> String {
    (0..100).fold("age,y,at\n".to_owned(), |mut rows, row| {
        let age = 20 + row * 7 % 50;
        let label = if age > 40 || age % 9 == 0 { "yes" } else { "no" };
        writeln!(rows, "{age},{label},{}", START_MS - 3_600_000 + i64::from(row)).unwrap();
        rows
    })
}

/// Waits until a server that reads the repository turns to this version.
fn until_served(place: &Workplace, service: &mut Running, (directory, version): (&str, u32)) {
    let file = place.path().join(directory).join("config.pbtxt");
    let wanted = format!("versions: [{version}]");
    let is_served =
        |_: &Running| Ok(std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&wanted)).then_some(()));
    service.until(&format!("{directory} serves {version}"), is_served).unwrap();
}

fn send_labelled_rows(service: &Running) {
    let (mut events, mut labels) = (String::new(), String::new());
    let rows = (0..100).map(|row| (START_MS + row * 100, row)).chain([(START_MS + 600_000, 100)]);
    for (time, row) in rows {
        let (age, id) = (20 + row % 50, format!("{row}"));
        let label = if age > 45 { "yes" } else { "no" };
        let event = json!({"id": id, "time": time, "model": "loan", "version": "v1", "features": {"age": age},
            "prediction": label, "score": 0.5});
        let label = json!({"id": id, "time": time + 20_000, "model": "loan", "label": label});
        writeln!(events, "{event}").unwrap();
        writeln!(labels, "{label}").unwrap();
    }
    for (path, rows) in [("/v1/events", events), ("/v1/labels", labels)] {
        let answer = service.post(path, Sent::json_lines(rows.as_bytes())).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn labels_are_mature(service: &Running) -> anyhow::Result<Option<()>> {
    let model = service.get("/v1/models/loan")?.body;
    Ok(model.get("matured").filter(|pane| !pane.is_null()).map(drop))
}

fn second_version(service: &Running) -> anyhow::Result<Option<()>> {
    let versions = service.get("/v1/models/loan/versions")?.body;
    Ok((versions.as_array().map_or(0, Vec::len) == 2).then_some(()))
}

fn command(service: &Running, order: &str, body: &Value) {
    let body = body.to_string();
    let json = Sent { content_type: Some("application/json"), encoding: None, body: body.as_bytes() };
    let answer = service.post(&format!("/v1/models/loan/{order}"), json).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}
