//! What splitting promises: the parts decode to what the record would have, each row in its partition.

use super::*;
use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::writer::StreamWriter;
use std::sync::Arc;
use streams::partition::partition_of;

const PARTITIONS: u32 = 4;
const HOME: PartitionId = 3;

fn splitter(source: Source) -> Splitter {
    Splitter::new(vec![source], Limits::default(), EventKind::Inference, PARTITIONS)
}

fn split(record: &Record) -> Split {
    splitter(source(Privacy::default())).split(record, HOME).unwrap()
}

/// What was decoded, without the places in the log: rows and reasons, sorted.
type SplitRows = (Vec<String>, Vec<&'static str>);

fn told(decoded: &Decoded) -> SplitRows {
    let mut rows = Vec::new();
    for EventBatch { version, batch, .. } in &decoded.events {
        let of_place = [columns::PARTITION, columns::OFFSET, columns::INDEX];
        let kept: Vec<_> = (0..batch.num_columns())
            .filter(|column| !of_place.contains(&batch.schema_ref().field(*column).name().as_str()))
            .collect();
        let kept = batch.project(&kept).unwrap();
        rows.extend((0..kept.num_rows()).map(|row| format!("{version} {:?}", kept.slice(row, 1).columns())));
    }
    let mut reasons = reasons(decoded);
    rows.sort();
    reasons.sort_unstable();
    (rows, reasons)
}

/// What the parts decode to; every row is in the partition of its id.
fn of_parts(decoder: &mut Decoder, split: &Split) -> SplitRows {
    let (mut rows, mut reasons) = (Vec::new(), Vec::new());
    for Part { partition, value, headers } in &split.parts {
        let part = Record { value: value.clone(), headers: headers.clone().into(), ..record("") };
        decoder.decode_events(*partition, &part).unwrap();
        let decoded = decoder.take().unwrap();
        for id in ids(&decoded) {
            assert_eq!(partition_of(&id, PARTITIONS), *partition, "{id} is elsewhere");
        }
        let told = told(&decoded);
        rows.extend(told.0);
        reasons.extend(told.1);
    }
    rows.sort();
    reasons.sort_unstable();
    (rows, reasons)
}

#[track_caller]
fn splits_alike(record: &Record) -> Split {
    let split = split(record);
    decoder_takes_alike(&mut decoder(), record, &split);
    split
}

#[track_caller]
fn decoder_takes_alike(decoder: &mut Decoder, record: &Record, split: &Split) {
    decoder.decode_events(0, record).unwrap();
    let whole = told(&decoder.take().unwrap());
    assert_eq!(of_parts(decoder, split), whole, "{split:?}");
}

/// Ids of one partition.
fn ids_of(partition: PartitionId) -> impl Iterator<Item = String> {
    (0..).map(|number| format!("id-{number}")).filter(move |id| partition_of(id, PARTITIONS) == partition)
}

fn id_of(partition: PartitionId) -> String {
    ids_of(partition).next().unwrap()
}

/// As many events as there are ids, with a dictionary in which each row has a value of its own.
fn stream(ids: &[String]) -> Vec<u8> {
    let towns: DictionaryArray<Int32Type> = ids.iter().map(|id| Some(id.as_str())).collect();
    let same = |text: &str| Arc::new(StringArray::from(vec![text; ids.len()])) as ArrayRef;
    let ages: Float64Array = (0..ids.len()).map(|row| (row % 3 > 0).then_some(row as f64)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(ids.to_vec()))),
        ("time", Arc::new(Int64Array::from_iter_values((0..ids.len() as i64).map(|row| NOW_MS - row)))),
        ("model", same("bed")),
        ("version", same("4")),
        ("features.age", Arc::new(ages)),
        ("features.town", Arc::new(towns)),
        ("features.more", same("unknown")),
    ];
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch.slice(0, ids.len() / 2)).unwrap();
    writer.write(&batch.slice(ids.len() / 2, ids.len() - ids.len() / 2)).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_record_whose_rows_belong_to_one_partition_stays_as_it_is() {
    let ids: Vec<_> = ids_of(2).take(3).collect();
    let rows = Tree::from(ids.iter().map(|id| event(id)).chain([json!({"id": 5}), json!(7)]).collect::<Vec<_>>());
    for value in [rows.to_string().into_bytes(), msgpack(&rows), stream(&ids), event(&ids[0]).to_string().into_bytes()]
    {
        let record = Record { headers: [("trace".to_owned(), Bytes::from_static(b"1"))].into(), ..record(value) };
        let split = splits_alike(&record);
        let (value, headers) = (record.value.clone(), record.headers.to_vec());
        assert_eq!(split.parts, [Part { partition: 2, value, headers }]);
    }
}

