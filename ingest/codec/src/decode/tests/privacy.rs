//! What may not be stored is in no byte that is stored: records of every kind and format, dead letters, archived rows.

use super::columnar::{batch, dictionary, events as columns_of, floats, stream, texts};
use super::*;

/// Values that are planted wherever a sender may put one; none of them is a known field that may be kept.
const PLANTED: [&str; 5] = ["Secretville", "Hiddenford", "4242.25", "outside@example.org", "kept-for-profiles"];

fn private(mapping: Option<Mapping>) -> Source {
    let policies = [("town".to_owned(), Policy::Hash), ("age".to_owned(), Policy::Drop)].into();
    let privacy = Privacy::new(policies, Some(HashKey::new(b"a key of its own")), &schema(), &[]).unwrap();
    Source { mapping, ..source(privacy) }
}

fn mapping() -> Mapping {
    let settings: MappingSettings = serde_json::from_value(json!({
        "id": "request.uuid", "time": "request.at", "version": {"constant": 4}, "label": "outcome.label",
        "features": {"age": "payload.age", "town": "payload.town"}, "prediction": "answer", "segment": {"site": "at"},
    }))
    .unwrap();
    Mapping::new(&settings, &schema(), &["site".to_owned()]).unwrap()
}

/// An event, a label and a feedback with everything in them that a sender may add.
fn planted(id: &str) -> Tree {
    json!({
        "id": id, "time": NOW_MS - 5, "model": "bed", "version": "4", "prediction": 1, "score": {"1": 0.75, "Hiddenford": 1},
        "features": {"age": 4242.25, "town": "Secretville", "home": "Hiddenford", "Secretville": 1},
        "label": "0", "name": "click", "value": 1, "segment": {"site": "north", "street": "Hiddenford"},
        "copy": {"town": "Secretville", "age": [4242.25]}, "mail": "outside@example.org",
    })
}

fn foreign(id: &str) -> Tree {
    json!({
        "request": {"uuid": id, "at": NOW_MS - 5, "mail": "outside@example.org"}, "answer": 1, "at": "north",
        "payload": {"age": 4242.25, "town": "Secretville", "home": "Hiddenford"}, "outcome": {"label": "0"},
    })
}

fn with_value(id: &str, field: &str, value: Tree) -> Tree {
    let mut row = planted(id);
    row[field] = value;
    row
}

/// Good rows and bad ones; the latter are refused by the decoder, or at the door already.
fn rows() -> Vec<Tree> {
    vec![
        planted("plain"),
        foreign("mapped"),
        with_value("list", "features", json!([4242.25, "Secretville"])),
        with_value("long", "features", json!([4242.25, "Secretville", "Hiddenford"])),
        with_value("wrong", "features", json!("Secretville")),
        with_value("nested", "features", json!({"town": ["Secretville"], "age": {"is": 4242.25}})),
        with_value("several", "prediction", json!({"town": "Secretville"})),
        with_value("weighty", "weight", json!(-1)),
        with_value("unknown", "model", json!("bad")),
        json!({"mail": "outside@example.org", "town": "Secretville"}),
        json!("Secretville"),
    ]
}

#[track_caller]
fn holds_nothing_planted(what: &str, bytes: &[u8]) {
    let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    for value in PLANTED {
        assert!(!holds(value.as_bytes()), "{value} is in {what}: {}", String::from_utf8_lossy(bytes));
    }
    for number in [4242.25_f64.to_be_bytes(), 4242.25_f64.to_le_bytes()] {
        assert!(!holds(&number), "4242.25 is in {what}");
    }
}

/// Everything that is kept of a record that was stored.
fn keeps_nothing_planted(sources: &[Source], kind: EventKind, stored: &Record) {
    holds_nothing_planted("a record", stored.value.as_deref().unwrap_or_default());
    let mut decoder = Decoder::new(sources.to_vec(), Limits::default());
    match kind {
        EventKind::Inference => decoder.decode_events(0, stored).unwrap(),
        EventKind::Label => decoder.decode_labels(0, stored).unwrap(),
        EventKind::Feedback => return,
    }
    let decoded = decoder.take_storable().unwrap();
    for bad in &decoded.bad {
        let letter = bad.to_dead_letter("inferences", 0, stored);
        holds_nothing_planted("a dead letter", &letter.value.unwrap());
        holds_nothing_planted("its headers", format!("{:?}", letter.headers).as_bytes());
    }
    holds_nothing_planted("rows that are archived", format!("{:?}", decoded.events).as_bytes());
    holds_nothing_planted("labels that are archived", format!("{:?}", decoded.labels).as_bytes());
    holds_nothing_planted("what is told of features", format!("{:?}", decoded.unknown_features).as_bytes());
}

fn marked(value: Bytes) -> Record {
    Record { headers: [(REDACTED_HEADER.to_owned(), Bytes::new())].into(), ..record(value) }
}

