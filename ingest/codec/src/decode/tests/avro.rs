//! The promises of the decoder for records of Avro, and for what stands in a frame.

use super::*;
use crate::schemas::fake::{Answers, FakeRegistry};
use crate::schemas::{RegistrySettings, SchemaId, Schemas};

const GUID: [u8; 16] = *b"0123456789abcdef";
const FRAME: [u8; 5] = [0, 0, 0, 0, 7];

fn field(name: &str, kind: Tree) -> Tree {
    json!({"name": name, "type": kind})
}

fn record_of(name: &str, fields: Vec<Tree>) -> Tree {
    json!({"type": "record", "name": name, "fields": fields})
}

/// The schema of [`event`], with one field of another type.
fn schema_with(name: &str, kind: Tree) -> Tree {
    let features = vec![field("age", json!(["null", "double"])), field("town", json!(["null", "string"]))];
    let mut fields = vec![
        field("id", json!("string")),
        field("time", json!({"type": "long", "logicalType": "timestamp-millis"})),
        field("model", json!("string")),
        field("version", json!("string")),
        field("features", record_of("Features", features)),
        field("prediction", json!("int")),
        field("score", json!("float")),
        field("segment", record_of("Segment", vec![field("site", json!("string"))])),
        field("weight", json!("long")),
    ];
    for own in &mut fields {
        if own["name"] == name {
            own["type"] = kind.clone();
        }
    }
    record_of("Event", fields)
}

pub(super) fn event_schema() -> Tree {
    schema_with("", json!(null))
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

fn text(text: &str) -> Vec<u8> {
    [long(text.len() as i64), text.into()].concat()
}

fn double(value: f64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// The fields of [`event`] in the schema's order.
fn fields(id: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("id", text(id)),
        ("time", long(NOW_MS - 5)),
        ("model", text("bed")),
        ("version", text("4")),
        ("features", [long(1), double(61.5), long(1), text("Köln")].concat()),
        ("prediction", long(1)),
        ("score", 0.75_f32.to_le_bytes().to_vec()),
        ("segment", text("north")),
        ("weight", long(2)),
    ]
}

fn avro_with(id: &str, name: &str, bytes: Vec<u8>) -> Vec<u8> {
    let fields = fields(id).into_iter();
    fields.flat_map(|(own, value)| if own == name { bytes.clone() } else { value }).collect()
}

pub(super) fn avro(id: &str) -> Vec<u8> {
    avro_with(id, "", Vec::new())
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&FRAME, bytes].concat()
}

fn reading(schema: &Tree) -> Decoder {
    let ids = [SchemaId::Number(7), SchemaId::Guid(GUID)];
    decoder().with_schemas(Arc::new(Schemas::default().with_avro(&schema.to_string(), &ids).unwrap()))
}

fn with_header(name: &str, header: &[u8], value: Vec<u8>) -> Record {
    Record { headers: [(name.to_owned(), Bytes::copy_from_slice(header))].into(), ..record(value) }
}

fn decode_record(decoder: &mut Decoder, record: &Record) -> Decoded {
    decoder.decode_events(3, record).unwrap();
    decoder.take().unwrap()
}

fn expected(id: &str) -> RecordBatch {
    decode(&mut decoder(), event(id).to_string()).events.remove(0).batch
}

#[track_caller]
fn assert_decodes(decoder: &mut Decoder, record: &Record, expected: &RecordBatch) {
    let found = decode_record(decoder, record);
    assert_eq!(reasons(&found), [""; 0], "{:?}", found.bad);
    assert_eq!(found.events[0].batch, *expected);
}

