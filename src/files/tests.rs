//! The promises of the sources, from files that the tests write themselves.

use super::*;
use crate::files::typed::{Wanted, columns};
use ::parquet::arrow::ArrowWriter;
use arrow::array::{
    Array, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, StringArray, UInt64Array,
};
use arrow::datatypes::Float64Type;
use detectors::schema::{ColumnKind, ModelSchema, Task};
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const CSV: &str = "id,amount,country,class\na,1.5,DE,1\nb,,\"FR, south\",0\nc,NaN,,1\n";

fn write(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, content).unwrap();
    file
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

fn wanted() -> [Wanted; 2] {
    let want = |name: &str, kind| Wanted { from: name.into(), name: name.into(), kind };
    [want("amount", ColumnKind::Numeric), want("country", ColumnKind::Categorical)]
}

/// Amounts and countries of a file, as text.
fn read(file: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for rows in open(file).unwrap() {
        let typed = columns(file, &rows.unwrap(), &wanted()).unwrap();
        let (amounts, countries) = (typed.column(0).as_primitive::<Float64Type>(), typed.column(1).as_string::<i32>());
        lines.extend(amounts.iter().zip(countries).map(|(a, c)| format!("{a:?} {c:?}")));
    }
    lines
}

fn parquet_bytes() -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([
        ("amount", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)])) as Arc<dyn Array>),
        ("country", Arc::new(StringArray::from(vec![Some("DE"), Some("FR, south"), None]))),
    ]);
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// A Parquet file of one column, named `code`.
fn parquet_of(folder: &Path, name: &str, column: Arc<dyn Array>) -> PathBuf {
    let batch = RecordBatch::try_from_iter_with_nullable([("code", column, true)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    write(folder, &format!("{name}.parquet"), &writer.into_inner().unwrap())
}

#[test]
fn a_value_names_one_category_and_one_id_in_every_format_and_type() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = [Wanted { from: "code".into(), name: "code".into(), kind: ColumnKind::Categorical }];
    let decimals = |values: Vec<i128>, scale| {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()) as Arc<dyn Array>
    };
    let of = |name: &str, column| parquet_of(folder.path(), name, column);
    let cases = [
        (write(folder.path(), "codes.csv", b"x,code\n1,16.0\n1,\n1,True\n"), vec![Some("16"), None, Some("true")]),
        (
            write(folder.path(), "codes.jsonl", b"{\"code\":16.0}\n{\"code\":18446744073709551615}\n{}\n"),
            vec![Some("16"), Some("18446744073709551615"), None],
        ),
        (write(folder.path(), "truths.jsonl", b"{\"code\":true}\n{\"code\":\"True\"}\n"), vec![Some("true"); 2]),
        (of("floats", Arc::new(Float64Array::from(vec![16.0, f64::NAN, 0.5]))), vec![Some("16"), None, Some("0.5")]),
        (of("singles", Arc::new(Float32Array::from(vec![16.0, 0.1]))), vec![Some("16"), Some("0.1")]),
        (
            of("unsigned", Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 60, 7]))),
            vec![Some("18446744073709551615"), Some("1152921504606846976"), Some("7")],
        ),
        (of("decimals", decimals(vec![1600, 150], 2)), vec![Some("16"), Some("1.5")]),
        (
            of("long", decimals(vec![1 << 100, (1 << 100) + 1], 0)),
            vec![Some("1267650600228229401496703205376"), Some("1267650600228229401496703205377")],
        ),
        (of("truths", Arc::new(BooleanArray::from(vec![true, false]))), vec![Some("true"), Some("false")]),
    ];
    for (file, names) in cases {
        let rows = open(&file).unwrap().next().unwrap().unwrap();
        let typed = columns(&file, &rows, &wanted).unwrap();
        assert_eq!(typed.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), names, "{}", file.display());
        let column = Column::find(&file, &rows.batch, "code").unwrap();
        let ids: Vec<_> = (0..names.len()).map(|row| column.cell(row).category()).collect();
        assert_eq!(ids.iter().map(Option::as_deref).collect::<Vec<_>>(), names, "{}", file.display());
    }
}

