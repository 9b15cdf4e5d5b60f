//! What one model's trouble may not do to others, or to the rest of its own.

use driftline_tests::{On, Running, Sent, Workplace, all};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use streams::log::{NewRecord, Retention, TopicSpec};
use streams::topics;

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn send(service: &Running, path: &str, rows: &[Value]) {
    let body: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let answer = service.post(path, Sent::json_lines(body.as_bytes())).unwrap();
    assert_eq!((answer.status, answer.body["accepted"].as_u64()), (200, Some(rows.len() as u64)), "{answer:?}");
}

/// Events of a model at this time and in the milliseconds after it.
fn events(model: &str, batch: &str, time_ms: i64) -> Vec<Value> {
    let event = |row: i64| {
        json!({"id": format!("{model}-{batch}-{row}"), "time": time_ms + row, "model": model, "version": "v1",
               "features": {"x": row}, "prediction": 1.5})
    };
    (0..20).map(event).collect()
}

fn captured(service: &Running, model: &str) -> usize {
    service.metric("driftline_events_total", &[("model", model)]).unwrap() as usize
}

const LABELS_BEHIND: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: 1
epoch: {interval: 100ms}
idle_after: 1h
max_disorder: 1s
models:
  loan:
    task: {type: regression}
    features: {x: numeric}
    windows: {size: 1m}
    labels: {mature: {after: 1m}, horizon: 30d}
  fare:
    task: {type: regression}
    features: {x: numeric}
    windows: {size: 1m}
";

/// The only time that many label tables have is that of the prediction.
#[test]
fn labels_that_bear_the_day_of_their_prediction_hold_up_no_capture_and_no_drift() {
    let place = Workplace::new(crate::BINARY, LABELS_BEHIND, On::Embedded).unwrap();
    let mut service = place.start().unwrap();
    let begin_ms = now_ms() - 600_000;
    for batch in 1..=5 {
        let old = json!({"id": format!("old-{batch}"), "time": begin_ms - 10 * DAY_MS + batch, "model": "loan", "label": 1.0});
        send(&service, "/v1/labels", &[old]);
        for model in ["loan", "fare"] {
            send(&service, "/v1/events", &events(model, &batch.to_string(), begin_ms + batch * 60_000));
        }
        let all = |service: &Running| {
            let counted = ["loan", "fare"].map(|model| captured(service, model));
            Ok((counted == [batch as usize * 20; 2]).then_some(()))
        };
        service.until(&format!("batch {batch} is captured"), all).unwrap();
    }
    for model in ["loan", "fare"] {
        let judged = |service: &Running| {
            let labels = [("model", model), ("monitor", "drift")];
            Ok((service.metric("driftline_verdicts_total", &labels)? >= 3.0).then_some(()))
        };
        service.until(&format!("windows of {model} are judged"), judged).unwrap();
    }
    let behind = service.metric("driftline_watermark_behind_seconds", &[("topic", "labels")]).unwrap();
    assert!(behind > 9.0 * 86_400.0, "{behind}");
    assert_eq!(service.get("/readyz").unwrap().status, 200, "no window waits for labels");
    let is_told = |line: &String| line.contains("far behind others in event time") && line.contains("labels");
    assert_eq!(service.heard().iter().filter(|line| is_told(line)).count(), 1, "it is told once");
    service.stop().unwrap();
}

const TWO_MODELS: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: 1
epoch: {interval: 100ms}
idle_after: 1h
max_disorder: 1s
models:
  loan:
    task: {type: regression}
    features: {FEATURES}
    windows: {size: 1m}
    panel: {min_rows: 5}
  fare:
    task: {type: regression}
    features: {x: numeric}
    windows: {size: 1m}
";

fn configured(features: &str) -> String {
    On::Embedded.put_into(&TWO_MODELS.replace("FEATURES", features))
}

/// The windows of a model, latest first.
fn windows(service: &Running, model: &str) -> Vec<Value> {
    let answer = service.get(&format!("/v1/models/{model}/windows?limit=1000&monitor=drift")).unwrap();
    answer.body.as_array().cloned().unwrap_or_default()
}

/// The newest drift window of a model that holds the rows of a batch.
fn window_at(service: &mut Running, model: &str, time_ms: i64) -> Value {
    let found = |service: &Running| {
        let windows = windows(service, model);
        Ok(windows.into_iter().find(|window| window["window"]["start_ms"] == json!(time_ms)))
    };
    service.until(&format!("the window of {model} at {time_ms} is judged"), found).unwrap()
}

