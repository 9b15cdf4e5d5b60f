//! Files, folders of files and standard input, read one after the other as one table.
//!
//! A column is known by its name, whichever place it has in a file; where a file lacks one, its rows have no value there.
//! Folders hold files of the formats that are known, as other programs write tables in parts; what begins with `_` or `.` is
//! theirs. Standard input is written to a temporary file first, because files are read more than once.

use super::{Opened, Rows, SourceError, open_part};
use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// How much of standard input tells it from another.
const KNOWN_BY_BYTES: u64 = 1 << 20;

/// The name by which standard input is asked for.
const STANDARD_INPUT: &str = "-";

/// How the text of files is meant, where that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// What separates the fields of CSV; recognised where it is not said.
    pub delimiter: Option<u8>,
    /// Texts that stand for a missing value, in whichever column.
    pub missing: Vec<String>,
}

/// One or several files that make one table.
#[derive(Debug, Clone)]
pub struct Files {
    given: Vec<PathBuf>,
    reading: Reading,
    /// What was read from standard input, as long as it is needed.
    spooled: Option<Arc<TempDir>>,
}

impl From<&Path> for Files {
    fn from(file: &Path) -> Self {
        Self { given: vec![file.to_owned()], reading: Reading::default(), spooled: None }
    }
}

impl From<PathBuf> for Files {
    fn from(file: PathBuf) -> Self {
        Self::from(file.as_path())
    }
}

impl Files {
    /// These files and folders in their order; `-` reads standard input to its end.
    ///
    /// # Errors
    /// When standard input cannot be read, or is named twice.
    pub fn new(given: &[PathBuf], reading: Reading) -> Result<Self, SourceError> {
        let is_input = |path: &&PathBuf| path.as_os_str() == STANDARD_INPUT;
        match given.iter().filter(is_input).count() {
            0 => return Ok(Self { given: given.to_vec(), reading, spooled: None }),
            1 => {}
            _ => return Err(broken(Path::new(STANDARD_INPUT), "standard input can be read once: name it once")),
        }
        let unreadable = |source| SourceError::Unreadable { file: PathBuf::from("standard input"), source };
        let (folder, file) = spooled(&mut io::stdin().lock()).map_err(unreadable)?;
        let path = |path: &PathBuf| if is_input(&path) { file.clone() } else { path.clone() };
        Ok(Self { given: given.iter().map(path).collect(), reading, spooled: Some(Arc::new(folder)) })
    }

    /// What messages call them: the first one's path, and how many more there are.
    pub fn name(&self) -> PathBuf {
        match self.given.as_slice() {
            [] => PathBuf::from("no file"),
            [only] => only.clone(),
            [first, more @ ..] => PathBuf::from(format!("{} and {} more", first.display(), more.len())),
        }
    }

    /// A name by which the same rows are known again: several files by all their paths, and what came from standard input by
    /// its beginning and its length.
    ///
    /// # Errors
    /// When what came from standard input cannot be read.
    pub fn lasting_name(&self) -> Result<PathBuf, SourceError> {
        let Some(spooled) = &self.spooled else {
            let paths: Vec<_> = self.given.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
            let digest = streams::store::digest(&paths.join(&0));
            let of_several = || format!("{} ({})", self.name().display(), digest.get(..8).unwrap_or_default());
            return Ok(if paths.len() == 1 { self.name() } else { PathBuf::from(of_several()) });
        };
        let unreadable = |source| SourceError::Unreadable { file: PathBuf::from("standard input"), source };
        let of_input = |path: &&PathBuf| path.starts_with(spooled.path());
        let Some(file) = self.given.iter().find(of_input) else { return Ok(self.name()) };
        let (mut beginning, length) = (Vec::new(), std::fs::metadata(file).map_err(unreadable)?.len());
        let opened = File::open(file).map_err(unreadable)?;
        opened.take(KNOWN_BY_BYTES).read_to_end(&mut beginning).map_err(unreadable)?;
        beginning.extend(length.to_le_bytes());
        let digest = streams::store::digest(&beginning);
        Ok(PathBuf::from(format!("standard input {}", digest.get(..8).unwrap_or_default())))
    }

    /// The files themselves, those of folders in the order of their names.
    ///
    /// # Errors
    /// When a folder cannot be read or holds no file of rows.
    pub fn paths(&self) -> Result<Vec<PathBuf>, SourceError> {
        let mut paths = Vec::new();
        for given in &self.given {
            if !given.is_dir() {
                paths.push(given.clone());
                continue;
            }
            let before = paths.len();
            parts_of(given, &mut paths).map_err(|source| SourceError::Unreadable { file: given.clone(), source })?;
            if paths.len() == before {
                return Err(broken(given, "the folder holds no file of rows: name one that does"));
            }
        }
        Ok(paths)
    }

    /// Opens them.
    ///
    /// # Errors
    /// When a file cannot be read, its ending is none that is known, or its header or schema is broken.
    pub fn open(&self) -> Result<Rows, SourceError> {
        self.open_only(None)
    }

