//! The crate stands at the bottom of the tower: nothing that reads, waits or talks may come in, not even by a detour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "the whole file is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates whose presence would mean input, output, waiting or a query engine.
const FORBIDDEN: [&str; 9] =
    ["tokio", "rdkafka", "datafusion", "reqwest", "ureq", "hyper", "axum", "rusqlite", "object_store"];

/// Crates of this workspace that stand higher.
const HIGHER: [&str; 7] = ["streams", "codec", "capture", "monitor", "retrain", "dashboards", "driftline"];

#[test]
fn no_dependency_of_the_crate_reads_waits_or_talks() {
    // A fresh machine has fetched the crates of its own platform only.
    let platform = host();
    let written = cargo(&["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &platform]);
    let metadata: serde_json::Value = serde_json::from_str(&written).expect("cargo metadata writes JSON");
    let names = names_by_id(&metadata);
    let found = needed_by(&metadata, "detectors", &names);
    assert!(found.contains("arrow") && found.contains("serde"), "the graph was read: {found:?}");
    for name in FORBIDDEN.iter().chain(&HIGHER) {
        assert!(!found.contains(*name), "detectors depends on {name}: move what needs it up the tower");
    }
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The platform that this machine builds for.
fn host() -> String {
    let version = cargo(&["--version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("cargo names its host").to_owned()
}

fn names_by_id(metadata: &serde_json::Value) -> BTreeMap<&str, &str> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?))).collect()
}

/// Names of everything that the library needs, directly or not; what only its tests need does not count.
fn needed_by<'a>(metadata: &'a serde_json::Value, root: &str, names: &BTreeMap<&'a str, &'a str>) -> BTreeSet<&'a str> {
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let needs: BTreeMap<&str, Vec<&str>> = nodes
        .filter_map(|node| {
            let needed = node["deps"].as_array()?.iter().filter(|needed| is_needed_to_run(needed));
            Some((node["id"].as_str()?, needed.filter_map(|needed| needed["pkg"].as_str()).collect()))
        })
        .collect();
    let mut waiting: Vec<&str> = names.iter().filter(|(_, name)| **name == root).map(|(id, _)| *id).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            waiting.extend(needs.get(id).into_iter().flatten());
        }
    }
    seen.into_iter().filter_map(|id| names.get(id).copied()).filter(|name| *name != root).collect()
}

fn is_needed_to_run(dependency: &serde_json::Value) -> bool {
    let kinds = dependency["dep_kinds"].as_array();
    kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
}
