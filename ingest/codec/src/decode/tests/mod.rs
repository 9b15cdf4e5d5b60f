//! The promises of the decoder as a whole, each for both formats where both can say it.

use super::*;
use crate::columns;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, UInt16Type};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use proptest::prelude::*;
use serde_json::{Value as Tree, json};
use std::collections::BTreeMap;
use streams::log::Headers;

mod amplification;
mod avro;
mod columnar;
mod mutants;
mod privacy;
mod shared_builders;
mod spelling;
mod split;

const NOW_MS: i64 = 1_700_000_000_000;

fn schema() -> ModelSchema {
    let features = [("age".to_owned(), ColumnKind::Numeric), ("town".to_owned(), ColumnKind::Categorical)];
    ModelSchema::new(features, Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() })
}

fn source(privacy: Privacy) -> Source {
    Source { model: "bed".into(), schema: schema(), segments: vec!["site".to_owned()], privacy, mapping: None }
}

fn decoder() -> Decoder {
    Decoder::new(vec![source(Privacy::default())], Limits::default())
}

fn record(value: impl Into<Bytes>) -> Record {
    Record { offset: 7, append_time_ms: NOW_MS, key: None, value: Some(value.into()), headers: Headers::default() }
}

fn decode(decoder: &mut Decoder, value: impl Into<Bytes>) -> Decoded {
    decoder.decode_events(3, &record(value)).unwrap();
    decoder.take().unwrap()
}

fn event(id: &str) -> Tree {
    json!({
        "id": id, "time": NOW_MS - 5, "model": "bed", "version": "4", "features": {"age": 61.5, "town": "Köln"},
        "prediction": 1, "score": 0.75, "segment": {"site": "north"}, "weight": 2,
    })
}

fn with(field: &str, value: Tree) -> Tree {
    let mut event = event("bad");
    event[field] = value;
    event
}

fn without(field: &str) -> Tree {
    let mut event = event("bad");
    event.as_object_mut().unwrap().remove(field);
    event
}

fn msgpack(value: &Tree) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

fn ids(decoded: &Decoded) -> Vec<String> {
    let ids = decoded.events.iter().flat_map(|events| {
        let column = events.batch.column_by_name(columns::EVENT_ID).unwrap().as_string::<i32>();
        column.iter().map(|id| id.unwrap().to_owned()).collect::<Vec<_>>()
    });
    ids.collect()
}

fn reasons(decoded: &Decoded) -> Vec<&'static str> {
    decoded.bad.iter().map(|bad| bad.reason.name()).collect()
}

#[test]
fn an_event_becomes_the_columns_of_its_schema() {
    let decoded = decode(&mut decoder(), event("a").to_string());
    assert_eq!(reasons(&decoded), [""; 0]);
    let events = &decoded.events[0];
    assert_eq!((&*events.model, &*events.version), ("bed", "4"));
    let column = |name: &str| events.batch.column_by_name(name).unwrap();
    assert_eq!(column("age").as_primitive::<Float64Type>().value(0), 61.5);
    assert_eq!(column("town").as_string::<i32>().value(0), "Köln");
    assert_eq!(column("prediction").as_string::<i32>().value(0), "1");
    assert_eq!(column("score").as_primitive::<Float64Type>().value(0), 0.75);
    assert_eq!(column("segment.site").as_string::<i32>().value(0), "north");
    assert_eq!(column(columns::WEIGHT).as_primitive::<Float64Type>().value(0), 2.0);
    assert_eq!(column(columns::EVENT_TIME).as_primitive::<Int64Type>().value(0), NOW_MS - 5);
    assert_eq!(column(columns::OFFSET).as_primitive::<Int64Type>().value(0), 7);
    assert!(column(columns::LABEL).is_null(0) && column(columns::WRONG_TYPE).is_null(0));
}

