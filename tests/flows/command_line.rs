//! What the command line does where its output is cut off.

use driftline_tests::{On, Workplace};
use std::io::Read;
use std::process::Stdio;

const CONFIGURATION: &str = "
version: 1
log: LOG
models:
  fare:
    task: {type: regression}
    features: {km: numeric}
    windows: {size: 1h}
";

fn rows() -> String {
    let row = |n: u32| format!("{n}.5,p{}\n", n % 3);
    format!("km,plan\n{}", (0..200).map(row).collect::<String>())
}

/// Every command that prints and needs no service, as the words after `driftline`.
const COMMANDS: &[(&str, i32)] = &[
    ("compare rows.csv rows.csv", 0),
    ("compare rows.csv rows.csv --json", 0),
    ("compare rows.csv rows.csv --parity evidently", 0),
    ("check", 0),
    ("check --json", 0),
    ("init --from rows.csv --output OUTPUT", 0),
    ("replay rows.csv --model fare --prediction km", 0),
    ("reference --model fare --from-file rows.csv --label km --prediction km", 0),
    ("compare rows.csv rows.csv --columns nothing", 2),
    ("--help", 0),
];

#[test]
fn a_reader_that_goes_away_ends_no_command_in_a_panic() {
    for (number, (command, exit)) in COMMANDS.iter().enumerate() {
        let place = Workplace::new(crate::BINARY, CONFIGURATION, On::Embedded).unwrap();
        place.write("rows.csv", &rows()).unwrap();
        let command = command.replace("OUTPUT", &format!("new-{number}.yaml"));
        let arguments: Vec<_> = command.split_whitespace().collect();
        // Standard error stays open for what must not be there.
        let mut process = place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        let mut said = String::new();
        process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(*exit), "{command}: {said}");
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{command}: {said}");
        let mut process = place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        drop(process.stderr.take());
        assert!(process.wait().unwrap().code().is_some_and(|code| code < 10), "{command}, with both closed");
    }
}

#[test]
fn a_standard_output_that_is_full_is_an_error_and_no_panic() {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, On::Embedded).unwrap();
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let output = place.command(&["check"]).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output cannot be written"), "{said}");
}

#[test]
fn rows_from_standard_input_are_those_of_the_file() {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, On::Embedded).unwrap();
    place.write("rows.csv", &rows()).unwrap();
    let from = |file: &str| {
        let input = std::fs::File::open(place.path().join("rows.csv")).unwrap();
        let output = place.command(&["compare", "rows.csv", file, "--json"]).stdin(input).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), told["drift"].clone())
    };
    assert_eq!(from("-"), from("rows.csv"));
}

#[test]
fn a_comparison_leaves_a_report_that_loads_nothing() {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, On::Embedded).unwrap();
    let rows = |plan: fn(u32) -> u32, more: f64| {
        let row = |n: u32| format!("{},plan {}\n", f64::from(n % 97) + more, plan(n));
        format!("km,plan\n{}", (0..3_000).map(row).collect::<String>())
    };
    place.write("before.csv", &rows(|n| n % 3, 0.0)).unwrap();
    place.write("after.csv", &rows(|n| n % 2, 30.5)).unwrap();
    let arguments = ["compare", "before.csv", "after.csv", "--html", "report.html"];
    let output = place.command(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read_to_string(place.path().join("report.html")).unwrap();
    for said in [
        "before.csv, 3\u{202f}000 rows",
        "of rows moved",
        "towards higher values",
        "<svg",
        "plan 0",
        "above the reference",
    ] {
        assert!(report.contains(said), "{said} in {report}");
    }
    assert!(report.len() < 200_000, "{} bytes", report.len());
    assert!(!report.contains("http:") && !report.contains("https:") && !report.contains("<script"), "{report}");
    let nowhere = place.command(&["compare", "before.csv", "after.csv", "--html", "no/folder.html"]).output().unwrap();
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(1), "{said}");
    assert!(said.contains("--html: writing no/folder.html"), "{said}");
}