const KINDS: [EventKind; 3] = [EventKind::Inference, EventKind::Label, EventKind::Feedback];

#[test]
fn nothing_planted_is_in_what_comes_through_the_door() {
    let body = Tree::from(rows());
    for mapping in [None, Some(mapping())] {
        let sources = [private(mapping)];
        let router = Router::new(&sources, Limits::default(), 2, 1 << 20);
        let redactor = Redactor::new(&sources, Limits::default()).unwrap();
        for (kind, body) in
            KINDS.iter().flat_map(|kind| [(kind, body.to_string().into_bytes()), (kind, msgpack(&body))])
        {
            let format = Format::of_bytes(&body).unwrap();
            let routed = router.route(*kind, format, &body);
            assert!(
                routed.accepted >= 3 || *kind != EventKind::Inference,
                "{kind:?} {format:?}: {:?}",
                routed.rejected
            );
            routed.rejected.iter().for_each(|rejected| holds_nothing_planted("an answer", rejected.message.as_bytes()));
            for RoutedRecord { format, value, .. } in routed.records {
                keeps_nothing_planted(&sources, *kind, &marked(redactor.redact(*kind, format, &value)));
            }
            // As it might be written by whoever does not route.
            keeps_nothing_planted(&sources, *kind, &marked(redactor.redact(*kind, format, &body.into())));
        }
    }
}

#[test]
fn nothing_planted_is_in_what_is_repartitioned() {
    let bodies = [Tree::from(rows()).to_string().into_bytes(), msgpack(&Tree::from(rows())), arrow_rows()];
    for (kind, body) in
        [EventKind::Inference, EventKind::Label].iter().flat_map(|kind| bodies.iter().map(move |body| (kind, body)))
    {
        for mapping in [None, Some(mapping())] {
            let sources = [private(mapping)];
            let mut splitter = Splitter::new(sources.to_vec(), Limits::default(), *kind, 4);
            let headers = [("trace".to_owned(), Bytes::from("outside@example.org"))].into();
            for part in splitter.split(&Record { headers, ..record(body.clone()) }, 1).unwrap().parts {
                holds_nothing_planted("headers", format!("{:?}", part.headers).as_bytes());
                let stored = Record { value: part.value, headers: part.headers.into(), ..record("") };
                keeps_nothing_planted(&sources, *kind, &stored);
            }
        }
    }
}

fn arrow_rows() -> Vec<u8> {
    let mut columns = columns_of(&["a", "b"]);
    columns.retain(|(name, _)| !name.starts_with("features.") && *name != "score");
    columns.extend([
        ("features.age", floats(&[Some(4242.25), None])),
        ("features.town", dictionary(&[Some("Secretville"), Some("Secretville")])),
        ("features.home", texts(&[None, Some("Hiddenford")])),
        ("segment.street", texts(&[Some("Hiddenford"), None])),
        ("score.1", floats(&[Some(0.75), Some(0.75)])),
        ("score.Hiddenford", floats(&[Some(4242.25), None])),
        ("mail", texts(&[Some("outside@example.org"), Some("outside@example.org")])),
        ("label", texts(&[Some("0"), Some("0")])),
        ("name", texts(&[Some("click"), Some("click")])),
        ("value", floats(&[Some(1.0), Some(1.0)])),
    ]);
    stream(&[batch(&columns)])
}

#[test]
fn nothing_planted_is_in_columns_and_that_there_were_unknown_features_is_still_told() {
    let sources = [private(None)];
    let router = Router::new(&sources, Limits::default(), 1, 1 << 20);
    for kind in KINDS {
        let routed = router.route(kind, Format::Arrow, &arrow_rows());
        assert_eq!((routed.accepted, routed.rejected.len()), (2, 0), "{:?}", routed.rejected);
        for RoutedRecord { format, value, .. } in routed.records {
            assert_eq!(format, Format::Arrow);
            keeps_nothing_planted(&sources, kind, &record(value.clone()));
            if kind == EventKind::Inference {
                let decoded = decode(&mut Decoder::new(sources.to_vec(), Limits::default()), value);
                let told: Vec<_> =
                    decoded.unknown_features.iter().map(|told| (told.name.as_deref(), told.values)).collect();
                assert_eq!(told, [(Some("(unknown)"), 1)], "of the second row");
            }
        }
    }
}