#[test]
fn what_cannot_be_read_goes_home_as_it_is() {
    let records = [
        record(""),
        Record { value: None, ..record("") },
        record("oops"),
        record(stream(&[id_of(0), id_of(1)])[..200].to_vec()),
        record("{\"id\": \"cut"),
        record(json!([without("id"), without("model")]).to_string()),
    ];
    for record in records {
        let split = splits_alike(&record);
        let (value, headers) = (record.value.clone(), record.headers.to_vec());
        assert_eq!(split.parts, [Part { partition: HOME, value, headers }]);
    }
}

#[test]
fn a_frame_that_is_broken_keeps_its_record_whole() {
    let rows = Tree::from(vec![event(&id_of(0)), event(&id_of(1))]);
    let json = rows.to_string().into_bytes();
    let trailing = [msgpack(&event(&id_of(0))), msgpack(&event(&id_of(1)))].concat();
    for value in [json[..json.len() - 1].to_vec(), trailing] {
        let record = record(value);
        let found = split(&record);
        assert_eq!(found.parts.len(), 1, "{found:?}");
        assert_eq!(found.parts[0].value, record.value);
    }
}

#[test]
fn the_latest_time_of_a_row_is_told() {
    let mut rows = [event(&id_of(0)), event(&id_of(1)), event(&id_of(2)), without("id")];
    for (row, ahead) in rows.iter_mut().zip([-30, -10, -20, 900]) {
        row["time"] = json!(NOW_MS + ahead);
    }
    let rows = Tree::from(rows.to_vec());
    assert_eq!(split(&record(rows.to_string())).latest_ms, Some(NOW_MS - 10));
    assert_eq!(split(&record(stream(&[id_of(0), id_of(1)]))).latest_ms, Some(NOW_MS));
    assert_eq!(split(&record("oops")).latest_ms, None);
}

#[test]
fn rows_that_a_mapping_reads_go_where_the_mapped_id_belongs() {
    let settings = serde_json::from_value(json!({
        "id": "request.key", "time": "request.at", "version": {"constant": "4"}, "model": {"constant": "bed"},
        "features": "request.body",
    }));
    let mapping = Mapping::new(&settings.unwrap(), &schema(), &["site".to_owned()]).unwrap();
    let source = Source { mapping: Some(mapping), ..source(Privacy::default()) };
    let request = |partition| {
        let request = json!({"key": id_of(partition), "at": NOW_MS, "body": {"age": 1}});
        json!({"id": id_of(3), "request": request})
    };
    let record = record(json!([request(0), request(1), event(&id_of(2))]).to_string());
    let split = splitter(source.clone()).split(&record, HOME).unwrap();
    let mut partitions: Vec<_> = split.parts.iter().map(|part| part.partition).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2]);
    decoder_takes_alike(&mut Decoder::new(vec![source], Limits::default()), &record, &split);
}

#[test]
fn values_that_may_not_be_stored_are_in_no_part() {
    let policies = BTreeMap::from([("age".to_owned(), Policy::Drop), ("town".to_owned(), Policy::Hash)]);
    let key = HashKey::new(b"a key of thirty-two bytes or more");
    let privacy = Privacy::new(policies, Some(key), &schema(), &[]).unwrap();
    let source = source(privacy);
    let rows = json!([event(&id_of(0)), event(&id_of(1))]);
    let streamed = stream(&[format!("secret-{}", id_of(0)), format!("secret-{}", id_of(1))]);
    let broken = [b"\xff\xff\xff\xff", "Köln".as_bytes()].concat();
    for value in [rows.to_string().into_bytes(), msgpack(&rows), streamed, broken, event("a").to_string().into_bytes()]
    {
        let record = record(value);
        let split = splitter(source.clone()).split(&record, HOME).unwrap();
        for part in &split.parts {
            let value = part.value.as_deref().unwrap();
            for private in ["61.5", "Köln"] {
                let is_there = value.windows(private.len()).any(|bytes| bytes == private.as_bytes());
                assert!(!is_there, "{private} in {:?}", String::from_utf8_lossy(value));
            }
        }
        let decoder = &mut Decoder::new(vec![source.clone()], Limits::default());
        decoder.decode_events(0, &record).unwrap();
        let (rows, reasons) = told(&decoder.take_storable().unwrap());
        let mut found = Vec::new();
        let mut bad = 0;
        for part in &split.parts {
            let part = Record { value: part.value.clone(), headers: part.headers.clone().into(), ..super::record("") };
            decoder.decode_events(0, &part).unwrap();
            let told = told(&decoder.take_storable().unwrap());
            found.extend(told.0);
            bad += told.1.len();
        }
        found.sort();
        assert_eq!((found, bad), (rows, reasons.len()));
    }
}

