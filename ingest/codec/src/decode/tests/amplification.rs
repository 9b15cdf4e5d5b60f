//! What a record may cost: memory in proportion to its bytes, and work that ends.
//!
//! Memory is counted by the allocator, of this thread alone. Work is bounded by what it allocates, and by bodies so large that
//! whatever took the square of them would not end while anyone looks.

use super::columnar::{batch, stream};
use super::*;
use crate::schemas::Schemas;
use allocation_counter::measure;
use arrow::array::{ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int64Array, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Int8Type};
use std::sync::Arc;

/// Bytes of memory for each byte of a body, and those that any body may take: budgets have a floor, so that small bodies
/// with much repetition are read.
pub(super) const MOST_PER_BYTE: u64 = 50;
pub(super) const FLOOR: u64 = 48 << 20;

/// A private model and one that is not: both ways through the door are gone.
pub(super) fn sources() -> [Source; 2] {
    let privacy = Privacy::new([("age".to_owned(), Policy::Drop)].into(), None, &schema(), &[]).unwrap();
    [source(Privacy::default()), Source { model: "cot".into(), ..source(privacy) }]
}

/// Takes bytes through every door that reads them: routing, redaction, decoding, splitting.
pub(super) struct Doors {
    router: Router,
    redactor: Redactor,
    decoder: Decoder,
    splitter: Splitter,
}

/// Memory at the worst moment, at each door.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peaks {
    pub(super) routing: u64,
    pub(super) decoding: u64,
    pub(super) splitting: u64,
}

impl Doors {
    pub(super) fn new(schemas: &Arc<Schemas>) -> Self {
        Self::of(&sources(), schemas)
    }

    pub(super) fn of(sources: &[Source], schemas: &Arc<Schemas>) -> Self {
        let limits = Limits::default();
        Self {
            router: Router::new(sources, limits, 4, 1 << 20),
            redactor: Redactor::new(sources, limits).unwrap(),
            decoder: Decoder::new(sources.to_vec(), limits).with_schemas(Arc::clone(schemas)),
            splitter: Splitter::new(sources.to_vec(), limits, EventKind::Inference, 4)
                .with_schemas(Arc::clone(schemas)),
        }
    }

    pub(super) fn plain() -> Self {
        Self::new(&Arc::default())
    }

    /// The memory that it takes, while what comes of it is held.
    pub(super) fn take(&mut self, kind: EventKind, body: &Bytes) -> Peaks {
        let Self { router, redactor, decoder, splitter } = self;
        let record = record(body.clone());
        let routing = Format::of_bytes(body).map(|format| {
            measure(|| {
                let routed = router.route(kind, format, body);
                let redact = |record: &RoutedRecord| redactor.redact(kind, record.format, &record.value);
                let stored: Vec<_> = routed.records.iter().map(redact).collect();
                std::hint::black_box((&routed, &stored));
            })
        });
        let decoding = measure(|| {
            match kind {
                EventKind::Label => decoder.decode_labels(0, &record).unwrap(),
                _ => decoder.decode_events(0, &record).unwrap(),
            }
            std::hint::black_box(decoder.take().unwrap());
        });
        let splitting = measure(|| {
            std::hint::black_box(splitter.split(&record, 0).unwrap());
        });
        let routing = routing.map_or(0, |told| told.bytes_max);
        Peaks { routing, decoding: decoding.bytes_max, splitting: splitting.bytes_max }
    }
}

impl Peaks {
    pub(super) fn most(self) -> u64 {
        self.routing.max(self.decoding).max(self.splitting)
    }
}

#[track_caller]
fn costs_little(name: &str, body: impl Into<Bytes>) {
    let body = body.into();
    let peaks = Doors::plain().take(EventKind::Inference, &body);
    let (bytes, most) = (body.len() as u64, peaks.most());
    let per_byte = |peak: u64| peak as f64 / bytes as f64;
    // Shown where figures are asked for.
    println!(
        "{name}: {bytes} bytes; times as many for routing {:.1}, decoding {:.1}, splitting {:.1}",
        per_byte(peaks.routing),
        per_byte(peaks.decoding),
        per_byte(peaks.splitting)
    );
    assert!(most <= MOST_PER_BYTE * bytes + FLOOR, "{name}: {bytes} bytes take {most}");
}