#[test]
fn every_format_gives_the_same_rows_packed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let json = "{\"amount\": 1.5, \"country\": \"DE\"}\n{\"country\": \"FR, south\"}\n{\"amount\": \"NaN\", \"country\": null}\n";
    let parquet = parquet_bytes();
    for (name, content) in [("r.csv", CSV.as_bytes()), ("r.jsonl", json.as_bytes()), ("r.parquet", &parquet)] {
        for file in [write(folder.path(), name, content), write(folder.path(), &format!("{name}.gz"), &gzip(content))] {
            let expected = ["Some(1.5) Some(\"DE\")", "None Some(\"FR, south\")", "Some(NaN) None"];
            assert_eq!(read(&file), expected, "{}", file.display());
        }
    }
}

#[test]
fn wanted_columns_are_the_same_alone_as_among_all() {
    let folder = tempfile::tempdir().unwrap();
    let parquet = parquet_bytes();
    for (name, content) in [("r.csv", CSV.as_bytes()), ("r.parquet", &parquet)] {
        let file = write(folder.path(), name, content);
        let mut alone = Files::from(file.as_path()).open_columns(&["country", "not there"]).unwrap();
        assert_eq!(alone.schema().fields().len(), 1, "{name}");
        let alone = alone.next().unwrap().unwrap().batch;
        let all = open(&file).unwrap().next().unwrap().unwrap().batch;
        assert_eq!(alone.num_columns(), 1, "{name}");
        assert_eq!(alone.column_by_name("country"), all.column_by_name("country"), "{name}");
    }
}

#[test]
fn rows_keep_their_numbers_across_batches_and_gzip_members() {
    let folder = tempfile::tempdir().unwrap();
    let mut packed = gzip(b"amount,country\n");
    packed.extend(gzip("1,x\n".repeat(BATCH_ROWS).as_bytes()));
    packed.extend(gzip(b"2,y\n"));
    let batches: Vec<_> = open(&write(folder.path(), "r.csv.gz", &packed)).unwrap().map(Result::unwrap).collect();
    let places: Vec<_> = batches.iter().map(|rows| (rows.first_row, rows.batch.num_rows())).collect();
    assert_eq!(places, [(0, BATCH_ROWS), (BATCH_ROWS as u64, 1)]);
}

#[test]
fn a_broken_file_is_answered_with_its_name_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let gz = gzip(CSV.as_bytes());
    let table: [(&str, &[u8], &str); 8] = [
        ("r.txt", b"x", "must end in .csv"),
        ("empty.csv", b"", "the file is empty"),
        ("twice.csv", b"a,a\n1,2\n", "names column `a` twice"),
        ("ragged.csv", b"amount,country\n1,x\n2\n", "line 3"),
        ("text.csv", b"amount,country\n1,x\nabc,x\n", "row 1, column `amount`: Text(\"abc\") is not a number"),
        ("missing.csv", b"amount,land\n1,x\n", "no column `country`: its columns are `amount`, `land`"),
        ("cut.csv.gz", &gz[..gz.len() - 12], "cut.csv.gz"),
        ("not.parquet", b"PAR1nothing", "not a complete Parquet file"),
    ];
    for (name, content, expected) in table {
        let file = write(folder.path(), name, content);
        let error = open(&file)
            .and_then(|mut rows| rows.try_for_each(|rows| columns(&file, &rows?, &wanted()).map(drop)))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
}

/// The names of a file's columns, and its rows with commas between the values.
fn table(file: &Path) -> (Vec<String>, Vec<String>) {
    let rows = Files::from(file).open().unwrap();
    let names = rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for rows in rows {
        let batch = rows.unwrap().batch;
        let columns: Vec<_> = names.iter().map(|name| Column::find(file, &batch, name).unwrap()).collect();
        let line =
            |row| columns.iter().map(|column| column.cell(row).category().unwrap_or_default()).collect::<Vec<_>>();
        lines.extend((0..batch.num_rows()).map(|row| line(row).join("|")));
    }
    (names, lines)
}

#[test]
fn csv_as_programs_and_countries_write_it_is_read_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &str, &str); 6] = [
        ("an index without a name", ",a,b\n0,1,x\n1,2,y\n", "column 1 has no name"),
        ("row names without a header", "a,b\n1,1,x\n2,2,y\n", "column 1 has no name"),
        ("a comma at the end of every line", "a,b,\n1,x,\n2,y,\n", "column 3 has no name"),
        ("a comma at the end of every row", "a,b\n1,x,\n2,y,\n", "column 3 has no name"),
        ("semicolons", "a;b\n1;x\n2;y\n", "separated by `;`"),
        ("tabs", "a\tb\n1\tx\n2\ty\n", "separated by tabs"),
    ];
    for (name, text, noted) in cases {
        let file = write(folder.path(), "r.csv", text.as_bytes());
        let wanted = (vec!["a".to_owned(), "b".to_owned()], vec!["1|x".to_owned(), "2|y".to_owned()]);
        assert_eq!(table(&file), wanted, "{name}");
        let notes = open(&file).unwrap().notes().join("; ");
        assert!(notes.contains(noted), "{name}: {notes}");
    }
    let file = write(folder.path(), "r.csv", b"a;b\n1.234,5;x, y\n-2,25;z\n");
    assert_eq!(table(&file).1, ["1234.5|x, y", "-2.25|z"]);
    assert!(open(&file).unwrap().notes().join("; ").contains("decimals are written with a comma"));
}

