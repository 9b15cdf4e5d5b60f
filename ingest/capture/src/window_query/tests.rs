//! The promise that the stream and the archive agree: one query, the same integers.

use super::*;
use crate::archive::parquet_file::from_parquet;
use crate::archive::{Archive, RollPolicy};
use crate::fixtures::{self, Act, Run, announced, assert_alike, decoder, tree};
use crate::partial::PartialBody;
use crate::segments::Segmenter;
use crate::stage::InputQuery;
use arrow::array::{ArrayRef, Int64Array};
use codec::columns::event_schema;
use detectors::profile::Profile;
use std::time::Duration;
use streams::stage::{Delivery, Input, Seal, Stage};
use streams::topics;

#[test]
fn archived_rows_give_the_integers_of_the_stream() {
    let watched = Arc::new(fixtures::watched());
    let announced = announced(&watched);
    // No id comes twice and no row is late, so that every archived row counts.
    let act = |n: u8| Act { kind: 0, id: n, advance_ms: 70, back_ms: i64::from(n % 3) * 60, value: i64::from(n) * 11 };
    let inputs = fixtures::inputs(&(0..120).map(act).collect::<Vec<_>>());
    let streamed = Run::new(&watched, &announced, &inputs).all(&[]).totals();

    let roll = RollPolicy { rows: 1, after: Duration::ZERO };
    let mut archive = Archive::new(decoder(&watched), roll, "n".to_owned());
    for ((topic, partition), records) in &inputs {
        let input = Input::Records { topic, partition: *partition, records, delivery: Delivery::Live };
        archive.absorb(input).unwrap();
    }
    let files = archive.seal(Seal::Due).unwrap().unwrap().files;
    let segmenter = Segmenter::new(&event_schema(&watched.schema, &[]), &watched.segments).unwrap();
    let query = InputQuery::new(&watched, &segmenter);
    let rows = files.into_iter().filter(|file| file.path.contains(topics::INFERENCES)).map(|file| {
        let rows = segmenter.extend(&from_parquet(file.bytes).unwrap()).unwrap();
        query.rows(&rows, vec![0; rows.num_rows()]).unwrap()
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 120);

    let layouts = Arc::new(announced.reference.layouts().to_vec());
    let engine = QueryEngine::new().unwrap();
    let cells = engine.plan::<Profile>(query.spec.clone(), layouts).unwrap().run(&engine, rows).unwrap();
    let of_stream = streamed.partials.iter().filter(|(place, _)| place.2 == "inputs");
    assert_eq!(cells.len(), of_stream.count());
    for cell in cells {
        let place = ("1".to_owned(), cell.segment, "inputs", cell.start_ms, 0);
        match &streamed.partials[&place] {
            PartialBody::Inputs { profile, .. } => {
                assert_alike(&tree(profile), &tree(&cell.state), &format!("{place:?}"))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A query over `t` (time), `tag`, and one dimension, counting the wrong-typed and the right ones of one number.
fn small() -> (QuerySpec, Arc<Vec<detectors::layout::ColumnLayout>>) {
    use arrow::datatypes::{Field, Schema};
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::UInt16, false)));
    let schema = Arc::new(Schema::new(vec![
        Field::new("t", DataType::Int64, false),
        Field::new("tag", DataType::Int64, false),
        Field::new("where it is", DataType::Utf8, true),
        Field::new("x", DataType::Float64, true),
        Field::new("wrong", list, true),
    ]));
    let spec = QuerySpec {
        schema,
        bin_ms: 10,
        time: "t".to_owned(),
        tag: "tag".to_owned(),
        dimensions: vec![Dimension { name: "town".to_owned(), column: "where it is".to_owned() }],
        arguments: vec!["x".to_owned(), "wrong".to_owned()],
    };
    let layout = detectors::layout::ColumnLayout::learn_numeric(&mut [1.0, 2.0, 3.0]);
    (spec, Arc::new(vec![layout]))
}

fn rows(spec: &QuerySpec, rows: &[(i64, i64, Option<&str>)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2))),
        Arc::new(arrow::array::Float64Array::from(vec![2.0; rows.len()])),
        arrow::array::new_null_array(spec.schema.field(4).data_type(), rows.len()),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap()
}

fn counted(cells: Vec<Cell<Profile>>) -> Vec<(i64, i64, Option<String>, i64)> {
    let mut counted: Vec<_> = cells
        .into_iter()
        .map(|cell| (cell.start_ms, cell.tag, cell.segment.map(|segment| segment.value), cell.state.rows()))
        .collect();
    counted.sort();
    counted
}

#[test]
fn a_null_segment_is_a_segment_of_its_own_and_bins_reach_before_the_epoch() {
    let (spec, layouts) = small();
    let batch = rows(&spec, &[(-1, 0, None), (-10, 0, Some("a")), (0, 0, Some("a")), (9, 1, None)]);
    let engine = QueryEngine::new().unwrap();
    let cells = engine.plan::<Profile>(spec, layouts).unwrap().run(&engine, vec![batch]).unwrap();
    let text = |value: &str| Some(value.to_owned());
    let expected = [
        (-10, 0, None, 2),
        (-10, 0, text(NO_VALUE), 1),
        (-10, 0, text("a"), 1),
        (0, 0, None, 1),
        (0, 0, text("a"), 1),
        (0, 1, None, 1),
        (0, 1, text(NO_VALUE), 1),
    ];
    assert_eq!(counted(cells), expected);
}

#[test]
fn a_plan_that_is_run_again_remembers_nothing() {
    let (spec, layouts) = small();
    let engine = QueryEngine::new().unwrap();
    let mut query = engine.plan::<Profile>(spec.clone(), layouts).unwrap();
    let first = counted(query.run(&engine, vec![rows(&spec, &[(5, 0, Some("a"))])]).unwrap());
    assert!(query.run(&engine, Vec::new()).unwrap().is_empty());
    assert_eq!(counted(query.run(&engine, vec![rows(&spec, &[(5, 0, Some("a"))])]).unwrap()), first);
}
