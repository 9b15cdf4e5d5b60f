//! Where ONNX Runtime's library is.
//!
//! What the configuration names comes first, then the variable `ORT_DYLIB_PATH`; where either names one, no other is looked
//! for. Else the places that the dynamic loader knows, and last the Python that the trainer runs in, or `python3` in `PATH`:
//! its package `onnxruntime` carries the library. Python is asked where the package lies; the package is not imported. Nothing
//! is loaded here: that is done in the child that answers, which takes the first of the files that it can.

use crate::process::CommandSpec;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names the library.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// The variable with more folders for the dynamic loader.
pub(super) const LOADER_VARIABLE: &str = "LD_LIBRARY_PATH";
/// Folders in which libraries are installed.
const FOLDERS: [&str; 8] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/opt/onnxruntime/lib",
    "/opt/homebrew/lib",
];
/// What the library's files begin with.
const BEGINNINGS: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.dylib"];
/// Has Python tell where the package is.
const WHERE: &str =
    "import importlib.util as u; s = u.find_spec('onnxruntime'); print(s.submodule_search_locations[0] if s else '')";
/// How long Python may take over that.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the library is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Library {
    /// The file that the configuration names.
    pub named: Option<PathBuf>,
    /// The program that trains the model, which may be a Python.
    pub trainer: Option<CommandSpec>,
}

impl Library {
    /// Files to try, the most wanted first.
    pub(crate) fn candidates(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
            return vec![named.into()];
        }
        let loader = std::env::var_os(LOADER_VARIABLE).unwrap_or_default();
        let folders = std::env::split_paths(&loader).chain(FOLDERS.map(PathBuf::from));
        let mut found: Vec<_> = folders.flat_map(|folder| libraries_in(&folder)).collect();
        found.extend(self.pythons().iter().filter_map(package).flat_map(|package| libraries_in(&package.join("capi"))));
        found
    }

    fn pythons(&self) -> Vec<CommandSpec> {
        let is_python = |command: &&CommandSpec| {
            command.program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"))
        };
        let mut pythons: Vec<CommandSpec> = self.trainer.iter().filter(is_python).cloned().collect();
        pythons.push(CommandSpec { program: "python3".into(), ..CommandSpec::default() });
        pythons
    }
}

/// The library's files in a folder; a link and what it points to count as two, and do no harm.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    };
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_library).collect();
    found.sort();
    found
}

/// The folder of the package that a Python would import.
fn package(python: &CommandSpec) -> Option<PathBuf> {
    let mut command = Command::new(&python.program);
    command.args(["-c", WHERE]).envs(&python.environment);
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    if let Some(directory) = &python.working_directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn().ok()?;
    let began = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    Some(said.trim()).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_named_is_the_only_one_that_is_tried() {
        let named = PathBuf::from("/no/such/libonnxruntime.so");
        assert_eq!(Library { named: Some(named.clone()), trainer: None }.candidates(), [named]);
    }

    #[test]
    fn a_folder_gives_the_library_and_not_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so", "other.so"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(libraries_in(folder.path()), [folder.path().join("libonnxruntime.so.1.31.1")]);
        assert!(libraries_in(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn the_python_of_the_trainer_tells_where_its_package_is() {
        let folder = tempfile::tempdir().unwrap();
        let capi = folder.path().join("site/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        std::fs::write(capi.join("libonnxruntime.so.1.31.1"), "").unwrap();
        std::fs::write(capi.parent().unwrap().join("__init__.py"), "raise SystemExit(1)").unwrap();
        let site = folder.path().join("site").display().to_string();
        let environment = [("PYTHONPATH".to_owned(), site)].into();
        let python = CommandSpec { program: "python3".into(), environment, ..CommandSpec::default() };
        let Some(found) = package(&python) else { return println!("skipped: no python3 in PATH") };
        assert_eq!(found, capi.parent().unwrap());
    }
}