#[test]
fn an_array_of_objects_is_read_as_an_object_a_line_and_never_repeated_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let rows = r#"{"a": 1, "b": "x, [y] \"z\""}, {"a": 2.5, "c": [1,
        2]}"#;
    for text in [format!("[{rows}]"), format!("\n [\n {rows} \n]\n")] {
        let file = write(folder.path(), "r.json", text.as_bytes());
        let rows = open(&file).unwrap();
        assert_eq!(rows.schema().fields().len(), 3, "{text}");
        let batch = rows.map(|rows| rows.unwrap().batch).next().unwrap();
        let texts = Column::find(&file, &batch, "b").unwrap();
        assert_eq!(texts.cell(0), Cell::Text("x, [y] \"z\""));
        assert_eq!(texts.cell(1), Cell::Null);
        assert_eq!(Column::find(&file, &batch, "a").unwrap().cell(1).number(), Some(2.5));
    }
    let secret = format!("[[{}]]", "\"a secret\", ".repeat(1_000) + "1");
    let file = write(folder.path(), "r.json", secret.as_bytes());
    let error = open(&file).unwrap_err().to_string();
    assert!(error.len() < 400, "{} bytes: {error}", error.len());
}

#[test]
fn files_and_folders_are_one_table_with_the_columns_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts/day=1");
    std::fs::create_dir_all(&parts).unwrap();
    let first = write(&parts, "part-0.csv", b"a,b\n1,x\n");
    write(&parts, "part-1.jsonl", b"{\"b\": \"y\", \"c\": 7}\n");
    write(&parts, "_SUCCESS", b"");
    let whole = folder.path().join("parts");
    assert_eq!(table(&whole).0, ["a", "b", "c"]);
    assert_eq!(table(&whole).1, ["1|x|", "|y|7"]);
    let notes = open(&whole).unwrap().notes().join("; ");
    assert!(notes.contains("part-1.jsonl lacks `a`"), "{notes}");
    let twice = Files::new(&[first.clone(), first], Reading::default()).unwrap();
    let places: Vec<_> = twice.open().unwrap().map(|rows| rows.unwrap().first_row).collect();
    assert_eq!(places, [0, 1], "rows are numbered through");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(open(&empty).unwrap_err().to_string().contains("holds no file of rows"));
}

#[test]
fn a_word_for_a_missing_value_is_none_among_numbers_and_anywhere_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "r.csv", b"amount,country\n1.5,DE\nNA,NA\n#N/A,-\nnull,unknown\n");
    let rows = ["Some(1.5) Some(\"DE\")", "None Some(\"NA\")", "None Some(\"-\")", "None Some(\"unknown\")"];
    assert_eq!(read(&file), rows);
    let reading = Reading { missing: vec!["unknown".to_owned(), "NA".to_owned()], ..Reading::default() };
    let rows = Files::new(std::slice::from_ref(&file), reading).unwrap().open().unwrap().next().unwrap().unwrap();
    let countries = Column::find(&file, &rows.batch, "country").unwrap();
    let found: Vec<_> = (0..4).map(|row| countries.cell(row)).collect();
    assert_eq!(found, [Cell::Text("DE"), Cell::Null, Cell::Text("-"), Cell::Null]);
}

#[test]
fn rows_out_of_the_order_of_time_are_sorted_and_keep_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "r.csv", b"at\n2026-01-03\nsoon\n2026-01-01\n2026-01-02\n2026-01-01\n");
    let lateness = Lateness { disorder: Duration::from_secs(3_600), watermark_ms: Some(1_767_225_600_001) };
    let order = TimeOrder::of(open(&file).unwrap(), &file, "at", lateness).unwrap();
    assert_eq!((order.rows, order.before), (4, 2));
    assert_eq!(order.first_behind, Some((2, Duration::from_secs(2 * 86_400))));
    let batches: Vec<_> = sorted(open(&file).unwrap(), &file, "at").unwrap().map(Result::unwrap).collect();
    let numbers: Vec<_> =
        batches.iter().flat_map(|rows| (0..rows.batch.num_rows()).map(|row| rows.number(row))).collect();
    assert_eq!(numbers, [2, 4, 3, 0, 1]);
    assert_eq!(batches[0].batch.slice(1, 2).num_columns(), 2);
}