/// Rows of both models, whose features are named so, and rows that close their window.
fn send_batch(service: &Running, batch: &str, (time_ms, features): (i64, &Value)) {
    for (time_ms, batch) in [(time_ms, batch.to_owned()), (time_ms + 120_000, format!("{batch}-after"))] {
        let mut loans = events("loan", &batch, time_ms);
        loans.iter_mut().for_each(|event| event["features"] = features.clone());
        send(service, "/v1/events", &loans);
        send(service, "/v1/events", &events("fare", &batch, time_ms));
    }
}

#[test]
fn a_model_whose_features_change_is_learning_alone_and_check_says_so_before() {
    const BEGIN_MS: i64 = 1_767_571_200_000;
    let (before, added) =
        ("amount: numeric, country: categorical", "amount: numeric, country: categorical, age: numeric");
    let place = Workplace::new(crate::BINARY, &TWO_MODELS.replace("FEATURES", before), On::Embedded).unwrap();
    let rows: String =
        (0..600).map(|row| format!("{},DE,1.5,{}\n", row % 7, BEGIN_MS - 600_000 + row * 1_000)).collect();
    place.write("reference.csv", &format!("amount,country,p,at\n{rows}")).unwrap();
    place
        .run(&["reference", "--model", "loan", "--from-file", "reference.csv", "--prediction", "p", "--time", "at"])
        .unwrap();
    let values = json!({"amount": 1, "country": "DE", "age": 30});
    let mut service = place.start().unwrap();
    send_batch(&service, "a", (BEGIN_MS, &values));
    assert_ne!(window_at(&mut service, "loan", BEGIN_MS)["severity"], json!("learning"));
    service.stop().unwrap();
    // In another order the columns are the same.
    let orders = [("country: categorical, amount: numeric", 0, "b"), (added, 1, "c"), ("country: categorical", 1, "d")];
    for (number, (features, findings, batch)) in (1..).zip(orders) {
        place.write("driftline.yaml", &configured(features)).unwrap();
        let said = place.run(&["check"]).unwrap();
        assert_eq!(said.matches("does not fit the model as it is configured").count(), findings, "{said}");
        let mut service = place.start().unwrap();
        let time_ms = BEGIN_MS + number * 600_000;
        send_batch(&service, batch, (time_ms, &values));
        let [loan, fare] = ["loan", "fare"].map(|model| window_at(&mut service, model, time_ms));
        assert_eq!((&loan["rows"], &fare["rows"]), (&json!(20), &json!(20)), "{features}");
        let is_learning = loan["severity"] == json!("learning");
        assert_eq!(is_learning, findings > 0, "{features}: {loan}");
        let way_out = "driftline reference --model loan --model-version default";
        assert_eq!(loan["summary"].as_str().unwrap().contains(way_out), is_learning, "{loan}");
        let restarts = service.metric("driftline_stage_restarts_total", &[]).unwrap();
        assert_eq!(restarts, 0.0, "no stage fails: {:#?}", service.heard());
        service.stop().unwrap();
    }
}

/// Has the topic of inferences forget records that were never read.
fn forget_unread(place: &Workplace) {
    let log = place.log().unwrap();
    let again = all(log.as_ref(), topics::INFERENCES).unwrap().into_iter().map(|record| NewRecord {
        topic: topics::INFERENCES.to_owned(),
        partition: 0,
        key: record.key,
        value: record.value,
        headers: record.headers.to_vec(),
        appended_ms: None,
    });
    log.append(&again.collect::<Vec<_>>()).unwrap();
    let retention = Retention { age: None, bytes_per_partition: Some(0) };
    log.ensure_topic(&TopicSpec { name: topics::INFERENCES.to_owned(), partitions: 1, retention }).unwrap();
    log.enforce_retention(0).unwrap();
}