#[test]
fn a_record_decodes_as_the_same_event_in_json_does_in_every_frame() {
    let schema = event_schema().to_string();
    let ids = [SchemaId::Number(7), SchemaId::Guid(GUID)];
    let schemas = Schemas::default().with_avro(&schema, &ids).unwrap();
    let mut framing = decoder().with_schemas(Arc::new(schemas));
    // The fingerprint as the reference implementation in Java and in Python has it for this schema's canonical form.
    let fingerprint = rabin(&canonical(&event_schema()));
    let by_guid = [&[1], &GUID[..]].concat();
    let records = [
        record(framed(&avro("a"))),
        record([by_guid.clone(), avro("a")].concat()),
        record([vec![0xc3, 0x01], fingerprint.to_le_bytes().to_vec(), avro("a")].concat()),
        with_header(SCHEMA_ID_HEADER, &by_guid, avro("a")),
        with_header(SCHEMA_ID_HEADER, &FRAME, avro("a")),
        with_header("content-type", b"application/avro", framed(&avro("a"))),
    ];
    for record in &records {
        assert_decodes(&mut framing, record, &expected("a"));
    }
    let schemas = Schemas::default().with_avro(&schema, &[SchemaId::Unframed]).unwrap();
    let unframed = with_header("content-type", b"Avro/Binary; charset=none", avro("a"));
    assert_decodes(&mut decoder().with_schemas(Arc::new(schemas)), &unframed, &expected("a"));
    let nothing_said = decode_record(&mut framing, &unframed);
    assert_eq!(reasons(&nothing_said), ["unknown_schema"]);
}

/// The canonical form of a schema of records, by the rules of Avro's specification.
fn canonical(schema: &Tree) -> String {
    match schema {
        Tree::Array(branches) => format!("[{}]", branches.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Tree::Object(parts) if parts.contains_key("fields") => {
            let one = |field: &Tree| format!("{{\"name\":{},\"type\":{}}}", field["name"], canonical(&field["type"]));
            let fields: Vec<_> = parts["fields"].as_array().unwrap().iter().map(one).collect();
            format!("{{\"name\":{},\"type\":\"record\",\"fields\":[{}]}}", parts["name"], fields.join(","))
        }
        Tree::Object(parts) => canonical(&parts["type"]),
        plain => plain.to_string(),
    }
}

/// CRC-64 as Avro's specification writes it down.
fn rabin(text: &str) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    text.bytes().fold(EMPTY, |fingerprint, byte| {
        let entry = (0..8).fold((fingerprint ^ u64::from(byte)) & 0xff, |entry, _| {
            (entry >> 1) ^ (EMPTY & (entry & 1).wrapping_neg())
        });
        (fingerprint >> 8) ^ entry
    })
}

#[test]
fn the_types_of_avro_are_read_as_what_they_count() {
    let enumeration = json!({"type": "enum", "name": "Site", "symbols": ["south", "north"]});
    let micros = json!({"type": "long", "logicalType": "timestamp-micros"});
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2});
    let map = [long(2), text("age"), long(1), double(61.5), text("town"), long(2), text("Köln"), long(0)].concat();
    let cases = [
        ("segment", record_of("Segment", vec![field("site", enumeration)]), long(1)),
        ("time", micros, long((NOW_MS - 5) * 1000 + 999)),
        ("time", json!("string"), text("2023-11-14T22:13:19.995Z")),
        ("score", decimal, [long(1), vec![75]].concat()),
        ("score", json!({"type": "map", "values": "double"}), [long(1), text("1"), double(0.75), long(0)].concat()),
        (
            "segment",
            json!({"type": "map", "values": "string"}),
            [long(1), text("site"), text("north"), long(0)].concat(),
        ),
        ("features", json!({"type": "map", "values": ["null", "double", "string"]}), map),
        ("prediction", json!(["string", "long"]), [long(1), long(1)].concat()),
        ("weight", json!(["null", "double", "string"]), [long(1), double(2.0)].concat()),
        ("version", json!(["long", "string"]), [long(0), long(4)].concat()),
    ];
    for (name, kind, bytes) in cases {
        let record = record(framed(&avro_with("a", name, bytes)));
        assert_decodes(&mut reading(&schema_with(name, kind)), &record, &expected("a"));
    }
}

#[test]
fn a_uuid_is_an_id_whichever_way_it_is_written() {
    let written = "00112233-4455-6677-8899-aabbccddeeff";
    let bytes = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes().to_vec();
    let fixed = json!({"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"});
    for (kind, id) in [(json!({"type": "string", "logicalType": "uuid"}), text(written)), (fixed, bytes)] {
        let record = record(framed(&avro_with("", "id", id)));
        assert_decodes(&mut reading(&schema_with("id", kind)), &record, &expected(written));
    }
}