#[test]
fn amounts_are_no_identifiers_though_they_are_all_different() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "salary,number,falling,long,amount,code,empty\n".to_owned();
    for row in 0..200_u64 {
        let mixed = row * 7_919 % 200;
        text += &format!(
            "{},{mixed},{},{},{},{},\n",
            20_000 + mixed * 351 + row,
            900_000 - row * 37,
            40_000_000_000 + mixed * 91_234_567,
            if row == 17 { "NA".to_owned() } else { format!("{}.5", mixed * 3) },
            if row % 50 == 0 { "x".to_owned() } else { (mixed % 7).to_string() },
        );
    }
    let inferred = infer(&write(folder.path(), "r.csv", text.as_bytes()).into(), 1_000).unwrap();
    let kinds: Vec<_> = inferred.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    use InferredKind::{Empty, Identifier, Numeric};
    let expected = [
        ("salary", Numeric),
        ("number", Identifier),
        ("falling", Identifier),
        ("long", Identifier),
        ("amount", Numeric),
        ("code", Numeric),
        ("empty", Empty),
    ];
    assert_eq!(kinds, expected);
    let of = |name: &str| inferred.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!((of("amount").nulls, of("amount").missing.iter().next().map(String::as_str)), (1, Some("NA")));
    assert_eq!((of("code").odd, of("code").nulls), (4, 0));
}

#[test]
fn kinds_times_and_identifiers_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "user,amount,country,at,seconds,day,void\n".to_owned();
    for row in 0..100 {
        text += &format!(
            "u{row},{}.5,{},2026-01-02 03:04:{:02},{},{}/1/2026,\n",
            row * 7,
            ["a", "b"][row % 2],
            row % 60,
            1_700_000_000 + row,
            row % 28 + 1
        );
    }
    let inferred = infer(&write(folder.path(), "r.csv", text.as_bytes()).into(), 1_000).unwrap();
    let kinds: Vec<_> = inferred.columns.iter().map(|column| column.kind).collect();
    let expected = [
        InferredKind::Identifier,
        InferredKind::Numeric,
        InferredKind::Categorical,
        InferredKind::Time(TimeFormat::Text),
        InferredKind::Time(TimeFormat::Seconds),
        InferredKind::Date,
        InferredKind::Empty,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(inferred.rows, 100);
}

fn spec(file: &Path, label_delay: LabelDelay) -> EncoderSpec {
    let task = Task::Binary { positive: "1".into(), negative: "0".into() };
    let features = [("amount".to_owned(), ColumnKind::Numeric), ("country".to_owned(), ColumnKind::Categorical)];
    EncoderSpec {
        file: file.to_owned(),
        model: "fraud".into(),
        version: "v1".into(),
        schema: ModelSchema::new(features, task),
        renamed: Default::default(),
        id: EventId::Column("id".into()),
        time: EventTime::Synthetic { start_ms: 1_700_000_001_000, interval: Duration::from_secs(1) },
        label: Some("class".into()),
        label_delay,
        prediction: None,
        scores: Vec::new(),
        segments: vec![("land".into(), "country".into())],
        partitions: 1,
    }
}

/// A record's events as JSON.
fn decode(record: &EncodedRecord) -> Vec<String> {
    let events: Vec<serde_json::Value> = read_msgpack(&mut record.value.as_ref());
    assert_eq!(events.len() as u32, record.events);
    events.iter().map(ToString::to_string).collect()
}

fn read_msgpack(bytes: &mut &[u8]) -> Vec<serde_json::Value> {
    let count = rmp::decode::read_array_len(bytes).unwrap();
    let events = (0..count).map(|_| msgpack_value(bytes)).collect();
    assert!(bytes.is_empty());
    events
}