#[test]
fn a_record_larger_than_any_that_can_be_written_is_split_though_its_rows_belong_together() {
    let mut rows: Vec<_> = ids_of(1).take(3).map(|id| event(&id)).collect();
    rows.iter_mut().for_each(|row| row["note"] = json!("x".repeat(7 << 20)));
    let split = splits_alike(&record(Tree::from(rows).to_string()));
    assert_eq!(split.parts.len(), 2);
    assert!(split.parts.iter().all(|part| part.value.as_ref().unwrap().len() <= 15 << 20));
}

/// A row that may be anything, and the one of its kind.
fn any_row() -> impl Strategy<Value = Tree> {
    prop_oneof![
        3 => (0..500u32, -9.0..9.0f64).prop_map(|(id, age)| {
            let mut event = event(&format!("id-{id}"));
            event["features"]["age"] = json!(age);
            event
        }),
        1 => (0..wrong_rows().len()).prop_map(|row| wrong_rows().swap_remove(row).0),
        1 => Just(json!([[1, 2], {"id": "within"}])),
    ]
}

proptest! {
    #[test]
    fn the_parts_hold_every_row_once_with_its_values(
        rows in prop::collection::vec(any_row(), 0..12), form in 0..3
    ) {
        let tree = Tree::from(rows.clone());
        let value = match form {
            0 => tree.to_string().into_bytes(),
            1 => msgpack(&tree),
            // Behind a frame.
            _ => [&[0, 0, 0, 0, 9], tree.to_string().as_bytes()].concat(),
        };
        splits_alike(&record(value));
    }

    #[test]
    fn lines_that_are_damaged_cost_themselves(
        rows in prop::collection::vec((0..500u32, prop::option::weighted(0.3, 1..60usize)), 1..10)
    ) {
        let line = |(id, cut): (u32, Option<usize>)| {
            let mut line = event(&format!("id-{id}")).to_string().into_bytes();
            line.truncate(cut.unwrap_or(line.len()));
            line
        };
        let lines: Vec<_> = rows.into_iter().map(line).collect();
        let record = record(lines.join(&b'\n'));
        let mut decoder = decoder();
        let whole = told(&decode(&mut decoder, record.value.clone().unwrap()));
        let parts = of_parts(&mut decoder, &split(&record));
        // What a line that was cut is called depends on what follows it.
        prop_assert_eq!((parts.0, parts.1.len()), (whole.0, whole.1.len()));
    }

    #[test]
    fn rows_of_a_stream_keep_their_values(numbers in prop::collection::vec(0..500u32, 1..20)) {
        let ids: Vec<_> = numbers.iter().map(|number| format!("id-{number}")).collect();
        splits_alike(&record(stream(&ids)));
    }

    #[test]
    fn damaged_bytes_never_panic_and_lose_no_row(
        damage in prop::collection::vec((0usize..900, any::<u8>()), 0..4), packed: bool
    ) {
        let rows = Tree::from((0..4).map(|partition| event(&id_of(partition))).collect::<Vec<_>>());
        let mut body = if packed { msgpack(&rows) } else { rows.to_string().into_bytes() };
        for (at, byte) in damage {
            if let Some(found) = body.get_mut(at) {
                *found = byte;
            }
        }
        let record = record(body);
        let found = split(&record);
        decoder().decode_events(0, &record).unwrap();
        let whole = decode(&mut decoder(), record.value.clone().unwrap());
        let (mut rows, mut bad) = (Vec::new(), 0);
        for part in &found.parts {
            let part = decode(&mut decoder(), part.value.clone().unwrap());
            rows.extend(ids(&part));
            bad += part.bad.len();
        }
        let mut expected = ids(&whole);
        expected.sort();
        rows.sort();
        prop_assert_eq!((rows, bad), (expected, whole.bad.len()), "{:?}", found);
    }
}

#[test]
fn rows_of_lists_and_of_other_shapes_are_split_as_events() {
    let lists = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
    let ids = [id_of(0), id_of(1)];
    let features = arrow::array::ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some([Some(1.0), Some(5.0)]),
        Some([Some(2.0), Some(5.0)]),
    ]);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("time", DataType::Int64, true),
        Field::new("model", DataType::Utf8, true),
        Field::new("version", DataType::Int64, true),
        Field::new("features", lists, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids.to_vec())),
        Arc::new(Int64Array::from(vec![NOW_MS; 2])),
        Arc::new(StringArray::from(vec!["bed"; 2])),
        Arc::new(Int64Array::from(vec![4; 2])),
        Arc::new(features),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let split = splits_alike(&record(writer.into_inner().unwrap()));
    assert_eq!(split.parts.iter().map(|part| part.partition).collect::<Vec<_>>(), [0, 1]);
}