/// Rows that are well-formed but wrong, and the reason each is refused for.
fn wrong_rows() -> Vec<(Tree, &'static str)> {
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    vec![
        (json!(5), "not_a_map"),
        (without("id"), "missing_id"),
        (with("id", json!("")), "missing_id"),
        (with("id", json!(null)), "missing_id"),
        (with("id", json!(1.5)), "wrong_type_id"),
        (with("id", json!(9_007_199_254_740_992.0)), "wrong_type_id"),
        (without("time"), "missing_time"),
        (with("time", json!("yesterday")), "wrong_type_time"),
        (with("time", json!(1.5)), "wrong_type_time"),
        (with("time", json!(i64::MAX)), "time_out_of_range"),
        (with("time", json!(NOW_MS / 1_000)), "time_out_of_range"),
        (with("time", json!(2023)), "time_out_of_range"),
        (with("time", json!(0)), "time_out_of_range"),
        (with("time", json!("0000-01-01T00:00:00Z")), "time_out_of_range"),
        (with("time", json!("9999-12-31T23:59:59Z")), "time_too_far_ahead"),
        (with("time", json!(NOW_MS + 90_000_000)), "time_too_far_ahead"),
        (without("model"), "missing_model"),
        (with("model", json!(4)), "wrong_type_model"),
        (with("model", json!("bad")), "unknown_model"),
        (without("version"), "missing_version"),
        (with("version", json!(true)), "wrong_type_version"),
        (without("features"), "missing_features"),
        (with("features", json!("x")), "wrong_type_features"),
        (with("features", json!([1])), "wrong_feature_count"),
        (with("features", json!([1, "a", 2])), "wrong_feature_count"),
        (with("features", json!({"age": deep})), "too_deep"),
        (with("features", json!({"town": "x".repeat(70_000)})), "too_large"),
        (with("prediction", json!({"a": 1})), "several_outputs"),
        (with("segment", json!("north")), "wrong_type_segment"),
        (with("segment", json!({"site": [1.5]})), "wrong_type_segment"),
        (with("sampling_rate", json!("x")), "wrong_type_weight"),
        (with("sampling_rate", json!(0)), "weight_out_of_range"),
        (with("sampling_rate", json!(1.5)), "weight_out_of_range"),
        (with("weight", json!(-1)), "weight_out_of_range"),
        (with("label", json!([0.5])), "wrong_type_label"),
    ]
}

#[test]
fn a_wrong_row_costs_itself_and_its_neighbours_arrive() {
    for (bad, reason) in wrong_rows() {
        let rows = json!([event("a"), bad, event("b")]);
        let lines = format!("{}\n{bad}\n{}\n", event("a"), event("b"));
        for body in [rows.to_string().into_bytes(), msgpack(&rows), lines.into_bytes()] {
            let decoded = decode(&mut decoder(), body);
            assert_eq!(
                (ids(&decoded), reasons(&decoded)),
                (vec!["a".to_owned(), "b".to_owned()], vec![reason]),
                "{bad}"
            );
            assert_eq!(decoded.bad[0].index, Some(1));
            assert!(decoded.bad[0].message.ends_with(decoded.bad[0].reason.mend()));
        }
    }
}

