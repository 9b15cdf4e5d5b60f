//! The protocol with programs of a shell, whose answers were written beforehand.

use super::*;
use crate::answers::from_numbers;
use arrow::array::{ArrayRef, Float64Array};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use std::sync::Arc;
use std::time::Duration;

const READY: &str = r#"echo '{"protocol": 1}'"#;
/// Reads the stream of rows to its end beside whatever else is done.
const READS: &str = "cat >/dev/null";

fn scorer(script: &str, time_limit: Duration) -> StandingScorer {
    let command = CommandSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        time_limit,
        output_lines_kept: 5,
        most_result_bytes: 1 << 20,
        ..CommandSpec::default()
    };
    let schema = ModelSchema::new([("x".to_owned(), ColumnKind::Numeric)], Task::Regression);
    let of = ScoredVersion { model: "m".to_owned(), version: "v1".to_owned(), schema };
    StandingScorer::new(command, of, b"the artifact", CancellationToken::new()).unwrap()
}

const LIMIT: Duration = Duration::from_secs(60);

fn rows(numbers: &[f64]) -> RecordBatch {
    let column = Arc::new(Float64Array::from(numbers.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter([("x", column)]).unwrap()
}

/// A stream of as many batches of answers, in files of one batch each: the schema stands in the first.
fn answers(folder: &Path, batches: &[&[f64]]) {
    let schema = answers::answer_schema(&Task::Regression);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for (number, batch) in batches.iter().enumerate() {
        writer.write(&from_numbers(batch.iter().copied()).unwrap()).unwrap();
        std::fs::write(folder.join(format!("answers{number}")), std::mem::take(writer.get_mut())).unwrap();
    }
}

fn told(script: &str, limit: Duration) -> String {
    streams::error_chain::sentence(&scorer(script, limit).score(&rows(&[1.0])).unwrap_err())
}

#[test]
fn a_program_is_started_once_and_asked_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    answers(folder.path(), &[&[3.0, 4.0], &[5.0]]);
    let place = folder.path().display();
    // It answers when it is told to by a file, as a shell cannot tell where a batch ends.
    let script = format!(
        "echo begun >> {place}/starts; grep -q '\"protocol\": 1' \"$0\" && grep -q 'the artifact' artifact || exit 9
         {READY}; ({READS}) & for n in 0 1; do until [ -e {place}/go$n ]; do sleep 0.01; done; cat {place}/answers$n; done; wait"
    );
    let mut scorer = scorer(&script, LIMIT);
    for (number, expected) in [&[3.0, 4.0][..], &[5.0]].into_iter().enumerate() {
        std::fs::write(folder.path().join(format!("go{number}")), "").unwrap();
        let found = scorer.score(&rows(&vec![0.0; expected.len()])).unwrap();
        assert_eq!(found, from_numbers(expected.iter().copied()).unwrap());
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("starts")).unwrap().lines().count(), 1);
}

#[test]
fn a_program_that_ended_since_it_answered_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    answers(folder.path(), &[&[3.0]]);
    let place = folder.path().display();
    let mut scorer =
        scorer(&format!("echo begun >> {place}/starts; {READY}; cat {place}/answers0; head -c 1 >/dev/null"), LIMIT);
    for _ in 0..3 {
        assert_eq!(scorer.score(&rows(&[1.0])).unwrap(), from_numbers([3.0]).unwrap());
    }
    assert!(std::fs::read_to_string(folder.path().join("starts")).unwrap().lines().count() >= 2);
}

#[test]
fn what_a_program_does_instead_of_answering_is_told() {
    let slow = Duration::from_millis(300);
    let cases = [
        (r#"echo '{"protocol": 1, "error": "no pickle of mine"}'"#, LIMIT, "refuses the artifact: no pickle of mine"),
        (
            "echo Loading model…; cat",
            LIMIT,
            "is not the protocol of a scorer that stays up: its first line is `Loading model",
        ),
        (r#"echo '{"protocol": 2}'; cat"#, LIMIT, "it speaks protocol 2, and 1 is spoken here"),
        (r#"echo '{"protocol": 1}'; echo 0 rows; cat >/dev/null"#, LIMIT, "is not the protocol"),
        ("echo no such file >&2; exit 3", LIMIT, "exited with code 3; its last lines were:\nno such file"),
        (r#"echo '{"protocol": 1}'; echo out of memory >&2; exit 1"#, LIMIT, "exited with code 1"),
        ("exec sleep 600", slow, "was stopped after its time limit of 300ms"),
        (r#"echo '{"protocol": 1}'; exec sleep 600"#, slow, "was stopped after its time limit of 300ms"),
    ];
    for (script, limit, expected) in cases {
        let message = told(script, limit);
        assert!(message.contains(expected), "{script}: {message}");
    }
}

#[test]
fn each_row_needs_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    answers(folder.path(), &[&[3.0, 4.0]]);
    let message = told(&format!("{READY}; cat {}/answers0; {READS}", folder.path().display()), LIMIT);
    assert!(message.contains("2 answers for 1 rows"), "{message}");
}

#[test]
fn a_version_whose_program_keeps_failing_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let mut scorer = scorer(&format!("echo begun >> {}; exit 1", starts.display()), LIMIT);
    let failures: Vec<_> = (0..5).map(|_| scorer.score(&rows(&[1.0])).unwrap_err().to_string()).collect();
    assert!(failures[4].contains("has failed 3 times in a row"), "{failures:?}");
    assert_eq!(std::fs::read_to_string(starts).unwrap().lines().count(), 3);
}

#[test]
fn many_rows_are_asked_some_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (most, more) = (vec![1.0; ROWS_AT_ONCE], vec![2.0; 10]);
    answers(folder.path(), &[&most, &more]);
    let place = folder.path().display();
    let mut scorer = scorer(&format!("{READY}; cat {place}/answers0 {place}/answers1; {READS}"), LIMIT);
    let found = scorer.score(&rows(&vec![0.0; ROWS_AT_ONCE + 10])).unwrap();
    assert_eq!(found, from_numbers(most.into_iter().chain(more)).unwrap());
}
