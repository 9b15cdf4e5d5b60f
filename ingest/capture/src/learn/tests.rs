//! What learning a reference promises.

use super::*;
use crate::fixtures::{REFERENCE_ROWS, START_MS, announced, assert_alike, decoded, event, tree, watched};
use crate::segments::{OTHER, SegmentSource, SegmentSpec};
use serde_json::json;

fn origin() -> Origin {
    Origin::Archive { from_ms: 0, until_ms: 1 }
}

#[test]
fn panes_add_up_to_the_whole_and_segments_to_the_traffic() {
    let watched = Arc::new(watched());
    let reference = announced(&watched).reference;
    for slice in reference.slices() {
        let mut sum = Profile::empty(reference.layouts());
        let mut labelled = 0;
        for pane in &slice.panes {
            sum.merge(&pane.profile.unpacked().unwrap()).unwrap();
            labelled += pane.quality.as_ref().map_or(0, Quality::labelled);
        }
        assert_alike(&tree(&sum), &tree(&slice.profile), "profile");
        assert_eq!(slice.quality.as_ref().map(Quality::labelled), Some(labelled));
    }
    let rows = |segmented: bool| {
        reference
            .slices()
            .iter()
            .filter(|slice| slice.segment.is_some() == segmented)
            .map(|s| s.profile.rows())
            .sum::<i64>()
    };
    assert_eq!((rows(false), rows(true)), (REFERENCE_ROWS, REFERENCE_ROWS));
    assert_eq!(reference.slices()[0].segment, None, "the whole traffic comes first");
    assert_eq!(reference.slices()[0].panes.len(), 20);
    assert!(reference.steps().is_some());
}

#[test]
fn rare_segments_share_one() {
    let mut watched = watched();
    let source = SegmentSource::Expression("CAST(age AS BIGINT)".to_owned());
    watched.segments = vec![SegmentSpec { name: "age".to_owned(), source }];
    let watched = Arc::new(watched);
    let rows: Vec<_> = (0..170).map(|n| event(&format!("r{n}"), START_MS, n)).collect();
    let reference = learn_reference(&watched, "1", &decoded(&watched, &rows), origin()).unwrap();
    let segments: Vec<_> = reference.slices().iter().filter_map(|slice| slice.segment.as_ref()).collect();
    assert_eq!(segments.len(), MOST_SEGMENTS + 1);
    let other =
        reference.slices().iter().find(|slice| slice.segment.as_ref().is_some_and(|s| s.value == OTHER)).unwrap();
    // Ages 0 to 79 come twice, 80 to 89 once; fifty of those that come twice have a slice.
    assert_eq!(other.profile.rows(), 170 - 100);
}

#[test]
fn rows_without_labels_have_no_quality() {
    let watched = Arc::new(watched());
    let rows: Vec<_> = (0..20).map(|n| event(&format!("r{n}"), START_MS, n)).collect();
    let reference = learn_reference(&watched, "1", &decoded(&watched, &rows), origin()).unwrap();
    assert!(reference.slices()[0].quality.is_none() && reference.steps().is_none());
}

#[test]
fn no_rows_are_an_error_that_names_the_model() {
    let watched = Arc::new(watched());
    let none = decoded(&watched, &[event("a", START_MS, 1)]).slice(0, 0);
    let refused = learn_reference(&watched, "1", &none, origin()).unwrap_err().to_string();
    assert_eq!(refused, "no rows to learn a reference of bed from: check the file or the time range");
}

#[test]
fn the_span_is_that_of_the_rows() {
    let watched = watched();
    let mut early = event("b", START_MS - 7, 1);
    early["label"] = json!("1");
    let rows = decoded(&watched, &[event("a", START_MS, 1), early]);
    assert_eq!(time_span(&rows), Some((START_MS - 7, START_MS)));
    assert_eq!(time_span(&rows.slice(0, 0)), None);
}