/// A column of as many times the same text; each takes a byte.
fn repeated(text: &str, rows: usize) -> ArrayRef {
    let keys = Int8Array::from(vec![0; rows]);
    Arc::new(DictionaryArray::<Int8Type>::try_new(keys, Arc::new(StringArray::from(vec![text]))).unwrap())
}

fn written(columns: Vec<(String, ArrayRef)>) -> Vec<u8> {
    let names: Vec<&'static str> = columns.iter().map(|(name, _)| &*name.clone().leak()).collect();
    let columns = names.into_iter().zip(columns).map(|(name, (_, column))| (name, column));
    stream(&[batch(&columns.collect())])
}

#[test]
fn columns_with_long_names_are_not_written_out_for_each_row() {
    let id_less = |names: Vec<String>, rows: usize| {
        let column = |name| (name, Arc::new(BooleanArray::from(vec![true; rows])) as ArrayRef);
        written(names.into_iter().map(column).collect())
    };
    costs_little("one name of 100 kB", id_less(vec!["n".repeat(100_000)], 20_000));
    costs_little("a hundred names of a kilobyte", id_less((0..100).map(|n| format!("{n:01000}")).collect(), 8_000));
    costs_little("a thousand short names", id_less((0..1_000).map(|n| format!("features.{n}")).collect(), 8_000));
    let rows = 200_000;
    let bare = vec![("id".to_owned(), Arc::new(Int8Array::from(vec![1; rows])) as ArrayRef)];
    costs_little("rows of a byte", written(bare));
}

#[test]
fn what_a_dictionary_repeats_is_bounded() {
    let rows = 250_000;
    let with_town = |town: ArrayRef| {
        written(vec![
            ("id".to_owned(), repeated("an id", rows)),
            ("time".to_owned(), Arc::new(Int64Array::from(vec![NOW_MS; rows]))),
            ("model".to_owned(), repeated("bed", rows)),
            ("version".to_owned(), repeated("4", rows)),
            ("features.town".to_owned(), town),
        ])
    };
    costs_little("a category of 20 letters", with_town(repeated("Köln am Rhein, links", rows)));
    costs_little("a category of 60 kB", with_town(repeated(&"x".repeat(60_000), rows)));
    costs_little("numbers of a byte", with_town(Arc::new(UInt8Array::from(vec![7; rows]))));
}

#[test]
fn lines_that_are_cut_off_take_time_in_proportion() {
    costs_little("brackets", b"{\n".repeat(1_000_000));
    let event = event("a").to_string();
    let cut = event.trim_end_matches('}');
    costs_little("events without their ends", format!("{cut}\n").repeat(20_000));
    costs_little("every other event without its end", format!("{cut}\n{event}\n").repeat(10_000));
    costs_little("arrays that stay open", b"[{\n".repeat(400_000));
    costs_little("arrays of what is no value", b"[x{\n".repeat(400_000));
    costs_little("text that runs over its line", [b"{\n".repeat(300_000), b"\"x\n".to_vec()].concat().repeat(2));
    costs_little("brackets before a text that runs over", b"{{{{\"a\n{\n".repeat(100_000));
}