#[test]
fn features_in_a_record_with_unions_are_judged_value_by_value() {
    let features =
        record_of("Features", vec![field("age", json!(["null", "string", "double"])), field("town", json!("string"))]);
    let mut decoder = reading(&schema_with("features", features));
    let as_number = avro_with("a", "features", [long(2), double(61.5), text("Köln")].concat());
    for _ in 0..3 {
        assert_decodes(&mut decoder, &record(framed(&as_number)), &expected("a"));
    }
    let as_text = avro_with("a", "features", [long(1), text("old"), text("Köln")].concat());
    let found = decode_record(&mut decoder, &record(framed(&as_text)));
    let wrong = decode(
        &mut super::decoder(),
        {
            let mut event = event("a");
            event["features"]["age"] = json!("old");
            event
        }
        .to_string(),
    );
    assert_eq!(found.events[0].batch, wrong.events[0].batch);
}

#[test]
fn a_bad_record_costs_itself_and_its_letter_holds_it_as_it_came() {
    let mut decoder = reading(&event_schema());
    let bad = framed(&avro(""));
    let header = [&[1], &GUID[..]].concat();
    let by_header = with_header(SCHEMA_ID_HEADER, &header, avro_with("b", "model", text("other")));
    for record in [record(framed(&avro("a"))), record(bad.clone()), by_header.clone(), record(framed(&avro("c")))] {
        decoder.decode_events(3, &record).unwrap();
    }
    let decoded = decoder.take().unwrap();
    assert_eq!(ids(&decoded), ["a", "c"]);
    assert_eq!(reasons(&decoded), ["missing_id", "unknown_model"]);
    assert_eq!((&decoded.bad[0].bytes[..], decoded.bad[0].model.as_deref()), (&bad[..], Some("bed")));
    let letter = decoded.bad[1].to_dead_letter("inferences", 3, &by_header);
    assert_eq!(letter.value, by_header.value);
    assert!(letter.headers.contains(&by_header.headers[0]), "{:?}", letter.headers);
}

#[test]
fn labels_come_in_avro_too() {
    let schema = record_of(
        "Label",
        vec![
            field("id", json!("string")),
            field("time", json!("long")),
            field("model", json!("string")),
            field("label", json!(["null", "string"])),
        ],
    );
    let label = |value: Vec<u8>| framed(&[text("a"), long(NOW_MS), text("bed"), value].concat());
    let mut decoder = reading(&schema);
    decoder.decode_labels(1, &record(label([long(1), text("1")].concat()))).unwrap();
    decoder.decode_labels(1, &record(label(long(0)))).unwrap();
    let decoded = decoder.take().unwrap();
    assert_eq!((decoded.labels[0].batch.num_rows(), reasons(&decoded)), (1, vec!["missing_label"]));
}

#[test]
fn bytes_that_do_not_fit_the_schema_are_bad_and_leave_nothing_behind() {
    let good = avro("a");
    let mut decoder = reading(&event_schema());
    for end in 0..good.len() {
        let found = decode(&mut decoder, framed(&good[..end]));
        let reason = reasons(&found);
        assert!(reason == ["truncated"] || reason == ["malformed"], "{end}: {reason:?}");
        assert_eq!(found.bad[0].bytes, framed(&good[..end]));
        assert_decodes(&mut decoder, &record(framed(&good)), &expected("a"));
    }
    let huge = [i64::MAX, i64::MIN, i64::from(i32::MAX), -1, 1 << 40];
    let wrong = huge.map(|length| [long(length), good.clone()].concat());
    let more = [good.clone(), good.clone()].concat();
    let not_text = avro_with("a", "version", [long(2), vec![0xc3, 0x28]].concat());
    for (bytes, wanted) in wrong.iter().map(|bytes| (bytes, "")).chain([(&more, "malformed"), (&not_text, "malformed")])
    {
        let found = decode(&mut decoder, framed(bytes));
        assert_eq!(found.bad.len(), 1, "{bytes:?}");
        assert!(wanted.is_empty() || reasons(&found) == [wanted], "{:?}", found.bad);
        assert_decodes(&mut decoder, &record(framed(&good)), &expected("a"));
    }
}

