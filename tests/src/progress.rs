//! How far a driftline's stages have come, seen from outside its process: the embedded log's file is read beside it, a
//! Kafka is asked.

use crate::on::On;
use anyhow::{Context, Result};
use capture::archive::Archive;
use capture::stage::Capture;
use monitor::MonitorStage;
use retrain::controller_stage::ControllerStage;
use retrain::trainer_stage::TrainerStage;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use streams::log::Log;
use streams::stage::{Share, StageSpec};

/// A look at what is committed.
pub enum Progress {
    /// By the embedded log's file.
    Embedded(Connection),
    /// By the groups' coordinator.
    Kafka(Arc<dyn Log>),
}

impl Progress {
    pub(crate) fn of(on: &On, directory: &Path) -> Result<Self> {
        if let On::Kafka { .. } = on {
            return Ok(Self::Kafka(on.open(directory)?));
        }
        let file = directory.join("driftline.db");
        let log = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("opening {}", file.display()))?;
        log.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self::Embedded(log))
    }

    /// The records that the stages have read and committed, each counted once for every stage that reads it. Never falls.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn committed(&self) -> Result<i64> {
        match self {
            Self::Embedded(log) => {
                Ok(log.query_row("SELECT COALESCE(SUM(next_offset), 0) FROM progress", [], |row| row.get(0))?)
            }
            Self::Kafka(log) => stages().iter().map(|stage| committed(log.as_ref(), stage)).sum(),
        }
    }
}

impl Progress {
    /// The offset up to which a stage has committed a partition of an input; 0 before its first commit.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn reached(&self, stage: &StageSpec, topic: &str, partition: u32) -> Result<i64> {
        match self {
            Self::Embedded(log) => {
                let asked = "SELECT COALESCE(MAX(next_offset), 0) FROM progress
                    WHERE consumer = ?1 AND topic = ?2 AND partition = ?3";
                Ok(log.query_row(asked, (stage.group(), topic, partition), |row| row.get(0))?)
            }
            Self::Kafka(log) => {
                let share = StageSpec { share: Share::One(partition), ..stage.clone() };
                let committed = log.committed(&share.group(), topic, partition)?;
                Ok(committed.map_or(0, |committed| committed.offset))
            }
        }
    }
}

fn stages() -> [StageSpec; 5] {
    [Capture::spec(), Archive::spec(), MonitorStage::spec(), ControllerStage::spec(), TrainerStage::spec()]
}

fn committed(log: &dyn Log, stage: &StageSpec) -> Result<i64> {
    let mut all = 0;
    let Some(first) = stage.inputs.first() else { return Ok(0) };
    for partition in 0..log.partitions(first)? {
        let share = StageSpec { share: Share::One(partition), ..stage.clone() };
        for topic in &share.inputs {
            all += log.committed(&share.group(), topic, partition)?.map_or(0, |committed| committed.offset);
        }
    }
    Ok(all)
}
