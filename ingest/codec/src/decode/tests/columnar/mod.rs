//! The promises of the decoder and the router for Arrow IPC streams.

use super::*;
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, LargeStringArray, ListArray, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use std::sync::Arc;

mod properties;

pub(super) type Columns = Vec<(&'static str, ArrayRef)>;

pub(super) fn batch(columns: &Columns) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let arrays = columns.iter().map(|(_, column)| column.clone()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub(super) fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

pub(super) fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(super) fn floats(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Values that no category is named by.
fn lists(values: &[Option<f64>]) -> ArrayRef {
    let lists = values.iter().map(|value| value.map(|value| vec![Some(value)]));
    Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
}

pub(super) fn dictionary(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<DictionaryArray<Int32Type>>())
}

fn structure(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields =
        fields.into_iter().map(|(name, column)| (Arc::new(Field::new(name, column.data_type().clone(), true)), column));
    Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
}

/// As many events as there are ids, each as [`event`] has it.
pub(super) fn events(ids: &[&str]) -> Columns {
    let rows = ids.len();
    let same = |text| texts(&vec![Some(text); rows]);
    vec![
        ("id", Arc::new(StringArray::from(ids.to_vec()))),
        ("time", Arc::new(Int64Array::from(vec![NOW_MS - 5; rows]))),
        ("model", dictionary(&vec![Some("bed"); rows])),
        ("version", same("4")),
        ("prediction", Arc::new(Int8Array::from(vec![1; rows]))),
        ("score", Arc::new(Float32Array::from(vec![0.75; rows]))),
        ("weight", Arc::new(Int32Array::from(vec![2; rows]))),
        ("features.age", floats(&vec![Some(61.5); rows])),
        ("features.town", dictionary(&vec![Some("Köln"); rows])),
        ("segment.site", same("north")),
    ]
}

/// The same events with one column replaced or added.
fn with_column(ids: &[&str], name: &'static str, column: ArrayRef) -> Columns {
    let mut columns = events(ids);
    columns.retain(|(known, _)| *known != name);
    columns.push((name, column));
    columns
}

fn decoded(columns: &Columns) -> Decoded {
    decode(&mut decoder(), stream(&[batch(columns)]))
}

#[test]
fn a_stream_decodes_as_the_same_events_in_json_do() {
    let expected = decode(&mut decoder(), json!([event("a"), event("b")]).to_string());
    let mut nested = events(&["a", "b"]);
    let mut take = |name: &str| nested.remove(nested.iter().position(|(known, _)| *known == name).unwrap()).1;
    let features = structure(vec![("town", take("features.town")), ("age", take("features.age"))]);
    let segment = structure(vec![("site", take("segment.site"))]);
    nested.extend([("features", features), ("segment", segment)]);
    for columns in [events(&["a", "b"]), nested] {
        let found = decoded(&columns);
        assert_eq!(reasons(&found), [""; 0], "{:?}", found.bad);
        assert_eq!(found.events[0].batch, expected.events[0].batch);
    }
    let parts = [batch(&events(&["a"])), batch(&events(&["b"]))];
    assert_eq!(decode(&mut decoder(), stream(&parts)).events[0].batch, expected.events[0].batch);
}

#[test]
fn times_and_texts_are_taken_in_every_width_and_encoding() {
    let expected = decode(&mut decoder(), event("7").to_string());
    let micros = TimestampMicrosecondArray::from(vec![(NOW_MS - 5) * 1000 + 999]);
    let shown = texts(&[Some("2023-11-14T23:13:19.995+01:00")]);
    let unsigned = UInt64Array::from(vec![(NOW_MS - 5) as u64]);
    for time in [
        Arc::new(micros.clone()) as ArrayRef,
        Arc::new(micros.with_timezone("Europe/Berlin")),
        shown,
        Arc::new(unsigned),
    ] {
        assert_eq!(decoded(&with_column(&["7"], "time", time)).events[0].batch, expected.events[0].batch);
    }
    for values in [DataType::LargeUtf8, DataType::Utf8View] {
        let town: ArrayRef = Arc::new(StringArray::from(vec!["Köln"]));
        let keys = UInt32Array::from(vec![0]);
        let town = DictionaryArray::new(keys, cast(&town, &values).unwrap());
        assert_eq!(
            decoded(&with_column(&["7"], "features.town", Arc::new(town))).events[0].batch,
            expected.events[0].batch
        );
    }
    let ids: [ArrayRef; 4] = [
        Arc::new(LargeStringArray::from(vec!["7"])),
        Arc::new(StringViewArray::from(vec!["7"])),
        Arc::new(Int8Array::from(vec![7])),
        Arc::new(UInt64Array::from(vec![7])),
    ];
    for id in ids {
        assert_eq!(decoded(&with_column(&["7"], "id", id)).events[0].batch, expected.events[0].batch);
    }
}

#[test]
fn a_value_names_one_category_whatever_the_type_of_its_column() {
    let decimal = |values: Vec<i128>, scale| {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()) as ArrayRef
    };
    let columns: [(ArrayRef, [&str; 2]); 8] = [
        (floats(&[Some(16.0), Some(0.1)]), ["16", "0.1"]),
        (Arc::new(Float32Array::from(vec![16.0, 0.1])), ["16", "0.1"]),
        (decimal(vec![1600, 10], 2), ["16", "0.1"]),
        (
            decimal(vec![1 << 100, (1 << 100) + 1], 0),
            ["1267650600228229401496703205376", "1267650600228229401496703205377"],
        ),
        (Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1])), ["18446744073709551615", "18446744073709551614"]),
        (Arc::new(BooleanArray::from(vec![true, false])), ["true", "false"]),
        (texts(&[Some("16.0"), Some("True")]), ["16", "true"]),
        (dictionary(&[Some("16.0"), Some("True")]), ["16", "true"]),
    ];
    for (column, names) in columns {
        for field in ["features.town", "segment.site", "prediction", "label"] {
            let found = decoded(&with_column(&["a", "b"], field, column.clone()));
            assert_eq!(reasons(&found), [""; 0], "{field} {column:?}: {:?}", found.bad);
            let name = field.strip_prefix("features.").unwrap_or(field);
            let found = found.events[0].batch.column_by_name(name).unwrap().as_string::<i32>();
            assert_eq!([found.value(0), found.value(1)], names, "{field} {:?}", column.data_type());
        }
    }
}