    /// Opens them so that only these columns are read; those that they do not have are left to the reader of the rows.
    ///
    /// Parquet skips what is not wanted, and CSV does not keep it; JSON is read whole.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn open_columns(&self, columns: &[&str]) -> Result<Rows, SourceError> {
        self.open_only(Some(columns))
    }

    fn open_only(&self, columns: Option<&[&str]>) -> Result<Rows, SourceError> {
        let (paths, file) = (self.paths()?, self.name());
        if let [only] = paths.as_slice() {
            let opened = open_part(only, &self.reading, columns)?;
            return Ok(Rows::new(only.clone(), opened, &self.reading));
        }
        let mut parts = Vec::new();
        for path in &paths {
            let Opened { schema, notes, .. } = open_part(path, &self.reading, columns)?;
            parts.push((path.clone(), schema, notes));
        }
        let schema = union(parts.iter().map(|(_, schema, _)| schema));
        let notes = parts.iter().flat_map(|(path, own, notes)| notes_on(path, own, &schema, notes)).collect();
        let opened =
            Opened { schema: Arc::clone(&schema), batches: self.one_after_the_other(paths, schema, columns), notes };
        Ok(Rows::new(file, opened, &self.reading))
    }

    /// The batches of all files; one is open at a time.
    fn one_after_the_other(&self, paths: Vec<PathBuf>, schema: SchemaRef, columns: Option<&[&str]>) -> super::Batches {
        let reading = self.reading.clone();
        let columns: Option<Vec<String>> = columns.map(|columns| columns.iter().map(ToString::to_string).collect());
        let batches = paths.into_iter().flat_map(move |path| {
            let columns: Option<Vec<&str>> = columns.as_ref().map(|names| names.iter().map(String::as_str).collect());
            let opened = open_part(&path, &reading, columns.as_deref());
            let (batches, failed) = match opened {
                Ok(opened) => (Some(opened.batches), None),
                Err(error) => (None, Some(Err(ArrowError::ExternalError(Box::new(error))))),
            };
            let named =
                move |error: ArrowError| ArrowError::ExternalError(format!("{}: {error}", path.display()).into());
            failed.into_iter().chain(batches.into_iter().flatten().map(move |batch| batch.map_err(&named)))
        });
        Box::new(batches.map(move |batch| fitted(&batch?, &schema)))
    }
}

fn broken(file: &Path, reason: &str) -> SourceError {
    SourceError::Header { file: file.to_owned(), reason: reason.to_owned() }
}

/// Appends the files below a folder that hold rows, by name.
fn parts_of(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match () {
            () if name.starts_with(['_', '.']) => {}
            () if path.is_dir() => parts_of(&path, paths)?,
            () if super::Format::of(&path).is_some() => paths.push(path),
            () => {}
        }
    }
    Ok(())
}

/// Writes what comes to a file whose name tells its format.
fn spooled(input: &mut impl Read) -> io::Result<(TempDir, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("driftline-").tempdir()?;
    let (raw, named) = (folder.path().join("input"), folder.path().join("standard input.csv"));
    let mut file = File::create(&raw)?;
    io::copy(input, &mut file)?;
    file.flush()?;
    let named = match super::Format::recognised(&raw) {
        Some(super::Format::Parquet) => named.with_extension("parquet"),
        Some(super::Format::Json) => named.with_extension("json"),
        _ => named,
    };
    std::fs::rename(raw, &named)?;
    Ok((folder, named))
}

/// All columns of the schemas, in the order in which they are met.
fn union<'a>(schemas: impl Iterator<Item = &'a SchemaRef>) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for field in schemas.flat_map(|schema| schema.fields().iter()) {
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            None => fields.push(Arc::clone(field)),
            Some(known) => {
                let data_type = common(known.data_type(), field.data_type());
                *known = Arc::new(Field::new(field.name(), data_type, true));
            }
        }
    }
    Arc::new(Schema::new(fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
}

/// A type that holds the values of both.
fn common(one: &DataType, other: &DataType) -> DataType {
    match () {
        () if one == other => one.clone(),
        () if one.is_integer() && other.is_integer() => DataType::Int64,
        () if one.is_numeric() && other.is_numeric() => DataType::Float64,
        () => DataType::Utf8,
    }
}

/// What is to be told of one of several files.
fn notes_on(path: &Path, own: &SchemaRef, all: &SchemaRef, notes: &[String]) -> Vec<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lacks = |field: &&Arc<Field>| own.index_of(field.name()).is_err();
    let missing: Vec<_> = all.fields().iter().filter(lacks).map(|field| format!("`{}`", field.name())).collect();
    let missing =
        (!missing.is_empty()).then(|| format!("{name} lacks {}: its rows have no value there", missing.join(", ")));
    notes.iter().map(|note| format!("{name}: {note}")).chain(missing).collect()
}

/// The batch with the columns of the schema.
fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
