//! Laws of Arrow streams, over rows of which some columns are as they should be and the others anything.

use super::*;
use arrow::compute::concat_batches;
use std::collections::{BTreeMap, BTreeSet};

/// A column and what it says in JSON.
#[derive(Debug, Clone)]
struct Sent {
    column: ArrayRef,
    json: Vec<Option<Tree>>,
}

fn sent<T: Clone>(values: &[Option<T>], column: ArrayRef, json: impl Fn(T) -> Tree) -> Sent {
    Sent { column, json: values.iter().cloned().map(|value| value.map(&json)).collect() }
}

fn any_column(rows: usize) -> impl Strategy<Value = Sent> {
    let optional = |values| prop::collection::vec(prop::option::weighted(0.8, values), rows);
    prop_oneof![
        optional(any::<i64>().boxed()).prop_map(|v| sent(&v, Arc::new(Int64Array::from(v.clone())), Tree::from)),
        optional(any::<i64>().boxed()).prop_map(|v| {
            let v: Vec<_> = v.into_iter().map(|v| v.map(|v| v as i8)).collect();
            sent(&v, Arc::new(Int8Array::from(v.clone())), Tree::from)
        }),
        optional(any::<i64>().boxed()).prop_map(|v| {
            let v: Vec<_> = v.into_iter().map(|v| v.map(|v| v as u64)).collect();
            sent(&v, Arc::new(UInt64Array::from(v.clone())), Tree::from)
        }),
        prop::collection::vec(prop::option::weighted(0.8, -1e9..1e9f64), rows).prop_map(|v| sent(
            &v,
            Arc::new(Float64Array::from(v.clone())),
            Tree::from
        )),
        prop::collection::vec(prop::option::weighted(0.8, -1e9..1e9f32), rows).prop_map(|v| sent(
            &v,
            Arc::new(Float32Array::from(v.clone())),
            |v| Tree::from(f64::from(v))
        )),
        prop::collection::vec(prop::option::weighted(0.8, any::<bool>()), rows).prop_map(|v| sent(
            &v,
            Arc::new(BooleanArray::from(v.clone())),
            Tree::from
        )),
        (prop::collection::vec(prop::option::weighted(0.8, ".{0,12}"), rows), 0..4usize).prop_map(|(v, form)| {
            let plain = StringArray::from(v.clone());
            let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
            let forms = [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary];
            sent(&v, cast(&plain, &forms[form]).unwrap(), Tree::from)
        }),
        prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(any::<i32>(), 0..3)), rows).prop_map(
            |v| {
                let lists = v.iter().map(|list| list.as_ref().map(|list| list.iter().copied().map(Some)));
                sent(&v, Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)), Tree::from)
            }
        ),
        Just(Sent { column: new_null_array(&DataType::Null, rows), json: vec![None; rows] }),
    ]
}

const FIELDS: [&str; 12] = [
    "id",
    "time",
    "version",
    "prediction",
    "score",
    "weight",
    "sampling_rate",
    "label",
    "features.age",
    "features.town",
    "features.other",
    "segment.site",
];

