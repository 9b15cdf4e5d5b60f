//! A program that stays up between jobs: started once, told of each job by a line on its standard input, done with it when it
//! says so.
//!
//! The line is the path of the job file; the answer is the line `done` on standard output. Any other line there is output,
//! as standard error is. The end of standard input is the order to end; a program that fails, or takes longer than its limit
//! over one job, is ended with all that it started, and may be started anew.

use super::descendants::Descendants;
use super::output::Output;
use super::{CommandSpec, End, LOOK_EVERY, ProcessError, RunningProgram, Streams, failure, pipe, system};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the program writes on a line of its own when a job is done.
pub(super) const DONE: &str = "done";

/// A program that is up.
pub struct StandingProgram {
    spec: CommandSpec,
    job: PathBuf,
    running: RunningProgram,
    orders: PipeWriter,
    done: Receiver<()>,
    output: Output,
}

impl std::fmt::Debug for StandingProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandingProgram").field("job", &self.job).finish_non_exhaustive()
    }
}

impl StandingProgram {
    /// Starts the program; its jobs will all be told in this job file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(spec: &CommandSpec, job: &Path) -> Result<Self, ProcessError> {
        let ((input, orders), (said, says), (errors, complains)) = (pipe(spec)?, pipe(spec)?, pipe(spec)?);
        let streams = Streams { input: input.into(), output: says.into(), errors: complains.into() };
        let running = RunningProgram::start(spec, job, streams, Descendants::awaited(job))?;
        let thread = |source| system(spec, "reading its output", source);
        let output = Output::follow(errors).map_err(thread)?;
        let (say, done) = channel();
        let rest = output.beside();
        let listen = move || listen(said, &say, |line| rest.push(line));
        std::thread::Builder::new().name("output".to_owned()).spawn(listen).map_err(thread)?;
        Ok(Self { spec: spec.clone(), job: job.to_owned(), running, orders, done, output })
    }

    /// Has it do the job that the file tells of now. Blocks.
    ///
    /// # Errors
    /// It has ended, takes too long or is stopped. Nothing of it runs any more then: start another.
    pub fn work(&mut self, stop: &CancellationToken) -> Result<(), ProcessError> {
        // What it may have said since the last job is not about this one.
        self.done.try_iter().for_each(drop);
        let told = self.orders.write_all(self.job.as_os_str().as_bytes()).and_then(|()| self.orders.write_all(b"\n"));
        let end = match told {
            Ok(()) => self.watch(stop)?,
            // Nobody reads: it is about to end, or has closed its input.
            Err(_) => Some(End::Itself),
        };
        let Some(end) = end else { return Ok(()) };
        let status = self.running.end(end).map_err(|source| system(&self.spec, "ending it", source))?;
        Err(failure(&self.spec, end, status, &self.output))
    }

    /// Waits until the job is done; gives how the program is to end, if it is not.
    fn watch(&self, stop: &CancellationToken) -> Result<Option<End>, ProcessError> {
        let started = Instant::now();
        loop {
            match self.done.recv_timeout(LOOK_EVERY) {
                Ok(()) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Ok(Some(End::Itself)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.running.leader_has_ended().map_err(|source| system(&self.spec, "waiting for it", source))? {
                return Ok(Some(End::Itself));
            }
            if stop.is_cancelled() {
                return Ok(Some(End::Stopped));
            }
            if started.elapsed() >= self.spec.time_limit {
                return Ok(Some(End::TimeLimit));
            }
        }
    }
}

/// Tells of each line that says that a job is done; every other piece of output goes elsewhere.
fn listen(mut said: PipeReader, done: &Sender<()>, other: impl Fn(&[u8])) {
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = said.read(&mut chunk) {
        for piece in chunk.get(..read).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if !line.ends_with(b"\n") && line.len() < chunk.len() {
                continue;
            }
            if line.trim_ascii() == DONE.as_bytes() {
                if done.send(()).is_err() {
                    return;
                }
            } else {
                other(&line);
            }
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn shell(script: &str, time_limit: Duration) -> CommandSpec {
        CommandSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::new(),
            working_directory: None,
            time_limit,
            output_lines_kept: 5,
            most_result_bytes: 1 << 20,
        }
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn one_program_does_one_job_after_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let job = directory.path().join("job.json");
        let script = "echo begun >> starts; while read -r job; do cat \"$job\" >> jobs; echo hello; echo done; done";
        let mut program = StandingProgram::start(&shell(script, LIMIT), &job).unwrap();
        for text in ["one\n", "two\n"] {
            std::fs::write(&job, text).unwrap();
            program.work(&CancellationToken::new()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((read("starts").as_str(), read("jobs").as_str()), ("begun\n", "one\ntwo\n"));
    }

    #[test]
    fn a_program_that_ends_or_hangs_over_a_job_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let job = directory.path().join("job.json");
        let told = |script: &str, limit: Duration| {
            let mut program = StandingProgram::start(&shell(script, limit), &job).unwrap();
            program.work(&CancellationToken::new()).unwrap_err().to_string()
        };
        let failed = told("read -r job; echo no such artifact; echo why >&2; exit 4", LIMIT);
        assert!(failed.contains("exited with code 4") && failed.contains("no such artifact"), "{failed}");
        assert!(told("exit 0", LIMIT).contains("exited with code 0"));
        let hangs = told("read -r job; sleep 600", Duration::from_millis(200));
        assert!(hangs.contains("time limit of 200ms"), "{hangs}");
    }
}