#[test]
fn ids_that_no_float_holds_stay_apart() {
    let decimals = Decimal128Array::from(vec![1 << 100, (1 << 100) + 1]).with_precision_and_scale(38, 0).unwrap();
    let columns: [(ArrayRef, [&str; 2]); 3] = [
        (Arc::new(decimals), ["1267650600228229401496703205376", "1267650600228229401496703205377"]),
        (Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1])), ["18446744073709551615", "18446744073709551614"]),
        (floats(&[Some(7.0), Some(8.0)]), ["7", "8"]),
    ];
    for (column, expected) in columns {
        assert_eq!(ids(&decoded(&with_column(&["a", "b"], "id", column.clone()))), expected);
        // Beside a row that has to be looked at by itself.
        let mut columns = with_column(&["a", "b"], "id", column);
        columns.push(("sampling_rate", floats(&[Some(1.0), Some(7.0)])));
        assert_eq!(ids(&decoded(&columns)), &expected[..1]);
    }
}

#[test]
fn a_bad_row_of_a_stream_costs_itself_and_its_neighbours_arrive() {
    let long = "x".repeat(70_000);
    let fine = Some("4");
    let times = |bad| Arc::new(Int64Array::from(vec![Some(NOW_MS), bad, Some(NOW_MS)])) as ArrayRef;
    let cases: Vec<(&str, ArrayRef, &str)> = vec![
        ("id", texts(&[Some("a"), None, Some("b")]), "missing_id"),
        ("id", texts(&[Some("a"), Some(""), Some("b")]), "missing_id"),
        ("id", texts(&[Some("a"), Some(&long), Some("b")]), "too_large"),
        ("time", times(None), "missing_time"),
        ("time", times(Some(i64::MAX)), "time_out_of_range"),
        ("time", times(Some(NOW_MS + 90_000_000)), "time_too_far_ahead"),
        ("time", texts(&[Some("2023-11-14"), Some("yesterday"), Some("2023-11-14")]), "wrong_type_time"),
        ("model", texts(&[Some("bed"), None, Some("bed")]), "missing_model"),
        ("model", dictionary(&[Some("bed"), Some("bad"), Some("bed")]), "unknown_model"),
        ("version", texts(&[fine, None, fine]), "missing_version"),
        ("version", texts(&[fine, Some(&long), fine]), "too_large"),
        ("features.town", texts(&[None, Some(&long), None]), "too_large"),
        ("features.age", texts(&[None, Some(&long), None]), "too_large"),
        ("segment.site", lists(&[None, Some(1.5), None]), "wrong_type_segment"),
        ("sampling_rate", floats(&[Some(1.0), Some(0.0), None]), "weight_out_of_range"),
        ("sampling_rate", texts(&[None, Some("x"), None]), "wrong_type_weight"),
        ("weight", floats(&[Some(0.0), Some(f64::NAN), None]), "weight_out_of_range"),
        ("label", lists(&[None, Some(0.5), None]), "wrong_type_label"),
        ("prediction", structure(vec![("a", floats(&[None, Some(0.5), None]))]), "several_outputs"),
    ];
    for (name, column, reason) in cases {
        let name: &'static str = name;
        let mut columns = with_column(&["a", "bad", "b"], name, column);
        if name == "prediction" {
            let nulls = Some(vec![false, true, false].into());
            let parent = columns.last().unwrap().1.clone();
            let (fields, arrays, _) = parent.as_struct().clone().into_parts();
            columns.last_mut().unwrap().1 = Arc::new(StructArray::new(fields, arrays, nulls));
        }
        let found = decoded(&columns);
        assert_eq!((ids(&found), reasons(&found)), (vec!["a".to_owned(), "b".to_owned()], vec![reason]), "{name}");
        assert_eq!(found.bad[0].index, Some(1));
        let letter: Tree = serde_json::from_slice(&found.bad[0].bytes).unwrap_or_default();
        assert!(name == "weight" || letter["features"].is_object(), "{name}: {:?}", found.bad[0].bytes);
    }
}