#[test]
fn a_small_record_cannot_ask_for_much_space() {
    let wide = (0..400).map(|place| field(&format!("f{place}"), json!("double"))).collect();
    let wide = json!({"type": "array", "items": ["null", record_of("Wide", wide)]});
    let mut schema = schema_with("weight", json!("long"));
    schema["fields"].as_array_mut().unwrap().push(field("wide", wide));
    let mut decoder = reading(&schema);
    let items = |count: usize| framed(&[avro("a"), long(count as i64), vec![0; count], long(0)].concat());
    assert_decodes(&mut decoder, &record(items(1_000)), &expected("a"));
    // Each byte is a null that stands for 3,200 bytes: what follows would be 3 GB.
    assert_eq!(reasons(&decode(&mut decoder, items(1_000_000))), ["too_large"]);
    for count in [i64::MAX, i64::MIN, -1_000_000_000] {
        let bytes = framed(&[avro("a"), long(count), vec![0; 64]].concat());
        assert_eq!(decode(&mut decoder, bytes).bad.len(), 1);
    }
}

#[test]
fn json_behind_a_frame_is_read_as_without_it() {
    let kind = |kind: &str| (200, json!({"schema": "{}", "schemaType": kind}).to_string());
    let answers = [("/schemas/ids/7".to_owned(), kind("JSON")), ("/schemas/ids/8".to_owned(), kind("PROTOBUF"))];
    let registry = FakeRegistry::start(Answers::from(answers));
    let settings = RegistrySettings::new(&registry.url()).unwrap();
    let schemas = Schemas::default().with_registry(settings).unwrap();
    let mut asking = decoder().with_schemas(Arc::new(schemas));
    let json = event("a").to_string().into_bytes();
    for decoder in [&mut asking, &mut decoder()] {
        for record in [record(framed(&json)), with_header("content-type", b"application/json", framed(&json))] {
            assert_decodes(decoder, &record, &expected("a"));
        }
    }
    let found = decode(&mut asking, [&[0, 0, 0, 0, 8], &json[..]].concat());
    assert_eq!(reasons(&found), ["unread_schema"]);
    assert_eq!(
        found.bad[0].message,
        "schema 8 is one of Protobuf at byte 0: send Avro, or JSON, which needs no schema"
    );
    let found = decode(&mut asking, [&[0, 0, 0, 0, 9], &b"\x02a"[..]].concat());
    assert_eq!(reasons(&found), ["unknown_schema"]);
}

#[test]
fn a_record_whose_schema_cannot_be_had_for_the_moment_is_not_set_aside() {
    let settings = RegistrySettings::new(&format!("http://{}", FakeRegistry::nowhere())).unwrap();
    let mut decoder = decoder().with_schemas(Arc::new(Schemas::default().with_registry(settings).unwrap()));
    let outage = decoder.decode_events(3, &record(framed(&avro("a")))).unwrap_err().to_string();
    assert!(outage.starts_with("schema 7 cannot be had from the schema registry at http://127.0.0.1:"), "{outage}");
    let decoded = decoder.take().unwrap();
    assert!(decoded.bad.is_empty() && decoded.events.is_empty());
}

#[test]
fn what_has_no_frame_is_told_by_its_format_as_before() {
    let mut decoder = reading(&event_schema());
    for value in [&b"\0"[..], b"\0\0\0", b"\x01abc", b"\xc3", b"\xc3\x01abc", b"\xc3\x02abcdefgh"] {
        assert_eq!(reasons(&decode(&mut decoder, value.to_vec())), ["unknown_format"], "{value:?}");
    }
    for content_type in ["application/msgpack", "application/vnd.apache.arrow.stream", "text/csv"] {
        let found =
            decode_record(&mut decoder, &with_header("content-type", content_type.as_bytes(), framed(&avro("a"))));
        assert!(!found.bad.is_empty() && found.events.is_empty(), "{content_type}");
    }
    let found = decode_record(&mut decoder, &with_header(SCHEMA_ID_HEADER, b"7", avro("a")));
    assert_eq!(reasons(&found), ["malformed"]);
}