fn msgpack_value(bytes: &mut &[u8]) -> serde_json::Value {
    use rmp::Marker;
    match Marker::from_u8(bytes[0]) {
        Marker::FixMap(_) => {
            let entries = rmp::decode::read_map_len(bytes).unwrap();
            (0..entries)
                .map(|_| (msgpack_value(bytes).as_str().unwrap().to_owned(), msgpack_value(bytes)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Marker::FixStr(_) => {
            let (text, rest) = rmp::decode::read_str_from_slice(*bytes).unwrap();
            *bytes = rest;
            text.into()
        }
        Marker::F64 => {
            let number = rmp::decode::read_f64(bytes).unwrap();
            serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Into::into)
        }
        Marker::Null => {
            rmp::decode::read_nil(bytes).unwrap();
            serde_json::Value::Null
        }
        _ => rmp::decode::read_int::<i64, _>(bytes).unwrap().into(),
    }
}

#[test]
fn rows_become_events_of_the_wire_format_and_labels_follow_in_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "r.csv", CSV.as_bytes());
    let mut encoder = EventEncoder::new(spec(&file, LabelDelay::Rows(2)));
    let rows = open(&file).unwrap().next().unwrap().unwrap();
    let encoded = encoder.encode(&rows, None).unwrap();
    let rest = encoder.finish();
    let lines = [&encoded.events, &encoded.labels, &rest.labels]
        .map(|records| records.iter().flat_map(decode).collect::<Vec<_>>().join("\n"));
    expect_test::expect![[r#"
        {"features":{"amount":1.5,"country":"DE"},"id":"a","model":"fraud","segment":{"land":"DE"},"time":1700000001000,"version":"v1"}
        {"features":{"amount":null,"country":"FR, south"},"id":"b","model":"fraud","segment":{"land":"FR, south"},"time":1700000002000,"version":"v1"}
        {"features":{"amount":"NaN","country":null},"id":"c","model":"fraud","segment":{"land":null},"time":1700000003000,"version":"v1"}
        --
        {"id":"a","label":"1","model":"fraud","time":1700000003000}
        --
        {"id":"b","label":"0","model":"fraud","time":1700000003000}
        {"id":"c","label":"1","model":"fraud","time":1700000003000}"#]].assert_eq(&lines.join("\n--\n"));
}

#[test]
fn labels_follow_in_event_time_wherever_batches_end() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("id,amount,country,class\n{}", "x,1,DE,1\n".repeat(100));
    let file = write(folder.path(), "r.csv", text.as_bytes());
    let rows = open(&file).unwrap().next().unwrap().unwrap();
    let labels = |sizes: &[usize]| {
        let mut encoder = EventEncoder::new(spec(&file, LabelDelay::Time(Duration::from_secs(7))));
        let mut start = 0;
        let mut found = Vec::new();
        for size in sizes {
            let part = RowBatch { first_row: start as u64, batch: rows.batch.slice(start, *size) };
            found.extend(encoder.encode(&part, None).unwrap().labels.iter().flat_map(decode));
            start += size;
        }
        let sent = found.len();
        found.extend(encoder.finish().labels.iter().flat_map(decode));
        (sent, found)
    };
    let (sent, whole) = labels(&[100]);
    assert_eq!((sent, whole.len()), (93, 100));
    assert_eq!(labels(&[1, 30, 69]).1, whole);
}

#[test]
fn a_time_that_cannot_be_read_costs_its_row_unless_it_is_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let encode = |times: &str| {
        let text = format!("id,amount,country,class,at\n{times}");
        let file = write(folder.path(), "r.csv", text.as_bytes());
        let spec = EncoderSpec { time: EventTime::Column("at".into()), ..spec(&file, LabelDelay::Rows(0)) };
        let rows = open(&file).unwrap().next().unwrap().unwrap();
        EventEncoder::new(spec).encode(&rows, None)
    };
    let good = encode("a,1,x,1,2026-01-01T00:00:00Z\nb,1,x,1,soon\n").unwrap();
    assert!(decode(&good.events[0])[1].contains("\"time\":\"soon\""));
    assert_eq!(good.labels[0].events, 1);
    let error = encode("a,1,x,1,soon\n").unwrap_err().to_string();
    assert!(error.contains("row 0, column `at`") && error.contains("is not a time"), "{error}");
    for small in ["2025", "20260311", "17", "-3"] {
        let error = encode(&format!("a,1,x,1,{small}\n")).unwrap_err().to_string();
        assert!(error.contains("so small a number is a year"), "{small}: {error}");
    }
    let early = encode("a,1,x,1,1960-01-02\n").unwrap();
    assert!(decode(&early.events[0])[0].contains("\"time\":\"1960-01-02T00:00:00.000Z\""), "as text it is a time");
}