#[test]
fn values_of_a_columns_wrong_type_are_null_and_listed() {
    let mut columns = with_column(&["a", "b"], "features.town", lists(&[Some(1.5), None]));
    columns.push(("features.new", Arc::new(BooleanArray::from(vec![Some(true), None]))));
    let found = decoded(&columns);
    let batch = &found.events[0].batch;
    let wrong = batch.column_by_name(columns::WRONG_TYPE).unwrap().as_list::<i32>();
    assert_eq!(wrong.value(0).as_primitive::<UInt16Type>().values(), &[1]);
    assert!(wrong.is_null(1) && batch.column_by_name("town").unwrap().null_count() == 2);
    let unknown = UnknownFeature { model: "bed".into(), name: Some("new".to_owned()), values: 1 };
    assert_eq!(found.unknown_features, [unknown]);
}

#[test]
fn what_is_neither_finite_nor_there_is_kept_apart() {
    let found =
        decoded(&with_column(&["a", "b", "c"], "features.age", floats(&[Some(f64::NAN), Some(f64::INFINITY), None])));
    let ages = found.events[0].batch.column_by_name("age").unwrap().as_primitive::<Float64Type>();
    assert!(ages.value(0).is_nan() && ages.value(1) == f64::INFINITY && ages.is_null(2));
}

#[test]
fn features_in_schema_order_are_read_from_a_list() {
    let mut columns = events(&["a", "b"]);
    columns.retain(|(name, _)| !name.starts_with("features"));
    let rows = [Some(vec![Some(61.5), None]), Some(vec![Some(1.0)])];
    columns.push(("features", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows))));
    let found = decoded(&columns);
    assert_eq!((ids(&found), reasons(&found)), (vec!["a".to_owned()], vec!["wrong_feature_count"]));
}

