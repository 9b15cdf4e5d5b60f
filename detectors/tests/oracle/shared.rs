//! Reading the folder with the answers.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder with the answers, if it is there.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("DRIFTLINE_SHARED").map_or(beside, PathBuf::from);
    if folder.join("oracle").is_dir() {
        return Some(folder);
    }
    let required = std::env::var("DRIFTLINE_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "DRIFTLINE_REQUIRE_SHARED=1, but {} has no folder `oracle`", folder.display());
    println!("skipped: {} has no folder `oracle`; set DRIFTLINE_SHARED to where it is", folder.display());
    None
}

/// A file's text, unpacked if it is packed.
pub(crate) fn text(path: &Path) -> String {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

/// A file of JSON.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows by column name; no field of these files is quoted.
pub(crate) fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = text(path);
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let row_of = |line: &str| -> BTreeMap<String, String> {
        names.iter().zip(line.split(',')).map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
    };
    lines.map(row_of).collect()
}

/// The values of a stream: one number a line under a header.
pub(crate) fn stream(path: &Path) -> Vec<f64> {
    text(path).lines().skip(1).map(|line| line.parse().expect("a number")).collect()
}
