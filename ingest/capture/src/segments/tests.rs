//! What segment expressions promise.

use super::*;
use crate::fixtures::{START_MS, decoded, event, watched};
use arrow::array::AsArray;
use codec::columns::event_schema;

fn segmenter(sql: &str) -> Result<Segmenter, SegmentError> {
    let spec = SegmentSpec { name: "slice".to_owned(), source: SegmentSource::Expression(sql.to_owned()) };
    Segmenter::new(&event_schema(&watched().schema, &[]), &[spec])
}

fn values(sql: &str) -> Vec<Option<String>> {
    let rows = decoded(&watched(), &[event("a", START_MS, 20), event("b", START_MS, 70), event("c", START_MS, 3)]);
    let extended = segmenter(sql).unwrap().extend(&rows).unwrap();
    let column = extended.column_by_name("segment.slice").unwrap().as_string::<i32>().clone();
    column.iter().map(|value| value.map(str::to_owned)).collect()
}

#[test]
fn an_expression_gives_every_row_its_slice() {
    let slices = values("CASE WHEN age >= 50 THEN 'old' WHEN age >= 10 THEN 'young' END");
    assert_eq!(slices, [Some("young".to_owned()), Some("old".to_owned()), None]);
}

#[test]
fn values_of_other_types_become_text() {
    assert_eq!(values("age >= 50"), ["false", "true", "false"].map(|text| Some(text.to_owned())));
    assert_eq!(values("CAST(age AS BIGINT)"), ["20", "70", "3"].map(|text| Some(text.to_owned())));
    assert_eq!(values("upper(town)"), ["T2", "T1", "T0"].map(|text| Some(text.to_owned())));
}

#[test]
fn a_constant_holds_for_every_row() {
    assert_eq!(values("'all'"), vec![Some("all".to_owned()); 3]);
}

#[test]
fn a_row_on_which_an_expression_fails_has_no_slice_and_costs_no_other() {
    let slices = values("100 / (CAST(age AS BIGINT) - 20)");
    assert_eq!(slices, [None, Some("2".to_owned()), Some("-5".to_owned())]);
}

#[test]
fn an_expression_over_a_column_that_is_not_there_is_refused_by_name() {
    let refused = segmenter("nowhere > 1").unwrap_err().to_string();
    assert!(refused.contains("segment slice") && refused.contains("nowhere"), "{refused}");
}

#[test]
fn values_that_the_reference_does_not_know_share_a_segment() {
    let segment = |value: &str| Segment { dimension: "slice".to_owned(), value: value.to_owned() };
    let known = |segment: &Segment| segment.value == "old";
    assert_eq!(known_segment(segment("old"), known), segment("old"));
    assert_eq!(known_segment(segment("new"), known), segment(OTHER));
    assert_eq!(known_segment(segment(NO_VALUE), known), segment(NO_VALUE));
}
