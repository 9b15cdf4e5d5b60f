//! The direction of the house: a crate uses only those below it, and files of different responsibility do not import each
//! other in a circle.
//!
//! Imports are read as text: paths that begin with `crate::` or `super::`, outside of tests. What a folder's own file and
//! the files of the folder import of each other does not count, because a folder is one responsibility to the outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "the whole file is a test")]

mod circles;
mod imports;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates from the bottom to the top, and where each lies.
const TOWER: [(&str, &str); 8] = [
    ("detectors", "detectors"),
    ("streams", "ingest/streams"),
    ("codec", "ingest/codec"),
    ("capture", "ingest/capture"),
    ("monitor", "ingest/monitor"),
    ("retrain", "retrain"),
    ("dashboards", "dashboards"),
    ("driftline", "."),
];

/// Crates that a crate must not depend on directly, so that it builds without them.
const WITHOUT: [(&str, &[&str]); 3] = [
    ("detectors", &["tokio", "rdkafka", "datafusion"]),
    ("streams", &["arrow", "parquet", "datafusion", "detectors"]),
    ("codec", &["datafusion", "parquet"]),
];

/// Circles that stay, each with its reason. A file is named by its path below `src` of its crate.
const CIRCLES: &[(&str, &[&str], &str)] = &[
    (
        "codec",
        &[
            "decode/builders",
            "decode/envelope",
            "decode/mapping",
            "decode/shared_builders",
            "decode/source",
            "decode/time",
        ],
        "to be untied: a source holds its builders and its mapping, and these know the source's columns",
    ),
    (
        "codec",
        &["decode/columnar/arrays", "decode/columnar/stream"],
        "to be untied: the stream reads arrays of its own types",
    ),
    (
        "codec",
        &["decode/cursor", "decode/json", "decode/number", "decode/unclosed"],
        "to be untied: the cursor's values are what both row formats read numbers into",
    ),
    (
        "retrain",
        &["linear", "recalibration", "scorer/onnx"],
        "to be untied: a recalibration is appended to either kind of model",
    ),
    ("dashboards", &["api", "page"], "the API mounts the console, whose forms give the API's commands"),
    (
        "dashboards",
        &[
            "api/admission",
            "api/commands",
            "api/encoding",
            "api/error",
            "api/extract",
            "api/guard",
            "api/hosts",
            "api/intake",
            "api/paging",
            "api/receive",
            "api/server",
        ],
        "to be untied: a problem is made from the errors of handlers that answer with problems",
    ),
    ("dashboards", &["exporter", "process"], "an exporter registers the metrics of its own process"),
];

#[test]
fn a_crate_uses_only_those_below_it() {
    for (rank, (name, folder)) in TOWER.iter().enumerate() {
        let needed = dependencies(&root().join(folder).join("Cargo.toml"));
        for (higher, _) in &TOWER[rank + 1..] {
            assert!(!needed.iter().any(|found| found == higher), "{name} depends on {higher}, which stands above it");
        }
    }
}

#[test]
fn crates_build_without_what_they_must_not_know() {
    let folders: BTreeMap<_, _> = TOWER.into_iter().collect();
    for (name, forbidden) in WITHOUT {
        let needed = dependencies(&root().join(folders[name]).join("Cargo.toml"));
        assert!(needed.iter().any(|found| found == "serde"), "the dependencies of {name} were read: {needed:?}");
        for absent in forbidden {
            assert!(!needed.iter().any(|found| found == absent), "{name} depends on {absent}");
        }
    }
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let mut unexpected = Vec::new();
    for (name, folder) in TOWER {
        let imports = imports::of(&root().join(folder).join("src"));
        assert!(imports.values().map(|targets| targets.len()).sum::<usize>() > 0, "the imports of {name} were read");
        for circle in circles::of(&imports) {
            let is_known = CIRCLES.iter().any(|(known, files, _)| *known == name && circle == **files);
            if !is_known {
                unexpected.push(format!("{name}: {}", circle.join(" · ")));
            }
        }
    }
    assert!(unexpected.is_empty(), "circles of imports:\n{}", unexpected.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// Names below `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let lines =
        text.lines().skip_while(|line| *line != "[dependencies]").skip(1).take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