#[test]
fn labels_come_as_columns_too() {
    let mut columns = events(&["a", "b", "c"]);
    columns.truncate(3);
    columns.push(("label", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))));
    let mut decoder = decoder();
    decoder.decode_labels(1, &record(stream(&[batch(&columns)]))).unwrap();
    let found = decoder.take().unwrap();
    assert_eq!((found.labels[0].batch.num_rows(), reasons(&found)), (2, vec!["missing_label"]));
    let labels = found.labels[0].batch.column_by_name(columns::LABEL).unwrap().as_string::<i32>();
    assert_eq!((labels.value(0), labels.value(1)), ("true", "false"));
}

#[test]
fn a_stream_that_cannot_be_read_is_one_bad_record() {
    let whole = stream(&[batch(&events(&["a", "b"]))]);
    let mut trailing = whole.clone();
    trailing.push(0);
    let mut twice = events(&["a"]);
    twice.push(("features.age", floats(&[None])));
    let mut beside = events(&["a"]);
    beside.push(("score.1", floats(&[None])));
    let interval = new_null_array(&DataType::Duration(arrow::datatypes::TimeUnit::Second), 1);
    let town = "x".repeat(60_000);
    let bomb = dictionary(&vec![Some(town.as_str()); 20_000]);
    let ids: Vec<_> = (0..20_000).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let cases = [
        (whole[..whole.len() / 2].to_vec(), "truncated"),
        (trailing, "trailing_bytes"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "truncated"),
        (b"\xff\xff\xff\xff\x08\0\0\0garbage!".to_vec(), "malformed"),
        (stream(&[batch(&twice)]), "duplicate_feature"),
        (stream(&[batch(&beside)]), "duplicate_field"),
        (stream(&[batch(&with_column(&["a"], "note", interval))]), "unread_type"),
        (stream(&[batch(&with_column(&ids, "features.town", bomb))]), "too_large"),
        (compressed(), "compressed"),
    ];
    for (body, reason) in cases {
        let found = decode(&mut decoder(), body);
        assert_eq!((found.events.len(), reasons(&found)), (0, vec![reason]), "{:?}", found.bad[0].message);
        assert_eq!(found.bad[0].index, None);
    }
    let few = Limits { max_events_per_record: 1, ..Limits::default() };
    let mut few = Decoder::new(vec![source(Privacy::default())], few);
    assert_eq!(reasons(&decode(&mut few, whole)), ["too_many_events"]);
}

/// A stream that says its bodies are compressed; there is nothing in them, because nothing here could compress it.
fn compressed() -> Vec<u8> {
    let empty = batch(&vec![("time", new_null_array(&DataType::Int64, 0))]);
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &empty.schema(), options).unwrap();
    writer.write(&empty).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_mapping_reads_columns_of_another_shape() {
    let settings: MappingSettings = serde_json::from_value(json!({
        "id": "uuid", "time": "at", "version": {"constant": 4},
        "features": {"age": "payload.age", "town": {"constant": "Bonn"}}, "prediction": "answer",
    }))
    .unwrap();
    let mapped =
        Source { mapping: Some(Mapping::new(&settings, &schema(), &[]).unwrap()), ..source(Privacy::default()) };
    let mut decoder = Decoder::new(vec![mapped.clone()], Limits::default());
    let columns: Columns = vec![
        ("uuid", texts(&[Some("m"), Some("n")])),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![NOW_MS * 1_000, NOW_MS * 1_000 + 1_000]))),
        ("payload", structure(vec![("age", floats(&[Some(3.0), Some(4.0)]))])),
        ("answer", texts(&[Some("0"), Some("1")])),
    ];
    let body = stream(&[batch(&columns)]);
    let found = decode(&mut decoder, body.clone());
    assert_eq!((ids(&found), reasons(&found)), (vec!["m".to_owned(), "n".to_owned()], vec![]));
    let routed = Router::new(&[mapped], Limits::default(), 1, 10_000).route(EventKind::Inference, Format::Arrow, &body);
    assert_eq!((routed.accepted, routed.records[0].format), (2, Format::Json));
    let again = decode(&mut decoder, routed.records[0].value.clone());
    assert_eq!(again.events[0].batch, found.events[0].batch);
}