#[test]
fn very_short_rows_cost_little_and_are_all_counted() {
    let rows: u32 = 300_000;
    let array = |row: &[u8]| [&[0xdd][..], &rows.to_be_bytes(), &row.repeat(rows as usize)].concat();
    let bodies = [
        ("numbers in JSON", [b"[0".to_vec(), b",0".repeat(rows as usize - 1), b"]".to_vec()].concat()),
        ("empty objects in JSON", b"{}\n".repeat(rows as usize)),
        ("objects of one key", b"{\"a\":0}\n".repeat(rows as usize)),
        ("nothing in MessagePack", array(&[0xc0])),
        ("empty maps in MessagePack", array(&[0x80])),
    ];
    for (name, body) in bodies {
        let format = Format::of_bytes(&body).unwrap_or(Format::Json);
        costs_little(name, body.clone());
        let routed = Router::new(&sources(), Limits::default(), 4, 1 << 20).route(EventKind::Inference, format, &body);
        let told: u32 = routed.rejected.iter().map(|rejected| rejected.rows).sum();
        assert_eq!((routed.accepted, told), (0, rows), "{name}");
        let decoded = decode(&mut decoder(), body);
        assert_eq!(decoded.bad.iter().map(|bad| bad.rows).sum::<u32>(), rows, "{name}");
    }
}

#[test]
fn good_rows_between_very_many_bad_ones_arrive() {
    let mut body = "{}\n".repeat(100_000);
    for id in 0..100 {
        body.push_str(&format!("{}\n{}", event(&id.to_string()), "{}\n".repeat(1_000)));
    }
    let decoded = decode(&mut decoder(), body);
    assert_eq!(ids(&decoded).len(), 100);
    assert_eq!(decoded.bad.iter().map(|bad| bad.rows).sum::<u32>(), 200_000);
}

#[test]
fn depth_and_lengths_that_are_not_there_cost_nothing() {
    costs_little("brackets", b"[".repeat(1 << 20));
    costs_little("maps in maps", b"{\"a\":".repeat(200_000));
    costs_little("a deep feature", event("a").to_string().replace("61.5", &"[".repeat(1 << 20)));
    costs_little("arrays of MessagePack", vec![0x91; 1 << 20]);
    costs_little("maps of MessagePack", b"\x81\xa1a".repeat(300_000));
    for envelope in [0xdd_u8, 0xdf, 0xdb, 0xc6, 0xc9] {
        costs_little("a length of four gigabytes", [&[0x91, envelope, 0xff, 0xff, 0xff, 0xff][..], b"rest"].concat());
        costs_little("as the outer value", [&[envelope, 0xff, 0xff, 0xff, 0xff][..], b"rest"].concat());
    }
}

#[test]
fn versions_of_their_own_cost_little_and_beyond_a_few_dozen_count_as_one() {
    let rows = 20_000;
    let with_version = |row: usize| {
        json!({"id": row, "time": NOW_MS, "model": "bed", "version": format!("v{row}"), "features": {}}).to_string()
    };
    let lines: Vec<_> = (0..rows).map(with_version).collect();
    let json = lines.join("\n");
    costs_little("versions in JSON", json.clone());
    let versions: Vec<_> = (0..rows).map(|row| format!("v{row}")).collect();
    let arrow = written(vec![
        ("id".to_owned(), Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("time".to_owned(), Arc::new(Int64Array::from(vec![NOW_MS; rows]))),
        ("model".to_owned(), repeated("bed", rows)),
        ("version".to_owned(), Arc::new(StringArray::from(versions))),
        ("features.age".to_owned(), arrow::array::new_null_array(&DataType::Float64, rows)),
    ]);
    costs_little("versions in Arrow", arrow.clone());
    for body in [Bytes::from(json), arrow.into()] {
        // Whatever else was decoded before: what a record's rows count as follows from the record.
        let mut decoder = decoder();
        let before = record(json!([event("x"), with("version", json!("v5"))]).to_string());
        decoder.decode_events(0, &before).unwrap();
        decoder.decode_events(0, &Record { offset: 8, ..record(body) }).unwrap();
        let decoded = decoder.take().unwrap();
        let rows_of = |version: &str| {
            let own = decoded.events.iter().filter(|events| &*events.version == version);
            own.map(|events| events.batch.num_rows()).sum::<usize>()
        };
        assert_eq!((rows_of("v0"), rows_of("v63"), rows_of("v64")), (1, 1, 0));
        assert_eq!(rows_of(OTHER_VERSIONS), rows - 64);
    }
}