/// Rows of which about half of the columns are as they should be, and the rest anything.
fn any_rows() -> impl Strategy<Value = (usize, Vec<(&'static str, Sent)>)> {
    (1..7usize).prop_flat_map(|rows| {
        let columns = prop::collection::vec(prop::option::weighted(0.35, any_column(rows)), FIELDS.len());
        (Just(rows), columns).prop_map(|(rows, columns)| {
            let fields = FIELDS.into_iter().zip(columns);
            let columns = fields.map(|(field, column)| (field, column.unwrap_or_else(|| usual(field, rows))));
            (rows, columns.collect())
        })
    })
}

fn usual(field: &str, rows: usize) -> Sent {
    let named: Vec<_> = (0..rows).map(|row| Some(format!("r{row}"))).collect();
    let text = sent(&named, Arc::new(StringArray::from(named.clone())), Tree::from);
    let times = vec![Some(NOW_MS - 5); rows];
    let ones = vec![Some(0.5); rows];
    match field {
        "time" => sent(&times, Arc::new(Int64Array::from(times.clone())), Tree::from),
        "score" | "weight" | "sampling_rate" | "features.age" => {
            sent(&ones, Arc::new(Float64Array::from(ones.clone())), Tree::from)
        }
        _ => text,
    }
}

/// The rows as JSON, fields in the order of the columns.
fn lines(rows: usize, columns: &[(&str, Sent)]) -> String {
    let part = |row: usize, prefix: &str| {
        let own =
            columns.iter().filter(|(name, _)| name.starts_with(prefix) && (!prefix.is_empty() || !name.contains('.')));
        let own = own.filter_map(|(name, sent)| Some((&name[prefix.len()..], sent.json[row].as_ref()?)));
        own.map(|(name, value)| format!("{}:{value}", Tree::from(name))).collect::<Vec<_>>().join(",")
    };
    let line = |row| {
        let envelope = [part(row, ""), r#""model":"bed""#.to_owned()].into_iter().filter(|part| !part.is_empty());
        let envelope = envelope.collect::<Vec<_>>().join(",");
        format!("{{{envelope},\"features\":{{{}}},\"segment\":{{{}}}}}", part(row, "features."), part(row, "segment."))
    };
    (0..rows).map(line).collect::<Vec<_>>().join("\n")
}

/// A row as a tree; not read from its text, because serde_json rounds some numbers.
fn tree(row: usize, columns: &[(&str, Sent)]) -> Tree {
    let mut tree = json!({"model": "bed", "features": {}, "segment": {}});
    for (name, value) in columns.iter().filter_map(|(name, sent)| Some((name, sent.json[row].as_ref()?))) {
        match name.split_once('.') {
            Some((field, inner)) => tree[field][inner] = value.clone(),
            None => tree[*name] = value.clone(),
        }
    }
    tree
}

fn places(decoded: &Decoded) -> Vec<(Option<u32>, &'static str)> {
    decoded.bad.iter().map(|bad| (bad.index, bad.reason.name())).collect()
}

fn batches(decoded: &Decoded) -> Vec<(String, RecordBatch)> {
    let mut batches: Vec<_> =
        decoded.events.iter().map(|events| (events.version.to_string(), events.batch.clone())).collect();
    batches.sort_by(|a, b| a.0.cmp(&b.0));
    batches
}

/// What the records give when decoded one by one, put together.
fn one_by_one(records: &[Record]) -> Decoded {
    let mut decoder = decoder();
    let mut all = Decoded::default();
    for record in records {
        decoder.decode_events(3, record).unwrap();
        let decoded = decoder.take().unwrap();
        all.events.extend(decoded.events);
        all.bad.extend(decoded.bad);
        all.unknown_features.extend(decoded.unknown_features);
    }
    all
}

/// The rows of each version, in the order in which they were decoded.
fn by_version(decoded: &Decoded) -> BTreeMap<String, RecordBatch> {
    let versions: BTreeSet<_> = decoded.events.iter().map(|events| events.version.to_string()).collect();
    let batches = |version: &str| {
        let own = decoded.events.iter().filter(|events| &*events.version == version).map(|events| &events.batch);
        concat_batches(&own.clone().next().unwrap().schema(), own).unwrap()
    };
    versions.into_iter().map(|version| (version.clone(), batches(&version))).collect()
}

fn unknown_values(decoded: &Decoded) -> u64 {
    decoded.unknown_features.iter().map(|unknown| unknown.values).sum()
}

/// Something between two streams.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Json,
    Torn,
    OtherColumns,
    Early,
}

fn anything_between() -> impl Strategy<Value = Between> {
    use Between::{Early, Json, Nothing, OtherColumns, Torn};
    prop_oneof![6 => Just(Nothing), 1 => Just(Json), 1 => Just(Torn), 1 => Just(OtherColumns), 1 => Just(Early)]
}

/// A stream for each row, and what is to be between them, one offset after the other.
fn records_of(rows: &RecordBatch, between: &[Between]) -> Vec<Record> {
    let mut values: Vec<(Vec<u8>, i64)> = Vec::new();
    for (row, between) in (0..rows.num_rows()).zip(between) {
        let own = stream(&[rows.slice(row, 1)]);
        match between {
            Between::Nothing => {}
            Between::Json => values.push((event(&format!("json {row}")).to_string().into(), NOW_MS)),
            Between::Torn => values.push((own[..own.len() - 9].to_vec(), NOW_MS)),
            Between::OtherColumns => values.push((stream(&[batch(&events(&["other"]))]), NOW_MS)),
            // The log took it so early that its time lies too far ahead.
            Between::Early => values.push((own.clone(), NOW_MS - 3 * 24 * 3_600_000)),
        }
        values.push((own, NOW_MS));
    }
    let record = |(offset, (value, append_time_ms))| Record { offset, append_time_ms, ..record(value) };
    (7..).zip(values).map(record).collect()
}

proptest! {
    #[test]
    fn streams_that_are_decoded_together_give_what_each_gives_by_itself(
        (rows, columns) in any_rows(), between in prop::collection::vec(anything_between(), 7)
    ) {
        let mut arrow: Columns = columns.iter().map(|(name, sent)| (*name, sent.column.clone())).collect();
        arrow.push(("model", dictionary(&vec![Some("bed"); rows])));
        let records = records_of(&batch(&arrow), &between);
        let expected = one_by_one(&records);
        let mut decoder = decoder();
        records.iter().for_each(|record| decoder.decode_events(3, record).unwrap());
        let found = decoder.take().unwrap();
        prop_assert_eq!(by_version(&found), by_version(&expected));
        let bad = |decoded: &Decoded| decoded.bad.iter().map(|bad| (bad.offset, bad.index, bad.reason)).collect::<Vec<_>>();
        prop_assert_eq!(bad(&found), bad(&expected));
        prop_assert_eq!(unknown_values(&found), unknown_values(&expected));
    }

    #[test]
    fn json_messagepack_and_arrow_of_the_same_events_give_equal_batches((rows, columns) in any_rows()) {
        let text = lines(rows, &columns);
        let mut arrow: Columns = columns.iter().map(|(name, sent)| (*name, sent.column.clone())).collect();
        arrow.push(("model", texts(&vec![Some("bed"); rows])));
        let json = decode(&mut decoder(), text.clone());
        let trees = Tree::from((0..rows).map(|row| tree(row, &columns)).collect::<Vec<_>>());
        let packed = decode(&mut decoder(), msgpack(&trees));
        let found = decoded(&arrow);
        prop_assert_eq!(batches(&json), batches(&packed));
        prop_assert_eq!(batches(&json), batches(&found), "{}", text);
        prop_assert_eq!(places(&json), places(&found), "{}", text);
        prop_assert_eq!(json.unknown_features, found.unknown_features);
    }

    #[test]
    fn routing_changes_nothing_of_what_a_stream_decodes_to((rows, columns) in any_rows()) {
        let mut arrow: Columns = columns.iter().map(|(name, sent)| (*name, sent.column.clone())).collect();
        arrow.push(("model", dictionary(&vec![Some("bed"); rows])));
        let body = stream(&[batch(&arrow)]);
        let direct = decode(&mut decoder(), body.clone());
        let router = Router::new(&[source(Privacy::default())], Limits::default(), 1, 1 << 20);
        let routed = router.route(EventKind::Inference, Format::Arrow, &body);
        let mut decoder = decoder();
        let mut refused = routed.rejected.len();
        let mut found = Vec::new();
        for RoutedRecord { value, .. } in routed.records {
            let decoded = decode(&mut decoder, value);
            refused += decoded.bad.len();
            found.extend(ids(&decoded));
        }
        let (mut expected, bad) = (ids(&direct), direct.bad.len());
        expected.sort();
        found.sort();
        prop_assert_eq!((found, refused), (expected, bad));
    }

    #[test]
    fn cut_or_damaged_streams_never_panic(
        cut in 0usize..6000, damage in prop::collection::vec((0usize..6000, any::<u8>()), 0..6), nested: bool
    ) {
        let mut columns = events(&["a", "b", "c"]);
        if nested {
            columns.push(("features.list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)]); 3]))));
            columns.push(("note", structure(vec![("a", Arc::new(StringViewArray::from(vec!["x", "a view beyond twelve bytes", "y"])))])));
        }
        let mut body = stream(&[batch(&columns), batch(&columns)]);
        body.truncate(cut.max(4).min(body.len()));
        for (at, byte) in damage {
            if at >= 4 && at < body.len() {
                body[at] = byte;
            }
        }
        let router = Router::new(&[source(Privacy::default())], Limits::default(), 4, 2_000);
        router.route(EventKind::Inference, Format::Arrow, &body);
        let found = decode(&mut decoder(), body);
        prop_assert!(found.events.is_empty() || found.bad.iter().all(|bad| bad.index.is_some()));
    }
}
