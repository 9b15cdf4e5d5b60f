//! Appending records that belong to no stage: callers that wait at the same time share a transaction.
//!
//! A thread of its own writes. While it commits one transaction, the next gathers; so each caller waits for two commits
//! at most, however many there are. Its transactional id is this process' alone: several processes append side by side.
//! One that bears the name of a process that died ends, before anything else, what that one left open.

use super::link::Link;
use super::writer::Writer;
use crate::crash::Step;
use crate::log::{LogError, NewRecord};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Callers that may wait; more wait to be let in.
const MOST_WAITING: usize = 1_024;
/// Records at which no more callers are taken into a transaction.
const MOST_RECORDS: usize = 10_000;

/// The records of one caller, and where it waits.
struct Work {
    records: Vec<NewRecord>,
    done: SyncSender<Result<(), LogError>>,
}

/// The thread that appends.
pub(super) struct Appender {
    work: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Appender {
    pub(super) fn start(link: Arc<Link>, id: String) -> Result<Self, LogError> {
        let (work, waiting) = sync_channel(MOST_WAITING);
        let appending = Appending { link, id, waiting, writer: None };
        let thread = std::thread::Builder::new().name("kafka-append".to_owned()).spawn(move || appending.run());
        let thread = thread.map_err(|error| LogError::Storage {
            doing: "starting the thread that appends".to_owned(),
            source: Box::new(error),
        })?;
        Ok(Self { work: Some(work), thread: Some(thread) })
    }

    /// Appends records; durable when it returns, all or none.
    pub(super) fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let (done, outcome) = sync_channel(1);
        let sent = self.work.as_ref().map(|work| work.send(Work { records, done }));
        match (sent, outcome.recv()) {
            (Some(Ok(())), Ok(outcome)) => outcome,
            _ => Err(ended()),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        drop(self.work.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that appends panicked");
        }
    }
}

struct Appending {
    link: Arc<Link>,
    id: String,
    waiting: Receiver<Work>,
    writer: Option<Writer>,
}

impl Appending {
    fn run(mut self) {
        // A process of this name that died may have left a transaction open, which holds up every reader.
        match Writer::fence(Arc::clone(&self.link), &self.id) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => tracing::warn!(%error, "kafka: the next append tries again"),
        }
        while let Ok(first) = self.waiting.recv() {
            let mut all = vec![first];
            let mut records = all.iter().map(|work| work.records.len()).sum::<usize>();
            while let Some(next) = self.waiting.try_recv().ok().filter(|_| records < MOST_RECORDS) {
                records += next.records.len();
                all.push(next);
            }
            self.write_all(all);
        }
    }

    fn write_all(&mut self, all: Vec<Work>) {
        let together: Vec<_> = all.iter().flat_map(|work| work.records.iter().cloned()).collect();
        match self.write(&together) {
            Ok(()) => all.iter().for_each(|work| answer(work, Ok(()))),
            Err(LogError::TooLarge { .. }) if all.len() > 1 => {
                // One caller's record; the others' are not to suffer for it.
                for work in all {
                    let outcome = self.write(&work.records);
                    answer(&work, outcome);
                }
            }
            Err(error) => {
                let said = error.to_string();
                let mut first = Some(error);
                for work in &all {
                    answer(work, Err(first.take().unwrap_or_else(|| shared(&said))));
                }
            }
        }
    }

    fn write(&mut self, records: &[NewRecord]) -> Result<(), LogError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::fence(Arc::clone(&self.link), &self.id)?,
        };
        match self.write_with(&writer, records) {
            Ok(()) => {
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) => {
                writer.call_off();
                Err(error)
            }
        }
    }

    /// One transaction.
    fn write_with(&self, writer: &Writer, records: &[NewRecord]) -> Result<(), LogError> {
        let crash = |step| self.link.options.crash.after(step, &self.id);
        writer.begin()?;
        writer.hand_over(records)?;
        writer.settle()?;
        crash(Step::Settled);
        writer.commit(records.iter())?;
        crash(Step::Committed);
        Ok(())
    }
}

fn answer(work: &Work, outcome: Result<(), LogError>) {
    // A caller that has gone away does not want to know.
    let _ = work.done.send(outcome);
}

/// The same error for another caller.
fn shared(said: &str) -> LogError {
    LogError::Storage { doing: "appending with others".to_owned(), source: said.into() }
}

fn ended() -> LogError {
    LogError::Storage { doing: "appending".to_owned(), source: "the thread that appends has ended".into() }
}
