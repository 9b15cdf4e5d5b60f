//! The promises of parity: the tools' tests, thresholds and words on the whole.

use super::*;
use crate::compare::CompareError;
use crate::compare::tests::{files, rows, table, written};
use detectors::parity::nannyml::{FittedNumbers, NumberMethod, threshold_of_chunks};
use detectors::statistics::NumberSample;

fn found(reference: &str, current: &str, tool: ParityTool) -> ParityComparison {
    compare(&files(written(reference, current).path()), tool).unwrap()
}

/// Numbers that fill their range evenly, though not in order.
fn even(count: usize, from: f64) -> String {
    table(count, |row| format!("{},{}", from + (row * 7_919 % count) as f64 / count as f64, ["a", "b", "c"][row % 3]))
}

#[test]
fn evidently_chooses_its_test_by_rows_and_values_and_says_drift_where_half_of_the_columns_have_it() {
    let small = found(&even(500, 0.0), &even(400, 0.5), ParityTool::Evidently);
    let tests: Vec<_> = small.columns.iter().map(|column| (column.column.as_str(), column.test)).collect();
    assert_eq!(tests, [("x", "ks"), ("plan", "chisquare")]);
    assert_eq!(small.columns[0].threshold, 0.05);
    assert_eq!((small.drifted_columns, small.drifted), (1, true), "{small:?}");
    let large = found(&even(2_000, 0.0), &even(400, 0.0), ParityTool::Evidently);
    let tests: Vec<_> = large.columns.iter().map(|column| (column.test, column.threshold)).collect();
    assert_eq!(tests, [("wasserstein", 0.1), ("jensenshannon", 0.1)]);
    assert_eq!((large.drifted_columns, large.drifted), (0, false), "{large:?}");
    assert!(!ParityTool::Evidently.is_drift(1, 3) && ParityTool::Evidently.is_drift(1, 2));
}

#[test]
fn evidently_takes_few_whole_numbers_for_categories_unless_told_otherwise() {
    let rooms = |count: usize| table(count, |row| format!("{},{}", row % 8, ["a", "b"][row % 2]));
    let folder = written(&rooms(2_000), &rooms(500));
    let mut pair = files(folder.path());
    let kind_of = |pair: &FilePair| compare(pair, ParityTool::Evidently).unwrap().columns[0].clone();
    assert_eq!((kind_of(&pair).kind, kind_of(&pair).test), (ColumnKind::Categorical, "jensenshannon"));
    pair.columns.numeric = vec!["x".to_owned()];
    assert_eq!((kind_of(&pair).kind, kind_of(&pair).test), (ColumnKind::Numeric, "wasserstein"));
}

#[test]
fn text_is_left_out_for_evidently_and_tested_for_nannyml() {
    let notes = |count: usize| table(count, |row| format!("{row}.5,note {}", row / 10 * 9 + (row % 10).min(8)));
    let (before, now) = (notes(300), notes(200));
    let left_out = found(&before, &now, ParityTool::Evidently).left_out;
    assert!(left_out.len() == 1 && left_out[0].why.starts_with("is text to Evidently"), "{left_out:?}");
    assert!(found(&before, &now, ParityTool::Nannyml).left_out.is_empty());
}

#[test]
fn nannymls_threshold_is_of_the_references_chunks_of_the_current_files_size() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 4_500, 0.0);
    rows(&folder.path().join("current.csv"), 2, 1_000, 0.5);
    let all = compare(&files(folder.path()), ParityTool::Nannyml).unwrap();
    let age = all.columns.iter().find(|column| column.column == "age").unwrap();
    let text = std::fs::read_to_string(folder.path().join("reference.csv")).unwrap();
    let ages: Vec<f64> = text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    let fitted = FittedNumbers::fit(&NumberSample::of(&ages)).unwrap();
    let chunks = ages.chunks(1_000).map(|chunk| fitted.distance(NumberMethod::JensenShannon, &NumberSample::of(chunk)));
    let distances: Vec<f64> = chunks.collect::<Result<_, _>>().unwrap();
    assert_eq!(distances.len(), 5, "the last of 500 rows");
    assert_eq!(age.threshold, threshold_of_chunks(&distances).unwrap());
    assert!(age.drifted && age.test == "jensen_shannon", "{age:?}");
    assert!(all.drifted, "one column that alerts is enough");
    let alone = found(&even(500, 0.0), &even(500, 0.0), ParityTool::Nannyml);
    assert!(alone.columns.iter().all(|column| column.threshold == 0.1), "one chunk has no deviation: {alone:?}");
    assert!(!alone.drifted);
}

#[test]
fn columns_without_values_are_told_of_and_empty_files_end_in_no_judgement() {
    for tool in ParityTool::ALL {
        let gone = table(50, |_| ",a".to_owned());
        let some = found(&even(200, 0.0), &gone, tool);
        assert_eq!(some.columns.len(), 1, "{some:?}");
        assert!(some.left_out[0].column == "x" && some.left_out[0].why.contains("no values"), "{some:?}");
        let none = found(&even(200, 0.0), "x,plan\n", tool);
        assert!(none.columns.is_empty() && !none.drifted && none.left_out.len() == 2, "{none:?}");
        let error = compare(&files(written("x,plan\n", &gone).path()), tool).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(CompareError::NoRows { .. })), "{error}");
    }
}