#[test]
fn broken_lines_cost_themselves_and_their_neighbours_arrive() {
    let cases: [(&[u8], &str); 10] = [
        (br#"{"id":"x","time":1700000000000,"features":"#, "truncated"),
        (br#"{"id":"x"#, "malformed"),
        (br#"{"id":"x","time":01}"#, "malformed"),
        (br#"{"id":"x",}"#, "malformed"),
        (b"garbage", "malformed"),
        (b"{\"id\":\"\xff\"}", "not_utf8"),
        (br#"{"id":"\ud800"}"#, "malformed"),
        (br#"{"id":"x","id":"y"}"#, "duplicate_field"),
        (br#"{"id":"x","model":"bed","features":{"age":1,"age":2}}"#, "duplicate_feature"),
        (br#"{"id":"x","features":{"a":{"b":tru}}}"#, "malformed"),
    ];
    for (bad, reason) in cases {
        let good = |id| event(id).to_string().into_bytes();
        let body = [good("a"), bad.to_vec(), good("b")].join(&b'\n');
        let decoded = decode(&mut decoder(), body);
        let shown = String::from_utf8_lossy(bad);
        assert_eq!(ids(&decoded), ["a", "b"], "{shown}: {:?}", decoded.bad);
        assert_eq!(reasons(&decoded), [reason], "{shown}");
    }
}

#[test]
fn a_record_without_rows_says_why() {
    let cases: [(&[u8], &str); 4] =
        [(b"", "empty"), (b"\x05", "unknown_format"), (b"\x93", "truncated"), (b"\x90\x01", "trailing_bytes")];
    for (body, reason) in cases {
        assert_eq!(reasons(&decode(&mut decoder(), body.to_vec())), [reason]);
    }
    let keyed = [&[0x81, 0x01][..], &[0x02]].concat();
    assert_eq!(reasons(&decode(&mut decoder(), keyed)), ["key_not_text"]);
    let mut few =
        Decoder::new(vec![source(Privacy::default())], Limits { max_events_per_record: 1, ..Limits::default() });
    let decoded = decode(&mut few, json!([event("a"), event("b")]).to_string());
    assert_eq!((ids(&decoded), reasons(&decoded)), (vec!["a".to_owned()], vec!["too_many_events"]));
}

#[test]
fn values_of_the_wrong_type_are_null_and_listed() {
    let decoded =
        decode(&mut decoder(), with("features", json!({"town": [1.5], "age": "old", "new": [1]})).to_string());
    let batch = &decoded.events[0].batch;
    let wrong = batch.column_by_name(columns::WRONG_TYPE).unwrap().as_list::<i32>().value(0);
    assert_eq!(wrong.as_primitive::<UInt16Type>().values(), &[0, 1]);
    assert!(batch.column_by_name("age").unwrap().is_null(0) && batch.column_by_name("town").unwrap().is_null(0));
    let unknown = UnknownFeature { model: "bed".into(), name: Some("new".to_owned()), values: 1 };
    assert_eq!(decoded.unknown_features, [unknown]);
}

#[test]
fn what_may_not_be_stored_is_in_no_batch_and_no_dead_letter() {
    let policies = [("town".to_owned(), Policy::Hash), ("age".to_owned(), Policy::Drop)].into();
    let privacy = Privacy::new(policies, Some(HashKey::new(b"key")), &schema(), &[]).unwrap();
    let mut decoder = Decoder::new(vec![source(privacy)], Limits::default());
    let bad = with("weight", json!(-1));
    let decoded = decode(&mut decoder, json!([event("a"), bad]).to_string());
    let batch = &decoded.events[0].batch;
    let town = batch.column_by_name("town").unwrap().as_string::<i32>().value(0);
    assert_eq!((town.len(), town == "Köln"), (HashKey::DIGITS, false));
    assert!(batch.column_by_name("age").unwrap().is_null(0));
    let letter = decoded.bad[0].to_dead_letter("inferences", 3, &record("x"));
    let expected = format!(r#"{{"id":"bad","time":{},"model":"bed"}}"#, NOW_MS - 5);
    assert_eq!((letter.topic.as_str(), letter.value.unwrap()), ("inferences-dlt", Bytes::from(expected)));
}

#[test]
fn a_value_that_may_be_profiled_only_is_in_no_batch_that_is_kept() {
    let privacy = Privacy::new([("age".to_owned(), Policy::ProfileOnly)].into(), None, &schema(), &[]).unwrap();
    let mut decoder = Decoder::new(vec![source(privacy)], Limits::default());
    let ages = |decoded: Decoded| decoded.events[0].batch.column_by_name("age").unwrap().null_count();
    decoder.decode_events(0, &record(event("a").to_string())).unwrap();
    assert_eq!(ages(decoder.take_storable().unwrap()), 1);
    decoder.decode_events(0, &record(event("a").to_string())).unwrap();
    assert_eq!(ages(decoder.take().unwrap()), 0, "what is profiled has it");
}

#[test]
fn what_may_not_be_stored_is_taken_out_of_an_accepted_record_and_decodes_as_before() {
    let policies = [("town".to_owned(), Policy::Hash), ("age".to_owned(), Policy::Drop)].into();
    let privacy = || Privacy::new(BTreeMap::clone(&policies), Some(HashKey::new(b"key")), &schema(), &[]).unwrap();
    let settings: MappingSettings = serde_json::from_value(json!({
        "id": "uuid", "time": "ts", "version": {"constant": 4},
        "features": {"age": "payload.0.age", "town": "payload.0.town"}, "prediction": "answer",
    }))
    .unwrap();
    let mapped = || Source { mapping: Some(Mapping::new(&settings, &schema(), &[]).unwrap()), ..source(privacy()) };
    let redactor = Redactor::new(&[mapped()], Limits::default()).unwrap();
    let foreign = json!({"uuid": "m", "ts": NOW_MS, "payload": [{"town": "Secretville", "age": 4242}], "answer": "0"});
    let rows = json!([
        with("features", json!({"town": "Secretville", "age": 4242})),
        with("features", json!([4242, "Secretville"])),
        with("features", json!({"age": 4242, "town": ["Secretville", {"a": 4242}], "other": 1})),
        foreign,
    ]);
    for body in [Bytes::from(rows.to_string()), Bytes::from(msgpack(&rows))] {
        let format = Format::of_bytes(&body).unwrap();
        let stored = redactor.redact(EventKind::Inference, format, &body);
        let text = String::from_utf8_lossy(&stored);
        assert!(!text.contains("Secretville") && !text.contains("4242"), "{text}");
        assert!(format == Format::Json || !stored.windows(2).any(|bytes| bytes == 4242u16.to_be_bytes()));
        let decode_all = |record: Record| {
            let mut decoder = Decoder::new(vec![mapped()], Limits::default());
            decoder.decode_events(0, &record).unwrap();
            let decoded = decoder.take().unwrap();
            (reasons(&decoded), decoded.events.into_iter().map(|events| events.batch).collect::<Vec<_>>())
        };
        let mut marked = record(stored);
        marked.headers = [(REDACTED_HEADER.to_owned(), Bytes::new())].into();
        assert_eq!(decode_all(marked), decode_all(record(body)));
    }
    assert!(Redactor::new(&[source(Privacy::default())], Limits::default()).is_none());
}

#[test]
fn a_number_that_is_no_time_in_milliseconds_is_told_by_what_it_looks_like() {
    for (time, looks) in [
        (2_025_i64, "a year"),
        (1_700_000_000, "seconds"),
        (1_700_000_000_000_000, "microseconds or nanoseconds"),
        (20_260_311, "lies before March 1973"),
        (-5, "lies before March 1973"),
    ] {
        let row = with("time", json!(time));
        for body in [row.to_string().into_bytes(), msgpack(&row)] {
            let decoded = decode(&mut decoder(), body);
            let message = &decoded.bad[0].message;
            assert!(message.contains(looks) && message.contains("give milliseconds"), "{time}: {message}");
        }
    }
    for early in ["1960-02-29T12:00:00Z", "0001-01-01T00:00:00Z", "1600-01-01 00:00:00"] {
        let row = with("time", json!(early));
        assert_eq!(decode(&mut decoder(), row.to_string()).events.len(), 1, "text says what it means: {early}");
    }
}

#[test]
fn a_mapping_brings_another_shape_to_the_wire_format() {
    let settings: MappingSettings = serde_json::from_value(json!({
        "id": "request.uuid", "time": {"path": "ts", "unit": "s"}, "version": {"constant": 4},
        "features": {"age": "payload.0.age", "town": {"constant": "Bonn"}}, "prediction": "answer", "segment": {"site": "at"},
    }))
    .unwrap();
    let segments = ["site".to_owned()];
    let mapping = Mapping::new(&settings, &schema(), &segments).unwrap();
    let mapped = Source { mapping: Some(mapping), ..source(Privacy::default()) };
    let mut decoder = Decoder::new(vec![mapped], Limits::default());
    let foreign =
        json!({"request": {"uuid": "m"}, "ts": 1_700_000_000.5, "payload": [{"age": 3}], "answer": "0", "at": "south"});
    let rows = json!([foreign, event("a")]);
    for body in [rows.to_string().into_bytes(), msgpack(&rows)] {
        let decoded = decode(&mut decoder, body);
        assert_eq!((ids(&decoded), reasons(&decoded)), (vec!["m".to_owned(), "a".to_owned()], vec![]));
        let batch = &decoded.events[0].batch;
        assert_eq!(batch.column_by_name("age").unwrap().as_primitive::<Float64Type>().value(0), 3.0);
        assert_eq!(
            batch.column_by_name(columns::EVENT_TIME).unwrap().as_primitive::<Int64Type>().value(0),
            NOW_MS + 500
        );
        assert_eq!(batch.column_by_name("segment.site").unwrap().as_string::<i32>().value(0), "south");
    }
}

#[test]
fn labels_need_a_label_and_keep_their_place() {
    let mut decoder = decoder();
    let label = |id: &str| json!({"id": id, "time": NOW_MS, "model": "bed", "label": true});
    let rows = json!([label("a"), {"id": "b", "time": NOW_MS, "model": "bed"}, label("c")]);
    decoder.decode_labels(1, &record(rows.to_string())).unwrap();
    let decoded = decoder.take().unwrap();
    assert_eq!((decoded.labels[0].batch.num_rows(), reasons(&decoded)), (2, vec!["missing_label"]));
}

#[test]
fn routed_records_hold_the_same_events_in_the_partitions_of_their_ids() {
    let rows: Vec<Tree> = (0..50).map(|id| event(&id.to_string())).chain([without("id")]).collect();
    let rows = json!(rows);
    let router = Router::new(&[source(Privacy::default())], Limits::default(), 4, 2_000);
    for (format, body) in [(Format::Json, rows.to_string().into_bytes()), (Format::MessagePack, msgpack(&rows))] {
        let routed = router.route(EventKind::Inference, format, &body);
        assert_eq!((routed.accepted, routed.rejected.len(), routed.rejected[0].index), (50, 1, 50));
        let mut found = Vec::new();
        for RoutedRecord { partition, value, .. } in routed.records {
            assert!(value.len() <= 2_000);
            let decoded = decode(&mut decoder(), value);
            assert_eq!(reasons(&decoded), [""; 0]);
            assert!(ids(&decoded).iter().all(|id| streams::partition::partition_of(id, 4) == partition));
            found.extend(ids(&decoded));
        }
        found.sort_by_key(|id| id.parse::<u32>().unwrap());
        assert_eq!(found, (0..50).map(|id| id.to_string()).collect::<Vec<_>>());
    }
}

fn any_value() -> impl Strategy<Value = Tree> {
    prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<u64>().prop_map(Tree::from),
        (-1e9..1e9f64).prop_map(Tree::from),
        ".{0,12}".prop_map(Tree::from),
        Just(json!([1, {"a": 2}])),
    ]
}

proptest! {
    #[test]
    fn json_and_messagepack_of_the_same_events_give_equal_batches(
        values in prop::collection::vec((any_value(), any_value(), any_value(), any::<bool>()), 1..8)
    ) {
        let rows = values.into_iter().enumerate().map(|(index, (age, town, other, late))| {
            let features = if late { json!({"town": town, "other": other, "age": age}) } else { json!([age, town]) };
            let mut event = event(&index.to_string());
            event["features"] = features;
            event
        });
        let rows = Tree::from(rows.collect::<Vec<_>>());
        let json = decode(&mut decoder(), rows.to_string());
        let packed = decode(&mut decoder(), msgpack(&rows));
        prop_assert_eq!(reasons(&json), reasons(&packed));
        prop_assert_eq!(&json.events[0].batch, &packed.events[0].batch);
        prop_assert_eq!(json.unknown_features, packed.unknown_features);
    }

    #[test]
    fn a_decoder_that_has_learnt_an_order_reads_any_other_order_alike(swapped in prop::collection::vec(any::<bool>(), 1..12)) {
        let mut learnt = decoder();
        for swap in swapped {
            let features = if swap { r#"{"town":"a","b":1,"age":2}"# } else { r#"{"age": 2, "town": "a"}"# };
            let fields = [r#""id":"a""#, r#""time":1700000000000"#, r#""model":"bed""#, r#""version":"1""#];
            let mut fields: Vec<String> = fields.map(str::to_owned).into();
            fields.insert(if swap { 0 } else { 4 }, format!("\"features\":{features}"));
            let body = format!("{{{}}}", fields.join(", "));
            let fresh = decode(&mut decoder(), body.clone());
            prop_assert_eq!(&decode(&mut learnt, body).events[0].batch, &fresh.events[0].batch);
        }
    }

    #[test]
    fn a_decoder_that_has_learnt_an_order_finds_the_same_faults_as_one_that_has_not(
        cut in 0usize..400, damage in prop::collection::vec((0usize..400, any::<u8>()), 0..3), packed: bool
    ) {
        let whole = if packed { msgpack(&event("a")) } else { event("a").to_string().into_bytes() };
        let mut body = whole.clone();
        body.truncate(cut.max(1));
        for (at, byte) in damage {
            if let Some(found) = body.get_mut(at) {
                *found = byte;
            }
        }
        let mut learnt = decoder();
        decode(&mut learnt, whole);
        let (learnt, fresh) = (decode(&mut learnt, body.clone()), decode(&mut decoder(), body));
        let faults = |decoded: &Decoded| format!("{:?}", decoded.bad);
        prop_assert_eq!(faults(&learnt), faults(&fresh));
        let batches = |decoded: &Decoded| decoded.events.iter().map(|events| events.batch.clone()).collect::<Vec<_>>();
        prop_assert_eq!(batches(&learnt), batches(&fresh));
    }

    #[test]
    fn cut_or_damaged_bytes_never_panic_and_rows_before_them_arrive(
        cut in 0usize..1000, damage in prop::collection::vec((0usize..1000, any::<u8>()), 0..4), packed: bool
    ) {
        let rows = json!([event("a"), event("b"), event("c")]);
        let mut body = if packed { msgpack(&rows) } else { rows.to_string().into_bytes() };
        let one = if packed { msgpack(&event("a")).len() } else { event("a").to_string().len() } + 1;
        body.truncate(cut.min(body.len()));
        let mut first = body.len();
        for (at, byte) in damage {
            if at < body.len() && body[at] != byte {
                body[at] = byte;
                first = first.min(at);
            }
        }
        let decoded = decode(&mut decoder(), body);
        let whole = (first / one).min(3);
        // Damage to the first byte can make the record a different format, or its array a different length.
        prop_assume!(first > 0);
        prop_assert!(ids(&decoded).len() >= whole.min(if packed { 3 } else { 2 }), "{:?}", decoded.bad);
    }

    #[test]
    fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let router = Router::new(&[source(Privacy::default())], Limits::default(), 4, 2_000);
        router.route(EventKind::Feedback, Format::MessagePack, &body);
        router.route(EventKind::Label, Format::Json, &body);
        decode(&mut decoder(), body);
    }
}