#[test]
fn what_is_kept_of_a_private_row_reads_as_it_did() {
    let sources = [private(Some(mapping()))];
    let redactor = Redactor::new(&sources, Limits::default()).unwrap();
    let told = |record: &Record, kind| {
        let mut decoder = Decoder::new(sources.to_vec(), Limits::default());
        match kind {
            EventKind::Label => decoder.decode_labels(0, record).unwrap(),
            _ => decoder.decode_events(0, record).unwrap(),
        }
        let decoded = decoder.take().unwrap();
        let batches: Vec<_> = decoded.events.iter().map(|events| events.batch.clone()).collect();
        let labels: Vec<_> = decoded.labels.iter().map(|labels| labels.batch.clone()).collect();
        (reasons(&decoded), batches, labels)
    };
    // Of a row that nobody reads the reason is another: what might have been read of it is gone.
    let read: Vec<_> = rows().into_iter().take(8).collect();
    for (kind, row) in
        [EventKind::Inference, EventKind::Label].iter().flat_map(|kind| read.iter().map(move |row| (*kind, row)))
    {
        for body in [Bytes::from(row.to_string()), msgpack(row).into()] {
            let stored = redactor.redact(kind, Format::of_bytes(&body).unwrap(), &body);
            assert_eq!(told(&marked(stored.clone()), kind), told(&record(body), kind), "{kind:?} {row} {stored:?}");
        }
    }
}

#[test]
fn a_value_for_profiles_only_is_in_no_label_and_no_feedback() {
    let policies = [("town".to_owned(), Policy::ProfileOnly)].into();
    let privacy = Privacy::new(policies, Some(HashKey::new(b"a key of its own")), &schema(), &[]).unwrap();
    let sources = [source(privacy)];
    let redactor = Redactor::new(&sources, Limits::default()).unwrap();
    let row = with_value("a", "features", json!({"town": "kept-for-profiles"}));
    for (kind, body) in [EventKind::Label, EventKind::Feedback]
        .iter()
        .flat_map(|kind| [(kind, Bytes::from(row.to_string())), (kind, Bytes::from(msgpack(&row)))])
    {
        let stored = redactor.redact(*kind, Format::of_bytes(&body).unwrap(), &body);
        keeps_nothing_planted(&sources, *kind, &marked(stored));
    }
    let stored = redactor.redact(EventKind::Inference, Format::Json, &row.to_string().into());
    let mut decoder = Decoder::new(sources.to_vec(), Limits::default());
    decoder.decode_events(0, &marked(stored)).unwrap();
    let kept = decoder.take_storable().unwrap();
    holds_nothing_planted("rows that are archived", format!("{:?}", kept.events).as_bytes());
}

#[test]
fn a_category_for_profiles_only_is_profiled_by_its_hash_whatever_brought_it() {
    let key = || HashKey::new(b"a key of its own");
    let policies = BTreeMap::from([("town".to_owned(), Policy::ProfileOnly)]);
    let privacy = Privacy::new(policies.clone(), Some(key()), &schema(), &[]).unwrap();
    let sources = [source(privacy)];
    let row = with_value("a", "features", json!({"town": "kept-for-profiles"}));
    let mut columns = columns_of(&["a", "b"]);
    columns.retain(|(name, _)| *name != "features.town");
    columns.push(("features.town", dictionary(&[Some("kept-for-profiles"), Some("kept-for-profiles")])));
    let body = stream(&[batch(&columns)]);
    let routed = Router::new(&sources, Limits::default(), 1, 1 << 20).route(EventKind::Inference, Format::Arrow, &body);
    for value in [row.to_string().into(), msgpack(&row).into(), body.into(), routed.records[0].value.clone()] {
        for record in [record(Bytes::clone(&value)), marked(value)] {
            let mut decoder = Decoder::new(sources.to_vec(), Limits::default());
            decoder.decode_events(0, &record).unwrap();
            let profiled = decoder.take().unwrap();
            holds_nothing_planted("what is profiled", format!("{:?}", profiled.events).as_bytes());
            let town = profiled.events[0].batch.column_by_name("town").unwrap().as_string::<i32>().value(0).to_owned();
            assert_eq!(town.as_bytes(), key().hash(b"kept-for-profiles"));
        }
    }
    let refused = Privacy::new(policies, None, &schema(), &[]).unwrap_err();
    assert!(matches!(refused, PrivacyError::NoKey { .. }));
}

#[test]
fn rows_of_models_without_private_columns_stay_as_they_came() {
    let open = Source { model: "open".into(), ..source(Privacy::default()) };
    let redactor = Redactor::new(&[private(None), open], Limits::default()).unwrap();
    let row = with_value("a", "model", json!("open"));
    for body in [Bytes::from(row.to_string()), msgpack(&row).into()] {
        let stored = redactor.redact(EventKind::Inference, Format::of_bytes(&body).unwrap(), &body);
        assert_eq!(stored, body);
    }
    let both = format!("{row}\n{}", planted("b"));
    let stored = redactor.redact(EventKind::Inference, Format::Json, &both.into());
    let first = String::from_utf8(stored.to_vec()).unwrap().lines().next().map(str::to_owned);
    assert_eq!(first, Some(row.to_string()));
}