#[test]
fn rows_go_to_the_partitions_of_their_ids_as_streams() {
    let ids: Vec<_> = (0..50).map(|id| id.to_string()).collect();
    let mut given: Vec<_> = ids.iter().map(|id| Some(id.as_str())).collect();
    given.push(None);
    let columns = with_column(&vec!["x"; 51], "id", texts(&given));
    let router = Router::new(&[source(Privacy::default())], Limits::default(), 4, 4_000);
    let routed = router.route(EventKind::Inference, Format::Arrow, &stream(&[batch(&columns)]));
    assert_eq!((routed.accepted, routed.rejected.len(), routed.rejected[0].index), (50, 1, 50));
    let mut found = Vec::new();
    for RoutedRecord { partition, format, value } in routed.records {
        assert!(value.len() <= 4_000 && format == Format::Arrow);
        let decoded = decode(&mut decoder(), value);
        assert_eq!(reasons(&decoded), [""; 0]);
        let own = super::ids(&decoded);
        assert!(own.iter().all(|id| streams::partition::partition_of(id, 4) == partition));
        found.extend(own);
    }
    found.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(found, ids);
    let small = Router::new(&[source(Privacy::default())], Limits::default(), 4, 100);
    let refused = small.route(EventKind::Inference, Format::Arrow, &stream(&[batch(&events(&["a", "b"]))]));
    assert_eq!((refused.accepted, refused.rejected.len(), refused.rejected[1].reason), (0, 2, Reason::TooLarge));
}

#[test]
fn what_may_not_be_stored_is_in_no_routed_stream_and_decodes_as_if_it_were() {
    let policies = [("town".to_owned(), Policy::Hash), ("age".to_owned(), Policy::Drop)].into();
    let privacy = Privacy::new(policies, Some(HashKey::new(b"key")), &schema(), &[]).unwrap();
    let sources = [source(privacy)];
    let mut columns = with_column(&["a", "b"], "features.town", dictionary(&[Some("Secretville"), None]));
    columns.retain(|(name, _)| *name != "features.age");
    columns.push(("features.age", floats(&[Some(4242.25), Some(4242.25)])));
    let body = stream(&[batch(&columns)]);
    let decoder = || Decoder::new(sources.to_vec(), Limits::default());
    let plain = decode(&mut decoder(), body.clone());
    let routed = Router::new(&sources, Limits::default(), 1, 10_000).route(EventKind::Inference, Format::Arrow, &body);
    let stored = &routed.records[0].value;
    assert!(!stored.windows(11).any(|bytes| bytes == b"Secretville"));
    assert!(!stored.windows(8).any(|bytes| bytes == 4242.25f64.to_le_bytes()));
    let found = decode(&mut decoder(), stored.clone());
    assert_eq!(found.events[0].batch, plain.events[0].batch);
    assert_eq!(
        found.events[0].batch.column_by_name("town").unwrap().as_string::<i32>().value(0).len(),
        HashKey::DIGITS
    );
    // A neighbour that only the decoder can refuse, and a mapping that might have read it.
    let ahead = Int64Array::from(vec![NOW_MS, NOW_MS + 90_000_000]);
    columns.retain(|(name, _)| *name != "time");
    columns.push(("time", Arc::new(ahead)));
    let settings = serde_json::from_value(json!({"id": "uuid", "time": "at"})).unwrap();
    let mapping = Some(Mapping::new(&settings, &schema(), &[]).unwrap());
    let mapped = [Source { mapping, ..sources[0].clone() }];
    let routed = Router::new(&mapped, Limits::default(), 1, 10_000);
    let routed = routed.route(EventKind::Inference, Format::Arrow, &stream(&[batch(&columns)]));
    let beside = decode(&mut Decoder::new(mapped.to_vec(), Limits::default()), routed.records[0].value.clone());
    assert_eq!((ids(&beside), beside.bad.len()), (vec!["a".to_owned()], 1));
    let town = |decoded: &Decoded| decoded.events[0].batch.column_by_name("town").unwrap().slice(0, 1);
    assert_eq!(&town(&beside), &town(&found));
    let bad = decode(&mut decoder(), stream(&[batch(&with_column(&["a"], "time", texts(&[Some("Secretville")])))]));
    assert_eq!(bad.bad[0].bytes, Bytes::from(r#"{"id":"a","time":null,"model":"bed"}"#));
}
