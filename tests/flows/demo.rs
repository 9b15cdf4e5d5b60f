//! The demo closes its loop.

use driftline_tests::{On, Workplace};

#[test]
fn the_demo_finds_the_drift_and_recovers() {
    finds_the_drift_and_recovers(&[]);
}

#[test]
fn the_demo_finds_the_drift_and_recovers_on_kafka() {
    let Some(On::Kafka { bootstrap, .. }) = On::kafka().unwrap() else { return };
    finds_the_drift_and_recovers(&["--kafka", &bootstrap]);
}

fn finds_the_drift_and_recovers(log: &[&str]) {
    let place = Workplace::new(crate::BINARY, "", On::Embedded).unwrap();
    let arguments = [&["demo", "--once", "--json", "--listen", "127.0.0.1:0"], log].concat();
    let output = place.run(&arguments).unwrap();
    let ending: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let number = |field: &str| ending[field].as_f64().unwrap_or_else(|| panic!("{field} in {ending}"));
    assert!(number("accuracy_recovered") > number("accuracy_drifted") + 0.05, "{ending}");
    assert!(number("accuracy_recovered") > number("accuracy_reference") - 0.05, "{ending}");
    assert!(number("drift_detected_after_windows") <= 4.0, "{ending}");
    assert_eq!(number("false_alarms_before_drift"), 0.0, "{ending}");
    assert!(ending["promoted_version"].is_string(), "{ending}");
}