#[test]
fn a_stage_that_fails_for_good_is_down_and_ends_the_process_where_that_is_wanted() {
    let place = Workplace::new(crate::BINARY, LABELS_BEHIND, On::Embedded).unwrap();
    let mut service = place.start().unwrap();
    send(&service, "/v1/events", &events("fare", "a", now_ms()));
    service.until("they are captured", |service| Ok((captured(service, "fare") == 20).then_some(()))).unwrap();
    service.stop().unwrap();
    forget_unread(&place);
    let mut service = place.start().unwrap();
    let is_down = |service: &Running| {
        let of_capture = [("stage", "capture")];
        let ended = service.metric("driftline_stage_ended_total", &of_capture)?;
        Ok((ended == 1.0).then_some(service.metric("driftline_stage_up", &of_capture)?))
    };
    assert_eq!(service.until("capture has failed for good", is_down).unwrap(), 0.0);
    let is_error = |line: &&String| line.contains("ERROR") && line.contains("stage failed for good");
    assert_eq!(service.heard().iter().filter(is_error).count(), 2, "capture and the archive, each once");
    service.kill().unwrap();
    place.write("driftline.yaml", &On::Embedded.put_into(&format!("{LABELS_BEHIND}\nstage_failure: exit\n"))).unwrap();
    let ended = place.command(&["run"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(6), "{}", String::from_utf8_lossy(&ended.stderr));
}

const SILENCE: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: 2
epoch: {interval: 100ms}
idle_after: 200ms
max_disorder: 5s
models:
  loan:
    task: {type: regression}
    features: {x: numeric}
    windows: {size: 1m}
  fare:
    task: {type: regression}
    features: {x: numeric}
    windows: {size: 1m}
";

#[test]
fn the_last_window_is_judged_when_traffic_stops_and_a_configured_model_is_known_before() {
    let place = Workplace::new(crate::BINARY, SILENCE, On::Embedded).unwrap();
    let mut service = place.start().unwrap();
    let window_ms = now_ms() / 60_000 * 60_000 - 180_000;
    send(&service, "/v1/events", &events("loan", "a", window_ms));
    assert_eq!(window_at(&mut service, "loan", window_ms)["rows"], json!(20));
    let models = service.get("/v1/models").unwrap().body;
    let of = |name: &str| models.as_array().unwrap().iter().find(|model| model["model"] == json!(name)).unwrap();
    assert_eq!(of("loan")["captured"]["rows"], json!(20));
    assert_eq!((&of("fare")["captured"]["rows"], &of("fare")["last_final"]), (&json!(0), &Value::Null));
    assert_eq!(service.get("/v1/models/fare").unwrap().status, 200);
    // What comes after the heartbeat and is older is late, and counted so.
    send(&service, "/v1/events", &events("loan", "b", window_ms));
    let late = |service: &Running| {
        let late = service.metric("driftline_late_events_total", &[("model", "loan")])?;
        Ok((late == 20.0).then_some(()))
    };
    service.until("rows of a window that is judged are late", late).unwrap();
    service.stop().unwrap();
}

#[test]
fn a_sender_with_ever_new_versions_takes_no_more_than_its_places_and_none_of_another_model() {
    const BEGIN_MS: i64 = 1_767_571_200_000;
    let place = Workplace::new(crate::BINARY, &LABELS_BEHIND.replace("partitions: 1", "partitions: 2"), On::Embedded);
    let place = place.unwrap();
    let mut service = place.start().unwrap();
    let mut exploding = Vec::new();
    for row in 0..2_000 {
        let mut event = events("fare", &row.to_string(), BEGIN_MS + row).remove(0);
        event["version"] = json!(format!("build-{row}"));
        exploding.push(event);
    }
    let long = "b".repeat(200);
    let mut named = events("fare", "long", BEGIN_MS);
    named.iter_mut().for_each(|event| event["version"] = json!(long));
    let body: String = named.iter().map(|row| format!("{row}\n")).collect();
    let answer = service.post("/v1/events", Sent::json_lines(body.as_bytes())).unwrap();
    assert_eq!(answer.body["accepted"], json!(0), "{answer:?}");
    assert!(answer.body.to_string().contains("a name of 200 bytes, where 128 are allowed"), "{answer:?}");
    send(&service, "/v1/events", &events("loan", "a", BEGIN_MS));
    send(&service, "/v1/events", &exploding);
    send(&service, "/v1/events", &events("loan", "end", BEGIN_MS + 600_000));
    send(&service, "/v1/events", &events("fare", "end", BEGIN_MS + 600_000));
    assert_eq!(window_at(&mut service, "loan", BEGIN_MS)["version"], json!("v1"));
    window_at(&mut service, "fare", BEGIN_MS);
    let all = |service: &Running| {
        let rows = |labels: &[(&str, &str)]| service.metric("driftline_window_rows", labels);
        let of_fare = rows(&[("model", "fare"), ("monitor", "drift")])?;
        Ok((of_fare >= 2_000.0).then_some(rows(&[("model", "fare"), ("version", "other"), ("monitor", "drift")])?))
    };
    let others = service.until("every row is in a window of some version", all).unwrap();
    // Two partitions of 32 places each.
    assert_eq!(others, 2_000.0 - 64.0);
    let counted = service.metric("driftline_other_versions_total", &[("model", "fare")]).unwrap();
    // The last batch finds all places taken until its first row in each partition has moved time on.
    assert!((others..=others + 2.0).contains(&counted), "{counted}");
    assert_eq!(service.metric("driftline_other_versions_total", &[("model", "loan")]).unwrap(), 0.0);
    let is_told = |line: &&String| line.contains("WARN") && line.contains("versions at a time");
    assert_eq!(service.heard().iter().filter(is_told).count(), 1);
    service.stop().unwrap();
}