#[test]
fn no_value_of_a_restricted_model_stands_in_a_letter() {
    let privacy = Privacy::new([("town".to_owned(), Policy::Drop)].into(), None, &schema(), &[]).unwrap();
    let schemas = Schemas::default().with_avro(&event_schema().to_string(), &[SchemaId::Number(7)]).unwrap();
    let mut decoder = Decoder::new(vec![source(privacy)], Limits::default()).with_schemas(Arc::new(schemas));
    let bad = [framed(&avro("")), framed(&avro("a")[..20])];
    for bad in bad {
        let found = decode(&mut decoder, bad);
        assert!(
            !found.bad.is_empty() && !String::from_utf8_lossy(&found.bad[0].bytes).contains("ln"),
            "{:?}",
            found.bad
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_change_of_good_ones_make_the_decoder_panic_or_forget_its_place(
        place in 0_usize..120, byte in any::<u8>(), cut in 0_usize..120, noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let union = json!(["null", "double", "string", {"type": "array", "items": "string"}]);
        let map = json!({"type": "map", "values": union});
        let enumeration = json!({"type": "enum", "name": "Kind", "symbols": ["a", "b"]});
        let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2});
        let mut schema = schema_with("features", map);
        let duration = json!({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"});
        let more = [("kind", enumeration), ("amount", decimal), ("span", json!(["null", duration]))];
        schema["fields"].as_array_mut().unwrap().extend(more.map(|(name, kind)| field(name, kind)));
        let features = [long(2), text("age"), long(1), double(61.5), text("town"), long(2), text("Köln"), long(0)].concat();
        let good = [avro_with("a", "features", features), long(1), long(2), vec![1, 2], long(0)].concat();
        let mut changed = good.clone();
        if let Some(own) = changed.get_mut(place) {
            *own = byte;
        }
        changed.truncate(cut.max(place));
        let mut decoder = reading(&schema);
        for bytes in [&changed, &noise, &[good.clone(), noise.clone()].concat()] {
            decode(&mut decoder, framed(bytes));
        }
        assert_decodes(&mut decoder, &record(framed(&good)), &expected("a"));
    }
}

#[test]
fn a_record_of_avro_goes_to_the_partition_of_its_id_as_it_is() {
    let ids = [SchemaId::Number(7), SchemaId::Guid(GUID)];
    let schemas = || Arc::new(Schemas::default().with_avro(&event_schema().to_string(), &ids).unwrap());
    let splitter = |privacy| {
        Splitter::new(vec![source(privacy)], Limits::default(), EventKind::Inference, 4).with_schemas(schemas())
    };
    let home = streams::partition::partition_of("a", 4);
    let parts = splitter(Privacy::default()).split(&record(framed(&avro("a"))), (home + 1) % 4).unwrap().parts;
    let whole = Part { partition: home, value: Some(framed(&avro("a")).into()), headers: Vec::new() };
    assert_eq!(parts, [whole]);
    let privacy = Privacy::new([("town".to_owned(), Policy::Drop)].into(), None, &schema(), &[]).unwrap();
    let parts = splitter(privacy.clone()).split(&record(framed(&avro("a"))), (home + 1) % 4).unwrap().parts;
    assert_eq!((parts.len(), parts[0].partition), (1, home));
    let mut decoder = Decoder::new(vec![source(privacy)], Limits::default());
    let part = Record { value: parts[0].value.clone(), headers: parts[0].headers.clone().into(), ..record("") };
    let decoded = decode_record(&mut decoder, &part).events.remove(0).batch;
    assert_eq!(decoded.column_by_name("age"), expected("a").column_by_name("age"));
    assert!(!parts[0].value.as_ref().unwrap().windows(5).any(|bytes| bytes == "Köln".as_bytes()));
}
