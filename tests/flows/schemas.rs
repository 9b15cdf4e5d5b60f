//! Records of Avro whose registry is down at first: they wait, none is set aside, and each is counted once when it is up.

use arrow::array::AsArray;
use codec::decode::REASON_HEADER;
use driftline_tests::{On, Workplace, all, archived_files};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use streams::log::{NewRecord, Retention, TopicSpec};
use streams::topics;

const CONFIGURATION: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: 2
epoch: {interval: 100ms}
archive: {roll_after: 200ms}
schemas: {registry: {url: \"http://REGISTRY\", username: drift, password_file: word}}
models:
  fare:
    task: {type: regression}
    features: {km: numeric, zone: categorical}
    windows: {size: 1h}
    labels: {mature: {after: 1h}, horizon: 30d}
";

const SCHEMA: &str = r#"{"type": "record", "name": "Answer", "namespace": "taxi", "fields": [
    {"name": "id", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "model", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "features", "type": {"type": "record", "name": "Features", "fields": [
        {"name": "km", "type": ["null", "double"]},
        {"name": "zone", "type": {"type": "enum", "name": "Zone", "symbols": ["inner", "outer"]}}]}},
    {"name": "prediction", "type": "double"}]}"#;

const AT_MS: i64 = 1_767_657_600_000;
const RECORDS: i64 = 40;
/// How often a stage is to have been rebuilt before the registry comes up.
const FAILURES: f64 = 2.0;

#[test]
fn records_of_avro_wait_for_their_registry_and_each_counts_once() {
    wait_for_their_registry(On::Embedded);
}

#[test]
fn records_of_avro_wait_for_their_registry_and_each_counts_once_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    wait_for_their_registry(kafka);
}

fn wait_for_their_registry(on: On) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Workplace::new(crate::BINARY, &CONFIGURATION.replace("REGISTRY", &address.to_string()), on).unwrap();
    place.write("word", "hunter2\n").unwrap();
    write_records(&place);
    let mut service = place.start().unwrap();
    service
        .until("capture and archive failed", |service| {
            let failures = |stage| service.metric("driftline_stage_restarts_total", &[("stage", stage)]);
            Ok((failures("capture")? >= FAILURES && failures("archive")? >= FAILURES).then_some(()))
        })
        .unwrap();
    assert_eq!(service.metric("driftline_dead_letters_total", &[]).unwrap(), 0.0);
    serve(address);
    let wanted = (RECORDS + 1) as f64;
    service
        .until("every event is captured", |service| {
            Ok((service.metric("driftline_events_total", &[("model", "fare")])? >= wanted).then_some(()))
        })
        .unwrap();
    service
        .until("the bad records are set aside", |service| {
            Ok((service.metric("driftline_dead_letters_total", &[])? >= 2.0).then_some(()))
        })
        .unwrap();
    service
        .until("archive has read what capture has", |service| {
            let behind = service.metric("driftline_stage_lag_records", &[("stage", "archive")])?;
            Ok((behind == 0.0).then_some(()))
        })
        .unwrap();
    service.stop().unwrap();
    check(&place);
}

/// Avro records of schema 7, one of JSON between them, one that ends early and one of a schema that nobody has.
fn write_records(place: &Workplace) {
    let log = place.log().unwrap();
    let spec = TopicSpec { name: topics::INFERENCES.to_owned(), partitions: 2, retention: Retention::default() };
    log.ensure_topic(&spec).unwrap();
    let record = |partition: i64, value: Vec<u8>| NewRecord {
        topic: topics::INFERENCES.to_owned(),
        partition: u32::try_from(partition).unwrap(),
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
        appended_ms: None,
    };
    let mut records: Vec<_> = (0..RECORDS).map(|number| record(number % 2, framed(7, &answer(number)))).collect();
    let json = format!(
        r#"{{"id": "json", "time": {AT_MS}, "model": "fare", "version": "1", "features": {{"km": 1, "zone": "inner"}}}}"#
    );
    records.insert(20, record(0, json.into_bytes()));
    records.insert(21, record(1, framed(7, &answer(0)[..4])));
    records.insert(22, record(1, framed(8, &answer(0))));
    log.append(&records).unwrap();
}

fn framed(schema: u8, record: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, schema], record].concat()
}

fn answer(number: i64) -> Vec<u8> {
    let text = |text: &str| [long(text.len() as i64), text.into()].concat();
    [
        text(&format!("avro-{number}")),
        long(AT_MS + number * 1000),
        text("fare"),
        text("1"),
        [long(1), (number as f64).to_le_bytes().to_vec()].concat(),
        long(number % 2),
        10.5_f64.to_le_bytes().to_vec(),
    ]
    .concat()
}

/// Avro's whole numbers.
fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A registry that knows one schema, and whoever has the password; it answers until the test ends.
fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|connection| reply(&connection.unwrap())));
}

fn reply(mut connection: &TcpStream) {
    let lines = BufReader::new(connection).lines().map(Result::unwrap);
    let question: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let told = "authorization: basic zhjpznq6ahvudgvymg==";
    let (status, body) = match question[0].split(' ').nth(1).unwrap() {
        _ if !question.iter().any(|line| line.to_ascii_lowercase() == told) => (401, String::new()),
        "/schemas/ids/7" => (200, serde_json::json!({"schema": SCHEMA}).to_string()),
        _ => (404, r#"{"error_code": 40403, "message": "Schema not found"}"#.to_owned()),
    };
    let head = format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes())).unwrap();
}

/// Every good row is in the archive once with its values, and the bad records are dead letters.
fn check(place: &Workplace) {
    let log = place.log().unwrap();
    let mut distances = BTreeMap::new();
    for (_, rows) in archived_files(log.as_ref(), &place.store().unwrap()).unwrap() {
        let ids = rows.column_by_name(codec::columns::EVENT_ID).unwrap().as_string::<i32>();
        let km = rows.column_by_name("km").unwrap().as_primitive::<arrow::datatypes::Float64Type>();
        let zone =
            arrow::compute::cast(rows.column_by_name("zone").unwrap(), &arrow::datatypes::DataType::Utf8).unwrap();
        for (row, id) in ids.iter().enumerate() {
            let found = (km.value(row), zone.as_string::<i32>().value(row).to_owned());
            assert_eq!(distances.insert(id.unwrap().to_owned(), found), None, "{id:?} is there twice");
        }
    }
    let mut wanted: BTreeMap<_, _> = (0..RECORDS)
        .map(|number| (format!("avro-{number}"), (number as f64, ["inner", "outer"][number as usize % 2].to_owned())))
        .collect();
    wanted.insert("json".to_owned(), (1.0, "inner".to_owned()));
    assert_eq!(distances, wanted);
    let letters = all(log.as_ref(), &topics::dead_letters_of(topics::INFERENCES)).unwrap();
    let mut letters: Vec<_> =
        letters.iter().map(|letter| (letter.header(REASON_HEADER).unwrap().clone(), letter.value.clone())).collect();
    letters.sort();
    let letter = |reason: &'static str, value: Vec<u8>| (reason.as_bytes().into(), Some(value.into()));
    assert_eq!(
        letters,
        [letter("truncated", framed(7, &answer(0)[..4])), letter("unknown_schema", framed(8, &answer(0)))]
    );
    println!("schemas: {RECORDS} records of Avro waited for their registry, and each was counted once");
}
