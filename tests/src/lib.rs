//! What the flow tests have in common: a folder with a configuration, the binary, and what a finished log says.

pub mod kafka;
mod on;
mod progress;
pub mod prometheus;
mod running;
pub mod secured;

pub use on::On;
pub use progress::Progress;
pub use running::{Answer, Running, Sent};

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use capture::archive::index::ArchiveIndex;
use capture::archive::parquet_file::from_parquet;
use detectors::verdict::{Finality, MonitorEvent, Verdict};
use retrain::lifecycle::ModelEvent;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use streams::cloud_event;
use streams::log::{Log, ReadBudget, Record};
use streams::store::Store;
use streams::topics;

/// A folder in which driftline runs.
pub struct Workplace {
    folder: tempfile::TempDir,
    binary: PathBuf,
    on: On,
}

impl Workplace {
    /// A fresh folder with this configuration, in which `LOG` stands for the log; `binary` is the driftline under test.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(binary: &str, configuration: &str, on: On) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("driftline.yaml"), on.put_into(configuration))?;
        Ok(Self { folder, binary: PathBuf::from(binary), on })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, contents: &str) -> Result<()> {
        Ok(std::fs::write(self.path().join(name), contents)?)
    }

    /// A driftline with these arguments, in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs driftline to its end; its standard output.
    ///
    /// # Errors
    /// When it does not end with 0; the message holds what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("starting driftline")?;
        if !output.status.success() {
            bail!("driftline {arguments:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the folder's log and archive hold, once no driftline runs.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn outcome(&self) -> Result<Outcome> {
        Outcome::read(self.log()?.as_ref(), &self.store()?)
    }

    /// The folder's log, while no driftline runs.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn log(&self) -> Result<Arc<dyn Log>> {
        self.on.open(&self.path().join("driftline-data"))
    }

    /// How far the stages have come, whether a driftline runs or not.
    ///
    /// # Errors
    /// When there is no log yet, or it cannot be opened.
    pub fn progress(&self) -> Result<Progress> {
        Progress::of(&self.on, &self.path().join("driftline-data"))
    }

    /// The folder's artifacts and archived files.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn store(&self) -> Result<Store> {
        Ok(Store::in_directory(&self.path().join("driftline-data/artifacts"))?)
    }
}

/// A row of the archive, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchivedRow {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset of its record.
    pub offset: i64,
    /// Its place in the record.
    pub index: i32,
    /// The event's id.
    pub id: String,
}

/// What a run leaves behind, in a form that two runs can be compared by.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Final verdicts in order.
    pub verdicts: Vec<Verdict>,
    /// The registry's events in order.
    pub models: Vec<ModelEvent>,
    /// Archived rows, sorted.
    pub archived: Vec<ArchivedRow>,
}

impl Outcome {
    fn read(log: &dyn Log, store: &Store) -> Result<Self> {
        let mut verdicts = Vec::new();
        for record in all(log, topics::VERDICTS)? {
            match cloud_event::decode(&record)? {
                MonitorEvent::Verdict(verdict) if verdict.finality == Finality::Final => verdicts.push(*verdict),
                _ => {}
            }
        }
        let models = all(log, topics::MODELS)?.iter().map(cloud_event::decode).collect::<Result<_, _>>()?;
        Ok(Self { verdicts, models, archived: archived(log, store)? })
    }
}

fn archived(log: &dyn Log, store: &Store) -> Result<Vec<ArchivedRow>> {
    let mut archived = Vec::new();
    for (topic, rows) in archived_files(log, store)? {
        let column = |name: &str| rows.column_by_name(name).with_context(|| format!("{topic} has no {name}"));
        let partitions = column(codec::columns::PARTITION)?.as_primitive::<Int32Type>().values().to_vec();
        let offsets = column(codec::columns::OFFSET)?.as_primitive::<Int64Type>().values().to_vec();
        let indices = column(codec::columns::INDEX)?.as_primitive::<Int32Type>().values().to_vec();
        let ids = column(codec::columns::EVENT_ID)?.as_string::<i32>().iter().map(Option::unwrap_or_default);
        let rows = partitions.into_iter().zip(offsets).zip(indices).zip(ids);
        archived.extend(rows.map(|(((partition, offset), index), id)| ArchivedRow {
            topic: topic.clone(),
            partition,
            offset,
            index,
            id: id.to_owned(),
        }));
    }
    archived.sort();
    Ok(archived)
}

/// The archive's files with the topics that their rows came from.
///
/// # Errors
/// When the archive cannot be read.
pub fn archived_files(log: &dyn Log, store: &Store) -> Result<Vec<(String, RecordBatch)>> {
    let mut index = ArchiveIndex::default();
    index.refresh(log)?;
    let mut files = Vec::new();
    for file in index.all() {
        files.push((file.topic.clone(), from_parquet(store.read(&file.path)?)?));
    }
    Ok(files)
}

/// Every record of a topic, partition by partition.
///
/// # Errors
/// When the topic cannot be read.
pub fn all(log: &dyn Log, topic: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for partition in 0..log.partitions(topic)? {
        let mut next = log.bounds(topic, partition)?.first;
        loop {
            let read = log.read(topic, partition, next, ReadBudget { records: 4_096, bytes: 16 << 20 })?;
            let Some(last) = read.last() else { break };
            next = last.offset + 1;
            records.extend(read);
        }
    }
    Ok(records)
}
