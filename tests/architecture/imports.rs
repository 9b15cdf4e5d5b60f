//! Which file imports which, read from the text of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Files by their module path (`log/kafka`), each with the files that it imports from.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// The imports of a crate whose sources lie in `source`. Test modules are left out.
pub(crate) fn of(source: &Path) -> Imports {
    let files: BTreeMap<String, String> = texts(source, source).into_iter().collect();
    let module_of = |path: &[&str]| longest_module(path, &files);
    let mut imports = Imports::new();
    for (module, text) in &files {
        let targets: BTreeSet<_> = paths(module, text)
            .iter()
            .filter_map(|path| module_of(&path.iter().map(String::as_str).collect::<Vec<_>>()))
            .filter(|target| !is_of_one_folder(module, target))
            .collect();
        imports.insert(module.clone(), targets);
    }
    imports
}

/// Whether one of the two is the folder that the other lies in.
fn is_of_one_folder(one: &str, other: &str) -> bool {
    let lies_in =
        |inner: &str, outer: &str| outer.is_empty() || inner == outer || inner.starts_with(&format!("{outer}/"));
    lies_in(one, other) || lies_in(other, one)
}

/// The file that defines the longest beginning of a path.
fn longest_module(path: &[&str], files: &BTreeMap<String, String>) -> Option<String> {
    (1..=path.len()).rev().map(|length| path[..length].join("/")).find(|module| files.contains_key(module))
}

/// Module path and text of every file below a folder, without what only tests use.
fn texts(folder: &Path, source: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_for_tests = ["tests", "fixtures", "conformance", "properties", "fake"].contains(&name.as_str());
        if path.is_dir() && !is_for_tests {
            found.extend(texts(&path, source));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_for_tests {
            let text = std::fs::read_to_string(&path).expect("a source file can be read");
            found.push((module_path(&path, source), without_tests(&text)));
        }
    }
    found
}

fn module_path(file: &Path, source: &Path) -> String {
    let below = file.strip_prefix(source).expect("the file lies in the crate").with_extension("");
    let path = below.to_string_lossy().replace('\\', "/");
    match path.rsplit_once('/') {
        Some((folder, "mod")) => folder.to_owned(),
        None if path == "lib" || path == "main" => String::new(),
        _ => path,
    }
}

fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path of a file that begins with `crate::` or `super::`, from the root of the crate.
fn paths(module: &str, text: &str) -> Vec<Vec<String>> {
    let own: Vec<&str> = module.split('/').filter(|part| !part.is_empty()).collect();
    let mut found = Vec::new();
    for (start, _) in text.match_indices("crate::").chain(text.match_indices("super::")) {
        if text[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':') {
            continue;
        }
        let mut parts = names(&text[start..]);
        let mut base = own.clone();
        if parts.first().is_some_and(|part| part == "crate") {
            base.clear();
            parts.remove(0);
        }
        while parts.first().is_some_and(|part| part == "super") {
            base.pop();
            parts.remove(0);
        }
        found.push(base.into_iter().map(str::to_owned).chain(parts).collect());
    }
    found
}

/// The names of a path up to the first that is none, as a brace.
fn names(text: &str) -> Vec<String> {
    let end =
        text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':')).unwrap_or(text.len());
    text[..end].split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
